"""The check finds each kind of problem where it was planted, and nothing in a clean copy."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from mien.datasets.base import MARKER, Card, Dataset
from mien.datasets.check import SHOWN, CheckResult, as_json, check, check_dataset, render_check
from mien.datasets.flow_images import FlowImages
from mien.errors import MienError
from mien.synthesis.flow_images import write_flow_images
from mien.types import Clip, Interval, Problem

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "megc2019_flow"


class Listed(Dataset):
    """A database whose clips are given as a list."""

    id: ClassVar[str] = "listed"

    def __init__(self, root: Path, clips: list[Clip], videos: list[Clip] | None = None) -> None:
        super().__init__(root)
        self.listed, self.whole = clips, videos or []
        self.own: list[Problem] = []
        self.expected: Mapping[str, int] = {}

    @property
    def card(self) -> Card:
        return Card(
            id="listed",
            title="Listed [clips]",
            task=("recognition",),
            licence="",
            request="",
            citation="",
            fps=100.0,
            colour=False,
            labels="own",
            expected=self.expected,
        )

    def clips(self) -> list[Clip]:
        return self.listed

    def videos(self) -> list[Clip]:
        return self.whole

    def problems(self) -> list[Problem]:
        return self.own


def write_clip(root: Path, subject: str, name: str, *, dataset: str = "casme2", length: int = 8) -> Clip:
    folder = root / dataset / subject / name
    folder.mkdir(parents=True)
    rng = np.random.default_rng(list(f"{dataset}/{subject}/{name}".encode()))
    paths = []
    for number in range(10, 10 + length):
        paths.append(folder / f"img{number}.png")
        Image.fromarray(rng.integers(0, 256, (20, 24), np.uint8)).save(paths[-1])
    return Clip(
        dataset=dataset,
        subject=subject,
        name=name,
        interval=Interval(10, 13, 9 + length),
        emotion="happiness",
        frames=tuple(paths),
        frame_nos=tuple(range(10, 10 + length)),
        fps=100.0,
    )


@pytest.fixture
def clean(tmp_path: Path) -> Listed:
    """Three clips of two subjects, with nothing wrong."""
    return Listed(tmp_path, [write_clip(tmp_path, s, n) for s, n in (("sub01", "a"), ("sub01", "b"), ("sub02", "a"))])


def only(result: CheckResult, severity: str = "error") -> Problem:
    assert len(result.problems) == 1, result.problems
    assert result.problems[0].severity == severity
    assert result.ok == (severity == "note")
    return result.problems[0]


def change(dataset: Listed, index: int, **fields: object) -> Clip:
    dataset.listed[index] = replace(dataset.listed[index], **fields)  # type: ignore[arg-type]
    return dataset.listed[index]


def printed(results: list[CheckResult], width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as capture:
        console.print(render_check(results))
    return capture.get()


@pytest.mark.parametrize("deep", [False, True])
def test_a_clean_copy_has_no_problem(clean: Listed, deep: bool) -> None:
    clean.expected = {"clips": 3, "subjects": 2, "happiness": 3, "casme2": 3, "videos": 0}
    result = check_dataset(clean, deep=deep)
    assert result.problems == ()
    assert result.ok
    assert (result.dataset, result.title, result.root) == ("listed", "Listed [clips]", clean.root)
    assert (result.n_clips, result.n_subjects, result.n_videos) == (3, 2, 0)
    assert result.emotions == {"happiness": 3}


def test_counts_that_differ(clean: Listed) -> None:
    clean.expected = {"clips": 4, "subjects": 2, "happiness": 3, "disgust": 1, "micro": 2}
    change(clean, 0, extra={"kind": "micro"})
    what = only(check_dataset(clean)).what
    assert "clips 3 (published 4)" in what
    assert "disgust 0 (published 1)" in what
    assert "micro 1 (published 2)" in what
    assert "subjects" not in what
    assert "happiness" not in what


def test_counts_of_a_drawn_corpus_are_only_noted(clean: Listed) -> None:
    clean.expected = {"clips": 4}
    (clean.root / MARKER).touch()
    assert "synthetic" in only(check_dataset(clean), "note").what


def test_a_clip_without_pictures(clean: Listed) -> None:
    clip = change(clean, 1, frames=(), frame_nos=())
    problem = only(check_dataset(clean))
    assert problem.where == clip.key
    assert "no pictures" in problem.what


def test_a_video_without_pictures(clean: Listed) -> None:
    clean.whole = [replace(clean.listed[0], name="whole", interval=None, frames=(), frame_nos=())]
    assert only(check_dataset(clean)).where == "casme2/sub01/whole"


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        (Interval(16, 13, 11), "onset 16 is after the offset 11"),
        (Interval(10, 9, 17), "apex 9 is outside"),
        (Interval(10, 18, 17), "apex 18 is outside"),
        (Interval(10, 13, 20), "3 of 11 frames are missing: 18-20."),
        (Interval(8, 13, 17), "2 of 10 frames are missing: 8-9."),
    ],
)
def test_intervals(clean: Listed, interval: Interval, words: str) -> None:
    clip = change(clean, 0, interval=interval)
    problem = only(check_dataset(clean))
    assert problem.where == clip.key
    assert words in problem.what


def test_an_apex_that_is_not_given_is_no_problem(clean: Listed) -> None:
    change(clean, 0, interval=Interval(10, None, 17))
    assert check_dataset(clean).problems == ()


def test_holes_between_onset_and_offset(clean: Listed) -> None:
    whole = clean.listed[0]
    keep = [i for i in range(8) if i not in (2, 5, 6)]
    change(
        clean,
        0,
        frames=tuple(whole.frames[i] for i in keep),
        frame_nos=tuple(whole.frame_nos[i] for i in keep),
    )
    assert "3 of 8 frames are missing: 12, 15-16." in only(check_dataset(clean)).what


def test_frame_numbers_that_do_not_fit(clean: Listed) -> None:
    change(clean, 0, frame_nos=(*range(10, 18), 18))
    assert "8 pictures have 9 frame numbers" in only(check_dataset(clean)).what


def test_frame_numbers_that_do_not_ascend(clean: Listed) -> None:
    change(clean, 0, frame_nos=(10, 11, 13, 12, 14, 15, 16, 17))
    assert "ascend" in only(check_dataset(clean)).what


@pytest.mark.parametrize("index", [0, 2, 7])
@pytest.mark.parametrize(("kind", "words"), [("empty", "0 bytes"), ("text", "cannot be read"), ("gone", "not there")])
def test_bad_pictures(clean: Listed, index: int, kind: str, words: str) -> None:
    path = clean.listed[0].frames[index]
    if kind == "gone":
        path.unlink()
    else:
        path.write_text("" if kind == "empty" else "no picture at all", encoding="utf-8")
    problem = only(check_dataset(clean))
    assert problem.where == str(path)
    assert words in problem.what


@pytest.mark.parametrize("index", [0, 3, 7])
def test_truncated_first_apex_and_last_are_found(clean: Listed, index: int) -> None:
    path = clean.listed[0].frames[index]
    path.write_bytes(path.read_bytes()[:200])
    assert only(check_dataset(clean)).where == str(path)


def test_a_truncated_picture_in_between_is_found_when_deep(clean: Listed) -> None:
    path = clean.listed[0].frames[5]
    path.write_bytes(path.read_bytes()[:200])
    assert check_dataset(clean).ok
    assert "cannot be read" in only(check_dataset(clean, deep=True)).what


def test_mixed_sizes_and_modes(clean: Listed) -> None:
    Image.new("RGB", (32, 16)).save(clean.listed[2].frames[4])
    result = check_dataset(clean)
    assert {problem.where for problem in result.problems} == {clean.listed[2].key}
    said = " ".join(problem.what for problem in result.problems)
    assert "sizes: 24x20, 32x16" in said
    assert "modes: L, RGB" in said


def test_a_name_used_twice(clean: Listed) -> None:
    change(clean, 1, name="a")
    problem = only(check_dataset(clean))
    assert problem.where == "casme2/sub01/a"
    assert "2 clips" in problem.what


def test_the_same_picture_under_two_subjects(clean: Listed) -> None:
    first, other = clean.listed[0].frames[0], clean.listed[2].frames[0]
    other.write_bytes(first.read_bytes())
    problem = only(check_dataset(clean))
    assert problem.where == "casme2/sub01 and casme2/sub02"
    assert "casme2/sub01/a and casme2/sub02/a" in problem.what


def test_the_same_picture_twice_of_one_subject_is_no_problem(clean: Listed) -> None:
    clean.listed[1].frames[0].write_bytes(clean.listed[0].frames[0].read_bytes())
    assert check_dataset(clean).problems == ()


def test_subjects_printed_the_same_in_two_databases_are_noted(clean: Listed, tmp_path: Path) -> None:
    clean.listed.append(write_clip(tmp_path, "sub02", "a", dataset="casme"))
    problem = only(check_dataset(clean), "note")
    assert problem.where == "casme and casme2"
    assert "(sub02)" in problem.what
    assert check_dataset(clean).n_subjects == 3


def test_the_datasets_own_problems_are_reported(clean: Listed) -> None:
    clean.own = [Problem("sheet", "A correction was applied.", "note"), Problem("sheet", "A row is odd.")]
    result = check_dataset(clean)
    assert result.problems == tuple(reversed(clean.own)), "errors come first"
    assert not result.ok


def test_clips_that_cannot_be_listed(clean: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Listed) -> list[Clip]:
        raise MienError("No sheet.", "a sheet.", "put it there.")

    monkeypatch.setattr(Listed, "clips", fail)
    with pytest.raises(MienError, match="No sheet"):
        check_dataset(clean)


def test_progress_counts_every_picture(clean: Listed) -> None:
    calls: list[tuple[int, int]] = []
    check_dataset(clean, progress=lambda done, of: calls.append((done, of)))
    assert calls == [(i, 24) for i in range(1, 25)]


def test_many_find_shared_keys_pictures_and_prints(clean: Listed, tmp_path: Path) -> None:
    other = Listed(tmp_path, [write_clip(tmp_path, "sub01", "z", dataset="casme"), clean.listed[2]])
    other.listed[0].frames[0].write_bytes(clean.listed[2].frames[0].read_bytes())
    third = Listed(tmp_path, [])
    results = check([clean, other, third])
    assert results[0].problems == ()
    assert results[2].problems == ()
    said = [(problem.where, problem.severity) for problem in results[1].problems]
    assert ("casme2/sub02/a", "error") in said, "one key in both"
    assert ("casme2/sub02 and casme/sub01", "error") in said, "one picture, two people"
    assert ("casme2 and casme", "note") in said, "sub01 in both"
    assert not results[1].ok


def test_flow_pictures(tmp_path: Path) -> None:
    clips = write_flow_images(tmp_path, subjects=6, clips_per_subject=3)
    assert "synthetic" in only(check_dataset(FlowImages(tmp_path)), "note").what
    Image.open(clips[0].frames[0]).convert("L").save(clips[0].frames[0])
    Image.open(clips[4].frames[0]).resize((30, 30)).save(clips[4].frames[0])
    clips[-1].frames[0].write_bytes(clips[-5].frames[0].read_bytes())
    result = check_dataset(FlowImages(tmp_path))
    errors = [problem for problem in result.problems if problem.severity == "error"]
    assert {problem.where for problem in errors} == {
        str(clips[0].frames[0]),
        f"{'/'.join(clips[-5].person)} and {'/'.join(clips[-1].person)}",
    }
    assert any("grey" in problem.what for problem in errors)
    assert any("28x28 (16), 30x30 (1)" in problem.what for problem in result.problems)


def test_a_smaller_copy_of_the_composite_is_an_error(tmp_path: Path) -> None:
    write_flow_images(tmp_path, subjects=2, clips_per_subject=3)
    (tmp_path / MARKER).unlink()
    assert "clips 6 (published 442)" in only(check_dataset(FlowImages(tmp_path))).what


def test_json_lists_everything(clean: Listed) -> None:
    clean.own = [Problem(f"row {i}", "It is odd.") for i in range(30)]
    told = json.loads(json.dumps(as_json([check_dataset(clean)])))
    assert told["ok"] is False
    (only_one,) = told["datasets"]
    assert len(only_one["problems"]) == 30
    assert only_one["problems"][3] == {"where": "row 3", "what": "It is odd.", "severity": "error"}
    assert (only_one["n_clips"], only_one["n_subjects"], only_one["emotions"]) == (3, 2, {"happiness": 3})


def test_the_screen_shows_the_first_twenty(clean: Listed) -> None:
    clean.own = [Problem(f"row {i} [x]", "It is odd.", "note") for i in range(29)] + [Problem("last", "Broken.")]
    text = printed([check_dataset(clean)])
    assert "Listed [clips]" in text
    assert "1 error, 29 notes" in text
    assert "Broken." in text, "errors are shown first"
    assert "row 18 [x]" in text
    assert "row 19 [x]" not in text
    assert f"and {30 - SHOWN} more; --json lists all" in text
    assert len(text.splitlines()) < 30


def test_the_screen_of_a_clean_copy(clean: Listed) -> None:
    text = printed([check_dataset(clean)])
    assert "complete" in text
    assert "error" not in text


@pytest.mark.skipif(not REAL.is_dir(), reason="the real flow pictures are not beside the project")
def test_the_real_composite_is_whole_and_no_picture_is_opened_more_than_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Mock(wraps=Image.open)
    monkeypatch.setattr(Image, "open", opened)
    result = check_dataset(FlowImages(REAL))
    assert result.problems == ()
    assert (result.n_clips, result.n_subjects) == (442, 68)
    times = Counter(call.args[0] for call in opened.call_args_list)
    assert len(times) == 442
    assert max(times.values()) <= 2
