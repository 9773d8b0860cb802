"""Folds as one program against folds one by one: seconds of a step, on the CPU and on a GPU where there is one.

python benchmarks/stacked.py [--quick] [--out benchmarks/results/stacked.md]

One thread; batches as the systems' own (STSTNet 256 clips, STRCN-G 20), noise as input. "alone" is a step of
`mien.classifiers.training.fit`, "stacked" one of `mien.evaluation.execution.stack.fit_stack` over as many folds
as the row says, both on the device of the row.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from machine import stamp
from measure import arguments, publish, ratio
from torch import nn

from mien.classifiers.schedule import Schedule
from mien.classifiers.training import fit
from mien.evaluation.execution.costs import PROCESS_START
from mien.evaluation.execution.stack import fit_stack
from mien.models.rcn import RCN
from mien.models.ststnet import STSTNet

NETWORKS: dict[str, tuple[Callable[[], nn.Module], Schedule]] = {
    "ststnet": (STSTNet, Schedule(1, 256, "adam", 5e-5, shuffle=False)),
    "strcn-g, pictures": (lambda: RCN(3, 3, (28, 28), maps=24), Schedule(1, 20, lr=3e-2, loss="balanced")),
}


def per_step(train: Callable[[int], object], steps: int) -> float:
    """Seconds of a step: of `steps` + 1 passes over one batch, less those of one.

    Without a GPU, seconds of this thread's processor, which programs beside it hardly change.
    """
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time

    def timed(n: int) -> float:
        began = clock()
        train(n)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return clock() - began

    return max(timed(steps + 1) - timed(1), 1e-9) / steps


def row(name: str, device: str, folds: int, steps: int, turns: int) -> str:
    """One line of the table."""
    make, schedule = NETWORKS[name]
    random = torch.Generator().manual_seed(0)
    x = torch.randn(schedule.batch_size, 3, 28, 28, generator=random).to(device)
    y = torch.randint(0, 3, (len(x),), generator=random).to(device)

    def of(n: int) -> Schedule:
        return replace(schedule, epochs=n)

    model = make().to(device)
    models = [make().to(device) for _ in range(folds)]
    orders, drops = [torch.Generator() for _ in models], [torch.Generator(device) for _ in models]
    rows = [np.arange(len(x))] * folds
    ways: list[Callable[[int], object]] = [
        lambda n: fit(model, x, y, of(n)),
        lambda n: fit_stack(models, x, y, rows, of(n), orders, drops),
    ]
    for way in ways:
        way(1)
    alone, together = zip(*([per_step(way, steps) for way in ways] for _ in range(turns)), strict=True)
    a, b = (1000 * statistics.median(times) for times in (alone, together))
    shared = [all_of_them / folds for all_of_them in together]
    cells = f"{folds} | {a:.1f} | {b:.1f} | {b / folds:.2f} | {ratio([alone, shared], b / folds / a)}"
    return f"| {name} | {device} | {cells} |"


def process_start() -> float:
    """Seconds until a fresh interpreter has what a fold needs."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import mien.evaluation.run, mien.classifiers.training"], check=True)
    return time.perf_counter() - began


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="few folds, one turn")
    given = parser.parse_args()
    torch.set_num_threads(1)
    tried: dict[str, tuple[int, ...]] = {"cpu": (4,) if given.quick else (4, 16)}
    if torch.cuda.is_available():
        tried["cuda"] = (4,) if given.quick else (4, 16, 68)
    lines = [
        "# Folds trained as one program",
        "",
        stamp(),
        "",
        "Milliseconds of a step on one thread; medians of 5 turns of 10 steps. The ratio (least to most) is a fold's "
        "share of a stack's step over its step alone. On a CPU, processes divide the time alone by the number of "
        "cores; the stack has to beat that.",
        "",
        "| network | device | folds | alone | stacked, all folds | stacked, per fold | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in NETWORKS:
        for device, counts in tried.items():
            for folds in counts:
                lines.append(row(name, device, folds, 2 if given.quick else 10, 1 if given.quick else 5))
                print(lines[-1], flush=True)
    lines += [
        "",
        f"A worker process has what it needs after {process_start():.1f} s; `mien benchmark --folds auto` reckons with "
        f"{PROCESS_START:g} s. It measures a step alone and, on a GPU, of a stack; on a CPU it never stacks by itself.",
        *([] if "cuda" in tried else ["", "There was no GPU here: its rows are missing."]),
    ]
    publish(lines, given.out)


if __name__ == "__main__":
    main()
