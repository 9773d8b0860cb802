"""STLBP-IP: local binary patterns of integral projections of difference images, and its hierarchical form.

The sums of a face's rows and columns hardly change when it moves by a pixel, except where it moves. Projections of the
difference to the first frame thus keep the shape of a movement, and little of a person's texture.

Sources: Huang, Wang, Zhao, Pietikainen, "Facial micro-expression recognition using spatiotemporal local binary pattern
with integral projection", ICCVW 2015; Zong, Huang, Zheng, Cui, Zhao, "Learning from hierarchical spatiotemporal
descriptors for micro-expression recognition", TMM 2018 (several grids).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.descriptors.blocks import Array, check_grid, grey_clip, shares, spans
from mien.descriptors.lbp import UNIT, Interpolation, Mapping, Patterns, check_ring, n_bins, ring, uniform_map
from mien.errors import MienError

GRIDS = ((1, 1), (2, 2), (4, 4), (8, 8))
"""Grids of the hierarchical form, with 85 blocks in total."""


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
    """Compute spatiotemporal local binary patterns of integral projections (STLBP-IP).

    In each block, the difference of each frame to the first is summed along rows and along columns. Appearance is
    described by patterns of `mask` neighbouring sums of a frame. Motion is described by ordinary local binary patterns
    of a picture that has the sums of all frames below each other.

    Args:
        clip: (T, H, W) grey levels; uint8, uint16, or floating point in 0..1 or 0..255. All frames are compared with
            the first.
        mask: Width of an appearance pattern, odd, 3..17; it has mask - 1 bits.
        radius: Radius of the motion patterns in pixels and in frames, 0 < radius <= 64.
        neighbours: Number of bits of a motion pattern, 2..20.
        blocks: Numbers of blocks down and across.
        mapping: Of the motion patterns, "uniform" or "full"; see `mien.descriptors.lbp.lbp_top`.
        interpolation: "bilinear" or "nearest"; see `mien.descriptors.lbp.lbp_top`.
        absolute: Whether to sum absolute differences.
        normalise: Whether to divide each histogram by its sum.

    Returns:
        (blocks * (2 * 2^(mask - 1) + 2 * bins),), 630 per block by default. Blocks are in order of down, across; each
        holds the appearance of row sums and of column sums, then the motion of column sums and of row sums.

    Raises:
        MienError: A clip too small for mask, radius or grid; a colour or constant clip; NaN; a parameter out of range.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.integral_projection import stlbp_ip
        >>> clip = np.random.default_rng(0).integers(0, 256, (6, 20, 20), np.uint8)
        >>> stlbp_ip(clip, blocks=(2, 2)).shape
        (2520,)

    Source: Huang et al., ICCVW 2015, section 2. The order of the parts and the signed difference follow an independent
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
    """Compute STLBP-IP over several grids, from coarse to fine (hierarchical STLBP-IP).

    Each block is a group of features for a classifier that selects groups.

    Args:
        clip: (T, H, W) grey levels; uint8, uint16, or floating point in 0..1 or 0..255.
        mask: See `stlbp_ip`, as for the other arguments.
        radius: Radius of the motion patterns.
        neighbours: Number of bits of a motion pattern.
        grids: Numbers of blocks down and across of each grid.
        mapping: "uniform" or "full".
        interpolation: "bilinear" or "nearest".
        absolute: Whether to sum absolute differences.
        normalise: Whether to divide each histogram by its sum.

    Returns:
        (number of blocks of all grids * `block_size`,), grid after grid.

    Raises:
        MienError: As `stlbp_ip`; or no grid.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.integral_projection import hierarchical_stlbp_ip
        >>> clip = np.random.default_rng(0).integers(0, 256, (6, 20, 20), np.uint8)
        >>> hierarchical_stlbp_ip(clip, grids=((1, 1), (2, 2))).shape
        (3150,)

    Source: Zong et al., TMM 2018. The grids are recalled, not read in the paper.
    """
    if not len(grids):
        raise MienError("grids is empty.", "at least one grid.", f"`grids={GRIDS}`.")
    return _describe(
        clip, "hierarchical_stlbp_ip", grids, mask, radius, neighbours, mapping, interpolation, absolute, normalise
    )


def block_size(mask: int = 9, neighbours: int = 8, mapping: Mapping = "uniform") -> int:
    """Return the number of features of one block.

    Example:
        >>> from mien.descriptors.integral_projection import block_size
        >>> block_size()
        630
    """
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
        raise MienError(f"radius is {radius}.", "a number above 0, at most 64.", "`radius=1`.")
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
    vectors = []
    for down, across in checked:
        bands, strips = spans(levels.shape[1], down), spans(levels.shape[2], across)
        # The sums are whole numbers, so that comparisons of equal sums are exact.
        column_sums = np.stack([change[:, a:b].sum(1) for a, b in bands], 1)  # (t, down, x)
        row_sums = np.stack([change[:, :, a:b].sum(2) for a, b in strips], 1)  # (t, across, y)
        parts = []
        for sums, cuts, across_first in ((row_sums, bands, True), (column_sums, strips, False)):
            appearance = _line_patterns(sums, cuts, mask)
            motion = _motion_patterns(sums, cuts, radius, neighbours, mapping, interpolation)
            parts.append([np.swapaxes(p, 0, 1) if across_first else p for p in (appearance, motion)])
        (row_appearance, row_motion), (column_appearance, column_motion) = parts
        counts = (row_appearance, column_appearance, column_motion, row_motion)
        vectors.append(np.concatenate([shares(p) if normalise else p for p in counts], -1).ravel())
    return np.concatenate(vectors).astype(np.float64)


def _line_patterns(sums: Array, cuts: Sequence[tuple[int, int]], mask: int) -> Array:
    """Count the 1-D patterns of sums (t, lines, positions) in each cut: (lines, cuts, 2^(mask - 1))."""
    half = mask // 2
    patterns = Patterns(sums, (0, 0, half), len(sums))
    offsets = [(step * UNIT, 0) for step in range(-half, half + 1) if step]
    counts = np.zeros((sums.shape[1], len(cuts), 1 << (mask - 1)), np.int64)
    for _ in patterns.pieces():
        _count(patterns.patterns((2, 0), offsets), cuts, half, counts)
    return counts


def _motion_patterns(
    sums: Array,
    cuts: Sequence[tuple[int, int]],
    radius: float,
    neighbours: int,
    mapping: Mapping,
    interpolation: Interpolation,
) -> Array:
    """Count the patterns of the pictures (frames, positions) in each cut: (lines, cuts, bins)."""
    reach = int(np.ceil(radius))
    patterns = Patterns(sums, (reach, 0, reach), len(sums))
    offsets = ring(neighbours, radius, radius, interpolation)
    counts = np.zeros((sums.shape[1], len(cuts), n_bins(neighbours, mapping)), np.int64)
    for _ in patterns.pieces():
        codes = patterns.patterns((2, 0), offsets)
        _count(uniform_map(neighbours)[0][codes] if mapping == "uniform" else codes, cuts, reach, counts)
    return counts


def _count(codes: Array, cuts: Sequence[tuple[int, int]], margin: int, counts: Array) -> None:
    """Add to the counts of each cut the codes (t, lines, positions - 2 * margin) whose neighbours are all inside it."""
    _, lines, _ = codes.shape
    n = counts.shape[-1]
    base = (np.arange(lines) * n)[None, :, None]
    for place, (start, stop) in enumerate(cuts):
        inside = codes[:, :, start : stop - 2 * margin]
        counts[:, place] += np.bincount((base + inside).ravel(), minlength=lines * n).reshape(lines, n)
