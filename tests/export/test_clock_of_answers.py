"""Times in answers and in every file made from them are those that players show, as ffprobe states them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import clocked
import played
import pytest
from pympi import Eaf
from typer.testing import CliRunner

from mien.cli.main import app
from mien.export import ENDINGS, WRITERS
from mien.export.page import timeline
from mien.io.video import open_video, write_video
from mien.recognition import Answer, recognise
from mien.recognition.live import watch
from mien.recognition.naming import Namer, open_namer
from mien.recognition.records import Moment
from mien.types import Interval

FPS = 100
HALF = 0.5 / FPS
ROUNDED = HALF + 0.005
"""Half a frame, for times that are shown with two decimals."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clocked.need_ffmpeg()
    folder = tmp_path_factory.mktemp("clock")
    write_video(folder / "source.mkv", played.film(41, 150, [(60, 78, 95, "positive")]), FPS)
    return folder


@pytest.fixture(scope="module")
def namer(folder: Path) -> Namer:
    return open_namer(played.chance_weights(folder / "weights.safetensors"))


@pytest.fixture(scope="module", params=["late.mp4", "late.mkv", "edit list.mp4", "starts at 5.ts"])
def film(request: pytest.FixtureRequest, folder: Path) -> Path:
    return clocked.make(request.param, folder / "source.mkv", folder)


@pytest.fixture(scope="module")
def expected(film: Path) -> list[float]:
    return clocked.times(film)


@pytest.fixture(scope="module")
def answer(film: Path, namer: Namer) -> Answer:
    answer = recognise(film, namer)
    assert len(answer.events) == 1
    return answer


def moments(answer: Answer) -> list[Moment]:
    return [moment for event in answer.events for moment in (event.onset, event.apex, event.offset)]


def test_times_of_recognise(answer: Answer, expected: list[float], film: Path, namer: Namer) -> None:
    (track,) = answer.tracks
    for moment in (*moments(answer), track.first, track.last):
        assert moment.seconds == pytest.approx(expected[moment.index], abs=HALF)
    assert answer.video.start == pytest.approx(expected[0], abs=HALF)
    assert answer.video.n_frames == len(expected)
    given = recognise(film, namer, Interval(40, 60, 80))
    assert [m.index for m in moments(given)] == [40, 60, 80]
    assert [m.seconds for m in moments(given)] == pytest.approx([expected[n] for n in (40, 60, 80)], abs=HALF)


def test_times_of_tables_and_tiers(answer: Answer, expected: list[float], tmp_path: Path) -> None:
    made = {kind: WRITERS[kind](answer, tmp_path / f"a{ENDINGS[kind]}", print) for kind in ("csv", "json", "eaf")}
    (row,) = csv.DictReader(made["csv"].open(encoding="utf-8"))
    for name in ("onset", "apex", "offset"):
        assert float(row[f"{name}_s"]) == pytest.approx(expected[int(row[f"{name}_frame"])], abs=HALF)
    assert float(row["length_s"]) == pytest.approx(
        expected[int(row["offset_frame"])] - expected[int(row["onset_frame"])] + 1 / FPS, abs=HALF
    )
    plain = json.loads(made["json"].read_text())
    assert plain["video"]["start"] == pytest.approx(expected[0], abs=HALF)
    (event,) = plain["tracks"][0]["events"]
    for name in ("onset", "apex", "offset"):
        assert event[name]["seconds"] == pytest.approx(expected[event[name]["index"]], abs=HALF)
    tiers = Eaf(str(made["eaf"]))
    onset, apex, offset = (expected[moment.index] for moment in moments(answer))
    ((begin, end, *_),) = tiers.get_annotation_data_for_tier("person 1: expression")
    assert (begin / 1000, end / 1000) == pytest.approx((onset, offset + 1 / FPS), abs=HALF)
    ((begin, end, *_),) = tiers.get_annotation_data_for_tier("person 1: apex")
    assert (begin / 1000, end / 1000) == pytest.approx((apex, apex + 1 / FPS), abs=HALF)


def test_times_of_the_marked_video(answer: Answer, expected: list[float], tmp_path: Path) -> None:
    marked = WRITERS["mp4"](answer, tmp_path / "a.mp4", print)
    assert clocked.times(marked) == pytest.approx(expected, abs=HALF)


def test_times_of_the_page(answer: Answer, expected: list[float], tmp_path: Path) -> None:
    page = WRITERS["html"](answer, tmp_path / "a.html", print).read_text("utf-8")
    shown = re.findall(r"frame (\d+), (\d+\.\d\d) s", page)
    assert {int(index) for index, _ in shown} == {moment.index for moment in moments(answer)}
    for index, seconds in shown:
        assert float(seconds) == pytest.approx(expected[int(index)], abs=ROUNDED)
    drawn = timeline(answer, answer.tracks[0])
    length = expected[-1] - expected[0]
    onset = expected[answer.events[0].onset.index]
    assert drawn["bars"][0]["x"] == pytest.approx(1000 * (onset - expected[0]) / length, abs=1000 * HALF / length)
    first = float(drawn["lines"][0][1:].split(",")[0])
    assert 0 <= first < 1000 * 0.2 / length
    labels = [float(tick["text"].split(" s")[0]) for tick in drawn["ticks"]]
    assert expected[0] - HALF <= labels[0] <= labels[-1] <= expected[-1] + HALF


def test_times_of_spot(film: Path, expected: list[float]) -> None:
    run = CliRunner().invoke(app, ["spot", str(film), "--json"])
    spots = json.loads(run.stdout)["spots"]
    assert spots
    for spot in spots:
        for name in ("onset", "apex", "offset"):
            assert spot[f"{name}_s"] == pytest.approx(expected[spot[name]], abs=HALF)
    table = CliRunner().invoke(app, ["spot", str(film)]).stdout
    (begin,) = re.findall(rf"{spots[0]['onset']}\s+\d+\s+{spots[0]['offset']}\s+(\d+\.\d\d) s", table)
    assert float(begin) == pytest.approx(expected[spots[0]["onset"]], abs=ROUNDED)


def test_times_of_a_film_that_is_watched(film: Path, expected: list[float], namer: Namer) -> None:
    states = list(watch(open_video(film), namer, real_time=False))
    found = [event for state in states for event in state.events]
    assert found
    for event in found:
        for moment in (event.onset, event.apex, event.offset):
            assert moment.seconds == pytest.approx(expected[moment.index], abs=HALF)
    assert states[-1].seconds == pytest.approx(expected[-1], abs=HALF)


def test_times_of_a_film_with_an_uneven_rate(folder: Path, namer: Namer, tmp_path: Path) -> None:
    film = clocked.make("uneven.mp4", folder / "source.mkv", folder)
    expected = clocked.times(film)
    answer = recognise(film, namer)
    assert answer.video.variable_rate
    assert moments(answer)
    for moment in moments(answer):
        assert moment.seconds == pytest.approx(expected[moment.index], abs=HALF)
    marked = WRITERS["mp4"](answer, tmp_path / "a.mp4", print)
    assert clocked.times(marked) == pytest.approx(expected, abs=HALF)
