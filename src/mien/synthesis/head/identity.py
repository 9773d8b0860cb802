"""Identities: random shape of the head, and random appearance of skin, eyes and hair."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.synthesis.head.mesh import head_mesh

Floats = NDArray[np.float32]

ORIGINS: Final = ("african", "asian", "caucasian")
"""The three bases of the mesh, under its own names; every head is a mixture of them."""

AGES: Final = (18.0, 80.0)

_YOUNG, _OLD = 25.0, 85.0  # ages of the bases "young" and "old"
_OPPOSITE: Final = (
    ("incr", "decr"), ("up", "down"), ("in", "out"), ("forward", "backward"), ("concave", "convex"),
    ("compress", "uncompress"),
)  # fmt: skip
_SPREAD: Final = {
    "cheek": 0.22, "chin": 0.2, "eyebrows": 0.22, "eye": 0.15, "forehead": 0.2, "head": 0.12, "mouth": 0.15,
    "nose": 0.17, "ear": 0.2, "neck": 0.15,
}  # fmt: skip
_LEFT_OUT: Final = re.compile(
    r"measure|head-(trans|angle|age)|mouth-trans-(in|out|forward|backward)|nose-trans-(in|out)|neck-trans"
)
_EYES_APART: Final = 0.5  # of a target that moves each eye by 4.6 mm; people's are 63 mm apart on average
_OUTLINES: Final = ("head-oval", "head-round", "head-rectangular", "head-square", "head-diamond", "head-triangular")


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """One person.

    Attributes:
        seed: Seed of the details of the skin.
        age: Age in years, 18 to 80.
        female: 0 (male) to 1 (female).
        origins: Fractions of the three bases `ORIGINS`, summing to 1.
        weight: -1 (thin) to 1 (heavy).
        shapes: (S,) amounts of the shape targets of the mesh.
        shade: 0 (palest) to 1 (darkest skin).
        hair: sRGB colour, 0..1.
        iris: sRGB colour, 0..1.
        hairline: Millimetres by which the hair begins higher than usual; negative for lower.
        volume: Millimetres of hair above the scalp.
        beard: 0 (none) to 1 (full stubble).
    """

    seed: int
    age: float
    female: float
    origins: tuple[float, float, float]
    weight: float
    shapes: Floats
    shade: float
    hair: tuple[float, float, float]
    iris: tuple[float, float, float]
    hairline: float
    volume: float
    beard: float

    def __post_init__(self) -> None:
        low, high = AGES
        if not low <= self.age <= high or not 0 <= self.female <= 1 or abs(self.weight) > 1 or not 0 <= self.shade <= 1:
            raise MienError(
                f"Age {self.age:g}, female {self.female:g}, weight {self.weight:g}, shade {self.shade:g}.",
                f"an age of {low:g} to {high:g}, female and shade of 0 to 1, a weight of -1 to 1.",
                "`random_identity(0)`.",
            )


@cache
def _pairs() -> tuple[tuple[str, list[tuple[int, int]]], ...]:
    """Return, for each shape with two opposite targets, its region, and the pair of targets for each side."""
    names = head_mesh().shape_names
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for i, name in enumerate(names):
        for plus, minus in _OPPOSITE:
            if name.endswith(f"-{plus}") and not _LEFT_OUT.match(name):
                stem = name.removesuffix(f"-{plus}")
                other = f"{stem}-{minus}"
                if other in names:
                    stem = re.sub(r"^[lr]-", "", stem)
                    found.setdefault((stem, plus), []).append((i, names.index(other)))
    return tuple((stem.split("-")[0], sides) for (stem, _), sides in found.items())


def _usual() -> Floats:
    """Return the shape amounts common to all identities: they set the eyes 5 mm further apart, as in people."""
    names = head_mesh().shape_names
    shapes = np.zeros(len(names), np.float32)
    shapes[[names.index("l-eye-trans-out"), names.index("r-eye-trans-out")]] = _EYES_APART
    return shapes


def random_identity(seed: int) -> Identity:
    """Make a random person; the same seed gives the same person.

    Args:
        seed: Whole number, from 0.

    Raises:
        MienError: The seed is negative.

    Example:
        >>> 18 <= random_identity(7).age <= 80
        True
    """
    if seed < 0:
        raise MienError(f"The identity's seed is {seed}.", "a whole number from 0.", "`random_identity(0)`.")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 31]))
    mesh = head_mesh()
    shapes = _usual()
    for region, sides in _pairs():
        amount = float(rng.normal(0, _SPREAD[region]))
        for plus, minus in sides:
            one = np.clip(amount + (rng.normal(0, 0.05) if len(sides) > 1 else 0.0), -0.7, 0.7)
            shapes[plus if one > 0 else minus] += abs(one)
    shapes[mesh.shape_names.index(str(rng.choice(_OUTLINES)))] = rng.uniform(0, 0.6)
    origins = rng.dirichlet([0.5, 0.5, 0.5])
    darkness = origins @ [0.72, 0.30, 0.18]
    age = float(np.clip(18 + rng.gamma(1.8, 9.0), *AGES))
    female = float(np.clip(rng.choice([0.05, 0.95]) + rng.normal(0, 0.12), 0, 1))
    shade = float(np.clip(darkness + rng.normal(0, 0.12), 0.02, 0.95))
    tones = np.array([(0.07, 0.055, 0.05), (0.16, 0.10, 0.07), (0.30, 0.20, 0.13), (0.52, 0.38, 0.23)])
    fair = rng.uniform(0, 3) * max(0.0, origins[2] - 0.3) / 0.7
    hair = np.array([np.interp(fair, range(4), tones[:, c]) for c in range(3)])
    grey = np.clip((age - 38) / 35 + rng.normal(0, 0.2), 0, 1)
    hair = hair * (1 - 0.75 * grey) + 0.62 * 0.75 * grey
    irises = np.array([(0.20, 0.12, 0.07), (0.33, 0.21, 0.11), (0.36, 0.42, 0.40), (0.33, 0.45, 0.55)])
    light = rng.uniform(0, 3) * max(0.0, origins[2] - 0.3) / 0.7
    iris = np.array([np.interp(light, range(4), irises[:, c]) for c in range(3)])
    hairline = float(rng.normal(0, 4) + (1 - female) * max(0.0, age - 30) * rng.uniform(0, 0.5))
    beard = float((female < 0.5) * rng.choice([rng.uniform(0, 0.25), rng.uniform(0.3, 0.9)], p=[0.65, 0.35]))
    return Identity(
        seed=seed,
        age=age,
        female=female,
        origins=(float(origins[0]), float(origins[1]), float(origins[2])),
        weight=float(np.clip(rng.normal(0, 0.35), -0.9, 0.9)),
        shapes=shapes,
        shade=shade,
        hair=(float(hair[0]), float(hair[1]), float(hair[2])),
        iris=(float(iris[0]), float(iris[1]), float(iris[2])),
        hairline=hairline,
        volume=float(rng.uniform(3, 14)),
        beard=beard,
    )


def mean_identity() -> Identity:
    """Return the mean person: mean shape, medium shade, no beard.

    Example:
        >>> mean_identity().age
        30.0
    """
    third = 1 / 3
    return Identity(
        0, 30.0, 0.5, (third, third, third), 0.0, _usual(), 0.3, (0.1, 0.08, 0.07), (0.25, 0.16, 0.09), 0.0, 8.0, 0.0
    )


def base_shape(identity: Identity) -> Floats:
    """Compute the vertices of the neutral face of a person, without hair.

    Args:
        identity: The person.

    Returns:
        (V, 3) in millimetres, with the middle between the eyeballs at 0.
    """
    mesh = head_mesh()
    old = np.clip((identity.age - _YOUNG) / (_OLD - _YOUNG), 0, 1)
    sexes = {"female": identity.female, "male": 1 - identity.female}
    ages = {"young": 1 - old, "old": old}
    weights = {"min": max(0.0, -identity.weight), "max": max(0.0, identity.weight)}
    weights["average"] = 1 - weights["min"] - weights["max"]
    origins = dict(zip(ORIGINS, identity.origins, strict=True))
    amounts = np.zeros(len(mesh.base_names), np.float32)
    for i, name in enumerate(mesh.base_names):
        kind, sex, age, *rest = name.split("-")
        share = weights[rest[1].removesuffix("weight")] if kind == "universal" else origins[kind]
        amounts[i] = sexes[sex] * ages[age] * share
    vertices = mesh.vertices + np.tensordot(amounts, mesh.bases, 1)
    vertices = vertices + (identity.shapes @ mesh.shapes).reshape(-1, 3)
    middle = np.mean([vertices[eye].mean(0) for eye in mesh.eyes], axis=0)
    return np.asarray(vertices - middle, np.float32)


@cache
def mean_shape() -> Floats:
    """Return the `base_shape` of `mean_identity`, (V, 3), on which skin and hair are laid out."""
    return base_shape(mean_identity())
