"""`recognise` on videos: known expressions are found and classified, and every obstacle is reported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import played
import pytest

from mien.classifiers.checkpoint import read_card, save_checkpoint
from mien.errors import MienError
from mien.io.video import open_video, write_video
from mien.recognition import Answer, recognise
from mien.recognition.naming import Namer, open_namer
from mien.recognition.reasons import LEAST_EYES
from mien.recognition.records import as_json
from mien.spotting import spotter
from mien.types import Interval

PARTS = [(60, 78, 95, "positive"), (180, 194, 215, "surprise"), (300, 318, 340, "negative")]
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "video"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recognise")


@pytest.fixture(scope="module")
def namer(folder: Path) -> Namer:
    return open_namer(played.trained_weights(folder))


@pytest.fixture(scope="module")
def three(folder: Path) -> Path:
    return write_video(folder / "three.mp4", played.film(41, 400, PARTS), 100)


@pytest.fixture(scope="module")
def answer(three: Path, namer: Namer) -> Answer:
    return recognise(three, namer)


@pytest.fixture(scope="module")
def short(folder: Path) -> Path:
    """A lossless video of a second and a half with one expression."""
    return write_video(folder / "short.mkv", played.film(41, 150, [(60, 78, 95, "positive")]), 100)


def about(answer: Answer) -> set[str]:
    return {reason.about for event in answer.events for reason in event.abstained}


def test_known_expressions_are_found_and_classified(answer: Answer) -> None:
    (track,) = answer.tracks
    assert [event.kind for event in track.events] == ["micro"] * 3
    for event, (onset, apex, offset, _) in zip(track.events, PARTS, strict=True):
        both = min(event.offset.index, offset) - max(event.onset.index, onset) + 1
        either = max(event.offset.index, offset) - min(event.onset.index, onset) + 1
        assert both / either >= 0.5
        assert abs(event.apex.index - apex) <= 3
        assert event.apex.seconds == pytest.approx(event.apex.index / 100)
        assert event.seconds == pytest.approx((event.offset.index - event.onset.index + 1) / 100)
        assert not event.given
        assert event.abstained == ()
        assert sum(event.probabilities.values()) == pytest.approx(1, abs=1e-5)
    # Eight synthetic people are not enough to learn every class; these two are learnt.
    assert track.events[0].label == "positive"
    assert track.events[2].label == "negative"
    assert answer.video.n_frames == 400
    assert track.n_frames == 400
    assert 60 < track.eye_distance < 90


def test_a_search_of_every_frame_finds_the_same_expressions(answer: Answer, three: Path, namer: Namer) -> None:
    every = spotter("flow-peaks")
    assert every.enough == 50
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(
            import_module("mien.recognition.recognise"), "open_spotter", lambda name: replace(every, enough=0.0)
        )
        slow = recognise(three, namer)
    assert len(slow.events) == len(answer.events) == len(PARTS)
    for one, other in zip(answer.events, slow.events, strict=True):
        assert abs(one.apex.index - other.apex.index) <= 2
        for end in ("onset", "offset"):  # the reference is renewed at other frames, which moves the ends most
            assert abs(getattr(one, end).index - getattr(other, end).index) <= 5
        assert one.label == other.label
        assert one.kind == other.kind
    assert answer.video.n_frames == slow.video.n_frames
    assert answer.tracks[0].n_frames == slow.tracks[0].n_frames


def test_trace_is_highest_where_the_face_moves(answer: Answer) -> None:
    trace = answer.tracks[0].trace
    assert trace is not None
    assert trace.width == 1
    values = np.array(trace.values)
    moving = np.zeros(len(values), bool)
    for onset, _, offset, _ in PARTS:
        moving[onset - 2 : offset + 12] = True
    assert np.nanmin([np.nanmax(values[onset:offset]) for onset, _, offset, _ in PARTS]) > np.nanmax(values[~moving])


def test_answer_is_plain_json_with_cautions(answer: Answer) -> None:
    plain = json.loads(json.dumps(as_json(answer), allow_nan=False))
    assert plain["n_events"] == 3
    assert plain["tracks"][0]["events"][0]["label"] == "positive"
    assert "made by a computer" in plain["says"]["trained_on"]
    assert "has not been measured" in plain["says"]["error_rate"]
    assert "lie detector" in plain["says"]["not"]


def test_error_rate_is_stated_with_its_protocol(answer: Answer) -> None:
    score = {
        "protocol": "loso",
        "n_clips": 200,
        "n_subjects": 20,
        "accuracy": 0.61,
        "majority_accuracy": 0.5,
        "uf1": 0.4,
    }
    stated = as_json(replace(answer, card=replace(answer.card, score=score)))["says"]["error_rate"]
    assert "loso" in stated
    assert "39 of 100" in stated
    assert "50 of 100" in stated


def test_given_interval_is_classified_without_search(short: Path, namer: Namer) -> None:
    answer = recognise(short, namer, Interval(60, None, 95))
    (event,) = answer.events
    assert answer.spotter is None
    assert (event.onset.index, event.offset.index) == (60, 95)
    assert event.given
    assert not event.apex_given
    assert abs(event.apex.index - 78) <= 6
    assert event.label == "positive"
    with_apex = recognise(short, namer, Interval(60, 78, 95)).events[0]
    assert with_apex.apex_given
    assert with_apex.apex.index == 78


@pytest.mark.parametrize(("onset", "apex", "offset"), [(95, None, 60), (60, None, 400), (60, 20, 95), (-3, None, 20)])
def test_invalid_interval_is_refused(short: Path, namer: Namer, onset: int, apex: int | None, offset: int) -> None:
    with pytest.raises(MienError, match=r"149|interval") as caught:
        recognise(short, namer, Interval(onset, apex, offset))
    assert "--interval" in caught.value.fix


def test_a_tuple_in_place_of_an_interval_is_an_error(short: Path, namer: Namer) -> None:
    with pytest.raises(MienError, match="a tuple"):
        recognise(short, namer, (60, 78, 95))  # type: ignore[arg-type]


def test_low_frame_rate_prevents_a_class(short: Path, namer: Namer) -> None:
    answer = recognise(short, namer, fps=30)
    assert "frame_rate" in {reason.about for reason in answer.reasons}
    assert not any(event.probabilities for event in answer.events)
    given = recognise(short, namer, Interval(60, 66, 72), fps=30)
    assert about(given) == {"frame_rate"}
    assert given.events[0].label is None
    anyway = recognise(short, namer, Interval(60, 66, 72), fps=30, anyway=True)
    assert about(anyway) == {"frame_rate"}
    assert anyway.events[0].probabilities
    assert anyway.events[0].said


def test_small_face_prevents_a_class(folder: Path, namer: Namer) -> None:
    frames = played.film(41, 60, [(10, 25, 40, "positive")])
    small = (cv2.resize(frame, (160, 120), interpolation=cv2.INTER_AREA) for frame in frames)
    answer = recognise(write_video(folder / "small.mkv", small, 100), namer, Interval(10, 25, 40))
    assert 30 < answer.tracks[0].eye_distance < LEAST_EYES
    assert "face_size" in about(answer)
    assert answer.events[0].label is None


def test_head_motion_prevents_a_class(folder: Path, namer: Namer) -> None:
    def swaying() -> Iterator[played.Picture]:
        for t, frame in enumerate(played.film(41, 60, [(10, 25, 40, "positive")])):
            yield np.roll(frame, 2 * (20 - abs(t - 25)) if 5 < t < 45 else 0, axis=1)

    answer = recognise(write_video(folder / "sway.mkv", swaying(), 100), namer, Interval(10, 25, 40))
    assert about(answer) == {"head_motion"}
    assert "distance between the eyes" in answer.events[0].abstained[0].text


def test_two_people_get_one_track_each(folder: Path, namer: Namer) -> None:
    left = played.film(41, 150, [(60, 78, 95, "positive")])
    right = played.film(42, 150, [])
    both = (np.hstack(pair) for pair in zip(left, right, strict=True))
    answer = recognise(write_video(folder / "two.mkv", both, 100), namer)
    assert len(answer.tracks) == 2
    middles = {(track.places[0].eyes or (0,))[0] < 320: track for track in answer.tracks}
    assert len(middles[True].events) == 1
    assert middles[False].events == ()
    assert middles[True].events[0].label == "positive"
    assert [track.n_frames for track in answer.tracks] == [150, 150]


def test_face_that_leaves_and_returns_gives_one_track_with_a_gap(folder: Path, namer: Namer) -> None:
    def leaving() -> Iterator[played.Picture]:
        for t, frame in enumerate(played.film(41, 300, [(200, 218, 235, "positive")])):
            yield np.full_like(frame, 130) if 60 <= t < 130 else frame

    answer = recognise(write_video(folder / "leaving.mkv", leaving(), 100), namer)
    (track,) = answer.tracks
    ((lost, back),) = track.gaps
    assert 60 <= lost.index <= 85  # landmarks are searched four times a second
    assert 129 <= back.index <= 155
    assert len(track.events) == 1
    assert 190 < track.events[0].onset.index < 218


def test_truncated_video_is_answered_up_to_its_end(short: Path, folder: Path, namer: Namer) -> None:
    cut = folder / "cut.mkv"
    cut.write_bytes(short.read_bytes()[: int(0.8 * short.stat().st_size)])
    answer = recognise(cut, namer)
    assert 100 < answer.video.n_frames < 140
    assert len(answer.events) == 1
    assert answer.notes
    assert answer.video.problems


def test_timestamps_are_used_if_the_frame_rate_varies(folder: Path, namer: Namer) -> None:
    times = np.cumsum(np.where(np.arange(150) % 10 == 9, 0.019, 0.009))
    film = write_video(
        folder / "uneven.mkv", played.film(41, 150, [(60, 78, 95, "positive")]), 100, times=list(times - times[0])
    )
    answer = recognise(film, namer)
    assert answer.video.variable_rate
    assert any("varies" in note for note in answer.notes)
    (event,) = answer.events
    assert event.onset.seconds == pytest.approx(times[event.onset.index] - times[0], abs=2e-3)
    times[75:] += 0.4  # a gap within the expression
    holed = write_video(
        folder / "holed.mkv", played.film(41, 150, [(60, 78, 95, "positive")]), 100, times=list(times - times[0])
    )
    given = recognise(holed, namer, Interval(60, 78, 95))
    assert "variable_rate" in about(given)


def test_large_portrait_video_is_answered(folder: Path, namer: Namer) -> None:
    """A portrait of 2160 x 3840 pixels."""
    frames = (np.pad(cv2.resize(f, None, fx=6, fy=6), ((1200, 1200), (120, 120)), "edge") for f in
              played.film(41, 9, [(1, 4, 7, "positive")]))  # fmt: skip
    film = write_video(folder / "large.mp4", frames, 100)
    answer = recognise(film, namer, Interval(1, 4, 7))
    assert answer.video.height == 3840
    assert answer.tracks[0].eye_distance > 300
    assert answer.events[0].probabilities


def test_real_videos_give_an_answer_or_a_reason(namer: Namer) -> None:
    if not SHARED.is_dir():
        pytest.skip("the real videos are not beside the project")
    nobody = recognise(SHARED / "no_face.mp4", namer)
    assert nobody.tracks == ()
    assert {"no_face", "frame_rate"} == {reason.about for reason in nobody.reasons}
    smile = recognise(SHARED / "single_face.mp4", namer)
    assert {reason.about for reason in smile.reasons} == {"frame_rate"}
    (track,) = smile.tracks
    assert track.n_frames == 72
    assert [event.kind for event in track.events] == ["macro"]
    assert track.events[0].label is None


def test_missing_or_unsuitable_weights_are_refused(
    tmp_path: Path, short: Path, namer: Namer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MienError, match="There is no file"):
        recognise(short, tmp_path / "none.safetensors")
    monkeypatch.setattr("mien.recognition.naming.SHIPPED_ENSEMBLE", tmp_path / "none.safetensors")
    with pytest.raises(MienError, match="No weights were given") as caught:
        recognise(short)
    assert "mien train" in caught.value.fix
    other = played.chance_weights(tmp_path / "other.safetensors", (3, 20, 20))
    with pytest.raises(MienError, match="20x20"):
        recognise(short, other)
    text = tmp_path / "text.safetensors"
    text.write_text("no weights")
    with pytest.raises(MienError, match="damaged or a file of another kind"):
        recognise(short, text)
    assert open_video(short).n_frames == 150
    card = replace(read_card(namer.path), recipes={"frames": "000000000000"})
    save_checkpoint(tmp_path / "older.safetensors", namer.classifier, card)
    assert "another version" in open_namer(tmp_path / "older.safetensors").notes[0]
    assert namer.notes == ()
