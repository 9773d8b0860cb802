"""FDM, the facial dynamics map: the principal flow direction in each cuboid of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.descriptors.blocks import spans
from mien.descriptors.hoof import Floats, check_flow, lengths
from mien.errors import MienError

_ROUNDS = 100  # a limit that is not reached: the iteration mostly ends within ten


def fdm(
    flows: NDArray[Any],
    *,
    cuboids: Sequence[int] = (4, 8, 8),
    align: bool = True,
    tolerance: float = 0.05,
    amplitude: bool = False,
    still: float = 1e-3,
) -> Floats:
    """Compute the facial dynamics map (FDM) of a clip.

    Args:
        flows: (T, H, W, 2) displacement from each frame to the next in pixels, x then y.
        cuboids: Numbers of parts of the time, the rows and the columns.
        align: Whether to remove from each frame the translation that leaves most pixels at rest
            (`without_translation`).
        tolerance: Displacement in pixels, > 0, within which a pixel counts as at rest.
        amplitude: False: unit vectors, as in the paper. True: multiplied by the mean displacement of the cuboid in the
            principal direction.
        still: Length in pixels; shorter vectors have no direction.

    Returns:
        (times * rows * columns * 2,) principal directions, x then y; 0 in cuboids where nothing moves.

    Raises:
        MienError: Another shape, NaN, or more cuboids than frames or pixels.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.fdm import fdm
        >>> flows = np.random.default_rng(0).normal(size=(8, 16, 16, 2))
        >>> fdm(flows, cuboids=(2, 4, 4)).shape
        (64,)

    Source: Xu, Zhang and Wang, "Microexpression identification and categorization using a facial dynamics map", IEEE
    Transactions on Affective Computing 8(2), 2017, as far as it could be read; see docs/methods/fdm.md.
    """
    flows = check_flow(flows, 4)
    if len(cuboids) != 3 or any(int(n) != n or n < 1 for n in cuboids):
        raise MienError(
            f"cuboids is {list(cuboids)}.", "three whole numbers from 1: time, rows, columns.", "`cuboids=[4, 8, 8]`."
        )
    times, rows, columns = (int(n) for n in cuboids)
    if times > len(flows):
        raise MienError(
            f"cuboids={list(cuboids)} for {len(flows)} flow fields.",
            "at least one flow field for each part of the time.",
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
    """Return the map of the mirrored face, (..., times * rows * columns * 2): columns reversed, x negated.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.fdm import mirror_fdm
        >>> mirror_fdm(np.array([1.0, 0.0, 0.0, 1.0]), cuboids=(1, 1, 2)).tolist()
        [-0.0, 1.0, -1.0, 0.0]
    """
    cells = vectors.reshape(*vectors.shape[:-1], *cuboids, 2)[..., ::-1, :].copy()
    cells[..., 0] *= -1
    return np.asarray(cells.reshape(vectors.shape))


def without_translation(flows: NDArray[Any], tolerance: float = 0.05) -> Floats:
    """Remove from each frame's flow the translation that leaves most pixels at rest.

    Along x and along y, the translation is found in the interval of width 2 `tolerance` that holds most pixels (of
    equal ones, the lowest): it is the mean of the pixels in it.

    Args:
        flows: (T, H, W, 2) displacement in pixels, x then y.
        tolerance: In pixels, > 0.

    Returns:
        (T, H, W, 2); exactly 0 where all pixels of a frame move alike.

    Raises:
        MienError: A tolerance <= 0.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.fdm import without_translation
        >>> float(without_translation(np.full((1, 4, 4, 2), 3.0)).max())
        0.0

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
            # The mean is taken relative to the first value, so that equal values have exactly that mean.
            field[..., axis] -= ordered[first] + (ordered[first : ends[first]] - ordered[first]).mean()
    return result


def principal_direction(vectors: NDArray[Any], *, still: float = 1e-3) -> Floats:
    """Return the principal direction of a set of vectors, by iteration.

    Starting with the sum of all vectors, the vectors within 90 degrees of the current direction are summed to give the
    next direction, until the same vectors are summed again. The total displacement in the direction never decreases on
    the way.

    Args:
        vectors: (N, 2), x then y.
        still: Vectors shorter than this are ignored.

    Returns:
        (2,) unit vector, or 0 without vectors. If the sum of all vectors is 0, the iteration starts with the longest
        one.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.fdm import principal_direction
        >>> principal_direction(np.array([[2.0, 0.0], [3.0, 0.0], [-1.0, 0.0]])).tolist()
        [1.0, 0.0]

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
