"""The weights that come with the package: STRCN-G trained on synthetic expressions, no real clip.

python studies/shipped_weights.py [--out FILE] [--real FLOW_FOLDER] [--choose]

With --real, what they score on real flow pictures they have never seen goes into the card. With --choose, settings are
compared without any real clip: trained on exact flow, tested on flow that TV-L1 measured between rendered frames, which
is the gap between made and real flow in small.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, recall_score

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from machine import commit, machine

from mien.classifiers.checkpoint import SHIPPED, ModelCard, save_checkpoint, versions
from mien.datasets import open_specs
from mien.evaluation.planning import make_plan
from mien.preprocessing import CENTRED_FLOW_PICTURE
from mien.synthesis.flow_pictures import FlowCorpus, flow_corpus
from mien.systems import SYSTEMS
from mien.systems.trained import load_checkpoint

SEED, PICTURES = 7, 3000
CHOSEN: Mapping[str, Any] = {
    "epochs": 6, "weight_decay": 5e-4, "strength": 0.3, "patch": 8, "variant": "both", "members": 4,
}  # fmt: skip
COMPARED: tuple[tuple[int, Mapping[str, Any]], ...] = tuple(
    (pictures, {"epochs": epochs, "weight_decay": 5e-4, **change})
    for pictures, epochs in ((3000, 3), (3000, 6), (3000, 20), (12000, 2), (12000, 8))
    for change in ({}, {"strength": 0.3, "patch": 8})
)


@dataclass(frozen=True)
class Score:
    """What a network says of pictures it has not seen."""

    uf1: float
    uar: float
    accuracy: float


def trained(corpus: FlowCorpus, changes: Mapping[str, Any], seed: int = SEED) -> tuple[Any, Mapping[str, Any]]:
    """STRCN-G trained on a corpus, and all its parameters."""
    system = SYSTEMS["strcn-g"]
    parameters = system.with_parameters(changes)
    classifier = system.build(len(corpus.classes), parameters)
    people = [("synthetic", str(s)) for s in corpus.subjects]
    return classifier.fit(corpus.pictures(centred=True), corpus.labels, people, seed=seed), parameters.model_dump(
        mode="json"
    )


def score(classifier: Any, x: NDArray[np.float32], y: NDArray[np.int64]) -> Score:
    """Counts pooled over all pictures."""
    answers = classifier.predict_proba(x).argmax(1)
    return Score(
        float(f1_score(y, answers, average="macro")),
        float(recall_score(y, answers, average="macro")),
        float(accuracy_score(y, answers)),
    )


def choose(out: Path) -> None:
    """Compares settings on synthetic pictures alone."""
    measured = flow_corpus(300, 99, method="tvl1", jobs=2)
    x = measured.pictures(centred=True)
    lines = [
        "# Settings of the weights that come with the package",
        "",
        f"{machine()}; commit {commit()}; {datetime.date.today():%Y-%m-%d}. Trained on exact flow, tested on {len(x)} "
        "pictures whose flow TV-L1 measured between rendered frames of other faces. No real clip is in this table.",
        "",
        "| pictures | passes | change | UF1 on measured flow | UF1 on exact flow, other faces |",
        "|---|---|---|---|---|",
    ]
    other = flow_corpus(600, 98)
    for pictures, changes in COMPARED:
        classifier, _ = trained(flow_corpus(pictures, SEED, jobs=2), changes)
        change = ", ".join(f"{k} {v}" for k, v in changes.items() if k not in ("epochs", "weight_decay")) or "none"
        cells = [score(classifier, p, c.labels).uf1 for p, c in ((x, measured), (other.pictures(centred=True), other))]
        lines.append(f"| {pictures} | {changes['epochs']} | {change} | {cells[0]:.3f} | {cells[1]:.3f} |")
        print(lines[-1], flush=True)
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def real(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.int64], tuple[str, ...], int]:
    """Real flow pictures, only ever tested on: input, classes, names of the classes, number of subjects."""
    plan = make_plan(open_specs([f"flow_images={folder}"]), "strcn-g")
    x = np.stack([CENTRED_FLOW_PICTURE.run(s.clip)[0] for s in plan.samples])
    people = len({s.clip.person for s in plan.samples})
    return x, np.array([s.label for s in plan.samples]), plan.classes, people


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="the weights; with --choose the page")
    parser.add_argument("--real", type=Path)
    parser.add_argument("--choose", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.choose:
        choose(given.out or Path("studies/results/shipped_weights.md"))
        return
    given.out = given.out or SHIPPED
    corpus = flow_corpus(PICTURES, SEED, jobs=2)
    classifier, parameters = trained(corpus, CHOSEN)
    measured: dict[str, Any] = {}
    if given.real:
        x, y, classes, people = real(given.real)
        assert classes == corpus.classes
        found = score(classifier, x, y)
        share = float(np.bincount(y).max() / len(y))
        measured = {
            "protocol": "synthetic_to_real", "tested_on": "MEGC 2019 composite as ready flow pictures",
            "uf1": found.uf1, "uar": found.uar, "accuracy": found.accuracy, "majority_accuracy": share,
            "n_clips": len(y), "n_subjects": people, "averaging": "counts pooled over all clips",
        }  # fmt: skip
        print(found)
    faces = int(corpus.subjects.max()) + 1
    card = ModelCard(
        system="strcn-g",
        parameters=parameters,
        classes=corpus.classes,
        labels="megc2019",
        trained_on=({"dataset": "synthetic", "clips": PICTURES, "subjects": faces, "synthetic": True},),
        recipes={"flow": CENTRED_FLOW_PICTURE.fingerprint},
        shape=(3, 28, 28),
        seed=SEED,
        score=measured,
        licence="Apache-2.0, as the library. Trained on synthetic expressions; no person's data.",
        versions=versions(),
    )
    save_checkpoint(given.out, classifier, card)
    again, few = load_checkpoint(given.out)[0], corpus.pictures(centred=True)[:9]
    assert np.array_equal(again.predict_proba(few), classifier.predict_proba(few))
    print(f"{given.out}: {given.out.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
