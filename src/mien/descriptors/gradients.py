"""HIGO-TOP and HOG-TOP: histograms of gradient orientations on three orthogonal planes.

Source: Li, Hong, Moilanen, Huang, Pfister, Zhao, Pietikainen, "Towards reading hidden emotions: a comparative study of
spontaneous micro-expression spotting and recognition methods", TAC 2018, section 3.2.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mien.descriptors.blocks import Array, BlockCounts, check_grid, grey_clip, shares, unit_range_as_levels
from mien.errors import MienError

_AT_ONCE = 1 << 17  # voxels processed at a time
_STEEPEST = 255  # largest difference of two 8-bit levels


def higo_top(
    clip: Array,
    *,
    bins: int = 8,
    blocks: tuple[int, int, int] = (5, 5, 1),
    overlap: float = 0.0,
    normalise: bool = True,
) -> NDArray[np.float64]:
    """Compute histograms of image gradient orientation on three orthogonal planes (HIGO-TOP), without magnitudes.

    A gradient is the difference of the two neighbours of a pixel. Its orientations are the angles of (x, y), (x, t) and
    (y, t), with y pointing down and t forward, over the full circle; bin b starts at the angle 2 pi b / bins. Pixels
    without a gradient are not counted. As the magnitude is ignored, the histograms do not depend on contrast and
    illumination.

    Args:
        clip: (T, H, W) grey levels, at least 3 x 3 x 3; uint8, uint16, or floating point in 0..1 or 0..255.
        bins: Number of orientations, 2..254.
        blocks: Numbers of blocks down, across and over time.
        overlap: Fraction of a block that its neighbour covers too, 0 <= overlap < 1.
        normalise: Whether to divide each histogram by its sum.

    Returns:
        (blocks * 3 * bins,), with the blocks in order of time, down, across, and in each block XY, XT, YT.

    Raises:
        MienError: Fewer than three frames, rows or columns; a colour or constant clip; NaN; a parameter out of range.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.gradients import higo_top
        >>> clip = np.random.default_rng(0).integers(0, 256, (6, 20, 20), np.uint8)
        >>> higo_top(clip, blocks=(2, 2, 1)).shape
        (96,)

    Source: Li et al., TAC 2018, section 3.2.
    """
    return _orientations(clip, "higo_top", bins, blocks, overlap, normalise, steep=False)


def hog_top(
    clip: Array,
    *,
    bins: int = 8,
    blocks: tuple[int, int, int] = (5, 5, 1),
    overlap: float = 0.0,
    normalise: bool = True,
) -> NDArray[np.float64]:
    """Compute histograms of oriented gradients on three orthogonal planes (HOG-TOP): `higo_top` weighted by magnitude.

    Args:
        clip: (T, H, W) grey levels, at least 3 x 3 x 3; uint8, uint16, or floating point in 0..1 or 0..255.
        bins: Number of orientations, 2..254.
        blocks: Numbers of blocks down, across and over time.
        overlap: Fraction of a block that its neighbour covers too, 0 <= overlap < 1.
        normalise: Whether to divide each histogram by its sum.

    Returns:
        (blocks * 3 * bins,), in the order of `higo_top`.

    Raises:
        MienError: As `higo_top`.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.gradients import hog_top
        >>> clip = np.random.default_rng(0).integers(0, 256, (6, 20, 20), np.uint8)
        >>> round(float(hog_top(clip, blocks=(1, 1, 1)).sum()), 6)  # three histograms
        3.0

    Source: Li et al., TAC 2018, section 3.2.
    """
    return _orientations(clip, "hog_top", bins, blocks, overlap, normalise, steep=True)


def _orientations(
    clip: Array, name: str, bins: int, blocks: tuple[int, int, int], overlap: float, normalise: bool, steep: bool
) -> NDArray[np.float64]:
    if int(bins) != bins or not 2 <= bins <= 254:
        raise MienError(f"bins is {bins}.", "a whole number from 2 to 254.", "`bins=8`.")
    grid = check_grid(blocks, overlap)
    clip = np.asarray(clip)
    grey_clip(clip, name, (3, 3, 3), "gradients")
    clip = unit_range_as_levels(clip)
    inner = (clip.shape[0] - 2, clip.shape[1] - 2, clip.shape[2] - 2)
    bytes_only = clip.dtype == np.uint8
    kind: DTypeLike = np.int16 if bytes_only else np.float64
    counts = [BlockCounts(inner, (grid[0], grid[1], grid[2]), overlap, bins + 1, weighted=steep) for _ in range(3)]
    at_once = max(1, _AT_ONCE // (inner[1] * inner[2]))
    mid = slice(1, -1)
    for first in range(0, inner[0], at_once):
        piece: Array = clip[first : first + at_once + 2].astype(kind)
        gx: Array = piece[mid, mid, 2:] - piece[mid, mid, :-2]
        gy: Array = piece[mid, 2:, mid] - piece[mid, :-2, mid]
        gt: Array = piece[2:, mid, mid] - piece[:-2, mid, mid]
        for (a, b), count in zip(((gx, gy), (gx, gt), (gy, gt)), counts, strict=True):
            if bytes_only:
                place: Array = (a + _STEEPEST).astype(np.int32) * (2 * _STEEPEST + 1) + (b + _STEEPEST)
                codes = _table(bins).take(place)
                lengths = _lengths().take(place) if steep else None
            else:
                codes, lengths = _bin(a, b, bins), np.hypot(a, b) if steep else None
            count.add(first, codes, lengths)
    histograms = np.stack([count.histograms() for count in counts], axis=3)[..., :bins]
    return (shares(histograms) if normalise else histograms.astype(np.float64)).ravel()


def _bin(a: Array, b: Array, bins: int) -> NDArray[np.uint8]:
    """Return the orientation bin of (a, b), or `bins` where both are 0."""
    angle = np.arctan2(b, a)
    angle = np.where(angle < 0, angle + 2 * np.pi, angle)
    # For angles just below 2 pi, the sum above can round up to 2 pi.
    turn = np.minimum(np.floor(angle * (bins / (2 * np.pi))), bins - 1)
    return np.where((a == 0) & (b == 0), bins, turn).astype(np.uint8)


@lru_cache(maxsize=4)
def _table(bins: int) -> NDArray[np.uint8]:
    """Return the bin of every pair of 8-bit differences. A look-up is much faster than computing angles."""
    steps = np.arange(-_STEEPEST, _STEEPEST + 1, dtype=np.float64)
    return _bin(steps[:, None], steps[None, :], bins).ravel()


@lru_cache(maxsize=1)
def _lengths() -> NDArray[np.float64]:
    steps = np.arange(-_STEEPEST, _STEEPEST + 1, dtype=np.float64)
    return np.hypot(steps[:, None], steps[None, :]).ravel()
