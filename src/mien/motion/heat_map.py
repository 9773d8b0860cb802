"""Where faces move in a set of clips: the heat map of STRCN-A and the mask of its hottest pixels.

A heat map of many clips is learned from them. Only a classifier may make one, inside `fit`, from training clips; a step
sees one clip and never calls `mean_heat`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.motion.apex import grey_levels

Floats = NDArray[np.float64]


def difference_heat(frames: Iterable[NDArray[Any]]) -> Floats:
    """How much each pixel of one clip differs from its first frame, summed over time.

    Args:
        frames: (T, H, W) grey or (T, H, W, 3) RGB, or anything that yields such frames one by one; usually magnified.

    Returns:
        (H, W) >= 0, in grey levels times frames.

    Raises:
        MienError: No frame, or frames of another shape.

    Source: STRCN (Xia et al. 2020), equation 4, the inner sum: sum_t |I(t) - I(0)|.
    """
    first: NDArray[np.float32] | None = None
    heat: Floats | None = None
    for frame in frames:
        grey = grey_levels(frame)
        if first is None or heat is None:
            first, heat = grey, np.zeros(grey.shape)
        if grey.shape != first.shape:
            raise _sizes_differ(grey.shape, first.shape)
        heat += np.abs(grey - first)
    if heat is None:
        raise MienError("A clip without frames.", "at least one frame.", "`mien check NAME=FOLDER`.")
    return heat


def mean_heat(heats: Iterable[NDArray[np.floating]], per_clip_max: bool = False) -> Floats:
    """One heat map of many clips. For training clips only: see the head of this module.

    Args:
        heats: (H, W) each, from `difference_heat`; one is held at a time.
        per_clip_max: Divide each by its largest value first, as the released code does, so that long clips and large
            movements count no more than others; a clip without any change counts as 0.

    Returns:
        (H, W) >= 0, at most 1 with `per_clip_max`.

    Raises:
        MienError: No clip, or maps of different sizes.

    Source: STRCN (Xia et al. 2020), equation 4, divided by the number of clips, which leaves the mask as it is.
    """
    total: Floats | None = None
    count = 0
    for heat in heats:
        if total is None:
            total = np.zeros(heat.shape)
        if heat.shape != total.shape:
            raise _sizes_differ(heat.shape, total.shape)
        most = float(heat.max()) if per_clip_max else 1.0
        if most > 0:
            total += heat / most
        count += 1
    if total is None:
        raise MienError("No clip to take a heat map of.", "at least one training clip.", "`mien check NAME=FOLDER`.")
    return np.asarray(total / count)


def top_mask(heat: NDArray[np.floating], share: float = 0.30, opening: int = 0) -> NDArray[np.bool_]:
    """The hottest pixels of a heat map.

    Args:
        heat: (H, W), finite.
        share: Part of the pixels to take, 0 < share <= 1: exactly floor(share H W + 1/2) of them, 922 of 64 x 48.
            Among equals the upper ones, and in a row the left ones, come first.
        opening: Radius in pixels of a disk (all points within it) by which the mask is then opened, so that specks
            vanish and fewer pixels are left; 0 leaves the mask as it is.

    Returns:
        (H, W), True where hot.

    Raises:
        MienError: A share outside 0..1, a negative radius, or a map that is not finite.

    Source: STRCN (Xia et al. 2020), section III-C1, share in section IV-A. The released code takes
    `share=0.25, opening=1` of a map made with `per_clip_max`.
    """
    if not 0 < share <= 1 or opening < 0:
        raise MienError(
            f"A mask of a share of {share:g}, opened by {opening:g} pixels.",
            "0 < share <= 1 and a radius of 0 or more.",
            "`share=0.3, opening=0`.",
        )
    if heat.ndim != 2 or not np.isfinite(heat).all():
        raise MienError(
            f"A heat map of shape {heat.shape}, finite or not.", "(H, W) finite numbers.", "`mean_heat(heats)`."
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
    return MienError(f"A picture of {found} after one of {before}.", "one size for all.", "`mien check NAME=FOLDER`.")
