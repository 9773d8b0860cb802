"""The search for the expressions of one person while the video is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.recognition.trace import Tracer
from mien.spotting.base import Along, Between, Spot, Watcher
from mien.spotting.face_stream import Look

Picture = NDArray[np.uint8]
Crop = Callable[[Picture], Look]


@dataclass(slots=True)
class Watch:
    """Search for the expressions of one person while the video is read.

    Attributes:
        watcher: Turns face pictures into rows of numbers.
        along: Finds intervals in the rows; None if the interval is given.
        tracer: Records how much the face moves.
        first: Index of the frame of the first row.
        hop: Frames from one row to the next; rows between them are interpolated.
        spots: Intervals so far, in frames of the video.
    """

    watcher: Watcher
    along: Along | None
    tracer: Tracer
    first: int
    hop: int = 1
    spots: list[Spot] = field(default_factory=list)
    _last: Any = None

    def see(self, look: Look, crop: Crop | None = None, halfway: Picture | None = None) -> None:
        """Process the next look at the face, and a frame halfway since the last if the face has moved meanwhile.

        Args:
            look: The face in the next frame.
            crop: Cuts the face out of another frame, by the same rectangle; see `FaceStream.crop`.
            halfway: That other frame; None if there is none.
        """
        rows = self.watcher.see(look)
        follows = self._last is not None and len(rows) == 1 and look.picture is not None and not look.fresh
        # Where there was no face the motion is not a number, which is not above 1.
        if (
            halfway is None
            or crop is None
            or not follows
            or not isinstance(self.watcher, Between)
            or not self.watcher.moved(self._last, rows[0]) > 1
        ):
            self.take(rows)
            return
        middle = self.watcher.between(crop(halfway))
        middle[-1] = (self._last[-1] + rows[0][-1]) / 2
        self.take([middle], self.hop // 2)
        self.take(rows, self.hop - self.hop // 2)

    def take(self, rows: Sequence[Any], hop: int | None = None) -> None:
        """Process the next rows, each `hop` frames after the one before."""
        hop = self.hop if hop is None else hop
        rows = [each for row in rows for each in self._filled(row, hop)]
        for row in rows:
            self.tracer.add(row)
        if self.along is not None:
            self.spots += [moved(spot, self.first) for spot in self.along.add(rows)]

    def _filled(self, row: Any, hop: int) -> list[Any]:
        """The rows up to this one: the motion in between is taken for even."""
        last, self._last = self._last, row
        if last is None or hop == 1:
            return [row]
        return [last + np.float32(k / hop) * (row - last) for k in range(1, hop)] + [row]

    def finish(self) -> None:
        """Process the end of the video."""
        self.take(self.watcher.finish())
        if self.along is not None:
            self.spots += [moved(spot, self.first) for spot in self.along.finish()]


def moved(spot: Spot, by: int) -> Spot:
    """Return an interval with all its frame numbers increased by `by`."""
    apex = None if spot.apex is None else spot.apex + by
    return Spot(spot.onset + by, apex, spot.offset + by, spot.kind, spot.score, spot.emotion)
