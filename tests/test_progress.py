"""Progress: lines without a terminal, bars on one, nothing for short work."""

from __future__ import annotations

import io
import re
import sys
import time
from types import SimpleNamespace

import pytest

from mien import progress
from mien.progress import Bars, Meter


class Stream(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def wait_for(stream: Stream, text: str) -> None:
    until = time.monotonic() + 30
    while text not in stream.getvalue():
        assert time.monotonic() < until, stream.getvalue()
        time.sleep(0.01)


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Stream:
    stream = Stream(terminal=False)
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=stream))  # pytest sets its own before the test
    monkeypatch.setattr(progress, "FIRST_LINE", 0.05)
    monkeypatch.setattr(progress, "BETWEEN_LINES", 0.05)
    return stream


def test_long_work_without_a_terminal_prints_plain_lines(piped: Stream) -> None:
    with Bars() as bars:
        advance = bars.start("clips", 4)
        wait_for(piped, "clips: 0 of 4 done\n")
        advance(1)
        wait_for(piped, "clips: 1 of 4 done, about ")
        advance(3)
    lines = piped.getvalue().splitlines()
    assert lines[-1] == "clips: 4 of 4 done"
    assert len(lines) == len(set(lines))
    assert re.fullmatch(r"clips: 1 of 4 done, about \d+ s left", lines[1])
    assert "\x1b" not in piped.getvalue()


def test_parts_of_folds_count_for_the_time_left(piped: Stream) -> None:
    with Meter(3) as meter, Bars() as bars:
        bars.follow("folds", meter)
        meter.slot(0)(0.5)
        wait_for(piped, "folds: 0 of 3 done, about ")


def test_shares_are_shown_in_percent_and_unknown_totals_without_one(piped: Stream) -> None:
    with Bars() as bars:
        bars.start("training, %", 100)(30)
        wait_for(piped, "training: 30 % done, about ")
        bars.start("frames", 0)(7)
        wait_for(piped, "frames: 7 done\n")


def test_short_work_prints_nothing_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(terminal=False)
    monkeypatch.setattr(sys, "stderr", stream)
    with Bars() as bars:
        bars.start("clips", 2)(2)
    assert stream.getvalue() == ""


def test_work_that_fails_prints_no_end(piped: Stream) -> None:
    def fail() -> None:
        with Bars() as bars:
            bars.start("clips", 4)
            wait_for(piped, "clips: 0 of 4 done\n")
            raise RuntimeError("no more clips")

    with pytest.raises(RuntimeError, match="no more clips"):
        fail()
    assert piped.getvalue() == "clips: 0 of 4 done\n"


def test_a_terminal_shows_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(terminal=True)
    monkeypatch.setattr(sys, "stderr", stream)
    with Meter(2) as meter, Bars() as bars:
        bars.start("[/clips]", 2)(2)
        bars.follow("folds", meter)(2)
    assert "[/clips]" in stream.getvalue()
    assert "2/2" in stream.getvalue()


def test_one_bar_moves_with_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(terminal=True)
    monkeypatch.setattr(sys, "stderr", stream)
    with Meter(2) as meter, Bars() as bars:
        finished = bars.follow("films", meter, parts=None)
        meter.slot(0)(0.5)
        finished(1)
        meter.slot(0)(1.0)
        meter.slot(1)(1.0)
        finished(1)
    assert "training" not in stream.getvalue()
    assert "2/2" in stream.getvalue()
    assert "100.0 %" in stream.getvalue()


def test_nothing_is_shown_where_nothing_is_asked_for(piped: Stream) -> None:
    with Meter(1) as meter, Bars(show=False) as bars:
        bars.start("clips", 2)(1)
        bars.follow("folds", meter)(1)
        time.sleep(0.2)
    assert piped.getvalue() == ""


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "1 s"), (89, "89 s"), (181, "3 min"), (7800, "2 h 10 min")])
def test_durations_are_written_as_people_say_them(seconds: float, text: str) -> None:
    assert progress._duration(seconds) == text
