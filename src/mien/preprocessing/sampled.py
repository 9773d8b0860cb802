"""Steps that use some frames of a clip: dynamic segmented sparse images, and evenly spaced frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.io.opencv import cv2
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
    """Step: compute the dynamic segmented sparse images of a clip.

    Draw 0 uses the middle frame of each bin; it is used for testing. The other draws choose frames at random, the same
    for all clips of one length.

    Args:
        frames: (T, H, W, 3) RGB, uint8.
        context: The context of the step.
        size: Height and width of an image.
        sampling: See `mien.motion.dssi.sampled_rows`, as for `whole`.
        segments: Number of parts of the clip.
        n: Number of frames of each part.
        whole: Whether to add an image over the whole clip.
        draws: Number of copies of the clip.
        until: "offset" uses the whole clip; "apex" the frames from onset to apex, where the apex is known.
        colour: Whether images have three channels instead of one.
        fill: For clips with too few frames: "linear" interpolates more, with a note; "none" raises an error.

    Returns:
        (draws, S, height, width, C) float32 in grey levels, -255..255.
    """
    if until == "apex" and context.apex is not None:
        frames = frames[: context.apex + 1]
    small = _resized(frames, size, colour)
    least = least_frames(sampling, segments)
    if len(small) < least and fill == "linear":
        context.notes.append(f"{len(frames)} frames were interpolated to {least}, the minimum for {segments} segments.")
        small = np.asarray(resample(small, least, "linear"), np.float32)
    elif len(small) < segments * n:
        context.notes.append(f"{len(frames)} frames: fewer than {n} for each of {segments} segments.")
    generators = [None, *(np.random.default_rng(draw) for draw in range(1, draws))]
    weights = [dssi_weights(len(small), sampling, segments, n, whole=whole, rng=rng) for rng in generators]
    images = dssi(small, np.concatenate(weights))
    context.rows = context.apex = None
    return images.reshape(draws, -1, *images.shape[1:])


def spread_frames(frames: Array, context: Context, *, n: int, size: Sequence[int], colour: bool) -> Array:
    """Step: reduce n evenly spaced frames of a clip.

    Args:
        frames: (T, H, W, 3) RGB, uint8. A clip with fewer than n frames repeats some of them evenly, with a note.
        context: The context of the step.
        n: Number of frames.
        size: Height and width of the result.
        colour: Whether the result has three channels instead of one.

    Returns:
        (n, height, width, C) uint8.
    """
    rows = spread(0, len(frames), n)
    if len(rows) < n:
        context.notes.append(f"{len(frames)} frames where {n} are needed: some are used more than once.")
        rows = rows[np.arange(n) * len(rows) // n]
    if context.rows is not None:
        context.rows = tuple(context.rows[row] for row in rows)
    context.apex = None
    return np.asarray(np.clip(np.round(_resized(frames[rows], size, colour)), 0, 255), np.uint8)


def _resized(frames: Array, size: Sequence[int], colour: bool) -> NDArray[np.float32]:
    """Resize frames to (T, height, width, C) float32, without rounding."""
    height, width = size
    resized = np.empty((len(frames), height, width, 3 if colour else 1), np.float32)
    for place, frame in enumerate(frames):
        picture = (frame if colour else as_grey(frame)).astype(np.float32)
        shrinks = height <= picture.shape[0] and width <= picture.shape[1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        small = np.asarray(cv2.resize(picture, (width, height), interpolation=method))
        resized[place] = small.reshape(resized.shape[1:])
    return resized
