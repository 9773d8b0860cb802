"""How long the referee takes for 100,000 intervals and for 1,000,000 scores of frames.

python benchmarks/score.py
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import stamp
from measure import arguments, publish

from mien.evaluation.referee.score import score

LENGTH = 4000


def write_truth(path: Path, videos: int, random: np.random.Generator) -> None:
    rows = ["subject,video,kind,onset,offset"]
    for video in range(videos):
        for onset in random.integers(0, LENGTH - 200, 4):
            kind = "micro" if random.random() < 0.5 else "macro"
            rows.append(f"{video % 30},v{video},{kind},{onset},{onset + random.integers(5, 150)}")
    path.write_text("\n".join(rows), encoding="utf-8")


def write_intervals(path: Path, n: int, of: int, random: np.random.Generator) -> None:
    videos, onsets, lengths = (
        random.integers(0, of, n),
        random.integers(0, LENGTH - 200, n),
        random.integers(5, 150, n),
    )
    kinds = np.where(random.random(n) < 0.5, "micro", "macro")
    rows = [f"{v % 30},v{v},{k},{a},{a + d}" for v, k, a, d in zip(videos, kinds, onsets, lengths, strict=True)]
    path.write_text("\n".join(["subject,video,kind,onset,offset", *rows]), encoding="utf-8")


def write_frames(path: Path, videos: int, random: np.random.Generator) -> None:
    noise = np.cumsum(random.standard_normal((videos, LENGTH + 15)), axis=1)
    values = (noise[:, 15:] - noise[:, :-15]).round(3)  # a curve as smooth as those of spotters
    rows = [f"{v % 30},v{v},{t},{x}" for v, curve in enumerate(values) for t, x in enumerate(curve)]
    path.write_text("\n".join(["subject,video,frame,score", *rows]), encoding="utf-8")


def seconds(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the rows")
    given = parser.parse_args()
    n, videos = (1_000, 5) if given.quick else (100_000, 250)
    random = np.random.default_rng(0)
    lines = ["# The referee", "", stamp(), "Seconds of the processor, files read included.", "",
             "| predictions | rows | videos | s |", "|---|---|---|---|"]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        truth, spread, one, frames = (Path(folder) / f"{name}.csv" for name in ("truth", "spread", "one", "frames"))
        write_truth(truth, videos, random)
        write_intervals(spread, n, videos, random)
        write_frames(frames, videos, random)
        rows = spread.read_text(encoding="utf-8").splitlines()
        one.write_text("\n".join([rows[0], *(f"0,v0,{row.split(',', 2)[2]}" for row in rows[1:])]), encoding="utf-8")
        lines.append(f"| intervals | {n:,} | {videos} | {seconds(lambda: score(spread, truth)):.1f} |")
        lines.append(f"| intervals, all in one video | {n:,} | 1 | {seconds(lambda: score(one, truth)):.1f} |")
        spent = seconds(lambda: score(frames, truth, kind="micro"))
        lines.append(f"| scores of frames | {videos * LENGTH:,} | {videos} | {spent:.1f} |")
    publish(lines, given.out)


if __name__ == "__main__":
    main()
