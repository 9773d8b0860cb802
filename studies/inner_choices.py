"""How the settings of flow-svm and strcn-g were chosen: inner splits by subject, never a leave-one-subject-out score.

python studies/inner_choices.py FLOW_FOLDER [--only flow-svm strcn-g] [--out FILE]
python studies/inner_choices.py FLOW_FOLDER --only committee --seeds 2 --out FILE

The subjects are divided into four blocks. For each block, every choice is compared by 3-fold cross-validation over the
subjects of the *other* three. A choice that wins whichever block is left out owes nothing to any one of them. The first
takes about 25 minutes on two cores, the second 12.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from machine import commit, machine

from mien.datasets import open_specs
from mien.evaluation.planning import make_plan
from mien.preprocessing import CENTRED_FLOW_PICTURE, FLOW_PICTURE
from mien.systems import SYSTEMS

Pictures = NDArray[np.float32]


def raw(x: Pictures) -> Pictures:
    """Grey levels about the middle of their range."""
    return (x - 127.5) / np.float32(127.5)


def median(x: Pictures) -> Pictures:
    """Motion about its median, grey levels kept as they are."""
    out = raw(x)
    out[:, :2] -= np.median(out[:, :2], axis=(2, 3), keepdims=True)
    return out


INPUTS: dict[str, Callable[[Pictures], Pictures] | None] = {"raw": raw, "median": median, "centred": None}
Choice = tuple[str, str, Mapping[str, Any]]
SINGLE: tuple[Choice, ...] = (
    *(("flow-svm", name, {"inner_repeats": 1}) for name in INPUTS),
    *(("strcn-g", "raw", {"weight_decay": 5e-4, "lr": 1e-2, **change}) for change in (
        {}, {"layers": 1}, {"layers": 2}, {"loss": "cross_entropy"}, {"dropout": 0.2}, {"lr": 1e-3}, {"lr": 3e-2},
        {"lr": 1e-1}, {"lr": 3e-2, "epochs": 40}, {"lr": 3e-2, "maps": 48}, {"lr": 3e-2, "loss": "cross_entropy"},
        {"lr": 3e-2, "weight_decay": 5e-3}, {"lr": 3e-2, "batch_size": 64},
    )),
    *(("strcn-g", "raw", change) for change in (
        {"shift": 1}, {"shift": 2}, {"weight_decay": 1e-2}, {"shift": 2, "epochs": 40}, {"epochs": 10},
        {"epochs": 10, "members": 3}, {"variant": "authors-code"},
    )),
    ("strcn-g", "median", {}),
    ("strcn-g", "centred", {}),
)  # fmt: skip
VARIED: Mapping[str, Any] = {"strength": 0.3, "patch": 8}
COMMITTEE: tuple[Choice, ...] = tuple(("strcn-g", "centred", change) for change in (
    {}, VARIED, {**VARIED, "variant": "authors-code"}, {"variant": "both", "members": 2},
    {**VARIED, "variant": "both", "members": 2}, SYSTEMS["strcn-g"].presets["committee"].values,
))  # fmt: skip
CHOICES: dict[str, tuple[Choice, ...]] = {
    "flow-svm": tuple(c for c in SINGLE if c[0] == "flow-svm"),
    "strcn-g": tuple(c for c in SINGLE if c[0] == "strcn-g"),
    "committee": COMMITTEE,
}
BLOCKS, FOLDS = 4, 3


def held_out(
    choice: Choice,
    x: Pictures,
    y: NDArray[np.int64],
    groups: list[tuple[str, str]],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    seed: int,
) -> NDArray[np.int64]:
    """Predictions for inner test clips."""
    import torch

    torch.set_num_threads(1)
    system = SYSTEMS[choice[0]]
    classifier = system.build(3, system.with_parameters({**choice[2]}))
    classifier.fit(x[train], y[train], [groups[i] for i in train], seed=seed)
    return np.asarray(classifier.predict_proba(x[test]).argmax(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flow", type=Path)
    parser.add_argument("--only", nargs="*", choices=list(CHOICES), default=["flow-svm", "strcn-g"])
    parser.add_argument("--seeds", type=int, default=1, help="trainings per cell, of which it is the mean")
    parser.add_argument("--out", type=Path, default=Path("studies/results/inner_choices.md"))
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    plan = make_plan(open_specs([f"flow_images={given.flow}"]), "strcn-g")
    pictures = np.stack([FLOW_PICTURE.run(s.clip)[0] for s in plan.samples])
    inputs = {name: make(pictures) for name, make in INPUTS.items() if make is not None}
    inputs["centred"] = np.stack([CENTRED_FLOW_PICTURE.run(s.clip)[0] for s in plan.samples])
    y = np.array([s.label for s in plan.samples])
    groups = [s.clip.person for s in plan.samples]
    number = np.unique(["/".join(g) for g in groups], return_inverse=True)[1]
    blocks = [keep for keep, _ in StratifiedGroupKFold(BLOCKS, shuffle=True, random_state=0).split(y, y, number)]
    lines = [
        "# Choices made on inner splits by subject",
        "",
        f"{machine()}; commit {commit()}; {datetime.date.today():%Y-%m-%d}. UF1 of {FOLDS}-fold cross-validation over "
        f"the subjects that remain when one of {BLOCKS} blocks is left out; mean of {given.seeds} seed(s).",
        "",
        "| system | input | change | " + " | ".join(f"without block {b + 1}" for b in range(BLOCKS)) + " | mean |",
        "|---" * (BLOCKS + 4) + "|",
    ]
    with Parallel(given.jobs) as pool:
        for choice in (c for group in given.only for c in CHOICES[group]):
            tasks = []
            for block, keep in enumerate(blocks):
                inner = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=1).split(keep, y[keep], number[keep])
                tasks += [(block, keep[a], keep[b]) for a, b in inner]
            x = inputs[choice[1]]
            rows = []
            for seed in range(given.seeds):
                answers = pool(
                    delayed(held_out)(choice, x, y, groups, a, b, block + BLOCKS * seed) for block, a, b in tasks
                )
                predictions = np.full((BLOCKS, len(y)), -1)
                for (block, _, test), answer in zip(tasks, answers, strict=True):
                    predictions[block, test] = answer
                rows.append([f1_score(y[k], predictions[b, k], average="macro") for b, k in enumerate(blocks)])
            row = np.mean(rows, 0)
            change = ", ".join(f"{k} {v}" for k, v in choice[2].items()) or "defaults"
            values = " | ".join(f"{v:.3f}" for v in [*row, np.mean(row)])
            lines.append(f"| {choice[0]} | {choice[1]} | {change} | {values} |")
            print(lines[-1], flush=True)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
