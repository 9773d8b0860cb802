"""Which weights for classes should answer together, and for which shares: asked of synthetic people left out.

python studies/class_ensemble.py [--out studies/results/class_ensemble.md]

No real clip is looked at. UF1 of pictures that nothing was trained on (corpora of `unit_weights.py`, seeds 91 and 92):
those of three classes, and those of nine emotions as three classes; weighted so that the classes have equal shares,
those of the coded clips of DFME and CAS(ME)^3, or shares like the root of these.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import numpy as np
import torch
from machine import stamp
from measure import arguments, publish
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from unit_weights import EMOTIONS, MANNER, PICTURES

from mien.classifiers.checkpoint import CLASSES, UNITS
from mien.classifiers.flow_ensemble import centred
from mien.synthesis.flow_pictures import flow_corpus
from mien.synthesis.timeline import read_table
from mien.systems.trained import load_checkpoint

Floats = NDArray[np.float64]
POWERS = (0.0, 0.25, 0.5)
TOGETHER = {
    "STRCN-G": (0,), "flow-kernels": (1,), "units, logistic": (2,), "STRCN-G, flow-kernels": (0, 1),
    "STRCN-G, units": (0, 2), "flow-kernels, units": (1, 2), "all three": (0, 1, 2),
}  # fmt: skip


def class_of(emotion: str) -> int:
    """Return the class of an emotion: negative, positive, surprise; -1 for none of them."""
    known = {"others": -1, "other": -1, "happiness": 1, "positive": 1, "surprise": 2}
    return known.get(emotion, 0)


def coded_shares() -> Floats:
    """Return the shares of the three classes among the coded clips of DFME and CAS(ME)^3."""
    counts = np.zeros(3)
    for emotion, row in read_table("coded_units").items():
        if class_of(emotion) >= 0:
            counts[class_of(emotion)] += sum(n for _, n in row["shown"])
    return np.asarray(counts / counts.sum())


def pictures(task: str, seeds: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return synthetic pictures with their classes."""
    corpora = [flow_corpus(PICTURES[task], seed, method="mixed", classes=EMOTIONS[task], manner=MANNER, vary=True)
               for seed in seeds]  # fmt: skip
    x = np.concatenate([corpus.pictures() for corpus in corpora])
    y = np.array([class_of(corpus.classes[label]) for corpus in corpora for label in corpus.labels])
    return x[y >= 0], y[y >= 0]


def main() -> None:
    given = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    network, kernels, units = (load_checkpoint(name)[0] for name in ("shipped", "shipped-classes", "shipped-units"))
    learned, labels = pictures(CLASSES, (61, 62, 63, 64))
    logistic = LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000).fit(units.answers(learned), labels)  # type: ignore[attr-defined]
    shares = coded_shares()
    mixtures = {"equal": np.ones(3) / 3, "root": np.sqrt(shares) / np.sqrt(shares).sum(), "as coded": shares}
    lines = [
        "# Weights for classes together, and the shares of classes",
        "",
        stamp(),
        "UF1 on synthetic people left out, no real clip; `python studies/class_ensemble.py`. In a cell, the answer is "
        f"multiplied by the coded shares ({', '.join(f'{share:.2f}' for share in shares)} of negative, positive and "
        f"surprise) to the power {', '.join(f'{power:g}' for power in POWERS)}.",
    ]
    for name, task in (("three classes", CLASSES), ("nine emotions as three classes", UNITS)):
        x, y = pictures(task, (91, 92))
        logs = [
            np.log(np.maximum(network.predict_proba(centred(x)), 1e-9)),
            np.log(np.maximum(kernels.predict_proba(x), 1e-9)),
            log_softmax(logistic.decision_function(units.answers(x)), axis=1),  # type: ignore[attr-defined]
        ]
        lines += ["", f"{len(y)} pictures of {name}:", "", f"| weights | {' | '.join(mixtures)} |", "|---|---|---|---|"]
        for who, members in TOGETHER.items():
            log = np.mean([logs[member] for member in members], axis=0)
            cells = []
            for mixture in mixtures.values():
                weights = (mixture / np.bincount(y, minlength=3))[y]
                said = [(log + power * np.log(shares)).argmax(1) for power in POWERS]
                scores = [f1_score(y, each, average="macro", sample_weight=weights) for each in said]
                cells.append(", ".join(f"{score:.3f}" for score in scores))
            lines.append(f"| {who} | {' | '.join(cells)} |")
    publish(lines, given.out)


if __name__ == "__main__":
    main()
