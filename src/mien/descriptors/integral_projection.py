"""STLBP-IP: local binary patterns of integral projections of difference images, and its hierarchical form.

A face that moves by a pixel hardly changes what its rows and columns sum up to, except where it moves: projections of
the difference from the first frame keep the shape of a movement and little of the person's texture.

Sources: Huang, Wang, Zhao, Pietikainen, "Facial micro-expression recognition using spatiotemporal local binary pattern
with integral projection", ICCVW 2015; Zong, Huang, Zheng, Cui, Zhao, "Learning from hierarchical spatiotemporal
descriptors for micro-expression recognition", TMM 2018 (several grids at once).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.descriptors.blocks import Array, check_grid, grey_clip, shares, spans
from mien.descriptors.lbp import UNIT, Interpolation, Mapping, Patterns, check_ring, n_bins, ring, uniform_map
from mien.errors import MienError

GRIDS = ((1, 1), (2, 2), (4, 4), (8, 8))
"""Grids of the hierarchical form: 85 blocks."""


def stlbp_ip(
    clip: Array,
    *,
    mask: int = 9,
    radius: float = 1,
    neighbours: int = 8,
    blocks: tuple[int, int] = (5, 5),
    mapping: Mapping = "uniform",
    interpolation: Interpolation = "bilinear",
    absolute: bool = False,
    normalise: bool = True,
) -> NDArray[np.float64]:
    """Spatiotemporal local binary patterns of integral projections.

    In each block, the difference of every frame from the first is summed along rows and along columns. Appearance: the
    pattern of `mask` neighbouring sums of a frame. Motion: the sums of all frames side by side are a picture, places
    across and frames down, that gets ordinary patterns.

    Args:
        clip: (T, H, W) grey levels; the first frame is what the others are compared with.
        mask: Width of a pattern of appearance; odd. It has mask - 1 bits.
        radius: Radius of the patterns of motion, in places and in frames.
        neighbours: Their bits.
        blocks: Blocks down and across.
        mapping: Of the patterns of motion, as in `lbp_top`.
        interpolation: As in `lbp_top`.
        absolute: Sum the size of the differences instead of the differences.
        normalise: Divide each histogram by its sum.

    Returns:
        (blocks * (2 * 2^(mask - 1) + 2 * bins),), 630 a block by default: down, across; in each block appearance of
        row sums and of column sums, motion of column sums and of row sums.

    Raises:
        MienError: A clip too small for mask, radius or grid, colour, NaN, a constant clip, a parameter out of range.

    Source: Huang et al., ICCVW 2015, section 2; the order of the parts and the signed difference after an independent
    implementation.
    """
    return _describe(clip, "stlbp_ip", [blocks], mask, radius, neighbours, mapping, interpolation, absolute, normalise)


def hierarchical_stlbp_ip(
    clip: Array,
    *,
    mask: int = 9,
    radius: float = 1,
    neighbours: int = 8,
    grids: Sequence[tuple[int, int]] = GRIDS,
    mapping: Mapping = "uniform",
    interpolation: Interpolation = "bilinear",
    absolute: bool = False,
    normalise: bool = True,
) -> NDArray[np.float64]:
    """STLBP-IP over several grids at once, coarse to fine; each block is a group for a classifier that picks groups.

    Args:
        clip: (T, H, W) grey levels.
        grids: Blocks down and across of every grid.
        mask, radius, neighbours, mapping, interpolation, absolute, normalise: See `stlbp_ip`.

    Returns:
        (all blocks * block,): grid after grid; equal parts, one a block.

    Raises:
        MienError: As `stlbp_ip`.

    Source: Zong et al., TMM 2018; the grids are recalled, not read.
    """
    if not len(grids):
        raise MienError("grids is empty.", "at least one grid.", f"`grids={GRIDS}`.")
    return _describe(
        clip, "hierarchical_stlbp_ip", grids, mask, radius, neighbours, mapping, interpolation, absolute, normalise
    )


def block_size(mask: int = 9, neighbours: int = 8, mapping: Mapping = "uniform") -> int:
    """Values that one block gives."""
    return 2 * (1 << (mask - 1)) + 2 * n_bins(neighbours, mapping)


def _describe(
    clip: Array,
    name: str,
    grids: Sequence[tuple[int, int]],
    mask: int,
    radius: float,
    neighbours: int,
    mapping: Mapping,
    interpolation: Interpolation,
    absolute: bool,
    normalise: bool,
) -> NDArray[np.float64]:
    check_ring(neighbours, interpolation, mapping)
    if int(mask) != mask or mask % 2 == 0 or not 3 <= mask <= 17:
        raise MienError(f"mask is {mask}.", "an odd whole number from 3 to 17.", "`mask=9`.")
    if not 0 < radius <= 64:
        raise MienError(f"radius is {radius}.", "a number from above 0 to 64.", "`radius=1`.")
    checked = [check_grid(grid, 0, 2) for grid in grids]
    reach = int(np.ceil(radius))
    rows, columns = max(g[0] for g in checked), max(g[1] for g in checked)
    wide = max(mask, 2 * reach + 1)
    why = f"mask={mask}, radius={radius} and {rows}x{columns} blocks"
    levels = grey_clip(clip, name, (2 * reach + 2, wide * rows, wide * columns), why)
    first = levels[0].astype(np.float64)
    change = levels[1:].astype(np.float64) - first
    if absolute:
        change = np.abs(change)
    found = []
    for down, across in checked:
        bands, strips = spans(levels.shape[1], down), spans(levels.shape[2], across)
        # Sums are whole numbers, so that ties are ties.
        column_sums = np.stack([change[:, a:b].sum(1) for a, b in bands], 1)  # (t, down, x)
        row_sums = np.stack([change[:, :, a:b].sum(2) for a, b in strips], 1)  # (t, across, y)
        parts = []
        for sums, cuts, turned in ((row_sums, bands, True), (column_sums, strips, False)):
            appearance = _line_patterns(sums, cuts, mask)
            motion = _motion_patterns(sums, cuts, radius, neighbours, mapping, interpolation)
            parts.append([np.swapaxes(p, 0, 1) if turned else p for p in (appearance, motion)])
        (row_look, row_motion), (column_look, column_motion) = parts
        whole = [shares(p) if normalise else p for p in (row_look, column_look, column_motion, row_motion)]
        found.append(np.concatenate(whole, -1).ravel())
    return np.concatenate(found).astype(np.float64)


def _line_patterns(sums: Array, cuts: Sequence[tuple[int, int]], mask: int) -> Array:
    """Counts (lines, cuts, 2^(mask - 1)) of 1-D patterns of sums (t, lines, places) within each cut."""
    half = mask // 2
    made = Patterns(sums, (0, 0, half), len(sums))
    offsets = [(step * UNIT, 0) for step in range(-half, half + 1) if step]
    counts = np.zeros((sums.shape[1], len(cuts), 1 << (mask - 1)), np.int64)
    for _ in made.pieces():
        _count(made.patterns((2, 0), offsets), cuts, half, counts)
    return counts


def _motion_patterns(
    sums: Array,
    cuts: Sequence[tuple[int, int]],
    radius: float,
    neighbours: int,
    mapping: Mapping,
    interpolation: Interpolation,
) -> Array:
    """Counts (lines, cuts, bins) of patterns of the pictures places x frames within each cut."""
    reach = int(np.ceil(radius))
    made = Patterns(sums, (reach, 0, reach), len(sums))
    offsets = ring(neighbours, radius, radius, interpolation)
    counts = np.zeros((sums.shape[1], len(cuts), n_bins(neighbours, mapping)), np.int64)
    for _ in made.pieces():
        codes = made.patterns((2, 0), offsets)
        _count(uniform_map(neighbours)[0][codes] if mapping == "uniform" else codes, cuts, reach, counts)
    return counts


def _count(codes: Array, cuts: Sequence[tuple[int, int]], margin: int, counts: Array) -> None:
    """Adds the codes (t, lines, places less 2 margins) whose neighbours all lie in a cut to its counts."""
    _, lines, _ = codes.shape
    n = counts.shape[-1]
    base = (np.arange(lines) * n)[None, :, None]
    for place, (start, stop) in enumerate(cuts):
        inside = codes[:, :, start : stop - 2 * margin]
        counts[:, place] += np.bincount((base + inside).ravel(), minlength=lines * n).reshape(lines, n)
