"""Timelines: curves, refusals, emotions and durations."""

from typing import Any

import numpy as np
import pytest

from mien.errors import MienError
from mien.synthesis.acting import Manner, draw_micro, draw_span, draw_units, emotions
from mien.synthesis.corpus import objective_class
from mien.synthesis.timeline import (
    INTENSITY,
    STILL,
    Blink,
    Glance,
    Head,
    Movement,
    Timeline,
    action_units,
    movements_of,
    read_table,
)

MOVE: dict[str, Any] = {"unit": "AU12", "onset": 5, "apex": 20, "offset": 45, "intensity": 0.2}


def test_units_of_real_sheets_are_taken_as_often_as_asked_for() -> None:
    table = {units for units, _ in read_table("coded_units")["disgust"]["shown"]}
    described = {units for units, _ in read_table("emotions")["disgust"]["shown"]}
    rng = np.random.default_rng(0)
    drawn = [draw_units("disgust", rng, coded=1.0) for _ in range(300)]
    assert set(drawn) <= table
    assert len(set(drawn) - described) > 5
    assert {draw_units("disgust", rng) for _ in range(100)} <= described
    # An emotion that the sheets do not have, and a mixture of emotions that they have.
    assert draw_units("repression", rng, coded=1.0)
    assert "4" in {draw_units("negative", rng, coded=1.0) for _ in range(60)}
    shares = [np.mean([draw_units("disgust", rng, coded=c) in table - described for _ in range(400)]) for c in (0.3, 1)]
    assert 0 < shares[0] < 0.6 * shares[1]


def test_every_coded_combination_can_be_shown() -> None:
    for entry in read_table("coded_units").values():
        for units, count in entry["shown"]:
            assert count >= 2
            assert movements_of(units, onset=0, apex=3, offset=6, intensity=0.2)


def test_movement_is_strongest_at_its_apex_and_zero_outside() -> None:
    timeline = Timeline(60, 200, (Movement(**MOVE, skew=1.3),))
    curve = timeline.activations()[:, 0]
    assert curve.argmax() == 20
    assert curve[20] == pytest.approx(0.2)
    assert not curve[:6].any()
    assert not curve[45:].any()
    assert (np.diff(curve[5:21]) > 0).all()
    assert (np.diff(curve[20:46]) < 0).all()
    np.testing.assert_allclose(timeline.activations(np.array([12, 30]))[:, 0], curve[[12, 30]])


def test_sides_and_asymmetry_scale_the_halves() -> None:
    assert Movement(**MOVE).halves() == (1, 1)
    assert Movement(**MOVE, side="L").halves() == (0, 1)
    right, left = Movement(**MOVE, asymmetry=0.25).halves()
    assert (right, left) == (0.75, 1.25)
    timeline = Timeline(60, 200, movements_of("4+L12", onset=0, apex=3, offset=9, intensity=0.1))
    assert timeline.units() == "4+L12"


def test_head_starts_at_rest_and_moves_by_tremor_and_breathing() -> None:
    timeline = Timeline(400, 200, head=Head(seed=3))
    path = timeline.head_path()
    assert not path[0].any()
    assert 0 < np.abs(path).max() < 0.05
    assert not Timeline(50, 200, head=STILL).head_path().any()
    # The same seconds at another frame rate are the same path.
    np.testing.assert_allclose(Timeline(200, 100, head=Head(seed=3)).head_path(), path[::2], atol=1e-12)
    trembling = Timeline(400, 200, head=Head(0, 0.001, 9.0, 0, 0.27, 1)).head_path()[:, 0]
    peak = np.fft.rfftfreq(400, 1 / 200)[np.abs(np.fft.rfft(trembling - trembling.mean())).argmax()]
    assert 7 <= peak <= 11.5


def test_blinks_close_the_eyes_and_glances_move_the_irises() -> None:
    timeline = Timeline(60, 100, blinks=(Blink(10, 15, 25, 0.9),), glances=(Glance(30, 4, 0.03, -0.01),))
    closed = timeline.closures()
    assert closed.argmax() == 15
    assert closed.max() == pytest.approx(0.9)
    there = np.array([[0.0, 0.0], [0.0, 0.0], [0.03, -0.01], [0.03, -0.01]])
    np.testing.assert_allclose(timeline.gaze()[[0, 30, 34, 59]], there)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"apex": 50}, "onset"),
        ({"apex": 5}, "onset"),
        ({"onset": -1}, "onset"),
        ({"intensity": 0.5}, "0.3"),
        ({"intensity": 0.01}, "0.05"),
        ({"intensity": 0.2, "kind": "macro"}, "0.3"),
        ({"unit": "AU99"}, "action unit"),
        ({"asymmetry": 2.0}, "asymmetry"),
        ({"side": "left"}, "side"),
    ],
)
def test_impossible_movement_is_refused_in_three_parts(change: dict[str, Any], message: str) -> None:
    with pytest.raises(MienError, match=message) as caught:
        Movement(**{**MOVE, **change})
    assert caught.value.found
    assert caught.value.expected
    assert caught.value.fix


def test_impossible_timeline_is_refused() -> None:
    with pytest.raises(MienError, match="apex of AU12 is frame 20"):
        Timeline(15, 200, (Movement(**MOVE),))
    with pytest.raises(MienError, match="apex of a blink"):
        Timeline(15, 200, blinks=(Blink(10, 15, 25),))
    for wrong in ({"n_frames": 0, "fps": 100}, {"n_frames": 5, "fps": 0}):
        with pytest.raises(MienError, match="timeline"):
            Timeline(**wrong)  # type: ignore[arg-type]
    with pytest.raises(MienError, match="glance"):
        Timeline(5, 100, glances=(Glance(9, 1, 0, 0),))
    with pytest.raises(MienError, match="blink"):
        Blink(1, 2, 3, 0.0)
    with pytest.raises(MienError, match="head"):
        Head(drift=-1)
    with pytest.raises(MienError, match="Manner"):
        Manner(atypical=2)


def test_every_emotion_uses_units_that_faces_can_show() -> None:
    rng = np.random.default_rng(0)
    known = {name.removeprefix("AU") for name in action_units()}
    for emotion in emotions():
        for _ in range(40):
            units = draw_units(emotion, rng)
            assert {u.strip("LR") for u in units.split("+")} <= known, units
    with pytest.raises(MienError, match="surprise"):
        draw_units("suprise", rng)


def test_emotions_share_units_but_keep_their_typical_ones() -> None:
    rng = np.random.default_rng(1)
    happy = [draw_units("positive", rng, 0.1) for _ in range(600)]
    share = np.mean(["12" in units for units in happy])
    assert 0.88 < share < 0.97


def test_micro_expressions_have_the_stated_durations() -> None:
    rng = np.random.default_rng(0)
    spans = np.array([draw_span("micro", 200, rng) for _ in range(500)])
    seconds = spans[:, 1] / 200
    assert 0.08 <= seconds.min() <= seconds.max() <= 0.5
    assert 0.28 < np.median(seconds) < 0.36
    assert (spans[:, 0] >= 1).all()
    assert (spans[:, 0] < spans[:, 1]).all()
    assert min(draw_span("micro", 15, rng)[1] for _ in range(50)) >= 3
    for _ in range(50):
        timeline, _ = draw_micro("negative", 100, rng)
        low, high = INTENSITY["micro"]
        assert all(low <= m.intensity <= high for m in timeline.movements)
        assert timeline.movements


def test_objective_classes_follow_the_published_table() -> None:
    message = {
        "6+12": 1,
        "L12": 1,
        "12": 1,
        "1+2": 2,
        "4+7": 3,
        "7+4": 3,
        "9": 4,
        "15": 5,
        "20": 6,
        "14": 7,
        "12+15": 7,
    }
    assert {units: objective_class(units) for units in message} == message
