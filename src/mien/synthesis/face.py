"""Neutral faces to animate, with landmarks: variations of a portrait, drawings, or a picture of your own."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from mien.errors import MienError
from mien.face.portrait import portrait
from mien.synthesis.drawn_face import draw_face, features_of
from mien.synthesis.fields import face_frame
from mien.synthesis.neutral_face import Face
from mien.synthesis.shape import draw_points
from mien.synthesis.timeline import read_table

_Floats = NDArray[np.float32]
_Points = NDArray[np.float64]

SOURCES: Final = ("any", "photo", "head", "drawn")
"""Sources of faces; see `draw_identity`."""

_IOD: Final = 200  # pixels between the eyes of a synthetic face
_VIEW: Final = (-1.7, -1.2, 1.7, 2.3)  # left, top, right, bottom of its picture, in IOD from the middle of the eyes
_UPPER_LIP: Final = (*range(48, 55), *range(60, 65))
_LOWER_LIP: Final = (48, *range(54, 61), *range(64, 68))
_LUMINANCE: Final = np.array([0.299, 0.587, 0.114], np.float32)


def face_from(picture: NDArray[np.uint8], name: str = "portrait") -> Face:
    """Make a face from a portrait of your own.

    Args:
        picture: (H, W, 3) RGB or (H, W) grey, 0..255: one face from the front, neutral, with open eyes.
        name: Name of the source.

    Raises:
        MienError: The picture shows no face, or one smaller than 40 pixels.
    """
    from mien.face.landmarks import track_face

    track = track_face([picture])
    colour = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, -1)
    return Face(colour.astype(np.float32), track.ibug68()[0].astype(np.float64), name)


@lru_cache(maxsize=1)
def _portrait() -> tuple[_Floats, _Points]:
    return portrait().astype(np.float32), np.asarray(read_table("faces")["portrait"], np.float64)


def draw_identity(rng: np.random.Generator, source: str = "any", portrait: Face | None = None) -> Face:
    """Make a random synthetic person, neutral and from the front.

    Args:
        rng: Random generator.
        source: "photo": the portrait with other proportions, skin, texture, hair and light; "head": a still of the
            three-dimensional head (takes two seconds); "drawn": a simple drawing; "any": one of these, drawings least
            often.
        portrait: The photograph to vary; None takes the one of the package.

    Raises:
        MienError: The source is unknown.
    """
    if source not in SOURCES:
        raise MienError(
            f"There is no source of faces {source!r}.",
            f"one of {', '.join(SOURCES)}.",
            '`source="any"`, `--faces any`.',
        )
    if source == "any":
        source = "photo" if portrait is not None else str(rng.choice(["photo", "head", "drawn"], p=[0.45, 0.4, 0.15]))
    if source == "drawn":
        return drawn_identity(int(rng.integers(1_000_000)))
    if source == "head":
        from mien.synthesis.head.clip import head_face

        return head_face(rng)
    return _photo_identity(rng, portrait)


def drawn_identity(identity: int) -> Face:
    """Draw the face of `mien.synthesis.drawn_face` and compute its landmarks from its features.

    Args:
        identity: Whole number, from 0.
    """
    f = features_of(identity)
    side = round(_IOD / (2 * f.eye_distance))
    u = np.array([1, 0.35, -0.35, -1])  # outer to inner corner
    arch = np.clip(1 - u * u, 0, None)
    upper = np.stack([f.eye_distance + f.eye_width * u, f.eye_y - 0.004 * u - f.eye_openness * arch**0.8], -1)
    lower = np.stack([f.eye_distance + f.eye_width * u, f.eye_y - 0.004 * u + 0.68 * f.eye_openness * arch], -1)
    eye = np.concatenate([upper, lower[2:0:-1]])  # right half of the picture, outer corner first
    b = np.array([0.9, 0.5, 0.0, -0.5, -0.9])
    brow = np.stack(
        [
            f.eye_distance + 0.006 + 1.28 * f.eye_width * b,
            f.eye_y - f.brow_gap + f.brow_arch * (0.65 * (b - 0.2) ** 2 - 0.2),
        ],
        -1,
    )
    bridge = np.stack([np.zeros(4), np.linspace(f.eye_y, f.nose_y - 0.02, 4)], -1)
    below = np.stack(
        [f.nose_width * np.array([-1, -0.5, 0, 0.5, 1]), f.nose_y + np.array([0, 0.02, 0.024, 0.02, 0])], -1
    )
    m = np.array([-1, -0.6, -0.25, 0, 0.25, 0.6, 1])
    curve = np.clip(1 - m * m, 0, None)
    line = f.mouth_y + 0.004 * np.cos(m * np.pi) - 0.002
    top = np.stack([f.mouth_width * m, line - f.lip * curve**0.8], -1)
    bottom = np.stack([f.mouth_width * m, line + 1.25 * f.lip * curve**0.6], -1)[-2:0:-1]
    seam = np.stack([f.mouth_width * m, line], -1)[[0, 2, 3, 4, 6]]
    angle = np.linspace(-0.05, np.pi + 0.05, 17)[::-1]
    outline = np.stack([np.cos(angle), np.sin(angle)], -1)
    jaw = outline * (f.face_width, f.face_height) + (0, 0.51)
    jaw[:, 0] *= 1 - f.jaw * np.clip((jaw[:, 1] - 0.55) / 0.45, 0, 1)
    mirror = np.array([-1, 1])
    left_eye, right_eye = eye * mirror, eye[[3, 2, 1, 0, 5, 4]]
    points = np.concatenate(
        [jaw, brow * mirror, brow[::-1], bridge, below, left_eye, right_eye, top, bottom, seam, seam[3:0:-1]]
    )
    return Face(draw_face(f, side), (points + np.array([0.5, 0])) * side - 0.5, f"drawn {identity}")


def _photo_identity(rng: np.random.Generator, given: Face | None = None) -> Face:
    image, found = _portrait() if given is None else (given.image, given.points)
    points = draw_points(rng)
    left, top, right, bottom = _VIEW
    height, width = round((bottom - top) * _IOD), round((right - left) * _IOD)
    placed = (points - (left, top)) * _IOD - 0.5
    sources = [_carried(points, found, lips, (height, width)) for lips in (_UPPER_LIP, _LOWER_LIP)]
    upper, lower = (
        cv2.remap(image, s[..., 0], s[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE) for s in sources
    )
    columns = np.arange(width, dtype=np.float64)
    seam = np.interp(columns, placed[60:65, 0], placed[60:65, 1])
    share = np.clip((np.arange(height)[:, None] - seam) / 3 + 0.5, 0, 1)[..., None]
    made = np.asarray(upper + share * (lower - upper), np.float32)
    made = _complexion(made, placed, rng)
    if rng.random() < 0.5:
        from mien.synthesis.fields import MIRROR

        made = np.ascontiguousarray(made[:, ::-1])
        placed = (placed * (-1, 1) + (width - 1, 0))[list(MIRROR)]
    return Face(np.clip(made, 0, 255), placed, "portrait, changed")


def _carried(points: _Points, found: _Points, lips: tuple[int, ...], shape: tuple[int, int]) -> _Floats:
    """Map pixels of a synthetic face to the portrait, (H, W, 2), by thin plates through all points but one lip's."""
    keep = [*range(48), *lips]
    left, top, right, bottom = _VIEW
    frame = face_frame(found)
    # Outside the face, the picture is only shifted, turned and scaled.
    across, down = np.meshgrid(np.linspace(left, right, 6), np.linspace(top, bottom, 6))
    rim = np.stack([across, down], -1)[(np.abs(across) > 1.6) | (down < -1.1) | (down > 2.2)]
    there = frame.origin + frame.iod * (rim[:, :1] * frame.across + rim[:, 1:] * frame.down)
    # The corners of the mouth belong to both lips; points that occur twice would make the equations singular.
    plates = RBFInterpolator(
        np.concatenate([points[keep], rim]),
        np.concatenate([found[keep], there]),
        kernel="thin_plate_spline",
        smoothing=1e-4,
    )
    cells = (shape[0] // 14, shape[1] // 14)
    y, x = ((np.arange(n) + 0.5) / n for n in cells)
    grid = np.stack(np.meshgrid(left + x * (right - left), top + y * (bottom - top)), -1)
    coarse = plates(grid.reshape(-1, 2)).reshape(*cells, 2).astype(np.float32)
    return np.asarray(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def _complexion(image: _Floats, points: _Points, rng: np.random.Generator) -> _Floats:
    """Change the colours of skin and hair, the texture and the light at random."""
    height, width = image.shape[:2]
    frame = face_frame(points)
    cheeks = [points[[36, 48, 3]].mean(0), points[[45, 54, 13]].mean(0)]
    patches = [image[int(y) - 12 : int(y) + 12, int(x) - 12 : int(x) + 12].reshape(-1, 3) for x, y in cheeks]
    skin = np.concatenate(patches).mean(0)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    u, v = (x - frame.origin[0]) / frame.iod, (y - frame.origin[1]) / frame.iod
    # Pixels with the hue of the cheeks are skin, whether light or dark; inside the face, highlights are skin as well.
    hue = image / (image.sum(-1, keepdims=True) + 1) - skin / skin.sum()
    within = np.clip((1 - (u / 0.85) ** 2 - ((v - 0.55) / 1.05) ** 2) * 3, 0, 1)
    share = np.maximum(np.exp(-0.5 * (hue / 0.035) ** 2).prod(-1), within)
    share = share * np.clip(image.mean(-1) / skin.mean() * 2 - 0.5, 0, 1)
    share = cv2.GaussianBlur(share.astype(np.float32), (0, 0), 3)[..., None]
    shade = float(rng.uniform(0, 1)) ** 1.3
    target = np.array([222, 178, 152]) * (1 - shade) + np.array([108, 72, 54]) * shade + rng.normal(0, 5, 3)
    rest = rng.uniform(0.35, 1.05) * (1 + rng.normal(0, 0.06, 3))
    made = image * np.exp(share * np.log(target / skin) + (1 - share) * np.log(rest))
    grain = sum(
        weight * _noise(rng, height, width, cell)
        for cell, weight in ((2.5, 0.6), (5, 1.0), (11, 1.0), (26, 0.8), (60, 0.8))
    )
    made = made * (1 + float(rng.uniform(0.012, 0.03)) * np.asarray(grain)[..., None] * (0.25 + 0.75 * share))
    side, above = rng.normal(0, 0.10), rng.normal(0, 0.07)
    light = rng.uniform(0.85, 1.1) * (1 + side * np.tanh(u) - above * np.tanh(v - 0.4))
    return np.asarray(made * light[..., None], np.float32)


def _noise(rng: np.random.Generator, height: int, width: int, cell: float) -> _Floats:
    """Return smooth noise of unit variance with grains of `cell` pixels."""
    cells = rng.standard_normal((max(2, round(height / cell)), max(2, round(width / cell)))).astype(np.float32)
    return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def to_grey(image: NDArray[np.floating[Any]]) -> _Floats:
    """Convert (H, W, 3) RGB to (H, W) grey levels, both 0..255."""
    return np.ascontiguousarray(image @ _LUMINANCE, np.float32)
