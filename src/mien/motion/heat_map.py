"""Heat map and mask of STRCN-A: where faces move in a set of clips, and the pixels that move most.

A heat map over many clips is learned from data. Only a classifier may compute one, inside `fit`, from training clips. A
step sees a single clip and never calls `mean_heat`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.motion.levels import to_grey

Floats = NDArray[np.float64]


def difference_heat(frames: Iterable[NDArray[Any]]) -> Floats:
    """Sum over time how much each pixel of a clip differs from its first frame.

    Args:
        frames: (T, H, W) grey or (T, H, W, 3) RGB, usually magnified, or an iterable of such frames. Any scale of grey
            levels, the same for all frames.

    Returns:
        (H, W), >= 0, in the unit of the frames times number of frames.

    Raises:
        MienError: No frame, or frames of different shapes.

    Example:
        >>> import numpy as np
        >>> from mien.motion.heat_map import difference_heat
        >>> difference_heat(np.array([[[5, 5]], [[7, 5]], [[4, 5]]], np.uint8)).tolist()
        [[3.0, 0.0]]

    Source: STRCN (Xia et al. 2020), equation 4, the inner sum: sum_t |I(t) - I(0)|.
    """
    first: NDArray[np.float32] | None = None
    heat: Floats | None = None
    for frame in frames:
        grey = to_grey(frame)
        if first is None or heat is None:
            first, heat = grey, np.zeros(grey.shape)
        if grey.shape != first.shape:
            raise _sizes_differ(grey.shape, first.shape)
        heat += np.abs(grey - first)
    if heat is None:
        raise MienError("A clip without frames.", "at least one frame.", "`mien check NAME=FOLDER`.")
    return heat


def mean_heat(heats: Iterable[NDArray[np.floating]], per_clip_max: bool = False) -> Floats:
    """Average the heat maps of many clips. Only for training clips: see the docstring of this module.

    Args:
        heats: Heat maps (H, W) from `difference_heat`; an iterable is read one map at a time.
        per_clip_max: Whether to divide each map by its maximum first, as the released code does, so that long clips and
            large movements do not weigh more than others. A clip without any change counts as 0.

    Returns:
        (H, W), >= 0; at most 1 with `per_clip_max`.

    Raises:
        MienError: No map, or maps of different sizes.

    Example:
        >>> import numpy as np
        >>> from mien.motion.heat_map import mean_heat
        >>> mean_heat([np.array([[2.0, 0.0]]), np.array([[4.0, 8.0]])]).tolist()
        [[3.0, 4.0]]
        >>> mean_heat([np.array([[2.0, 0.0]]), np.array([[4.0, 8.0]])], per_clip_max=True).tolist()
        [[0.75, 0.5]]

    Source: STRCN (Xia et al. 2020), equation 4, divided by the number of clips, which does not change the mask.
    """
    total: Floats | None = None
    count = 0
    for heat in heats:
        if total is None:
            total = np.zeros(heat.shape)
        if heat.shape != total.shape:
            raise _sizes_differ(heat.shape, total.shape)
        scale = float(heat.max()) if per_clip_max else 1.0
        if scale > 0:
            total += heat / scale
        count += 1
    if total is None:
        raise MienError("No heat map to average.", "at least one training clip.", "`mien check NAME=FOLDER`.")
    return np.asarray(total / count)


def top_mask(heat: NDArray[np.floating], share: float = 0.30, opening: int = 0) -> NDArray[np.bool_]:
    """Select the pixels of a heat map with the largest values.

    Args:
        heat: (H, W), finite.
        share: Fraction of the pixels to select, 0 < share <= 1. Exactly floor(share H W + 1/2) pixels are selected: 922
            of 64 x 48 for 0.3. Of equal values the upper ones come first, within a row the left ones.
        opening: Radius in pixels, >= 0, of a disk (all points within it) for a morphological opening of the mask. It
            removes small specks, so that fewer pixels remain. 0 leaves the mask as it is.

    Returns:
        (H, W), True for selected pixels.

    Raises:
        MienError: A share outside 0..1, a negative radius, or a map with values that are not finite.

    Example:
        >>> import numpy as np
        >>> from mien.motion.heat_map import top_mask
        >>> top_mask(np.array([[1.0, 4.0], [3.0, 2.0]]), share=0.5).tolist()
        [[False, True], [True, False]]

    Source: STRCN (Xia et al. 2020), section III-C1; share in section IV-A. The released code uses `share=0.25,
    opening=1` on a map made with `per_clip_max=True`.
    """
    if not 0 < share <= 1 or opening < 0:
        raise MienError(
            f"A mask with a share of {share:g} and an opening of {opening:g} pixels.",
            "0 < share <= 1 and a radius of 0 or more.",
            "`share=0.3, opening=0`.",
        )
    if heat.ndim != 2 or not np.isfinite(heat).all():
        raise MienError(
            f"A heat map of shape {heat.shape}{'' if np.isfinite(heat).all() else ' with NaN or infinite values'}.",
            "(H, W) finite numbers.",
            "`mean_heat(heats)`.",
        )
    mask = np.zeros(heat.size, bool)
    mask[np.argsort(-heat.ravel(), kind="stable")[: math.floor(share * heat.size + 0.5)]] = True
    if opening:
        y, x = np.ogrid[-opening : opening + 1, -opening : opening + 1]
        disk = (y**2 + x**2 <= opening**2).astype(np.uint8)
        opened = cv2.morphologyEx(mask.reshape(heat.shape).astype(np.uint8), cv2.MORPH_OPEN, disk)
        return np.asarray(opened, bool)
    return mask.reshape(heat.shape)


def _sizes_differ(found: tuple[int, ...], before: tuple[int, ...]) -> MienError:
    return MienError(
        f"A picture of {found} pixels after one of {before}.", "one size for all.", "`mien check NAME=FOLDER`."
    )
