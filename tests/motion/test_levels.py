"""Tests that pictures of every type come to the scale 0..255, or are refused."""

import numpy as np
import pytest

from mien.errors import MienError
from mien.motion.levels import as_levels, to_grey

PICTURE = np.random.default_rng(0).integers(0, 256, (9, 8), np.uint8)
PICTURE[0, 0] = 255


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64, np.float32, np.float64])
def test_levels_0_to_255_are_returned_as_they_are(kind: type[np.number]) -> None:
    (levels,) = as_levels(PICTURE.astype(kind))
    assert levels.dtype == kind
    assert np.array_equal(levels, PICTURE)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_0_to_1_are_multiplied_by_255(kind: type[np.floating]) -> None:
    (levels,) = as_levels((PICTURE / 255).astype(kind))
    assert np.abs(levels - PICTURE.astype(np.float64)).max() < (0.2 if kind == np.float16 else 1e-4)


def test_uint16_is_divided_by_257() -> None:
    (levels,) = as_levels(PICTURE.astype(np.uint16) * np.uint16(257))
    assert np.abs(levels - PICTURE.astype(np.float64)).max() < 1e-4


def test_floats_of_one_call_share_a_scale() -> None:
    dark = np.full((4, 4), 0.8)  # 0.8 of 255 beside a lighter frame, 204 of 255 alone
    light = PICTURE.astype(np.float64)
    assert as_levels(dark, light)[0].max() == 0.8
    assert as_levels(dark)[0].max() == pytest.approx(204)


def test_values_slightly_outside_the_range_are_kept() -> None:
    assert as_levels(np.array([-12.0, 270.0]))[0].tolist() == [-12, 270]
    assert as_levels(np.array([-0.02, 1.1]))[0] == pytest.approx([-5.1, 280.5], abs=1e-3)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.array([-1.0, 1.0]), "from -1 to 1"),
        (np.array([0.0, 65535.0]), "to 65535"),
        (np.array([-400.0, 200.0]), "from -400"),
        (np.array([0.0, np.nan]), "not numbers"),
        (np.array([0.0, np.inf]), "not numbers"),
        (np.array([0, 256], np.int32), "256"),
        (np.array([-1, 4], np.int16), "-1"),
        (np.array([True]), "type bool"),
        (np.array([1j]), "type complex"),
    ],
)
def test_other_scales_and_types_raise_mien_error(picture: np.ndarray, words: str) -> None:
    with pytest.raises(MienError, match=words):
        as_levels(picture)


def test_to_grey_weighs_colours_and_refuses_other_shapes() -> None:
    assert to_grey(np.full((2, 2, 3), (0, 100, 0), np.uint8)) == pytest.approx(58.7)
    assert np.array_equal(to_grey(PICTURE), PICTURE)
    with pytest.raises(MienError, match="RGB"):
        to_grey(np.zeros((2, 2, 4)))
