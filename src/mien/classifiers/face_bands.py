"""Bands of a face picture in which action units show, from the anatomy of their muscles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BANDS: Final[Mapping[str, float]] = {"brows": 0.23, "eyes": 0.34, "nose": 0.52, "mouth": 0.73, "chin": 0.84}
"""Middle of each band, in shares of the height of a picture that the face fills from brow to chin."""

_WIDTH: Final = 0.107
"""Standard deviation of a band, in shares of the height."""

UNIT_BANDS: Final[Mapping[int, tuple[str, ...]]] = {
    1: ("brows",),
    2: ("brows",),
    4: ("brows",),
    5: ("eyes",),
    6: ("eyes", "nose"),
    7: ("eyes",),
    9: ("nose",),
    10: ("nose",),
    12: ("mouth",),
    14: ("mouth",),
    15: ("mouth",),
    16: ("mouth",),
    17: ("chin",),
    18: ("mouth",),
    20: ("mouth",),
    22: ("mouth",),
    23: ("mouth",),
    24: ("mouth",),
    25: ("mouth",),
    26: ("chin",),
    27: ("chin",),
    28: ("mouth",),
}
"""Where the muscle of each unit moves the skin.

Source: Ekman, Friesen and Hager, Facial Action Coding System, 2002: the appearance changes of each unit. AU6 raises the
cheek beside the nose as well as it narrows the eye.
"""

REGIONS: Final = ("face", "upper half", "lower half", *BANDS)
"""The order of `windows`."""


def windows(height: int) -> Floats:
    """Return how much each row of a picture counts in each of `REGIONS`, (8, H); each sums to 1.

    Example:
        >>> windows(28).shape
        (8, 28)
    """
    place = (np.arange(height) + 0.5) / height
    upper = (place < 0.5).astype(np.float64)
    bands = [np.exp(-0.5 * ((place - middle) / _WIDTH) ** 2) for middle in BANDS.values()]
    found = np.array([np.ones(height), upper, 1 - upper, *bands])
    return np.asarray(found / np.maximum(found.sum(1, keepdims=True), 1e-9))


def whole_face(outputs: int) -> Floats:
    """Return shares, (C, 8), by which only the whole face counts."""
    return np.eye(len(REGIONS))[np.zeros(outputs, int)]


def class_shares(outputs: int) -> Floats:
    """Return shares, (C, 8), by which the whole face and its halves count alike."""
    return np.tile(np.isin(REGIONS, ("face", "upper half", "lower half")) / 3, (outputs, 1))


def unit_shares(names: Sequence[str]) -> Floats:
    """Return how much each region counts for each unit, (U, 8): a third the whole face, the rest its bands.

    Args:
        names: Names of units ("AU12"); the whole face counts for one that is in no band.

    Example:
        >>> dict(zip(REGIONS, unit_shares(["AU12"])[0].round(2).tolist(), strict=True))["mouth"]
        0.67
    """
    shares = whole_face(len(names))
    for row, name in zip(shares, names, strict=True):
        bands = UNIT_BANDS.get(int(name.removeprefix("AU")), ()) if name.removeprefix("AU").isdigit() else ()
        if bands:
            row[:] = 0
            # With one band 1 : 2, with two 1 : 2 : 2.
            row[0] = 1 / (1 + 2 * len(bands))
            row[[REGIONS.index(band) for band in bands]] = 2 * row[0]
    return shares
