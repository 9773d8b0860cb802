"""How fast spotters read long films, and what memory a long film takes.

python benchmarks/spotting.py [--minutes 5] [--fps 100] [--people 2] [--spotters flow-peaks lbp-chi2 mdmd]
                              [--growth 1 30] [--out benchmarks/results/spotting.md]

Films of a drawn face (640x480, H.264) are made in a temporary folder. `--growth` spots films of so many minutes, each
in a process of its own, and tells its peak memory. Times count decoding, face and spotting, on the threads given. How
well they find what is there: `studies/spotting_accuracy.py`.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
import time
from pathlib import Path

import cv2
import torch
from machine import commit, machine, peak_mib
from measure import alone, arguments, publish

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "spotting"))
from staged import Film, film, frames

from mien.io.video import write_video
from mien.spotting import SPOTTERS
from mien.spotting.spot import spot


def stage(identity: int, minutes: float, fps: float) -> Film:
    """Every minute: eight micro- and two macro-expressions, twelve blinks; the head sways, turns and comes nearer."""
    return film(
        identity, 60 * minutes, fps, micros=round(8 * minutes), macros=round(2 * minutes), blinks=round(12 * minutes),
        seed=1, size=(480, 640), side=400,
    )  # fmt: skip


def growth(minutes: list[float], fps: float, folder: Path) -> list[str]:
    lines = ["", "| minutes | peak MiB, a process of its own | seconds |", "|---|---|---|"]
    one = stage(90, 0.5, fps)
    short = list(frames(one))
    for m in minutes:
        path = folder / f"grow-{m:g}.mp4"
        write_video(path, (f for _ in range(max(1, round(m / 0.5))) for f in short), fps=fps)
        started = time.perf_counter()
        (peak,) = alone(__file__, "--one", path)
        lines.append(f"| {m:g} | {float(peak):.0f} | {time.perf_counter() - started:.0f} |")
        print(lines[-1], file=sys.stderr)
    return lines


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--fps", type=float, default=100)
    parser.add_argument("--people", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--spotters", nargs="+", default=["flow-peaks", "lbp-chi2", "mdmd"], choices=list(SPOTTERS))
    parser.add_argument("--growth", nargs="*", type=float, default=[])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(given.threads)
    if given.one:
        spot(given.one)
        print(peak_mib())
        return
    lines = [
        "# Spotting: speed and memory",
        "",
        f"{machine()}, {given.threads} threads; commit {commit()}; {datetime.date.today():%Y-%m-%d}.",
        f"{given.people} film(s) of a drawn face, {given.minutes:g} min, 640x480, {given.fps:g} frames/s, H.264; head "
        "motion and blinks; default parameters.",
        "",
        "| spotter | times real time | CPU ms/frame |",
        "|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = []
        for identity in range(20, 20 + given.people):
            one = stage(identity, given.minutes, given.fps)
            made.append((one, write_video(folder / f"{identity}.mp4", frames(one), fps=given.fps)))
            print(f"made {made[-1][1].name}", file=sys.stderr)
        for spotter in given.spotters:
            if SPOTTERS[spotter].train is not None:
                continue  # trained ones cost what their features do
            wall, cpu = 0.0, time.process_time()
            for _, path in made:
                wall += spot(path, spotter).seconds
            cpu = time.process_time() - cpu
            n = sum(one.n_frames for one, _ in made)
            lines.append(f"| {spotter} | {n / given.fps / wall:.2f} | {1000 * cpu / n:.1f} |")
            print(lines[-1], file=sys.stderr)
        if given.growth:
            lines += growth(given.growth, given.fps, folder)
    publish(lines, given.out)


if __name__ == "__main__":
    main()
