"""The shape of a face: 68 landmarks of the mean neutral face, random variations, and their position in a crop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.synthesis.timeline import read_table

_Points = NDArray[np.float64]


def neutral_points() -> _Points:
    """Return the (68, 2) landmarks of the mean neutral face, x then y, in IOD from the middle between the eyes."""
    return np.asarray(read_table("faces")["neutral"], np.float64)


def draw_points(rng: np.random.Generator, variety: float = 1.0) -> _Points:
    """Make the landmarks of a random neutral face: proportions vary as among people, and the halves differ slightly.

    Args:
        rng: Random generator.
        variety: Size of the variations; 0 gives the mean face.

    Returns:
        (68, 2), x then y, in IOD from the middle between the eyes.

    Example:
        >>> bool((draw_points(np.random.default_rng(0), variety=0) == neutral_points()).all())
        True
    """
    p = neutral_points()

    def draw(size: float) -> float:
        return variety * size * float(np.clip(rng.normal(), -2, 2))

    jaw, brows, nose, eyes, mouth = slice(0, 17), slice(17, 27), slice(27, 36), slice(36, 48), slice(48, 68)
    width, longer = 1 + draw(0.05), 1 + draw(0.06)
    p[jaw, 0] *= width * (1 - draw(0.05) * np.clip(p[jaw, 1] / 1.7, 0, 1))
    p[jaw, 1] *= longer * (1 + draw(0.03))
    p[brows, 0] *= 1 + draw(0.04)
    p[brows, 1] += draw(0.045) + draw(0.06) * (np.abs(p[brows, 0]) - 0.55)
    p[nose, 0] *= 1 + draw(0.10)
    p[nose, 1] *= 0.5 + 0.5 * longer + draw(0.05)
    centre = np.where(p[eyes, 0] < 0, -0.5, 0.5)
    p[eyes, 0] = centre + (p[eyes, 0] - centre) * (1 + draw(0.06))
    p[eyes, 1] *= 1 + draw(0.15)
    p[eyes, 1] += draw(0.06) * (np.abs(p[eyes, 0]) - 0.5)
    seam = 0.99
    p[mouth, 0] *= 1 + draw(0.08)
    p[mouth, 1] = seam + (p[mouth, 1] - seam) * (1 + draw(0.15))
    p[mouth, 1] *= 0.35 + 0.65 * longer + draw(0.03)
    p[mouth, 1] += draw(0.05) * (np.abs(p[mouth, 0]) - 0.2)
    uneven = rng.normal(0, 0.006 * variety, p.shape)
    uneven[60:68] = 0  # the lips stay closed
    return p + uneven


@dataclass(frozen=True, slots=True)
class Crop:
    """The part of a face that a picture shows. Lengths are in IOD.

    Attributes:
        width: Width of the picture, 1 to 8.
        height: Height of the picture, 1 to 8.
        eyes: Fraction of the height above the eyes, 0 to 1.
        right: Distance of the face from the middle, to the right.
        roll: Rotation of the head in the picture in radians, at most 0.15.
    """

    width: float = 2.3
    height: float = 2.8
    eyes: float = 0.28
    right: float = 0.0
    roll: float = 0.0

    def __post_init__(self) -> None:
        if not (1 <= self.width <= 8 and 1 <= self.height <= 8 and 0 < self.eyes < 1 and abs(self.roll) <= 0.15):
            raise MienError(
                f"A crop of {self.width:g} by {self.height:g}, eyes at {self.eyes:g}, turned by {self.roll:g}.",
                "1 to 8 distances between the eyes each way, eyes at 0 to 1 of the height, a turn up to 0.15 radians.",
                "`Crop()`.",
            )

    def shape(self, width: int) -> tuple[int, int]:
        """Return height and width of a picture of a given width in pixels, with square pixels."""
        return max(16, round(width * self.height / self.width)), width

    def place(self, points: NDArray[np.floating[Any]], shape: tuple[int, int]) -> _Points:
        """Convert points (P, 2) from IOD to pixels of a picture of a given shape, which may show slightly more."""
        scale = max(shape[0] / self.height, shape[1] / self.width)
        turn = np.array([[np.cos(self.roll), np.sin(self.roll)], [-np.sin(self.roll), np.cos(self.roll)]])
        centre = np.array([0.5 * shape[1] + scale * self.right, self.eyes * shape[0]])
        return np.asarray(centre + scale * (points @ turn) - 0.5)


def draw_crop(rng: np.random.Generator, variety: float = 1.0) -> Crop:
    """Make a random tight crop of a face, as in databases and from face detectors.

    Args:
        rng: Random generator.
        variety: Size of the variations; 0 gives the mean crop.

    Example:
        >>> float(draw_crop(np.random.default_rng(0), variety=0).width)
        2.15
    """
    a, b, c, d, e = np.clip(rng.normal(size=5), -2, 2) * variety
    return Crop(2.15 + 0.12 * a, 2.55 + 0.18 * b, 0.24 + 0.03 * c, 0.05 * d, 0.02 * e)
