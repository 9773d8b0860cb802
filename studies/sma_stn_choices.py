"""SMA-STN-style: which form of each part, compared on inner splits by subject of drawn faces.

python studies/sma_stn_choices.py [--out FILE]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from machine import stamp
from measure import arguments, publish

from mien.datasets import open_dataset
from mien.evaluation.planning import make_plan
from mien.preprocessing.inputs import ArrayInputs
from mien.synthesis.writer import write_corpus
from mien.systems import SYSTEMS

CHOICES: tuple[Mapping[str, Any], ...] = (
    {},
    {"sampling": "local"},
    {"sampling": "interleaved"},
    {"whole": False},
    {"stma": "none"},
    {"stma": "spatial"},
    {"stma": "temporal"},
    {"de_loss": "centres"},
    {"de_loss": "neutral"},
    {"de_loss": "draws"},
    {"lr": 1e-2},
    {"epochs": 12},
)
BASE: Mapping[str, Any] = {"preset": "small", "face": "none", "de_loss": "none", "epochs": 24}


def choose(subjects: int, clips: int, layouts: list[str], folds: int, seeds: list[int]) -> list[str]:
    """UF1 of each choice by cross-validation over subjects, one column per written corpus: the mean over seeds."""
    torch.set_num_threads(1)
    system = SYSTEMS["sma-stn"]
    columns: list[list[float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for layout in layouts:
            root = Path(folder) / layout
            write_corpus(layout, root, subjects=subjects, clips_per_subject=clips, seed=7)
            plan = make_plan([open_dataset(layout, root)], "sma-stn", labels="strcn4")
            y = np.array([s.label for s in plan.samples])
            people = [s.clip.person for s in plan.samples]
            number = np.unique(["/".join(p) for p in people], return_inverse=True)[1]
            column = []
            for choice in CHOICES:
                p = system.with_parameters({**BASE, **choice})
                recipe = system.recipe("frames", p)
                x = ArrayInputs(np.stack([recipe.apply(s.clip).array for s in plan.samples]), p.draws)
                scores = []
                for seed in seeds:
                    said = np.full(len(y), -1)
                    for train, test in StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(y, y, number):
                        net = system.build(len(plan.classes), p)
                        net.fit(x[train], y[train], [people[i] for i in train], seed=seed)
                        said[test] = net.predict_proba(x[test]).argmax(1)
                    scores.append(float(f1_score(y, said, average="macro")))
                column.append(float(np.mean(scores)))
                print(layout, choice, " ".join(f"{score:.3f}" for score in scores), flush=True)
            columns.append(column)
    lines = [
        f"{folds}-fold cross-validation over subjects, UF1, mean of {len(seeds)} seed(s) of folds and training; drawn "
        f"faces, {subjects} subjects with {clips} clips in each layout; preset small, faces as drawn, {BASE['epochs']} "
        "passes, no DE-Loss unless named.",
        "",
        "| change | " + " | ".join(layouts) + " | mean |",
        "|---" * (len(layouts) + 2) + "|",
    ]
    for row, choice in enumerate(CHOICES):
        values = [column[row] for column in columns]
        named = ", ".join(f"{k} {v}" for k, v in choice.items()) or "none: local-global, both, whole"
        lines.append(f"| {named} | " + " | ".join(f"{v:.3f}" for v in [*values, float(np.mean(values))]) + " |")
    return lines


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--subjects", type=int, default=9)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--layouts", nargs="+", default=["casme2", "smic_hs", "casme_sq"])
    given = parser.parse_args()
    lines = ["# SMA-STN-style: choices on inner splits", "", stamp()]
    lines += choose(given.subjects, given.clips, given.layouts, given.folds, given.seeds)
    publish(lines, given.out)


if __name__ == "__main__":
    main()
