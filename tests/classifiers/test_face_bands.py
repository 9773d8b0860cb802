"""Bands of the face, and which of them count for an action unit."""

from __future__ import annotations

import numpy as np
import pytest

from mien.classifiers.face_bands import BANDS, REGIONS, UNIT_BANDS, class_shares, unit_shares, whole_face, windows
from mien.datasets.labels import label_map


@pytest.mark.parametrize("height", [2, 13, 28, 245])
def test_rows_of_each_region_sum_to_one(height: int) -> None:
    found = windows(height)
    assert found.shape == (len(REGIONS), height)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(1), 1)


def test_bands_lie_from_brows_to_chin_and_halves_apart() -> None:
    found = dict(zip(REGIONS, windows(28), strict=True))
    middles = [float(found[band] @ np.arange(28)) for band in BANDS]
    assert middles == sorted(middles)
    assert not (found["upper half"] * found["lower half"]).any()


def test_shares_of_each_output_sum_to_one() -> None:
    for shares in (whole_face(3), class_shares(3), unit_shares(label_map("au12").classes)):
        np.testing.assert_allclose(shares.sum(1), 1)


def test_every_unit_of_the_maps_has_a_band_and_an_unknown_one_the_whole_face() -> None:
    assert set(label_map("au12").units) <= set(UNIT_BANDS)
    np.testing.assert_array_equal(unit_shares(["AU99", "frown"]), whole_face(2))
    assert unit_shares(["AU4"])[0, REGIONS.index("brows")] == pytest.approx(2 / 3)
