"""A face in a film, frame by frame: one small picture of it per frame, cut by a rectangle that stays as long as it may.

Landmarks jitter and cost milliseconds, so they are looked for a few times a second only, and the rectangle is made anew
only when the face has left its place. A step from one rectangle to the next is told with the picture, so that what was
kept from before can be brought to it.
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

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

HEIGHT: Final = 140
"""Rows of the small picture."""

WIDTH: Final = 112
"""Columns of the small picture; the eyes are 56 pixels apart in it."""

EYES: Final = WIDTH / 2
"""Pixels between the centres of the eyes in the small picture, when the rectangle is made."""

_DELTAS: Final = (0.5, 0.75, 2.5, 2.0)  # from above the brows to below the chin, in distances of the eyes
_PRESENT: Final = 0.5
_MOVED, _TURNED, _GROWN = 0.06, math.radians(4), 0.07


@dataclass(frozen=True, slots=True)
class Look:
    """One frame's face.

    Attributes:
        index: The frame's number, from 0.
        picture: (HEIGHT, WIDTH) grey levels; None where there is no face.
        points: (68, 2) landmarks in pixels of the picture, x then y, as they were when the rectangle was made; None
            where there is no face.
        change: (2, 3), from pixels of this picture to pixels of the pictures before; None where the rectangle is the
            same. Where `fresh`, nothing before belongs to this face.
        fresh: The first picture of a face, at the beginning and after it was lost.
    """

    index: int
    picture: Picture | None
    points: Floats | None
    change: Matrix | None = None
    fresh: bool = False


class FaceStream:
    """Follows the largest face of a film; holds no frame.

    Args:
        fps: Frames per second.
        every: Seconds between two looks for landmarks.
        device: Where the networks run.
        detect: The faces in a frame that may be followed; None takes them all, so that the largest is.

    Attributes:
        seen: Frames looked at so far.
        found: Frames with a face so far.
        most_faces: The most faces seen in one frame.
        eye_distance: Pixels between the eyes in the film, when the face was last found; 0 before.
        too_small: Pixels of the largest face that was too small to use; 0 where there was none.
    """

    def __init__(
        self,
        fps: float,
        every: float = 0.25,
        device: str = "cpu",
        detect: Callable[[Picture], list[Face]] | None = None,
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
        self.seen = 0
        self.found = 0
        self.most_faces = 0
        self.eye_distance = 0.0
        self.too_small = 0.0

    def look(self, frame: Picture) -> Look:
        """The face of the next frame.

        Args:
            frame: (H, W) grey or (H, W, 3) RGB, 8 bits.
        """
        index = self.seen
        self.seen += 1
        change: Matrix | None = None
        fresh = False
        if index >= self._due:  # frames may be missing: not every multiple of the step is seen
            self._due = index + self._step
            had = self._matrix
            eyes_points = self._landmarks(frame)
            if eyes_points is None:
                self._matrix = self._box = self._square = None
            elif had is None or self._left(eyes_points):
                self._cut(eyes_points)
                fresh = had is None
                if had is not None:
                    assert self._matrix is not None
                    change = _compose(_inverse(had), self._matrix)
        if self._box is None:
            return Look(index, None, None)
        self.found += 1
        grey = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        picture = np.asarray(crop_frame(np.asarray(grey), self._box, (HEIGHT, WIDTH)), np.uint8)
        return Look(index, picture, self._points, change, fresh)

    @property
    def eyes(self) -> Floats | None:
        """(2, 2) centres of the eyes in the film as they were when the rectangle was made; None without a face."""
        return None if self._box is None else self._eyes

    def _landmarks(self, frame: Picture) -> Floats | None:
        """(68, 2) landmarks in the frame; None where there is no face."""
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

    def _left(self, points: Floats) -> bool:
        """Whether the face is elsewhere, larger or more tilted than when the rectangle was made."""
        assert self._eyes is not None
        was, now = self._eyes, _eyes(points)
        across_was, across_now = was[1] - was[0], now[1] - now[0]
        far = math.dist(was.mean(0), now.mean(0)) / float(np.hypot(*across_was))
        turned = abs(
            math.remainder(
                math.atan2(across_now[1], across_now[0]) - math.atan2(across_was[1], across_was[0]), math.tau
            )
        )
        grown = abs(math.log(float(np.hypot(*across_now)) / float(np.hypot(*across_was))))
        return far > _MOVED or turned > _TURNED or grown > _GROWN

    def _cut(self, points: Floats) -> None:
        """A new rectangle from (68, 2) landmarks."""
        self._eyes = _eyes(points)
        self.eye_distance = float(np.hypot(*(self._eyes[1] - self._eyes[0])))
        self._box = crop_box(self._eyes, _DELTAS, level=True)
        self._matrix = self._box.matrix(HEIGHT, WIDTH)
        back = _inverse(self._matrix)
        self._points = (points @ back[:, :2].T + back[:, 2]).astype(np.float32)


def carried(picture: Picture, change: Matrix) -> Picture:
    """A picture from before a change of the rectangle, as the new rectangle would have cut it."""
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
    """(2, 2) centres of the eyes among 68 points, image-left first."""
    return np.asarray(points[36:48].reshape(2, 6, 2).mean(1), np.float32)


def _inverse(matrix: Matrix) -> Matrix:
    return np.asarray(cv2.invertAffineTransform(matrix), np.float64)


def _compose(second: Matrix, first: NDArray[Any]) -> Matrix:
    """The map that applies `first`, then `second`; all (2, 3)."""
    linear = second[:, :2] @ first[:, :2]
    return np.column_stack([linear, second[:, :2] @ first[:, 2] + second[:, 2]])
