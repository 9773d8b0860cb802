"""What the published spotters share: rows that wait for later frames, contrast of a curve, its peaks."""

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


class Held:
    """The last pictures of a face, all as the newest rectangle cuts them; None for frames without a face.

    Args:
        length: How many.
    """

    def __init__(self, length: int) -> None:
        self._pictures: deque[NDArray[np.uint8] | None] = deque(maxlen=length)

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> NDArray[np.uint8] | None:
        return self._pictures[index]

    def add(self, look: Look | None) -> None:
        """The next frame's picture; older ones follow a change of the rectangle. None after the end of the film."""
        if look is None:
            self._pictures.append(None)
            return
        if look.fresh or look.picture is None:
            # Pictures of a face before it was lost are not comparable.
            self._pictures = deque([None] * len(self._pictures), maxlen=self._pictures.maxlen)
        elif look.change is not None:
            moved = [None if p is None else carried(p, look.change) for p in self._pictures]
            self._pictures = deque(moved, maxlen=self._pictures.maxlen)
        self._pictures.append(look.picture)


class Delayed(ABC):
    """A watcher whose row of a frame waits for those after it, as many as the longer half window has.

    Args:
        fps: Frames per second.
        parameters: With `micro_seconds` and `macro_seconds`, the windows.
    """

    def __init__(self, fps: float, parameters: Mapping[str, Any]) -> None:
        self._k = [half_window(parameters[f"{kind}_seconds"], fps) for kind in KINDS]
        self._owed = 0

    @abstractmethod
    def _keep(self, look: Look | None) -> None:
        """What is needed of the next frame; None after the end of the film."""

    @abstractmethod
    def _row(self) -> Rows:
        """The row of the frame max(k) before the last one kept; NaN where a frame of the window is unknown."""

    def see(self, look: Look) -> list[Rows]:
        """The row of the frame max(k) before this one, once there is one."""
        self._keep(look)
        self._owed += 1
        return self._next() if self._owed > max(self._k) else []

    def finish(self) -> list[Rows]:
        """Rows whose later frames never came: unknown for the windows that need them."""
        rows = []
        while self._owed:
            self._keep(None)
            rows += self._next()
        return rows

    def _next(self) -> list[Rows]:
        self._owed -= 1
        return [self._row()]


def half_window(seconds: float, fps: float) -> int:
    """Frames k on either side of the middle of a window of `seconds`, (N - 1) / 2, at least 1."""
    return max(1, round((seconds * fps - 1) / 2))


def contrast(curve: Curve, k: int) -> Curve:
    """How far each value is above the mean of those k before and after it; 0 where it is below.

    Args:
        curve: (T,); NaN where unknown.
        k: Frames.

    Returns:
        (T,), >= 0; 0 within k of either end and wherever one of the three values is unknown.

    Source: Moilanen, Zhao and Pietikäinen, "Spotting rapid facial movements from videos using appearance-based feature
    difference analysis", ICPR 2014, section II-C.
    """
    found = np.zeros(len(curve))
    if len(curve) > 2 * k:
        found[k:-k] = curve[k:-k] - 0.5 * (curve[: -2 * k] + curve[2 * k :])
    return np.asarray(np.maximum(np.nan_to_num(found), 0))


def threshold(curve: Curve, p: float) -> float:
    """mean + p (max - mean)."""
    mean = float(curve.mean())
    return mean + p * (float(curve.max()) - mean)


def peaks_above(curve: Curve, least: float, apart: int) -> NDArray[np.int64]:
    """Peaks above a threshold, at least `apart` frames from a higher one."""
    padded = np.concatenate([[-np.inf], curve, [-np.inf]])
    found = find_peaks(padded, height=np.nextafter(least, np.inf), distance=max(1, apart))[0] - 1
    return np.asarray(found, np.int64)


def around_peaks(curve: Curve, p: float, k: int, kind: Kind, shift: int = 0) -> list[Spot]:
    """Intervals of 2 k + 1 frames about the peaks of a curve; () for one that is level.

    Args:
        curve: (T,), >= 0.
        p: Share of the way from its mean to its greatest value.
        k: Frames to either side of a peak, and the least distance between two.
        kind: What they are.
        shift: Frames from a place of the curve to the middle of its interval.
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
    "The threshold is that of each part of at most two minutes, so that any length can be spotted as it runs."
)
"""What spotters with a threshold between mean and maximum say of it."""


def both_kinds(rows: Rows, one: Callable[[Curve, Kind], Sequence[Spot]]) -> list[Spot]:
    """Intervals of either kind, from rows whose first columns are a curve for each, in time order."""
    found: list[Spot] = []
    for column, kind in enumerate(KINDS):
        found += one(rows[:, column].astype(np.float64), kind)
    return sorted(found, key=lambda s: (s.onset, s.offset, s.kind))
