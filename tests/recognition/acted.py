"""Short synthetic films of faces that show known action units."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mien.synthesis.face import draw_identity
from mien.synthesis.puppet import Puppet, film, puppet
from mien.synthesis.sensor import Sensor
from mien.synthesis.shape import Crop
from mien.synthesis.timeline import Head, Kind, Movement, Timeline, movements_of

Picture = NDArray[np.uint8]
Part = tuple[str, int, int, int, float]
"""Units as label sheets print them, onset, apex, offset, and intensity (0.05 to 0.3 micro, above macro)."""


@cache
def body(person: int = 0, width: int = 320, height: int = 240) -> Puppet:
    """A face whose eyes are a fourth of the width apart."""
    face = draw_identity(np.random.default_rng(person), "photo")
    return puppet(face, crop=Crop(4.0, 4.0 * height / width, 0.4), width=width, height=height, colour=False)


def acted(parts: list[Part], n: int, fps: float, *, drift: float = 0.002, person: int = 0) -> Iterator[Picture]:
    """Yield (240, 320) grey frames of a face that acts."""
    movements: list[Movement] = []
    for units, onset, apex, offset, intensity in parts:
        kind: Kind = "micro" if intensity <= 0.3 else "macro"
        movements += movements_of(units, onset=onset, apex=apex, offset=offset, intensity=intensity, kind=kind)
    timeline = Timeline(n, fps, tuple(movements), head=Head(drift=drift))
    yield from film(body(person), timeline, Sensor(), np.random.default_rng(1))
