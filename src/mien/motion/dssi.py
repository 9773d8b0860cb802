"""Dynamic segmented sparse imaging (DSSI): a clip as a few dynamic images, each of a few of its frames.

A dynamic image is a weighted sum of frames, so all the images of a clip, in all their random draws, are one matrix
product: images = weights (S, T) times frames (T, pixels).

SMA-STN (Liu, Zheng, Zong, arXiv 2010.09342) names DSSI; its full text was not available, so which frames it takes is
open. The three samplings here are readings of the abstract's "segmented", "sparse" and "local-global".
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


def least_frames(sampling: str, parts: int) -> int:
    """Frames that a clip must have, so that each of its images shows at least two.

    Args:
        sampling: One of `SAMPLINGS`.
        parts: K, parts of the clip.

    Raises:
        MienError: There is no such sampling, or K is too small for it.
    """
    if sampling not in SAMPLINGS:
        raise unknown_name("sampling", sampling, SAMPLINGS, "--set sampling=local-global")
    fewest = 2 if sampling == "interleaved" else 1
    if parts < fewest:
        raise MienError(f"segments is {parts}.", f"{fewest} or more with {sampling}.", f"`--set segments={fewest}`.")
    return {"local": 2 * parts, "local-global": parts + 1, "interleaved": parts}[sampling]


def spread(first: int, stop: int, n: int, rng: np.random.Generator | None = None) -> Rows:
    """n different rows from `first` to before `stop`, one in each of n equal bins; all of them where there are fewer.

    Args:
        first: First row.
        stop: One past the last row.
        n: How many, >= 1.
        rng: Draws a row anywhere in each bin; None takes the middle of each.

    Returns:
        (min(n, stop - first),), rising.
    """
    n = min(n, stop - first)
    edges = first + np.arange(n + 1) * (stop - first) // n
    low, high = edges[:-1], edges[1:]
    return np.asarray((low + high - 1) // 2 if rng is None else rng.integers(low, high), np.intp)


def sampled_rows(
    length: int, sampling: str, parts: int, n: int, *, whole: bool = True, rng: np.random.Generator | None = None
) -> list[Rows]:
    """The frames that each dynamic image of a clip is made of.

    Args:
        length: T, frames of the clip; at least `least_frames`.
        sampling: "local" (D1): n frames of each of K equal parts, K images. "local-global" (D2): the same with the
            first frame before them, so that every image holds the way from the first frame. "interleaved" (D3): the
            j-th of n frames of every part, n images that each span the clip.
        parts: K, equal parts of the clip.
        n: Frames of a part; a part that is shorter gives all it has.
        whole: Add the image of the first frame and K n frames spread over all of the clip.
        rng: Draws the frames at random within their bins, for training; None takes the middle ones, for the test.

    Returns:
        One rising array of rows per image, each of two rows or more.

    Raises:
        MienError: An unknown sampling, numbers out of range, or a clip too short.
    """
    least = least_frames(sampling, parts)
    if n < 1 or (sampling == "local" and n < 2):
        raise MienError(f"{n} frame(s) of a segment.", "two or more.", "`--set frames=4`.")
    if length < least:
        fewer = {"local": length // 2, "local-global": length - 1, "interleaved": length}[sampling]
        raise MienError(
            f"A clip of {length} frame(s) for {parts} segments ({sampling}).",
            f"at least {least} frames.",
            f"`--set segments={max(fewer, 1)}`, or `--set fill=linear` to make frames between those that are there.",
        )
    found = [spread(part.start, part.stop, n, rng) for part in segments(length, parts)]
    if sampling == "local-global":
        found = [np.union1d(np.zeros(1, np.intp), rows) for rows in found]
        if len(found[0]) == 1:  # the first part drew the first frame alone
            found[0] = np.array([0, 1], np.intp)
    elif sampling == "interleaved":
        # A part shorter than n repeats its frames, so that sequences still differ in the longer parts.
        places = [np.arange(n) * len(rows) // n for rows in found]
        found = [np.array([rows[p[j]] for rows, p in zip(found, places, strict=True)]) for j in range(n)]
    if whole:
        found.append(np.union1d(np.zeros(1, np.intp), spread(0, length, parts * n, rng)))
    return found


def image_count(sampling: str, parts: int, n: int, whole: bool = True) -> int:
    """S, images that `sampled_rows` gives."""
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
    """The weight of each frame of a clip in each of its dynamic images.

    Args:
        length, sampling, parts, n, whole, rng: As in `sampled_rows`.

    Returns:
        (S, T). Each row sums to 0 and its positive weights to 1: an image is then a mean of later frames less a mean
        of earlier ones, in grey levels, whatever the number of frames.

    Raises:
        MienError: As `sampled_rows`.

    Source: approximate rank pooling, Bilen et al., CVPR 2016; the common scale is ours.
    """
    chosen = sampled_rows(length, sampling, parts, n, whole=whole, rng=rng)
    weights = np.zeros((len(chosen), length))
    for image, rows in zip(weights, chosen, strict=True):
        made = rank_weights(len(rows))
        image[rows] = made / made[made > 0].sum()
    return weights


def dssi(frames: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """All dynamic images of a clip in one matrix product.

    Args:
        frames: (T, ...), 0..255.
        weights: (S, T) of `dssi_weights`, several draws below each other where wanted.

    Returns:
        (S, ...) in grey levels, -255..255; exactly 0 where nothing changes.
    """
    return np.asarray(weigh_changes(weights, frames), np.float32)
