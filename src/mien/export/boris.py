"""Write answers for BORIS, a program to code behaviour: a project that it opens, or events as it exports them.

Each video is an observation, each person a subject, each action unit a behaviour with a beginning and an end. BORIS
stores no mark for them: of the events of one subject, behaviour and side, in the order of their times, every other one
is a beginning. Times are those of the video file.

Source: BORIS 7 to 10, whose projects have format 7.0 (https://www.boris.unito.it); facts only, no code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import av

from mien.datasets.facs import facs_units, unit_name
from mien.export.columns import Column, Rows, as_csv, unit_details, units_of
from mien.export.elan import span_of
from mien.export.tables import write
from mien.recognition import wording
from mien.recognition.records import Answer, Event, VideoFacts

FORMAT: Final = "7.0"
"""Version of the project format; BORIS refuses projects newer than itself."""

PLAYERS: Final = 8
SIDES: Final = ("both", "left", "right")
UNITS: Final = "Action units"
EXPRESSIONS: Final = "Expressions"


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """One event of BORIS: the beginning or the end of a behaviour, or its apex.

    Attributes:
        seconds: Time on the clock of the file.
        last: Whether it is an end; ends come before beginnings at the same time.
        subject: Name of the person.
        behaviour: Code of the behaviour.
        modifier: Side of the face; "" if there is none.
        status: "START", "STOP" or "POINT".
        comment: Details for the reader.
        frame: Number of the frame, from 0.
    """

    seconds: float
    last: int
    subject: str
    behaviour: str
    modifier: str
    status: str
    comment: str
    frame: int


def write_boris(answer: Answer, out: Path) -> Path:
    """Write a BORIS project with one observation, or its events as BORIS exports them.

    Args:
        answer: The answer.
        out: The file: `.boris` for a project, which BORIS opens and imports; `.tsv` for tabular events, which programs
            that work with exports of BORIS read.

    Returns:
        `out`.

    Raises:
        MienError: `out` cannot be written.

    Example:
        >>> write_boris(answer, Path("face.boris")).name  # answer = mien.recognise("face.mkv")
        'face.boris'
        >>> write_boris(answer, Path("face.tsv")).read_text().split("\\t")[0]
        'Observation id'
    """
    if out.suffix.lower() == ".tsv":
        return write(out, events_as_tsv([answer], [answer.video.name]))
    return write(out, project_text([answer], [answer.video.name], out.stem))


def project_text(answers: Sequence[Answer], names: Sequence[str], title: str) -> str:
    """Return a BORIS project with one observation for each answer.

    Args:
        answers: The answers.
        names: Name of each observation; all different.
        title: Name of the project.
    """
    units = units_of(answers)
    people = max((track.person for answer in answers for track in answer.tracks), default=0)
    observations = {
        name.strip(): _observation(answer, marks_of(answer)) for name, answer in zip(names, answers, strict=True)
    }
    cautions = dict.fromkeys(
        text
        for answer in answers
        for text in (wording.unit_weights(answer.unit_card, answer.units_off), wording.trained_on(answer.card))
        if text
    )
    project = {
        "time_format": "s",
        "project_name": title,
        "project_date": max((each["date"] for each in observations.values()), default=_date(None)),
        "project_description": " ".join((*cautions, wording.NOT)),
        "project_format_version": FORMAT,
        "subjects_conf": {
            str(n): {"key": str(n + 1) if n < 9 else "", "name": _subject(n + 1), "description": ""}
            for n in range(people)
        },
        "behaviors_conf": {str(n): behaviour for n, behaviour in enumerate(_ethogram(units))},
        "behavioral_categories": [EXPRESSIONS, UNITS],
        "behavioral_categories_config": {
            str(n): {"name": name, "color": ""} for n, name in enumerate((EXPRESSIONS, UNITS))
        },
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
        "observations": observations,
    }
    return json.dumps(project, indent=1, ensure_ascii=True) + "\n"  # BORIS reads in the encoding of the system


def events_as_tsv(answers: Sequence[Answer], names: Sequence[str]) -> str:
    """Return the events of answers as the tabular events that BORIS exports, separated by tabs.

    Args:
        answers: The answers.
        names: Name of each observation.
    """
    texts = (
        "Observation id", "Observation date", "Description", "Observation duration", "Observation type", "Source",
        "Time offset (s)", "Media duration (s)", "FPS", "Subject", "Behavior", "Behavioral category", "Modifier #1",
        "Behavior type", "Time", "Media file name", "Image index", "Image file path", "Comment",
    )  # fmt: skip
    numbers = {"Observation duration": 3, "Time offset (s)": 3, "Media duration (s)": 3, "FPS": 3, "Time": 3}
    columns = tuple(Column(t, "number" if t in numbers else "text", numbers.get(t, 0)) for t in texts)

    def rows() -> Iterator[tuple[Any, ...]]:
        for name, answer in zip(names, answers, strict=True):
            film, folder = answer.video, Path(answer.video.source).is_dir()
            length, rate, path = _length(film), film.fps / film.slower, _path(film)
            pictures = _pictures(Path(film.source)) if folder else {}
            for mark in marks_of(answer):
                yield (
                    name, _date(film).replace("T", " "), "", length,
                    "From directories of images" if folder else "Media file(s)",
                    path if folder else f"player #1:{path}", 0.0, length, rate, mark.subject,
                    mark.behaviour, UNITS if mark.modifier else EXPRESSIONS, mark.modifier, mark.status, mark.seconds,
                    "NA" if folder else path, str(mark.frame), pictures.get(mark.frame, "NA"), mark.comment,
                )  # fmt: skip

    return as_csv(Rows(columns, rows()), "\t")


def marks_of(answer: Answer) -> list[Mark]:
    """Return the events of an answer in the order of their times, beginnings and ends in turn."""
    marks: list[Mark] = []
    ends: dict[tuple[str, str], int] = {}

    def state(event: Event, behaviour: str, modifier: str, comment: str) -> None:
        subject = _subject(event.person)
        first, last = span_of(event.onset.seconds, event.offset.seconds, answer.video)
        # BORIS pairs the events of a behaviour by their order, in places without regard to the side.
        first = max(first, ends.get((subject, behaviour), -1) + 1)
        last = ends[subject, behaviour] = max(last, first + 1)
        place = subject, behaviour, modifier
        marks.append(Mark(first / 1000, 0, *place, "START", comment, event.onset.index))
        marks.append(Mark(last / 1000, 1, *place, "STOP", "", event.offset.index))

    for event in answer.events:
        state(event, event.kind, "", _comment(event))
        apex = span_of(event.apex.seconds, event.apex.seconds, answer.video)[0]
        marks.append(Mark(apex / 1000, 0, _subject(event.person), "apex", "", "POINT", "", event.apex.index))
        for unit in sorted(event.moved, key=lambda unit: unit.unit):
            state(event, _code(unit.unit), unit.side, unit_details(unit))
    return sorted(marks, key=lambda mark: (mark.seconds, -mark.last))


def _code(unit: int) -> str:
    return f"AU{unit:02d}"


def _subject(person: int) -> str:
    return f"person {person}"


def _comment(event: Event) -> str:
    if event.tied:
        shares = ", ".join(f"{event.probabilities[name]:.2f}" for name in event.tied)
        return f"class (derived): {event.said}, probability {shares}"
    return " ".join(reason.text for reason in event.abstained)


def _ethogram(units: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield each behaviour as BORIS stores it."""
    keys = iter("abcdefghijklmnopqrstuvw")
    rest = {"color": "", "excluded": "", "coding map": ""}
    kinds = (
        ("micro", "State event", "expression of up to half a second", "x"),
        ("macro", "State event", "longer expression", "y"),
        ("apex", "Point event", "largest change of an expression", "z"),
    )
    for code, kind, description, key in kinds:
        yield {
            "type": kind, "key": key, "code": code, "description": description, "category": EXPRESSIONS,
            "modifiers": {}, **rest,
        }  # fmt: skip
    side = {"name": "side", "description": "the person's own side", "type": 0, "values": list(SIDES)}
    for unit in units:
        known = facs_units().get(unit)
        yield {
            "type": "State event", "key": next(keys, ""), "code": _code(unit),
            "description": unit_name(unit) + (f": {known.words}" if known else ""), "category": UNITS,
            "modifiers": {"0": dict(side)}, **rest,
        }  # fmt: skip


def _observation(answer: Answer, marks: Sequence[Mark]) -> dict[str, Any]:
    film = answer.video
    shared = {
        "date": _date(film), "description": " ".join(reason.text for reason in answer.reasons), "time offset": 0.0,
        "observation time interval": [0, 0], "independent_variables": {}, "visualize_spectrogram": False,
        "visualize_waveform": False, "close_behaviors_between_videos": False, "media_creation_date_as_offset": False,
        "media_scan_sampling_duration": 0, "image_display_duration": 1, "scan_sampling_time": 0,
        "start_from_current_time": False, "start_from_current_epoch_time": False,
    }  # fmt: skip
    path = _path(film)
    if Path(film.source).is_dir():
        names = _pictures(Path(film.source))
        events = [
            [m.seconds, m.subject, m.behaviour, m.modifier, m.comment, m.frame, names.get(m.frame, path)] for m in marks
        ]
        delay = film.slower / film.fps
        return {
            "type": "IMAGES", "file": {}, "directories_list": [path], "use_exif_date": False,
            "substract_first_exif_date": False, "time_lapse_delay": delay, **shared, "events": events,
        }  # fmt: skip
    return {
        "type": "MEDIA",
        "file": {str(n): [path] if n == 1 else [] for n in range(1, PLAYERS + 1)},
        "media_info": {
            "length": {path: _length(film)},
            "fps": {path: round(film.fps / film.slower, 3)},
            "hasVideo": {path: True},
            "hasAudio": {path: _has_sound(film)},
            "offset": {"1": 0.0},
        },
        **shared,
        "events": [[m.seconds, m.subject, m.behaviour, m.modifier, m.comment, m.frame] for m in marks],
    }


def _path(film: VideoFacts) -> str:
    path = Path(film.source)
    return str(path.resolve()) if path.exists() else film.source


def _pictures(folder: Path) -> dict[int, str]:
    from mien.io.video.pictures import pictures_in

    return {n: str(path.resolve()) for n, path in enumerate(pictures_in(folder))}


def _date(film: VideoFacts | None) -> str:
    """Return when a video was last written, so that the same video always gives the same project."""
    written = 0.0
    if film is not None:
        with suppress(OSError):
            written = Path(film.source).stat().st_mtime
    return datetime.fromtimestamp(int(written), UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _length(film: VideoFacts) -> float:
    """Return the seconds for which the file plays."""
    return round(film.start + (film.seconds + 1 / film.fps) * film.slower, 3)


def _has_sound(film: VideoFacts) -> bool:
    try:
        with av.open(film.source) as opened:
            return bool(opened.streams.audio)
    except (OSError, ValueError, av.FFmpegError):
        return False
