"""Steps and recipes of published networks on flow pictures: sizes other than 28x28, and channels stretched anew."""

from __future__ import annotations

import numpy as np

from mien.io.opencv import cv2
from mien.preprocessing import steps
from mien.preprocessing.base import Array, Context, Recipe, Step
from mien.preprocessing.named import FLOW_PICTURE, flow_from_frames


def resize_channels(channels: Array, context: Context, *, size: int) -> Array:
    """Step: resize (C, H, W) to (C, size, size), bilinear; when it gets smaller, areas are averaged."""
    method = cv2.INTER_AREA if size < min(channels.shape[1:]) else cv2.INTER_LINEAR
    return np.stack([cv2.resize(np.float32(c), (size, size), interpolation=method) for c in channels])


def ready_flow(size: int = 28, stretched: bool = False) -> Recipe:
    """Return the recipe of ready flow pictures at a size, 0..255.

    Args:
        size: Side of the result in pixels; ready pictures have 28 and are enlarged.
        stretched: Stretch each channel to 0..255 afterwards, as some published sets already are.

    Example:
        >>> ready_flow(64).shape
        (3, 64, 64)
    """
    resized = (Step("resize_channels", resize_channels, {"size": size}),) if size != 28 else ()
    stretch = (Step("scale_each_channel", steps.scale_each_channel),) if stretched else ()
    return Recipe((*FLOW_PICTURE.steps, *resized, *stretch), "CHW", (3, size, size), (0.0, 255.0))


def flow_at(size: int = 28) -> Recipe:
    """Return the recipe of TV-L1 flow from onset to apex at a size, each channel stretched to 0..255."""
    return flow_from_frames("tvl1", size=size)


def centre_levels(channels: Array, context: Context) -> Array:
    """Step: (level - 128) / 128 of (C, H, W) of levels 0..255."""
    return ((channels - 128.0) / 128.0).astype(np.float32)


def centred_flow_at(size: int) -> Recipe:
    """Return the recipe of ready flow pictures at a size, about zero, -1..1."""
    return Recipe((*ready_flow(size).steps, Step("centre_levels", centre_levels)), "CHW", (3, size, size), (-1.0, 1.0))


def raw_flow_at(size: int) -> Recipe:
    """Return the recipe of TV-L1 flow from onset to apex in pixels, and strain, of frames of size x size."""
    return Recipe(
        (
            Step("onset_apex_pair", steps.onset_apex_pair),
            Step("resize", steps.resize, {"size": [size, size]}),
            Step("flow_of_pair", steps.flow_of_pair, {"method": "tvl1"}),
            Step("flow_and_strain", steps.flow_and_strain, {"size": size}),
        ),
        "CHW",
        (3, size, size),
        # No pixel moves farther than the picture is wide.
        (-float(size), float(size)),
    )
