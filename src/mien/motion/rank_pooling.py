"""Dynamic images: one picture per clip that summarises the order of its changes (approximate rank pooling)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError, unknown_name
from mien.io.opencv import cv2

Variant = Literal["bilen", "linear"]
VARIANTS: Final[tuple[Variant, ...]] = get_args(Variant)


def rank_weights(length: int, variant: str = "bilen") -> NDArray[np.float64]:
    """Compute the weight of each frame in a dynamic image.

    Args:
        length: T, number of frames of the clip, >= 1.
        variant: "bilen": a_t = 2 (T - t + 1) - (T + 1) (H_T - H_(t-1)) for t = 1..T, with H the harmonic numbers; it
            ranks the running means of the clip. "linear": a_t = 2 t - T - 1; it ranks the frames themselves.

    Returns:
        (T,), with sum 0, so that whatever does not move cancels. (0,) when T is 1.

    Raises:
        MienError: An unknown variant, or T < 1.

    Example:
        >>> from mien.motion.rank_pooling import rank_weights
        >>> rank_weights(3).round(2).tolist()
        [-1.33, 0.67, 0.67]
        >>> rank_weights(4, "linear").tolist()
        [-3.0, -1.0, 1.0, 3.0]

    Source: Bilen, Fernando, Gavves, Vedaldi and Gould, "Dynamic image networks for action recognition", CVPR 2016,
    section 3; "linear" from their "Action recognition with dynamic image networks", TPAMI 2018.
    """
    if variant not in VARIANTS:
        raise unknown_name("rank pooling", variant, VARIANTS, "--set variant=bilen")
    if length < 1:
        raise MienError("A clip without frames.", "at least two frames.", "`mien check NAME=FOLDER`.")
    t = np.arange(1, length + 1)
    if variant == "linear":
        return np.asarray(2.0 * t - length - 1)
    # H_T - H_(t-1) = 1/t + ... + 1/T, summed from the end.
    harmonic_rest = np.cumsum(1.0 / t[::-1])[::-1]
    return np.asarray(2 * (length - t + 1) - (length + 1) * harmonic_rest)


def dynamic_image(frames: NDArray[Any], variant: str = "bilen") -> NDArray[np.float32]:
    """Compute the dynamic image of a clip by approximate rank pooling.

    Args:
        frames: (T, H, W), (T, H, W, C) or any other (T, ...), T >= 2, of any scale.
        variant: "bilen" or "linear"; see `rank_weights`.

    Returns:
        (H, W) or (H, W, C), in the unit of the frames: frames 0..1 give values 255 times smaller than frames 0..255.
        Signed, and exactly 0 where nothing changes. It is not stretched to a fixed range: that would hide how large the
        movement is, and turn the noise of a still clip into a picture.

    Raises:
        MienError: Fewer than two frames, or an unknown variant.

    Example:
        >>> import numpy as np
        >>> from mien.motion.rank_pooling import dynamic_image
        >>> dynamic_image(np.array([[[10, 50]], [[10, 52]]], np.uint8)).tolist()
        [[0.0, 1.0]]

    Source: see `rank_weights`.
    """
    if len(frames) < 2:
        raise MienError(
            f"A dynamic image of {len(frames)} frame(s).", "at least two frames.", "fewer segments, or a longer clip."
        )
    weights = rank_weights(len(frames), variant)
    pooled = _pooled if frames.dtype in _ACCUMULATED else _pooled_differences
    flat = frames.reshape(len(frames), -1)
    parts = [pooled(flat[:, first : first + _PART], weights) for first in range(0, flat.shape[1], _PART)]
    image: NDArray[np.float32] = np.concatenate(parts).reshape(frames.shape[1:])
    return image


_ACCUMULATED: Final = (np.uint8, np.uint16, np.float32, np.float64)
_PART: Final = 1 << 18
"""Values of a frame that are pooled together: their sums stay in the processor's own memory."""


def _pooled(frames: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Weighted sum of (T, N), and exactly 0 where nothing changes: two running means, of what counts up and down."""
    kind = np.float64 if frames.dtype == np.float64 else np.float32
    means = [frames[:1].astype(kind) for _ in range(2)]
    totals = [0.0, 0.0]
    for weight, frame in zip(weights, frames[:, None], strict=True):
        if weight:
            side = int(weight < 0)
            totals[side] += abs(weight)
            cv2.accumulateWeighted(frame, means[side], abs(weight) / totals[side])
    up, down = means[0][0], means[1][0]
    image = totals[0] * (up - down)
    near = 1e-12 if kind is np.float64 else 1e-5
    small = np.flatnonzero(np.abs(image) <= near * totals[0] * np.abs(up))  # nothing but rounding, perhaps
    if len(small) < len(image) // 8:
        image[small[(frames[1:, small] == frames[0, small]).all(0)]] = 0
    else:
        image[frames.min(0) == frames.max(0)] = 0
    return np.asarray(image, np.float32)


def _pooled_differences(frames: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """The same of any kind of number: the weights sum to 0, so that differences to the first frame do as well."""
    first = frames[0].astype(np.float32)
    image: NDArray[np.float32] = np.zeros_like(first)
    for weight, frame in zip(weights[1:], frames[1:], strict=True):
        image += np.float32(weight) * (frame - first)
    return image


def segments(length: int, parts: int) -> list[slice]:
    """Divide a clip into equal parts; their lengths differ by at most one frame.

    Args:
        length: T, number of frames of the clip.
        parts: Number of parts, 1 <= parts <= T.

    Returns:
        Consecutive slices from 0 to T.

    Raises:
        MienError: More parts than frames, or none.

    Example:
        >>> from mien.motion.rank_pooling import segments
        >>> [list(range(10))[part] for part in segments(10, 3)]
        [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]
    """
    if not 1 <= parts <= length:
        raise MienError(f"A clip of {length} frames in {parts} parts.", f"1 to {length} parts.", "`parts=1`.")
    edges = [k * length // parts for k in range(parts + 1)]
    return [slice(first, last) for first, last in pairwise(edges)]
