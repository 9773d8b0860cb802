"""TIM, binary patterns and kernels against their floors, plain versions and scikit-image, in one run on one thread.

python benchmarks/floors.py [--turns 7] [--out benchmarks/results/floors.md]

The floor is the operations that the result needs at the rate of a large matrix product, or the bytes that it must read
and write at the rate of a copy of a large array, both measured in the same run; the larger time counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from machine import stamp
from magnify import film, plain_tim
from measure import arguments, publish
from numpy.typing import NDArray

from mien.classifiers.face_bands import windows
from mien.classifiers.flow_features import FlowFeatures, flow_features, flow_kernel
from mien.descriptors import lbp_sip, lbp_top
from mien.motion.interpolate import tim
from mien.synthesis.moving_face import render_clip

T, SIDE = 64, 112
RADIUS = 3

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing that is measured: what it needs at least, ours, and others by name."""

    operations: float
    bytes: float
    counted: str
    ours: Callable[[], object]
    others: dict[str, Callable[[], object]]


def seconds(calls: list[Callable[[], object]], turns: int) -> list[float]:
    """Median processor seconds of each call, all in turn, after one round that does not count."""
    taken: list[list[float]] = [[] for _ in calls]
    for turn in range(turns + 1):
        for each, call in zip(taken, calls, strict=True):
            began = time.process_time()
            call()
            if turn:
                each.append(time.process_time() - began)
    return [statistics.median(each) for each in taken]


def skimage_top(clip: Array) -> list[Array]:
    """Patterns of every slice along the three axes by scikit-image, and one histogram for each plane."""
    from skimage import feature

    pattern: Any = feature.local_binary_pattern

    found = []
    for axis in range(3):
        planes = np.moveaxis(clip, axis, 0)
        codes = [pattern(plane, 8, RADIUS, "nri_uniform") for plane in planes]
        found.append(np.bincount(np.stack(codes).astype(int).ravel(), minlength=59))
    return found


def plain_sip(clip: Array) -> Array:
    """Histogram of six bits, in numpy as one would write it."""
    r = RADIUS
    centre = clip[r:-r, r:-r, r:-r]
    code = np.zeros(centre.shape, int)
    for bit, (axis, by) in enumerate((a, b) for a in range(3) for b in (r, -r)):
        code |= (np.roll(clip, -by, axis)[r:-r, r:-r, r:-r] >= centre).astype(int) << bit
    return np.bincount(code.ravel(), minlength=64)


def plain_kernel(a: FlowFeatures, b: FlowFeatures) -> Array:
    """The kernel of the whole face, one clip at a time."""
    found = np.zeros((len(a.motion), len(b.motion)))
    for other in (b, b.mirrored()):
        for i in range(len(a.motion)):
            motion, strain, slopes = (
                ((getattr(a, name)[i] - getattr(other, name)) ** 2).mean((1, 2, 3))
                for name in ("motion", "strain", "derivatives")
            )
            found[i] += np.exp(-0.67 * motion - 0.33 * strain) + np.exp(-slopes)
    return found / 2


def pieces() -> dict[str, Piece]:
    clip = film(100).astype(np.float32)
    grey = render_clip(0, "positive", interval_length=T, apex=30, size=SIDE, seed=0, colour=False)
    inner = (T - 2 * RADIUS) * (SIDE - 2 * RADIUS) ** 2
    rng = np.random.default_rng(0)
    one, many = (flow_features(rng.normal(size=(n, 3, 28, 28))) for n in (64, 442))
    pixels = clip[0].size
    values = 7 * 28 * 28
    return {
        "TIM, 100 frames of 300x245x3 to 30": Piece(
            2.0 * 30 * 100 * pixels, 4.0 * 130 * pixels, "one product; clip read, clip written, float32",
            lambda: tim(clip, 30), {"by SVD, as published": lambda: plain_tim(clip, 30)},
        ),
        f"LBP-TOP, {T} frames of {SIDE}x{SIDE}, 5x5 blocks": Piece(
            3 * inner * (4 * 7 + 8 * 2), 2.0 * grey.size, "24 neighbours, 12 of them interpolated (7), comparison, bit",
            lambda: lbp_top(grey, radius=RADIUS),
            {"scikit-image, slice by slice, no blocks": lambda: skimage_top(grey)},
        ),
        f"LBP-SIP, {T} frames of {SIDE}x{SIDE}, 5x5 blocks": Piece(
            inner * 6 * 2, 2.0 * grey.size, "6 neighbours, comparison, bit",
            lambda: lbp_sip(grey, radius=RADIUS), {"numpy, no blocks": lambda: plain_sip(grey)},
        ),
        "flow kernels, 64 clips with 442": Piece(
            2.0 * 2 * 64 * 442 * values, 8.0 * (64 + 442) * values, "two products, one with mirror images; float64",
            lambda: flow_kernel(one, many, windows(28)[:1]), {"numpy, clip by clip": lambda: plain_kernel(one, many)},
        ),
    }  # fmt: skip


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--turns", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    a = np.random.default_rng(0).normal(size=(1024, 1024)).astype(np.float32)
    large = np.zeros(1 << 26, np.uint8)
    (product, copied) = seconds([lambda: a @ a, lambda: large.copy()], given.turns)
    rate, flow = 2 * len(a) ** 3 / product, 2 * large.size / copied
    lines = [
        "# Floors of TIM, binary patterns and kernels",
        "",
        f"Milliseconds of a processor, medians of calls in turn, one thread. {stamp()}",
        f"A product of 1024x1024 float32 runs at {rate / 1e9:.0f} GFLOP/s, a copy moves {flow / 1e9:.1f} GB/s.",
        "",
        "| what | mien | floor | times the floor | other version | its time | times as long as mien | counted |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, piece in pieces().items():
        ours, *others = seconds([piece.ours, *piece.others.values()], given.turns)
        floor = max(piece.operations / rate, piece.bytes / flow)
        for other, taken in zip(piece.others, others, strict=True):
            lines.append(
                f"| {name} | {1000 * ours:.1f} | {1000 * floor:.2f} | {ours / floor:.1f} | {other} | "
                f"{1000 * taken:.1f} | {taken / ours:.1f} | {piece.counted} |"
            )
            print(lines[-1], flush=True)
    lines += [
        "",
        "Patterns: the floor supposes many levels compared at once and nothing in memory between the steps, which "
        "takes compiled code written for it; NumPy reads and writes an array for every neighbour.",
    ]
    publish(lines, given.out)


if __name__ == "__main__":
    main()
