"""Answers as tables: one row an expression, or one row a frame and person; as CSV text or a Parquet file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final, Literal

from mien.errors import MienError, install_extra
from mien.recognition.records import Answer, Event, UnitAnswer

Kind = Literal["text", "whole", "number"]

_FORMULA: Final = ("=", "+", "-", "@", "\t")
"""How a text begins that a spreadsheet would compute instead of show."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its heading.
        kind: What its cells are; a cell may also be None, an empty cell.
        digits: Digits after the point in CSV, of numbers.
    """

    name: str
    kind: Kind
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Rows:
    """A table.

    Attributes:
        columns: Its columns.
        rows: One tuple a row, with a cell for each column.
    """

    columns: tuple[Column, ...]
    rows: Iterable[tuple[Any, ...]]


def units_of(answers: Iterable[Answer]) -> tuple[int, ...]:
    """Return the action units that some answer is about, ascending."""
    found = {unit for answer in answers for unit in answer.units}
    return tuple(sorted(found.union(u.unit for answer in answers for event in answer.events for u in event.units)))


def event_rows(answers: Sequence[Answer], films: Sequence[str] | None = None) -> Rows:
    """Return a table with one row for each expression.

    Args:
        answers: One answer for each video.
        films: Name of each video within a collection, for a first column `film`; None leaves that column out.
    """
    classes = tuple(dict.fromkeys(name for answer in answers for name in answer.card.classes))
    units = units_of(answers)
    moments = ("onset", "apex", "offset")
    columns = (
        *((Column("film", "text"),) if films is not None else ()), Column("video", "text"),
        Column("person", "whole"), Column("kind", "text"), *(Column(f"{m}_frame", "whole") for m in moments),
        *(Column(f"{m}_s", "number", 4) for m in moments), Column("length_s", "number", 4),
        Column("interval_source", "text"), Column("score", "number", 3), *_unit_columns(units), Column("class", "text"),
        *(Column(f"p_{name}", "number", 4) for name in classes), Column("abstained", "text"), Column("why", "text"),
        Column("notes", "text"),
    )  # fmt: skip

    def rows() -> Iterator[tuple[Any, ...]]:
        for place, answer in enumerate(answers):
            for event in answer.events:
                times = [getattr(event, m) for m in moments]
                answered = {unit.unit: unit for unit in event.units}
                yield (
                    *((films[place],) if films is not None else ()), answer.video.name, event.person, event.kind,
                    *(m.index for m in times), *(m.seconds for m in times), event.seconds,
                    "annotated" if event.given else "detected", event.score,
                    *(cell for unit in units for cell in _unit_cells(answered.get(unit))), event.said or None,
                    *(event.probabilities.get(name) for name in classes),
                    " ".join(reason.about for reason in event.abstained) or None,
                    " ".join(reason.text for reason in event.abstained) or None, " ".join(event.notes) or None,
                )  # fmt: skip

    return Rows(columns, rows())


def _unit_columns(units: Sequence[int]) -> Iterator[Column]:
    for unit in units:
        name = f"AU{unit:02d}"
        yield Column(name, "number", 4)
        yield Column(f"{name}_c", "whole")
        yield Column(f"{name}_side", "text")
        yield Column(f"{name}_strength", "number", 3)


def _unit_cells(unit: UnitAnswer | None) -> tuple[Any, ...]:
    if unit is None:
        return None, None, None, None
    return unit.probability, int(unit.present), unit.side, unit.strength


def unit_details(unit: UnitAnswer) -> str:
    """Return in words what is said of a unit besides its name and side, for the comments of other programs.

    Example:
        >>> unit_details(UnitAnswer(12, "lip corner puller", 0.934, "both", 2.51, True, 0.81))
        'probability 0.93, strength 2.5 % of the distance between the eyes; AUC on real clips 0.81'
    """
    measured = "not measured on real clips" if unit.auc is None else f"AUC on real clips {unit.auc:.2f}"
    return (
        f"probability {unit.probability:.2f}, strength {unit.strength:.2g} % of the distance between the eyes; "
        f"{measured}"
    )


def frame_rows(answer: Answer) -> Rows:
    """Return a table with one row for each frame and person, from the first to the last frame that shows the face.

    While an expression lasts, the cells of its units hold what is said of the whole expression; between expressions
    they are 0, and empty where the units of an expression are not known.

    Args:
        answer: The answer about one video.
    """
    units = units_of([answer])
    columns = (
        Column("frame", "whole"), Column("timestamp", "number", 4), Column("face_id", "whole"),
        Column("success", "whole"), Column("kind", "text"),
        *(c for u in units for c in (Column(f"AU{u:02d}", "number", 4), Column(f"AU{u:02d}_c", "whole"))),
    )  # fmt: skip
    time_of = _clock(answer)

    def rows() -> Iterator[tuple[Any, ...]]:
        for track in answer.tracks:
            lost = {n for first, last in track.gaps for n in range(first.index, last.index + 1)}
            waiting = sorted(track.events, key=lambda event: event.onset.index, reverse=True)
            during: list[Event] = []
            for index in range(track.first.index, track.last.index + 1):
                while waiting and waiting[-1].onset.index <= index:
                    during.append(waiting.pop())
                during = [event for event in during if event.offset.index >= index]
                event = during[-1] if during else None
                yield (
                    index, time_of(index), track.person, int(index not in lost), event.kind if event else None,
                    *_frame_cells(event, units),
                )  # fmt: skip

    return Rows(columns, rows())


def _frame_cells(event: Event | None, units: Sequence[int]) -> Iterator[Any]:
    if event is None:
        yield from (0,) * (2 * len(units))
        return
    answered = {unit.unit: unit for unit in event.units}
    for unit in units:
        found = answered.get(unit)
        yield None if found is None else found.probability
        yield None if found is None else int(found.present)


def _clock(answer: Answer) -> Any:
    """Return the function from the number of a frame to its time; to None where the times are not known any more."""
    video = answer.video
    if not video.variable_rate:
        return lambda index: video.start + index / video.fps
    from mien.io.video import open_video

    try:
        film = open_video(video.source)
    except MienError:
        return lambda index: None

    def time_of(index: int) -> float | None:
        seconds = film.time_of(index)
        return None if math.isnan(seconds) else seconds

    return time_of


def as_csv(table: Rows, separator: str = ",") -> str:
    r"""Return a table as CSV text.

    A text that a spreadsheet would take for a formula, because it begins with `=`, `+`, `-` or `@`, gets an apostrophe
    in front, by which spreadsheets know a text.

    Example:
        >>> as_csv(Rows((Column("video", "text"), Column("share", "number", 2)), [("=1+1", -0.5), ("a", None)]))
        "video,share\n'=1+1,-0.50\na,\n"
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, lineterminator="\n")
    writer.writerow(_plain(column.name) for column in table.columns)
    for row in table.rows:
        writer.writerow(_cell(column, value) for column, value in zip(table.columns, row, strict=True))
    return buffer.getvalue()


def _cell(column: Column, value: Any) -> str:
    if value is None:
        return ""
    if column.kind == "text":
        return _plain(str(value))
    # A frame without any expression is a plain 0, which takes half of the file of a long video.
    return f"{value:.{column.digits}f}" if column.kind == "number" and value != 0 else str(int(value))


def _plain(text: str) -> str:
    text = text.translate({10: " ", 13: " "})  # one line a row, also for programs that read line by line
    return f"'{text}" if text.startswith(_FORMULA) else text


def as_parquet(table: Rows) -> bytes:
    """Return a table as a Parquet file; empty cells are null, numbers are not rounded.

    Raises:
        MienError: The package pyarrow is not installed.
    """
    require_parquet()
    import pyarrow
    from pyarrow import parquet

    types = {"text": pyarrow.string(), "whole": pyarrow.int64(), "number": pyarrow.float64()}
    rows = list(table.rows)
    arrays = {
        column.name: pyarrow.array([row[place] for row in rows], types[column.kind])
        for place, column in enumerate(table.columns)
    }
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table(arrays), sink)
    return bytes(sink.getvalue().to_pybytes())


def require_parquet(instead: str = "`--csv FILE`") -> None:
    """Check that Parquet files can be written.

    Args:
        instead: What to type to do without.

    Raises:
        MienError: The package pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise MienError(
            "Parquet needs the package pyarrow, which is not installed.",
            "pyarrow, or a CSV table.",
            f"{install_extra('table')}, or {instead}.",
        )
