"""Tests that the cache finds entries by content, never uses damaged ones, and stays within its limit."""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from mien.errors import MienError
from mien.preprocessing import Context, Recipe, Step
from mien.preprocessing.cache import Cache, _checksum, read_entry, source_digest
from mien.types import Clip, Interval

RUNS: list[str] = []


def spread(_: NDArray[Any], context: Context, *, factor: float, n: int) -> NDArray[Any]:
    """A step that depends on the frames, and says that it ran."""
    RUNS.append(context.clip.key)
    context.interval_source = "detected"
    context.notes.append("said once")
    value = float(len(context.clip.frames[0].read_bytes())) * factor
    return np.full((n, 3), value)


def recipe(factor: float = 2.0, n: int = 4, version: int = 1) -> Recipe:
    return Recipe((Step("spread", spread, {"factor": factor, "n": n}, version),), "HW", (None, 3), (0, 1e9))


def clip(folder: Path, content: bytes = b"frame", name: str = "EP01") -> Clip:
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"{name}.png"
    path.write_bytes(content)
    return Clip("casme2", "sub01", name, Interval(1, 2, 3), "happiness", frames=(path,), frame_nos=(1,))


@pytest.fixture(autouse=True)
def _forget() -> None:
    RUNS.clear()


def test_the_second_result_comes_from_the_cache(tmp_path: Path) -> None:
    cache, one = Cache(tmp_path / "cache"), clip(tmp_path / "data")
    made, kept = cache.load_or_apply(one, recipe())
    again, kept_again = cache.load_or_apply(one, recipe())
    assert (kept, kept_again, len(RUNS)) == (False, True, 1)
    assert np.array_equal(made.array, again.array)
    assert again.array.dtype == np.float32
    assert (again.interval_source, again.notes) == ("detected", ("said once",))


@pytest.mark.parametrize("source", ["given", "found"])
def test_an_entry_of_an_earlier_version_is_read_unless_it_lacks_what_was_detected(tmp_path: Path, source: str) -> None:
    cache, one = Cache(tmp_path / "cache"), clip(tmp_path / "data")
    cache.load_or_apply(one, recipe())
    (path,) = (tmp_path / "cache").glob("*/*.safetensors")
    with safe_open(path, framework="np") as file:
        about, array = dict(file.metadata()), file.get_tensor("input")
    added = ("checksum", "interval_source", "interval_used")
    former = {k: v for k, v in about.items() if k not in added} | {"interval": source}
    path.write_bytes(save({"input": array}, former | {"checksum": _checksum(array, former)}))
    again, kept = cache.load_or_apply(one, recipe())
    assert kept == (source == "given")
    assert again.interval_source == ("annotated" if kept else "detected")


def test_equal_frames_in_another_folder_have_the_same_entry(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    cache.load_or_apply(clip(tmp_path / "a"), recipe())
    _, kept = cache.load_or_apply(clip(tmp_path / "b", name="other"), recipe())
    assert kept
    assert cache.size()[0] == 1


@pytest.mark.parametrize("change", ["frames", "parameter", "version", "interval"])
def test_a_change_of_frames_interval_or_recipe_gives_another_entry(tmp_path: Path, change: str) -> None:
    cache, one = Cache(tmp_path / "cache"), clip(tmp_path / "a")
    cache.load_or_apply(one, recipe())
    other, how = one, recipe()
    if change == "frames":
        other = clip(tmp_path / "a", b"another frame")
    elif change == "interval":
        other = Clip("casme2", "sub01", "EP01", Interval(1, None, 3), "", frames=one.frames, frame_nos=(1,))
    else:
        how = recipe(3.0) if change == "parameter" else recipe(version=2)
    assert cache.load_or_apply(other, how)[1] is False
    assert cache.size()[0] == 2


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text"])
def test_a_damaged_entry_is_computed_again(tmp_path: Path, damage: str) -> None:
    cache, one = Cache(tmp_path / "cache"), clip(tmp_path / "data")
    made, _ = cache.load_or_apply(one, recipe())
    (path,) = (tmp_path / "cache").glob("*/*.safetensors")
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-2] ^= 0x10
    damaged = {"truncated": bytes(content[:-5]), "flipped": bytes(content), "empty": b"", "text": b"not one"}[damage]
    path.write_bytes(damaged)
    again, kept = cache.load_or_apply(one, recipe())
    assert not kept
    assert np.array_equal(made.array, again.array)
    assert cache.load_or_apply(one, recipe())[1]


def test_the_least_recently_used_entries_are_deleted_first(tmp_path: Path) -> None:
    big = recipe(n=1000)  # 12 kB an entry
    cache = Cache(tmp_path / "cache", limit=50_000)
    clips = [clip(tmp_path / "data", bytes(n + 1), f"EP{n}") for n in range(4)]
    for age, one in enumerate(clips):
        cache.load_or_apply(one, big)
        path = next(p for p in (tmp_path / "cache").glob("*/*") if source_digest(one) in p.name)
        os.utime(path, (time.time() - 100 + age,) * 2)
    assert cache.load_or_apply(clips[0], big)[1]  # used again: now the youngest
    cache.load_or_apply(clip(tmp_path / "data", bytes(9), "EP9"), big)
    left = {p.stem for p in (tmp_path / "cache").glob("*/*.safetensors")}
    assert cache.size()[1] <= 50_000
    assert source_digest(clips[0]) in left
    assert source_digest(clips[1]) not in left


def test_an_entry_larger_than_the_limit_is_not_stored(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", limit=100)
    made, _ = cache.load_or_apply(clip(tmp_path / "data"), recipe(n=1000))
    assert made.array.shape == (1000, 3)
    assert cache.size() == (0, 0)


def test_the_limit_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIEN_CACHE_GIB", raising=False)
    assert Cache(tmp_path).limit == 20 * 2**30
    monkeypatch.setenv("MIEN_CACHE_GIB", "0.5")
    assert Cache(tmp_path).limit == 2**29
    assert Cache(tmp_path, 7).limit == 7
    for wrong in ("much", "-1", "nan", "inf"):
        monkeypatch.setenv("MIEN_CACHE_GIB", wrong)
        with pytest.raises(MienError, match=f"MIEN_CACHE_GIB is '{wrong}'"):
            Cache(tmp_path)


def test_a_full_disk_gives_a_warning_and_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mien.preprocessing.cache.write_atomically", full)
    with pytest.warns(UserWarning, match="No space left"):
        made, kept = Cache(tmp_path / "cache").load_or_apply(clip(tmp_path / "data"), recipe())
    assert not kept
    assert made.array.shape == (4, 3)


def test_a_missing_frame_raises_mien_error(tmp_path: Path) -> None:
    one = clip(tmp_path / "data")
    one.frames[0].unlink()
    with pytest.raises(MienError, match="cannot be read"):
        Cache(tmp_path / "cache").load_or_apply(one, recipe())


def test_clear_deletes_all_entries_and_no_other_files(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    cache.load_or_apply(clip(tmp_path / "data"), recipe())
    (tmp_path / "cache" / "mine.txt").write_text("kept")
    assert cache.clear() == 1
    assert cache.size() == (0, 0)
    assert (tmp_path / "cache" / "mine.txt").is_file()


def _fill(arguments: tuple[Path, Path, int]) -> list[float]:
    folder, data, seed = arguments
    cache, found = Cache(folder, limit=60_000), []
    for n in np.random.default_rng(seed).permutation(30) % 6:
        one = Clip("casme2", "s", f"EP{n}", None, "", frames=(data / f"EP{n}.png",), frame_nos=(1,))
        found.append(float(cache.load_or_apply(one, recipe(n=1000))[0].array[0, 0]) - 2.0 * (n + 1))
    return found


def test_several_processes_can_share_a_cache(tmp_path: Path) -> None:
    for n in range(6):
        clip(tmp_path / "data", bytes(n + 1), f"EP{n}")
    with ProcessPoolExecutor(3) as pool:
        results = list(pool.map(_fill, [(tmp_path / "cache", tmp_path / "data", seed) for seed in range(3)]))
    assert all(difference == 0 for result in results for difference in result)
    assert all(read_entry(path) is not None for path in (tmp_path / "cache").glob("*/*.safetensors"))
    assert not list((tmp_path / "cache").glob("*/.*"))


def test_the_cache_folder_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    Cache(tmp_path / "cache").load_or_apply(clip(tmp_path / "data"), recipe())
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
