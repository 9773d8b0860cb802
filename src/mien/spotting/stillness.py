"""Whether a face is still where it was, by its small picture alone: microseconds in place of a search for landmarks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Limits = tuple[float, ...]

_SMALLER: Final = 4
"""Pixels that become one, so that noise does not count."""

_UNLIKE: Final = 0.15
"""Change that is not explained by motion and light, in standard deviations of the picture: something else happened."""

_CONTRAST: Final = 0.3
"""Share of its contrast that a face may gain or lose by a change of light: without a face, it loses all."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a face is, compared with where it was.

    Attributes:
        x: Shift to the right, in distances between the eyes.
        y: Shift down, in the same unit.
        turn: Radians, clockwise on the screen.
        growth: Logarithm of its size.
    """

    x: float
    y: float
    turn: float
    growth: float

    def within(self, limits: Limits) -> bool:
        """Return whether shift, turn and growth are at most these three limits."""
        far, turned, grown = limits
        return math.hypot(self.x, self.y) <= far and abs(self.turn) <= turned and abs(self.growth) <= grown


class Anchor:
    """A small picture of a face with which later ones are compared.

    The difference of two pictures is explained, by least squares, by shift, turn and growth of the first (its slopes
    times the motion) and by a change of light (contrast and brightness).

    Args:
        picture: (H, W) grey levels.
        eyes: Distance between the eyes in it, in pixels.
        pose: Where the face was in it.

    Example:
        >>> picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (140, 112), np.uint8), (0, 0), 4)
        >>> moved = Anchor(picture, 56, Pose(0, 0, 0, 0)).pose_of(np.roll(picture, 2, 1))
        >>> round(56 * moved.x), round(56 * moved.y)
        (2, 0)
    """

    def __init__(self, picture: Picture, eyes: float, pose: Pose) -> None:
        self._eyes, self._pose = eyes / _SMALLER, pose
        self._small = _small(picture)
        down, along = np.gradient(self._small)
        y, x = np.indices(self._small.shape, np.float32)
        x, y = x - x.mean(), y - y.mean()
        columns = [along, down, along * x + down * y, down * x - along * y, self._small, np.ones_like(x)]
        self._design: NDArray[Any] = np.stack([each[1:-1, 1:-1].ravel() for each in columns], 1).astype(np.float64)
        self._inverse = np.linalg.pinv(self._design)
        self._spread = max(float(self._small.std()), 1.0)

    def pose_of(self, picture: Picture) -> Pose | None:
        """Return where the face is in a later picture of the same rectangle; None if more than that has changed."""
        change = (_small(picture) - self._small)[1:-1, 1:-1].ravel()
        found = self._inverse @ change
        unlike = float(np.sqrt(np.mean(np.square(change - self._design @ found)))) / self._spread
        if not unlike <= _UNLIKE or abs(float(found[4])) > _CONTRAST:
            return None
        x, y, growth, turn = (-float(each) for each in found[:4])
        was = self._pose
        return Pose(was.x + x / self._eyes, was.y + y / self._eyes, was.turn + turn, was.growth + growth)

    def still(self, picture: Picture, limits: Limits) -> bool:
        """Return whether the face is within limits of where it is to be; see `Pose.within`."""
        pose = self.pose_of(picture)
        return pose is not None and pose.within(limits)


def _small(picture: Picture) -> NDArray[np.float32]:
    height, width = (length // _SMALLER for length in picture.shape)
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.float32)
