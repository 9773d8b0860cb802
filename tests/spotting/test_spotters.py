"""Faces followed, rows watched, films spotted and scored, as a user does it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import played
import pytest
from numpy.typing import NDArray
from staged import Film, film, frames
from typer.testing import CliRunner

from mien.cli.main import app
from mien.datasets import open_specs
from mien.errors import MienError
from mien.evaluation.spotting.benchmark import filmed, spot_benchmark
from mien.evaluation.spotting.ledger import read_spots
from mien.evaluation.spotting.metrics import count
from mien.face.crop import crop_frame
from mien.io.video import write_video
from mien.spotting import SPOTTERS, spotter
from mien.spotting.base import KINDS, Spot, decide_all
from mien.spotting.face_stream import HEIGHT, WIDTH, FaceStream, Look, carried
from mien.spotting.spot import Stream, spot, watch
from mien.synthesis.writer import write_corpus

Picture = NDArray[np.uint8]
FPS = 50.0


@pytest.fixture(scope="module")
def staged() -> tuple[Film, list[Picture]]:
    """Twelve seconds with head motion, blinks, two micro- and one macro-expression."""
    made = film(3, 12, FPS, micros=2, macros=1, blinks=4, seed=2)
    return made, list(frames(made))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("samm_lv")
    write_corpus("samm_lv", root, subjects=2, clips_per_subject=2, frames=64, size=96)
    return root


def truth(made: Film) -> list[Spot]:
    return [Spot(e.onset, e.apex, e.offset, "micro" if e.kind == "micro" else "macro") for e in made.events]


def test_flow_peaks_finds_expressions_despite_head_motion_and_blinks(
    staged: tuple[Film, list[Picture]], tmp_path: Path
) -> None:
    made, shown = staged
    stream = Stream(FPS)
    found = [s for frame in shown for s in stream.add(frame)] + stream.finish()
    counts = count([(truth(made), found)])["all"]
    assert counts.tp == 3
    assert counts.fp <= 1
    assert stream.faces.found == len(shown)
    # The same video from a lossless file.
    outcome = spot(write_video(tmp_path / "film.mkv", shown, fps=FPS))
    assert list(outcome.spots) == sorted(found, key=lambda s: (s.onset, s.offset))
    assert outcome.abstained == ""
    assert (outcome.n_frames, outcome.fps) == (len(shown), FPS)


@pytest.mark.parametrize("name", ["flow-peaks", "lbp-chi2", "mdmd", "softnet"])
def test_each_frame_gives_one_row_and_nan_without_a_face(name: str, staged: tuple[Film, list[Picture]]) -> None:
    shown = staged[1][:160]
    blank = np.full_like(shown[0], 90)
    chosen = spotter(name)
    rows, faces = watch(iter([*shown, *[blank] * 40]), FPS, chosen, chosen.parameters)
    made = np.stack(list(rows))
    hop = chosen.hop(FPS)
    assert len(made) == len(range(0, 200, hop))
    assert np.isfinite(made[:4] if name == "flow-peaks" else made[100 // hop, :1]).all()
    assert np.isnan(made[-1]).all()
    assert faces.found < faces.seen
    if chosen.train is None:
        for s in decide_all(chosen, made, FPS / hop, chosen.parameters):
            assert 0 <= s.onset <= (s.apex or 0) <= s.offset < len(made)
            assert s.kind in KINDS


def test_old_pictures_are_aligned_with_a_new_rectangle(staged: tuple[Film, list[Picture]]) -> None:
    still = staged[1][0]
    stream = FaceStream(FPS)
    before = stream.look(still)
    assert before.fresh
    assert before.picture is not None
    assert before.picture.shape == (HEIGHT, WIDTH)
    after: Look = before
    for _ in range(14):
        after = stream.look(np.roll(still, (9, 12), (0, 1)))
        if after.change is not None:
            break
    assert after.change is not None
    assert after.picture is not None
    assert stream._box is not None
    moved = carried(before.picture, after.change)
    fresh = crop_frame(still, stream._box, (HEIGHT, WIDTH))  # the crop that the new rectangle would have given
    inner = np.s_[20:-20, 20:-20]
    assert np.abs(moved[inner].astype(float) - fresh[inner]).mean() < 2
    assert np.abs(before.picture[inner].astype(float) - fresh[inner]).mean() > 6


def test_real_videos_give_plausible_outcomes(read_video: Callable[[str], list[Picture]], tmp_path: Path) -> None:
    smile = read_video("single_face.mp4")
    write_video(tmp_path / "smile.mkv", iter(smile), fps=30)
    outcome = spot(tmp_path / "smile.mkv")
    assert [s.kind for s in outcome.spots] == ["macro"]  # a neutral face that smiles
    assert any("few" in note for note in outcome.notes)
    nobody = read_video("no_face.mp4")[:40]
    write_video(tmp_path / "nobody.mkv", iter(nobody), fps=30)
    outcome = spot(tmp_path / "nobody.mkv")
    assert outcome.spots == ()
    assert "No face" in outcome.abstained


def test_videos_without_an_answer_and_wrong_arguments_are_reported(
    staged: tuple[Film, list[Picture]], tmp_path: Path
) -> None:
    shown = staged[1][:30]
    write_video(tmp_path / "short.mkv", iter(shown), fps=FPS)
    assert "0.60 s" in spot(tmp_path / "short.mkv").abstained
    write_video(tmp_path / "slow.mkv", iter(shown), fps=15)
    assert "15 frames per second" in spot(tmp_path / "slow.mkv").abstained
    with pytest.raises(MienError, match="no spotter called 'flow-peak'"):
        spot(tmp_path / "short.mkv", "flow-peak")
    with pytest.raises(MienError, match="must be trained"):
        spot(tmp_path / "short.mkv", "softnet")
    with pytest.raises(MienError, match="has no parameter"):
        spot(tmp_path / "short.mkv", parameters={"hight": 1})
    with pytest.raises(MienError, match="frames per second"):
        Stream(12.0)


def test_intervals_keep_their_frame_numbers_where_frames_before_them_cannot_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for n, frame in enumerate(played.film(41, 150, [(60, 78, 95, "positive")])):
        cv2.imwrite(str(folder / f"{n:03}.png"), frame)
    (expected,) = spot(folder, fps=100).spots
    for n in range(10, 30):
        (folder / f"{n:03}.png").write_bytes(b"not a picture")
    outcome = spot(folder, fps=100)
    (found,) = outcome.spots
    assert [found.onset, found.apex, found.offset] == pytest.approx(
        [expected.onset, expected.apex, expected.offset], abs=2
    )
    assert outcome.n_frames == 130
    assert outcome.times == ((found.onset / 100, (found.apex or 0) / 100, found.offset / 100),)


def test_spotting_benchmark_counts_every_video_resumes_and_reports(corpus: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke(
        app, ["benchmark", f"samm_lv={corpus}", "--task", "spot", "--system", "flow-peaks", "--out",
              str(tmp_path / "run"), "--jobs", "1", "--json"],
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    report = json.loads(run.stdout)
    data = filmed(open_specs([f"samm_lv={corpus}"]))
    assert report["n_videos"] == len(data) == 6
    assert report["n_videos_without_expression"] == 2
    assert report["micro"]["tp"] + report["micro"]["fn"] == 4
    assert report["macro"]["tp"] + report["macro"]["fn"] == 4
    assert len(report["abstained"]) == 2  # those without an expression are 8 frames long
    ledger = read_spots(tmp_path / "run")
    assert ledger.complete
    assert {row.key for row in ledger.rows if row.role == "video"} == {f.clip.key for f in data}
    for row in ledger.rows:
        subject = row.subject
        assert subject in row.fold  # each video is tested in the fold of its subject
    # A killed run resumes where it stopped and ends with the same bytes.
    one = tmp_path / "run" / "ledger" / "s0-f0001.csv"
    text = one.read_bytes()
    one.unlink()
    assert not read_spots(tmp_path / "run").complete
    spot_benchmark(open_specs([f"samm_lv={corpus}"]), "flow-peaks", tmp_path / "run", jobs=1)
    assert one.read_bytes() == text
    shown = CliRunner().invoke(app, ["report", str(tmp_path / "run")])
    assert shown.exit_code == 0
    assert "micro" in shown.output
    with pytest.raises(MienError, match="other settings"):
        spot_benchmark(open_specs([f"samm_lv={corpus}"]), "lbp-chi2", tmp_path / "run")
    one.write_text("hand,made\n1,2\n")
    with pytest.raises(MienError, match="not as it was written"):
        read_spots(tmp_path / "run")


def test_softnet_is_trained_on_training_subjects_and_reproducible(corpus: Path, tmp_path: Path) -> None:
    data = open_specs([f"samm_lv={corpus}"])
    given = {"epochs": "1"}
    for name in ("one", "two"):
        ledger = spot_benchmark(data, "softnet", tmp_path / name, parameters=given, jobs=1)
        assert ledger.complete
    files = [(tmp_path / name / "ledger" / "s0-f0000.csv").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]
    assert SPOTTERS["softnet"].hop(200.0) == 7
    ends = [row for row in ledger.rows if row.role == "found"]
    assert all(1 <= row.onset <= row.offset for row in ends)


def test_wrong_benchmark_arguments_are_refused(corpus: Path, tmp_path: Path) -> None:
    data = open_specs([f"samm_lv={corpus}"])
    with pytest.raises(MienError, match="does not serve spotting"):
        spot_benchmark(data, "flow-peaks", tmp_path / "x", protocol="lovo")
    write_corpus("casme2", tmp_path / "casme2", subjects=2, clips_per_subject=3, frames=6, size=32)
    with pytest.raises(MienError, match="no long videos"):
        spot_benchmark(open_specs([f"casme2={tmp_path / 'casme2'}"]), "flow-peaks", tmp_path / "x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thing").write_text("x")
    with pytest.raises(MienError, match="is not a run"):
        spot_benchmark(data, "flow-peaks", tmp_path / "full")
