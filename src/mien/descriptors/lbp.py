"""Local binary patterns in space and time: LBP-TOP and LBP-SIP.

A pixel's pattern has one bit for each neighbour: 1 where the neighbour is at least as bright. Neighbours that fall
between pixels are interpolated. All comparisons are exact, ties included: offsets are rounded to 1e-5 of a pixel, so
that every interpolated level is a whole number of 1e-10 and fits a double. A flat patch is thus always all ones,
wherever it lies.

Sources: Zhao, Pietikainen, "Dynamic texture recognition using local binary patterns with an application to facial
expressions", PAMI 2007 (LBP-TOP); Wang, See, Phan, Oh, "LBP with six intersection points", ACCV 2014 (LBP-SIP).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mien.descriptors.blocks import Array, BlockCounts, check_grid, grey_clip, shares
from mien.errors import MienError

Interpolation = Literal["bilinear", "nearest"]
Mapping = Literal["uniform", "full"]
Radius = float | Sequence[float]

PLANES = ((2, 1), (2, 0), (1, 0))
"""XY, XT and YT: the axes of a (t, y, x) clip along which cosine and sine of a ring run."""

UNIT = 100_000
"""Offsets of neighbours are whole numbers of 1 / UNIT pixel."""

_AT_ONCE = 1 << 16  # voxels worked on together: what fits a core's cache


@lru_cache
def uniform_map(neighbours: int) -> tuple[NDArray[np.int64], int]:
    """The bin of every pattern when patterns with more than two changes around the ring share one.

    Args:
        neighbours: Bits P of a pattern.

    Returns:
        Bins (2^P,), in order of the pattern, the shared one last; and how many there are, P (P - 1) + 3: 59 for 8.
    """
    codes = np.arange(1 << neighbours)
    turned = (codes >> 1) | ((codes & 1) << (neighbours - 1))
    changes = sum(((codes ^ turned) >> bit) & 1 for bit in range(neighbours))
    uniform = np.asarray(changes) <= 2
    n = int(uniform.sum())
    bins = np.where(uniform, np.cumsum(uniform) - 1, n)
    bins.setflags(write=False)
    return bins, n + 1


def n_bins(neighbours: int, mapping: Mapping = "uniform") -> int:
    """Bins of one histogram: P (P - 1) + 3 uniform ones, or all 2^P."""
    return uniform_map(neighbours)[1] if mapping == "uniform" else 1 << neighbours


def ring(
    neighbours: int, first: float, second: float, interpolation: Interpolation = "bilinear"
) -> list[tuple[int, int]]:
    """Neighbours around a pixel: `first` cos(2 pi p / P) along one axis and -`second` sin(2 pi p / P) along the other.

    Returns:
        P offsets along both axes in 1e-5 pixel; whole pixels under "nearest".
    """
    angles = 2 * np.pi * np.arange(neighbours) / neighbours
    offsets = np.stack([first * np.cos(angles), -second * np.sin(angles)], axis=1)
    if interpolation == "nearest":
        # Half a pixel is rounded away from the centre, the same on both sides of it.
        return [(int(a) * UNIT, int(b) * UNIT) for a, b in np.sign(offsets) * np.floor(np.abs(offsets) + 0.5 + 1e-9)]
    return [(int(a), int(b)) for a, b in np.round(offsets * UNIT)]


def lbp_top(
    clip: Array,
    *,
    radius: Radius = 3,
    neighbours: int = 8,
    blocks: tuple[int, int, int] = (5, 5, 1),
    overlap: float = 0.0,
    mapping: Mapping = "uniform",
    interpolation: Interpolation = "bilinear",
    normalise: bool = True,
) -> NDArray[np.float64]:
    """Local binary patterns on three orthogonal planes: what the skin looks like, and how that changes.

    Every voxel that has all its neighbours in the clip gets one pattern in each plane. Patterns do not change when all
    grey levels are scaled and shifted; with `interpolation="nearest"`, under any increasing change of them.

    Args:
        clip: (T, H, W) grey levels.
        radius: Pixels, and frames over time: one number, or (Rx, Ry, RT).
        neighbours: Bits P of a pattern.
        blocks: Blocks down, across and over time; each has histograms of its own.
        overlap: Share of a block that its neighbour covers too.
        mapping: "uniform" keeps patterns with at most two changes apart (59 bins for P = 8), "full" all 2^P.
        interpolation: Of neighbours between pixels: "bilinear", or the "nearest" pixel.
        normalise: Divide each histogram by its sum.

    Returns:
        (blocks * 3 * bins,): over time, down, across; in each block XY, XT, YT.

    Raises:
        MienError: A clip too small for the radius or the grid, colour, NaN, a constant clip, a parameter out of range.

    Source: Zhao and Pietikainen, PAMI 2007, section 3; R = 3, P = 8 of Xia et al., TMM 2020, section IV-B.
    """
    check_ring(neighbours, interpolation, mapping)
    grid = check_grid(blocks, overlap)
    rx, ry, rt = _radii(radius)
    border, ends = math.ceil(max(rx, ry)), math.ceil(rt)
    least = (2 * ends + 1, 2 * border + 1, 2 * border + 1)
    levels = grey_clip(clip, "lbp_top", least, f"radius={radius}")
    reach = {2: rx, 1: ry, 0: rt}
    rings = [ring(neighbours, reach[a], reach[b], interpolation) for a, b in PLANES]
    t, h, w = levels.shape
    inner = (t - 2 * ends, h - 2 * border, w - 2 * border)
    early = mapping == "uniform" and neighbours > 8  # too many patterns to count each
    n_codes = n_bins(neighbours, mapping) if early else 1 << neighbours
    counts = [BlockCounts(inner, (grid[0], grid[1], grid[2]), overlap, n_codes) for _ in PLANES]
    made = Patterns(levels, (ends, border, border), max(1, _AT_ONCE // (h * w)))
    for first in made.pieces():
        for axes, offsets, count in zip(PLANES, rings, counts, strict=True):
            codes = made.patterns(axes, offsets)
            count.add(first, uniform_map(neighbours)[0][codes] if early else codes)
    found = np.stack([count.histograms() for count in counts], axis=3)
    if mapping == "uniform" and not early:
        bins, n = uniform_map(neighbours)
        found = found @ (bins[:, None] == np.arange(n)).astype(np.int64)
    return (shares(found) if normalise else found.astype(np.float64)).ravel()


def lbp_sip(
    clip: Array,
    *,
    radius: int | Sequence[int] = 3,
    blocks: tuple[int, int, int] = (5, 5, 1),
    overlap: float = 0.0,
    joint: bool = False,
    normalise: bool = True,
) -> NDArray[np.float64]:
    """Local binary patterns of the six points in which the planes of LBP-TOP meet: x +- R, y +- R, t +- R.

    No point needs interpolation, so patterns do not change under any increasing change of the grey levels.

    Args:
        clip: (T, H, W) grey levels.
        radius: Whole pixels, and frames over time: one number, or (Rx, Ry, RT).
        blocks: Blocks down, across and over time.
        overlap: Share of a block that its neighbour covers too.
        joint: One histogram of all six bits (64) instead of four in space (16) and two in time (4).
        normalise: Divide each histogram by its sum.

    Returns:
        (blocks * 20,), or (blocks * 64,) when joint: over time, down, across; in each block space, then time.

    Raises:
        MienError: As `lbp_top`; a radius that is not a whole number.

    Source: Wang, See, Phan, Oh, ACCV 2014: four bits in space and two in time give its 20 dimensions.
    """
    grid = check_grid(blocks, overlap)
    radii = _radii(radius)
    if any(r != int(r) for r in radii):
        raise MienError(f"radius is {radius}.", "whole pixels: the six points are never interpolated.", "`radius=3`.")
    rx, ry, rt = (int(r) for r in radii)
    border = max(rx, ry)
    least = (2 * rt + 1, 2 * border + 1, 2 * border + 1)
    levels = grey_clip(clip, "lbp_sip", least, f"radius={radius}")
    t, h, w = levels.shape
    inner = (t - 2 * rt, h - 2 * border, w - 2 * border)
    count = BlockCounts(inner, (grid[0], grid[1], grid[2]), overlap, 64)
    made = Patterns(levels, (rt, border, border), max(1, _AT_ONCE // (h * w)))
    for first in made.pieces():
        space = made.patterns((2, 1), ring(4, rx, ry)).copy()
        count.add(first, space | (made.patterns((0, 1), [(rt * UNIT, 0), (-rt * UNIT, 0)]) << np.uint8(4)))
    found = count.histograms()
    if joint:
        return (shares(found) if normalise else found.astype(np.float64)).ravel()
    apart = found.reshape(*found.shape[:-1], 4, 16)  # time bits, space bits
    parts = [apart.sum(-2), apart.sum(-1)]
    return np.concatenate([shares(p) if normalise else p for p in parts], -1).astype(np.float64).ravel()


class Patterns:
    """Patterns of a clip, some frames at a time.

    A piece lies in memory as one line, so that a neighbour is a fixed distance away and every operation runs over
    unbroken memory. Pixels at the border get patterns from the wrong side of the picture; `pack` cuts them off. Levels
    between pixels are kept for the planes that share them, in arrays that the next piece uses again.

    Args:
        levels: (T, H, W) whole numbers.
        margin: Along t, y and x: what gets no pattern at either end.
        at_once: Frames with patterns in a piece.
    """

    def __init__(self, levels: Array, margin: tuple[int, int, int], at_once: int) -> None:
        self._levels, self._margin, self._at_once = levels, margin, at_once
        _, height, width = levels.shape
        self._strides = (height * width, width, 1)
        self._kept: dict[Hashable, Array] = {}
        self._fresh: set[Hashable] = set()
        self.frames = levels.shape[0] - 2 * margin[0]

    def pieces(self) -> Iterator[int]:
        """Loads one piece after the other; yields the first of its frames, the margin not counted."""
        for first in range(0, self.frames, self._at_once):
            piece = self._levels[first : first + self._at_once + 2 * self._margin[0]]
            self._shape = piece.shape
            self._line = np.ascontiguousarray(piece).reshape(-1)
            inner = [n - 1 - m for n, m in zip(piece.shape, self._margin, strict=True)]
            self._first = sum(m * s for m, s in zip(self._margin, self._strides, strict=True))
            self._stop = sum(i * s for i, s in zip(inner, self._strides, strict=True)) + 1
            self._fresh.clear()
            yield first

    def patterns(self, axes: tuple[int, int], offsets: Sequence[tuple[int, int]]) -> Array:
        """Patterns (t, y, x) of a ring whose offsets, in 1 / UNIT, run along two axes; good until the next call."""
        kind = np.uint8 if len(offsets) <= 8 else np.uint16 if len(offsets) <= 16 else np.uint32
        codes = self._room("codes", kind)
        inner = codes[self._first : self._stop]
        inner[:] = 0
        bit = self._room("bit", np.bool_)[: len(inner)]
        moved = self._room("moved", kind)[: len(inner)]
        for place, offset in enumerate(offsets):
            self._compare(axes, offset, bit)
            np.multiply(bit, kind(1 << place), out=moved)
            np.bitwise_or(inner, moved, out=inner)
        cut = tuple(slice(m, n - m) for m, n in zip(self._margin, self._shape, strict=True))
        return codes.reshape(self._shape)[cut]

    def _compare(self, axes: tuple[int, int], offset: tuple[int, int], bit: Array) -> None:
        """Whether the levels that far away reach those of the pixels themselves."""
        (whole_a, part_a), (whole_b, part_b) = (divmod(d, UNIT) for d in offset)
        a, b = axes
        if part_a == 0:
            a, whole_a, part_a, b, whole_b, part_b = b, whole_b, part_b, a, whole_a, 0
        step, along = self._strides[b], whole_a * self._strides[a] + whole_b * self._strides[b]
        if part_a == 0:
            np.greater_equal(self._moved(self._line, along), self._moved(self._line, 0), out=bit)
        elif part_b == 0:
            np.greater_equal(self._moved(self._between(a, part_a, 1), along), self._centres(UNIT), out=bit)
        else:
            near = self._moved(self._between(a, part_a, UNIT - part_b), along)
            far = self._moved(self._between(a, part_a, part_b), along + step)
            total = np.add(near, far, out=self._room("total", np.float64)[: len(bit)])
            np.greater_equal(total, self._centres(UNIT**2), out=bit)

    def _moved(self, line: Array, by: int) -> Array:
        return line[self._first + by : self._stop + by]

    def _room(self, key: Hashable, kind: DTypeLike) -> Array:
        """An array as long as the piece, its contents undefined."""
        if key not in self._kept or len(self._kept[key]) < len(self._line):
            self._kept[key] = np.zeros(len(self._line), kind)
        return self._kept[key][: len(self._line)]

    def _made(self, key: Hashable, make: Callable[[Array], object]) -> Array:
        """The array of that name, filled once for each piece."""
        room = self._room(key, np.float64)
        if key not in self._fresh:
            make(room)
            self._fresh.add(key)
        return room

    def _times(self, weight: int) -> Array:
        """The levels times a weight, as doubles."""
        return self._made(weight, lambda out: np.multiply(self._line, float(weight), out=out))

    def _centres(self, unit: int) -> Array:
        return self._moved(self._times(unit), 0)

    def _between(self, axis: int, part: int, weight: int) -> Array:
        """Levels `part` of the way to the next pixel of an axis, times a weight, in 1 / UNIT."""
        step = self._strides[axis]

        def make(out: Array) -> None:
            near, far = self._times((UNIT - part) * weight), self._times(part * weight)
            np.add(near[:-step], far[step:], out=out[:-step])

        return self._made((axis, part, weight), make)


def _radii(radius: Radius) -> tuple[float, float, float]:
    given = (radius,) * 3 if isinstance(radius, int | float) else tuple(radius)
    if len(given) != 3 or not all(isinstance(r, int | float) and 0 < r <= 64 for r in given):
        raise MienError(f"radius is {radius}.", "a number from above 0 to 64, or (Rx, Ry, RT).", "`radius=3`.")
    return given[0], given[1], given[2]


def check_ring(neighbours: int, interpolation: str, mapping: str) -> None:
    """Checks what all patterns on a ring need.

    Raises:
        MienError: A parameter out of range.
    """
    if int(neighbours) != neighbours or not 2 <= neighbours <= 20:
        raise MienError(f"neighbours is {neighbours}.", "a whole number from 2 to 20.", "`neighbours=8`.")
    for name, given, allowed in (
        ("mapping", mapping, ("uniform", "full")),
        ("interpolation", interpolation, ("bilinear", "nearest")),
    ):
        if given not in allowed:
            raise MienError(f"{name} is {given!r}.", f"{' or '.join(allowed)}.", f"`{name}={allowed[0]!r}`.")
