"""A descriptor: the strongest motion of each block of the face."""

import numpy as np
from numpy.typing import NDArray

from mien.descriptors import Descriptor


def flow_extremes(flow: NDArray[np.float32], *, blocks: int = 4) -> NDArray[np.float32]:
    """Return the largest length of motion in each block.

    Args:
        flow: (H, W, 2) displacement from onset to apex in pixels.
        blocks: Blocks along each side.

    Returns:
        (blocks * blocks,) in pixels, row by row.
    """
    length = np.hypot(flow[..., 0], flow[..., 1])
    rows = [part for strip in np.array_split(length, blocks) for part in np.array_split(strip, blocks, axis=1)]
    return np.array([part.max() for part in rows], np.float32)


FLOW_EXTREMES = Descriptor(
    name="flow-extremes",
    summary="the strongest motion of each block of the face",
    source="none: an example",
    function=flow_extremes,
    reads="flow",
)
