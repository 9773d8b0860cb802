"""How strcn-g's settings were chosen: inner splits by subject only, never a leave-one-subject-out score.

python benchmarks/choose_strcn_g.py FLOW_FOLDER [--out benchmarks/results/choose_strcn_g.md]

The subjects are divided into four blocks. For each block, every setting of the grid is compared by 3-fold
cross-validation over the subjects of the *other* three blocks. A setting that wins with every block left out would have
been chosen without looking at any one of them.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from machine import commit, machine
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold

from mien.benchmark.run import plan
from mien.datasets import open_specs
from mien.systems.strcn_g import STRCN_G

BASE: Mapping[str, Any] = {"layers": 4}
GRID: tuple[Mapping[str, Any], ...] = (
    {},
    {"layers": 1},
    {"layers": 2},
    {"loss": "cross_entropy"},
    {"dropout": 0.2},
    {"lr": 1e-3},
    {"lr": 3e-2},
    {"lr": 1e-1},
    {"lr": 3e-2, "epochs": 40},
    {"lr": 3e-2, "maps": 48},
    {"lr": 3e-2, "loss": "cross_entropy"},
    {"lr": 3e-2, "weight_decay": 5e-3},
    {"lr": 3e-2, "batch_size": 64},
)
BLOCKS, FOLDS = 4, 3


def held_out(
    setting: Mapping[str, Any],
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    groups: list[tuple[str, str]],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    seed: int,
) -> NDArray[np.int64]:
    """Predictions for inner test clips."""
    import torch

    torch.set_num_threads(1)
    classifier = STRCN_G.build(3, {**STRCN_G.parameters, "maps": 24, "lr": 1e-2, **BASE, **setting})
    classifier.fit(x[train], y[train], [groups[i] for i in train], seed=seed)
    return np.asarray(classifier.predict_proba(x[test]).argmax(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flow", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/choose_strcn_g.md"))
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    decided = plan(open_specs([f"flow_images={given.flow}"]), "strcn-g")
    x = np.stack([STRCN_G.recipes["flow"].run(s.clip)[0] for s in decided.samples])
    y = np.array([s.label for s in decided.samples])
    groups = [s.clip.person for s in decided.samples]
    number = np.unique(["/".join(g) for g in groups], return_inverse=True)[1]
    blocks = [keep for keep, _ in StratifiedGroupKFold(BLOCKS, shuffle=True, random_state=0).split(y, y, number)]
    tasks = []
    for place, setting in enumerate(GRID):
        for block, keep in enumerate(blocks):
            inner = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=1).split(keep, y[keep], number[keep])
            tasks += [(place, block, setting, keep[a], keep[b]) for a, b in inner]
    answers = Parallel(given.jobs, verbose=1)(delayed(held_out)(s, x, y, groups, a, b, k) for _, k, s, a, b in tasks)
    predictions = np.full((len(GRID), BLOCKS, len(y)), -1)
    for (place, block, _, _, test), answer in zip(tasks, answers, strict=True):
        predictions[place, block, test] = answer
    scores = np.array(
        [
            [f1_score(y[keep], predictions[place, b][keep], average="macro") for b, keep in enumerate(blocks)]
            for place in range(len(GRID))
        ]
    )
    lines = [
        "# Choosing strcn-g's settings on inner splits by subject",
        "",
        f"{machine()}; commit {commit()}; {datetime.date.today():%Y-%m-%d}. UF1 of {FOLDS}-fold cross-validation over "
        f"the subjects that remain when one of {BLOCKS} blocks is left out. Bold: the best of its column.",
        "Base: layers 4, maps 24, lr 1e-2, 20 epochs, balanced loss, no dropout, batches of 20, weight decay 5e-4.",
        "",
        "| change | " + " | ".join(f"without block {b + 1}" for b in range(BLOCKS)) + " | mean |",
        "|---" * (BLOCKS + 2) + "|",
    ]
    for setting, row in zip(GRID, scores, strict=True):
        cells = [f"**{v:.3f}**" if v == scores[:, b].max() else f"{v:.3f}" for b, v in enumerate(row)]
        name = ", ".join(f"{k} {v}" for k, v in setting.items()) or "base"
        lines.append(f"| {name} | {' | '.join(cells)} | {row.mean():.3f} |")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
