"""Whole leave-one-subject-out of STSTNet against a plain sequential loop of the same network, in one run.

python benchmarks/ststnet_loso.py FLOW_FOLDER [--plain-epochs 8] [--out benchmarks/results/ststnet_loso.md]

Ours: every fold, all 800 passes, two processes of one thread. Plain: three parallel convolutions as the paper draws
them, a loop over folds, two threads. The two take turns, a few folds each, so that both meet the same machine.
With `--plain-epochs N` the plain loop runs N of the 800 passes of every fold and is scaled by 800 / N (passes cost the
same); `--plain-epochs 800` runs all of it, about 90 minutes on two cores.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from machine import commit, machine, peak_mib, taken_by_others
from measure import publish
from torch import Tensor, nn

from mien.datasets import open_specs
from mien.evaluation.execution.base import RunInputs
from mien.evaluation.execution.folds import train_fold, write_fold
from mien.evaluation.ledger import read_ledger
from mien.evaluation.planning import make_plan
from mien.evaluation.report import report
from mien.evaluation.run import open_run
from mien.preprocessing.inputs import ArrayInputs
from mien.types import IntervalSource


class Plain(nn.Module):
    """STSTNet as its paper draws it, module by module."""

    def __init__(self) -> None:
        super().__init__()

        def stream(filters: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(3, filters, 3, padding=2),
                nn.ReLU(),
                nn.BatchNorm2d(filters),
                nn.MaxPool2d(3, 3, padding=1),
                nn.Dropout(0.5),
            )

        self.streams = nn.ModuleList(stream(k) for k in (3, 5, 8))
        self.pool = nn.AvgPool2d(2, 2)
        self.classify = nn.Linear(400, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28) to logits (B, 3)."""
        out: Tensor = self.classify(self.pool(torch.cat([s(x) for s in self.streams], 1)).flatten(1))
        return out


def plain_fold(x: Tensor, y: Tensor, epochs: int) -> float:
    """Seconds of a plain training on some clips, one pass of warm-up not counted."""
    torch.set_num_threads(2)
    model = Plain()
    optimiser = torch.optim.Adam(model.parameters(), 5e-5)
    started = time.perf_counter()
    for epoch in range(-1, epochs):
        if epoch == 0:
            started = time.perf_counter()
        for start in range(0, len(x), 256):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[start : start + 256]), y[start : start + 256]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return time.perf_counter() - started


def peak_memory() -> float:
    """Largest resident size of this process so far, in MiB."""
    time.sleep(0.2)  # Long enough that both workers get to answer.
    return peak_mib()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flow", type=Path)
    parser.add_argument("--plain-epochs", type=int, default=8)
    parser.add_argument("--turn", type=int, default=4, help="Folds per turn.")
    parser.add_argument("--folds", type=int, default=0, help="Stop after so many folds, for a quick look.")
    parser.add_argument("--run", type=Path, default=Path("runs/flow_scores/ststnet"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/ststnet_loso.md"))
    given = parser.parse_args()
    plan = make_plan(open_specs([f"flow_images={given.flow}"]), "ststnet")
    open_run(given.run, plan)
    inputs = np.stack([plan.system.recipe("flow").run(s.clip)[0] for s in plan.samples])
    x, y = torch.from_numpy(inputs), torch.tensor([s.label for s in plan.samples])
    sources: list[IntervalSource] = ["ready" for _ in inputs]
    ready = RunInputs(ArrayInputs(inputs), tuple(sources))
    folds = range(given.folds or len(plan.folds))
    epochs = plan.parameters.epochs  # type: ignore[attr-defined]
    ours: list[float] = []
    plain: list[float] = []
    ratios: list[float] = []
    others: list[float] = []
    per_fold: list[float] = []
    plain_per_fold: list[float] = []
    with Parallel(2) as pool:
        pool(delayed(time.sleep)(0.1) for _ in range(2))
        for first in range(0, len(folds), given.turn):
            turn = folds[first : first + given.turn]
            # The plain loop's two threads wait for each other at every operation: one busy core beside them slows it
            # many times over and ours hardly, so a ratio measured in company says little.
            others.append(taken_by_others())
            started = time.perf_counter()
            for result in pool(delayed(train_fold)(plan, ready, 0, number) for number in turn):
                write_fold(given.run, result)
            ours.append(time.perf_counter() - started)
            others.append(taken_by_others())
            seconds = 0.0
            for number in turn:
                train = list(plan.folds[number].train)
                seconds += plain_fold(x[train], y[train], given.plain_epochs) * epochs / given.plain_epochs
            plain.append(seconds)
            ratios.append(plain[-1] / ours[-1])
            per_fold.append(ours[-1] / len(turn))
            plain_per_fold.append(seconds / len(turn))
            print(f"folds {turn[0]}-{turn[-1]}: ours {ours[-1]:.0f} s, plain {plain[-1]:.0f} s", flush=True)
        child = max(pool(delayed(peak_memory)() for _ in range(4)))
    own = peak_memory()
    low, middle, high = (f"{q:.2f}" for q in np.quantile(ratios, [0, 0.5, 1]))
    scaled = "" if given.plain_epochs == epochs else f" (scaled from {given.plain_epochs} passes of every fold)"
    lines = [
        "# STSTNet, whole leave-one-subject-out on the MEGC 2019 composite",
        "",
        f"{len(folds)} folds, {epochs} passes, batch 256. {machine()}; commit {commit()}; "
        f"{datetime.date.today():%Y-%m-%d}.",
        "",
        "| | seconds | median per fold |",
        "|---|---|---|",
        f"| mien, 2 processes of 1 thread | {sum(ours):.0f} | {statistics.median(per_fold):.1f} |",
        f"| plain sequential loop, 2 threads{scaled} | {sum(plain):.0f} | {statistics.median(plain_per_fold):.1f} |",
        "",
        f"Ratio of the totals: **{sum(plain) / sum(ours):.2f}**; by turn: least {low}, median {middle}, most {high}.",
        f"Peak memory: {own:.0f} MiB in the main process (the plain loop), {child:.0f} MiB in the largest worker.",
    ]
    lines.append(
        f"Processor time taken by other programs, sampled before each part: median {statistics.median(others):.0%}, "
        f"most {max(others):.0%}."
    )
    if statistics.median(others) > 0.1:
        lines.append("**The machine was busy: this ratio flatters mien and is not a result. Run it again alone.**")
    ledger = read_ledger(given.run)
    if ledger.complete:
        result = report(ledger)
        lines.append(f"The same run's score: UF1 {result['uf1']:.4f}, UAR {result['uar']:.4f}.")
    publish(lines, given.out)


if __name__ == "__main__":
    main()
