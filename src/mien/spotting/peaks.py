"""Code shared by the published spotters: rows that need later frames, contrast of a curve, peaks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from mien.spotting.base import KINDS, Kind, Rows, Spot
from mien.spotting.face_stream import Look, carried

Curve = NDArray[np.float64]


class RecentPictures:
    """The last pictures of a face, all aligned with the newest crop rectangle; None for frames without a face.

    Args:
        length: Number of pictures to keep.
    """

    def __init__(self, length: int) -> None:
        self._pictures: deque[NDArray[np.uint8] | None] = deque(maxlen=length)

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> NDArray[np.uint8] | None:
        return self._pictures[index]

    def add(self, look: Look | None) -> None:
        """Add the picture of the next frame, and align the older ones. None stands for a frame after the end."""
        if look is None:
            self._pictures.append(None)
            return
        if look.fresh or look.picture is None:
            # Pictures from before the face was lost are not comparable.
            self._pictures = deque([None] * len(self._pictures), maxlen=self._pictures.maxlen)
        elif look.change is not None:
            moved = [None if p is None else carried(p, look.change) for p in self._pictures]
            self._pictures = deque(moved, maxlen=self._pictures.maxlen)
        self._pictures.append(look.picture)


class Delayed(ABC):
    """A watcher that needs later frames: the row of a frame is made when the longer half window after it has passed.

    Args:
        fps: Frames per second.
        parameters: Uses the lengths of the windows, `micro_seconds` and `macro_seconds`.
    """

    def __init__(self, fps: float, parameters: Mapping[str, Any]) -> None:
        self._k = [half_window(parameters[f"{kind}_seconds"], fps) for kind in KINDS]
        self._pending = 0

    @abstractmethod
    def _keep(self, look: Look | None) -> None:
        """Store what is needed of the next frame; None stands for a frame after the end of the video."""

    @abstractmethod
    def _row(self) -> Rows:
        """Return the row of the frame max(k) before the last one stored; NaN if a frame of the window is missing."""

    def see(self, look: Look) -> list[Rows]:
        """Return the row of the frame max(k) before this one, if there is such a frame."""
        self._keep(look)
        self._pending += 1
        return self._next() if self._pending > max(self._k) else []

    def finish(self) -> list[Rows]:
        """Return the rows of the last frames: NaN for the windows that reach beyond the end."""
        rows = []
        while self._pending:
            self._keep(None)
            rows += self._next()
        return rows

    def _next(self) -> list[Rows]:
        self._pending -= 1
        return [self._row()]


def half_window(seconds: float, fps: float) -> int:
    """Return the number k of frames on either side of the middle of a window: (N - 1) / 2, at least 1.

    Args:
        seconds: Length of the window.
        fps: Frames per second.

    Example:
        >>> half_window(0.33, 100)
        16
    """
    return max(1, round((seconds * fps - 1) / 2))


def contrast(curve: Curve, k: int) -> Curve:
    """Compute how far each value exceeds the mean of the values k before and k after it; 0 if it does not.

    Args:
        curve: (T,); NaN where unknown.
        k: Number of frames.

    Returns:
        (T,), >= 0; 0 within k frames of either end, and wherever one of the three values is unknown.

    Example:
        >>> contrast(np.array([0.0, 0.0, 1.0, 0.0, 0.0]), 1).tolist()
        [0.0, 0.0, 1.0, 0.0, 0.0]

    Source: Moilanen, Zhao and Pietikäinen, "Spotting rapid facial movements from videos using appearance-based feature
    difference analysis", ICPR 2014, section II-C.
    """
    found = np.zeros(len(curve))
    if len(curve) > 2 * k:
        found[k:-k] = curve[k:-k] - 0.5 * (curve[: -2 * k] + curve[2 * k :])
    return np.asarray(np.maximum(np.nan_to_num(found), 0))


def threshold(curve: Curve, p: float) -> float:
    """Return the threshold mean + p (max - mean) of a curve.

    Example:
        >>> threshold(np.array([0.0, 1.0, 2.0]), 0.5)
        1.5
    """
    mean = float(curve.mean())
    return mean + p * (float(curve.max()) - mean)


def peaks_above(curve: Curve, least: float, apart: int) -> NDArray[np.int64]:
    """Return the indices of the peaks above a threshold that are at least `apart` frames away from any higher one.

    Example:
        >>> peaks_above(np.array([0.0, 2.0, 0.0, 3.0, 0.0]), 1.0, 1).tolist()
        [1, 3]
    """
    padded = np.concatenate([[-np.inf], curve, [-np.inf]])
    found = find_peaks(padded, height=np.nextafter(least, np.inf), distance=max(1, apart))[0] - 1
    return np.asarray(found, np.int64)


def around_peaks(curve: Curve, p: float, k: int, kind: Kind, shift: int = 0) -> list[Spot]:
    """Return intervals of 2 k + 1 frames around the peaks of a curve; [] for a constant curve.

    Args:
        curve: (T,), >= 0.
        p: Position of the threshold between the mean (0) and the maximum (1) of the curve.
        k: Frames on either side of a peak, and the least distance between two peaks.
        kind: Kind of the intervals.
        shift: Frames from an index of the curve to the middle of its interval.

    Example:
        >>> around_peaks(np.array([0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0]), 0.1, 1, "micro")[0].onset
        2
    """
    if len(curve) == 0 or curve.max() <= curve.mean() + 1e-12:
        return []
    least = threshold(curve, p)
    found = []
    for peak in peaks_above(curve, least, k):
        apex = min(max(int(peak) + shift, 0), len(curve) - 1)
        score = float(curve[peak]) / max(least, 1e-12)
        found.append(Spot(max(apex - k, 0), apex, min(apex + k, len(curve) - 1), kind, round(score, 4)))
    return found


PARTS_DEPARTURE = (
    "Each part of at most two minutes has its own threshold, so that videos of any length can be processed as they run."
)
"""Departure of the spotters whose threshold lies between the mean and the maximum of a whole video."""


def both_kinds(rows: Rows, one: Callable[[Curve, Kind], Sequence[Spot]]) -> list[Spot]:
    """Return the intervals of both kinds, in time order.

    Args:
        rows: (T, 2) or more columns: the first two are the curves of micro- and of macro-expressions.
        one: Finds the intervals of one kind in its curve.
    """
    found: list[Spot] = []
    for column, kind in enumerate(KINDS):
        found += one(rows[:, column].astype(np.float64), kind)
    return sorted(found, key=lambda s: (s.onset, s.offset, s.kind))
