"""Optical flow through a whole clip: from its first frame to every later one, or from each frame to the next."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.motion.flow import optical_flows

Against = Literal["first", "previous"]


def flows_of_clip(frames: NDArray[Any], method: str = "dis", against: Against = "first") -> NDArray[np.float32]:
    """Displacement of every pixel, for every frame after the first.

    Args:
        frames: (T, H, W) grey levels 0..255, T >= 2.
        method: Flow method (`mien.motion.flow.METHODS`).
        against: "first": from the first frame to frame t; "previous": from frame t - 1 to frame t.

    Returns:
        (T - 1, H, W, 2) in pixels, x then y.

    Raises:
        MienError: One frame, colour, an unknown method or `against`.
    """
    frames = np.asarray(frames)
    if frames.ndim != 3 or len(frames) < 2:
        raise MienError(
            f"frames has shape {frames.shape}.", "(T, H, W) grey levels of at least two frames.", "`frames.mean(-1)`."
        )
    if against not in ("first", "previous"):
        raise MienError(f"against is {against!r}.", "first or previous.", "`--set against=first`.")
    before = np.broadcast_to(frames[:1], frames[1:].shape) if against == "first" else frames[:-1]
    return optical_flows(before, frames[1:], method)
