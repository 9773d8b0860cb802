"""LBP-TICS: LBP-TOP of the three channels of a colour space whose channels are as independent as possible.

Red, green and blue of a face say nearly the same. The space is learned from training clips, by independent component
analysis of their pixels' colours, so the classifier learns it (`mien.classifiers.colour_texture`), not a recipe.

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

_STEPS = 255 * 128  # red, green and blue themselves stay whole


def learn_colour_space(pixels: Array, *, seed: int = 0, max_iter: int = 500) -> NDArray[np.float64]:
    """A colour transform with channels as independent as possible over some pixels, by FastICA on the colour mode.

    Args:
        pixels: (..., 3) RGB of training clips, on any scale; some ten thousand are enough.
        seed: Starts the search.
        max_iter: Steps of the search; where it has not settled by then, its last state is taken.

    Returns:
        (3, 3), a row for each new channel, unit length; channels that follow brightness most come first, and each is
        turned so that it does.

    Raises:
        MienError: NaN, or pixels without colour: grey ones lie on a line and have no three components.

    Source: Wang, Yan, Li, Zhao, Zhou, Fu, TIP 2015 (tensor independent colour space), with FastICA for its
        own optimiser; docs/methods/lbp-tics.md.
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
    spread = np.linalg.eigvalsh(np.cov(colours, rowvar=False))
    if spread[0] <= 1e-9 * max(spread[-1], 1e-300):
        raise MienError(
            "pixels has no three colours: the channels are copies of each other (grey frames, or one colour).",
            "colour clips; SAMM, for one, is grey.",
            "another database, or `--system lbp-top`.",
        )
    search = FastICA(3, whiten="unit-variance", random_state=seed, max_iter=max_iter, tol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(colours)
    rows = search.components_ / np.linalg.norm(search.components_, axis=1, keepdims=True)
    brightness = colours.mean(1)
    follows = np.array([np.corrcoef(colours @ row, brightness)[0, 1] for row in rows])
    order = np.argsort(-np.abs(follows), kind="stable")
    return np.asarray((rows * np.where(follows < 0, -1, 1)[:, None])[order])


def to_colour_space(clip: Array, transform: Array) -> NDArray[np.int16]:
    """The channels of a colour space, each from 0 to 32640 over all colours that 8 bits hold.

    Whole numbers, so that patches of one colour have ties in every channel.

    Args:
        clip: (T, H, W, 3), 0..255.
        transform: (3, 3), a row for each channel.

    Returns:
        (3, T, H, W).

    Raises:
        MienError: A transform that is not 3x3 and finite, or with an empty row.
    """
    matrix = np.asarray(transform, np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or not np.abs(matrix).sum(1).all():
        raise MienError(
            f"transform has the shape {matrix.shape}, or an empty or infinite row.",
            "(3, 3), a row for each channel.",
            "`learn_colour_space(pixels)`, or `np.eye(3)` for RGB.",
        )
    low, high = 255 * np.minimum(matrix, 0).sum(1), 255 * np.maximum(matrix, 0).sum(1)
    scale = _STEPS / (high - low)
    weights, shifts = (matrix * scale[:, None]).astype(np.float32), (-low * scale).astype(np.float32)
    made = np.empty((3, *clip.shape[:3]), np.int16)
    for frame, picture in enumerate(clip):  # frame by frame, in cache
        red, green, blue = np.moveaxis(picture, -1, 0).astype(np.float32)
        for channel in range(3):
            # Not a matrix product: its order of sums may differ from pixel to pixel, and equal colours must stay equal.
            total = red * weights[channel, 0]
            total += green * weights[channel, 1]
            total += blue * weights[channel, 2]
            total += shifts[channel]
            made[channel, frame] = np.rint(total, out=total)
    return made


def lbp_tics(clip: Array, transform: Array, **settings: Any) -> NDArray[np.float64]:
    """LBP-TOP of each channel of a learned colour space.

    Args:
        clip: (T, H, W, 3) RGB, 0..255.
        transform: (3, 3) of `learn_colour_space`.
        settings: Parameters of `lbp_top`.

    Returns:
        (3 * n,): the three channels' LBP-TOP.

    Raises:
        MienError: Grey frames; a wrong transform; as `lbp_top`.

    Source: Wang, Yan, Li, Zhao, Zhou, Fu, TIP 2015 (tensor independent colour space), with FastICA for its
        own optimiser; docs/methods/lbp-tics.md.
    """
    colour_clip(clip, "lbp_tics")
    return np.concatenate([lbp_top(channel, **settings) for channel in to_colour_space(clip, transform)])
