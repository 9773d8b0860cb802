"""Displacement fields of action units and of head motion, anchored at 68 landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.synthesis.timeline import Side, read_table

Floats = NDArray[np.float32]
Layer = Literal["skin", "lid", "jaw"]

LAYERS: Final = ("skin", "lid", "jaw")
"""Layers that move separately: the skin, the upper lid (over the eyeball), and the jaw (away from the upper lip)."""

MIRROR: Final = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), *range(45, 41, -1), 47, 46,
    *range(39, 35, -1), 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1),
)  # fmt: skip
"""For each of the 68 landmarks, the index of its mirror image."""

_REACH = 3.0
_DEPTH = 0.9  # depth of the nose before the outline of the face, in IOD


@dataclass(frozen=True, slots=True)
class Frame:
    """Coordinate axes of a face in a picture.

    Attributes:
        origin: (2,) the middle between the eyes, in pixels.
        across: (2,) unit vector from the image-left to the image-right eye.
        iod: Distance between the eye centres in pixels.
    """

    origin: NDArray[np.float64]
    across: NDArray[np.float64]
    iod: float

    @property
    def down(self) -> NDArray[np.float64]:
        """Unit vector from the brows to the chin."""
        return np.array([-self.across[1], self.across[0]])


def eye_centres(points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the (2, 2) centres of the eyes from 68 landmarks, image-left eye first: the means of the lid points."""
    return np.asarray(points[36:48].reshape(2, 6, 2).mean(1), np.float64)


def face_frame(points: NDArray[np.floating[Any]]) -> Frame:
    """Compute the axes of a face from its 68 landmarks.

    Args:
        points: (68, 2) landmarks in pixels.

    Raises:
        MienError: The points have another shape, are not finite, or the eyes are closer than 4 pixels.
    """
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise MienError(
            f"Landmarks of shape {points.shape}, {'finite' if np.isfinite(points).all() else 'not all finite'}.",
            "(68, 2) points in the order of iBUG 300-W, in pixels.",
            "`ibug68` of the points that `track_face` found.",
        )
    left, right = eye_centres(points)
    iod = float(np.linalg.norm(right - left))
    if iod < 4:
        raise MienError(f"The eyes are {iod:.1f} pixels apart.", "at least 4.", "a larger picture of the face.")
    return Frame(0.5 * (left + right), (right - left) / iod, iod)


def unit_fields(
    unit: str, points: NDArray[np.floating[Any]], shape: tuple[int, int]
) -> dict[tuple[Side, Layer], Floats]:
    """Compute the displacement of every pixel by an action unit at full strength, for each half of the face and layer.

    Args:
        unit: A name in `mien.synthesis.timeline.action_units()`.
        points: (68, 2) landmarks in pixels of the grid.
        shape: Height and width of the grid.

    Returns:
        (H, W, 2) in pixels, x then y, for each half ("R" is the person's right, on the left of the picture) and layer
        that moves. The fields are smooth, and exactly zero at three standard deviations from every anchor and beyond.

    Source: FACS, as described in `tables/action_units.toml`.
    """
    frame = face_frame(points)
    fields: dict[tuple[Side, Layer], Floats] = {}
    x, y = np.arange(shape[1], dtype=np.float64), np.arange(shape[0], dtype=np.float64)
    halves: tuple[tuple[Side, int], ...] = (("R", -1), ("L", 1))
    for pull in read_table("action_units")[unit]["pulls"]:
        at = np.asarray(pull["at"])
        for side, sign in halves:
            indices = at if sign < 0 else np.asarray(MIRROR)[at]
            anchor = points[indices].mean(0)
            out, below = pull.get("off", (0.0, 0.0))
            anchor = anchor + frame.iod * (sign * out * frame.across + below * frame.down)
            by = frame.iod * (sign * pull["by"][0] * frame.across + pull["by"][1] * frame.down)
            spread = frame.iod * np.asarray(pull["spread"])
            hill = np.outer(_bell((y - anchor[1]) / spread[1]), _bell((x - anchor[0]) / spread[0]))
            if pull.get("middle"):
                # Each half keeps the part of the hill on its own side, with a soft border at the midline.
                hill *= _half(frame, sign, x, y)
            layer: Layer = pull.get("layer", "skin")
            field = fields.setdefault((side, layer), np.zeros((*shape, 2), np.float32))
            field += (hill[..., None] * by).astype(np.float32)
    return fields


def head_fields(points: NDArray[np.floating[Any]], shape: tuple[int, int]) -> Floats:
    """Compute the displacement of every pixel for each column of `mien.synthesis.timeline.HEAD`, per unit.

    The face is modelled as half an ellipsoid, so that it turns as a solid body. Pixels outside its outline move as if
    they were on the outline.

    Args:
        points: (68, 2) landmarks in pixels of the grid.
        shape: Height and width of the grid.

    Returns:
        (6, H, W, 2) in pixels, x then y; exact to first order in the angles.
    """
    frame = face_frame(points)
    iod = frame.iod
    # A head turns about the neck, far below the eyes.
    x = (np.arange(shape[1]) - frame.origin[0]) / iod
    y = (np.arange(shape[0])[:, None] - frame.origin[1]) / iod
    u = (x * frame.across[0] + y * frame.across[1]).astype(np.float32)
    v = (x * frame.down[0] + y * frame.down[1] - 0.35).astype(np.float32)
    depth = _DEPTH * np.sqrt(np.clip(1 - (u / 1.15) ** 2 - (v / 1.65) ** 2, 0, None) + 0.02)
    columns = ((1.0, 0.0), (0.0, 1.0), (1.3 - v, u), (u, v), (depth, 0.0), (0.0, depth))
    fields = np.empty((len(columns), *shape, 2), np.float32)
    for field, (along, below) in zip(fields, columns, strict=True):
        field[..., 0] = iod * (along * frame.across[0] + below * frame.down[0])
        field[..., 1] = iod * (along * frame.across[1] + below * frame.down[1])
    return fields


@lru_cache(maxsize=1)
def _floor() -> float:
    return float(np.exp(-0.5 * _REACH**2))


def _bell(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a Gaussian of height 1, lowered so that it is exactly 0 from three standard deviations on."""
    floor = _floor()
    return np.asarray(np.clip(np.exp(-0.5 * z * z) - floor, 0, None) / (1 - floor))


def _half(frame: Frame, sign: int, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    across = (x[None] - frame.origin[0]) * frame.across[0] + (y[:, None] - frame.origin[1]) * frame.across[1]
    return np.asarray(0.5 + 0.5 * np.tanh(sign * across / (0.12 * frame.iod)))
