"""Moilanen, Zhao and Pietikäinen, "Spotting rapid facial movements from videos using appearance-based feature
difference analysis", ICPR 2014.

The LBP histograms of a frame, in 6 x 6 blocks, are compared with the mean of those k frames before and k frames after.
The contrast of this difference over time is compared with a threshold between its mean and its maximum.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.descriptors.lbp import uniform_map
from mien.parameters import Parameters
from mien.spotting.base import Kind, Rows, Seconds, Spot, Spotter, Threshold
from mien.spotting.face_stream import HEIGHT, WIDTH, Look
from mien.spotting.peaks import PARTS_DEPARTURE, Curve, Delayed, around_peaks, both_kinds, contrast, half_window

_RADIUS: Final = 3
_BLOCKS: Final = 6
_LARGEST: Final = 12
_BIN, _N_BINS = uniform_map(8)


def _block_of_pixel() -> NDArray[np.int64]:
    rows = np.arange(HEIGHT - 2 * _RADIUS) * _BLOCKS // (HEIGHT - 2 * _RADIUS)
    columns = np.arange(WIDTH - 2 * _RADIUS) * _BLOCKS // (WIDTH - 2 * _RADIUS)
    return np.asarray((rows[:, None] * _BLOCKS + columns) * _N_BINS, np.int64)


_BLOCK = _block_of_pixel()


def histograms(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute histograms of uniform LBP(8,3) patterns in 6 x 6 blocks of a face.

    Args:
        picture: (HEIGHT, WIDTH) grey levels.

    Returns:
        (36, 59), each row summing to 1.

    Example:
        >>> histograms(np.zeros((HEIGHT, WIDTH), np.uint8)).shape
        (36, 59)
    """
    levels = picture.astype(np.float32)
    r, c = _RADIUS, _RADIUS * np.sqrt(0.5)
    whole, part = int(c), float(c - int(c))
    height, width = levels.shape
    centre = levels[r:-r, r:-r]
    code = np.zeros(centre.shape, np.int64)
    # Diagonal neighbours lie between pixels and are interpolated, with one small kernel for each diagonal.
    near, far = 1 - part, part
    kernel = np.array([[near * near, near * far], [near * far, far * far]], np.float32)
    for bit in range(8):
        dy, dx = -np.sin(np.pi * bit / 4) * r, np.cos(np.pi * bit / 4) * r
        if bit % 2 == 0:
            y, x = r + round(dy), r + round(dx)
            neighbour = levels[y : y + centre.shape[0], x : x + centre.shape[1]]
        else:
            sy, sx = (1 if dy > 0 else -1), (1 if dx > 0 else -1)
            smooth = cv2.filter2D(
                levels, cv2.CV_32F, kernel[::sy, ::sx], anchor=(0 if sx > 0 else 1, 0 if sy > 0 else 1)
            )
            y, x = r + sy * whole, r + sx * whole
            neighbour = smooth[y : y + height - 2 * r, x : x + width - 2 * r]
        # Interpolation has rounding errors; equal levels must count as equal.
        code |= (neighbour - centre > -1e-3).astype(np.int64) << bit
    counts = np.bincount((_BLOCK + _BIN[code]).ravel(), minlength=_BLOCKS**2 * _N_BINS).reshape(_BLOCKS**2, _N_BINS)
    return np.asarray(counts / counts.sum(1, keepdims=True), np.float32)


def chi2(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the chi-squared distance over the last axis: the sum of (a - b)^2 / (a + b), without bins empty in both.

    Args:
        first: (..., B), >= 0.
        second: (..., B), >= 0.

    Returns:
        (...), >= 0.

    Example:
        >>> float(chi2(np.array([1.0, 0.0]), np.array([0.0, 1.0])))
        2.0
    """
    total = first + second
    off = (first - second) ** 2
    return np.asarray((off / np.where(total > 0, total, 1)).sum(-1), np.float64)


class LbpWatcher(Delayed):
    """Makes rows of 2 numbers: the mean of the 12 largest distances of blocks, for the window of each kind."""

    def __init__(self, fps: float, parameters: Mapping[str, Any]) -> None:
        super().__init__(fps, parameters)
        self._held: deque[NDArray[np.float32] | None] = deque(maxlen=2 * max(self._k) + 1)

    def _keep(self, look: Look | None) -> None:
        self._held.append(None if look is None or look.picture is None else histograms(look.picture))

    def _row(self) -> Rows:
        middle = len(self._held) - 1 - max(self._k)
        row: Rows = np.full(2, np.nan, np.float32)
        for column, k in enumerate(self._k):
            if middle - k < 0 or middle + k >= len(self._held):
                continue
            now, before, after = self._held[middle], self._held[middle - k], self._held[middle + k]
            if now is not None and before is not None and after is not None:
                row[column] = np.sort(chi2(now, 0.5 * (before + after)))[-_LARGEST:].mean()
        return row


def decide(rows: Rows, fps: float, parameters: Mapping[str, Any]) -> list[Spot]:
    """Return intervals around the peaks of the contrast.

    Args:
        rows: (T, 2) rows of `LbpWatcher`.
        fps: Frames per second.
        parameters: As in `LBP_CHI2`.

    Source: sections II-B and II-C of the paper.
    """

    def one(curve: Curve, kind: Kind) -> list[Spot]:
        k = half_window(parameters[f"{kind}_seconds"], fps)
        return around_peaks(contrast(curve, k), parameters[f"{kind}_p"], k, kind)

    return both_kinds(rows, one)


class LbpChi2Parameters(Parameters):
    """Parameters of lbp-chi2."""

    micro_seconds: Seconds = 0.33
    macro_seconds: Seconds = 1.3
    micro_p: Threshold = 0.1
    macro_p: Threshold = 0.1


LBP_CHI2 = Spotter(
    name="lbp-chi2",
    title="LBP feature difference analysis",
    paper="Moilanen, Zhao and Pietikäinen, ICPR 2014.",
    summary="Difference of LBP histograms from those before and after; peaks above mean + p (max - mean).",
    departures=(
        "The paper follows the inner corners of the eyes and the nose spine, and rotates every frame; here the crop "
        "rectangle changes only when landmarks, searched four times a second, show that the face has moved.",
        "The paper removed blinks by hand; here nothing is removed or masked.",
        PARTS_DEPARTURE,
        "The paper spots rapid movements only; here a second, longer window spots macro-expressions.",
    ),
    model=LbpChi2Parameters,
    watch=LbpWatcher,
    decide=decide,
    part=120.0,
    margin=3.0,
    tuned={
        "micro": {"micro_p": (0.05, 0.1, 0.15, 0.25, 0.4, 0.6)},
        "macro": {"macro_p": (0.05, 0.1, 0.15, 0.25, 0.4, 0.6)},
    },
)
