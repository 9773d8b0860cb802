"""Light on a head: how much ambient and lamp light reaches each vertex (once), and its brightness (in every frame)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.synthesis.head.raster import rasterise

Floats = NDArray[np.float32]

_SKY: Final = 32
_LAMP: Final = 8
_PENUMBRA: Final = 0.16  # radians: half the width of the lamp
_CELL: Final = 2.0  # millimetres per sample of a shadow map
_BIAS: Final = 2.5  # tolerance of the shadow maps in millimetres
_WRAP: Final = 0.25  # how far light reaches around the skin, to imitate subsurface scattering


@dataclass(frozen=True, slots=True)
class Light:
    """One lamp and ambient light.

    Attributes:
        azimuth: Degrees from the front, -80 to 80; positive if the lamp is on the right of the picture.
        elevation: Degrees above the eyes, -80 to 80.
        lamp: Brightness of the lamp, from 0.
        room: Brightness of the ambient light, from 0.
        warmth: Colour of the lamp, -1 (bluish) to 1 (reddish).
    """

    azimuth: float = 20.0
    elevation: float = 35.0
    lamp: float = 0.75
    room: float = 0.55
    warmth: float = 0.1

    def __post_init__(self) -> None:
        if (
            abs(self.azimuth) > 80
            or abs(self.elevation) > 80
            or min(self.lamp, self.room) < 0
            or self.lamp + self.room <= 0
        ):
            raise MienError(
                f"Light from {self.azimuth:g}, {self.elevation:g} degrees, brightness {self.lamp:g} and {self.room:g}.",
                "angles of -80 to 80 degrees, brightness from 0, at least one above 0.",
                "`Light()`.",
            )

    def direction(self) -> Floats:
        """Return the (3,) unit vector towards the lamp."""
        a, e = np.radians([self.azimuth, self.elevation])
        return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)], np.float32)

    def colour(self) -> Floats:
        """Return the (3,) RGB colour of the lamp."""
        return np.array([1 + 0.12 * self.warmth, 1.0, 1 - 0.18 * self.warmth], np.float32)


def normals(vertices: NDArray[np.floating[Any]], triangles: NDArray[np.int64]) -> Floats:
    """Compute (V, 3) unit normals: the mean of the triangles around a vertex, weighted by their areas."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    total = np.empty((len(vertices), 3))
    flat = triangles.ravel()
    for axis in range(3):
        total[:, axis] = np.bincount(flat, np.repeat(face[:, axis], 3), len(vertices))
    return np.asarray(total / np.linalg.norm(total, axis=1, keepdims=True).clip(1e-9), np.float32)


def _sees(vertices: Floats, triangles: NDArray[np.int64], towards: Floats) -> NDArray[np.float32]:
    """Return (V,) whether each vertex has a free view in a direction: 1 or 0."""
    up = np.array([0.0, 1.0, 0.0]) if abs(towards[1]) < 0.9 else np.array([0.0, 0.0, 1.0])
    x = np.cross(up, towards)
    x /= np.linalg.norm(x)
    y = np.cross(towards, x)
    at = np.column_stack([vertices @ x, -(vertices @ y)]) / _CELL
    at -= at.min(0) - 1
    depth = vertices @ towards
    height, width = np.ceil(at.max(0)).astype(int)[::-1] + 2
    # Without perspective, the distance itself is linear on the picture and can replace the nearness.
    nearness = depth - depth.min() + 1
    seen = rasterise(at, nearness, triangles, (int(height), int(width)))
    nearest = np.zeros(height * width, np.float32)
    nearest[seen.place] = seen.nearness
    i = np.rint(at).astype(int)
    return np.asarray(nearness + _BIAS >= nearest[i[:, 1] * width + i[:, 0]], np.float32)


def open_sky(vertices: Floats, normal: Floats, triangles: NDArray[np.int64]) -> Floats:
    """Compute (V,) how much of the ambient light reaches each vertex, 0..1; more light comes from above."""
    k = np.arange(_SKY) + 0.5
    y = 1 - 2 * k / _SKY
    turn = k * np.pi * (3 - 5**0.5)
    round_about = np.sqrt(1 - y * y)
    directions = np.column_stack([round_about * np.cos(turn), y, round_about * np.sin(turn)]).astype(np.float32)
    lit, total = np.zeros(len(vertices)), np.zeros(len(vertices))
    for direction in directions:
        weight = np.maximum(normal @ direction, 0) * (1 + 0.5 * direction[1] + 0.3 * direction[2])
        total += weight
        lit += weight * _sees(vertices, triangles, direction)
    return np.asarray(lit / total.clip(1e-6) * (0.8 + 0.2 * normal[:, 1]), np.float32)


def lamp_reach(vertices: Floats, triangles: NDArray[np.int64], light: Light) -> Floats:
    """Compute (V,) the fraction of the lamp that each vertex sees, 0..1."""
    ahead = light.direction()
    side = np.cross([0, 1, 0], ahead)
    side /= np.linalg.norm(side)
    above = np.cross(ahead, side)
    reach = np.zeros(len(vertices), np.float32)
    for k in range(_LAMP):
        r, turn = _PENUMBRA * np.sqrt((k + 0.5) / _LAMP), k * np.pi * (3 - 5**0.5)
        towards = ahead + r * (np.cos(turn) * side + np.sin(turn) * above)
        reach += _sees(vertices, triangles, (towards / np.linalg.norm(towards)).astype(np.float32))
    return np.asarray(reach / _LAMP, np.float32)


def brightness(normal: Floats, light: Light, sky: Floats, reach: Floats, towards_eye: Floats) -> tuple[Floats, Floats]:
    """Compute diffuse light (V, 3) and highlights (V,) at the vertices.

    Args:
        normal: (V, 3) unit normals.
        light: Lamp and ambient light.
        sky: (V,) from `open_sky`.
        reach: (V,) from `lamp_reach`.
        towards_eye: (V, 3) unit vectors to the camera.
    """
    ahead = light.direction()
    facing = normal @ ahead
    # Red light enters the skin more deeply and reaches further around the edge of a shadow.
    wrap = np.array([1.4, 0.9, 0.7]) * _WRAP
    lamp = np.maximum(facing[:, None] + wrap, 0) / (1 + wrap)
    lamp *= light.lamp * reach[:, None] * light.colour()
    half = ahead + towards_eye
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    shine = np.maximum((normal * half).sum(1), 0) ** 22 * reach * light.lamp + 0.04 * sky * light.room
    return np.asarray(lamp + light.room * sky[:, None], np.float32), np.asarray(shine, np.float32)
