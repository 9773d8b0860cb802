"""Interpolation of a clip over time to another number of frames, and random copies of a clip for training.

All methods are linear in the pixels: a new frame is a weighted sum of the old ones, with weights that depend only on
the two numbers of frames.
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
"""Fractions of frames to remove in `temporal_jitter`: 0 to 0.55."""

_BLOCK = 1 << 14
"""Values of a frame processed at a time, so that the same part of a hundred frames fits into the processor's cache."""


def weigh_changes(weights: NDArray[np.floating], frames: NDArray[Any]) -> NDArray[Any]:
    """Compute weighted sums of how much each frame differs from the first: sum_t w[k, t] (I(t) - I(0)).

    Working on differences gives exactly 0 where nothing changes, without rounding errors.

    Args:
        weights: (K, T).
        frames: (T, ...) of any shape and numeric type.

    Returns:
        (K, ...) float32, or float64 for float64 frames.

    Example:
        >>> import numpy as np
        >>> from mien.motion.interpolate import weigh_changes
        >>> weigh_changes(np.array([[0.0, 0.5, 0.5]]), np.array([[10, 10], [12, 10], [14, 10]], np.uint8)).tolist()
        [[3.0, 0.0]]
    """
    kind: type[np.float64] | type[np.float32] = np.float64 if frames.dtype == np.float64 else np.float32
    flat = frames.reshape(len(frames), -1)
    typed_weights = weights.astype(kind)
    result = np.empty((len(weights), flat.shape[1]), kind)
    for start in range(0, flat.shape[1], _BLOCK):
        block = flat[:, start : start + _BLOCK].astype(kind)
        np.matmul(typed_weights, block - block[0], out=result[:, start : start + _BLOCK])
    return result.reshape(len(weights), *frames.shape[1:])


def tim_weights(length: int, n: int) -> Weights:
    """Compute the weights of the temporal interpolation model (TIM) from T frames to n.

    The model treats the frames as nodes of a path graph, embeds them with the eigenvectors of the graph's Laplacian,
    and maps points of the curve through the embedded frames back to pictures. As published, that map inverts a matrix
    of pixels. The pixels cancel, though: with U Q the frames minus their mean, W^-T = Q V and m_k = v_k(1) / f_k(1/T),
    a new frame is a sum over the eigenvectors V alone. These are the cosines of the discrete cosine transform,
    evaluated between the frames. Clips with repeated frames, for which the published inverse does not exist, get the
    same weights, which are the limit for nearly equal frames.

    Args:
        length: T, number of frames of the clip, >= 2.
        n: Number of frames wanted, >= 1. They lie evenly from the first frame to the last; a single one is the first.

    Returns:
        (n, T). Rows sum to 1. Some weights are negative, so that new frames may leave the range of the clip a little.

    Raises:
        MienError: T < 2 or n < 1.

    Example:
        >>> from mien.motion.interpolate import tim_weights
        >>> abs(tim_weights(2, 3)).round(2).tolist()
        [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]

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
    """Bring a clip to n frames with the temporal interpolation model (TIM).

    Args:
        frames: (T, ...) of any shape and scale, T >= 2.
        n: Number of frames wanted, >= 1.

    Returns:
        (n, ...) float32, or float64 for float64 frames, in the unit of the frames. Equal to the clip when n = T. Values
        are not clipped to the range of the input.

    Raises:
        MienError: T < 2 or n < 1.

    Example:
        >>> import numpy as np
        >>> from mien.motion.interpolate import tim
        >>> tim(np.zeros((7, 16, 16, 3), np.uint8), 10).shape
        (10, 16, 16, 3)

    Source: see `tim_weights`.
    """
    return _weighted(tim_weights(len(frames), n), frames)


def uniform_indices(length: int, n: int) -> NDArray[np.intp]:
    """Return the indices of n frames that lie evenly over a clip, both ends included.

    Args:
        length: T, number of frames of the clip, >= 1.
        n: Number of frames wanted, >= 1. More than T repeats some; a single one is the first.

    Returns:
        (n,): floor(k (T - 1) / (n - 1) + 1/2) for k = 0..n-1.

    Raises:
        MienError: T < 1 or n < 1.

    Example:
        >>> from mien.motion.interpolate import uniform_indices
        >>> uniform_indices(10, 4).tolist()
        [0, 3, 6, 9]
    """
    _check_lengths(length, n, least=1)
    # In integers, because floating point may round an exact half either way.
    steps = max(n - 1, 1)
    return (2 * np.arange(n) * (length - 1) + steps) // (2 * steps)


def resample_weights(length: int, n: int, method: str = "linear") -> Weights:
    """Compute the weights with which `resample` makes n frames of a clip of T.

    Args:
        length: T, number of frames of the clip, >= 1.
        n: Number of frames wanted, >= 1.
        method: "linear", "nearest" or "cubic"; see `resample`.

    Returns:
        (n, T). Rows sum to 1.

    Raises:
        MienError: An unknown method, T < 1 or n < 1.

    Example:
        >>> from mien.motion.interpolate import resample_weights
        >>> resample_weights(2, 3).tolist()
        [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
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
    # The kernel needs a frame beyond each end. It is extrapolated linearly, so that uniform motion stays uniform.
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
    """Bring a clip to n frames that lie evenly from its first frame to its last.

    Args:
        frames: (T, ...) of any shape and scale, T >= 1.
        n: Number of frames wanted, >= 1; a single one is the first.
        method: "linear", "nearest" (see `uniform_indices`) or "cubic" (Keys 1981, a = -1/2). No method averages over
            the frames that it drops, so that fast movements may alias.

    Returns:
        (n, ...) float32, or float64 for float64 frames, in the unit of the frames. Equal to the clip when n = T.
        "cubic" may leave the range of the clip a little.

    Raises:
        MienError: An unknown method, T < 1 or n < 1.

    Example:
        >>> import numpy as np
        >>> from mien.motion.interpolate import resample
        >>> resample(np.array([[0], [10]], np.uint8), 3).tolist()
        [[0.0], [5.0], [10.0]]
    """
    return _weighted(resample_weights(len(frames), n, method), frames)


def kept_indices(length: int, share: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """Choose the frames that remain when a share of a clip's frames is removed at random.

    Args:
        length: T, number of frames of the clip, >= 2.
        share: Fraction of the frames to remove, 0 <= share < 1. floor(share T + 1/2) frames are removed, but at least
            two remain.
        rng: Random generator.

    Returns:
        Ascending indices of the frames that remain. The first frame always does, because flow, heat maps and dynamic
        images are all measured from it. The last frame may be removed like any other.

    Raises:
        MienError: T < 2, or a share outside 0..1.

    Example:
        >>> import numpy as np
        >>> from mien.motion.interpolate import kept_indices
        >>> len(kept_indices(10, 0.3, np.random.default_rng(0)))
        7

    Source: STRCN (Xia et al. 2020), section III-E: 100, 90, 80, 70 or 60 % of the frames are kept. The released code
    differs: it removes a single frame whatever the percentage.
    """
    _check_lengths(length, 1, least=2)
    if not 0 <= share < 1:
        raise MienError(f"A share of {share:g} of the frames to remove.", "0 <= share < 1.", "`share=0.1`.")
    removed = min(math.floor(share * length + 0.5), length - 2)
    left = rng.choice(np.arange(1, length), length - 1 - removed, replace=False)
    return np.concatenate([[0], np.sort(left)])


def remove_frames(frames: NDArray[Any], share: float, rng: np.random.Generator) -> NDArray[Any]:
    """Remove a share of the frames of a clip at random.

    Args:
        frames: (T, ...), T >= 2.
        share: Fraction of the frames to remove, 0 <= share < 1; see `kept_indices`.
        rng: Random generator.

    Returns:
        (T', ...), the remaining frames in order; the first is always kept.

    Raises:
        MienError: As `kept_indices`.

    Example:
        >>> import numpy as np
        >>> from mien.motion.interpolate import remove_frames
        >>> remove_frames(np.zeros((10, 4, 4)), 0.3, np.random.default_rng(0)).shape
        (7, 4, 4)
    """
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
    """Make a random copy of a clip that starts, skips and ends a little differently, with n frames.

    Four choices are drawn uniformly and independently: the first frame, the step between frames, the share of frames to
    remove, and the method of interpolation.

    Args:
        frames: (T, ...), T >= 2.
        rng: Random generator.
        n: Number of frames of the copy, >= 1.
        latest_start: The copy starts at one of the frames 0 to floor(latest_start T), 0 <= latest_start < 1.
        strides: Steps between frames to choose from, >= 1. A step that would leave fewer than two frames is reduced.
        shares: Fractions of frames to remove to choose from; see `kept_indices`.
        methods: Methods of interpolation to choose from; see `resample`.

    Returns:
        (n, ...) float32, or float64 for float64 frames.

    Raises:
        MienError: A number out of range, or an empty list to choose from.

    Example:
        >>> import numpy as np
        >>> from mien.motion.interpolate import temporal_jitter
        >>> temporal_jitter(np.zeros((40, 8, 8)), np.random.default_rng(0), n=30).shape
        (30, 8, 8)

    Source: a reconstruction. The abstract of Xia et al., "Spontaneous facial micro-expression recognition via deep
    convolutional network", IPTA 2018, says only that temporal jittering multiplies the samples. Shares up to 55 % in
    steps of 5 % and the choice of kernels are those of a script in the authors' later repository.
    """
    _check_lengths(len(frames), n, least=2)
    if not (strides and shares and methods) or min(strides) < 1 or not 0 <= latest_start < 1:
        raise MienError(
            f"Jitter with latest_start {latest_start:g}, strides {list(strides)}, shares {list(shares)} and "
            f"methods {list(methods)}.",
            "0 <= latest_start < 1, strides of at least 1, and at least one value to choose from in each list.",
            "the defaults.",
        )
    start = int(rng.integers(min(math.floor(latest_start * len(frames)), len(frames) - 2) + 1))
    stride = min(int(rng.choice(strides)), len(frames) - 1 - start)
    part = frames[start::stride]
    part = remove_frames(part, float(rng.choice(shares)), rng)
    return resample(part, n, str(rng.choice(methods)))


def _weighted(weights: Weights, frames: NDArray[Any]) -> NDArray[Any]:
    """Return weighted sums of frames, for weights whose rows sum to 1."""
    result = weigh_changes(weights, frames)
    result += frames[0]
    return result


def _check_lengths(length: int, n: int, least: int) -> None:
    if length < least or n < 1:
        raise MienError(
            f"A clip of {length} frame(s), to be brought to {n} frame(s).",
            f"at least {least} frame(s) in the clip, and at least 1 wanted.",
            "`mien check NAME=FOLDER` to see which clips lack frames." if length < least else "`n=10`.",
        )
