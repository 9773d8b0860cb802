"""Many clips through one recipe: what can be made is kept, what cannot is listed."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import MienError
from mien.preprocessing import Context, Recipe, Step
from mien.preprocessing.cache import Cache
from mien.preprocessing.prepare import prepare, video_clip
from mien.types import Clip, Interval


def grey_level(_: NDArray[Any], context: Context, *, size: int) -> NDArray[Any]:
    content = context.clip.frames[0].read_bytes()
    if content == b"bad":
        raise MienError("The frame is bad.", "a good one.", "`mien check`.")
    if content == b"bug":
        raise ZeroDivisionError("oh")
    return np.full((size, size), float(content[0]))


def recipe(size: int = 2) -> Recipe:
    return Recipe((Step("grey_level", grey_level, {"size": size}),), "HW", (size, size), (0, 255))


def corpus(folder: Path, contents: list[bytes]) -> list[Clip]:
    folder.mkdir()
    clips = []
    for n, content in enumerate(contents):
        path = folder / f"{n}.png"
        path.write_bytes(content)
        clips.append(
            Clip("smic_hs", f"s{n // 2}", f"s{n // 2}/odd name {n}", Interval(1, None, 9), "", frames=(path,), fps=100)
        )
    return clips


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_bad_clip_does_not_affect_the_others(tmp_path: Path, jobs: int) -> None:
    clips = corpus(tmp_path / "data", [b"a", b"bad", b"c", b"bug"])
    outcomes = prepare(clips, recipe(), out=tmp_path / "out", cache=Cache(tmp_path / "cache"), jobs=jobs)
    assert [o.key for o in outcomes] == [c.key for c in clips]
    assert [o.error is None for o in outcomes] == [True, False, True, False]
    assert outcomes[1].error == ("The frame is bad.", "a good one.", "`mien check`.")
    assert "ZeroDivisionError: oh" in str(outcomes[3].error)
    for place, value in ((0, ord("a")), (2, ord("c"))):
        assert (np.load(tmp_path / "out" / outcomes[place].file, allow_pickle=False) == value).all()
    rows = list(csv.DictReader((tmp_path / "out" / "index.csv").open()))
    assert [bool(row["error"]) for row in rows] == [False, True, False, True]
    assert rows[0]["shape"] == "2x2"
    assert (rows[0]["onset"], rows[0]["apex"], rows[0]["offset"]) == ("1", "", "9")
    about = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert about["fingerprint"] == recipe().fingerprint


def test_a_second_run_resumes_where_the_first_stopped(tmp_path: Path) -> None:
    clips = corpus(tmp_path / "data", [b"a", b"b", b"c"])
    cache = Cache(tmp_path / "cache")
    prepare(clips[:2], recipe(), out=tmp_path / "out", cache=cache)
    outcomes = prepare(clips, recipe(), out=tmp_path / "out", cache=cache)
    assert [o.cached for o in outcomes] == [True, True, False]
    assert all((tmp_path / "out" / o.file).is_file() for o in outcomes)


def test_different_keys_have_different_files(tmp_path: Path) -> None:
    clips = corpus(tmp_path / "data", [b"a", b"b"])
    odd = [Clip(c.dataset, "s", name, None, "", frames=c.frames) for c, name in zip(clips, ("a/b", "a b"), strict=True)]
    outcomes = prepare(odd, recipe(), out=tmp_path / "out")
    files = {o.file for o in outcomes}
    assert len(files) == 2
    assert all((tmp_path / "out" / file).resolve().is_relative_to(tmp_path / "out") for file in files)


def test_another_recipe_in_the_same_folder_raises_mien_error(tmp_path: Path) -> None:
    clips = corpus(tmp_path / "data", [b"a"])
    prepare(clips, recipe(), out=tmp_path / "out")
    with pytest.raises(MienError, match="another recipe"):
        prepare(clips, recipe(3), out=tmp_path / "out")
    with pytest.raises(MienError, match="not empty"):
        prepare(clips, recipe(), out=tmp_path / "data")


def test_a_full_disk_is_the_error_of_the_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mien.io.atomic import write_atomically

    def full(path: Path, content: bytes | str) -> None:
        if path.suffix == ".npy" and path.name.startswith("odd_name_1"):
            raise OSError(28, "No space left on device")
        write_atomically(path, content)

    clips = [
        Clip(c.dataset, c.subject, f"odd_name_{n}", None, "", frames=c.frames)
        for n, c in enumerate(corpus(tmp_path / "data", [b"a", b"b", b"c"]))
    ]
    monkeypatch.setattr("mien.preprocessing.prepare.write_atomically", full)
    outcomes = prepare(clips, recipe(), out=tmp_path / "out")
    assert [o.error is None for o in outcomes] == [True, False, True]
    assert "No space left" in str(outcomes[1].error)


def test_a_missing_video_raises_mien_error() -> None:
    with pytest.raises(MienError, match="There is no"):
        video_clip("nothing.mp4")
