"""Rasterise triangles: find which triangle is visible at each sample, and interpolate vertex values there.

Every triangle is split into the rows of samples that it crosses, and every row into samples, all at once in numpy. A
z-buffer keeps the nearest. Samples stay in the order of their triangles, so that memory is read in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Whole = NDArray[np.int64]

_EDGE = 1e-5  # tolerance at the edges, in samples, so that no gap opens between two triangles


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """The visible triangle at each sample that shows one, in the order of the triangles.

    Attributes:
        place: (N,) position of the sample: row * width + column.
        triangle: (N,) index of the triangle.
        share: (N, 2) barycentric coordinates of its second and third corner in space (not in the picture), 0..1.
        nearness: (N,) one over the distance from the plane of the camera.
    """

    place: NDArray[np.int32]
    triangle: NDArray[np.int32]
    share: Floats
    nearness: Floats

    def carry(self, values: NDArray[Any], triangles: Whole) -> Floats:
        """Interpolate values of the vertices, in space.

        Args:
            values: (V, K) values of the vertices.
            triangles: (M, 3) triangles as they were rasterised.

        Returns:
            (N, K)
        """
        corners = values.astype(np.float32, copy=False)[triangles]
        first = corners[:, 0].take(self.triangle, 0)
        first += (corners[:, 1] - corners[:, 0]).take(self.triangle, 0) * self.share[:, :1]
        first += (corners[:, 2] - corners[:, 0]).take(self.triangle, 0) * self.share[:, 1:]
        return np.asarray(first, np.float32)

    def points(self, vertices: NDArray[np.float64], triangles: Whole) -> NDArray[np.float64]:
        """Interpolate vertices (V, 3) in double precision, for exact motion; return (N, 3)."""
        corners = vertices[triangles[self.triangle]]
        share = self.share.astype(np.float64)
        first = 1 - share.sum(1, keepdims=True)
        return np.asarray(corners[:, 0] * first + corners[:, 1] * share[:, :1] + corners[:, 2] * share[:, 1:])


def rasterise(
    xy: NDArray[np.floating[Any]], nearness: NDArray[np.floating[Any]], triangles: Whole, shape: tuple[int, int]
) -> Samples:
    """Find the visible triangle at every sample of a grid.

    Args:
        xy: (V, 2) positions of the vertices on the grid, x then y; samples lie at whole numbers.
        nearness: (V,) one over the distance of the vertices from the plane of the camera, above 0; all ones means no
            depth.
        triangles: (M, 3) corners; triangles that are clockwise in a picture with y down show their back and are left
            out.
        shape: Rows and columns of the grid.

    Example:
        >>> corners = np.array([[0.0, 0.0], [0.0, 3.0], [3.0, 0.0]])
        >>> rasterise(corners, np.ones(3), np.array([[0, 1, 2]]), (4, 4)).place.tolist()
        [0, 1, 2, 3, 4, 5, 6, 8, 9, 12]
    """
    height, width = shape
    corners = np.asarray(xy, np.float64)[triangles]
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    top, bottom = np.ceil(corners[..., 1].min(1)), np.floor(corners[..., 1].max(1))
    right, left = corners[..., 0].max(1), corners[..., 0].min(1)
    front = (area < -1e-9) & (bottom >= 0) & (top <= height - 1) & (right >= 0) & (left <= width - 1) & (bottom >= top)
    which = np.flatnonzero(front)
    a, b, c, area = a[which], b[which], c[which], area[which]
    top = top[which].clip(0, height - 1).astype(np.int64)
    bottom = bottom[which].clip(0, height - 1).astype(np.int64)

    rows = bottom - top + 1
    of = np.repeat(np.arange(len(which)), rows)
    y = np.arange(len(of)) - np.repeat(np.cumsum(rows) - rows, rows) + top[of]
    low, high = np.full(len(of), -np.inf), np.full(len(of), np.inf)
    for p, q in ((a, b), (b, c), (c, a)):
        # Inside is where (q - p) x (s - p) <= 0: a bound on x, from below or above by the direction of the edge.
        dx, dy = (q - p).T
        with np.errstate(divide="ignore", invalid="ignore"):
            bound = p[of, 0] + (y - p[of, 1]) * (dx / dy)[of]
        rising, falling = dy[of] < 0, dy[of] > 0
        high = np.where(rising, np.minimum(high, bound), high)
        low = np.where(falling, np.maximum(low, bound), low)
        level = dy == 0
        if level.any():
            outside = level[of] & (dx[of] * (y - p[of, 1]) > _EDGE)
            high = np.where(outside, -1.0, high)
    first = np.ceil(low - _EDGE).clip(0, width).astype(np.int64)
    last = np.floor(high + _EDGE).clip(-1, width - 1).astype(np.int64)
    columns = last - first + 1
    some = columns > 0
    of, y, first, columns = of[some], y[some], first[some], columns[some]

    # Barycentric coordinates are linear along a row in the picture; divided by the distance, also in space.
    near = np.asarray(nearness, np.float64)[triangles[which]]
    dx1, dy1 = (c[:, 1] - a[:, 1]) / area, -(c[:, 0] - a[:, 0]) / area
    dx2, dy2 = -(b[:, 1] - a[:, 1]) / area, (b[:, 0] - a[:, 0]) / area
    over1, over2 = near[:, 1] - near[:, 0], near[:, 2] - near[:, 0]
    rx, ry = first - a[of, 0], y - a[of, 1]
    second, third = rx * dx1[of] + ry * dy1[of], rx * dx2[of] + ry * dy2[of]
    # Three numbers per sample: nearness times each share, and the nearness itself.
    middle = near[of, 0] + second * over1[of] + third * over2[of]
    start = np.stack([second * near[of, 1], third * near[of, 2], middle]).astype(np.float32)
    step = np.stack([dx1 * near[:, 1], dx2 * near[:, 2], dx1 * over1 + dx2 * over2]).astype(np.float32)[:, of]
    columns = columns.astype(np.int32)
    row = np.repeat(np.arange(len(of), dtype=np.int32), columns)
    # Index of the first sample of each row in the list of all samples.
    before = np.cumsum(columns, dtype=np.int32) - columns
    sample = np.arange(len(row), dtype=np.int32)
    along = (sample - before[row]).astype(np.float32)
    place = ((y * width + first).astype(np.int32) - before)[row] + sample
    near_here = start[2][row] + step[2][row] * along

    nearest = np.zeros(height * width, np.float32)
    np.maximum.at(nearest, place, near_here)
    # If two triangles have the same nearness at a sample, as on a shared edge, the last one is kept.
    owner = np.zeros(height * width, np.int32)
    won = np.flatnonzero(near_here >= nearest[place]).astype(np.int32)
    owner[place[won]] = won
    kept = won[owner[place[won]] == won]
    row, along, near_here = row[kept], along[kept], near_here[kept]
    share = np.empty((len(kept), 2), np.float32)
    for i in (0, 1):
        np.divide(start[i][row] + step[i][row] * along, near_here, out=share[:, i])
    return Samples(place[kept], which.astype(np.int32)[of[row]], share.clip(0, 1), near_here)
