"""The appearance of a head: a texture of skin, hair and eye around the mean head, and values of single vertices.

The texture is wrapped around the head like a sleeve that closes over the top: u runs around the vertical axis, v along
it and, above the eyes, along a meridian. Every vertex keeps its position on the texture, so the texture moves with the
skin. Colours are linear (not sRGB) reflectances, 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mien.synthesis.head.identity import Identity, mean_shape
from mien.synthesis.head.mesh import head_mesh

Floats = NDArray[np.float32]

TEXEL: Final = 0.4  # millimetres
_RADIUS, _AXIS, _BEND = 90.0, -60.0, 20.0  # mm: radius of the sleeve, depth of its axis, height at which it closes
_HALF, _LOW, _HIGH = 200.0, -230.0, 161.0  # mm: extent of the texture around, down and up
_EYE: Final = 224  # side of the square that contains the eye, in texels
_EYE_REACH: Final = 112.0  # angle from the axis of the eyeball at the border of that square, in degrees
IRIS: Final = 27.0  # degrees: a radius of 5.9 mm on an eyeball of 13 mm

_ROWS, _COLUMNS = int((_HIGH - _LOW) / TEXEL), int(2 * _HALF / TEXEL)


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """The texture of a head, and the colour of each vertex.

    Attributes:
        picture: (rows, columns, 3) reflectance.
        place: (V + E, 2) position of each vertex on the texture, in texels, x then y.
        tint: (V + E, 3) factor for the colour of the texture.
        own: (V + E, 3) colour that is added, for example inside the mouth, where the tint is 0.
        gloss: (V + E,) strength of the highlights.
        lift: (V,) millimetres by which hair raises the surface.
    """

    picture: Floats
    place: Floats
    tint: Floats
    own: Floats
    gloss: Floats
    lift: Floats


def linear(colour: Any) -> Floats:
    """Convert an sRGB colour to reflectance, both 0..1.

    Example:
        >>> linear([0.0, 1.0]).tolist()
        [0.0, 1.0]
    """
    c = np.asarray(colour, np.float32)
    return np.asarray(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4), np.float32)


def _rgb(values: Any) -> Floats:
    return np.asarray(values, np.float32)


def _sleeve(points: NDArray[np.floating[Any]]) -> Floats:
    """Return u and v, (N, 2) in millimetres, of points (N, 3) of the mean head."""
    x, y, z = np.asarray(points, np.float32).T
    radius = np.hypot(x, z - _AXIS)
    around = (np.arctan2(x, z - _AXIS) * _RADIUS).clip(-_HALF + 1, _HALF - 1)
    above = _BEND + _RADIUS * np.arctan2(y - _BEND, radius)
    return np.stack([around, np.where(y > _BEND, above, y)], -1)


def _texels(uv: Floats) -> Floats:
    """Convert u and v to positions on the texture in texels."""
    return np.asarray(np.stack([(uv[..., 0] + _HALF) / TEXEL, (_HIGH - uv[..., 1]) / TEXEL], -1) - 0.5, np.float32)


@cache
def _grid() -> tuple[Floats, Floats]:
    u = (np.arange(_COLUMNS, dtype=np.float32) + 0.5) * TEXEL - _HALF
    v = _HIGH - (np.arange(_ROWS, dtype=np.float32) + 0.5) * TEXEL
    return u[None], v[:, None]


@cache
def _front() -> tuple[cKDTree, Floats]:
    shape = mean_shape()
    front = shape[(shape[:, 2] > -45) & (head_mesh().masks["mouth"] < 0.3)]
    return cKDTree(front[:, :2]), front[:, 2]


def _surface(x: Any, y: Any) -> Floats:
    """Return u and v of the foremost points of the mean face at x and y."""
    at = np.stack(np.broadcast_arrays(np.asarray(x, np.float32), np.asarray(y, np.float32)), -1).reshape(-1, 2)
    tree, depth = _front()
    far, near = tree.query(at, k=6)
    weight = 1 / (far + 0.5) ** 2
    z = (depth[near] * weight).sum(1) / weight.sum(1)
    return _sleeve(np.column_stack([at, z]))


def _noise(rng: np.random.Generator, millimetres: float, stretch: tuple[float, float] = (1.0, 1.0)) -> Floats:
    """Return (rows, columns) smooth noise with mean 0, standard deviation 1 and grains of a given size."""
    sigma = millimetres / TEXEL / 2
    coarse = max(1, int(sigma / 2))
    shape = (_ROWS // coarse + 2, _COLUMNS // coarse + 2)
    grains = rng.standard_normal(shape, np.float32)
    grains = cv2.GaussianBlur(grains, (0, 0), sigmaX=sigma / coarse * stretch[0], sigmaY=sigma / coarse * stretch[1])
    if coarse > 1:
        grains = cv2.resize(grains, (_COLUMNS + coarse, _ROWS + coarse), interpolation=cv2.INTER_CUBIC)
    grains = np.asarray(grains[:_ROWS, :_COLUMNS], np.float32)
    return np.asarray((grains - grains.mean()) / grains.std(), np.float32)


def _step(x: Any) -> Any:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _blob(at: Floats, across: float, along: float) -> Floats:
    u, v = _grid()
    return np.asarray(
        np.exp(-0.5 * ((u - at[0]) / across) ** 2) * np.exp(-0.5 * ((v - at[1]) / along) ** 2), np.float32
    )


def _hairline(u: Any, identity: Identity) -> Any:
    """Return the height v at which the hair begins, at positions u around the head."""
    around = [0, 35, 62, 80, 96, 108, 122, 140, 152, 175, 200]
    height = [88, 86, 80, 62, 40, 6, -8, 10, -20, -62, -75]
    higher = identity.hairline * np.clip(1 - np.abs(u) / 110, 0, 1)
    return np.interp(np.abs(u), around, height) + higher


def skin_colour(shade: float) -> Floats:
    """Return the (3,) reflectance of skin, for a shade from 0 (palest) to 1 (darkest)."""
    pale, dark = np.log([0.66, 0.42, 0.31]), np.log([0.085, 0.043, 0.026])
    return np.asarray(np.exp(pale + (dark - pale) * shade), np.float32)


def _paint_skin(identity: Identity, rng: np.random.Generator) -> Floats:
    skin = skin_colour(identity.shade)
    u, v = _grid()
    # Melanin darkens towards brown, blood towards red; both are exponents of transmittance.
    melanin = 0.02 * _noise(rng, 30) + 0.02 * _noise(rng, 9) + 0.02 * _noise(rng, 3)
    blood = 0.04 * _noise(rng, 24) + 0.03 * _noise(rng, 6) + 0.025 * _noise(rng, 2.2)
    reach = 1 - 0.5 * identity.shade
    for x, y, across, along, amount in (
        (38, -38, 16, 15, 0.28), (-38, -38, 16, 15, 0.28), (0, -36, 11, 12, 0.28), (0, -98, 18, 10, 0.12),
        (31, -14, 13, 5, 0.16), (-31, -14, 13, 5, 0.16), (0, 45, 30, 14, 0.06),
    ):  # fmt: skip
        blood = blood + reach * amount * rng.uniform(0.3, 1.2) * _blob(_surface(x, y)[0], across, along)
    for x in (31, -31):
        melanin = melanin + 0.13 * rng.uniform(0.2, 1.2) * _blob(_surface(x, -15)[0], 14, 6)
    # Pores: dark grains under a millimetre; spots, fewer than one per square centimetre.
    pores = np.maximum(_noise(rng, 1.0) - 0.4, 0) * (0.7 + 0.3 * np.tanh(_noise(rng, 14)))
    melanin = melanin + (0.055 + 0.02 * rng.uniform()) * pores
    spots = np.zeros((_ROWS, _COLUMNS), np.float32)
    for _ in range(rng.poisson(30 + identity.age)):
        at = rng.uniform([_COLUMNS * 0.2, _ROWS * 0.1], [_COLUMNS * 0.8, _ROWS * 0.9])
        size = float(np.exp(rng.normal(0.35, 0.45)))
        cv2.circle(
            spots, (int(at[0] * 16), int(at[1] * 16)), int(size * 16), float(rng.uniform(0.1, 0.45)), -1, cv2.LINE_AA, 4
        )
    if rng.random() < 0.25 * (1 - identity.shade):
        freckles = np.maximum(_noise(rng, 1.8) - 1.1, 0) * (_blob(_surface(0, -25)[0], 50, 22))
        melanin = melanin + 0.35 * freckles
    melanin = melanin + cv2.GaussianBlur(spots, (0, 0), 0.9)
    melanin = melanin + _wrinkles(identity, rng)
    # Below the chin the texture is nearly perpendicular to the skin and would be stretched into streaks.
    face = _step((v + 128) / 22)
    melanin, blood = melanin * (0.25 + 0.75 * face), blood * (0.25 + 0.75 * face)
    # A shaved beard: grey-blue stubble around the mouth and on the jaw.
    jaw = _step((-46 - v - 0.3 * np.abs(np.abs(u) - 46).clip(0, 46) + 3 * _noise(rng, 8)) / 14)
    jaw = jaw * _step((v + 140) / 30) * _step((112 - np.abs(u)) / 20)
    bare = _blob(_surface(0, -73)[0], 26, 10)
    stubble = identity.beard * jaw * (1 - 0.6 * bare) * (0.55 + 0.25 * np.maximum(_noise(rng, 1.1), -1.5))
    colour = skin * np.exp(-melanin[..., None] * _rgb([0.7, 1.1, 1.5]) - blood[..., None] * _rgb([0.1, 1.0, 0.8]))
    shadow = np.exp(-stubble[..., None] * _rgb([0.85, 0.75, 0.6]))
    return np.asarray(colour * shadow, np.float32)


def _wrinkles(identity: Identity, rng: np.random.Generator) -> Floats:
    """Return fine lines on the forehead, beside the eyes and from nose to mouth, deeper with age."""
    depth = float(np.clip((identity.age - 20) / 45, 0.08, 1.0))
    lines = np.zeros((_ROWS, _COLUMNS), np.float32)

    def line(x: Any, y: Any, strength: float) -> None:
        points = _texels(_surface(x, y))
        points[:, 1] += np.cumsum(rng.normal(0, 0.35, len(points)))
        cv2.polylines(lines, [np.rint(points * 16).astype(np.int32)], False, strength, 2, cv2.LINE_AA, 4)

    for y in rng.uniform(33, 62, 4):
        half = rng.uniform(18, 38)
        x = np.linspace(-half, half, 25)
        line(x, y + 2 * np.cos(x / half * 2.2), float(depth * rng.uniform(0.1, 0.3)))
    for side in (-1, 1):
        for slope in (-0.5, 0.0, 0.45):
            x = np.linspace(49, 62, 8)
            line(side * x, 2 + slope * (x - 46), float(depth * rng.uniform(0.1, 0.3)))
        t = np.linspace(0, 1, 14)
        line(side * (19 + 13 * t), -39 - 30 * t**1.2, float(0.06 + 0.22 * depth * rng.uniform(0.4, 1)))
        x = np.linspace(18, 44, 14)
        line(side * x, -16 - 4 * np.sin((x - 18) / 26 * np.pi), float(0.04 + 0.16 * depth * rng.uniform(0.3, 1)))
    return np.asarray(cv2.GaussianBlur(lines, (0, 0), 1.3), np.float32)


def _paint_brows(picture: Floats, identity: Identity, rng: np.random.Generator) -> None:
    """Paint several hundred hairs for each brow, over a faint shadow."""
    cover = np.zeros((_ROWS, _COLUMNS), np.float32)
    thick = rng.uniform(2.6, 4.2) * (1.25 - 0.45 * identity.female)
    arch, tilt, density = rng.uniform(1.0, 4.5), rng.uniform(-1.5, 2.0), rng.uniform(0.75, 1.1)
    height = 18.0 + rng.normal(0, 0.8)
    for side in (-1, 1):
        t = np.sort(rng.uniform(0, 1, int(520 * density)))
        across = rng.normal(0, 0.5, len(t)).clip(-1.1, 1.1)
        x = 11.5 + 43 * t
        y = (
            height
            + arch * np.sin(np.pi * np.clip(t / 1.25, 0, 1) ** 1.1)
            + tilt * t
            - 6.5 * np.clip(t - 0.62, 0, 1) ** 1.3 * 2
        )
        width = thick * (1 - 0.75 * np.clip(t - 0.35, 0, 1) ** 1.1) * (0.75 + 0.25 * np.clip(t / 0.12, 0, 1))
        y = y + across * width
        lean = np.radians(np.interp(t, [0, 0.15, 0.6, 1], [75, 40, 12, -12]) - 22 * across + rng.normal(0, 9, len(t)))
        long = rng.uniform(3.0, 6.0, len(t)) * np.interp(t, [0, 0.2, 1], [0.8, 1.0, 0.8])
        root = _texels(_surface(side * x, y))
        tip = _texels(_surface(side * (x + long * np.cos(lean)), y + long * np.sin(lean)))
        for a, b in zip(np.rint(root * 16).astype(int), np.rint(tip * 16).astype(int), strict=True):
            cv2.line(cover, a.tolist(), b.tolist(), 1.0, 1, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(cover, (0, 0), 2.2)
    alpha = np.clip(0.65 * cv2.GaussianBlur(cover, (0, 0), 0.7) + 0.4 * soft, 0, 0.93)[..., None]
    picture[:] = picture * (1 - alpha) + linear(np.minimum(identity.hair, 0.45)) * 0.8 * alpha


def _paint_hair(picture: Floats, identity: Identity, rng: np.random.Generator) -> None:
    u, v = _grid()
    ragged = 1.5 * _noise(rng, 6, (0.6, 1.5)) + 1.3 * _noise(rng, 1.2, (0.6, 2.5))
    alpha = _step((v - _hairline(u, identity) + ragged) / 7)[..., None]
    strands = 0.22 * _noise(rng, 1.4, (0.5, 6.0)) + 0.2 * _noise(rng, 5, (0.5, 4.0)) + 0.1 * _noise(rng, 16)
    hair = linear(identity.hair) * np.exp(strands)[..., None]
    picture[:] = picture * (1 - alpha) + hair * alpha


def _paint_cloth(picture: Floats, rng: np.random.Generator) -> None:
    """Paint a shirt."""
    u, v = _grid()
    edge = -152 + 22 * _step(np.abs(u) / 130)
    alpha = _step((edge - v) / 1.5)[..., None]
    hem = 1 - 0.35 * np.exp(-(((edge - v - 7) / 1.2) ** 2))
    dress = (
        linear(rng.uniform(0.08, 0.55, 3)) * (hem * np.exp(0.06 * _noise(rng, 1.2) + 0.08 * _noise(rng, 25)))[..., None]
    )
    picture[:] = picture * (1 - alpha) + dress * alpha


def _paint_eye(identity: Identity, rng: np.random.Generator) -> Floats:
    """Paint the eyeball, (_EYE, _EYE, 3): the distance from the centre is the angle from the axis."""
    grid = (np.arange(_EYE, dtype=np.float32) + 0.5) / _EYE * 2 - 1
    x, y = grid[None], grid[:, None]
    angle, turn = np.hypot(x, y) * _EYE_REACH, np.arctan2(y, x)
    white = linear([0.74, 0.70, 0.67]) * np.exp(-0.05 * rng.standard_normal((_EYE, _EYE, 1), np.float32))
    white = cv2.GaussianBlur(white, (0, 0), 1.0)
    white = white * np.exp(-np.clip((angle - 38) / 60, 0, 1)[..., None] * _rgb([0.1, 0.6, 0.6]))
    spokes = sum(np.cos(turn * k + rng.uniform(0, 6.3)) * rng.uniform(0.2, 1) for k in range(9, 46, 4))
    ring = np.exp(-(((angle - 0.42 * IRIS) / (0.16 * IRIS)) ** 2))
    iris = linear(identity.iris)[None, None] * np.exp(0.07 * spokes + 0.35 * ring)[..., None]
    iris = iris * (1 - 0.65 * _step((angle - 0.82 * IRIS) / (0.18 * IRIS)))[..., None]
    pupil = _step((angle - rng.uniform(0.30, 0.42) * IRIS) / 1.5)[..., None]
    iris = iris * pupil + 0.006 * (1 - pupil)
    edge = _step((angle - IRIS + 1) / 2.5)[..., None]
    eye = iris * (1 - edge) + white * edge
    # The reflection of a window above and beside the pupil.
    window = np.exp(-((((x + 0.07) ** 2 + (y + 0.10) ** 2) / 0.033**2) ** 2))[..., None]
    return np.asarray(eye * (1 - window) + 0.9 * window, np.float32)


def looks_of(identity: Identity, ball: Floats) -> Looks:
    """Paint the appearance of a person.

    Args:
        identity: The person.
        ball: (E, 3) directions of the vertices of both eyeballs.
    """
    rng = np.random.default_rng(np.random.SeedSequence([identity.seed, 32]))
    mesh, shape = head_mesh(), mean_shape()
    n = len(shape)
    picture = np.zeros((_ROWS, _COLUMNS + _EYE, 3), np.float32)
    head = _paint_skin(identity, rng)
    _paint_brows(head, identity, rng)
    _paint_hair(head, identity, rng)
    _paint_cloth(head, rng)
    picture[:, :_COLUMNS] = head
    picture[:_EYE, _COLUMNS:] = _paint_eye(identity, rng)

    uv = _sleeve(shape)
    angle = np.degrees(np.arccos(ball[:, 2].clip(-1, 1))) / _EYE_REACH
    flat = ball[:, :2] / np.linalg.norm(ball[:, :2], axis=1, keepdims=True).clip(1e-6) * angle[:, None]
    eye = np.stack([(flat[:, 0] + 1) * _EYE / 2 + _COLUMNS, (1 - flat[:, 1]) * _EYE / 2], -1) - 0.5
    place = np.concatenate([_texels(uv), eye])

    skin = skin_colour(identity.shade)
    lips, mouth, ears = mesh.masks["lips"], mesh.masks["mouth"], mesh.masks["ears"]
    rouge = np.exp(-rng.uniform(0.25, 0.8) * _rgb([0.35, 1.0, 0.75]) * (0.75 + 0.5 * identity.female * rng.random()))
    tint = 1 - lips[:, None] * (1 - rouge)
    own = np.zeros((n, 3), np.float32)

    def cover(share: NDArray[Any], colour: Any) -> None:
        tint[:] *= 1 - share[:, None]
        own[:] = own * (1 - share[:, None]) + share[:, None] * np.asarray(colour, np.float32)

    inside = _step((mouth - 0.25) / 0.5)
    ear = _step(ears * 1.6)
    cover(ear, skin * _rgb([1.0, 0.86, 0.86]))
    cover(inside, [0.16, 0.045, 0.04])
    cover((mesh.part[:n] == 1).astype(np.float32), linear([0.80, 0.76, 0.68]))
    for side, marks in zip((-1, 1), mesh.eyes, strict=True):
        centre, radius = eyeball(shape, marks)
        far = np.linalg.norm(shape - centre, axis=1) / radius
        lash = _step((1.16 - far) / 0.09) * (shape[:, 2] > centre[2]) * (shape[:, 0] * side > 0)
        lash = lash * np.where(shape[:, 1] > centre[1] - 1, 0.9, 0.45)
        lash[np.isin(np.arange(n), marks)] = 0
        tint = tint * (1 - lash[:, None] * (1 - _rgb([0.16, 0.13, 0.12])))
    gloss = 0.6 + 0.9 * lips
    lift = (
        identity.volume
        * _step((uv[:, 1] - _hairline(uv[:, 0], identity) - 1) / 22)
        * (1 - _step(ears * 4))
        * (1 - inside)
    )
    gloss = gloss * (1 - 0.5 * _step(lift / 3))
    m = len(ball)
    return Looks(
        picture=picture,
        place=np.asarray(place, np.float32),
        tint=np.concatenate([tint, np.ones((m, 3))]).astype(np.float32),
        own=np.concatenate([own, np.zeros((m, 3))]).astype(np.float32),
        gloss=np.concatenate([gloss, np.full(m, 1.0)]).astype(np.float32),
        lift=np.asarray(lift, np.float32),
    )


def eyeball(vertices: NDArray[np.floating[Any]], marks: NDArray[np.int64]) -> tuple[Floats, float]:
    """Return the centre (3,) and the radius of an eyeball, from the vertices that mark it."""
    centre = vertices[marks].mean(0)
    return np.asarray(centre, np.float32), float(np.linalg.norm(vertices[marks] - centre, axis=1).mean())
