"""Record how much a face moves, in a number of values that does not grow with the video."""

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
"""A trace has at most twice as many values: when it is full, each pair of values becomes one."""


def _regions(now: Rows, before: Rows) -> float:
    """Return the mean motion of the two regions that moved most; the last number of a row is about the eyelids."""
    moved = (now - before)[:-1]
    squares = moved[0::2] ** 2 + moved[1::2] ** 2
    largest = sorted(squares.tolist())[-2:]
    return (math.sqrt(largest[0]) + math.sqrt(largest[1])) / 2


def _change(now: Rows, before: Rows) -> float:
    return float(np.sqrt(np.mean(np.square(now - before))))


_MOVEMENT: Final[dict[str, tuple[Callable[[Rows, Rows], float], str]]] = {
    "flow-peaks": (_regions, "motion within 0.1 s, as a fraction of the distance between the eyes")
}


class Tracer:
    """Record the trace of one person; its memory does not grow with the video.

    Args:
        spotter: Name of the spotter that makes the rows.
        fps: Frames per second.
        first: Index of the frame of the first row.
    """

    def __init__(self, spotter: str, fps: float, first: int) -> None:
        self._measure, self._unit = _MOVEMENT.get(spotter, (_change, "change of the spotter's signal within 0.1 s"))
        lag = max(1, round(_LAG * fps))
        self._held: deque[Rows] = deque(maxlen=lag + 1)
        self._early = lag // 2  # a change between two rows is shown halfway between them
        self._first, self._width, self._filled = first, 1, 0
        self._values: list[float] = []
        self.now = math.nan

    def add(self, row: Rows) -> None:
        """Add the row of the next frame."""
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
        """Return the trace so far."""
        return Trace(self._first, self._width, tuple(self._values), self._unit)


def _larger(a: float, b: float) -> float:
    """Return the larger of two numbers; NaN only if both are NaN."""
    return b if math.isnan(a) else a if math.isnan(b) else max(a, b)
