"""Wang, Wu, Qian, Li and Fu, "A main directional maximal difference analysis for spotting facial movements from
long-term videos", Neurocomputing 230, 2017; baseline of MEGC 2020 (He, Wang, Li and Yap, FG 2020).

It detects a movement that goes and comes back: from the frame k before to the current frame the skin moves; from the
frame k before to the frame k after, it does not. The two motions are compared in the main direction of each block.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mien.parameters import Parameters, unit
from mien.spotting.base import Kind, Rows, Seconds, Spot, Spotter, Threshold
from mien.spotting.face_stream import Look
from mien.spotting.peaks import (
    PARTS_DEPARTURE,
    Curve,
    Delayed,
    RecentPictures,
    both_kinds,
    contrast,
    half_window,
    threshold,
)

_BLOCKS: Final = 6
_DIRECTIONS: Final = 4
_LARGEST_BLOCKS: Final = 12
_SHARE: Final = 1 / 3


def maximal_difference(to_middle: NDArray[Any], to_end: NDArray[Any]) -> float:
    """Compute how much more a face has moved in the middle of a window than at its end.

    The face is divided into 6 x 6 blocks. In each block, the main direction is the one of four (right, down, left, up)
    that most vectors of the first flow have. At the pixels with that direction, the length of the second flow is
    subtracted from that of the first, and the largest third of the differences is averaged. The result is the mean of
    the 12 largest blocks.

    Args:
        to_middle: (H, W, 2) flow from the first frame to the middle one, in pixels.
        to_end: (H, W, 2) flow from the first frame to the last one, in pixels.

    Returns:
        Pixels; negative if the face has moved further away.

    Example:
        >>> away, back = np.full((12, 12, 2), [3.0, 0.0]), np.zeros((12, 12, 2))
        >>> maximal_difference(away, back)
        3.0
    """
    length = np.hypot(to_middle[..., 0], to_middle[..., 1])
    rest = length - np.hypot(to_end[..., 0], to_end[..., 1])
    angle = np.arctan2(to_middle[..., 1], to_middle[..., 0])
    direction = np.floor((angle + np.pi / 4) / (np.pi / 2)).astype(np.int64) % _DIRECTIONS
    height, width = length.shape
    ys = np.arange(_BLOCKS + 1) * height // _BLOCKS
    xs = np.arange(_BLOCKS + 1) * width // _BLOCKS
    found = np.empty(_BLOCKS * _BLOCKS)
    for b in range(_BLOCKS * _BLOCKS):
        y, x = divmod(b, _BLOCKS)
        inside = slice(ys[y], ys[y + 1]), slice(xs[x], xs[x + 1])
        ways = direction[inside]
        main = int(np.argmax(np.bincount(ways.ravel(), minlength=_DIRECTIONS)))
        values = np.sort(rest[inside][ways == main])
        found[b] = values[-max(1, round(len(values) * _SHARE)) :].mean()
    return float(np.sort(found)[-_LARGEST_BLOCKS:].mean())


class MdmdWatcher(Delayed):
    """Makes rows of 2 numbers: the maximal difference for the window of each kind."""

    def __init__(self, fps: float, parameters: Mapping[str, Any]) -> None:
        super().__init__(fps, parameters)
        self._held = RecentPictures(2 * max(self._k) + 1)
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def _keep(self, look: Look | None) -> None:
        self._held.add(look)

    def _row(self) -> Rows:
        middle = len(self._held) - 1 - max(self._k)
        row: Rows = np.full(2, np.nan, np.float32)
        for column, k in enumerate(self._k):
            if middle - k < 0 or middle + k >= len(self._held):
                continue
            before, now, after = self._held[middle - k], self._held[middle], self._held[middle + k]
            if before is not None and now is not None and after is not None:
                flows = [np.asarray(self._flow.calc(before, p, None)) for p in (now, after)]
                row[column] = maximal_difference(*flows)
        return row


def decide(rows: Rows, fps: float, parameters: Mapping[str, Any]) -> list[Spot]:
    """Return the runs of frames above the threshold whose duration fits their kind.

    Args:
        rows: (T, 2) rows of `MdmdWatcher`.
        fps: Frames per second.
        parameters: As in `MDMD`.
    """

    def one(curve: Curve, kind: Kind) -> list[Spot]:
        k = half_window(parameters[f"{kind}_seconds"], fps)
        relative = contrast(curve, max(1, k - 1))
        if len(relative) == 0 or relative.max() <= 1e-12:
            return []
        least = threshold(relative, parameters[f"{kind}_p"])
        above = np.concatenate([[False], relative > least, [False]])
        edges = np.flatnonzero(above[1:] != above[:-1])
        found = []
        for onset, stop in zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True):
            seconds = (stop - onset) / fps
            if parameters[f"{kind}_least"] <= seconds <= parameters[f"{kind}_most"]:
                apex = onset + int(np.argmax(relative[onset:stop]))
                score = float(relative[apex]) / max(least, 1e-12)
                found.append(Spot(onset, apex, stop - 1, kind, round(score, 4)))
        return found

    return both_kinds(rows, one)


class MdmdParameters(Parameters):
    """Parameters of mdmd."""

    micro_seconds: Seconds = 25 / 30
    macro_seconds: Seconds = 79 / 30
    micro_p: Threshold = 0.01
    macro_p: Threshold = 0.01
    micro_least: Annotated[
        float, Field(ge=0, le=60, description="Shortest duration of a micro-expression.", json_schema_extra=unit("s"))
    ] = 7 / 30
    micro_most: Annotated[
        float, Field(ge=0, le=60, description="Longest duration of a micro-expression.", json_schema_extra=unit("s"))
    ] = 16 / 30
    macro_least: Annotated[
        float, Field(ge=0, le=60, description="Shortest duration of a macro-expression.", json_schema_extra=unit("s"))
    ] = 17 / 30
    macro_most: Annotated[
        float, Field(ge=0, le=60, description="Longest duration of a macro-expression.", json_schema_extra=unit("s"))
    ] = 4.0


MDMD = Spotter(
    name="mdmd",
    title="Main directional maximal difference",
    paper="Wang, Wu, Qian, Li and Fu, Neurocomputing 2017; baseline of MEGC 2020.",
    summary="Skin that moves in the first half of a window and is back at its end; runs above mean + p (max - mean).",
    departures=(
        "DIS flow instead of robust local optical flow, which is twenty times slower.",
        "The largest third of the differences, and the 12 largest of 36 blocks, were taken from descriptions of the "
        "method, because the paper was not available.",
        "Windows and durations are in seconds: those of CAS(ME)^2 at 30 frames per second (k = 12 and 39; 7 to 16 "
        "frames).",
        PARTS_DEPARTURE,
        "Videos faster than 50 frames per second are reduced to 50 to 75, because two flows per frame and window are "
        "slow.",
        "When the crop rectangle changes, earlier pictures are aligned with the new rectangle.",
    ),
    model=MdmdParameters,
    watch=MdmdWatcher,
    decide=decide,
    part=120.0,
    margin=6.0,
    rate=50.0,
    tuned={
        "micro": {"micro_p": (0.01, 0.05, 0.1, 0.2, 0.4, 0.6)},
        "macro": {"macro_p": (0.01, 0.05, 0.1, 0.2, 0.4, 0.6)},
    },
)
