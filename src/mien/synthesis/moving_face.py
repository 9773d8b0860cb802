"""A small drawn face with exactly known motion: clips for tests and demonstrations.

The face is drawn once per identity and then only warped. Every frame is the neutral face, displaced by a smooth field
(Gaussian bumps where the muscles of each action unit pull) times an intensity curve, plus small head motion. So the
true motion of every point is known in every frame: the point at x in frame 0 is at x + d(x, t) in frame t.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets.base import MARKER
from mien.errors import MienError, unknown_name
from mien.synthesis.drawn_face import Features, bump, draw_face, features_of

EMOTIONS: Final = ("negative", "positive", "surprise", "none")
"""What `render_clip` can show; "none" is small head motion only."""

_REFERENCE = 96  # amplitudes, drift and noise below are in pixels of a face of this width
_AMPLITUDE = (0.5, 2.5)
_OVERSAMPLING = 2
_RGB_NOISE = 2.25  # standard deviation per channel; about 1.5 grey levels once weighted to luminance
_GREY_NOISE = 1.5
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)

_Floats = NDArray[np.float32]


def mark_as_drawn(root: Path) -> None:
    """Write the marker file into a corpus, so that it is not mistaken for the real database."""
    text = (
        "Drawn by mien's moving face. These pictures show no real person; scores on them say nothing about real data.\n"
    )
    (root / MARKER).write_text(text, encoding="utf-8")


@lru_cache(maxsize=64)
def _neutral(identity: int, size: int) -> _Floats:
    """Return the neutral face, oversampled and band-limited to what `size` pixels can represent; read-only."""
    drawn = draw_face(features_of(identity), size * _OVERSAMPLING)
    drawn = np.asarray(cv2.GaussianBlur(drawn, (0, 0), 0.4 * _OVERSAMPLING), np.float32)
    drawn.setflags(write=False)
    return drawn


def _pulls(emotion: str, f: Features) -> list[tuple[float, float, float, float, float, float, str]]:
    """Return where and how the skin moves: offset from the midline, y, sigma x, sigma y, outward, down, action unit."""
    brow = f.eye_y - f.brow_gap
    if emotion == "positive":
        return [
            (f.mouth_width, f.mouth_y, 0.070, 0.060, 0.60, -0.90, "AU12"),
            (0.190, 0.600, 0.075, 0.060, 0.12, -0.45, "AU6"),
        ]
    if emotion == "negative":
        return [
            (0.080, brow, 0.065, 0.060, -0.45, 0.90, "AU4"),
            (0.200, brow - 0.005, 0.075, 0.055, -0.10, 0.45, "AU4"),
            (f.mouth_width, f.mouth_y + 0.010, 0.060, 0.055, 0.10, 0.70, "AU15"),
        ]
    if emotion == "surprise":
        return [
            (0.085, brow - 0.010, 0.070, 0.065, 0.0, -0.90, "AU1"),
            (0.215, brow - 0.005, 0.075, 0.060, 0.10, -0.80, "AU2"),
            (f.eye_distance, f.eye_y - f.eye_openness, 0.060, 0.025, 0.0, -0.30, "AU5"),
            (0.0, f.mouth_y + 0.090, 0.110, 0.060, 0.0, 0.55, "AU26"),
        ]
    return []


@dataclass(frozen=True, slots=True)
class _Script:
    """The motion of one clip, in pixels: displacement(x, t) = field(x) * curve[t] + head[t]."""

    field: _Floats
    curve: _Floats
    head: _Floats

    def displacement(self) -> _Floats:
        return np.asarray(self.field * self.curve[:, None, None, None] + self.head[:, None, None, :], np.float32)


def _check(emotion: str, interval_length: int, apex: int, size: int, seeds: tuple[int, int]) -> None:
    if emotion not in EMOTIONS:
        raise unknown_name("emotion", emotion, EMOTIONS, "mien synthesise --help")
    if not 0 < apex < interval_length:
        raise MienError(
            f"The apex index is {apex} in a clip of {interval_length} frame(s).",
            "an apex after frame 0, which is neutral, and before the end of the clip.",
            "interval_length=16, apex=8.",
        )
    if size < 16:
        raise MienError(f"The picture size is {size} pixels.", "at least 16.", f"size={_REFERENCE}.")
    if min(seeds) < 0:
        raise MienError(f"Identity and seed are {seeds}.", "whole numbers from 0.", "identity=0, seed=0.")


def _write_script(identity: int, emotion: str, length: int, apex: int, size: int, seed: int) -> _Script:
    _check(emotion, length, apex, size, (identity, seed))
    features = features_of(identity)
    rng = np.random.default_rng(np.random.SeedSequence([identity, seed, EMOTIONS.index(emotion), 1]))
    scale = size / _REFERENCE
    axis = ((np.arange(size) + 0.5) / size).astype(np.float32)
    x, y = np.meshgrid(axis, axis)

    field = np.zeros((size, size, 2), np.float32)
    amplitude = rng.uniform(*_AMPLITUDE)
    sides = 1 + rng.normal(0, 0.08, 2).clip(-0.2, 0.2)
    strengths: dict[str, float] = {}
    for offset, cy, sx, sy, outward, down, unit in _pulls(emotion, features):
        strength = strengths.setdefault(unit, float(rng.uniform(0.75, 1.0)))
        for sign, side in zip((-1, 1) if offset else (0,), sides, strict=False):
            pull = strength * (side if offset else 1.0) * bump(x, y, 0.5 + sign * offset, cy, sx, sy)
            field[..., 0] += pull * sign * outward
            field[..., 1] += pull * down
    peak = float(np.hypot(field[..., 0], field[..., 1]).max())
    if peak > 0:
        # Overlapping bumps add up; the amplitude is that of the point that moves most.
        field *= amplitude * scale / peak

    t = np.arange(length, dtype=np.float64)
    rise = np.clip(t / apex, 0, 1) ** rng.uniform(0.8, 1.3)
    rest = rng.uniform(0.0, 0.3)
    fall = np.clip((t - apex) / max(length - 1 - apex, 1), 0, 1)
    curve = 0.5 - 0.5 * np.cos(np.pi * rise)
    curve[apex:] = rest + (1 - rest) * (0.5 + 0.5 * np.cos(np.pi * fall[apex:]))

    sway = rng.uniform(0.04, 0.14, (2, 2)) * scale
    cycles = rng.uniform(0.2, 1.2, (2, 2))
    start = rng.uniform(0, 2 * np.pi, (2, 2))
    phase = 2 * np.pi * cycles * (t / max(length - 1, 1))[:, None, None] + start
    head = (sway * (np.sin(phase) - np.sin(start))).sum(1)
    return _Script(field, curve.astype(np.float32), head.astype(np.float32))


def motion_of(
    identity: int, emotion: str, *, interval_length: int, apex: int, size: int, seed: int
) -> NDArray[np.float32]:
    """Return the true displacement of every point of the clip that `render_clip` makes from the same arguments.

    Args:
        identity: Number of the face, from 0.
        emotion: One of `EMOTIONS`.
        interval_length: Number of frames.
        apex: Index of the frame with the strongest expression, 1..interval_length - 1.
        size: Height and width in pixels.
        seed: Number of the clip of this identity and emotion, from 0.

    Returns:
        (T, H, W, 2) in pixels, x then y: the point at (x, y) of frame 0 is at (x, y) + motion[t, y, x] in frame t.
        Zero at t = 0. Head motion, the same for all points of a frame, is included.

    Raises:
        MienError: An unknown emotion or a number out of range.
    """
    return _write_script(identity, emotion, interval_length, apex, size, seed).displacement()


def render_clip(
    identity: int, emotion: str, *, interval_length: int, apex: int, size: int, seed: int, colour: bool
) -> NDArray[np.uint8]:
    """Render a drawn face that shows one micro-expression, with sensor noise and flickering light.

    The largest displacement of a clip is between 0.5 and 2.5 pixels per 96 pixels of `size`. The same arguments give
    the same bytes; `colour` does not change the motion.

    Args:
        identity: Number of the face, from 0: determines geometry, shade and skin texture.
        emotion: "positive" (AU12, AU6), "negative" (AU4, AU15), "surprise" (AU1, AU2, AU5, AU26) or "none".
        interval_length: Number of frames; frame 0 is neutral.
        apex: Index of the frame with the strongest expression, 1..interval_length - 1.
        size: Height and width in pixels, at least 16.
        seed: Number of the clip of this identity and emotion, from 0: determines amplitude, asymmetry, head motion and
            noise.
        colour: RGB frames if true, otherwise grey.

    Returns:
        (T, H, W, 3) RGB or (T, H, W) grey levels, 0..255.

    Raises:
        MienError: The emotion is unknown or a number is out of range.

    Example:
        >>> render_clip(0, "positive", interval_length=4, apex=2, size=32, seed=0, colour=False).shape
        (4, 32, 32)
    """
    script = _write_script(identity, emotion, interval_length, apex, size, seed)
    face = _neutral(identity, size)
    if not colour:
        face = np.ascontiguousarray(face @ _LUMINANCE)
    rng = np.random.default_rng(np.random.SeedSequence([identity, seed, EMOTIONS.index(emotion), 2]))
    flicker = 1 + 0.006 * np.cumsum(rng.normal(0, 0.5, interval_length)).clip(-2, 2)
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).astype(np.float32)
    frames = np.empty((interval_length, *([size] * 2), *([3] if colour else [])), np.uint8)
    noise = _RGB_NOISE if colour else _GREY_NOISE
    for t in range(interval_length):
        source = _inverse(grid, script.field * script.curve[t], script.head[t])
        source = source * _OVERSAMPLING + 0.5 * (_OVERSAMPLING - 1)
        frame = _sample(face, source, cv2.INTER_CUBIC)
        frame = frame * np.float32(flicker[t]) + noise * rng.standard_normal(frame.shape, np.float32)
        frames[t] = np.clip(frame + 0.5, 0, 255)
    return frames


def _sample(picture: _Floats, points: _Floats, interpolation: int) -> _Floats:
    x, y = points[..., 0], points[..., 1]
    return np.asarray(cv2.remap(picture, x, y, interpolation, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _inverse(grid: _Floats, field: _Floats, shift: _Floats) -> _Floats:
    """Find where each pixel of the moved picture was before: solve p + field(p) + shift = grid by iteration.

    The field changes by less than half a pixel per pixel, so each iteration at least halves the error.
    """
    moved = grid - shift
    points = moved - field
    for _ in range(4):
        points = moved - _sample(field, points, cv2.INTER_LINEAR)
    return np.asarray(points, np.float32)
