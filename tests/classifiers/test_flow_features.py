"""Features of flow pictures and the kernels between them, against slow and obvious versions of the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from mien.classifiers.face_bands import windows
from mien.classifiers.flow_features import flow_features, flow_kernel, mean_squared_differences
from mien.classifiers.svm import mirror_flow

Floats = NDArray[Any]
WHOLE = windows(12)[:1]


def pictures(n: int, seed: int = 0, channels: int = 3) -> Floats:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, channels, 12, 10)) * 20 + 128


def about_zero(x: Floats) -> Floats:
    return x - np.median(x, axis=(2, 3), keepdims=True)


def test_mean_squared_differences_equal_a_loop() -> None:
    a, b = pictures(3), pictures(4, seed=1)
    rows = windows(12)
    wanted = [
        [[sum(rows[r, h] * ((one[:, h] - other[:, h]) ** 2).mean() for h in range(12)) for other in b] for one in a]
        for r in range(len(rows))
    ]
    found = mean_squared_differences(a, b, rows)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    np.testing.assert_allclose(found[0], [[((one - other) ** 2).mean() for other in b] for one in a], rtol=1e-9)


def test_features_do_not_change_with_offset_and_scale_of_a_picture() -> None:
    x = pictures(3)
    changed = x * np.array([2.5, 2.5, 0.3])[:, None, None] + np.array([7.0, -3.0, 40.0])[:, None, None]
    for name in ("motion", "strain", "derivatives"):
        np.testing.assert_allclose(
            getattr(flow_features(changed), name), getattr(flow_features(x), name), rtol=1e-8, atol=1e-9
        )


def test_features_of_a_mirrored_picture_are_the_mirrored_features() -> None:
    x = about_zero(pictures(3))
    directly = flow_features(mirror_flow(x))
    for name in ("motion", "strain", "derivatives"):
        np.testing.assert_allclose(getattr(directly, name), getattr(flow_features(x).mirrored(), name), atol=1e-9)


def test_kernel_equals_its_formula_clip_by_clip() -> None:
    a, b = flow_features(pictures(2)), flow_features(pictures(3, seed=1))
    wanted = np.zeros((2, 3))
    for i in range(2):
        for j in range(3):
            for other in (b, b.mirrored()):
                motion = ((a.motion[i] - other.motion[j]) ** 2).mean()
                strain = ((a.strain[i] - other.strain[j]) ** 2).mean()
                wanted[i, j] += np.exp(-0.67 * motion - 0.33 * strain) / 2
                wanted[i, j] += np.exp(-((a.derivatives[i] - other.derivatives[j]) ** 2).mean()) / 2
    np.testing.assert_allclose(flow_kernel(a, b, WHOLE)[0], wanted, rtol=1e-9)


def test_kernel_takes_a_clip_and_its_mirror_image_for_the_same() -> None:
    x = about_zero(pictures(4))
    features, mirrored = flow_features(x), flow_features(mirror_flow(x))
    own, turned = (flow_kernel(each, features, windows(12)) for each in (features, mirrored))
    np.testing.assert_allclose(own, turned, rtol=1e-8)


def test_still_pictures_give_finite_features_and_kernels() -> None:
    features = flow_features(np.full((2, 3, 8, 8), 128.0))
    assert np.isfinite(flow_kernel(features, features, windows(8))).all()


@pytest.mark.parametrize("smoothing", [0.0, 1.0, 4.0])
def test_features_are_smoothed_as_by_a_filter(smoothing: float) -> None:
    motion = about_zero(pictures(2))[:, :2]
    smooth = gaussian_filter(motion, (0, 0, smoothing, smoothing))
    wanted = smooth / np.sqrt((smooth**2).mean(axis=(1, 2, 3), keepdims=True))
    np.testing.assert_allclose(flow_features(pictures(2), smoothing).motion, wanted, atol=1e-12)
