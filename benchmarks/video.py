"""How fast films are decoded, and how time and memory grow with frames and pixels.

python benchmarks/video.py [--frames 1000] [--turns 7] [--out benchmarks/results/video.md]

Ours beside two plain ways of the same film in the same run, taking turns: OpenCV's VideoCapture with BGR turned to RGB,
and PyAV as its manual shows it, one thread and `to_ndarray` of every frame. With `--out` a picture of the growth is
drawn beside the table. Every peak of memory is that of a process of its own.
"""

from __future__ import annotations

import datetime
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path

import av
import cv2
import numpy as np
from machine import commit, machine, peak_mib, resident_mib
from measure import arguments, publish
from numpy.typing import NDArray

from mien.io.video import open_video, write_video

LENGTHS = (500, 1000, 2000)
SIDES = ((150, 200), (300, 400), (600, 800), (1200, 1600))


def texture(n: int, height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    """A soft texture that circles, with a little noise as a camera has."""
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.integers(0, 255, (height + 40, width + 40, 3), np.uint8), (0, 0), 2)
    ground = np.asarray(cv2.normalize(ground, None, 20, 230, cv2.NORM_MINMAX), np.uint8)
    grain = np.clip(np.round(rng.normal(15, 6, (8, height, width, 1))), 0, 25).astype(np.uint8)
    for t in range(n):
        x, y = round(20 + 19 * np.sin(t / 9)), round(20 + 19 * np.cos(t / 13))
        yield ground[y : y + height, x : x + width] + grain[t % 8]


def ours(path: Path, grey: bool = False) -> int:
    return sum(1 for _ in open_video(path).frames(grey=grey))


def ours_grey(path: Path) -> int:
    return ours(path, grey=True)


def opencv(path: Path) -> int:
    film, n = cv2.VideoCapture(str(path)), 0
    while True:
        whole, picture = film.read()
        if not whole:
            return n
        cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        n += 1


def plain_pyav(path: Path) -> int:
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        return sum(1 for picture in container.decode(video=0) if picture.to_ndarray(format="rgb24").size)


WAYS: dict[str, Callable[[Path], int]] = {
    "mien, RGB": ours,
    "mien, grey": ours_grey,
    "OpenCV VideoCapture, RGB": opencv,
    "PyAV `to_ndarray`, one thread, RGB": plain_pyav,
}


def peak(way: str, path: str) -> tuple[float, float]:
    """Seconds, and MiB beyond what the process holds before it opens the film."""
    before = resident_mib()
    started = time.perf_counter()
    WAYS[way](Path(path))
    return time.perf_counter() - started, peak_mib() - before


def alone(way: str, path: Path) -> tuple[float, float]:
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(peak, (way, str(path)))


def speeds(path: Path, n: int, turns: int) -> list[str]:
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(turns + 1):
        for way, run in WAYS.items():
            started = time.perf_counter()
            if run(path) != n:
                raise SystemExit(f"{way} did not give {n} frames")
            if turn:  # the first warms the file cache
                taken[way].append(n / (time.perf_counter() - started))
    lines = ["| way | frames/s, median | least to most | beside mien, RGB |", "|---|---|---|---|"]
    base = statistics.median(taken["mien, RGB"])
    for way, rates in taken.items():
        middle = statistics.median(rates)
        lines.append(f"| {way} | {middle:.0f} | {min(rates):.0f} to {max(rates):.0f} | {middle / base:.2f} |")
    return lines


def reaching(path: Path, n: int) -> str:
    """Milliseconds to one frame anywhere in the film, which was opened and counted before."""
    video = open_video(path)
    counted = video.n_frames or n
    taken = []
    for index in np.random.default_rng(1).integers(0, counted, 40):
        started = time.perf_counter()
        video.frame(int(index))
        taken.append(1000 * (time.perf_counter() - started))
    return (
        f"One frame anywhere, key frames 250 apart: median {statistics.median(taken):.0f} ms, most {max(taken):.0f} ms."
    )


def draw(growth: dict[str, list[tuple[float, float, float]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.8), dpi=144, layout="constrained")
    axes = figure.subplots(1, 4)
    for column, (label, points) in enumerate(growth.items()):
        across = [point[0] for point in points]
        for row, name in enumerate(("seconds", "MiB")):
            panel = axes[2 * row + column]
            panel.plot(across, [point[1 + row] for point in points], "o-", color="#2563eb")
            panel.set_xlabel(label, fontsize=8)
            panel.set_title(name, fontsize=9)
            panel.set_ylim(0, 1.1 * max(point[1 + row] for point in points) + 1e-9)
            panel.tick_params(labelsize=7)
    figure.savefig(path)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=7)
    given = parser.parse_args()
    growth: dict[str, list[tuple[float, float, float]]] = {"frames": [], "megapixels": []}
    with tempfile.TemporaryDirectory() as folder:

        def film(n: int, height: int, width: int) -> Path:
            path = Path(folder) / f"{n}_{height}.mp4"
            return path if path.exists() else write_video(path, texture(n, height, width), 200)

        path = film(given.frames, 300, 400)
        size = path.stat().st_size / given.frames / 1024
        lines = [
            "# Decoding films",
            "",
            f"{given.frames} frames of 400x300, H.264 with B-frames, {size:.1f} KiB a frame; opening and counting "
            f"included. {machine()}; PyAV {av.__version__}, OpenCV {cv2.__version__}; commit {commit()}; "
            f"{datetime.date.today():%Y-%m-%d}.",
            "",
            *speeds(path, given.frames, given.turns),
            "",
            reaching(path, given.frames),
            "",
            "Memory beyond the bare process while all frames are read, one after the other:",
            "",
            "| frames | size | mien: s | mien: MiB | PyAV, one thread: s | PyAV: MiB |",
            "|---|---|---|---|---|---|",
        ]
        cases = [(n, 300, 400, "frames", float(n)) for n in LENGTHS]
        cases += [(200, height, width, "megapixels", height * width / 1e6) for height, width in SIDES]
        for n, height, width, label, across in cases:
            seconds, more = alone("mien, RGB", film(n, height, width))
            plain_seconds, plain_more = alone("PyAV `to_ndarray`, one thread, RGB", film(n, height, width))
            growth[label].append((across, seconds, more))
            lines.append(
                f"| {n} | {width}x{height} | {seconds:.2f} | {more:.1f} | {plain_seconds:.2f} | {plain_more:.1f} |"
            )
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        draw(growth, given.out.with_suffix(".png"))
        lines += ["", f"![Growth of time and memory]({given.out.with_suffix('.png').name})"]
    publish(lines, given.out)


if __name__ == "__main__":
    main()
