"""Answers as plain values and back."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from mien.classifiers.checkpoint import read_card
from mien.datasets.facs import unit_name
from mien.errors import MienError
from mien.recognition import Answer, Event, Moment, Reason, Track, UnitAnswer, VideoFacts, wording
from mien.recognition.records import Place, Trace, as_json, from_json
from mien.recognition.units import measured_auc

EYES = (10.0, 20.0, 30.0, 20.0)
UNITS = (
    UnitAnswer(4, unit_name(4), 0.31, "both", 0.4, False, 0.98),
    UnitAnswer(12, unit_name(12), 0.93, "left", 2.5, True, None),
    UnitAnswer(14, unit_name(14), 0.97, "both", 1.5, True, 0.88),
)


@pytest.fixture(scope="module")
def answer() -> Answer:
    first, top, last = Moment(3, 0.03), Moment(5, 0.05), Moment(9, 0.09)
    why = (Reason("macro", "It lasts long."),)
    events = (
        Event(1, "micro", first, top, last, False, False, 1.5, {"negative": 1.0}, (), ("a note",), EYES, UNITS),
        Event(1, "macro", first, top, last, False, False, None, {}, why, (), EYES),
    )
    trace = Trace(0, 1, (0.5, math.nan), "units")
    track = Track(1, first, last, 7, 20.0, ((first, top),), (Place(3, EYES), Place(9, None)), events, trace)
    card = read_card("shipped")
    return Answer(
        VideoFacts("a.mp4", "a", 40, 60, 10, 0.1, 100.0, False, ("damaged",)), (track,), "flow-peaks", "w", card,
        why, ("note",), unit_weights="u", unit_card=read_card("shipped-units"), units=(4, 12, 14), units_off=(5,),
    )  # fmt: skip


def test_an_answer_survives_json(answer: Answer) -> None:
    back = from_json(json.loads(json.dumps(as_json(answer), allow_nan=False)))
    assert back.events == answer.events
    trace = back.tracks[0].trace
    assert trace is not None
    assert math.isnan(trace.values[1])
    assert replace(back, tracks=()) == replace(answer, tracks=())
    assert replace(back.tracks[0], trace=None) == replace(answer.tracks[0], trace=None)


def test_an_answer_without_units_is_still_read(answer: Answer) -> None:
    plain = as_json(answer)
    for key in ("unit_weights", "unit_card", "units", "units_off"):
        del plain[key]
    for event in plain["tracks"][0]["events"]:
        del event["units"]
    back = from_json(plain)
    assert back.unit_card is None
    assert back.units == ()
    assert [event.units for event in back.events] == [(), ()]


@pytest.mark.parametrize("broken", [{"format": 1}, {"format": 2}, {}, [1], {"format": 1, "video": 3}])
def test_other_values_are_refused(broken: object) -> None:
    with pytest.raises(MienError, match="mien recognise"):
        from_json(broken)  # type: ignore[arg-type]


def test_units_that_moved_are_ordered_by_probability(answer: Answer) -> None:
    assert [unit.unit for unit in answer.events[0].moved] == [14, 12]
    assert [unit.code for unit in answer.events[0].units] == ["AU4", "L12", "AU14"]


def test_a_near_tie_is_said_as_such(answer: Answer) -> None:
    def shares(**probabilities: float) -> Event:
        return replace(answer.events[0], probabilities=probabilities)

    tie = shares(negative=0.48, positive=0.42, surprise=0.1)
    assert tie.label is None
    assert tie.tied == ("negative", "positive")
    assert tie.said == "negative or positive"
    clear = shares(negative=0.3, positive=0.6, surprise=0.1)
    assert (clear.label, clear.said) == ("positive", "positive")
    none = shares()
    assert (none.label, none.said, none.tied) == (None, "", ())
    plain = as_json(replace(answer, tracks=(replace(answer.tracks[0], events=(tie, clear)),)))
    assert [event["tied"] for event in plain["tracks"][0]["events"]] == [["negative", "positive"], []]
    assert [event["label"] for event in plain["tracks"][0]["events"]] == [None, "positive"]


def test_cards_say_how_often_units_are_right() -> None:
    card = read_card("shipped-units")
    assert "of 100 pairs" in wording.unit_weights(card, (5,))
    assert "AU5: not answered" in wording.unit_weights(card, (5,))
    assert wording.unit_weights(None, ()) == ""
    assert "right in 9" in wording.right_on_real(card, 4)
    assert wording.right_on_real(None, 4) == "not measured on real clips"
    unmeasured = replace(card, score={})
    assert "has not been measured" in wording.unit_weights(unmeasured, ())
    assert measured_auc(unmeasured, 4) is None
