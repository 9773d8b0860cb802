"""LBP-TICS: LBP-TOP of the channels of a colour space that are as independent as possible.

Red, green and blue of a face are highly correlated. The colour space is learned from training clips by independent
component analysis of their pixels. So the classifier learns it (`mien.classifiers.colour_texture`), not a recipe.

Source: Wang, Yan, Li, Zhao, Zhou, Fu, Yang, Tao, "Micro-expression recognition using color spaces", TIP 2015.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.descriptors.blocks import Array, colour_clip
from mien.descriptors.lbp import lbp_top
from mien.errors import MienError
from mien.motion.levels import as_levels

_STEPS = 255 * 128  # a multiple of 255, so that red, green and blue themselves stay whole numbers


def learn_colour_space(pixels: Array, *, seed: int = 0, max_iter: int = 500) -> NDArray[np.float64]:
    """Learn a colour transform whose channels are as independent as possible, by FastICA on the colours of pixels.

    Args:
        pixels: (..., 3) RGB of training clips, on any scale; some ten thousand are enough.
        seed: Seed of the search.
        max_iter: Maximum number of iterations. If the search has not converged by then, its last state is used.

    Returns:
        (3, 3), one row per new channel, each of unit length and with positive correlation with brightness; in
        descending order of that correlation.

    Raises:
        MienError: NaN, or pixels without colour, whose channels are copies of each other.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.colour_space import learn_colour_space
        >>> learn_colour_space(np.random.default_rng(0).uniform(0, 255, (500, 3))).shape
        (3, 3)

    Source: Wang, Yan, Li, Zhao, Zhou, Fu, TIP 2015 (tensor independent colour space). FastICA replaces the authors'
    optimiser; see docs/methods/lbp-tics.md.
    """
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    colours = np.asarray(pixels, np.float64).reshape(-1, np.shape(pixels)[-1] if np.ndim(pixels) else 1)
    if colours.shape[1] != 3 or len(colours) < 4:
        raise MienError(
            f"pixels has the shape {np.shape(pixels)}.",
            "at least four RGB pixels (..., 3).",
            "colour clips, (T, H, W, 3).",
        )
    if not np.isfinite(colours).all():
        raise MienError("pixels holds NaN or infinity.", "finite numbers.", "`np.nan_to_num(pixels)`.")
    variances = np.linalg.eigvalsh(np.cov(colours, rowvar=False))
    if variances[0] <= 1e-9 * max(variances[-1], 1e-300):
        raise MienError(
            "pixels have no colour: the channels are copies of each other (grey frames, or a single colour).",
            "colour clips (SAMM, for example, is grey).",
            "another database, or `--system lbp-top`.",
        )
    search = FastICA(3, whiten="unit-variance", random_state=seed, max_iter=max_iter, tol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(colours)
    rows = search.components_ / np.linalg.norm(search.components_, axis=1, keepdims=True)
    brightness = colours.mean(1)
    correlations = np.array([np.corrcoef(colours @ row, brightness)[0, 1] for row in rows])
    order = np.argsort(-np.abs(correlations), kind="stable")
    return np.asarray((rows * np.where(correlations < 0, -1, 1)[:, None])[order])


def to_colour_space(clip: Array, transform: Array) -> NDArray[np.int16]:
    """Transform a clip to a colour space, with channels scaled to 0..32640 over all 8-bit colours.

    The result has whole numbers, so that patches of one colour have equal values in every channel.

    Args:
        clip: (T, H, W, 3) RGB; uint8, uint16, or floating point in 0..1 or 0..255.
        transform: (3, 3), one row per channel, from `learn_colour_space`.

    Returns:
        (3, T, H, W) int16.

    Raises:
        MienError: A transform that is not (3, 3) and finite, or has a row of zeros; a clip on another scale.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.colour_space import to_colour_space
        >>> to_colour_space(np.full((1, 1, 1, 3), (0, 51, 255), np.uint8), np.eye(3)).ravel().tolist()
        [0, 6528, 32640]
    """
    matrix = np.asarray(transform, np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or not np.abs(matrix).sum(1).all():
        raise MienError(
            f"transform has the shape {matrix.shape}, or a row that is zero or infinite.",
            "(3, 3), one row per channel.",
            "`learn_colour_space(pixels)`, or `np.eye(3)` for RGB.",
        )
    low, high = 255 * np.minimum(matrix, 0).sum(1), 255 * np.maximum(matrix, 0).sum(1)
    scale = _STEPS / (high - low)
    weights, shifts = (matrix * scale[:, None]).astype(np.float32), (-low * scale).astype(np.float32)
    (levels,) = as_levels(clip)
    channels = np.empty((3, *levels.shape[:3]), np.int16)
    for frame, picture in enumerate(levels):  # frame by frame, to fit into the processor's cache
        red, green, blue = np.moveaxis(picture, -1, 0).astype(np.float32)
        for channel in range(3):
            # A matrix product may add in a different order from pixel to pixel, but equal colours must stay equal.
            total = red * weights[channel, 0]
            total += green * weights[channel, 1]
            total += blue * weights[channel, 2]
            total += shifts[channel]
            channels[channel, frame] = np.rint(total, out=total)
    return channels


def lbp_tics(clip: Array, transform: Array, **settings: Any) -> NDArray[np.float64]:
    """Compute LBP-TOP of each channel of a learned colour space (LBP-TICS).

    Args:
        clip: (T, H, W, 3) RGB; uint8, uint16, or floating point in 0..1 or 0..255.
        transform: (3, 3), one row per channel, from `learn_colour_space`.
        settings: Parameters of `mien.descriptors.lbp.lbp_top`.

    Returns:
        (3 * n,), with n the length of LBP-TOP.

    Raises:
        MienError: Grey frames, an invalid transform, or as `lbp_top`.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.colour_space import lbp_tics
        >>> clip = np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3), np.uint8)
        >>> lbp_tics(clip, np.eye(3), blocks=(1, 1, 1)).shape
        (531,)

    Source: Wang, Yan, Li, Zhao, Zhou, Fu, TIP 2015 (tensor independent colour space). FastICA replaces the authors'
    optimiser; see docs/methods/lbp-tics.md.
    """
    colour_clip(clip, "lbp_tics")
    return np.concatenate([lbp_top(channel, **settings) for channel in to_colour_space(clip, transform)])
