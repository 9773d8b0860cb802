"""Dense optical flow between two grey pictures, by name."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import unknown_name


def _tvl1(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.optflow.DualTVL1OpticalFlow_create().calc(a, b, None), dtype=np.float32)


def _dis(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(a, b, None)
    return np.asarray(flow, dtype=np.float32)


def _farneback(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    flow = cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    return np.asarray(flow, dtype=np.float32)


METHODS: dict[str, Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]] = {
    "tvl1": _tvl1,
    "dis": _dis,
    "farneback": _farneback,
}


def optical_flow(first: NDArray[np.uint8], second: NDArray[np.uint8], method: str = "tvl1") -> NDArray[np.float32]:
    """Displacement of every pixel from one grey picture to another.

    Args:
        first: (H, W) grey levels 0..255.
        second: (H, W), the later picture.
        method: "tvl1" (Zach, Pock and Bischof 2007, as STSTNet uses), "dis" (Kroeger et al. 2016, fast) or
            "farneback" (2003); all in OpenCV's implementation and default settings.

    Returns:
        (H, W, 2) in pixels, x then y: the point at (x, y) in `first` is at (x + dx, y + dy) in `second`.

    Raises:
        MienError: There is no such method.
        ValueError: The pictures differ in size or are not grey.
    """
    if method not in METHODS:
        raise unknown_name("flow method", method, METHODS, "--set flow=tvl1")
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(f"two grey pictures of one size are needed, not {first.shape} and {second.shape}")
    return METHODS[method](np.ascontiguousarray(first), np.ascontiguousarray(second))
