"""Weights for action units and for classes that come with the package: flow-kernels and flow-ensemble, on synthetic
pictures only.

python studies/unit_weights.py [--task units|classes|ensemble] [--out FILE]
                               [--real FLOW_FOLDER --label-sheet casme2=FILE ...]

With --real, the weights are tested on real flow pictures that they have never seen: units on those of the databases
whose sheets are given, classes on all. The figures go into the card. Nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, recall_score

from mien.classifiers.base import Classifier
from mien.classifiers.checkpoint import (
    CLASSES,
    SHIPPED,
    SHIPPED_CLASSES,
    SHIPPED_ENSEMBLE,
    SHIPPED_UNITS,
    UNITS,
    ModelCard,
    read_card,
    save_checkpoint,
    versions,
)
from mien.datasets import open_specs
from mien.datasets.action_units import parse_action_units
from mien.datasets.labels import label_map
from mien.datasets.unit_labels import parse_label_sheets
from mien.evaluation.planning import make_plan
from mien.evaluation.unit_metrics import bootstrap_intervals, unit_scores
from mien.preprocessing import FLOW_PICTURES
from mien.synthesis.acting import Manner
from mien.synthesis.flow_pictures import MEGC2019, flow_corpus
from mien.systems import SYSTEMS
from mien.systems.trained import load_checkpoint

SEEDS = (61, 62, 63, 64)
"""Seeds of the corpora that are pooled: a corpus of one seed flatters or harms a unit by up to .05 of AUC."""
ENSEMBLE = "ensemble"
PICTURES = {UNITS: 1500, CLASSES: 1000, ENSEMBLE: 1000}
"""Pictures of each corpus."""
SUPPORT = {UNITS: 1200, CLASSES: 800}
"""Support clips. For classes, 2,000 clips of 9,314 were better on synthetic people left out, and not on real clips."""
REGIONS = {UNITS: True, CLASSES: False}
"""Bands of the face told units better on synthetic people left out, and from one kind of synthetic face to the other;
halves of the face did not tell classes better (docs/notebook/zero-shot-units.md)."""
RIDGE = {UNITS: 3.0, CLASSES: 1.0}
"""A larger penalty told units better from one kind of synthetic face to the other (the same page)."""
STEP = 8
"""Grey levels between two values of a picture of units: files take half as much room; the kernels smooth it away."""
MAPS = {UNITS: "au12", CLASSES: "megc2019", ENSEMBLE: "megc2019"}
FILES = {UNITS: SHIPPED_UNITS, CLASSES: SHIPPED_CLASSES, ENSEMBLE: SHIPPED_ENSEMBLE}
EMOTIONS = {
    UNITS: ("disgust", "anger", "sadness", "fear", "contempt", "happiness", "surprise", "repression", "others"),
    CLASSES: MEGC2019,
    ENSEMBLE: MEGC2019,
}
MANNER = Manner(coded=0.5, blinks=1.0, lids=0.3, asymmetry=0.2)
"""Half of the units as coders found them; blinks and asymmetry by `studies/picture_statistics.py`."""


@dataclass(frozen=True)
class Clips:
    """Flow pictures with what they show.

    Attributes:
        x: (N, 3, 28, 28) u, v and strain, each 0..255.
        y: (N, U) whether each unit is shown, or (N,) class indices.
        people: (dataset, subject) of each clip.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    people: list[tuple[str, str]]


def synthetic(task: str = UNITS, seeds: Sequence[int] = SEEDS) -> Clips:
    """Return the pooled corpora."""
    corpora = [
        flow_corpus(PICTURES[task], seed, method="mixed", classes=EMOTIONS[task], manner=MANNER, vary=True)
        for seed in seeds
    ]
    numbers = label_map(MAPS[task]).units
    shown = [{n for _, n in parse_action_units(text)} for corpus in corpora for text in corpus.units]
    classes = np.concatenate([corpus.labels for corpus in corpora])
    pictures = np.concatenate([corpus.pictures() for corpus in corpora])
    return Clips(
        compact(pictures) if task == UNITS else pictures,
        np.array([[n in each for n in numbers] for each in shown], np.int64) if task == UNITS else classes,
        [(f"synthetic-{seed}", str(s)) for seed, c in zip(seeds, corpora, strict=True) for s in c.subjects],
    )


def compact(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return pictures of few grey levels, with the median of u and v at 128: the kernels see almost the same."""
    motion = pictures[:, :2] - np.median(pictures[:, :2], axis=(2, 3), keepdims=True)
    most = np.abs(motion).max(axis=(1, 2, 3), keepdims=True)
    reach, levels = 127 // STEP * STEP, 255 // STEP * STEP
    motion = (np.rint(motion * (127 / np.maximum(most, 1e-9)) / STEP) * STEP).clip(-reach, reach) + 128
    strain = (np.rint(pictures[:, 2:] / STEP) * STEP).clip(0, levels)
    return np.concatenate([motion, strain], axis=1).astype(np.float32)


def _system(task: str) -> str:
    return "flow-ensemble" if task == ENSEMBLE else "flow-kernels"


def trained(clips: Clips, task: str) -> tuple[Classifier, dict[str, Any]]:
    """Return a machine trained on clips, and all its parameters."""
    system = SYSTEMS[_system(task)]
    settings = {"support": SUPPORT[task], "regions": REGIONS[task], "ridge": RIDGE[task]} if task != ENSEMBLE else {}
    parameters = system.with_parameters(settings)
    classifier = system.build(len(label_map(MAPS[task]).classes), parameters)
    classifier.units = label_map(MAPS[task]).classes if task == UNITS else ()
    return classifier.fit(clips.x, clips.y, clips.people), parameters.model_dump(mode="json")


def real(folder: Path, task: str = UNITS, sheets: Sequence[str] = ()) -> Clips:
    """Return real flow pictures, only ever tested on; for units, of the databases with a label sheet."""
    data = open_specs(f"flow_images={folder}", parse_label_sheets(sheets) if task == UNITS else None)
    plan = make_plan(data, _system(task), labels=MAPS[task])
    x = np.stack([FLOW_PICTURES.run(s.clip)[0] for s in plan.samples]).astype(np.float32)
    return Clips(x, plan.targets(), [s.clip.person for s in plan.samples])


def unit_figures(classifier: Classifier, clips: Clips) -> dict[str, Any]:
    """Return the figures of clips that the classifier has not seen, for its card."""
    answers = classifier.predict_proba(clips.x)
    truth, probabilities, decisions = clips.y.astype(bool), answers.astype(np.float64), classifier.decide_units(answers)
    datasets = [person[0] for person in clips.people]
    found = unit_scores(truth, probabilities, decisions, label_map(MAPS[UNITS]).classes, datasets, clips.people)
    for part in (found, *found["per_dataset"].values()):
        part["mean_auc_of_10"] = float(np.mean([row["auc"] for row in part["per_au"].values() if row["support"] >= 10]))
    return {
        **_tested(clips),
        "intervals": bootstrap_intervals(truth, probabilities, decisions, clips.people),
        **{k: v for k, v in found.items() if k not in ("n_unanswered", "always_no_f1")},
    }


def class_figures(classifier: Classifier, clips: Clips) -> dict[str, Any]:
    """Return the figures of clips that the classifier has not seen, for its card."""
    answers = classifier.predict_proba(clips.x).argmax(1)
    return {
        **_tested(clips),
        "uf1": float(f1_score(clips.y, answers, average="macro")),
        "uar": float(recall_score(clips.y, answers, average="macro")),
        "accuracy": float(accuracy_score(clips.y, answers)),
        "majority_accuracy": float(np.bincount(clips.y).max() / len(clips.y)),
        "n_clips": len(clips.y),
        "n_subjects": len(set(clips.people)),
    }


def _tested(clips: Clips) -> dict[str, str]:
    names = [person[0] for person in clips.people]
    *first, last = (f"{names.count(name)} clips of {name}" for name in sorted(set(names)))
    counts = " and ".join(([", ".join(first)] if first else []) + [last])
    return {
        "protocol": "synthetic_to_real",
        "tested_on": f"{counts}, as ready flow pictures",
        "averaging": "all clips pooled",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=tuple(FILES), default=UNITS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--label-sheet", action="append", default=[])
    given = parser.parse_args()
    task, out, started = given.task, given.out or FILES[given.task], time.perf_counter()
    clips = synthetic(task)
    classifier, parameters = trained(clips, task)
    measured: dict[str, Any] = {}
    if given.real:
        tested = real(given.real, task, given.label_sheet)
        measured = unit_figures(classifier, tested) if task == UNITS else class_figures(classifier, tested)
    own = {"dataset": "synthetic", "clips": len(clips.x), "subjects": len(set(clips.people)), "synthetic": True}
    # The ensemble learns from the clips of one of its machines.
    seen = (
        (own,)
        if task != ENSEMBLE
        else sum((read_card(f).trained_on for f in (SHIPPED, SHIPPED_CLASSES, SHIPPED_UNITS)), ())
    )
    recipes = SYSTEMS[_system(task)].recipes
    card = ModelCard(
        system=_system(task),
        parameters=parameters,
        classes=label_map(MAPS[task]).classes,
        labels=MAPS[task],
        task=UNITS if task == UNITS else CLASSES,
        trained_on=seen,
        recipes={kind: make(SYSTEMS[_system(task)].with_parameters({})).fingerprint for kind, make in recipes.items()},
        shape=(3, 28, 28),
        seed=SEEDS[0],
        score=measured,
        licence="Apache-2.0, as the library. Trained on synthetic expressions; no person's data.",
        versions=versions(),
    )
    save_checkpoint(out, classifier, card)
    again, few = load_checkpoint(out)[0], clips.x[:9]
    assert np.array_equal(again.predict_proba(few), classifier.predict_proba(few))
    for name, part in (
        {"all": measured, **measured.get("per_dataset", {})}.items() if task == UNITS and measured else ()
    ):
        figures = ("mean_auc", "mean_auc_of_10", "mean_f1", "always_yes_f1")
        print(f"{name}, {part['n_clips']} clips:", {k: round(part[k], 3) for k in figures})
        print("  ", "  ".join(f"{unit} {row['auc']:.3f} ({row['support']})" for unit, row in part["per_au"].items()))
    if task != UNITS:
        print(measured)
    print(f"{out}: {out.stat().st_size / 1024:.0f} KiB, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
