"""Pairs of pictures with exactly known motion, to measure the error of optical flow.

A scene is a continuous picture, and both frames are samples of it. If a point x of the first frame moves to x + d(x),
then the second frame shows at a pixel p the point x that solves x + d(x) = p. Neither frame is made from the other, so
neither is blurred by interpolation. All lengths are in pixels of the frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mien.errors import MienError, unknown_name
from mien.synthesis.drawn_face import draw_face, features_of

_Floats = NDArray[np.float64]
_Scene = Callable[[_Floats], _Floats]  # points (..., 2), x then y, to grey levels (...)

KINDS: Final = ("translation", "rotation", "scale", "smooth", "occlusion", "brightness", "noise_1", "noise_3")
"""Kinds of motion or change; see `moving_pair`."""

TEXTURES: Final = ("face", "noise")
"""Names of the built-in scenes; instead, you can give a picture of your own."""

_SPLINE = 3
_WAVES = 160


@dataclass(frozen=True, slots=True)
class MovingPair:
    """Two frames and the true motion between them.

    Attributes:
        first: (H, W) grey levels 0..255.
        second: (H, W), the later frame.
        flow: (H, W, 2) pixels, x then y: the point at (x, y) of `first` is at (x, y) + flow[y, x] in `second`.
        valid: (H, W), False where the point is hidden in `second`, outside of it, or a mixture of two layers.
    """

    first: NDArray[np.uint8]
    second: NDArray[np.uint8]
    flow: NDArray[np.float32]
    valid: NDArray[np.bool_]


def moving_pair(
    kind: str,
    *,
    texture: str | NDArray[Any] = "face",
    height: int = 300,
    width: int = 245,
    amplitude: float = 1.0,
    noise: float = 0.0,
    seed: int = 0,
) -> MovingPair:
    """Make a pair of frames with known motion; the same arguments give the same pair.

    Args:
        kind: "translation"; "rotation" about the centre, and "scale", both moving the corners by `amplitude`; "smooth",
            a sum of Gaussian hills, as muscles cause them; "occlusion", a patch of another texture in front that moves
            by 3 `amplitude` relative to the rest; "brightness", as "smooth", with gain, offset and a brightness ramp in
            the second frame; "noise_1" and "noise_3", as "smooth", with noise of that standard deviation in grey
            levels.
        texture: "face" (a drawing), "noise" (random waves of 3 to 60 pixels), or a grey picture (H, W) 0..255, which
            then determines the size.
        height: Height in pixels, at least 32.
        width: Width in pixels, at least 32.
        amplitude: Largest displacement in pixels, 0 to 5.
        noise: Standard deviation of additional white noise on both frames, in grey levels.
        seed: Seed of the face or waves, the hills and the noise.

    Returns:
        The pair, rounded to 8 bits.

    Raises:
        MienError: The kind or texture is unknown, or a number is out of range.

    Example:
        >>> pair = moving_pair("translation", texture="noise", height=32, width=32, amplitude=2)
        >>> float(np.linalg.norm(pair.flow[0, 0]).round(3))
        2.0
    """
    if kind not in KINDS:
        raise unknown_name("kind of moving pair", kind, KINDS, "mien.synthesis.moving_pairs.KINDS")
    frames, flow, valid = render_pair(
        kind, texture=texture, height=height, width=width, amplitude=amplitude, noise=noise, seed=seed
    )
    first, second = (np.clip(np.rint(frame), 0, 255).astype(np.uint8) for frame in frames)
    return MovingPair(first, second, flow.astype(np.float32), valid)


def render_pair(
    kind: str, *, texture: str | NDArray[Any], height: int, width: int, amplitude: float, noise: float, seed: int
) -> tuple[tuple[_Floats, _Floats], _Floats, NDArray[np.bool_]]:
    """Return the frames of `moving_pair` without rounding, the flow in double precision, and where it is valid."""
    if not isinstance(texture, str):
        if texture.ndim != 2:
            raise MienError(f"A texture of shape {texture.shape}.", "a grey picture (H, W).", "one channel of it.")
        height, width = texture.shape
    if min(height, width) < 32 or not 0 <= amplitude <= 5 or noise < 0 or seed < 0:
        raise MienError(
            f"A pair of {height}x{width} pixels, amplitude {amplitude:g}, noise {noise:g}, seed {seed}.",
            "at least 32x32 pixels, an amplitude of 0 to 5 pixels, noise and seed not below 0.",
            "`height=300, width=245, amplitude=1`.",
        )
    rng = np.random.default_rng(np.random.SeedSequence([seed, KINDS.index(kind)]))
    scene = _scene(texture, height, width, seed)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float64)
    valid = np.ones((height, width), np.bool_)
    if kind == "occlusion":
        first, second, flow, valid = _occluded(scene, grid, amplitude, seed, rng)
    else:
        motion = _motion(kind, height, width, amplitude, rng)
        flow = motion(grid)
        first, second = scene(grid), scene(origins(motion, grid))
    if kind == "brightness":
        ramp = (grid[..., 0] / (width - 1) - 0.5) * np.cos(seed) + (grid[..., 1] / (height - 1) - 0.5) * np.sin(seed)
        second = 1.06 * second - 4 + 20 * ramp
    noise = float(np.hypot(noise, {"noise_1": 1.0, "noise_3": 3.0}.get(kind, 0.0)))
    first, second = (frame + noise * rng.standard_normal(frame.shape) for frame in (first, second))
    there = grid + flow
    return (first, second), flow, valid & ((there >= 0) & (there <= (width - 1, height - 1))).all(-1)


def origins(motion: Callable[[_Floats], _Floats], points: _Floats) -> _Floats:
    """Find where points of the second frame were in the first: solve x + motion(x) = points by fixed-point iteration.

    Args:
        motion: Displacement at points (..., 2) of the first frame; it must change by less than 0.5 pixels per pixel.
        points: (..., 2), x then y, in pixels.

    Returns:
        (..., 2) in pixels, exact to 1e-9.

    Example:
        >>> origins(lambda x: 0 * x + 1.5, np.array([[4.0, 2.0]])).tolist()
        [[2.5, 0.5]]
    """
    found = points - motion(points)
    for _ in range(40):
        step = points - motion(found) - found
        found = found + step
        if np.abs(step).max() < 1e-9:
            break
    return found


def _motion(kind: str, height: int, width: int, amplitude: float, rng: np.random.Generator) -> Callable[..., _Floats]:
    centre = np.array([width - 1, height - 1]) / 2
    if kind == "translation":
        angle = rng.uniform(0, 2 * np.pi)
        shift = amplitude * np.array([np.cos(angle), np.sin(angle)])
        return lambda points: np.broadcast_to(shift, points.shape).astype(np.float64)
    if kind in ("rotation", "scale"):
        part = amplitude / np.hypot(*centre)
        angle = 2 * np.arcsin(part / 2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = turn if kind == "rotation" else (1 + part) * np.eye(2)
        return lambda points: np.asarray((points - centre) @ (matrix - np.eye(2)).T)
    side = min(height, width)
    places = rng.uniform(0.15, 0.85, (8, 2)) * (width, height)
    widths = rng.uniform(0.06, 0.14, (8, 2)) * side
    angles = rng.uniform(0, 2 * np.pi, 8)
    pulls = rng.uniform(0.5, 1, (8, 1)) * np.stack([np.cos(angles), np.sin(angles)], -1)

    def hills(points: _Floats) -> _Floats:
        total = np.zeros(points.shape)
        for place, spread, pull in zip(places, widths, pulls, strict=True):
            total += np.exp(-0.5 * (((points - place) / spread) ** 2).sum(-1))[..., None] * pull
        return total

    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float64)
    field = hills(grid)
    steepest = max(float(np.abs(d).max()) for d in np.gradient(field, axis=(0, 1)))
    # The motion must not fold over itself, so on small pictures the hills are lower than requested.
    scale = min(amplitude / float(np.linalg.norm(field, axis=-1).max()), 0.2 / steepest)
    return lambda points: scale * hills(points)


def _scene(texture: str | NDArray[Any], height: int, width: int, seed: int) -> _Scene:
    if not isinstance(texture, str):
        return _splines(np.asarray(texture, np.float64), 1, (0.0, 0.0))
    if texture == "noise":
        return _waves(seed)
    if texture == "face":
        side = int(1.15 * max(height, width))
        offset = ((side - width) / 2, (side - height) / 2)
        return _splines(_face(seed, side), 2, offset)
    raise unknown_name("texture", texture, TEXTURES, "mien.synthesis.moving_pairs.TEXTURES")


@lru_cache(maxsize=8)
def _face(identity: int, side: int) -> _Floats:
    """Return a face at twice the size, band-limited to what the frames can represent; read-only."""
    drawn = draw_face(features_of(identity), 2 * side) @ np.array([0.299, 0.587, 0.114], np.float32)
    soft: _Floats = cv2.GaussianBlur(drawn, (0, 0), 1.4).astype(np.float64)
    soft.setflags(write=False)
    return soft


def _splines(picture: _Floats, factor: int, offset: tuple[float, float]) -> _Scene:
    """Turn a picture into a continuous scene; `factor` of its pixels make one, and `offset` is cut off left and top."""
    ready = ndimage.spline_filter(picture, _SPLINE, mode="mirror")

    def scene(points: _Floats) -> _Floats:
        x, y = (factor * (points[..., i] + offset[i] + 0.5) - 0.5 for i in (0, 1))
        return np.asarray(ndimage.map_coordinates(ready, [y, x], order=_SPLINE, mode="mirror", prefilter=False))

    return scene


def _waves(seed: int) -> _Scene:
    rng = np.random.default_rng(np.random.SeedSequence([seed, 99]))
    length = np.exp(rng.uniform(np.log(3), np.log(60), _WAVES))
    angle, phase = rng.uniform(0, 2 * np.pi, (2, _WAVES))
    turns = 2 * np.pi / length * np.stack([np.cos(angle), np.sin(angle)])
    height = length**0.5
    height *= 32 / np.sqrt(0.5 * (height**2).sum())

    def scene(points: _Floats) -> _Floats:
        total = np.full(points.shape[:-1], 128.0)
        for (kx, ky), start, size in zip(turns.T, phase, height, strict=True):
            total += size * np.cos(kx * points[..., 0] + ky * points[..., 1] + start)
        return total

    return scene


def _occluded(
    scene: _Scene, grid: _Floats, amplitude: float, seed: int, rng: np.random.Generator
) -> tuple[_Floats, _Floats, _Floats, NDArray[np.bool_]]:
    """Make a patch with rounded corners in front of a background that moves the other way."""
    height, width = grid.shape[:2]
    front = _waves(seed + 1000)
    centre = np.array([width, height]) * rng.uniform(0.4, 0.6, 2)
    half = np.array([0.2 * width, 0.2 * height])
    angle = rng.uniform(0, 2 * np.pi)
    direction = np.array([np.cos(angle), np.sin(angle)])
    patch_motion, rest_motion = 2 * amplitude * direction, -amplitude * direction

    def cover(points: _Floats) -> _Floats:
        """Return how much of a pixel the patch covers, 0..1; its border is about one pixel wide."""
        radius = ((np.abs(points - centre) / half) ** 6).sum(-1) ** (1 / 6)
        return np.asarray(1 / (1 + np.exp(np.clip(4 * (radius - 1) * half.min(), -50, 50))))

    before, after = cover(grid), cover(grid - patch_motion)
    first = before * front(grid) + (1 - before) * scene(grid)
    second = after * front(grid - patch_motion) + (1 - after) * scene(grid - rest_motion)
    in_front = before > 0.5
    flow = np.where(in_front[..., None], patch_motion, rest_motion)
    there = cover(grid + flow - patch_motion)
    return first, second, flow, np.where(in_front, before > 0.99, (before < 0.01) & (there < 0.01))
