"""The apex frame of a clip, where the annotation gives none."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError


def grey_levels(frame: NDArray[Any]) -> NDArray[np.float32]:
    """A frame (H, W) or (H, W, 3) RGB as grey levels (H, W), in its own units, not rounded.

    Raises:
        MienError: Another shape.
    """
    if frame.ndim == 2:
        return frame.astype(np.float32)
    if frame.ndim != 3 or frame.shape[-1] != 3:
        raise MienError(f"A frame of shape {frame.shape}.", "(H, W) grey or (H, W, 3) RGB.", "frames of one video.")
    return np.asarray(cv2.cvtColor(np.array(frame, np.float32, order="C"), cv2.COLOR_RGB2GRAY))


def apex_curve(frames: Iterable[NDArray[Any]]) -> NDArray[np.float64]:
    """How much each frame's difference from the first one varies over the face.

    Args:
        frames: (T, H, W) grey or (T, H, W, 3) RGB, or anything that yields such frames one by one: two are held.

    Returns:
        (T,) standard deviations in grey levels; the first is 0.

    Raises:
        MienError: No frame, or frames of another shape.

    Source: STRCN (Xia et al. 2020), equation 5: std over the picture of I(t) - I(0).
    """
    curve: list[float] = []
    first: NDArray[np.float32] | None = None
    for frame in frames:
        grey = grey_levels(frame)
        if first is None:
            first = grey
        if grey.shape != first.shape:
            raise MienError(
                f"A frame of {grey.shape} after one of {first.shape}.", "one size for all frames.", "`mien check`."
            )
        _, spread = cv2.meanStdDev(grey - first)
        curve.append(float(spread[0, 0]))
    if not curve:
        raise MienError("A clip without frames.", "at least one frame.", "`mien check NAME=FOLDER`.")
    return np.array(curve)


def find_apex(frames: Iterable[NDArray[Any]], window: tuple[float, float] | None = None) -> int:
    """Index of the frame whose difference from the first one varies most over the face.

    Args:
        frames: (T, H, W) grey or (T, H, W, 3) RGB of one clip from onset to offset, or anything that yields them.
        window: Parts of the clip between which to search, 0 <= first < last <= 1: the frames counted from 1 as
            floor(first T) to ceil(last T). None searches the whole clip.

    Returns:
        Index from 0 in the whole clip; never 0 when T > 1. The earliest of equals, so 1 when nothing changes.

    Raises:
        MienError: No frame, frames of another shape, or a window that is none.

    Source: STRCN (Xia et al. 2020), equation 5: argmax over t of the standard deviation of I(t) - I(0). The released
    code searches the window (0.2, 0.7) only, reports an index that is too early by the part it skipped, and falls back
    on the middle frame; here neither is done.
    """
    if window is not None and not 0 <= window[0] < window[1] <= 1:
        raise MienError(
            f"A window from {window[0]:g} to {window[1]:g} of the clip.", "0 <= first < last <= 1.", "`(0.2, 0.7)`."
        )
    curve = apex_curve(frames)
    if len(curve) == 1:
        return 0
    first, last = window or (0.0, 1.0)
    start = max(math.floor(first * len(curve)) - 1, 1)
    stop = max(math.ceil(last * len(curve)), start + 1)
    return start + int(np.argmax(curve[start:stop]))
