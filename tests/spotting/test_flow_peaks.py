"""The filters of flow-peaks equal those of scipy, which are not used because they take long to load."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, uniform_filter1d

from mien.spotting.flow_peaks import _highest, _mean, _smoothed

PATHS = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)


@pytest.mark.parametrize("deviation", [0.3, 2.5, 90.0])
def test_paths_are_smoothed_as_by_scipy(deviation: float) -> None:
    wanted = gaussian_filter1d(PATHS, deviation, axis=0, mode="nearest")
    np.testing.assert_allclose(_smoothed(PATHS, deviation), wanted, atol=1e-6)


@pytest.mark.parametrize("reach", [1, 12, 400])
def test_highest_and_mean_values_near_each_row_are_those_of_scipy(reach: int) -> None:
    curve = PATHS[:, 0]
    np.testing.assert_array_equal(_highest(curve, reach), maximum_filter1d(curve, 2 * reach + 1, mode="nearest"))
    np.testing.assert_allclose(_mean(curve, reach), uniform_filter1d(curve, 2 * reach + 1, mode="nearest"), atol=1e-6)
