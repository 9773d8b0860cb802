"""Synthetic corpora: readers find every clip, the ground truth is exact, runs resume, seeds are reproducible."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors import safe_open

from mien.datasets import open_specs
from mien.datasets.action_units import parse_action_units
from mien.datasets.base import MANIFEST
from mien.datasets.check import check
from mien.errors import MienError
from mien.face.portrait import portrait
from mien.synthesis import corpus as module
from mien.synthesis.corpus import TRUTH, objective_class, synthesise
from mien.synthesis.puppet import film
from mien.synthesis.writer import OFFICIAL

SMALL: dict[str, Any] = {"subjects": 2, "clips": 2, "seed": 3, "width": 48, "fps": 30, "faces": "photo", "quiet": 0.3}


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module", params=OFFICIAL)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    root = tmp_path_factory.mktemp("corpus") / request.param
    made = synthesise(request.param, root, **SMALL)
    assert made.n_clips == 4
    assert made.n_made == made.n_films
    return request.param, root


def test_readers_find_every_clip_and_check_reports_no_problem(written: tuple[str, Path]) -> None:
    name, root = written
    (dataset,) = open_specs([f"{name}={root}"])
    clips = dataset.clips()
    assert len(clips) == 4
    assert len({clip.subject for clip in clips}) == 2
    assert dataset.is_synthetic
    for clip in clips:
        assert clip.interval is not None
        assert len(clip.frames) == clip.interval.offset - clip.interval.onset + 1
        assert all(path.is_file() for path in clip.frames)
        if clip.action_units:
            assert parse_action_units(clip.action_units)
        if "objective" in clip.extra:
            assert clip.extra["objective"] == str(objective_class(clip.action_units))
    assert all(result.ok for result in check([dataset]))
    if "spotting" in dataset.card.task and not name.startswith(("smic", "casme3")):
        videos = dataset.videos()
        assert len(videos) == 6
        assert len([p for p in (root / TRUTH).iterdir() if spans_of(p)]) == 4, "two videos show no expression"


def spans_of(path: Path) -> list[Any]:
    with safe_open(path, "numpy") as stored:
        return list(json.loads(stored.metadata()["json"])["spans"])


def test_ground_truth_is_stored_for_each_folder(written: tuple[str, Path]) -> None:
    _, root = written
    for path in (root / TRUTH).iterdir():
        with safe_open(path, "numpy") as stored:
            metadata = json.loads(stored.metadata()["json"])
            flow, landmarks = stored.get_tensor("flow"), stored.get_tensor("landmarks")
            activations = stored.get_tensor("activations")
        n_frames = metadata["timeline"]["n_frames"]
        assert landmarks.shape == (n_frames, 68, 2)
        assert activations.shape == (n_frames, len(metadata["timeline"]["movements"]))
        assert len(flow) == len(metadata["spans"])
        for each, (kind, onset, apex, offset) in zip(flow, metadata["spans"], strict=True):
            assert each.shape[1] == 48
            assert kind in ("micro", "macro")
            assert 0 <= onset < apex <= offset < n_frames
            assert np.abs(each).max() > 0


def test_frames_move_as_the_ground_truth_states(tmp_path: Path) -> None:
    synthesise("casme2", tmp_path, **{**SMALL, "subjects": 1, "clips": 1, "width": 120, "fps": 100})
    (path,) = (tmp_path / TRUTH).iterdir()
    with safe_open(path, "numpy") as stored:
        flow = stored.get_tensor("flow")[0].astype(np.float32)
        apex = json.loads(stored.metadata()["json"])["spans"][0][2]
    (dataset,) = open_specs([f"casme2={tmp_path}"])
    frames = dataset.clips()[0].frames
    first, second = (cv2.imread(str(frames[i]), cv2.IMREAD_GRAYSCALE).astype(np.float32) for i in (0, apex))
    y, x = np.mgrid[: first.shape[0], : first.shape[1]].astype(np.float32)
    there = cv2.remap(second, x + flow[..., 0], y + flow[..., 1], cv2.INTER_CUBIC)
    moving = np.linalg.norm(flow - np.median(flow, (0, 1)), axis=-1) > 0.3
    moving[:6], moving[-6:], moving[:, :6], moving[:, -6:] = (False,) * 4
    assert moving.sum() > 50
    assert np.abs(there - first)[moving].mean() < 0.8 * np.abs(second - first)[moving].mean()


def test_same_seed_gives_the_same_bytes_with_any_number_of_jobs(tmp_path: Path) -> None:
    few = {**SMALL, "clips": 1}
    synthesise("casme2", tmp_path / "a", **few)
    synthesise("casme2", tmp_path / "b", **few, jobs=2)
    synthesise("casme2", tmp_path / "c", **{**few, "seed": 4})
    a, b, c = (contents(tmp_path / x) for x in "abc")
    assert a == b
    frames, others = ({content for name, content in each.items() if name.endswith(".jpg")} for each in (a, c))
    assert frames
    assert not frames & others


def test_interrupted_run_resumes_and_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {**SMALL, "subjects": 1, "clips": 3}
    synthesise("samm", tmp_path / "whole", **few)
    films = 0
    real = film

    def dies(*given: Any) -> Any:
        nonlocal films
        films += 1
        for i, frame in enumerate(real(*given)):
            if films == 2 and i == 3:
                raise KeyboardInterrupt
            yield frame

    monkeypatch.setattr(module, "film", dies)
    with pytest.raises(KeyboardInterrupt):
        synthesise("samm", tmp_path / "part", **few)
    assert contents(tmp_path / "part") != contents(tmp_path / "whole")
    monkeypatch.setattr(module, "film", real)
    assert synthesise("samm", tmp_path / "part", **few).n_made == 2
    assert contents(tmp_path / "part") == contents(tmp_path / "whole")
    assert synthesise("samm", tmp_path / "part", **few).n_made == 0


def test_databases_do_not_share_videos(tmp_path: Path) -> None:
    few = {**SMALL, "subjects": 1, "clips": 1}
    for name in ("casme2", "smic_hs"):
        synthesise(name, tmp_path / name, **few)
    first, second = (next((tmp_path / name).rglob("*.jpg")).read_bytes() for name in ("casme2", "smic_hs"))
    assert first != second


def test_published_balance_and_a_portrait_of_your_own_work(tmp_path: Path) -> None:
    face = tmp_path / "face.png"
    cv2.imwrite(str(face), portrait()[..., ::-1])
    few = {**SMALL, "subjects": 1, "clips": 12, "fps": 15}
    synthesise("samm", tmp_path / "p", **few, portrait=face, balance="published")
    (dataset,) = open_specs([f"samm={tmp_path / 'p'}"])
    shown = [clip.emotion for clip in dataset.clips()]
    assert shown.count("anger") > shown.count("surprise")
    with pytest.raises(MienError, match="portrait"):
        synthesise("samm", tmp_path / "p", **few, balance="published")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": "casme9"}, "official layout"),
        ({"subjects": 0}, "subjects"),
        ({"width": 10}, "width"),
        ({"fps": 5000}, "fps"),
        ({"faces": "cats"}, "faces"),
        ({"balance": "none"}, "balance"),
        ({"portrait": Path("nowhere.png")}, "nowhere.png"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    given = {"layout": "casme2", **SMALL, **change}
    with pytest.raises(MienError, match=message):
        synthesise(given.pop("layout"), tmp_path / "new", **given)
    assert not (tmp_path / "new").exists()


def test_portrait_without_a_face_is_refused(tmp_path: Path) -> None:
    wall = tmp_path / "wall.png"
    cv2.imwrite(str(wall), np.full((200, 200, 3), 120, np.uint8))
    with pytest.raises(MienError, match="face"):
        synthesise("casme2", tmp_path / "new", **SMALL, portrait=wall)


def test_folder_with_other_files_is_left_unchanged(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(MienError, match="not empty"):
        synthesise("casme2", tmp_path, **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_corpus_made_with_other_arguments_is_refused(tmp_path: Path) -> None:
    few = {**SMALL, "subjects": 1, "clips": 1}
    synthesise("casme2", tmp_path / "c", **few)
    assert (tmp_path / "c" / MANIFEST).is_file()
    with pytest.raises(MienError, match="seed"):
        synthesise("casme2", tmp_path / "c", **{**few, "seed": 9})


def test_synthesise_command_writes_a_corpus_and_refuses_wrong_arguments(tmp_path: Path) -> None:
    code = "from mien.cli.main import main; main()"
    command = [sys.executable, "-c", code, "synthesise", "--out", str(tmp_path / "c"), "--subjects", "1", "--clips"]
    rest = ["--width", "48", "--fps", "30", "--faces", "photo", "--jobs", "1", "--json"]
    done = subprocess.run([*command, "2", *rest], capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)
    assert (summary["n_clips"], summary["n_films"]) == (2, 2)
    wrong = subprocess.run([*command, "0", *rest], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 3
