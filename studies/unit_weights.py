"""Weights for action units that come with the package: flow-kernels trained on synthetic pictures, no real clip.

python studies/unit_weights.py [--out FILE] [--real FLOW_FOLDER --label-sheet casme2=FILE ...]

With --real, the weights are tested on real flow pictures that they have never seen, of the databases whose sheets are
given; the figures go into the card. Nothing is chosen by them.
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

from mien.classifiers.base import Classifier
from mien.classifiers.checkpoint import SHIPPED_UNITS, UNITS, ModelCard, save_checkpoint, versions
from mien.datasets import open_specs
from mien.datasets.action_units import parse_action_units
from mien.datasets.labels import label_map
from mien.datasets.unit_labels import parse_label_sheets
from mien.evaluation.planning import make_plan
from mien.evaluation.unit_metrics import bootstrap_intervals, unit_scores
from mien.preprocessing import FLOW_PICTURES, flow_from_frames
from mien.synthesis.flow_pictures import flow_corpus
from mien.systems import SYSTEMS
from mien.systems.trained import load_checkpoint

SEEDS = (61, 62, 63, 64)
"""Seeds of the corpora that are pooled: a corpus of one seed flatters or harms a unit by up to .05 of AUC."""
PICTURES = 1500
"""Pictures of each corpus."""
SUPPORT = 1200
"""Support clips: the file stays under 5 MB."""
MAP = "au12"


@dataclass(frozen=True)
class Clips:
    """Flow pictures with their units.

    Attributes:
        x: (N, 3, 28, 28) u, v and strain, each 0..255.
        units: (N, U) whether each unit is shown.
        people: (dataset, subject) of each clip.
    """

    x: NDArray[np.float32]
    units: NDArray[np.bool_]
    people: list[tuple[str, str]]


def synthetic(seeds: Sequence[int] = SEEDS, pictures: int = PICTURES) -> Clips:
    """Return the pooled corpora."""
    corpora = [flow_corpus(pictures, seed) for seed in seeds]
    numbers = label_map(MAP).units
    shown = [{n for _, n in parse_action_units(text)} for corpus in corpora for text in corpus.units]
    return Clips(
        np.concatenate([corpus.pictures() for corpus in corpora]),
        np.array([[n in each for n in numbers] for each in shown]),
        [(f"synthetic-{seed}", str(s)) for seed, c in zip(seeds, corpora, strict=True) for s in c.subjects],
    )


def real(folder: Path, sheets: Sequence[str]) -> Clips:
    """Return real flow pictures, only ever tested on, of the databases with a label sheet."""
    plan = make_plan(open_specs(f"flow_images={folder}", parse_label_sheets(sheets)), "flow-kernels", labels=MAP)
    x = np.stack([FLOW_PICTURES.run(s.clip)[0] for s in plan.samples]).astype(np.float32)
    return Clips(x, plan.targets().astype(bool), [s.clip.person for s in plan.samples])


def scores(classifier: Classifier, clips: Clips) -> dict[str, Any]:
    """Return the figures of clips that the classifier has not seen, for its card."""
    probabilities = classifier.predict_proba(clips.x).astype(np.float64)
    decisions = classifier.decide_units(probabilities.astype(np.float32))
    names = label_map(MAP).classes
    found = unit_scores(clips.units, probabilities, decisions, names, [p[0] for p in clips.people], clips.people)
    often = [row["auc"] for row in found["per_au"].values() if row["support"] >= 10]
    tested = ", ".join(f"{row['n_clips']} clips of {name}" for name, row in found["per_dataset"].items())
    return {
        "protocol": "synthetic_to_real",
        "tested_on": f"{tested}, as ready flow pictures",
        "averaging": "all clips pooled, mean over units",
        "mean_auc_of_10": float(np.mean(often)),
        "intervals": bootstrap_intervals(clips.units, probabilities, decisions, clips.people),
        **{k: v for k, v in found.items() if k not in ("n_unanswered", "always_no_f1")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=SHIPPED_UNITS)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--label-sheet", action="append", default=[])
    given = parser.parse_args()
    started = time.perf_counter()
    clips = synthetic()
    system, names = SYSTEMS["flow-kernels"], label_map(MAP).classes
    parameters = system.with_parameters({"support": SUPPORT})
    classifier = system.build(len(names), parameters)
    classifier.fit(clips.x, clips.units.astype(np.int64), clips.people)
    measured = scores(classifier, real(given.real, given.label_sheet)) if given.real else {}
    card = ModelCard(
        system=system.name,
        parameters=parameters.model_dump(mode="json"),
        classes=names,
        labels=MAP,
        task=UNITS,
        trained_on=(
            {"dataset": "synthetic", "clips": len(clips.x), "subjects": len(set(clips.people)), "synthetic": True},
        ),
        recipes={"flow": FLOW_PICTURES.fingerprint, "frames": flow_from_frames("tvl1").fingerprint},
        shape=(3, 28, 28),
        seed=SEEDS[0],
        score=measured,
        licence="Apache-2.0, as the library. Trained on synthetic expressions; no person's data.",
        versions=versions(),
    )
    save_checkpoint(given.out, classifier, card)
    again, few = load_checkpoint(given.out)[0], clips.x[:9]
    assert np.array_equal(again.predict_proba(few), classifier.predict_proba(few))
    for name, row in measured.get("per_au", {}).items():
        print(f"{name:5} {row['support']:3} clips  AUC {row['auc']:.3f}  F1 {row['f1']:.3f}")
    if measured:
        print({k: round(measured[k], 4) for k in ("mean_auc", "mean_auc_of_10", "mean_f1", "always_yes_f1")})
    print(f"{given.out}: {given.out.stat().st_size / 1024:.0f} KiB, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
