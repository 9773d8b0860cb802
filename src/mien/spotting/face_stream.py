"""Crop one face from a video: a small picture per frame, with a crop rectangle that moves as rarely as possible.

Landmarks are noisy and cost milliseconds. Therefore they are searched only a few times a second, or even more rarely
while the small picture shows that the face stays where it is; and the rectangle changes only when the face has moved.
Each change of the rectangle is reported with the picture, so that earlier pictures can be aligned with the new
rectangle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.face.crop import Box, crop_box, crop_frame
from mien.face.detect import Face, detect_faces
from mien.face.landmarks import SMALLEST_FACE, ibug68
from mien.face.mesh import Square, find_mesh, square_of_face, square_of_points
from mien.spotting.stillness import Anchor, Pose

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

HEIGHT: Final = 140
"""Rows of the small picture."""

WIDTH: Final = 112
"""Columns of the small picture."""

EYES: Final = WIDTH / 2
"""Distance between the centres of the eyes in the small picture, in pixels, when the rectangle is chosen."""

_DELTAS: Final = (0.5, 0.75, 2.5, 2.0)  # from above the brows to below the chin; see `crop_box`
_PRESENT: Final = 0.5
_MOST: Final = (0.06, math.radians(4), 0.07)
"""How far, in distances between the eyes, a face may shift, turn and grow before it gets a new rectangle."""
_LIMITS: Final = tuple(0.6 * limit for limit in _MOST)
"""The same before landmarks are searched at the next occasion, as far as the small picture shows it."""


@dataclass(frozen=True, slots=True)
class Look:
    """The face in one frame.

    Attributes:
        index: Number of the frame, from 0.
        picture: (HEIGHT, WIDTH) grey levels; None if there is no face.
        points: (68, 2) landmarks in pixels of the picture, x then y, as they were when the rectangle was chosen; None
            if there is no face.
        change: (2, 3) affine map from pixels of this picture to pixels of the earlier pictures; None if the rectangle
            did not change.
        fresh: Whether this is the first picture of a face, at the beginning or after the face was lost. Earlier
            pictures must not be compared with it.
    """

    index: int
    picture: Picture | None
    points: Floats | None
    change: Matrix | None = None
    fresh: bool = False


class FaceStream:
    """Follow the largest face of a video. No frame is kept.

    Args:
        fps: Frames per second.
        every: Seconds between two searches for landmarks.
        patience: Longest time in seconds without such a search while the small picture shows a face that stays where
            it is, by `mien.spotting.stillness`; 0 never trusts it.
        device: Device of the networks ("cpu", "cuda").
        detect: Returns the faces of a frame that may be followed; None allows all, so that the largest is followed.

    Attributes:
        seen: Number of frames so far.
        found: Number of frames with a face so far.
        most_faces: Largest number of faces in one frame.
        eye_distance: Distance between the eyes in the video, in pixels, when the face was last found; 0 before.
        too_small: Size in pixels of the largest face that was too small to use; 0 if there was none.

    Example:
        >>> FaceStream(100).look(np.full((64, 64), 128, np.uint8)).picture is None
        True
    """

    def __init__(
        self,
        fps: float,
        every: float = 0.25,
        device: str = "cpu",
        detect: Callable[[Picture], list[Face]] | None = None,
        patience: float = 0.0,
    ) -> None:
        self._step = max(1, round(every * fps))
        self._due = 0
        self._device = device
        self._detect = detect
        self._square: Square | None = None
        self._matrix: Matrix | None = None
        self._box: Box | None = None
        self._points: Floats | None = None
        self._eyes: Floats | None = None
        self._pose: Pose | None = None
        self._anchor: Anchor | None = None
        self._anchored_until = 0
        self._patience = round(patience * fps)
        self.seen = 0
        self.found = 0
        self.most_faces = 0
        self.eye_distance = 0.0
        self.too_small = 0.0

    def look(self, frame: Picture) -> Look:
        """Return the face of the next frame.

        Args:
            frame: (H, W) grey or (H, W, 3) RGB, 8 bits.
        """
        index = self.seen
        self.seen += 1
        change: Matrix | None = None
        fresh = False
        picture: Picture | None = None
        if index >= self._due:  # not `index % step == 0`, because frames may be missing
            self._due = index + self._step
            if self._box is not None and self._anchor is not None and index < self._anchored_until:
                picture = self._cropped(frame, self._box)
            if picture is None or self._anchor is None or not self._anchor.still(picture, _LIMITS):
                change, fresh = self._follow(frame, index)
                picture = None if fresh or change is not None else picture
        if self._box is None:
            return Look(index, None, None)
        self.found += 1
        picture = self._cropped(frame, self._box) if picture is None else picture
        if self._patience and self._anchor is None and self._pose is not None:
            self._anchor = Anchor(picture, EYES, self._pose)
        return Look(index, picture, self._points, change, fresh)

    def crop(self) -> Callable[[Picture], Look]:
        """Return a function that cuts the face out of another frame by the present rectangle, if there is one."""
        box, points, index = self._box, self._points, self.seen - 1

        def cropped(frame: Picture) -> Look:
            assert box is not None
            return Look(index, self._cropped(frame, box), points)

        return cropped

    def _follow(self, frame: Picture, index: int) -> tuple[Matrix | None, bool]:
        """Find the landmarks, and choose a new rectangle if the face has moved; return its change, and if it is new."""
        had = self._matrix
        points = self._landmarks(frame)
        self._anchor, self._anchored_until = None, index + self._patience
        if points is None:
            self._matrix = self._box = self._square = self._pose = None
            return None, False
        if had is not None:
            self._pose = self._moved(points)
            if self._pose.within(_MOST):
                return None, False
        self._cut(points)
        self._pose = Pose(0.0, 0.0, 0.0, 0.0)
        assert self._matrix is not None
        return (None, True) if had is None else (_compose(_inverse(had), self._matrix), False)

    @staticmethod
    def _cropped(frame: Picture, box: Box) -> Picture:
        grey = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        return np.asarray(crop_frame(np.asarray(grey), box, (HEIGHT, WIDTH)), np.uint8)

    @property
    def eyes(self) -> Floats | None:
        """(2, 2) centres of the eyes in the video as they were when the rectangle was chosen; None without a face."""
        return None if self._box is None else self._eyes

    def _landmarks(self, frame: Picture) -> Floats | None:
        """Return (68, 2) landmarks in the frame; None if there is no face."""
        if self._square is not None:
            points, presence = find_mesh([frame], [self._square], device=self._device)
            if presence[0] >= _PRESENT:
                self._square = square_of_points(points[0])
                return np.asarray(ibug68(points[0]), np.float32)
        if self._detect is not None:
            faces = self._detect(frame)
        else:
            faces = detect_faces([frame], small=self.found == 0, device=self._device)[0]
        self.most_faces = max(self.most_faces, len(faces))
        if self._eyes is not None:
            centre = self._eyes.mean(0)
            faces = sorted(faces, key=lambda face: math.dist(face.box.reshape(2, 2).mean(0), centre))
        if not faces:
            return None
        if faces[0].size < SMALLEST_FACE:
            self.too_small = max(self.too_small, float(faces[0].size))
            return None
        square = square_of_face(faces[0])
        for _ in range(2):
            points, presence = find_mesh([frame], [square], device=self._device)
            if presence[0] < _PRESENT:
                return None
            square = square_of_points(points[0])
        self._square = square
        return np.asarray(ibug68(points[0]), np.float32)

    def _moved(self, points: Floats) -> Pose:
        """Return how the face has moved, grown and turned since the rectangle was chosen."""
        assert self._eyes is not None
        was, now = self._eyes, _eyes(points)
        across_was, across_now = was[1] - was[0], now[1] - now[0]
        apart = float(np.hypot(*across_was))
        turned = math.remainder(
            math.atan2(across_now[1], across_now[0]) - math.atan2(across_was[1], across_was[0]), math.tau
        )
        shift = (now.mean(0) - was.mean(0)) / apart
        return Pose(float(shift[0]), float(shift[1]), turned, math.log(float(np.hypot(*across_now)) / apart))

    def _cut(self, points: Floats) -> None:
        """Choose a new rectangle from (68, 2) landmarks."""
        self._eyes = _eyes(points)
        self.eye_distance = float(np.hypot(*(self._eyes[1] - self._eyes[0])))
        self._box = crop_box(self._eyes, _DELTAS, level=True)
        self._matrix = self._box.matrix(HEIGHT, WIDTH)
        back = _inverse(self._matrix)
        self._points = (points @ back[:, :2].T + back[:, 2]).astype(np.float32)


def carried(picture: Picture, change: Matrix) -> Picture:
    """Align a picture from before a change of the rectangle with the new rectangle.

    Args:
        picture: (H, W) grey levels, cropped by the old rectangle.
        change: `Look.change`.

    Returns:
        (H, W) grey levels.

    Example:
        >>> picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
        >>> bool((carried(picture, np.eye(2, 3)) == picture).all())
        True
    """
    return np.asarray(
        cv2.warpAffine(
            picture,
            change,
            picture.shape[::-1],
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )


def _eyes(points: Floats) -> Floats:
    """Return (2, 2) centres of the eyes from 68 landmarks, image-left eye first."""
    return np.asarray(points[36:48].reshape(2, 6, 2).mean(1), np.float32)


def _inverse(matrix: Matrix) -> Matrix:
    return np.asarray(cv2.invertAffineTransform(matrix), np.float64)


def _compose(second: Matrix, first: NDArray[Any]) -> Matrix:
    """Return the (2, 3) affine map that applies `first`, then `second`."""
    linear = second[:, :2] @ first[:, :2]
    return np.column_stack([linear, second[:, :2] @ first[:, 2] + second[:, 2]])
