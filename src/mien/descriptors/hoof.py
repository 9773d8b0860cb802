"""Histograms of oriented optical flow (HOOF) over blocks of the face, and orientation bins for other descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.descriptors.blocks import check_grid, shares, spans
from mien.errors import MienError
from mien.preprocessing.base import Array, Context

Floats = NDArray[np.float64]


def orientation_bins(flow: NDArray[Any], bins: int = 8, centred: bool = False) -> NDArray[np.int64]:
    """Return the orientation bin of each flow vector.

    Angles are computed within a quarter of the circle. So, if the number of bins is a multiple of four, rotating a
    vector by 90 degrees moves it by exactly a quarter of the bins, without rounding errors.

    Args:
        flow: (..., 2) displacement, x then y.
        bins: Number of bins, B.
        centred: False: bin 0 starts at -180 degrees (Bi-WOOF). True: bin 0 is centred on 0 degrees (MDMO).

    Returns:
        (...) integers 0..B - 1, increasing with the angle atan2(y, x), which is clockwise on the screen because y
        points down. Vectors of length 0 count as 0 degrees.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.hoof import orientation_bins
        >>> orientation_bins(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), bins=4, centred=True).tolist()
        [0, 1, 2]
    """
    x, y = np.asarray(flow[..., 0], np.float64), np.asarray(flow[..., 1], np.float64)
    # Rotate by 180 and then by 90 degrees until the vector is in the first quarter: along > 0, across >= 0.
    half = (y < 0) | ((y == 0) & (x < 0))
    sign = np.where(half, -1.0, 1.0)
    x, y = x * sign, y * sign
    left = (y > 0) & (x <= 0)
    along, across = np.where(left, y, x), np.where(left, -x, y)
    start = 0.5 if centred else 0.5 * bins
    if bins % 4:
        quarters = 2 * half + left + np.arctan2(across, along) / (0.5 * np.pi)
        return np.asarray(np.floor(quarters * (bins / 4) + start), np.int64) % bins
    m = bins // 4
    code = (2 * m * half + m * left + int(start)).astype(np.int64)
    for edge in np.arange(m) + 0.5 if start % 1 else np.arange(1.0, m):
        # The sine is computed as the cosine of the complement, so that both are exactly equal at 45 degrees.
        cosine, sine = np.cos(0.5 * np.pi * edge / m), np.cos(0.5 * np.pi * (m - edge) / m)
        code += (across * cosine >= along * sine) & (across > 0)
    return np.asarray(code % bins)


def block_labels(height: int, width: int, blocks: Sequence[int]) -> NDArray[np.int64]:
    """Return the block of each pixel, counted along rows: (height, width). Blocks do not overlap and cover all pixels.

    Raises:
        MienError: `blocks` is not two whole numbers >= 1, or has more rows or columns than the picture.
    """
    rows, columns = check_grid(blocks, 0.0, 2)
    if rows > height or columns > width:
        raise MienError(
            f"blocks={[rows, columns]} for {height}x{width} pixels.",
            "at least one pixel for every block.",
            f"`blocks={[min(rows, height), min(columns, width)]}`, or a larger picture.",
        )
    down, along = (
        np.searchsorted([start for start, _ in spans(side, n)][1:], np.arange(side), side="right")
        for side, n in ((height, rows), (width, columns))
    )
    return np.asarray(down[:, None] * columns + along, np.int64)


def check_flow(flow: NDArray[Any], least_axes: int = 3) -> NDArray[Any]:
    """Check shape and values of one or several flow fields, and return them as an array.

    Raises:
        MienError: Another shape, no pixel, or NaN or infinity.
    """
    flow = np.asarray(flow)
    if flow.ndim < least_axes or flow.shape[-1] != 2 or 0 in flow.shape:
        raise MienError(
            f"flow has shape {flow.shape}.",
            f"{'(T, H, W, 2)' if least_axes == 4 else '(..., H, W, 2)'}, displacement in x then y.",
            "`mien.motion.flow.optical_flow(first, second)`.",
        )
    if flow.dtype.kind not in "fiu" or not np.isfinite(flow).all():
        raise MienError("flow has values that are not numbers.", "finite displacements.", "`np.nan_to_num(flow)`.")
    return flow


def lengths(flow: NDArray[Any]) -> Floats:
    """Return the lengths (...) of vectors (..., 2), in their unit."""
    x, y = np.asarray(flow[..., 0], np.float64), np.asarray(flow[..., 1], np.float64)
    return np.asarray(np.sqrt(x * x + y * y))


def check_bins(bins: int, least: int = 2) -> int:
    """Check a number of orientation bins and return it as int.

    Raises:
        MienError: Not a whole number >= `least`.
    """
    if int(bins) != bins or bins < least:
        raise MienError(f"bins is {bins}.", f"a whole number from {least} on.", "`bins=8`.")
    return int(bins)


def oriented_histograms(
    fields: NDArray[Any], labels: NDArray[np.int64], bins: int, weighted: bool, symmetric: bool = False
) -> Floats:
    """Compute histograms of direction over the blocks of many flow fields.

    Args:
        fields: (N, H, W, 2) displacement in pixels, x then y.
        labels: (H, W) block of each pixel, from `block_labels`.
        bins: Number of bins, K.
        weighted: Whether a vector counts its length; otherwise 1, or 0 if its length is 0.
        symmetric: See `hoof`.

    Returns:
        (N, blocks, K).
    """
    n_blocks = int(labels[-1, -1]) + 1
    first = labels * bins
    result = np.empty((len(fields), n_blocks, bins))
    for n, field in enumerate(fields):  # one at a time, to fit into the processor's cache
        length = lengths(field)
        if symmetric:
            angle = np.arctan2(field[..., 1].astype(np.float64), np.abs(field[..., 0].astype(np.float64)))
            codes = np.minimum(np.floor((angle / np.pi + 0.5) * bins).astype(np.int64), bins - 1)
        else:
            codes = orientation_bins(field, bins)
        weights = length if weighted else (length > 0).astype(np.float64)
        result[n] = np.bincount((first + codes).ravel(), weights.ravel(), n_blocks * bins).reshape(n_blocks, bins)
    return result


def hoof(
    flow: NDArray[Any], *, bins: int = 8, blocks: Sequence[int] = (1, 1), symmetric: bool = False, weighted: bool = True
) -> Floats:
    """Compute histograms of oriented optical flow: the share of motion in each direction, regardless of its strength.

    Args:
        flow: (..., H, W, 2) displacement in pixels, x then y.
        bins: Number of directions.
        blocks: Numbers of rows and columns of blocks; each block has its own histogram.
        symmetric: True: left and right count as the same direction, as in the paper; bins divide -90 to 90 degrees, and
            a mirrored picture has the same histogram. False: bins divide the full circle from -180 degrees on, as
            papers on micro-expressions do.
        weighted: Whether a vector counts its length, as in the paper; otherwise every vector with a length counts 1.

    Returns:
        (..., rows * columns * bins). Each block sums to 1, or is 0 where nothing moves.

    Raises:
        MienError: Flow of another shape or with NaN, more blocks than pixels, or `bins` out of range.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.hoof import hoof
        >>> hoof(np.full((16, 16, 2), (1.0, 0.5)), bins=4).tolist()  # all motion in one quarter
        [0.0, 0.0, 1.0, 0.0]

    Source: Chaudhry, Ravichandran, Hager and Vidal, "Histograms of oriented optical flow and Binet-Cauchy kernels on
    nonlinear dynamical systems for the recognition of human actions", CVPR 2009, section 3, equation 1.
    """
    flow, bins = check_flow(flow), check_bins(bins)
    labels = block_labels(flow.shape[-3], flow.shape[-2], blocks)
    counts = oriented_histograms(flow.reshape(-1, *flow.shape[-3:]), labels, bins, weighted, symmetric)
    return shares(counts).reshape(*flow.shape[:-3], -1)


def picture_hoof(motion: Array, context: Context, **settings: Any) -> Array:
    """Step: compute the HOOF of a ready flow picture, whose u and v are (3, H, W) centred on zero motion."""
    return np.asarray(hoof(np.moveaxis(motion[:2], 0, -1), **settings), np.float32)
