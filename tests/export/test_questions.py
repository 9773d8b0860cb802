"""Answers as questions and answers, which the referee reads back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from mien.classifiers.checkpoint import read_card
from mien.datasets.facs import unit_name
from mien.evaluation.referee.score import score
from mien.export import WRITERS
from mien.recognition.records import Answer, Event, Moment, Track, UnitAnswer, VideoFacts

FROWN = UnitAnswer(4, unit_name(4), 0.7, "both", 1.2, True)
SMILE = UnitAnswer(12, unit_name(12), 0.2, "both", 0.1, False)


def an_event(kind: str, *units: UnitAnswer, named: bool = True) -> Event:
    shares = {"negative": 0.7, "positive": 0.2, "surprise": 0.1} if named else {}
    times = (Moment(10, 0.1), Moment(14, 0.14), Moment(19, 0.19))
    return Event(
        1, "micro" if kind == "micro" else "macro", *times, False, False, 1.5, shares, (), (), (1, 2, 3, 2), units
    )


def an_answer(*events: Event) -> Answer:
    track = Track(1, Moment(0, 0.0), Moment(59, 0.59), 60, 74.0, (), (), events, None)
    facts = VideoFacts("film.mkv", "film", 240, 320, 60, 0.59, 100.0, False)
    return Answer(facts, (track,), "flow-peaks", "w", read_card("shipped"))


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_one_micro_expression_keeps_the_name_of_the_video(tmp_path: Path) -> None:
    path = WRITERS["qa"](
        an_answer(an_event("micro", FROWN, SMILE), an_event("macro", FROWN)), tmp_path / "a.jsonl", print
    )
    assert lines(path) == [
        {
            "video_id": "film_1",
            "video": "film",
            "question": "What is the coarse expression class?",
            "answer": "negative",
        },
        {"video_id": "film_2", "video": "film", "question": "What is the action unit?", "answer": unit_name(4).lower()},
    ]
    result = score(path, path)
    assert result["coarse"]["accuracy"] == result["units"]["f1"] == 1


def test_several_are_numbered_and_what_is_not_known_is_not_answered(tmp_path: Path) -> None:
    events = (an_event("micro", replace(FROWN, present=False)), an_event("micro", named=False))
    found = lines(WRITERS["qa"](an_answer(*events), tmp_path / "a.jsonl", print))
    assert [(entry["video"], entry["answer"]) for entry in found] == [("film-1", "negative"), ("film-1", "none")]


def test_an_answer_without_micro_expressions_is_an_empty_file(tmp_path: Path) -> None:
    assert not lines(WRITERS["qa"](an_answer(), tmp_path / "a.jsonl", print))
