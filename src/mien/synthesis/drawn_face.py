"""A simple drawing of a face: geometry and colours of an identity, and its neutral picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float32]
_AnyFloats = NDArray[np.floating[Any]]
_RGB = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Features:
    """Geometry and colours of one identity: lengths as fractions of the side of the picture, colours in RGB 0..255."""

    face_width: float
    face_height: float
    jaw: float
    eye_distance: float
    eye_y: float
    eye_width: float
    eye_openness: float
    brow_gap: float
    brow_thickness: float
    brow_arch: float
    nose_width: float
    nose_y: float
    mouth_width: float
    mouth_y: float
    lip: float
    hairline: float
    skin: _RGB
    hair: _RGB
    iris: _RGB
    light: float
    seed: int


def features_of(identity: int) -> Features:
    """Choose the features of one identity at random within plausible ranges; the same number gives the same face.

    Args:
        identity: Whole number, from 0.

    Example:
        >>> features_of(3) == features_of(3), features_of(3) == features_of(4)
        (True, False)
    """
    rng = np.random.default_rng(np.random.SeedSequence([identity, 0]))
    between = rng.uniform
    shade = float(between(0, 1)) ** 1.2
    pale, dark = np.array([236, 200, 178.0]), np.array([122, 82, 60.0])
    skin = pale + (dark - pale) * shade + rng.normal(0, 4, 3)
    tones = [(38, 30, 28), (72, 50, 36), (112, 82, 52), (150, 118, 78), (92, 46, 30)]
    hair = tones[int(rng.integers(2 if shade > 0.5 else len(tones)))]
    irises = [(70, 46, 30), (92, 66, 38), (74, 98, 118), (84, 104, 72)]
    iris = irises[int(rng.integers(2 if shade > 0.5 else len(irises)))]
    return Features(
        face_width=between(0.335, 0.385),
        face_height=between(0.44, 0.48),
        jaw=between(0.04, 0.20),
        eye_distance=between(0.155, 0.185),
        eye_y=between(0.405, 0.435),
        eye_width=between(0.070, 0.084),
        eye_openness=between(0.026, 0.034),
        brow_gap=between(0.078, 0.096),
        brow_thickness=between(0.011, 0.018),
        brow_arch=between(0.012, 0.026),
        nose_width=between(0.052, 0.070),
        nose_y=between(0.600, 0.630),
        mouth_width=between(0.110, 0.145),
        mouth_y=between(0.730, 0.760),
        lip=between(0.021, 0.030),
        hairline=between(0.150, 0.200),
        skin=(float(skin[0]), float(skin[1]), float(skin[2])),
        hair=hair,
        iris=iris,
        light=between(-0.5, 0.5),
        seed=int(rng.integers(2**31)),
    )


def _edge(distance: _AnyFloats, width: float) -> _Floats:
    """Return the coverage 0..1 of a shape from the signed distance to its edge, negative inside; soft over `width`."""
    t = np.clip(0.5 - distance / width, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def bump(x: _Floats, y: _Floats, cx: float, cy: float, sx: float, sy: float) -> NDArray[np.float32]:
    """Return a Gaussian of height 1 around (cx, cy), with standard deviations sx and sy, at the points (x, y)."""
    return np.asarray(np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2)), np.float32)


def _paint(picture: _Floats, mask: _AnyFloats, colour: _RGB | _AnyFloats, strength: float = 1.0) -> None:
    """Blend one colour into the picture, in place."""
    alpha = np.asarray(mask * strength, np.float32)[..., None]
    picture += alpha * (np.asarray(colour, np.float32) - picture)


def _noise(rng: np.random.Generator, side: int, octaves: int, roughness: float) -> _Floats:
    """Return a smooth random texture (side, side), about -1..1: cubic lattice noise from 4 cells per side upwards."""
    total = np.zeros((side, side), np.float32)
    weight = 1.0
    for octave in range(octaves):
        cells = rng.standard_normal((4 << octave, 4 << octave)).astype(np.float32)
        total += weight * cv2.resize(cells, (side, side), interpolation=cv2.INTER_CUBIC)
        weight *= roughness
    return np.asarray(total / (3 * total.std()), np.float32)


def draw_face(f: Features, side: int) -> NDArray[np.float32]:
    """Draw the neutral face, seen from the front.

    Args:
        f: Features of the face.
        side: Height and width in pixels.

    Returns:
        (side, side, 3) RGB, 0..255.

    Example:
        >>> draw_face(features_of(0), 32).shape
        (32, 32, 3)
    """
    rng = np.random.default_rng(f.seed)
    axis = ((np.arange(side) + 0.5) / side).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    across = np.abs(x - 0.5)  # both halves are drawn at once
    soft = 2.5 / side + 0.004
    skin = np.asarray(f.skin, np.float32)
    ridges = _noise(rng, side, 6, 0.75)
    cloth = _noise(rng, side, 4, 0.6)

    backdrop = np.array([126, 136, 146], np.float32)
    picture = np.asarray(backdrop * (1.1 - 0.35 * y[..., None]) + 9 * cloth[..., None], np.float32)
    _paint(
        picture, _edge(np.hypot((x - 0.5) / 1.5, (y - 1.16) / 0.75) * 0.3 - 0.088, soft), (58 + 60 * f.light, 70, 88)
    )
    _paint(picture, _edge(np.maximum(across - f.face_width * 0.62, 0.75 - y), 2 * soft), skin * 0.66)

    centre = 0.51
    crown = np.hypot(across / (f.face_width + 0.055), (y - centre + 0.06) / (f.face_height + 0.02)) - 1
    hair = np.asarray(f.hair, np.float32) * (1 + 0.35 * _noise(rng, side, 5, 0.9)[..., None])
    _paint(picture, _edge(np.maximum(crown * 0.35, y - 0.62), 2 * soft), hair)

    # The jaw narrows below the cheekbones, so that the outline is an egg and not an ellipse.
    below = np.clip((y - 0.55) / 0.45, 0, 1)
    outline = np.hypot(across / (f.face_width * (1 - f.jaw * below)), (y - centre) / f.face_height) - 1
    face = _edge(outline * 0.36, soft)
    ears = np.hypot((across - f.face_width * 1.0) / 0.035, (y - f.eye_y - 0.06) / 0.075) - 1
    _paint(picture, _edge(ears * 0.035, soft), skin * 0.82)
    _paint(picture, face, skin)

    flesh = _noise(rng, side, 6, 0.85)
    shading = 1.06 - 0.30 * np.clip(outline + 1, 0, 1.2) ** 3 + 0.22 * f.light * (x - 0.5) - 0.07 * (y - 0.4)
    shading += 0.07 * bump(across, y, 0.0, 0.27, 0.13, 0.07) + 0.08 * bump(across, y, 0.18, 0.58, 0.07, 0.06)
    shading += 0.06 * bump(across, y, 0.0, 0.88, 0.06, 0.03)  # chin
    shading -= 0.08 * bump(across, y, 0.0, f.mouth_y + 0.065, 0.07, 0.018)
    shading -= 0.16 * bump(across, y, f.eye_distance * 0.95, f.eye_y - 0.025, 0.085, 0.035)  # eye sockets
    shading -= 0.07 * bump(across, y, f.eye_distance * 0.9, f.eye_y + 0.050, 0.06, 0.012)  # bags
    fold = across - (f.nose_width + 0.055 + 0.55 * (y - f.nose_y))
    shading -= 0.07 * bump(fold, y, 0.0, f.nose_y + 0.065, 0.012, 0.045)  # nasolabial folds
    picture *= 1 + face[..., None] * (shading + 0.085 * flesh - 1)[..., None]
    blush = bump(across, y, 0.19, 0.60, 0.06, 0.05) * face
    _paint(picture, blush, skin * np.array([0.98, 0.76, 0.74]), 0.35)
    fringe = y - (f.hairline + 0.35 * across**1.5 + 0.02 * ridges + 0.16 * (across > 0.33) * (across - 0.33))
    _paint(picture, _edge(np.maximum(fringe, crown * 0.35), 3 * soft), hair)

    _draw_nose(picture, x, y, f)
    _draw_eyes(picture, x, y, f, soft, ridges)
    _draw_mouth(picture, x, y, f, soft, ridges)
    return np.clip(picture, 0, 255)


def _draw_nose(picture: _Floats, x: _Floats, y: _Floats, f: Features) -> None:
    across = np.abs(x - 0.5)
    dark = np.asarray(f.skin) * np.array([0.55, 0.46, 0.42])
    length = np.clip((y - f.eye_y) / (f.nose_y - f.eye_y), 0, 1)
    flank = bump(across, y, 0.030, 0.5 * (f.eye_y + f.nose_y), 0.012, 0.070)
    _paint(picture, flank, dark, 0.20)
    _paint(picture, bump(x, y, 0.5 - 0.012 * f.light, f.nose_y - 0.03, 0.014, 0.085) * length, (255, 244, 232), 0.22)
    _paint(picture, bump(x, y, 0.5, f.nose_y - 0.012, 0.026, 0.018), (255, 240, 228), 0.14)
    _paint(picture, bump(across, y, f.nose_width, f.nose_y, 0.010, 0.020), dark, 0.40)  # wings
    _paint(picture, bump(across, y, 0.0, f.nose_y + 0.022, f.nose_width * 0.75, 0.009), dark, 0.40)
    _paint(picture, bump(across, y, f.nose_width * 0.52, f.nose_y + 0.014, 0.013, 0.007), (46, 26, 22), 0.75)
    _paint(picture, bump(across, y, 0.0, f.nose_y + 0.055, 0.010, 0.020), dark, 0.16)  # philtrum


def _draw_eyes(picture: _Floats, x: _Floats, y: _Floats, f: Features, soft: float, ridges: _Floats) -> None:
    across = np.abs(x - 0.5)
    u = (across - f.eye_distance) / f.eye_width  # -1 inner corner, 1 outer corner
    arch = np.clip(1 - u * u, 0, None)
    upper = f.eye_y - 0.004 * u - f.eye_openness * arch**0.8
    lower = f.eye_y - 0.004 * u + 0.68 * f.eye_openness * arch
    inside = np.maximum(np.maximum(upper - y, y - lower), (np.abs(u) - 1) * f.eye_width)
    opening = _edge(inside, soft)
    _paint(picture, opening, (232, 226, 220))
    lid_shadow = np.clip(1 - (y - upper) / 0.022, 0, 1) * opening
    radius = np.hypot(across - f.eye_distance, y - f.eye_y + 0.004)
    size = 0.033
    iris = np.asarray(f.iris, np.float32) * (1.1 - 0.5 * (radius / size)[..., None] ** 4)
    _paint(picture, _edge(radius - size, soft) * opening, iris)
    _paint(picture, _edge(radius - size * 0.42, soft) * opening, (14, 12, 14))
    _paint(picture, lid_shadow, (40, 26, 22), 0.45)
    for centre in (0.5 - f.eye_distance, 0.5 + f.eye_distance):
        glint = np.hypot(x - centre - 0.010, y - f.eye_y + 0.014) - 0.006
        _paint(picture, _edge(glint, soft), (255, 255, 255), 0.85)
    within = _edge((np.abs(u) - 1.06) * f.eye_width, 2 * soft)
    lash = np.exp(-0.5 * ((y - upper) / 0.0055) ** 2) * within
    _paint(picture, lash, (30, 20, 18), 0.85)
    _paint(picture, np.exp(-0.5 * ((y - lower) / 0.004) ** 2) * within, (90, 56, 48), 0.40)
    crease = upper - 0.018 - 0.006 * arch
    dark = np.asarray(f.skin) * np.array([0.55, 0.46, 0.42])
    _paint(picture, np.exp(-0.5 * ((y - crease) / 0.005) ** 2) * within, dark, 0.45)

    half = f.eye_width * 1.28
    b = (across - f.eye_distance - 0.006) / half
    line = f.eye_y - f.brow_gap + f.brow_arch * (0.65 * (b - 0.2) ** 2 - 0.2)
    thickness = f.brow_thickness * np.clip((1 - 0.4 * b) * (1 - b**4), 0.15, None)
    brow = np.maximum(np.abs(y - line) - thickness, (np.abs(b) - 1) * half) + 0.004 * ridges
    _paint(picture, _edge(brow, 3 * soft), np.asarray(f.hair) * 0.85, 0.88)


def _draw_mouth(picture: _Floats, x: _Floats, y: _Floats, f: Features, soft: float, ridges: _Floats) -> None:
    across = np.abs(x - 0.5)
    m = across / f.mouth_width
    arch = np.clip(1 - m * m, 0, None)
    line = f.mouth_y + 0.004 * np.cos(m * np.pi) - 0.002
    bow = 0.25 * np.exp(-0.5 * (m / 0.16) ** 2)  # the dip of the upper lip
    upper = line - f.lip * (arch**0.8 - bow)
    lower = line + 1.25 * f.lip * arch**0.6
    edge_of_lips = (m - 1) * f.mouth_width
    lips = np.asarray(f.skin) * np.array([0.86, 0.60, 0.60])
    texture = (1 + 0.10 * ridges)[..., None]
    top = _edge(np.maximum(np.maximum(upper - y, y - line), edge_of_lips), 2 * soft)
    bottom = _edge(np.maximum(np.maximum(line - y, y - lower), edge_of_lips), 2 * soft)
    _paint(picture, top, lips * 0.86 * texture, 0.85)
    _paint(picture, bottom, lips * texture, 0.85)
    _paint(picture, bump(x, y, 0.5, f.mouth_y + 0.75 * f.lip, 0.045, 0.006), (255, 236, 230), 0.22)
    seam = np.exp(-0.5 * ((y - line) / 0.0045) ** 2) * _edge(edge_of_lips - 0.006, 3 * soft)
    _paint(picture, seam, (64, 26, 26), 0.85)
    _paint(picture, bump(across, y, f.mouth_width + 0.006, f.mouth_y, 0.010, 0.010), (70, 34, 30), 0.45)
