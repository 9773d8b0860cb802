"""Detection of the apex: the frame of a clip that differs most from its first frame."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.io.opencv import cv2
from mien.motion.levels import to_grey


def apex_curve(frames: Iterable[NDArray[Any]]) -> NDArray[np.float64]:
    """Compute how strongly each frame of a clip differs from the first one.

    Args:
        frames: (T, H, W) grey or (T, H, W, 3) RGB, or an iterable of such frames; only two are kept in memory. Any
            scale of grey levels, the same for all frames.

    Returns:
        (T,) standard deviations over the picture of the difference to the first frame, in the unit of the frames (255
        times smaller for frames 0..1 than for 0..255). The first is 0. A change of brightness of the whole picture
        counts as no difference.

    Raises:
        MienError: No frame, or frames of different shapes.

    Example:
        >>> import numpy as np
        >>> from mien.motion.apex import apex_curve
        >>> frames = np.zeros((3, 4, 4), np.uint8)
        >>> frames[1:, :2] = [[[10]], [[4]]]
        >>> apex_curve(frames).tolist()
        [0.0, 5.0, 2.0]

    Source: STRCN (Xia et al. 2020), equation 5: the standard deviation over the picture of I(t) - I(0).
    """
    curve: list[float] = []
    first: NDArray[np.float32] | None = None
    for frame in frames:
        grey = to_grey(frame)
        if first is None:
            first = grey
        if grey.shape != first.shape:
            raise MienError(
                f"A frame of {grey.shape} pixels after one of {first.shape}.",
                "one size for all frames.",
                "`mien check NAME=FOLDER` to find it.",
            )
        _, deviation = cv2.meanStdDev(grey - first)
        curve.append(float(deviation[0, 0]))
    if not curve:
        raise MienError("A clip without frames.", "at least one frame.", "`mien check NAME=FOLDER`.")
    return np.array(curve)


def find_apex(frames: Iterable[NDArray[Any]], window: tuple[float, float] | None = None) -> int:
    """Find the apex of a clip: the frame that differs most from the first one.

    Args:
        frames: (T, H, W) grey or (T, H, W, 3) RGB of one clip from onset to offset, or an iterable of such frames. Any
            scale of grey levels, the same for all frames.
        window: Part of the clip to search, as two fractions 0 <= first < last <= 1. With frames counted from 1, the
            frames floor(first T) to ceil(last T) are searched. None searches the whole clip.

    Returns:
        Index of the apex, counted from 0 at the start of the clip. Never 0 when T > 1. Of several equally good frames
        the earliest; so 1 when nothing changes.

    Raises:
        MienError: No frame, frames of different shapes, or an invalid window.

    Example:
        >>> import numpy as np
        >>> from mien.motion.apex import find_apex
        >>> frames = np.zeros((5, 8, 8), np.uint8)
        >>> frames[:, :4] = np.array([0, 3, 9, 6, 2])[:, None, None]
        >>> find_apex(frames)
        2

    Source: STRCN (Xia et al. 2020), equation 5: argmax over t of the standard deviation of I(t) - I(0). The released
    code differs: it searches the window (0.2, 0.7) only, reports an index that is too small by the number of frames
    skipped, and falls back on the middle frame.
    """
    if window is not None and not 0 <= window[0] < window[1] <= 1:
        raise MienError(
            f"A window from {window[0]:g} to {window[1]:g} of the clip.",
            "two fractions, 0 <= first < last <= 1.",
            "`window=(0.2, 0.7)`.",
        )
    curve = apex_curve(frames)
    if len(curve) == 1:
        return 0
    first, last = window or (0.0, 1.0)
    start = max(math.floor(first * len(curve)) - 1, 1)
    stop = max(math.ceil(last * len(curve)), start + 1)
    return start + int(np.argmax(curve[start:stop]))
