"""What flow-kernels compares of flow pictures, and how alike two of them are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_TINY = 1e-9
_MIRRORED_SIGNS = (1.0, -1.0, -1.0, 1.0)
"""Signs of u_x, v_x, u_y and v_y in a mirror image, where u and x change theirs."""


@dataclass(frozen=True, slots=True)
class FlowFeatures:
    """What the kernels compare, one row per clip.

    Attributes:
        motion: (N, 2, H, W) smoothed u and v about their medians, of unit root mean square together.
        strain: (N, 1, H, W) smoothed strain with mean 0 and standard deviation 1.
        derivatives: (N, 4, H, W) u_x, v_x, u_y, v_y of the motion, each of unit root mean square.
    """

    motion: Floats
    strain: Floats
    derivatives: Floats

    def mirrored(self) -> FlowFeatures:
        """Return the features of the mirror images: columns reversed, horizontal motion negated."""
        motion = self.motion[..., ::-1] * np.array([-1.0, 1.0])[:, None, None]
        derivatives = self.derivatives[..., ::-1] * np.array(_MIRRORED_SIGNS)[:, None, None]
        return FlowFeatures(motion, self.strain[..., ::-1], derivatives)


def flow_features(pictures: NDArray[Any], smoothing: float = 1.0, derivative_smoothing: float = 1.5) -> FlowFeatures:
    """Compute what the kernels compare from flow pictures.

    Args:
        pictures: (N, 3, H, W) of u, v and strain, in any unit: offset and scale of each picture are removed.
        smoothing: Standard deviation in pixels of the Gaussian on motion and strain, >= 0.
        derivative_smoothing: The same before derivatives are taken.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> features = flow_features(rng.normal(size=(2, 3, 28, 28)))
        >>> features.derivatives.shape
        (2, 4, 28, 28)
    """
    pictures = np.asarray(pictures, np.float64)
    height, width = pictures.shape[2:]
    motion = pictures[:, :2] - np.median(pictures[:, :2], axis=(2, 3), keepdims=True)
    motion = _unit(motion, (1, 2, 3))
    down, along = _gaussian(height, smoothing), _gaussian(width, smoothing).T
    smooth = _unit(down @ motion @ along, (1, 2, 3))
    strain = down @ pictures[:, 2:3] @ along
    strain = _unit(strain - strain.mean(axis=(2, 3), keepdims=True), (2, 3))
    down, along = _gaussian(height, derivative_smoothing), _gaussian(width, derivative_smoothing).T
    across, upright = np.gradient(along, axis=1), np.gradient(down, axis=0)
    derivatives = np.concatenate([down @ motion @ across, upright @ motion @ along], axis=1)
    return FlowFeatures(_by_rows(smooth), _by_rows(strain), _by_rows(_unit(derivatives, (2, 3))))


@cache
def _gaussian(length: int, deviation: float) -> Floats:
    """Return the matrix (L, L) that smooths L numbers by a Gaussian; beyond the ends they are mirrored.

    For pictures so small, a product is faster than a filter: the one of scipy takes a second of CPU to load alone.
    """
    reach = int(4 * deviation + 0.5)
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (steps / max(deviation, _TINY)) ** 2)
    at = (np.arange(length)[:, None] + steps) % (2 * length)
    at = np.minimum(at, 2 * length - 1 - at)
    matrix = np.zeros((length, length))
    np.add.at(matrix, (np.arange(length)[:, None], at), weights / weights.sum())
    return matrix


def _by_rows(values: Floats) -> Floats:
    """Return the same values (N, C, H, W), in memory by rows of the pictures: they are compared row by row."""
    return np.ascontiguousarray(values.transpose(2, 0, 1, 3)).transpose(1, 2, 0, 3)


def flow_kernel(a: FlowFeatures, b: FlowFeatures, windows: Floats, strain_share: float = 0.33) -> Floats:
    """Compute the similarity (R, N, M) of N and M clips in R regions, each in 0..2: the mean of the kernels A and B.

    A kernel is exp(-d) of the mean squared difference d to a clip, plus the same to the clip's mirror image.

    Args:
        a: Features of N clips.
        b: Features of M clips.
        windows: (R, H) how much each row of a picture counts in a region; each sums to 1.
        strain_share: Share of strain in kernel A, 0..1; the rest is motion.
    """
    # The mirror image of a compared with b is a compared with the mirror image of b: the fewer are mirrored.
    turned = len(a.motion) < len(b.motion)
    one, other = (_with_mirrored(a), b) if turned else (a, _with_mirrored(b))
    motion = mean_squared_differences(one.motion, other.motion, windows)
    strain = mean_squared_differences(one.strain, other.strain, windows)
    both = np.exp(-(1 - strain_share) * motion - strain_share * strain)
    both += np.exp(-mean_squared_differences(one.derivatives, other.derivatives, windows))
    halves = np.split(both, 2, axis=1 if turned else 2)
    return np.asarray((halves[0] + halves[1]) / 2)


def _with_mirrored(features: FlowFeatures) -> FlowFeatures:
    """Return features, and after them those of their mirror images."""
    turned = features.mirrored()
    return FlowFeatures(
        np.concatenate([features.motion, turned.motion]),
        np.concatenate([features.strain, turned.strain]),
        np.concatenate([features.derivatives, turned.derivatives]),
    )


def mean_squared_differences(a: Floats, b: Floats, windows: Floats) -> Floats:
    """Compute the mean of (a_i - b_j)^2 for each pair of clips, its rows weighted as in each region.

    Args:
        a: (N, C, H, W).
        b: (M, C, H, W).
        windows: See `flow_kernel`.

    Returns:
        (R, N, M).

    Example:
        >>> mean_squared_differences(np.zeros((1, 1, 4, 4)), np.ones((2, 1, 4, 4)), np.full((1, 4), 0.25))
        array([[[1., 1.]]])
    """
    found = np.zeros((len(windows), len(a), len(b)))
    # Rows that count alike in every region are compared at once.
    kinds, kind_of = np.unique(windows, axis=1, return_inverse=True)
    a, b = a.transpose(2, 0, 1, 3), b.transpose(2, 0, 1, 3)
    for kind, row_weights in enumerate(kinds.T):
        rows = np.flatnonzero(kind_of == kind)
        counts = row_weights * len(rows)
        one, other = _rows_of(a, rows), _rows_of(b, rows)
        differences = _mean_squares(one)[:, None] + _mean_squares(other) - (2 / one.shape[1]) * (one @ other.T)
        for region in np.flatnonzero(counts > _TINY):
            found[region] += counts[region] * differences
    return np.maximum(found, 0)


def _rows_of(values: Floats, rows: NDArray[np.int64]) -> Floats:
    """Return some rows, of (H, N, C, W), as (N, D)."""
    if len(rows) == 1:
        return np.asarray(values[rows[0]].reshape(values.shape[1], -1))
    return np.asarray(values[rows].transpose(1, 0, 2, 3).reshape(values.shape[1], -1))


def _mean_squares(values: Floats) -> Floats:
    return np.asarray(np.einsum("nd,nd->n", values, values) / values.shape[1])


def _unit(values: Floats, axes: tuple[int, ...]) -> Floats:
    unit: Floats = values / np.maximum(np.sqrt(np.mean(values**2, axis=axes, keepdims=True)), _TINY)
    return unit
