"""The rectangle of the face, from the centres of its eyes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError

if TYPE_CHECKING:
    from mien.face.landmarks import FaceTrack

Array = NDArray[Any]

DELTAS: Final = (0.4, 0.6, 2.2, 1.8)
"""STRCN's four numbers: to the side of an eye, above the eyes, height and width, in distances of the eyes."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, possibly turned about its centre.

    Attributes:
        x: Left edge before turning. The centre of the first pixel is 0, so that a whole picture begins at -0.5.
        y: Top edge before turning.
        width: Pixels, > 0.
        height: Pixels, > 0.
        angle: Radians from the picture's x axis to the box's, clockwise as seen.
    """

    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0

    def matrix(self, height: int, width: int) -> NDArray[np.float64]:
        """(2, 3), from pixels of a height x width picture of the box to pixels of the frame."""
        along, down = self.width / width, self.height / height
        c, s = math.cos(self.angle), math.sin(self.angle)
        middle = np.array([self.x + self.width / 2, self.y + self.height / 2])
        turn = np.array([[c * along, -s * down], [s * along, c * down]])
        return np.column_stack([turn, middle - turn @ [(width - 1) / 2, (height - 1) / 2]])


def crop_box(
    eyes: NDArray[np.floating[Any]],
    deltas: tuple[float, float, float, float] = DELTAS,
    level: bool = False,
) -> Box:
    """The rectangle of a face.

    With d the distance of the eyes: 2.2 d high, 1.8 d wide, centred between the eyes from left to right, and
    beginning 0.6 d above them.

    Args:
        eyes: (2, 2) centres of the eyes in pixels, image-left first, x then y.
        deltas: To the side of the eyes (the width less the eyes' distance is shared evenly all the same when they do
            not add up), above them, height, width; in distances of the eyes.
        level: Turn the rectangle so that the eyes are level in it.

    Raises:
        MienError: The eyes are at one point, or not finite.

    Source: STRCN (Xia et al. 2020), equation 1. As printed, its vertical shift is a difference of the eyes' heights,
    which is 0 for level eyes, so that the brows would be cut off; and the larger number goes to the side, so that the
    face would not be in the middle of a width of 1.8 = 0.4 + 1 + 0.4. Read here as 0.4 to the side and 0.6 above.
    """
    points = np.asarray(eyes, np.float64)
    distance = math.dist(points[0], points[1])
    if not np.isfinite(points).all() or distance < 1e-6:
        raise MienError(
            f"Eyes at {points.round(1).tolist()}.", "two points apart.", "a frame in which the face was found."
        )
    side, above, height, width = (delta * distance for delta in deltas)
    middle = points.mean(0)
    across = points[1] - points[0]
    if not level:
        left = middle[0] - distance / 2 - side
        return Box(float(left), float(middle[1] - above), width, height)
    angle = math.atan2(across[1], across[0])
    x_axis, y_axis = across / distance, np.array([-across[1], across[0]]) / distance
    corner = middle - (distance / 2 + side) * x_axis - above * y_axis
    centre = corner + width / 2 * x_axis + height / 2 * y_axis
    return Box(float(centre[0] - width / 2), float(centre[1] - height / 2), width, height, angle)


def crop(frames: Array, box: Box, size: tuple[int, int]) -> Array:
    """The part of each frame inside a box, at a given size; where the box reaches beyond a frame, its border goes on.

    Args:
        frames: (T, H, W) or (T, H, W, C), any type OpenCV resamples (8 and 16 bits, float32).
        box: The rectangle.
        size: Height and width of the result.

    Returns:
        (T, height, width[, C]) of the same type; bilinear, areas averaged where the box is larger than the result.
    """
    return np.stack([crop_frame(frame, box, size) for frame in frames])


def crop_frame(frame: Array, box: Box, size: tuple[int, int]) -> Array:
    """As `crop`, for one frame (H, W[, C])."""
    height, width = size
    down, along = oversampling(box.height / height), oversampling(box.width / width)
    fine = height * down, width * along
    seen = cv2.warpAffine(
        frame,
        box.matrix(*fine),
        (fine[1], fine[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return reduce(np.asarray(seen), size)


def oversampling(scale: float) -> int:
    """How many samples per pixel and axis see every pixel of the frame when it shrinks by `scale`."""
    return max(1, math.ceil(scale - 1e-3))


def reduce(picture: Array, size: tuple[int, int]) -> Array:
    """Means over blocks of whole pixels."""
    if picture.shape[:2] == size:
        return picture
    return np.asarray(cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA))


def crop_clip(
    frames: Iterable[Array],
    track: FaceTrack,
    size: tuple[int, int] = (300, 245),
    per_frame: bool = False,
    level: bool = False,
) -> Iterator[Array]:
    """The face of a clip, frame by frame, in the rectangle of equation 1.

    Args:
        frames: The pictures (H, W[, C]) that were tracked.
        track: Landmarks of the face in them.
        size: Height and width of the result.
        per_frame: A rectangle for every frame instead of the first one's: landmark jitter then looks like motion.
            Frames without a face keep the rectangle before.
        level: See `crop_box`.

    Yields:
        (height, width[, C]) of the frames' type.
    """
    eyes = track.eyes()
    box = crop_box(eyes[track.first()], level=level)
    for t, frame in enumerate(frames):
        if per_frame and t < len(eyes) and track.found[t]:
            box = crop_box(eyes[t], level=level)
        yield crop_frame(frame, box, size)
