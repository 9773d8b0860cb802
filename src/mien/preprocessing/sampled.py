"""Steps that take some frames of a clip: dynamic segmented sparse images, and single frames evenly spread."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.motion.dssi import dssi, dssi_weights, least_frames, spread
from mien.motion.interpolate import resample
from mien.preprocessing.base import Array, Context
from mien.preprocessing.steps import as_grey


def segmented_images(
    frames: Array,
    context: Context,
    *,
    size: Sequence[int],
    sampling: str,
    segments: int,
    n: int,
    whole: bool,
    draws: int,
    until: str,
    colour: bool,
    fill: str,
) -> Array:
    """Step: a clip (T, H, W, 3) as dynamic segmented sparse images: (draws, S, height, width, C), in grey levels.

    Draw 0 takes the middle frame of each bin and is what is tested; the others draw frames at random, the same for
    every clip of this length.

    Args:
        size: Height and width of an image.
        sampling, segments, n, whole: As in `mien.motion.dssi.sampled_rows`.
        draws: Copies of the clip.
        until: "offset" takes the whole clip, "apex" from onset to apex where the apex is known.
        colour: Three channels instead of one.
        fill: "linear" makes frames between those of a clip that is too short, and says so; "none" refuses it.
    """
    if until == "apex" and context.apex is not None:
        frames = frames[: context.apex + 1]
    small = _made_small(frames, size, colour)
    least = least_frames(sampling, segments)
    if len(small) < least and fill == "linear":
        context.notes.append(f"{len(frames)} frames were interpolated to {least}, the least for {segments} segments.")
        small = np.asarray(resample(small, least, "linear"), np.float32)
    elif len(small) < segments * n:
        context.notes.append(f"{len(frames)} frames: fewer than {n} for each of {segments} segments.")
    kinds = [None, *(np.random.default_rng(draw) for draw in range(1, draws))]
    weights = [dssi_weights(len(small), sampling, segments, n, whole=whole, rng=rng) for rng in kinds]
    images = dssi(small, np.concatenate(weights))
    context.rows = context.apex = None
    return images.reshape(draws, -1, *images.shape[1:])


def spread_frames(frames: Array, context: Context, *, n: int, size: Sequence[int], colour: bool) -> Array:
    """Step: n frames of a clip (T, H, W, 3), evenly spread, made small: (n, height, width, C), 0..255.

    A clip of fewer frames shows some of them more than once, evenly, and says so.
    """
    rows = spread(0, len(frames), n)
    if len(rows) < n:
        context.notes.append(f"{len(frames)} frames for {n}: some count more than once.")
        rows = rows[np.arange(n) * len(rows) // n]
    if context.rows is not None:
        context.rows = tuple(context.rows[row] for row in rows)
    context.apex = None
    return np.asarray(np.clip(np.round(_made_small(frames[rows], size, colour)), 0, 255), np.uint8)


def _made_small(frames: Array, size: Sequence[int], colour: bool) -> NDArray[np.float32]:
    """(T, height, width, C) float32: made small before anything is rounded."""
    height, width = size
    made = np.empty((len(frames), height, width, 3 if colour else 1), np.float32)
    for place, frame in enumerate(frames):
        picture = (frame if colour else as_grey(frame)).astype(np.float32)
        shrinks = height <= picture.shape[0] and width <= picture.shape[1]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        made[place] = np.asarray(cv2.resize(picture, (width, height), interpolation=how)).reshape(made.shape[1:])
    return made
