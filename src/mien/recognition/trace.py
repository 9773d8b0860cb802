"""How much a face moves, as one number per frame, thinned out so that a day fits on a page."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.recognition.records import Trace

Rows = NDArray[np.float32]

_LAG: Final = 0.1
"""Seconds between the two rows that are compared."""

MOST: Final = 2000
"""Points of a trace, at least half of which are used once a film is longer."""


def _regions(now: Rows, before: Rows) -> float:
    """Mean motion of the two regions that moved most; the last number of a row tells of the lids."""
    moved = (now - before)[:-1].reshape(-1, 2)
    return float(np.sort(np.hypot(moved[:, 0], moved[:, 1]))[-2:].mean())


def _change(now: Rows, before: Rows) -> float:
    return float(np.sqrt(np.mean(np.square(now - before))))


_MOVEMENT: Final[dict[str, tuple[Callable[[Rows, Rows], float], str]]] = {
    "flow-peaks": (_regions, "motion in 0.1 s, in distances of the eyes")
}


class Tracer:
    """Collects the trace of one person; what it holds does not grow with the film.

    Args:
        spotter: Name of the spotter whose rows are shown.
        fps: Frames per second.
        first: Index of the first row's frame.
    """

    def __init__(self, spotter: str, fps: float, first: int) -> None:
        self._measure, self._unit = _MOVEMENT.get(spotter, (_change, "change in 0.1 s of what the spotter watches"))
        lag = max(1, round(_LAG * fps))
        self._held: deque[Rows] = deque(maxlen=lag + 1)
        self._early = lag // 2  # what happens between two rows belongs halfway between them
        self._first, self._width, self._filled = first, 1, 0
        self._values: list[float] = []
        self.now = math.nan

    def add(self, row: Rows) -> None:
        """The next frame's row."""
        self._held.append(row)
        before = self._held[0]
        self.now = math.nan
        if not np.isnan(row).any() and not np.isnan(before).any():
            self.now = self._measure(row, before)
        if self._early:
            self._early -= 1
            return
        if self._filled == 0:
            self._values.append(self.now)
        else:
            self._values[-1] = _larger(self._values[-1], self.now)
        self._filled = (self._filled + 1) % self._width
        if self._filled == 0 and len(self._values) == 2 * MOST:
            pairs = zip(self._values[::2], self._values[1::2], strict=True)
            self._values = [_larger(a, b) for a, b in pairs]
            self._width *= 2

    def result(self) -> Trace:
        """What there is so far."""
        return Trace(self._first, self._width, tuple(self._values), self._unit)


def _larger(a: float, b: float) -> float:
    """The larger of two numbers, NaN only where both are."""
    return b if math.isnan(a) else a if math.isnan(b) else max(a, b)
