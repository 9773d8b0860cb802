"""Bi-WOOF: histograms of oriented flow at the apex, weighted by magnitude within blocks and by strain between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.datasets.flow_images import read_flow_picture
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
    """Bi-weighted oriented optical flow.

    Args:
        flow: (..., H, W, 2) displacement from onset to apex in pixels, x then y.
        strain: (..., H, W) optical strain, >= 0, of any unit; None takes that of `flow` ("small": the paper's).
        blocks: Rows and columns of blocks; 8 x 8 in STRCN's tables, 5 x 5 in the authors' code.
        bins: Directions, from -180 degrees on.
        local: Each vector counts its length within its block; False counts 1 (the paper's ablation).
        whole: Each block counts its mean strain within the face; False counts 1.

    Returns:
        (..., rows x columns x bins): blocks along rows, >= 0, of unit length; all 0 where nothing moves.

    Raises:
        MienError: Shapes that do not match, values that are no numbers, negative strain, `blocks` finer than the
            pixels.

    Source: Liong, See, Wong and Phan, "Less is more: micro-expression recognition from video using apex frame", Signal
    Processing: Image Communication 62, 2018, section 3.2. Blocks here do not overlap; the strain of a block is its mean
    and not its sum, which is the same after the last normalisation where blocks are of one size.
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
    """Step: the descriptor of a ready flow picture, whose u and v are (3, H, W) about zero motion and of unit size.

    Strain is read from the picture again, as it is: it begins at 0 there, and its scale drops out.
    """
    strain = read_flow_picture(context.clip.frames[0])[..., 2]
    return np.asarray(bi_woof(np.moveaxis(motion[:2], 0, -1), strain, **settings), np.float32)


def mirror_bi_woof(vectors: NDArray[Any], *, blocks: Sequence[int] = (8, 8), bins: int = 8) -> NDArray[Any]:
    """The descriptor of the mirrored face: columns of blocks reversed, directions reflected.

    Args:
        vectors: (..., rows x columns x bins) of `bi_woof` or of a `hoof` of the whole circle.
        blocks: As given to it.
        bins: As given to it, an even number.

    Returns:
        The same shape. Exactly the descriptor of the mirrored flow where the columns divide the width and no vector
        lies on the border of two bins.

    Raises:
        MienError: An odd number of bins, or vectors of another length.
    """
    rows, columns = int(blocks[0]), int(blocks[1])
    if bins % 2 or vectors.shape[-1] != rows * columns * bins:
        raise MienError(
            f"Vectors of {vectors.shape[-1]} numbers, {bins} bins.",
            f"{rows} x {columns} x {bins} numbers, an even number of bins.",
            "the `blocks` and `bins` that the descriptor was made with.",
        )
    # 180 degrees less the angle, counted from -180 degrees: bin b goes to B / 2 - 1 - b.
    reflected = (bins // 2 - 1 - np.arange(bins)) % bins
    cells = vectors.reshape(*vectors.shape[:-1], rows, columns, bins)
    return np.ascontiguousarray(cells[..., ::-1, :][..., reflected]).reshape(vectors.shape)


def _checked(strain: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    strain = np.asarray(strain)
    if strain.shape != shape:
        raise MienError(f"strain has shape {strain.shape}.", f"{shape}, as the flow.", "`optical_strain(flow)`.")
    if not np.isfinite(strain).all() or strain.min() < 0:
        raise MienError("strain has values that are no strain.", "finite numbers from 0.", "`optical_strain(flow)`.")
    return strain


def _block_means(labels: NDArray[np.int64], values: NDArray[Any]) -> Floats:
    """(N, blocks) means over blocks of (N, pixels)."""
    flat = labels.ravel()
    sums = [np.bincount(flat, row) for row in values]
    return np.asarray(np.stack(sums) / np.bincount(flat))
