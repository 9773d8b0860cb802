"""A line drawing of a face for the page: the skin of each action unit, tinted by its probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.datasets.facs import facs_units
from mien.recognition.records import UnitAnswer
from mien.synthesis.fields import MIRROR
from mien.synthesis.shape import neutral_points
from mien.synthesis.timeline import action_units, read_table

Points = NDArray[np.float64]

_SCALE, _MIDDLE, _EYES = 72.0, 150.0, 92.0
"""Units of the drawing per distance between the eyes; x of the midline and y of the eyes."""

HEIGHT: Final = 228
"""Height of the drawing; its width is 320, from -10."""

_HALF_MAXIMUM: Final = 1.177
"""Standard deviations at which a Gaussian falls to half of its maximum."""

_LINE_HEIGHT: Final = 15.0
_LABELS: Final = (34.0, 266.0)
"""Ends of the lines to the labels, on the left and on the right."""

_LINES: Final[dict[str, tuple[tuple[int, ...], bool]]] = {
    "brow": ((17, 18, 19, 20, 21), False),
    "brow other": ((22, 23, 24, 25, 26), False),
    "eye": ((36, 37, 38, 39, 40, 41), True),
    "eye other": ((42, 43, 44, 45, 46, 47), True),
    "nose": ((31, 32, 33, 34, 35), False),
    "lips": ((48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59), True),
    "seam": ((48, 61, 62, 63, 54), False),
}


@dataclass(frozen=True, slots=True)
class Spot:
    """An ellipse of skin that moves with a unit, in units of the drawing."""

    x: float
    y: float
    rx: float
    ry: float


@dataclass(frozen=True, slots=True)
class Region:
    """The skin of one unit, as far as it moved.

    Attributes:
        unit: What is answered about the unit.
        spots: Where that skin is.
        opacity: 0 to 0.6, by the probability.
    """

    unit: UnitAnswer
    spots: tuple[Spot, ...]
    opacity: float


@dataclass(frozen=True, slots=True)
class Label:
    """The code of a unit that moved, with the path of a line to its skin, and place and anchor of the text."""

    text: str
    line: str
    x: float
    y: float
    anchor: str


@dataclass(frozen=True, slots=True)
class FaceDrawing:
    """Everything that the template draws.

    Attributes:
        lines: Name and path of each line of the face.
        eyes: Centres of the irises.
        regions: The units, the least probable first.
        labels: Of the units that moved.
        title: The same in words.
    """

    lines: tuple[tuple[str, str], ...]
    eyes: tuple[tuple[float, float], ...]
    regions: tuple[Region, ...]
    labels: tuple[Label, ...]
    title: str


def face_drawing(units: Sequence[UnitAnswer]) -> FaceDrawing:
    """Return the drawing of a face with the units of one expression.

    Args:
        units: What is answered about each unit. The person's left is on the right, as in the video.

    Example:
        >>> face_drawing([UnitAnswer(12, "lip corner puller", 0.9, "left", 2.0, True)]).labels[0].anchor
        'start'
    """
    drawn = [
        Region(unit, spots, round(0.6 * unit.probability if unit.present else 0.25 * unit.probability, 3))
        for unit in sorted(units, key=lambda each: (each.present, each.probability))
        if (spots := _spots(unit))
    ]
    lines, eyes = _face()
    moved = [region for region in drawn if region.unit.present]
    names = [f"{r.unit.code} {r.unit.name}" for r in reversed(moved)]
    title = f"Drawing of a face: {', '.join(names) or 'no action unit'} moved"
    return FaceDrawing(lines, eyes, tuple(drawn), tuple(_labels(moved)), title)


def in_words(unit: UnitAnswer) -> str:
    """Return what a unit does to the face, in plain words.

    Example:
        >>> in_words(UnitAnswer(4, "brow lowerer", 0.9, "left", 2.0, True))
        'the eyebrows are drawn down and together'
    """
    known = facs_units().get(unit.unit)
    return known.words if known else "this unit has no description here"


def _spots(unit: UnitAnswer) -> tuple[Spot, ...]:
    if f"AU{unit.unit}" not in action_units():
        return ()
    points = _placed()
    halves = {"left": (1,), "right": (-1,)}.get(unit.side, (-1, 1))
    spots = []
    for pull in read_table("action_units")[f"AU{unit.unit}"]["pulls"]:
        at = np.asarray(pull["at"])
        out, below = pull.get("off", (0.0, 0.0))
        rx, ry = (_HALF_MAXIMUM * _SCALE * spread for spread in pull["spread"])
        for sign in halves:
            x, y = points[at if sign < 0 else np.asarray(MIRROR)[at]].mean(0)
            spot = Spot(*(round(float(v), 1) for v in (x + sign * _SCALE * out, y + _SCALE * below, rx, ry)))
            if spot not in spots:
                spots.append(spot)
    return tuple(spots)


def _labels(moved: Sequence[Region]) -> list[Label]:
    """Place the labels beside the face, none over another: those of the person's right on the left."""
    labels = []
    for column, right in enumerate((False, True)):
        mine = [r for r in moved if (r.unit.side != "right") == right]
        ends = sorted(((_outermost(r, right), r.unit.code) for r in mine), key=lambda end: end[0].y)
        low = 18.0
        for n, (spot, code) in enumerate(ends):
            room = HEIGHT - 12 - _LINE_HEIGHT * (len(ends) - 1 - n)
            y = min(max(low, spot.y), room)
            low = y + _LINE_HEIGHT
            x = _LABELS[column]
            line = f"M{spot.x:.1f},{spot.y:.1f}L{x:.1f},{y:.1f}"
            labels.append(Label(code, line, x + (4 if right else -4), y + 4, "start" if right else "end"))
    return labels


def _outermost(region: Region, right: bool) -> Spot:
    return max(region.spots, key=lambda spot: spot.x if right else -spot.x)


@cache
def _placed() -> Points:
    """Return the (68, 2) landmarks of a symmetric mean face, in units of the drawing."""
    points = neutral_points()
    mirrored = points[np.asarray(MIRROR)] * (-1, 1)
    return np.asarray(_SCALE * (points + mirrored) / 2 + (_MIDDLE, _EYES))


@cache
def _face() -> tuple[tuple[tuple[str, str], ...], tuple[tuple[float, float], ...]]:
    points = _placed()
    jaw = points[:17]
    crown = np.array([[jaw[-1, 0] - 2, _EYES - 44], [_MIDDLE + 38, 13], [_MIDDLE, 5], [_MIDDLE - 38, 13]])
    left = np.array([[jaw[0, 0] + 2, _EYES - 44]])
    lines = [("outline", _curve(np.concatenate([jaw, crown, left]), closed=True))]
    lines += [(name.split()[0], _curve(points[list(at)], closed)) for name, (at, closed) in _LINES.items()]
    lines.append(("nose", _curve(points[[27, 29, 30]] + [[5, 4], [6, 2], [7, 0]], closed=False)))
    eyes = points[36:48].reshape(2, 6, 2).mean(1)
    return tuple(lines), tuple((round(float(x), 1), round(float(y), 1)) for x, y in eyes)


def _curve(points: Points, closed: bool) -> str:
    """Return a smooth path through points (Catmull-Rom as cubic Bezier curves)."""
    ends = (points[-1:], points[:2]) if closed else (points[:1], points[-1:])
    p: Any = np.concatenate([ends[0], points, ends[1]])
    parts = [f"M{p[1, 0]:.1f},{p[1, 1]:.1f}"]
    for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False):
        first, second = b + (c - a) / 6, c - (d - b) / 6
        parts.append("C" + " ".join(f"{v[0]:.1f},{v[1]:.1f}" for v in (first, second, c)))
    return "".join(parts) + ("Z" if closed else "")
