"""A portrait that may be passed on, for demonstrations and tests."""

from __future__ import annotations

from importlib import resources

import cv2
import numpy as np
from numpy.typing import NDArray


def portrait() -> NDArray[np.uint8]:
    """Eileen Collins, photographed by NASA, as (320, 320, 3) RGB: one face about 100 pixels wide; public domain."""
    stored = (resources.files("mien.face") / "portrait.jpg").read_bytes()
    return np.ascontiguousarray(cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR)[..., ::-1], np.uint8)
