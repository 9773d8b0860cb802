"""Pictures in checkpoints: nothing is lost, and damaged ones are refused."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.classifiers.packed import pack, unpack

Arrays = dict[str, NDArray[Any]]


def pictures(n: int, channels: int, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, channels, height, width), dtype=np.uint8)


@cache
def packed_pictures(shape: tuple[int, int, int, int]) -> tuple[Arrays, Arrays]:
    """Noise a little larger than what is stored as it is, beside other numbers; and the same packed, in a second."""
    arrays: Arrays = {"pictures": pictures(*shape), "coefficients": np.arange(12.0).reshape(4, 3)}
    return arrays, pack(arrays)


@pytest.mark.parametrize("shape", [(41, 3, 24, 24), (39, 6, 18, 18), (3, 9, 52, 48), (320, 3, 1, 70)])
def test_packed_pictures_come_back(shape: tuple[int, int, int, int]) -> None:
    arrays, packed = packed_pictures(shape)
    assert set(packed) == {"pictures.webp", "pictures.shape", "coefficients"}
    back = unpack(packed)
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert np.array_equal(back[name], array)
        assert back[name].dtype == array.dtype


@pytest.mark.parametrize(
    "array", [pictures(2, 3, 28, 28), pictures(90, 4, 28, 28), np.zeros((90, 3, 28, 28), np.float32)]
)
def test_what_is_small_or_no_pictures_stays_as_it_is(array: NDArray[np.generic]) -> None:
    assert pack({"a": array})["a"] is array


def test_damaged_pictures_are_refused() -> None:
    packed = packed_pictures((41, 3, 24, 24))[1]
    content, shape = packed["pictures.webp"], packed["pictures.shape"]
    for stated in (
        [41, 3, 24],
        [81, 3, 24, 24],
        [41, 2, 24, 24],
        [10**12, 3, 24, 24],
        [41, 3, -24, 24],
        [0, 3, 24, 24],
    ):
        with pytest.raises(ValueError, match="packed pictures"):
            unpack({"pictures.webp": content, "pictures.shape": np.array(stated)})
    for broken in (content[:200], content[:0], np.zeros(100, np.uint8)):
        with pytest.raises((ValueError, OSError)):
            unpack({"pictures.webp": broken, "pictures.shape": shape})
    with pytest.raises(KeyError):
        unpack({"pictures.webp": content})
