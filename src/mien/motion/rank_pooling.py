"""Dynamic images: a whole clip as one picture that tells in which order things happened."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError, unknown_name

Variant = Literal["bilen", "linear"]
VARIANTS: Final[tuple[Variant, ...]] = get_args(Variant)


def rank_weights(length: int, variant: str = "bilen") -> NDArray[np.float64]:
    """The weight of each frame in a dynamic image.

    Args:
        length: T, frames of the clip, >= 1.
        variant: "bilen": a_t = 2 (T - t + 1) - (T + 1) (H_T - H_(t-1)), t = 1..T, with H the harmonic numbers: ranks
            the running means of the clip. "linear": a_t = 2 t - T - 1: ranks the frames themselves.

    Returns:
        (T,), of sum 0: what keeps still vanishes. (0) when T is 1.

    Raises:
        MienError: There is no such variant, or T < 1.

    Source: Bilen, Fernando, Gavves, Vedaldi and Gould, "Dynamic image networks for action recognition", CVPR 2016,
    section 3; the shorter form is from their "Action recognition with dynamic image networks", TPAMI 2018.
    """
    if variant not in VARIANTS:
        raise unknown_name("rank pooling", variant, VARIANTS, "--set variant=bilen")
    if length < 1:
        raise MienError("A clip without frames.", "at least two frames.", "`mien check NAME=FOLDER`.")
    t = np.arange(1, length + 1)
    if variant == "linear":
        return np.asarray(2.0 * t - length - 1)
    # H_T - H_(t-1), summed from the end.
    rest = np.cumsum(1.0 / t[::-1])[::-1]
    return np.asarray(2 * (length - t + 1) - (length + 1) * rest)


def dynamic_image(frames: NDArray[Any], variant: str = "bilen") -> NDArray[np.float32]:
    """A clip as one dynamic image, by approximate rank pooling.

    Args:
        frames: (T, H, W[, C]), or (T, ...) of any shape, T >= 2.
        variant: See `rank_weights`.

    Returns:
        (H, W[, C]) in units of the frames, about 0; exactly 0 where nothing changes. It is not stretched to a range:
        that would hide how large the movement is, and turn the noise of a still clip into a picture.

    Raises:
        MienError: Fewer than two frames, or there is no such variant.

    Source: see `rank_weights`.
    """
    if len(frames) < 2:
        raise MienError(
            f"A dynamic image of {len(frames)} frame(s).", "at least two frames.", "fewer segments, or a longer clip."
        )
    # As the weights sum to 0, differences from the first frame give the same picture, and nothing where all is still.
    kind: type[np.float64] | type[np.float32] = np.float64 if frames.dtype == np.float64 else np.float32
    first = frames[0].astype(kind)
    image, change = np.zeros_like(first), np.empty_like(first)
    for weight, frame in zip(rank_weights(len(frames), variant)[1:], frames[1:], strict=True):
        change[...] = frame
        change -= first
        change *= weight
        image += change
    return np.asarray(image, np.float32)


def segments(length: int, parts: int) -> list[slice]:
    """A clip in equal parts, for one dynamic image each; they differ by one frame at most.

    Args:
        length: T, frames of the clip.
        parts: How many, 1 <= parts <= T.

    Returns:
        Slices that follow each other from 0 to T.

    Raises:
        MienError: More parts than frames, or none.
    """
    if not 1 <= parts <= length:
        raise MienError(f"{parts} parts of a clip of {length} frames.", f"1 to {length} parts.", "`parts=1`.")
    edges = [k * length // parts for k in range(parts + 1)]
    return [slice(first, last) for first, last in pairwise(edges)]
