"""Optical flow for all frames of a clip."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.motion.flow import optical_flows

Against = Literal["first", "previous"]
"""Which frame the flow of each frame starts from."""


def flows_of_clip(frames: NDArray[Any], method: str = "dis", against: Against = "first") -> NDArray[np.float32]:
    """Compute the optical flow of every frame after the first.

    Args:
        frames: (T, H, W) grey levels, T >= 2; uint8, uint16, or floating point in 0..1 or 0..255 (see
            `mien.motion.levels.as_levels`).
        method: Flow method, one of `mien.motion.flow.METHODS`.
        against: "first": flow from the first frame to frame t. "previous": flow from frame t - 1 to frame t.

    Returns:
        (T - 1, H, W, 2) displacement in pixels, x then y.

    Raises:
        MienError: A single frame, colour frames, or an unknown method or value of `against`.

    Example:
        >>> import numpy as np
        >>> from mien.motion.clip_flow import flows_of_clip
        >>> frames = np.random.default_rng(0).integers(0, 256, (3, 20, 24), np.uint8)
        >>> flows_of_clip(frames).shape
        (2, 20, 24, 2)
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
