"""Inputs that are read when asked for are the same as inputs held in memory."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import MienError
from mien.preprocessing import Context, Recipe, Step
from mien.preprocessing.cache import Cache, source_digest
from mien.preprocessing.inputs import ArrayInputs, CachedInputs, as_array, as_inputs, cached_inputs
from mien.types import Clip


def count(_: NDArray[Any], context: Context, *, copies: int) -> NDArray[Any]:
    value = context.clip.frames[0].read_bytes()[0]
    return np.arange(copies * 6).reshape(copies, 2, 3) + 10 * value


def make(tmp_path: Path, dtype: Any = "float32", copies: int = 3) -> CachedInputs:
    shape: tuple[int, ...] = (copies, 2, 3)
    recipe = Recipe((Step("count", count, {"copies": copies}),), "KHW", shape, (0, 255), dtype)
    cache, clips = Cache(tmp_path / "cache"), []
    for n in range(4):
        path = tmp_path / f"{n}.png"
        path.write_bytes(bytes([n]))
        clips.append(Clip("smic_hs", "s", str(n), None, "", frames=(path,)))
        cache.load_or_apply(clips[-1], recipe)
    return cached_inputs(clips, recipe, cache, [source_digest(c) for c in clips])


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_cached_inputs_equal_the_recipe_output(tmp_path: Path, dtype: str) -> None:
    inputs = make(tmp_path, dtype)
    held = ArrayInputs(np.stack([np.arange(18).reshape(3, 2, 3) + 10 * n for n in range(4)]), copies=3)
    assert (len(inputs), inputs.shape, inputs.copies) == (len(held), held.shape, held.copies) == (4, (2, 3), 3)
    for clips, copies in (([3, 0, 3], [2, 1, 0]), ([1], 0), (range(4), 2)):
        batch = inputs.take(clips, copies)
        assert batch.dtype == np.float32
        assert np.array_equal(batch, held.take(clips, np.broadcast_to(copies, len(clips))))
    assert np.array_equal(inputs[[2, 1]].take([0], [1]), held.take([2], [1]))
    assert np.array_equal(as_array(inputs), held.array[:, 0])


def test_a_deleted_entry_is_computed_again(tmp_path: Path) -> None:
    inputs = make(tmp_path)
    before = inputs.take([1], [2])
    inputs.cache.clear()
    again = pickle.loads(pickle.dumps(inputs))  # as in another process: nothing is mapped yet
    assert np.array_equal(again.take([1], [2]), before)


def test_map_entry_refuses_damaged_files(tmp_path: Path) -> None:
    inputs = make(tmp_path)
    for path in inputs.cache.folder.glob("*/*.safetensors"):
        path.write_bytes(path.read_bytes()[:-4])
    assert inputs.take([2], [0])[0, 0, 0] == 20


def test_as_inputs_and_as_array() -> None:
    x = np.zeros((5, 2, 2), np.float32)
    assert len(as_inputs(x)) == 5
    assert as_inputs(x).copies == 1
    assert as_array(x) is x


def test_a_recipe_without_a_fixed_shape_raises_mien_error(tmp_path: Path) -> None:
    recipe = Recipe((Step("count", count, {"copies": 1}),), "THW", (None, 2, 3), (0, 255))
    with pytest.raises(MienError, match="depends on the clip"):
        cached_inputs([], recipe, Cache(tmp_path), [])
