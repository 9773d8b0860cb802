"""A spotter: frames whose picture differs from that of half a second before."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from mien.spotting import Spot, Spotter
from mien.spotting.base import Rows
from mien.spotting.face_stream import Look


class Differences:
    """Rows of one number: the mean difference of grey levels to the face of half a second before.

    Args:
        fps: Frames per second.
        parameters: Unused; this spotter has none.
    """

    def __init__(self, fps: float, parameters: Mapping[str, Any]) -> None:
        self._before: deque[Any] = deque(maxlen=max(2, round(fps / 2)))

    def see(self, look: Look) -> list[Rows]:
        """Return the row of a frame; NaN where there is no face or none before."""
        if look.fresh:
            self._before.clear()
        row = np.nan
        if look.picture is not None:
            now = look.picture.astype(np.float32)
            if self._before:
                row = float(np.abs(now - self._before[0]).mean())
            self._before.append(now)
        return [np.array([row], np.float32)]

    def finish(self) -> list[Rows]:
        """Return nothing: no row is owed."""
        return []


def runs_above_mean(rows: Rows, fps: float, parameters: Any) -> list[Spot]:
    """Return runs of frames above the mean plus two standard deviations, of up to half a second.

    Args:
        rows: (T, 1) differences.
        fps: Frames per second.
        parameters: Unused.
    """
    curve = np.nan_to_num(rows[:, 0])
    least = curve.mean() + 2 * curve.std()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], curve > least, [False]]).astype(int)))
    spots = []
    for onset, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if stop - onset <= fps / 2:
            apex = onset + int(np.argmax(curve[onset:stop]))
            spots.append(Spot(onset, apex, stop - 1, "micro", float(curve[apex] / max(least, 1e-6))))
    return spots


STILL_FACE = Spotter(
    name="still-face",
    title="Difference to a still face",
    paper="none: an example",
    summary="runs of frames that differ from those of half a second before",
    departures=(),
    watch=Differences,
    decide=runs_above_mean,
    part=60.0,
    margin=2.0,
)
