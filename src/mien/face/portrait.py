"""A portrait in the public domain, for examples and tests."""

from __future__ import annotations

from importlib import resources

import cv2
import numpy as np
from numpy.typing import NDArray


def portrait() -> NDArray[np.uint8]:
    """Return a photograph of Eileen Collins by NASA as (320, 320, 3) RGB, uint8: one face, about 100 pixels wide.

    Example:
        >>> from mien.face.portrait import portrait
        >>> portrait().shape
        (320, 320, 3)
    """
    stored = (resources.files("mien.face") / "portrait.jpg").read_bytes()
    return np.ascontiguousarray(cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR)[..., ::-1], np.uint8)
