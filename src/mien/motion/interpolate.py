"""A clip brought to another number of frames: interpolation over time, and copies of a clip for training.

Every method is linear in the pixels: a new frame is a weighted sum of the old ones, and the weights depend on the two
lengths alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError, unknown_name

Method = Literal["linear", "nearest", "cubic"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)

Weights = NDArray[np.float64]

_SHARES: Final = tuple(k / 20 for k in range(12))

_BLOCK = 1 << 14
"""Values of a frame taken at a time, so that the same part of a hundred frames fits into a processor's cache."""


def weigh_changes(weights: NDArray[np.floating], frames: NDArray[Any]) -> NDArray[Any]:
    """Weighted sums of how much each frame differs from the first: sum_t w[k, t] (I(t) - I(0)).

    Differences keep what is still exactly still, whatever the rounding.

    Args:
        weights: (K, T).
        frames: (T, ...) of any shape and kind.

    Returns:
        (K, ...) float32; float64 for float64 frames.
    """
    kind: type[np.float64] | type[np.float32] = np.float64 if frames.dtype == np.float64 else np.float32
    flat = frames.reshape(len(frames), -1)
    share = weights.astype(kind)
    result = np.empty((len(weights), flat.shape[1]), kind)
    for start in range(0, flat.shape[1], _BLOCK):
        block = flat[:, start : start + _BLOCK].astype(kind)
        np.matmul(share, block - block[0], out=result[:, start : start + _BLOCK])
    return result.reshape(len(weights), *frames.shape[1:])


def tim_weights(length: int, n: int) -> Weights:
    """Weights with which temporal interpolation makes n frames of a clip of some length.

    The method lays the frames on a path graph, embeds them by the eigenvectors of its Laplacian, and maps points of the
    curve through the embedded frames back to pictures. The map back inverts a matrix of the pixels, but the pixels
    cancel: with U Q the mean-free frames, W^-T = Q V and m_k = v_k(1) / f_k(1/T), so that a new frame is a sum over the
    eigenvectors V alone. These are the cosines of the discrete cosine transform, evaluated between the frames. Clips
    with repeated frames, where that inverse does not exist, get the same weights: the limit of ever less alike frames.

    Args:
        length: T, frames of the clip, >= 2.
        n: Frames wanted, >= 1. They lie evenly from the first frame to the last; a single one is the first.

    Returns:
        (n, T); rows sum to 1. Some are negative: values may leave the range of the clip a little.

    Raises:
        MienError: T < 2 or n < 1.

    Source: Zhou, Zhao and Pietikäinen, "Towards a practical lipreading system", CVPR 2011, sections 3 and 4; for
    micro-expressions Pfister, Li, Zhao and Pietikäinen, ICCV 2011. The closed form is our own derivation.
    """
    _check_lengths(length, n, least=2)
    order = np.arange(1, length)
    old = np.arange(length) + 0.5
    new = np.linspace(0.5, length - 0.5, n)
    waves = np.cos(np.pi / length * np.outer(new, order)) @ np.cos(np.pi / length * np.outer(order, old))
    return np.asarray((1 + 2 * waves) / length)


def tim(frames: NDArray[Any], n: int) -> NDArray[Any]:
    """A clip brought to n frames by the temporal interpolation model.

    Args:
        frames: (T, ...) of any shape, T >= 2.
        n: Frames wanted, >= 1.

    Returns:
        (n, ...) float32, float64 for float64 frames; the clip itself when n = T. Not cut off at the range of the input.

    Raises:
        MienError: T < 2 or n < 1.

    Source: see `tim_weights`.
    """
    return _weighted(tim_weights(len(frames), n), frames)


def uniform_indices(length: int, n: int) -> NDArray[np.intp]:
    """Indices of n frames that lie evenly over a clip, ends included: floor(k (T - 1) / (n - 1) + 1/2).

    Args:
        length: T, frames of the clip, >= 1.
        n: Frames wanted, >= 1; more than T repeats some, and a single one is the first.

    Raises:
        MienError: T < 1 or n < 1.
    """
    _check_lengths(length, n, least=1)
    # Whole numbers, since a half would otherwise be rounded up or down by chance.
    steps = max(n - 1, 1)
    return (2 * np.arange(n) * (length - 1) + steps) // (2 * steps)


def resample_weights(length: int, n: int, method: str = "linear") -> Weights:
    """Weights with which `resample` makes n frames of a clip of some length: (n, T), rows sum to 1.

    Raises:
        MienError: There is no such method, T < 1 or n < 1.
    """
    if method not in METHODS:
        raise unknown_name("way to interpolate", method, METHODS, "--set method=linear")
    _check_lengths(length, n, least=1)
    weights = np.zeros((n, length))
    rows = np.arange(n)
    if method == "nearest" or length == 1:
        weights[rows, uniform_indices(length, n)] = 1
        return weights
    position = np.linspace(0, length - 1, n)
    before = np.minimum(position.astype(np.intp), length - 2)
    x = position - before
    if method == "linear":
        weights[rows, before], weights[rows, before + 1] = 1 - x, x
        return weights
    # A frame beyond each end continues the line through the last two, so that even motion stays even.
    padded = np.zeros((n, length + 2))
    padded[rows, before] = -0.5 * x + x**2 - 0.5 * x**3
    padded[rows, before + 1] = 1 - 2.5 * x**2 + 1.5 * x**3
    padded[rows, before + 2] = 0.5 * x + 2 * x**2 - 1.5 * x**3
    padded[rows, before + 3] = -0.5 * x**2 + 0.5 * x**3
    weights = padded[:, 1:-1].copy()
    for ghost, near, next_one in ((padded[:, 0], 0, 1), (padded[:, -1], -1, -2)):
        weights[:, near] += 2 * ghost
        weights[:, next_one] -= ghost
    return weights


def resample(frames: NDArray[Any], n: int, method: str = "linear") -> NDArray[Any]:
    """A clip brought to n frames that lie evenly from its first frame to its last.

    Args:
        frames: (T, ...) of any shape, T >= 1.
        n: Frames wanted, >= 1; a single one is the first.
        method: "linear", "nearest" (see `uniform_indices`) or "cubic" (Keys 1981, a = -1/2). None of them averages when
            frames are dropped: fast movement may alias.

    Returns:
        (n, ...) float32, float64 for float64 frames; the clip itself when n = T. "cubic" may leave the range of the
        clip a little.

    Raises:
        MienError: There is no such method, T < 1 or n < 1.
    """
    return _weighted(resample_weights(len(frames), n, method), frames)


def kept_indices(length: int, share: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of the frames that are left when some are taken out by chance.

    Args:
        length: T, frames of the clip, >= 2.
        share: Part of the frames to take out, 0 <= share < 1: floor(share T + 1/2) frames, but at least two stay.
        rng: Source of chance.

    Returns:
        Ascending; the first is 0, as flow, heat maps and dynamic images are all measured from the first frame. The
        last frame may go, as any other.

    Raises:
        MienError: T < 2, or a share outside 0..1.

    Source: STRCN (Xia et al. 2020), section III-E: 100, 90, 80, 70 or 60 % of the frames are kept. Its released code
    takes out a single frame whatever the percentage.
    """
    _check_lengths(length, 1, least=2)
    if not 0 <= share < 1:
        raise MienError(f"A share of {share:g} of the frames to take out.", "0 <= share < 1.", "`share=0.1`.")
    removed = min(math.floor(share * length + 0.5), length - 2)
    left = rng.choice(np.arange(1, length), length - 1 - removed, replace=False)
    return np.concatenate([[0], np.sort(left)])


def remove_frames(frames: NDArray[Any], share: float, rng: np.random.Generator) -> NDArray[Any]:
    """A clip (T, ...) without a share of its frames, drawn by chance; see `kept_indices`."""
    return np.asarray(frames[kept_indices(len(frames), share, rng)])


def temporal_jitter(
    frames: NDArray[Any],
    rng: np.random.Generator,
    n: int = 30,
    *,
    latest_start: float = 0.1,
    strides: Sequence[int] = (1, 2),
    shares: Sequence[float] = _SHARES,
    methods: Sequence[str] = METHODS,
) -> NDArray[Any]:
    """A copy of a clip that begins, skips and lasts a little differently, brought to n frames.

    Drawn evenly and independently: the first frame, a stride, a share of frames to take out, a way to interpolate.

    Args:
        frames: (T, ...), T >= 2.
        rng: Source of chance.
        n: Frames wanted, >= 1.
        latest_start: The clip begins at a frame up to floor(latest_start T), 0 <= latest_start < 1.
        strides: Steps between frames to choose from, >= 1; one that would leave fewer than two frames is cut down.
        shares: Shares of frames to take out to choose from; see `kept_indices`.
        methods: Ways to interpolate to choose from; see `resample`.

    Returns:
        (n, ...) float32, float64 for float64 frames.

    Raises:
        MienError: A number out of its range, or nothing to choose from.

    Source: a reconstruction. Xia et al., "Spontaneous facial micro-expression recognition via deep convolutional
    network", IPTA 2018, says in its abstract only that samples are multiplied by temporal jittering; shares up to 55 %
    in steps of 5 % and the choice among kernels are those of a script in the authors' later repository.
    """
    _check_lengths(len(frames), n, least=2)
    if not (strides and shares and methods) or min(strides) < 1 or not 0 <= latest_start < 1:
        raise MienError(
            f"Jitter with latest_start {latest_start:g}, strides {list(strides)}, shares {list(shares)} and "
            f"methods {list(methods)}.",
            "0 <= latest_start < 1, strides of at least 1, and something to choose from in each list.",
            "the defaults.",
        )
    start = int(rng.integers(min(math.floor(latest_start * len(frames)), len(frames) - 2) + 1))
    stride = min(int(rng.choice(strides)), len(frames) - 1 - start)
    part = frames[start::stride]
    part = remove_frames(part, float(rng.choice(shares)), rng)
    return resample(part, n, str(rng.choice(methods)))


def _weighted(weights: Weights, frames: NDArray[Any]) -> NDArray[Any]:
    """Sums of frames with weights whose rows sum to 1."""
    result = weigh_changes(weights, frames)
    result += frames[0]
    return result


def _check_lengths(length: int, n: int, least: int) -> None:
    if length < least or n < 1:
        raise MienError(
            f"A clip of {length} frame(s), to be brought to {n}.",
            f"at least {least} frame(s) in it and 1 wanted.",
            "`mien check NAME=FOLDER` to see which clips lack frames." if length < least else "`n=10`.",
        )
