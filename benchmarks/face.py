"""How fast faces are followed and aligned, against one frame at a time, and how much memory that takes.

python benchmarks/face.py [--video FILE] [--rounds 5] [--threads 2] [--out benchmarks/results/face.md]

Without a video, the portrait that comes with mien wanders through frames of 640x360. Decoding is not counted.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from machine import commit, machine, peak_mib
from measure import alone, arguments, publish

from mien.face.align import align_clip
from mien.face.crop import crop_clip
from mien.face.detect import detect_faces
from mien.face.landmarks import track_face
from mien.face.mesh import find_mesh, square_of_face
from mien.face.portrait import portrait

GROWTH = (32, 128, 512, 2048)


def wandering(n: int) -> Iterator[np.ndarray]:
    """A face about 120 pixels wide that moves by a few pixels, in frames of 640x360."""
    large = cv2.resize(portrait(), (360, 360), interpolation=cv2.INTER_CUBIC)
    for t in range(n):
        x, y = 140 + 3 * np.sin(t / 9), 2 * np.cos(t / 7)
        matrix = np.array([[1, 0, x], [0, 1, y]])
        frame = cv2.warpAffine(large, matrix, (640, 360), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        yield np.asarray(frame)


def read(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


def plain(frames: list[np.ndarray]) -> None:
    """One frame at a time: detect, then the mesh."""
    for frame in frames:
        faces = detect_faces([frame])[0]
        find_mesh([frame], [square_of_face(faces[0])])


def detect_in_batches(frames: list[np.ndarray]) -> None:
    for start in range(0, len(frames), 32):
        detect_faces(frames[start : start + 32])


def measure(work: Callable[[], object], n: int, rounds: int) -> tuple[float, float, float]:
    """Median, slowest and fastest frames per second."""
    work()
    rates = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        rates.append(n / (time.perf_counter() - started))
    return statistics.median(rates), min(rates), max(rates)


def peak_memory(n: int) -> tuple[float, float]:
    """Megabytes and seconds of following a face through n frames in a process of its own."""
    started = time.perf_counter()
    (megabytes,) = alone(__file__, "--grow", n)
    return float(megabytes), time.perf_counter() - started


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--grow", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(given.threads)
    if given.grow:
        track_face(wandering(given.grow))
        print(peak_mib())
        return
    frames = read(given.video) if given.video else list(wandering(96))
    height, width = frames[0].shape[:2]
    track = track_face(frames)
    works: list[tuple[str, Callable[[], object]]] = [
        ("one frame at a time: detection, then landmarks", lambda: plain(frames)),
        ("**batches of 32: detection in every frame, landmarks in a kept square**", lambda: track_face(frames)),
        ("the same, batches of 8", lambda: track_face(frames, batch=8)),
        ("the same, batches of 32, mean of 7 squares", lambda: track_face(frames, crops=7)),
        ("detection alone, batches of 32", lambda: detect_in_batches(frames)),
        ("crop to 300x245, one rectangle", lambda: list(crop_clip(frames, track))),
        ("align to 300x245, one transform", lambda: list(align_clip(frames, track))),
        ("align to 300x245, a transform per frame", lambda: list(align_clip(frames, track, per_frame=True))),
    ]
    lines = [
        "# Faces: speed and memory",
        "",
        f"{len(frames)} frames of {width}x{height}, {'a video' if given.video else 'the portrait wandering'}; decoded "
        f"before; {machine()}, {given.threads} threads; commit {commit()}; {datetime.date.today():%Y-%m-%d}.",
        f"Frames per second: median of {given.rounds} rounds after one to warm up, with the slowest and the fastest.",
        "",
        "| what | frames/s | slowest | fastest |",
        "|---|---|---|---|",
    ]
    for name, work in works:
        median, low, high = measure(work, len(frames), given.rounds)
        lines.append(f"| {name} | {median:.0f} | {low:.0f} | {high:.0f} |")
        print(lines[-1], file=sys.stderr)
    lines += [
        "",
        "Following a face through more and more frames, made one by one, in a process of its own:",
        "",
        "| frames | peak memory, MB | seconds, with the start of Python |",
        "|---|---|---|",
    ]
    for n in GROWTH:
        megabytes, seconds = peak_memory(n)
        lines.append(f"| {n} | {megabytes:.0f} | {seconds:.1f} |")
    publish(lines, given.out)


if __name__ == "__main__":
    main()
