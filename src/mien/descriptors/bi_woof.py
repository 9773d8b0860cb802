"""Bi-WOOF: histograms of oriented flow at the apex, weighted by magnitude in blocks and by strain between blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.descriptors.blocks import shares
from mien.descriptors.hoof import (
    Floats,
    block_labels,
    check_bins,
    check_flow,
    oriented_histograms,
)
from mien.errors import MienError
from mien.motion.strain import optical_strain
from mien.preprocessing.base import Array, Context


def bi_woof(
    flow: NDArray[Any],
    strain: NDArray[Any] | None = None,
    *,
    blocks: Sequence[int] = (8, 8),
    bins: int = 8,
    local: bool = True,
    whole: bool = True,
) -> Floats:
    """Compute the bi-weighted oriented optical flow (Bi-WOOF).

    Args:
        flow: (..., H, W, 2) displacement from onset to apex in pixels, x then y.
        strain: (..., H, W) optical strain, >= 0, in any unit; None computes it from `flow` (variant "small", as in the
            paper).
        blocks: Numbers of rows and columns of blocks: 8 x 8 in STRCN's tables, 5 x 5 in the authors' code.
        bins: Number of directions, from -180 degrees on.
        local: Whether a vector counts its length within its block; otherwise 1 (an ablation in the paper).
        whole: Whether a block is weighted by its mean strain; otherwise by 1 (an ablation in the paper).

    Returns:
        (..., rows * columns * bins), blocks along rows, >= 0, of unit length; all 0 where nothing moves.

    Raises:
        MienError: Shapes that do not match, NaN, negative strain, or more blocks than pixels.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.bi_woof import bi_woof
        >>> flow = np.random.default_rng(0).normal(size=(40, 40, 2))
        >>> bi_woof(flow, blocks=(5, 5)).shape
        (200,)

    Source: Liong, See, Wong and Phan, "Less is more: micro-expression recognition from video using apex frame", Signal
    Processing: Image Communication 62, 2018, section 3.2. Here blocks do not overlap, and the strain of a block is its
    mean instead of its sum, which makes no difference after normalisation if all blocks are of the same size.
    """
    flow, bins = check_flow(flow), check_bins(bins)
    labels = block_labels(flow.shape[-3], flow.shape[-2], blocks)
    fields = flow.reshape(-1, *flow.shape[-3:])
    histograms = shares(oriented_histograms(fields, labels, bins, local))
    if whole:
        stretch = optical_strain(fields, "small") if strain is None else _checked(strain, flow.shape[:-1])
        histograms *= _block_means(labels, stretch.reshape(-1, labels.size))[..., None]
    vectors = histograms.reshape(len(fields), -1)
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norm > 0, norm, 1)).reshape(*flow.shape[:-3], -1)


def picture_bi_woof(motion: Array, context: Context, **settings: Any) -> Array:
    """Step: compute the Bi-WOOF of a ready flow picture, whose u and v are (3, H, W) centred on zero motion.

    Strain is read from the picture again: there it starts at 0, and its scale has no effect.
    """
    from mien.datasets.flow_images import read_flow_picture

    strain = read_flow_picture(context.clip.frames[0])[..., 2]
    return np.asarray(bi_woof(np.moveaxis(motion[:2], 0, -1), strain, **settings), np.float32)


def mirror_bi_woof(vectors: NDArray[Any], *, blocks: Sequence[int] = (8, 8), bins: int = 8) -> NDArray[Any]:
    """Return the descriptor of the mirrored face: columns of blocks reversed, directions reflected.

    Args:
        vectors: (..., rows * columns * bins) of `bi_woof`, or of `hoof` with `symmetric=False`.
        blocks: As given to that function.
        bins: As given to that function, an even number.

    Returns:
        The same shape. Exactly the descriptor of the mirrored flow if the columns divide the width and no vector is on
        the border of two bins.

    Raises:
        MienError: An odd number of bins, or vectors of another length.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.bi_woof import mirror_bi_woof
        >>> mirror_bi_woof(np.array([1.0, 0.0, 0.0, 0.0]), blocks=(1, 1), bins=4).tolist()
        [0.0, 1.0, 0.0, 0.0]
    """
    rows, columns = int(blocks[0]), int(blocks[1])
    if bins % 2 or vectors.shape[-1] != rows * columns * bins:
        raise MienError(
            f"Vectors of {vectors.shape[-1]} numbers, {bins} bins.",
            f"{rows} x {columns} x {bins} numbers, an even number of bins.",
            "the `blocks` and `bins` that were given to the descriptor.",
        )
    # The angle becomes 180 degrees minus itself. With bins counted from -180 degrees, bin b becomes B / 2 - 1 - b.
    reflected = (bins // 2 - 1 - np.arange(bins)) % bins
    cells = vectors.reshape(*vectors.shape[:-1], rows, columns, bins)
    return np.ascontiguousarray(cells[..., ::-1, :][..., reflected]).reshape(vectors.shape)


def _checked(strain: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    strain = np.asarray(strain)
    if strain.shape != shape:
        raise MienError(f"strain has shape {strain.shape}.", f"{shape}, as the flow.", "`optical_strain(flow)`.")
    if not np.isfinite(strain).all() or strain.min() < 0:
        raise MienError(
            "strain has negative, NaN or infinite values.", "finite numbers from 0 on.", "`optical_strain(flow)`."
        )
    return strain


def _block_means(labels: NDArray[np.int64], values: NDArray[Any]) -> Floats:
    """Return the means (N, blocks) over blocks of values (N, pixels)."""
    flat = labels.ravel()
    sums = [np.bincount(flat, row) for row in values]
    return np.asarray(np.stack(sums) / np.bincount(flat))
