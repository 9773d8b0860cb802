"""The apex frame of a clip, where the annotation gives none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def find_apex(frames: NDArray[np.uint8]) -> int:
    """Index of the frame whose difference from the first one varies most over the face.

    Args:
        frames: (T, H, W) grey levels of one clip from onset to offset, T >= 1.

    Returns:
        Index from 0; never 0 when T > 1.

    Source: STRCN (Xia et al. 2020), equation 5: argmax over t of the standard deviation of I(t) - I(0). The released
    code searches 20-70 % of the clip only and reports an index that is too early by the part it skipped.
    """
    if len(frames) < 2:
        return 0
    first = frames[0].astype(np.float32)
    spread = [float(np.std(frame.astype(np.float32) - first)) for frame in frames[1:]]
    return 1 + int(np.argmax(spread))
