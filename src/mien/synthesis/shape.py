"""The shape of a face: 68 points of the mean neutral face, varied at random, and where a crop puts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.synthesis.timeline import read_table

_Points = NDArray[np.float64]


def neutral_points() -> _Points:
    """(68, 2) the mean neutral face, in IOD from the middle between the eyes, x then y."""
    return np.asarray(read_table("faces")["neutral"], np.float64)


def draw_points(rng: np.random.Generator, variety: float = 1.0) -> _Points:
    """(68, 2) a neutral face at random: proportions differ as among people, the halves differ a little.

    Args:
        rng: Where the draws come from.
        variety: Size of the differences; 0 gives the mean face.
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
    """Which part of a face a picture shows. Lengths are in IOD.

    Attributes:
        width: Width of the picture.
        height: Its height.
        eyes: Part of the height that lies above the eyes.
        right: How far the face is right of the middle.
        roll: Turn of the head in the picture, in radians.
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
        """Height and width in pixels of a picture so many pixels wide, its pixels square."""
        return max(16, round(width * self.height / self.width)), width

    def place(self, points: NDArray[np.floating[Any]], shape: tuple[int, int]) -> _Points:
        """Points (P, 2) in IOD as pixels of a picture with square pixels, which may show a little more each way."""
        scale = max(shape[0] / self.height, shape[1] / self.width)
        turn = np.array([[np.cos(self.roll), np.sin(self.roll)], [-np.sin(self.roll), np.cos(self.roll)]])
        centre = np.array([0.5 * shape[1] + scale * self.right, self.eyes * shape[0]])
        return np.asarray(centre + scale * (points @ turn) - 0.5)


def draw_crop(rng: np.random.Generator, variety: float = 1.0) -> Crop:
    """A tight crop of a face, as databases ship them and detectors make them, at random."""
    a, b, c, d, e = np.clip(rng.normal(size=5), -2, 2) * variety
    return Crop(2.15 + 0.12 * a, 2.55 + 0.18 * b, 0.24 + 0.03 * c, 0.05 * d, 0.02 * e)
