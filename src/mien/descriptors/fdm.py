"""FDM: the principal flow direction of every cuboid of a clip, after alignment pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.descriptors.blocks import spans
from mien.descriptors.hoof import Floats, check_flow, lengths
from mien.errors import MienError

_ROUNDS = 100  # the iteration ends by itself, mostly within ten


def fdm(
    flows: NDArray[Any],
    *,
    cuboids: Sequence[int] = (4, 8, 8),
    align: bool = True,
    tolerance: float = 0.05,
    amplitude: bool = False,
    still: float = 1e-3,
) -> Floats:
    """Facial dynamics map of a clip.

    Args:
        flows: (T, H, W, 2) displacement from each frame to the next, in pixels, x then y.
        cuboids: Parts of the time, rows and columns: how coarse the map is.
        align: Take out of each frame the translation that leaves the most pixels at rest (`without_translation`).
        tolerance: Pixels within which a pixel counts as at rest there.
        amplitude: False: unit vectors, as in the paper. True: times the mean of what the vectors of the cuboid move
            along the direction.
        still: Pixels; shorter vectors have no direction.

    Returns:
        (time x rows x columns x 2,): principal directions, x then y; 0 in cuboids where nothing moves.

    Raises:
        MienError: Another shape, values that are no numbers, more cuboids than frames or pixels.

    Source: Xu, Zhang and Wang, "Microexpression identification and categorization using a facial dynamics map", IEEE
    Transactions on Affective Computing 8(2), 2017; what is read and what is not is in docs/methods/fdm.md.
    """
    flows = check_flow(flows, 4)
    if len(cuboids) != 3 or any(int(n) != n or n < 1 for n in cuboids):
        raise MienError(
            f"cuboids is {list(cuboids)}.", "parts of time, rows and columns, from 1.", "`cuboids=[4, 8, 8]`."
        )
    times, rows, columns = (int(n) for n in cuboids)
    if times > len(flows):
        raise MienError(
            f"cuboids={list(cuboids)} for {len(flows)} flow fields.",
            "at least one frame after the first for every part of the time.",
            f"`cuboids={[len(flows), rows, columns]}`, or a longer clip.",
        )
    if rows > flows.shape[1] or columns > flows.shape[2]:
        raise MienError(
            f"cuboids={list(cuboids)} for {flows.shape[1]}x{flows.shape[2]} pixels.",
            "at least one pixel for every cuboid.",
            f"`cuboids={[times, min(rows, flows.shape[1]), min(columns, flows.shape[2])]}`, or a larger picture.",
        )
    if align:
        flows = without_translation(flows, tolerance)
    edges = (spans(side, n) for side, n in zip(flows.shape[:3], (times, rows, columns), strict=True))
    directions = []
    for (t0, t1), (y0, y1), (x0, x1) in product(*edges):
        vectors = flows[t0:t1, y0:y1, x0:x1].reshape(-1, 2)
        direction = principal_direction(vectors, still=still)
        directions.append(direction * np.maximum(vectors @ direction, 0).mean() if amplitude else direction)
    return np.concatenate(directions)


def mirror_fdm(vectors: NDArray[Any], *, cuboids: Sequence[int] = (4, 8, 8)) -> NDArray[Any]:
    """The map of the mirrored face: (..., time x rows x columns x 2), columns reversed, x negated."""
    cells = vectors.reshape(*vectors.shape[:-1], *cuboids, 2)[..., ::-1, :].copy()
    cells[..., 0] *= -1
    return np.asarray(cells.reshape(vectors.shape))


def without_translation(flows: NDArray[Any], tolerance: float = 0.05) -> Floats:
    """Flow after each frame is shifted so that the most pixels are at rest.

    Along x and along y, the shift is the centre of the interval of width 2 `tolerance` that holds the most pixels; of
    equals the lowest. The centre is the mean of the pixels in it.

    Args:
        flows: (T, H, W, 2) in pixels.
        tolerance: Pixels, > 0.

    Returns:
        (T, H, W, 2); 0 where all pixels of a frame move alike.

    Raises:
        MienError: A tolerance that is not above 0.

    Source: Xu, Zhang, Wang, TAC 2017, from its abstract; docs/methods/fdm.md.
    """
    if not tolerance > 0:
        raise MienError(f"tolerance is {tolerance}.", "pixels, above 0.", "`tolerance=0.05`.")
    result = np.asarray(flows, np.float64).copy()
    for field in result:
        for axis in (0, 1):
            ordered = np.sort(field[..., axis], axis=None)
            ends = np.searchsorted(ordered, ordered + 2 * tolerance, side="right")
            first = int(np.argmax(ends - np.arange(len(ordered))))
            # About the first value, so that equal values have exactly that mean.
            field[..., axis] -= ordered[first] + (ordered[first : ends[first]] - ordered[first]).mean()
    return result


def principal_direction(vectors: NDArray[Any], *, still: float = 1e-3) -> Floats:
    """The principal direction of a set of vectors, by iteration.

    Starting from the direction of the sum of all vectors, those within 90 degrees of it are summed, and the sum gives
    the next direction, until it is the sum of the same vectors again. What the vectors move along the direction, those
    against it counting nothing, never falls on the way.

    Args:
        vectors: (N, 2).
        still: Shorter vectors are left out.

    Returns:
        (2,) unit vector; 0 without vectors. Where the sum of all is 0, the longest vector is where it starts.

    Source: Xu, Zhang, Wang, TAC 2017, from its abstract; docs/methods/fdm.md.
    """
    moving = np.asarray(vectors, np.float64)
    moving = moving[lengths(moving) >= still]
    if not len(moving):
        return np.zeros(2)
    total = moving.sum(0)
    if not total.any():
        total = moving[int(np.argmax(lengths(moving)))]
    before: NDArray[np.bool_] | None = None
    for _ in range(_ROUNDS):
        ahead = moving @ total > 0
        if before is not None and np.array_equal(ahead, before):
            break
        before, total = ahead, ahead.astype(np.float64) @ moving
    return np.asarray(total / np.hypot(*total))
