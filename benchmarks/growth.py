"""How time and memory of each part of the chain grow with frames and with pixels.

python benchmarks/growth.py [--out FILE]

Each point runs in a process of its own, so that its peak memory is its own; with --out a picture is drawn beside it.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import commit, machine, peak_mib

PARTS = ("decoding", "face and landmarks", "magnification", "classic_nl", "time to 30 frames")
FRAMES = (50, 100, 200, 400)
SIZES = ((150, 122), (300, 245), (600, 490))


def work(part: str, frames: int, height: int, width: int, folder: Path) -> tuple[Callable[[], object], int]:
    """What to time, and for how many frames (or pairs) it stands."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
    if part == "decoding":
        from mien.video import open_video, write_video

        film = write_video(folder / "film.mp4", (np.roll(noise, n, 1) for n in range(frames)), 100)
        return lambda: sum(1 for _ in open_video(film).frames()), frames
    if part == "face and landmarks":
        import cv2

        from mien.face.landmarks import track_face
        from mien.face.portrait import portrait

        face = cv2.resize(portrait(), (width, height))
        return lambda: track_face(np.roll(face, n % 3, 1) for n in range(frames)), frames
    if part == "magnification":
        from mien.motion.magnify import Magnifier

        def magnified() -> None:
            magnifier = Magnifier(height, width, True)
            for n in range(frames):
                magnifier.push(np.roll(noise, n, 1))

        return magnified, frames
    if part == "classic_nl":
        from mien.motion.classic_nl import classic_nl
        from mien.synthesis.moving_pairs import moving_pair

        pair = moving_pair("smooth", height=height, width=width)
        n = max(1, frames // 50)
        return lambda: classic_nl(np.stack([pair.first] * n), np.stack([pair.second] * n)), n
    from mien.motion.interpolate import resample

    clip = np.stack([np.roll(noise, n, 1) for n in range(frames)])
    return lambda: resample(clip, 30), frames


def point(part: str, frames: int, height: int, width: int) -> None:
    """Prints median seconds, count and MiB of one point; the first call warms up."""
    with tempfile.TemporaryDirectory() as folder:
        run, n = work(part, frames, height, width, Path(folder))
        run()
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
    print(statistics.median(seconds), n, peak_mib())


def measure(part: str, frames: int, height: int, width: int) -> tuple[float, int, float]:
    """One point in a process of its own."""
    words = [sys.executable, __file__, "--point", part, str(frames), str(height), str(width)]
    answer = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    return float(answer[0]), int(answer[1]), float(answer[2])


def draw(rows: list[tuple[str, int, int, int, float, int, float]], path: Path) -> None:
    """Time and memory against frames and against pixels."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(11, 5.6), dpi=130, layout="constrained")
    axes = figure.subplots(2, 2)
    for part in PARTS:
        by_frames = [r for r in rows if r[0] == part and (r[2], r[3]) == (300, 245)]
        by_size = [r for r in rows if r[0] == part and r[1] == 100]
        for column, (some, place) in enumerate(((by_frames, 5), (by_size, None))):
            some = sorted(some, key=lambda r: (r[1], r[2]))
            x = [r[place] if place else r[2] * r[3] for r in some]
            axes[0, column].plot(x, [r[4] for r in some], "-o", ms=3.5, lw=1.3, label=part)
            axes[1, column].plot(x, [r[6] for r in some], "-o", ms=3.5, lw=1.3, label=part)
    for row, what in enumerate(("seconds", "peak memory, MiB")):
        for column, along in enumerate(
            ("frames of 300x245 (classic_nl: pairs)", "pixels, 100 frames (classic_nl: 2 pairs)")
        ):
            axes[row, column].set_xlabel(along, fontsize=8)
            axes[row, column].set_ylabel(what, fontsize=8)
            axes[row, column].tick_params(labelsize=7)
            axes[row, column].set_xscale("log")
            ticks = (1, 2, 4, 8, 50, 100, 200, 400) if column == 0 else tuple(h * w for h, w in SIZES)
            axes[row, column].set_xticks(ticks, [f"{tick:,}" for tick in ticks])
            axes[row, column].xaxis.set_minor_formatter(NullFormatter())
            if row == 0:
                axes[row, column].set_yscale("log")
            else:
                axes[row, column].set_ylim(0)
            for side in ("top", "right"):
                axes[row, column].spines[side].set_visible(False)
    axes[0, 0].legend(fontsize=7, frameon=False)
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--point", nargs=4)
    given = parser.parse_args()
    if given.point:
        point(given.point[0], *(int(v) for v in given.point[1:]))
        return
    lines = [
        "# How cost grows with frames and pixels",
        "",
        f"{machine()}; commit {commit()}; {datetime.date.today():%Y-%m-%d}.",
        "Medians of 3; peak memory is that of the whole process, imports included.",
        "",
        "| part | frames | size | seconds | per second | peak MiB |",
        "|---|---|---|---|---|---|",
    ]
    rows = []
    for part in PARTS:
        wanted = [(n, 300, 245) for n in FRAMES] + [(100, h, w) for h, w in SIZES if h != 300]
        for frames, height, width in wanted:
            seconds, n, memory = measure(part, frames, height, width)
            rows.append((part, frames, height, width, seconds, n, memory))
            lines.append(f"| {part} | {n} | {height}x{width} | {seconds:.3f} | {n / seconds:.1f} | {memory:.0f} |")
            print(lines[-1], flush=True)
    if given.out:
        draw(rows, given.out.with_suffix(".png"))
        given.out.write_text("\n".join([*lines, "", f"![growth]({given.out.with_suffix('.png').name})"]) + "\n")


if __name__ == "__main__":
    main()
