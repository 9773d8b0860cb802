"""Parts of an answer, compared with slow or exact references."""

from __future__ import annotations

import math
import runpy
from pathlib import Path

import numpy as np
import played
import pytest

from mien.io.video import write_video
from mien.recognition import trace
from mien.recognition.cuts import eyes_at
from mien.recognition.people import People
from mien.recognition.reasons import head_turn
from mien.recognition.records import Place
from mien.recognition.trace import Tracer


def test_long_trace_keeps_the_maximum_of_each_group_of_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MOST", 4)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((53, 5)).astype(np.float32)
    rows[20:23] = np.nan
    tracer = Tracer("other", 30.0, 7)
    for row in rows:
        tracer.add(row)
    made = tracer.result()
    lag = 3
    each = [math.sqrt(float(np.mean((rows[t] - rows[max(0, t - lag)]) ** 2))) for t in range(lag // 2, 53)]
    assert made.first == 7
    assert made.width == 8
    assert len(made.values) == math.ceil(len(each) / 8)
    for place, value in enumerate(made.values):
        here = [v for v in each[8 * place : 8 * place + 8] if not math.isnan(v)]
        assert value == pytest.approx(max(here)) if here else math.isnan(value)


def test_head_turn_is_measured_on_a_rotated_model() -> None:
    """The model: eyes at distance 1, the tip of the nose 0.55 in front of them, seen from far away."""
    angles = np.radians([-25, -10, 0, 5, 18])
    points = np.zeros((len(angles), 68, 2))
    for t, angle in enumerate(angles):
        for eye, x in ((slice(36, 42), -0.5), (slice(42, 48), 0.5)):
            points[t, eye] = [x * math.cos(angle), 0]
        points[t, 30] = [0.55 * math.sin(angle), 0.4]
    turned = head_turn(100 * points + 300)
    # The eyes come closer as the head turns: the angle is overestimated by 1 / cos.
    assert np.abs(np.sin(turned) - np.tan(angles)).max() < 1e-9
    assert np.abs(np.degrees(turned - angles)).max() < 3


def test_eyes_at_returns_the_last_place_before_a_frame() -> None:
    here, there = (1.0, 2.0, 3.0, 2.0), (5.0, 2.0, 7.0, 2.0)
    places = [Place(4, here), Place(9, None), Place(12, there)]
    assert [eyes_at(places, n) for n in (3, 4, 8, 9, 11, 12, 99)] == [None, here, here, None, None, there, there]


def test_skipped_frames_count_as_frames_without_a_face() -> None:
    people = People(100.0)
    looks: list[tuple[int, bool]] = []
    for n, frame in enumerate(played.film(41, 30, [])):
        if 10 <= n < 14:
            continue
        looks += [(look.index, look.picture is not None) for _, look in people.look(frame, n)]
    assert [index for index, _ in looks] == list(range(30))
    assert [index for index, there in looks if not there] == [10, 11, 12, 13]
    assert people.everybody[0].n_frames == 26


def test_own_video_example_prints_and_writes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = Path(__file__).resolve().parents[2] / "examples" / "own_video.py"
    film = write_video(tmp_path / "film.mkv", played.film(41, 130, [(50, 68, 85, "positive")]), 100)
    weights = played.chance_weights(tmp_path / "w.safetensors")
    found = runpy.run_path(str(script))["main"](str(film), str(weights), str(tmp_path / "table.csv"))
    assert found == 1
    assert "person 1" in capsys.readouterr().out
    assert (tmp_path / "table.csv").read_text().count("\n") == 2
