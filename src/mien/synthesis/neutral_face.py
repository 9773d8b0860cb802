"""The face that generators animate: a picture with landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.synthesis.fields import face_frame


@dataclass(frozen=True, slots=True)
class Face:
    """A neutral face to animate. Any source of faces can make one.

    Attributes:
        image: (H, W, 3) RGB, 0..255.
        points: (68, 2) landmarks (iBUG 300-W) in pixels of the image, x then y; the mouth may be closed or open.
        name: Name of the source.
    """

    image: NDArray[np.float32]
    points: NDArray[np.float64]
    name: str

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or min(self.image.shape[:2]) < 32:
            raise MienError(
                f"A face of shape {self.image.shape}.", "(H, W, 3) RGB, at least 32 pixels a side.", "a colour picture."
            )
        face_frame(self.points)
