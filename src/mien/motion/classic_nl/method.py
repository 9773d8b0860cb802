"""The method as a whole: penalties, the pyramid, and pairs of pictures by the batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.errors import MienError, unknown_name
from mien.motion.classic_nl.median import plain_median, smoothed_at_edges
from mien.motion.classic_nl.step import Penalties, increment
from mien.motion.classic_nl.texture import prepare, resized_flow, shrunk, texture
from mien.motion.levels import as_levels

_STEEP = 0.1
"""Least slope of a flow, in pixels a pixel, at which its median is weighted."""


def _charbonnier(x: Tensor) -> Tensor:
    return (x * x + 1e-6).pow_(-0.55).mul_(0.9)


def _lorentzian(sigma: float) -> Callable[[Tensor], Tensor]:
    return lambda x: 2 / (2 * sigma * sigma + x * x)


def _quadratic(x: Tensor) -> Tensor:
    return torch.full_like(x, 2.0)


_QUADRATIC = Penalties(_quadratic, _quadratic, 3.0)
"""Of the first stage; where the pictures have been prepared, smoothness counts ten times as much and more in noise."""

PENALTIES = {
    "charbonnier": Penalties(_charbonnier, _charbonnier, 3.0),
    "lorentzian": Penalties(_lorentzian(1.5), _lorentzian(0.03), 0.06),
}
"""The robust penalties by name: the generalised Charbonnier of Classic+NL, and that of Classic-L."""


def classic_nl(
    first: NDArray[Any],
    second: NDArray[Any],
    *,
    penalty: str | None = None,
    published: bool = False,
    warps: int | None = None,
    tolerance: float | None = None,
    device: str = "cpu",
    at_once: int | None = None,
) -> NDArray[np.float32]:
    """Displacement of every pixel, for one pair or many of one size.

    Args:
        first: (H, W) or (B, H, W) grey levels, (H, W, 3) or (B, H, W, 3) RGB, 0..255, at least 16 pixels a side. What
            ends in an axis of 3 is colour.
        second: The later pictures, of the same shape.
        penalty: "lorentzian" (that of Classic-L) or "charbonnier" (Classic+NL), in the same steps; by default the
            first, which keeps sharp edges better where the pictures have been prepared, and the second where
            `published`.
        published: Pictures and lambda as in the papers, to rebuild inputs made so; less accurate on smooth faces, and
            a little more at sharp edges of the motion in steady light.
        warps: How many times the pictures are brought together at each level of the pyramid; by default 2, with 3 at
            full size, and 3 at each where `published`.
        tolerance: Each linear system is solved until its residual has shrunk to this part; by default 0.1, and 0.01
            where `published`.
        device: Where torch computes.
        at_once: Pairs worked on together, by default 1 on a processor, where a pair fills its cache, and 16 elsewhere.

    Returns:
        (H, W, 2) or (B, H, W, 2) in pixels, x then y: the point at (x, y) in `first` is at (x + dx, y + dy) in
        `second`. Does not depend on which other pairs are in the batch, but for rounding.

    Raises:
        MienError: No such penalty; the pictures differ in shape, are too small or hold what is not a number.
    """
    penalty = penalty or ("charbonnier" if published else "lorentzian")
    if penalty not in PENALTIES:
        raise unknown_name("penalty", penalty, PENALTIES, "mien.motion.classic_nl.PENALTIES")
    colour = np.ndim(first) in (3, 4) and np.shape(first)[-1] == 3
    single = np.ndim(first) == (3 if colour else 2)
    if np.shape(first) != np.shape(second) or np.ndim(first) - colour not in (2, 3):
        raise MienError(
            f"Pictures of shape {np.shape(first)} and {np.shape(second)}.",
            "(H, W) or (B, H, W), with an axis of 3 behind it for RGB, and the same for both.",
            "`cv2.resize` where only the sizes differ.",
        )
    pairs = np.stack(as_levels(np.asarray(first), np.asarray(second)))
    pairs = pairs[:, None] if single else pairs
    if min(pairs.shape[2:4]) < 16:
        raise MienError(f"Pictures of {pairs.shape[2]}x{pairs.shape[3]} pixels.", "at least 16 a side.", "larger ones.")
    counts = (warps, warps) if warps else (3, 3) if published else (2, 3)
    tolerance = tolerance or (1e-2 if published else 0.1)
    count = at_once or (1 if torch.device(device).type == "cpu" else 16)
    flow = np.empty((*pairs.shape[1:4], 2), np.float32)

    def work(start: int) -> None:
        part = pairs[:, start : start + count]
        grey = part @ np.array([0.299, 0.587, 0.114]) if colour else part
        guide = _lab(part[0]) if colour else part[0][:, None]
        with torch.inference_mode():
            found = _coarse_to_fine(
                torch.as_tensor(np.ascontiguousarray(grey, np.float32), device=device),
                torch.as_tensor(np.ascontiguousarray(guide, np.float32), device=device),
                PENALTIES[penalty],
                published,
                counts,
                tolerance,
            )
        flow[start : start + count] = found.permute(1, 2, 3, 0).cpu().numpy()

    # The operations are many and small: threads that each take a pair hardly ever wait, as those that share one would.
    threads = torch.get_num_threads()
    starts = range(0, len(flow), count)
    workers = min(threads, len(starts)) if torch.device(device).type == "cpu" else 1
    try:
        with ThreadPoolExecutor(max(1, workers), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(work, starts))
    finally:
        torch.set_num_threads(threads)
    return flow[0] if single else flow


def _lab(pictures: NDArray[Any]) -> NDArray[np.float32]:
    """(B, H, W, 3) RGB as (B, 3, H, W) of L, a and b, each in 0..255 as OpenCV scales them."""
    as_bytes = np.clip(np.rint(pictures), 0, 255).astype(np.uint8)
    return np.stack([cv2.cvtColor(p, cv2.COLOR_RGB2LAB) for p in as_bytes]).transpose(0, 3, 1, 2).astype(np.float32)


def _coarse_to_fine(
    pictures: Tensor, guide: Tensor, robust: Penalties, published: bool, warps: tuple[int, int], tolerance: float
) -> Tensor:
    """Flow (2, B, H, W) between grey pictures (2, B, H, W), with (B, C, H, W) to weigh the median.

    The warps are those of the two stages.
    """
    quadratic, steep, robust_levels = _QUADRATIC, 0.0, 2
    if published:
        pictures = texture(pictures)
    else:
        pictures, noise = prepare(pictures)
        noise = noise.view(-1, 1, 1)
        # In noise, what the first stage leaves undone costs the second many warps. The second begins at full size: a
        # level above it would round the edges of the motion.
        quadratic, steep, robust_levels = replace(quadratic, factor=75 * noise.clamp_min(0.4)), _STEEP, 1
        robust = replace(robust, factor=robust.factor * 3 * noise**0.9)
    size = (pictures.shape[-2], pictures.shape[-1])
    # Graduated non-convexity: a quadratic energy first, from coarse to fine, then the robust one at the finest scales.
    coarsest = int(math.log2(min(size) / 16))
    stages = ((quadratic, 2.0, 1 + coarsest, warps[0]), (robust, 1.25, robust_levels, warps[1]))
    flow = pictures.new_zeros(2, pictures.shape[1], 1, 1)
    for penalties, spacing, levels, count in stages:
        for level in reversed(range(levels)):
            height, width = (max(16, round(n / spacing**level)) for n in size)
            flow = resized_flow(flow, height, width)
            first, second = shrunk(pictures, height, width)
            small_guide = shrunk(guide, height, width)
            for _ in range(count):
                change = increment(first, second, flow, penalties, tolerance)
                flow = plain_median(flow + change.clamp(-1, 1))
                if penalties is robust:
                    flow = smoothed_at_edges(flow, first, second, small_guide, steep)
    return flow
