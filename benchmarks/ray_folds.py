"""Folds on Ray against one process and joblib's processes: the same ledger, what Ray costs once and per fold.

python benchmarks/ray_folds.py [--subjects 12] [--epochs 150] [--workers 1 2 4] [--out benchmarks/results/ray_folds.md]

STSTNet on drawn flow pictures, leave one subject out, all on this machine. Efficiency: seconds of one process, divided
by seconds times the cores that the workers can use. Cost per fold: folds that hardly train (one pass), less the same
in one process.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from machine import cores, stamp, taken_by_others
from measure import arguments, publish

from mien.datasets import open_dataset
from mien.evaluation.execution.ray_connect import connect
from mien.evaluation.run import benchmark
from mien.synthesis.flow_images import write_flow_images


def ledger(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "ledger").iterdir())}


def seconds(pictures: Path, out: Path, epochs: int, **how: Any) -> float:
    """Seconds of a run, pictures read and rows written."""
    data = [open_dataset("flow_images", pictures)]
    began = time.perf_counter()
    benchmark(data, "ststnet", out, parameters={"epochs": epochs}, **how)
    return time.perf_counter() - began


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    given = parser.parse_args()
    rows, costs, starts, others = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_flow_images(place / "data", subjects=given.subjects, clips_per_subject=6, seed=0, layout="folders")
        seconds(place / "data", place / "warm", 1, jobs=1)
        one = seconds(place / "data", place / "one", given.epochs, jobs=1)
        brief = seconds(place / "data", place / "brief", 1, jobs=1)
        whole = ledger(place / "one")
        rows.append(("one process", 1, one, 1.0, "-"))

        def row(name: str, workers: int, taken: float, run: Path) -> None:
            same = "yes" if ledger(run) == whole else "**no**"
            rows.append((name, workers, taken, one / (taken * min(workers, cores())), same))

        for workers in given.workers:
            others.append(taken_by_others())
            taken = seconds(place / "data", place / f"processes{workers}", given.epochs, jobs=workers)
            row("joblib", workers, taken, place / f"processes{workers}")
            with connect("local", jobs=workers) as cluster:
                began = time.perf_counter()
                cluster.begin()
                starts.append(time.perf_counter() - began)
                # Workers import mien and torch with their first fold; that is part of the start, not of every fold.
                began = time.perf_counter()
                seconds(place / "data", place / f"first{workers}", 1, executor=cluster)
                first = time.perf_counter() - began
                taken = seconds(place / "data", place / f"ray{workers}", given.epochs, executor=cluster)
                row("Ray", workers, taken, place / f"ray{workers}")
                quick = seconds(place / "data", place / f"quick{workers}", 1, executor=cluster)
                starts[-1] += max(first - quick, 0.0)
                if workers == 1:
                    costs.append((quick - brief) / given.subjects)
    lines = [
        "# Folds on Ray",
        "",
        stamp(),
        f"STSTNet, {given.subjects} folds of {6 * given.subjects} drawn pictures, {given.epochs} passes.",
        "",
        "| how | workers | seconds | efficiency | same ledger |",
        "|---|---|---|---|---|",
        *(f"| {name} | {workers} | {taken:.1f} | {share:.2f} | {same} |" for name, workers, taken, share, same in rows),
        "",
        f"Ray's start, workers and their imports included: {min(starts):.1f} to {max(starts):.1f} s, once per command.",
    ]
    if costs:
        lines.append(f"What a fold costs on Ray beside its training: {1000 * costs[0]:.0f} ms.")
    lines.append(f"Processor time taken by other programs: {min(others):.0%} to {max(others):.0%}.")
    if max(others) > 0.1:
        lines.append("**The machine was busy: these are no results. Run it again alone.**")
    publish(lines, given.out)


if __name__ == "__main__":
    main()
