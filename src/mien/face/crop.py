"""Cropping of the face to a rectangle placed by the eyes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.io.opencv import cv2

if TYPE_CHECKING:
    from mien.face.landmarks import FaceTrack

Array = NDArray[Any]

DELTAS: Final = (0.4, 0.6, 2.2, 1.8)
"""STRCN's rectangle in units of the distance between the eyes: margin beside an eye, margin above the eyes, height, and
width."""

_TYPES: Final = ("uint8", "uint16", "int16", "float32", "float64")
"""Types that OpenCV can resample."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, possibly rotated about its centre.

    Attributes:
        x: Left edge before rotation. The centre of the first pixel is at 0, so a whole picture starts at -0.5.
        y: Top edge before rotation.
        width: In pixels, > 0.
        height: In pixels, > 0.
        angle: In radians, from the x axis of the picture to that of the box, clockwise on the screen.
    """

    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0

    def matrix(self, height: int, width: int) -> NDArray[np.float64]:
        """Return the affine matrix (2, 3) from pixels of a height x width picture of the box to pixels of the frame."""
        scale_x, scale_y = self.width / width, self.height / height
        c, s = math.cos(self.angle), math.sin(self.angle)
        centre = np.array([self.x + self.width / 2, self.y + self.height / 2])
        linear = np.array([[c * scale_x, -s * scale_y], [s * scale_x, c * scale_y]])
        return np.column_stack([linear, centre - linear @ [(width - 1) / 2, (height - 1) / 2]])


def crop_box(
    eyes: NDArray[np.floating[Any]],
    deltas: tuple[float, float, float, float] = DELTAS,
    level: bool = False,
) -> Box:
    """Compute the rectangle of a face from the centres of its eyes.

    With d the distance between the eyes, the rectangle is 2.2 d high and 1.8 d wide, horizontally centred on the eyes,
    and starts 0.6 d above them.

    Args:
        eyes: (2, 2) centres of the eyes in pixels, x then y; the eye on the left of the picture first.
        deltas: Margin beside the left eye, margin above the eyes, height, and width; in units of d.
        level: Whether to rotate the rectangle so that the eyes are level in it.

    Raises:
        MienError: Eyes that coincide or are not finite.

    Example:
        >>> import numpy as np
        >>> from mien.face.crop import crop_box
        >>> box = crop_box(np.array([[40.0, 60.0], [140.0, 60.0]]))
        >>> box.x, box.y, box.width, box.height
        (0.0, 0.0, 180.0, 220.00000000000003)

    Source: STRCN (Xia et al. 2020), equation 1. As printed, its vertical shift is a difference of the heights of the
    eyes, which is 0 for level eyes, so that the brows would be cut off; and the margin beside the eye would be 0.6, so
    that the face would not be centred in a width of 1.8 = 0.4 + 1 + 0.4. Here 0.4 is the margin at the side and 0.6 the
    one above.
    """
    points = np.asarray(eyes, np.float64)
    distance = math.dist(points[0], points[1])
    if not np.isfinite(points).all() or distance < 1e-6:
        raise MienError(
            f"Eyes at {points.round(1).tolist()}.", "two different points.", "a frame in which the face was found."
        )
    side, above, height, width = (delta * distance for delta in deltas)
    between_eyes = points.mean(0)
    eye_to_eye = points[1] - points[0]
    if not level:
        left = between_eyes[0] - distance / 2 - side
        return Box(float(left), float(between_eyes[1] - above), width, height)
    angle = math.atan2(eye_to_eye[1], eye_to_eye[0])
    x_axis, y_axis = eye_to_eye / distance, np.array([-eye_to_eye[1], eye_to_eye[0]]) / distance
    corner = between_eyes - (distance / 2 + side) * x_axis - above * y_axis
    centre = corner + width / 2 * x_axis + height / 2 * y_axis
    return Box(float(centre[0] - width / 2), float(centre[1] - height / 2), width, height, angle)


def crop(frames: Array, box: Box, size: tuple[int, int]) -> Array:
    """Cut a box out of each frame, resized to a given size.

    Args:
        frames: (T, H, W) or (T, H, W, C); uint8, uint16, int16, float32 or float64, of any scale.
        box: The rectangle.
        size: Height and width of the result.

    Returns:
        (T, height, width) or (T, height, width, C) of the type and scale of the frames. Pixels are interpolated
        bilinearly, and averaged over areas where the box is larger than the result. Outside a frame its border pixels
        are repeated.

    Raises:
        MienError: Another type of frames.

    Example:
        >>> import numpy as np
        >>> from mien.face.crop import Box, crop
        >>> frames = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
        >>> crop(frames, Box(x=0.5, y=0.5, width=2, height=2), size=(2, 2)).tolist()
        [[[5, 6], [9, 10]]]
    """
    return np.stack([crop_frame(frame, box, size) for frame in frames])


def crop_frame(frame: Array, box: Box, size: tuple[int, int]) -> Array:
    """Cut a box out of one frame (H, W) or (H, W, C); otherwise as `crop`.

    Example:
        >>> import numpy as np
        >>> from mien.face.crop import Box, crop_frame
        >>> crop_frame(np.zeros((90, 90, 3), np.uint8), Box(10, 10, 40, 60), size=(30, 20)).shape
        (30, 20, 3)
    """
    height, width = size
    fine = height * oversampling(box.height / height), width * oversampling(box.width / width)

    def sample(picture: Array) -> Array:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        placed = cv2.warpAffine(picture, box.matrix(*fine), fine[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(placed)

    return sampled(frame, sample, fine, size)


def sampled(frame: Array, sample: Callable[[Array], Array], fine: tuple[int, int], size: tuple[int, int]) -> Array:
    """Sample a frame by an OpenCV call, and reduce the result.

    With a fourth channel, OpenCV samples 8-bit colours up to twice as fast, and to the same values. Where one sample is
    taken for each pixel of the result, adding the channel costs as much as it saves.

    Args:
        frame: (H, W) or (H, W, C), of any scale.
        sample: Returns its samples as a picture of height and width `fine`, with the channels that it is given.
        fine: Height and width of the samples, multiples of `size`.
        size: Height and width of the result.

    Returns:
        (height, width) or (height, width, C), of the type and scale of the frame.

    Raises:
        MienError: As `check_type`.
    """
    check_type(frame)
    if fine == size or frame.dtype != np.uint8 or frame.shape[2:] != (3,):
        return reduce(sample(frame), size)
    reduced = reduce(sample(np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2RGBA))), size)
    return np.asarray(cv2.cvtColor(reduced, cv2.COLOR_RGBA2RGB))


def check_type(frame: Array) -> None:
    """Refuse a frame of a type that OpenCV cannot resample.

    Raises:
        MienError: bool, float16 or integers of 32 or more bits, for example.
    """
    if frame.dtype not in _TYPES:
        raise MienError(f"A frame of type {frame.dtype}.", f"{', '.join(_TYPES)}.", "`frames.astype('float32')`.")


def oversampling(scale: float) -> int:
    """Return how many samples per pixel (along one axis) are needed when a frame is reduced by the factor `scale`."""
    return max(1, math.ceil(scale - 1e-3))


def reduce(picture: Array, size: tuple[int, int]) -> Array:
    """Reduce a picture to a size that divides its own, by averaging blocks of pixels."""
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
    """Yield the face of a clip, frame by frame, cropped by equation 1 of STRCN.

    Args:
        frames: The frames (H, W) or (H, W, C) in which the face was tracked.
        track: Landmarks of the face in these frames, from `mien.face.landmarks.track_face`.
        size: Height and width of the result.
        per_frame: Whether to place the rectangle anew in every frame instead of once for the clip. Jitter of the
            landmarks then looks like motion. Frames without a face use the last rectangle before them.
        level: Whether to rotate the rectangle so that the eyes are level in it.

    Yields:
        (height, width) or (height, width, C), of the type and scale of the frames.

    Example:
        >>> from mien.face.crop import crop_clip
        >>> from mien.face.landmarks import track_face
        >>> from mien.face.portrait import portrait
        >>> frames = [portrait()] * 2
        >>> [face.shape for face in crop_clip(frames, track_face(frames), size=(60, 48))]
        [(60, 48, 3), (60, 48, 3)]

    Source: see `crop_box`.
    """
    eyes = track.eyes()
    box = crop_box(eyes[track.first()], level=level)
    for t, frame in enumerate(frames):
        if per_frame and t < len(eyes) and track.found[t]:
            box = crop_box(eyes[t], level=level)
        yield crop_frame(frame, box, size)
