"""Dynamic segmented sparse imaging (DSSI): a clip as a few dynamic images, each built from a few frames.

A dynamic image is a weighted sum of frames (`mien.motion.rank_pooling`). All dynamic images of a clip, over all random
draws of frames, are therefore one matrix product: images (S, pixels) = weights (S, T) times frames (T, pixels).

DSSI was proposed in SMA-STN (Liu, Zheng and Zong, arXiv 2010.09342). The full text was not available to us, and the
abstract does not say which frames each image uses. The three samplings here are possible readings of its words
"segmented", "sparse" and "local-global".
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError, unknown_name
from mien.motion.interpolate import weigh_changes
from mien.motion.rank_pooling import rank_weights, segments

Sampling = Literal["local", "local-global", "interleaved"]
SAMPLINGS: Final[tuple[Sampling, ...]] = get_args(Sampling)

Rows = NDArray[np.intp]
"""Ascending indices of frames."""


def least_frames(sampling: str, parts: int) -> int:
    """Return how many frames a clip needs, so that each of its images combines at least two.

    Args:
        sampling: One of `SAMPLINGS`; see `sampled_rows`.
        parts: K, number of parts that the clip is divided into.

    Raises:
        MienError: An unknown sampling, or too small a K for it.

    Example:
        >>> from mien.motion.dssi import least_frames
        >>> least_frames("local", 3), least_frames("local-global", 3)
        (6, 4)
    """
    if sampling not in SAMPLINGS:
        raise unknown_name("sampling", sampling, SAMPLINGS, "--set sampling=local-global")
    fewest = 2 if sampling == "interleaved" else 1
    if parts < fewest:
        raise MienError(f"segments is {parts}.", f"{fewest} or more with {sampling}.", f"`--set segments={fewest}`.")
    return {"local": 2 * parts, "local-global": parts + 1, "interleaved": parts}[sampling]


def spread(first: int, stop: int, n: int, rng: np.random.Generator | None = None) -> Rows:
    """Choose n indices, one in each of n equal bins of the range from `first` to before `stop`.

    Args:
        first: First index of the range.
        stop: One past its last index.
        n: Number of indices, >= 1. If the range has fewer, all of them are returned.
        rng: Draws one index at random within each bin; None takes the middle of each bin.

    Returns:
        (min(n, stop - first),), ascending.

    Example:
        >>> from mien.motion.dssi import spread
        >>> spread(0, 9, 3).tolist()
        [1, 4, 7]
    """
    n = min(n, stop - first)
    edges = first + np.arange(n + 1) * (stop - first) // n
    low, high = edges[:-1], edges[1:]
    return np.asarray((low + high - 1) // 2 if rng is None else rng.integers(low, high), np.intp)


def sampled_rows(
    length: int, sampling: str, parts: int, n: int, *, whole: bool = True, rng: np.random.Generator | None = None
) -> list[Rows]:
    """Choose the frames of which each dynamic image of a clip is built.

    Args:
        length: T, number of frames of the clip; at least `least_frames(sampling, parts)`.
        sampling: How the frames are chosen.

            - "local": the clip is divided into K equal parts; one image of n frames from each part; K images.
            - "local-global": as "local", with the first frame of the clip added to each image, so that each shows the
              change since the first frame; K images.
            - "interleaved": n frames are chosen in every part; image j is built from the j-th frame of each part, so
              that each image spans the whole clip; n images.
        parts: K, number of parts.
        n: Number of frames chosen in each part. A part that has fewer gives all of them.
        whole: Whether to add one image over the whole clip, of its first frame and K n frames spread evenly.
        rng: Chooses the frames at random within their bins (for training); None chooses the middle ones (for testing).

    Returns:
        One ascending array of frame indices for each image, each with at least two entries.

    Raises:
        MienError: An unknown sampling, a number out of range, or too short a clip.

    Example:
        >>> from mien.motion.dssi import sampled_rows
        >>> [rows.tolist() for rows in sampled_rows(12, "local-global", 2, 3)]
        [[0, 2, 4], [0, 6, 8, 10], [0, 2, 4, 6, 8, 10]]
    """
    least = least_frames(sampling, parts)
    if n < 1 or (sampling == "local" and n < 2):
        raise MienError(f"frames is {n}: {n} frame(s) of a segment.", "two or more.", "`--set frames=4`.")
    if length < least:
        fewer = {"local": length // 2, "local-global": length - 1, "interleaved": length}[sampling]
        raise MienError(
            f"A clip of {length} frame(s) for {parts} segments ({sampling}).",
            f"at least {least} frames.",
            f"`--set segments={max(fewer, 1)}`, or `--set fill=linear` to interpolate more frames.",
        )
    images = [spread(part.start, part.stop, n, rng) for part in segments(length, parts)]
    if sampling == "local-global":
        images = [np.union1d(np.zeros(1, np.intp), rows) for rows in images]
        if len(images[0]) == 1:  # only the first frame was chosen in the first part
            images[0] = np.array([0, 1], np.intp)
    elif sampling == "interleaved":
        # A part with fewer than n frames repeats them, so that the images still differ in the longer parts.
        places = [np.arange(n) * len(rows) // n for rows in images]
        images = [np.array([rows[p[j]] for rows, p in zip(images, places, strict=True)]) for j in range(n)]
    if whole:
        images.append(np.union1d(np.zeros(1, np.intp), spread(0, length, parts * n, rng)))
    return images


def image_count(sampling: str, parts: int, n: int, whole: bool = True) -> int:
    """Return S, the number of images that `sampled_rows` chooses frames for.

    Example:
        >>> from mien.motion.dssi import image_count
        >>> image_count("local", 3, 4), image_count("interleaved", 3, 4, whole=False)
        (4, 4)
    """
    return (n if sampling == "interleaved" else parts) + whole


def dssi_weights(
    length: int,
    sampling: str,
    parts: int,
    n: int,
    *,
    whole: bool = True,
    rng: np.random.Generator | None = None,
) -> NDArray[np.float64]:
    """Compute the weight of each frame of a clip in each of its dynamic images.

    Args:
        length: T, number of frames of the clip.
        sampling: See `sampled_rows`, as for the other arguments.
        parts: K, number of parts.
        n: Number of frames chosen in each part.
        whole: Whether to add one image over the whole clip.
        rng: Chooses the frames at random; None chooses the middle ones.

    Returns:
        (S, T). Each row sums to 0, its positive weights to 1: an image is a weighted mean of later frames minus a
        weighted mean of earlier ones, in grey levels for any number of frames.

    Raises:
        MienError: As `sampled_rows`.

    Example:
        >>> from mien.motion.dssi import dssi_weights
        >>> dssi_weights(4, "local", 2, 2, whole=False).tolist()
        [[-1.0, 1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 1.0]]

    Source: approximate rank pooling, Bilen et al., CVPR 2016. The common scale of all images is ours.
    """
    images = sampled_rows(length, sampling, parts, n, whole=whole, rng=rng)
    weights = np.zeros((len(images), length))
    for row_weights, rows in zip(weights, images, strict=True):
        ranks = rank_weights(len(rows))
        row_weights[rows] = ranks / ranks[ranks > 0].sum()
    return weights


def dssi(frames: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Compute all dynamic images of a clip in one matrix product.

    Args:
        frames: (T, ...), any scale.
        weights: (S, T) from `dssi_weights`; several random draws may be stacked along the first axis.

    Returns:
        (S, ...) in the unit of the frames: -255..255 for frames 0..255. Exactly 0 where nothing changes.

    Example:
        >>> import numpy as np
        >>> from mien.motion.dssi import dssi, dssi_weights
        >>> frames = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
        >>> dssi(frames, dssi_weights(4, "local", 2, 2, whole=False)).tolist()
        [[[1.0, 1.0], [1.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]]
    """
    return np.asarray(weigh_changes(weights, frames), np.float32)
