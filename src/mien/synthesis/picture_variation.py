"""Random changes of synthetic flow pictures, as crops, flow methods and the making of pictures cause them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.motion.strain import optical_strain
from mien.synthesis.shape import Crop
from mien.synthesis.timeline import read_table

Floats = NDArray[np.float32]

_TINY = 1e-9


def draw_picture_crop(rng: np.random.Generator) -> Crop:
    """Make a random crop of a flow picture: published sets, and the crops of a face detector, differ widely.

    Args:
        rng: Random generator.

    Example:
        >>> 1.6 <= draw_picture_crop(np.random.default_rng(0)).width <= 2.3
        True

    Source: `tables/pictures.toml`.
    """
    ranges = read_table("pictures")["crop"]
    width, height, eyes = (float(rng.uniform(*ranges[name])) for name in ("width", "height", "eyes"))
    right, roll = (ranges[name] * float(rng.normal()) for name in ("right", "roll"))
    return Crop(width, height, eyes, right, float(np.clip(roll, -0.15, 0.15)))


def varied(flow: NDArray[np.floating[Any]], rng: np.random.Generator) -> Floats:
    """Change the flow of a picture at random, and compute its strain anew.

    Rotation, scale, shift and a smooth warp of the picture; a signed power, which makes motion sparser; motion of the
    head; noise at three scales; and strain under a random ratio of vertical to horizontal motion, because
    pictures do not tell it.

    Args:
        flow: (H, W, 2) flow, in any unit.
        rng: Random generator.

    Returns:
        (3, H, W): u and v of unit root mean square each, and strain.

    Example:
        >>> varied(np.random.default_rng(0).normal(size=(28, 28, 2)), np.random.default_rng(1)).shape
        (3, 28, 28)

    Source: `tables/pictures.toml`.
    """
    table = read_table("pictures")
    moved: NDArray[Any] = _displaced(np.asarray(flow, np.float32), rng, table["geometry"])
    level: Mapping[str, Any] = table["level"]
    power = float(rng.uniform(*level["power"]))
    moved = moved - np.median(moved, axis=(0, 1))  # what the head moves by is no part of the expression
    moved = moved / _rms(moved)
    moved = np.sign(moved) * np.abs(moved) ** power
    moved = moved / _rms(moved)
    head = _affine((moved.shape[0], moved.shape[1]), level["parts"], rng)
    moved = moved + head * np.float32(rng.uniform(0, level["affine"]))
    for width in level["scales"]:
        noise = cv2.GaussianBlur(rng.normal(size=moved.shape).astype(np.float32), (0, 0), width)
        moved = moved + noise / _rms(noise) * np.float32(rng.uniform(0, level["noise"]))
    angle = np.radians(rng.uniform(*level["angle"]))
    u, v = (moved[..., i] / _rms(moved[..., i]) for i in (0, 1))
    strain = optical_strain(np.dstack([np.cos(angle) * u, np.sin(angle) * v]), "small")
    return np.stack([u, v, strain]).astype(np.float32)


def _displaced(flow: Floats, rng: np.random.Generator, ranges: Mapping[str, float]) -> Floats:
    """Return a flow turned, scaled, shifted and warped as a picture; its vectors are not turned with it."""
    height, width = flow.shape[:2]
    turn, size = ranges["rotation"] * rng.normal(), np.exp(ranges["scale"] * rng.normal())
    shift = ranges["shift"] * rng.normal(size=2)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    across, down = x - (width - 1) / 2, y - (height - 1) / 2
    warp = cv2.GaussianBlur(rng.normal(size=(height, width, 2)).astype(np.float32), (0, 0), ranges["grain"])
    warp *= np.float32(rng.uniform(0, ranges["elastic"])) / max(float(np.abs(warp).max()), _TINY)
    at_x = (width - 1) / 2 + size * (np.cos(turn) * across - np.sin(turn) * down) + shift[0] + warp[..., 0]
    at_y = (height - 1) / 2 + size * (np.sin(turn) * across + np.cos(turn) * down) + shift[1] + warp[..., 1]
    return np.asarray(
        cv2.remap(
            flow, at_x.astype(np.float32), at_y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    )


def _affine(shape: tuple[int, int], parts: Sequence[float], rng: np.random.Generator) -> Floats:
    """Return a random affine field (H, W, 2) of unit root mean square, as a nodding or turning head makes."""
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    field = np.dstack([x, y]) @ (rng.normal(size=(2, 2)) * np.reshape(parts, (2, 2))).T
    return np.asarray(field / _rms(field), np.float32)


def _rms(values: NDArray[np.floating[Any]]) -> float:
    return max(float(np.sqrt(np.mean(np.square(values)))), _TINY)
