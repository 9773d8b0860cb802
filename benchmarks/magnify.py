"""Speed and memory of magnification, temporal interpolation and rank pooling against plain versions, in one run.

python benchmarks/magnify.py [--turns 5] [--frames 60] [--out benchmarks/results/magnify.md]

Magnification is compared with two frame-by-frame versions of the published steps (YIQ, Laplacian pyramid, filters on
every band, gains, rebuilding): one in numpy alone, one with OpenCV's pyramid steps. Several factors cost the plain ones
one run each; temporal interpolation is compared with the singular value decomposition it is published with. All
versions of a line take turns, so that they meet the same machine; times are medians with least and most.
"""

from __future__ import annotations

import datetime
import statistics
import tracemalloc
from collections.abc import Callable

import cv2
import numpy as np
from machine import commit, machine
from measure import arguments, in_turns, publish
from numpy.typing import NDArray

from mien.motion.interpolate import tim
from mien.motion.magnify import Magnifier, level_gains, magnify
from mien.motion.rank_pooling import dynamic_image, rank_weights

HEIGHT, WIDTH = 300, 245
TAPS = np.array([1, 4, 6, 4, 1], np.float32) / 16
TO_RGB = np.array([[1, 0.956, 0.621], [1, -0.272, -0.647], [1, -1.106, 1.703]], np.float32)
TO_YIQ = np.linalg.inv(TO_RGB).astype(np.float32)
FACTORS = tuple(range(5, 15))

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def blurred(picture: Floats) -> Floats:
    """(H, W, C) through the binomial kernel, one axis after the other; mirrored borders."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((2, 2), (0, 0), (0, 0)), mode="reflect")
    rows = sum((tap * padded[k : k + height] for k, tap in enumerate(TAPS)), np.float32(0))
    padded = np.pad(np.asarray(rows), ((0, 0), (2, 2), (0, 0)), mode="reflect")
    return np.asarray(sum((tap * padded[:, k : k + width] for k, tap in enumerate(TAPS)), np.float32(0)))


def numpy_down(picture: Floats) -> Floats:
    return blurred(picture)[::2, ::2]


def numpy_up(picture: Floats, height: int, width: int) -> Floats:
    sparse = np.zeros((height, width, picture.shape[2]), np.float32)
    sparse[::2, ::2] = picture
    return 4 * blurred(sparse)


def opencv_down(picture: Floats) -> Floats:
    return np.asarray(cv2.pyrDown(picture))


def opencv_up(picture: Floats, height: int, width: int) -> Floats:
    return np.asarray(cv2.pyrUp(picture, dstsize=(width, height)))


def plain_magnify(
    frames: Bytes,
    alpha: float,
    down: Callable[[Floats], Floats],
    up: Callable[[Floats, int, int], Floats],
    r1: float = 0.4,
    r2: float = 0.05,
    chroma: float = 0.1,
) -> Bytes:
    """The published steps, frame by frame."""
    gains = level_gains(frames.shape[1], frames.shape[2], alpha).astype(np.float32)
    result = np.empty_like(frames)
    fast: list[Floats] = []
    slow: list[Floats] = []
    for t, frame in enumerate(frames):
        yiq = (frame.astype(np.float32) / 255) @ TO_YIQ.T
        bands = []
        level = yiq
        for _ in range(len(gains) - 1):
            small = down(level)
            bands.append(level - up(small, *level.shape[:2]))
            level = small
        bands.append(level)
        if t == 0:
            fast, slow = list(bands), list(bands)
        fast = [(1 - r1) * old + r1 * band for old, band in zip(fast, bands, strict=True)]
        slow = [(1 - r2) * old + r2 * band for old, band in zip(slow, bands, strict=True)]
        passed = [g * (a - b) for g, a, b in zip(gains, fast, slow, strict=True)]
        change = passed[-1]
        for band in passed[-2::-1]:
            change = band + up(change, *band.shape[:2])
        change[..., 1:] *= chroma
        total = (yiq + change) @ TO_RGB.T
        result[t] = np.round(np.clip(total, 0, 1) * 255).astype(np.uint8)
    return result


def numpy_magnify(frames: Bytes, alpha: float) -> Bytes:
    return plain_magnify(frames, alpha, numpy_down, numpy_up)


def opencv_magnify(frames: Bytes, alpha: float) -> Bytes:
    return plain_magnify(frames, alpha, opencv_down, opencv_up)


def plain_tim(frames: NDArray[np.floating], n: int) -> NDArray[np.floating]:
    """Temporal interpolation as published, through a singular value decomposition of the clip."""
    length = len(frames)
    x = frames.reshape(length, -1).T
    mean = x.mean(1, keepdims=True)
    u, s, vt = np.linalg.svd(x - mean, full_matrices=False)
    u, q = u[:, : length - 1], (s[:, None] * vt)[: length - 1]
    k = np.arange(1, length)
    vectors = np.cos(np.pi / length * np.outer(np.arange(length) + 0.5, k))
    w = np.linalg.solve(q @ q.T, q @ vectors)
    where = np.linspace(1 / length, 1, n)[:, None]
    curve = np.sin(np.pi * k * where + np.pi * (length - k) / (2 * length))
    m = (q[:, 0] @ w) / np.sin(np.pi * k / length + np.pi * (length - k) / (2 * length))
    return np.asarray((u @ np.linalg.solve(w.T, (m * curve).T) + mean).T.reshape(n, *frames.shape[1:]))


def plain_dynamic_image(frames: Bytes) -> Floats:
    total = np.zeros(frames.shape[1:], np.float32)
    for weight, frame in zip(rank_weights(len(frames)), frames, strict=True):
        total += np.float32(weight) * frame
    return total


def film(length: int, height: int = HEIGHT, width: int = WIDTH) -> Bytes:
    """A face-like smooth picture that shakes a little, with the noise of a camera."""
    rng = np.random.default_rng(0)
    still = cv2.GaussianBlur(rng.normal(size=(height + 16, width + 16, 3)).astype(np.float32), (0, 0), 6)
    still = 128 + still * (50 / still.std())
    shift = 0.6 * np.sin(np.arange(length) / 3)
    moved = [
        cv2.warpAffine(
            still, np.array([[1, 0, d - 8], [0, 1, -8]], np.float32), (width, height), flags=cv2.INTER_LINEAR
        )
        for d in shift
    ]
    return np.stack([np.clip(m + rng.normal(0, 2, m.shape), 0, 255).astype(np.uint8) for m in moved])


def by_name(calls: dict[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Seconds of each call."""
    return dict(zip(calls, in_turns(list(calls.values()), turns), strict=True))


def spread(values: list[float], unit: float, digits: int = 0) -> str:
    scaled = sorted(v * unit for v in values)
    return f"{statistics.median(scaled):.{digits}f} ({scaled[0]:.{digits}f}-{scaled[-1]:.{digits}f})"


def rows_of(taken: dict[str, list[float]], label: str, frames: int) -> list[str]:
    """One line per version: frames per second and how many times as fast the first version is."""
    ours = statistics.median(next(iter(taken.values())))
    return [
        f"| {label} | {name} | {spread([frames / s for s in values], 1, 1)} | {statistics.median(values) / ours:.1f} |"
        for name, values in taken.items()
    ]


def working_memory(length: int, height: int, width: int) -> float:
    """Most memory, in MiB, that a magnifier of 10 factors holds and uses beside one result, whatever the length."""
    frames = film(min(length, 8), height, width)
    out = np.empty((len(FACTORS), height, width, 3), np.uint8)
    tracemalloc.start()
    magnifier = Magnifier(height, width, True, FACTORS)
    for t in range(length):
        magnifier.push(frames[t % len(frames)], out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--frames", type=int, default=60)
    given = parser.parse_args()
    frames = film(given.frames)
    few = frames[: max(given.frames // 10, 5)]
    lines = [
        "# Magnification, temporal interpolation and rank pooling",
        "",
        f"RGB frames of {HEIGHT}x{WIDTH}, 8 bits; median (least-most) of {given.turns} turns. {machine()}, OpenCV "
        f"{cv2.__version__}, {cv2.getNumThreads()} threads; commit {commit()}; {datetime.date.today():%Y-%m-%d}.",
        "",
        "## Magnified frames per second",
        "",
        "| factors | version | frames/s | mien is faster by |",
        "|---|---|---|---|",
    ]
    one = by_name(
        {
            "mien": lambda: magnify(frames, 8),
            "plain, numpy": lambda: numpy_magnify(frames, 8),
            "plain, OpenCV": lambda: opencv_magnify(frames, 8),
        },
        given.turns,
    )
    lines += rows_of(one, "1", len(frames))
    ten = by_name(
        {
            "mien": lambda: magnify(few, FACTORS),
            "plain, numpy": lambda: [numpy_magnify(few, alpha) for alpha in FACTORS],
            "plain, OpenCV": lambda: [opencv_magnify(few, alpha) for alpha in FACTORS],
        },
        given.turns,
    )
    lines += rows_of(ten, f"{len(FACTORS)} (5-14)", len(few))
    apart = np.abs(magnify(frames, 8).astype(int) - numpy_magnify(frames, 8)).max()
    lines += [
        "",
        f"With {len(FACTORS)} factors a frame gives {len(FACTORS)} pictures. Largest difference between mien and plain "
        f"numpy: {apart} of 255 grey levels, from rounding.",
        "",
        "## Growth with frames and pixels",
        "",
        "| frames | size | 1 factor, ms/frame | 10 factors, ms/frame | working memory, 10 factors, MiB |",
        "|---|---|---|---|---|",
    ]
    for length, scale in ((50, 1.0), (100, 1.0), (200, 1.0), (50, 0.5), (50, 2.0)):
        height, width = round(HEIGHT * scale), round(WIDTH * scale)
        clip = film(length, height, width)

        def stream(alphas: tuple[float, ...], clip: Bytes = clip) -> None:
            out = np.empty((len(alphas), *clip.shape[1:]), np.uint8)
            magnifier = Magnifier(clip.shape[1], clip.shape[2], True, alphas)
            for frame in clip:
                magnifier.push(frame, out)

        taken = by_name({"1": lambda: stream((8,)), "10": lambda: stream(FACTORS)}, given.turns)
        each = " | ".join(spread(values, 1000 / length, 2) for values in taken.values())
        lines.append(f"| {length} | {height}x{width} | {each} | {working_memory(length, height, width):.1f} |")
    clip = film(100)
    clip32 = clip.astype(np.float32)
    lines += [
        "",
        "## 100 frames to 30, and to one",
        "",
        "| what | version | ms | mien is faster by |",
        "|---|---|---|---|",
    ]
    versions: dict[str, dict[str, Callable[[], object]]] = {
        "TIM, 100 to 30": {"mien": lambda: tim(clip32, 30), "plain, by SVD": lambda: plain_tim(clip32, 30)},
        "dynamic image": {"mien": lambda: dynamic_image(clip), "plain loop": lambda: plain_dynamic_image(clip)},
    }
    for label, calls in versions.items():
        times = by_name(calls, given.turns)
        ours = statistics.median(times["mien"])
        lines += [
            f"| {label} | {name} | {spread(values, 1000, 1)} | {statistics.median(values) / ours:.1f} |"
            for name, values in times.items()
        ]
    gap = np.abs(tim(clip32[:20].astype(np.float64), 30) - plain_tim(clip32[:20].astype(np.float64), 30)).max()
    lines += ["", f"Largest difference between both ways of temporal interpolation, float64, 20 frames: {gap:.1e}."]
    publish(lines, given.out)


if __name__ == "__main__":
    main()
