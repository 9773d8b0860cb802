"""Local binary patterns in space and time: LBP-TOP and LBP-SIP.

The pattern of a pixel has one bit per neighbour, 1 if the neighbour is at least as bright. Neighbours between pixels
are interpolated. All comparisons are exact: offsets are rounded to 1e-5 of a pixel, so that each interpolated level is
a multiple of 1e-10 and fits into a double. So every pattern in a uniform area is all ones.

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
"""XY, XT and YT: the axes of a (t, y, x) clip for the cosine and the sine of a ring."""

UNIT = 100_000
"""Offsets of neighbours are multiples of 1 / UNIT pixel."""

_AT_ONCE = 1 << 16  # voxels processed at a time, to fit into a processor's cache


@lru_cache
def uniform_map(neighbours: int) -> tuple[NDArray[np.int64], int]:
    """Return the histogram bin of each pattern. Patterns with more than two changes around the ring share one bin.

    Args:
        neighbours: Number of bits of a pattern, P.

    Returns:
        The bins (2^P,), with the shared bin last, and their number P (P - 1) + 3: 59 for P = 8.

    Example:
        >>> from mien.descriptors.lbp import uniform_map
        >>> uniform_map(8)[1]
        59
    """
    codes = np.arange(1 << neighbours)
    rotated = (codes >> 1) | ((codes & 1) << (neighbours - 1))
    changes = sum(((codes ^ rotated) >> bit) & 1 for bit in range(neighbours))
    uniform = np.asarray(changes) <= 2
    n = int(uniform.sum())
    bins = np.where(uniform, np.cumsum(uniform) - 1, n)
    bins.setflags(write=False)
    return bins, n + 1


def n_bins(neighbours: int, mapping: Mapping = "uniform") -> int:
    """Return the number of bins of a histogram: P (P - 1) + 3 for "uniform", 2^P for "full"."""
    return uniform_map(neighbours)[1] if mapping == "uniform" else 1 << neighbours


def ring(
    neighbours: int, first: float, second: float, interpolation: Interpolation = "bilinear"
) -> list[tuple[int, int]]:
    """Return the offsets of P neighbours on an ellipse around a pixel.

    Neighbour p is at `first` cos(2 pi p / P) along one axis and -`second` sin(2 pi p / P) along the other.

    Returns:
        P offsets along both axes in 1e-5 pixel; whole pixels for "nearest".
    """
    angles = 2 * np.pi * np.arange(neighbours) / neighbours
    offsets = np.stack([first * np.cos(angles), -second * np.sin(angles)], axis=1)
    if interpolation == "nearest":
        # Half a pixel is rounded away from the centre on both sides.
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
    """Compute local binary patterns on three orthogonal planes (LBP-TOP): the texture of the skin and its changes.

    Each voxel with all neighbours inside the clip has one pattern in each plane. Patterns do not change when all grey
    levels are scaled and shifted. With `interpolation="nearest"` they do not change under any increasing function of
    the grey levels.

    Args:
        clip: (T, H, W) grey levels; uint8, uint16, or floating point in 0..1 or 0..255.
        radius: In pixels, and in frames over time, 0 < radius <= 64; one number, or (Rx, Ry, RT).
        neighbours: Number of bits of a pattern, P, 2..20.
        blocks: Numbers of blocks down, across and over time; each has its own histograms.
        overlap: Fraction of a block that its neighbour covers too, 0 <= overlap < 1.
        mapping: "uniform": patterns with more than two changes share a bin (59 bins for P = 8). "full": 2^P bins.
        interpolation: Of neighbours between pixels, "bilinear" or "nearest".
        normalise: Whether to divide each histogram by its sum.

    Returns:
        (blocks * 3 * bins,), with the blocks in order of time, down, across, and in each block XY, XT, YT.

    Raises:
        MienError: A clip too small for the radius or the grid; a colour or constant clip; NaN; a parameter out of
            range.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.lbp import lbp_top
        >>> clip = np.random.default_rng(0).integers(0, 256, (9, 20, 20), np.uint8)
        >>> lbp_top(clip, radius=1, blocks=(2, 2, 1)).shape
        (708,)

    Source: Zhao and Pietikainen, PAMI 2007, section 3; R = 3 and P = 8 from Xia et al., TMM 2020, section IV-B.
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
    map_first = mapping == "uniform" and neighbours > 8  # with too many patterns to count each of them
    n_codes = n_bins(neighbours, mapping) if map_first else 1 << neighbours
    counts = [BlockCounts(inner, (grid[0], grid[1], grid[2]), overlap, n_codes) for _ in PLANES]
    patterns = Patterns(levels, (ends, border, border), max(1, _AT_ONCE // (h * w)))
    for first in patterns.pieces():
        for axes, offsets, count in zip(PLANES, rings, counts, strict=True):
            codes = patterns.patterns(axes, offsets)
            count.add(first, uniform_map(neighbours)[0][codes] if map_first else codes)
    histograms = np.stack([count.histograms() for count in counts], axis=3)
    if mapping == "uniform" and not map_first:
        bins, n = uniform_map(neighbours)
        histograms = histograms @ (bins[:, None] == np.arange(n)).astype(np.int64)
    return (shares(histograms) if normalise else histograms.astype(np.float64)).ravel()


def lbp_sip(
    clip: Array,
    *,
    radius: int | Sequence[int] = 3,
    blocks: tuple[int, int, int] = (5, 5, 1),
    overlap: float = 0.0,
    joint: bool = False,
    normalise: bool = True,
) -> NDArray[np.float64]:
    """Compute local binary patterns with six intersection points (LBP-SIP): x +- R, y +- R and t +- R.

    These are the points in which the planes of LBP-TOP meet. None of them needs interpolation, so patterns do not
    change under any increasing function of the grey levels.

    Args:
        clip: (T, H, W) grey levels; uint8, uint16, or floating point in 0..1 or 0..255.
        radius: In whole pixels, and in frames over time; one number, or (Rx, Ry, RT).
        blocks: Numbers of blocks down, across and over time.
        overlap: Fraction of a block that its neighbour covers too, 0 <= overlap < 1.
        joint: True: one histogram of all six bits (64 bins). False: one of the four bits in space (16) and one of the
            two bits in time (4).
        normalise: Whether to divide each histogram by its sum.

    Returns:
        (blocks * 20,), or (blocks * 64,) if `joint`, with the blocks in order of time, down, across.

    Raises:
        MienError: As `lbp_top`; or a radius that is not a whole number.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.lbp import lbp_sip
        >>> clip = np.random.default_rng(0).integers(0, 256, (9, 20, 20), np.uint8)
        >>> lbp_sip(clip, radius=1, blocks=(2, 2, 1)).shape
        (80,)

    Source: Wang, See, Phan, Oh, ACCV 2014. Four bits in space and two in time give its 20 dimensions.
    """
    grid = check_grid(blocks, overlap)
    radii = _radii(radius)
    if any(r != int(r) for r in radii):
        raise MienError(f"radius is {radius}.", "whole pixels, because nothing is interpolated.", "`radius=3`.")
    rx, ry, rt = (int(r) for r in radii)
    border = max(rx, ry)
    least = (2 * rt + 1, 2 * border + 1, 2 * border + 1)
    levels = grey_clip(clip, "lbp_sip", least, f"radius={radius}")
    t, h, w = levels.shape
    inner = (t - 2 * rt, h - 2 * border, w - 2 * border)
    count = BlockCounts(inner, (grid[0], grid[1], grid[2]), overlap, 64)
    patterns = Patterns(levels, (rt, border, border), max(1, _AT_ONCE // (h * w)))
    for first in patterns.pieces():
        space = patterns.patterns((2, 1), ring(4, rx, ry)).copy()
        count.add(first, space | (patterns.patterns((0, 1), [(rt * UNIT, 0), (-rt * UNIT, 0)]) << np.uint8(4)))
    histograms = count.histograms()
    if joint:
        return (shares(histograms) if normalise else histograms.astype(np.float64)).ravel()
    time_and_space = histograms.reshape(*histograms.shape[:-1], 4, 16)
    parts = [time_and_space.sum(-2), time_and_space.sum(-1)]
    return np.concatenate([shares(p) if normalise else p for p in parts], -1).astype(np.float64).ravel()


class Patterns:
    """Computes the patterns of a clip, some frames (a piece) at a time.

    A piece is one line in memory, so that each neighbour is a fixed distance away and all operations run over
    contiguous memory. The patterns at the border, which use wrong pixels, are cut off. Interpolated levels are computed
    once for all planes that need them, in arrays that are reused for the next piece.

    Args:
        levels: (T, H, W) whole numbers.
        margin: Widths of the border without patterns along t, y and x.
        at_once: Number of frames with patterns in a piece.
    """

    def __init__(self, levels: Array, margin: tuple[int, int, int], at_once: int) -> None:
        self._levels, self._margin, self._at_once = levels, margin, at_once
        _, height, width = levels.shape
        self._strides = (height * width, width, 1)
        self._kept: dict[Hashable, Array] = {}
        self._fresh: set[Hashable] = set()
        self.frames = levels.shape[0] - 2 * margin[0]

    def pieces(self) -> Iterator[int]:
        """Load one piece after another, and yield the index of its first frame, not counting the margin."""
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
        """Return the patterns (t, y, x) of offsets, in 1 / UNIT, along two axes. Valid until the next call."""
        kind = np.uint8 if len(offsets) <= 8 else np.uint16 if len(offsets) <= 16 else np.uint32
        codes = self._room("codes", kind)
        inner = codes[self._first : self._stop]
        inner[:] = 0
        bit = self._room("bit", np.bool_)[: len(inner)]
        number = bit.view(np.uint8)  # multiplied without being converted
        moved = self._room("moved", kind)[: len(inner)]
        for place, offset in enumerate(offsets):
            self._compare(axes, offset, bit)
            np.multiply(number, kind(1 << place), out=moved)
            np.bitwise_or(inner, moved, out=inner)
        cut = tuple(slice(m, n - m) for m, n in zip(self._margin, self._shape, strict=True))
        return codes.reshape(self._shape)[cut]

    def _compare(self, axes: tuple[int, int], offset: tuple[int, int], bit: Array) -> None:
        """Compare the levels at an offset with those of the pixels themselves: at least as bright."""
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
        """Return an array as long as the piece, with undefined contents."""
        if key not in self._kept or len(self._kept[key]) < len(self._line):
            self._kept[key] = np.zeros(len(self._line), kind)
        return self._kept[key][: len(self._line)]

    def _made(self, key: Hashable, make: Callable[[Array], object]) -> Array:
        """Return the array for a key, which is computed once per piece."""
        room = self._room(key, np.float64)
        if key not in self._fresh:
            make(room)
            self._fresh.add(key)
        return room

    def _times(self, weight: int) -> Array:
        """Return the levels times a weight, as doubles."""
        return self._made(weight, lambda out: np.multiply(self._line, float(weight), out=out))

    def _centres(self, unit: int) -> Array:
        return self._moved(self._times(unit), 0)

    def _between(self, axis: int, part: int, weight: int) -> Array:
        """Return the levels `part` / UNIT of the way to the next pixel along an axis, times a weight times UNIT."""
        step = self._strides[axis]

        def make(out: Array) -> None:
            near, far = self._times((UNIT - part) * weight), self._times(part * weight)
            np.add(near[:-step], far[step:], out=out[:-step])

        return self._made((axis, part, weight), make)


def _radii(radius: Radius) -> tuple[float, float, float]:
    given = (radius,) * 3 if isinstance(radius, int | float) else tuple(radius)
    if len(given) != 3 or not all(isinstance(r, int | float) and 0 < r <= 64 for r in given):
        raise MienError(f"radius is {radius}.", "a number above 0, at most 64, or (Rx, Ry, RT).", "`radius=3`.")
    return given[0], given[1], given[2]


def check_ring(neighbours: int, interpolation: str, mapping: str) -> None:
    """Check the parameters of all patterns on a ring.

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
