"""The records that make up an answer, and their conversion to plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar

from mien.classifiers.checkpoint import ModelCard
from mien.errors import MienError

R = TypeVar("R")

About = Literal[
    "no_face", "frame_rate", "face_size", "face_lost", "head_motion", "spotting", "macro", "variable_rate", "input"
]
"""The kinds of reasons for not giving an answer."""

FORMAT = 1
"""Version of the JSON layout."""

NEAR_TIE = 0.1
"""Difference of two probabilities below which neither class is named alone: a convention, not a measured limit."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time of a video.

    Attributes:
        index: Number of the frame, from 0.
        seconds: Time on the clock of the video file, as players show it (see `mien.io.video.Video.time_of`).

    Example:
        >>> answer.events[0].apex  # answer = mien.recognise("face.mkv")
        Moment(index=7, seconds=0.07)
    """

    index: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Reason:
    """Why there is no answer, or no class.

    Attributes:
        about: Kind of the reason.
        text: The reason in words, with the measured value and the limit.

    Example:
        >>> answer.events[0].abstained[0].about  # answer = mien.recognise("face.mkv")
        'face_size'
    """

    about: About
    text: str


UnitSide = Literal["both", "left", "right"]
"""Where a unit moved, as the person's own side: the person's left is on the right of the picture."""


@dataclass(frozen=True, slots=True)
class UnitAnswer:
    """What the motion from onset to apex says about one action unit.

    Attributes:
        unit: FACS number.
        name: FACS name, from `mien.datasets.facs`.
        probability: Probability that the unit moved, 0 to 1, as if half of all expressions showed it.
        side: The person's own side that moved (left is on the right of the picture), or "both". See
            `mien.recognition.units`.
        strength: Largest displacement of the skin that belongs to the unit between onset and apex, in percent of the
            distance between the eyes and relative to the head. See `mien.recognition.units`.
        present: Whether the probability exceeds the threshold of the unit.
        auc: How well the weights separate clips with the unit from clips without it, on real faces that they were not
            trained on: 1 is perfect, .5 is chance. From the card of the weights; None if it was not measured.

    Example:
        >>> unit = UnitAnswer(12, "lip corner puller", 0.99, "left", 2.9, present=True, auc=0.88)
        >>> unit.code
        'L12'
    """

    unit: int
    name: str
    probability: float
    side: UnitSide
    strength: float
    present: bool
    auc: float | None = None

    @property
    def code(self) -> str:
        """The unit as face coders write it: "AU12", "L12" for the person's left side only, "R12" for the right."""
        return f"AU{self.unit}" if self.side == "both" else f"{self.side[0].upper()}{self.unit}"


@dataclass(frozen=True, slots=True)
class Event:
    """One expression of one person.

    Attributes:
        person: Number of the person, from 1.
        kind: "micro" up to half a second, "macro" if longer.
        onset: First frame of the movement.
        apex: Frame of its largest change.
        offset: Last frame of the movement (included).
        given: Whether the user gave the interval; otherwise the spotter found it.
        apex_given: Whether the user gave the apex as well.
        score: Score of the spotter as a multiple of its threshold; None if the user gave the interval.
        probabilities: Probability of each class, summing to 1; empty if no class is named.
        abstained: Why no class is named. If the user asked for a class anyway, why it is unreliable.
        notes: Other remarks for the reader.
        eyes: x and y of the image-left eye, then of the other, at the onset, in pixels of the video.
        units: Every action unit that the weights know and that is answered (see `Answer.units`), by number; empty if
            the motion could not be measured or units were not asked for.

    Example:
        >>> event = answer.events[0]  # answer = mien.recognise("face.mkv")
        >>> event.kind, event.onset.index, event.offset.index, round(event.seconds, 2)
        ('micro', 0, 13, 0.14)
    """

    person: int
    kind: Literal["micro", "macro"]
    onset: Moment
    apex: Moment
    offset: Moment
    given: bool
    apex_given: bool
    score: float | None
    probabilities: Mapping[str, float]
    abstained: tuple[Reason, ...]
    notes: tuple[str, ...]
    eyes: tuple[float, float, float, float]
    units: tuple[UnitAnswer, ...] = ()

    @property
    def moved(self) -> tuple[UnitAnswer, ...]:
        """The units that are present, the most probable one first."""
        return tuple(sorted((unit for unit in self.units if unit.present), key=lambda unit: -unit.probability))

    @property
    def tied(self) -> tuple[str, ...]:
        """The classes within `NEAR_TIE` of the most probable one, that one first; empty if no class is named.

        More than one name is a near tie: the weights cannot tell these classes apart here.
        """
        most = max(self.probabilities.values(), default=0.0)
        ordered = sorted(self.probabilities, key=lambda name: -self.probabilities[name])
        return tuple(name for name in ordered if most - self.probabilities[name] < NEAR_TIE)

    @property
    def label(self) -> str | None:
        """The most probable class; None if no class is named, and in a near tie."""
        return self.tied[0] if len(self.tied) == 1 else None

    @property
    def said(self) -> str:
        """The class in words: "negative", "negative or positive" in a near tie, "" if no class is named."""
        return " or ".join(self.tied)

    @property
    def seconds(self) -> float:
        """Duration, from the beginning of the first frame to the end of the last."""
        frames = max(1, self.offset.index - self.onset.index)
        return (self.offset.seconds - self.onset.seconds) * (frames + 1) / frames

    @property
    def eye_distance(self) -> float:
        """Distance between the eyes at the onset, in pixels."""
        return math.dist(self.eyes[:2], self.eyes[2:])


@dataclass(frozen=True, slots=True)
class Trace:
    """How much a face moved over time: one value for each group of frames, at most a few thousand values.

    Attributes:
        first: Index of the first frame of the first group.
        width: Number of frames in a group.
        values: The largest value of each group; NaN without a face.
        unit: Unit of the values, in words.
    """

    first: int
    width: int
    values: tuple[float, ...]
    unit: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a face was, from some frame until the next place.

    Attributes:
        index: Number of the frame.
        eyes: x and y of the image-left eye, then of the other, in pixels; None if the face is out of view from here on.
    """

    index: int
    eyes: tuple[float, float, float, float] | None


@dataclass(frozen=True, slots=True)
class Track:
    """One person, for as long as the face could be followed. Nobody is identified: a number stands for a position.

    Attributes:
        person: Number of the person, from 1, in order of appearance.
        first: First frame with the face.
        last: Last frame with the face.
        n_frames: Number of frames with the face.
        eye_distance: Median distance between the eyes, in pixels.
        gaps: Periods out of view between `first` and `last`: first and last frame of each.
        places: Where the face was: a new entry each time it had moved noticeably.
        events: The expressions, in the order of their onsets.
        trace: How much the face moved; None if nothing was searched because the interval was given.
        reasons: Why there is no answer for this person.

    Example:
        >>> track = answer.tracks[0]  # answer = mien.recognise("face.mkv")
        >>> track.person, track.n_frames, len(track.events)
        (1, 14, 1)
    """

    person: int
    first: Moment
    last: Moment
    n_frames: int
    eye_distance: float
    gaps: tuple[tuple[Moment, Moment], ...]
    places: tuple[Place, ...]
    events: tuple[Event, ...]
    trace: Trace | None
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """Facts about the video.

    Attributes:
        source: The video as the user named it.
        name: File name without its extension.
        height: Rows.
        width: Columns.
        n_frames: Number of frames read; if an interval was given, the number that the file states.
        seconds: Time from the first to the last of them.
        fps: Mean frames per second.
        variable_rate: Whether the time between frames varies; None if that is not known.
        problems: What is missing or damaged.
        start: Time of the first frame on the clock of the file; above 0 if, for example, the sound starts earlier.
        slower: Seconds of the file for each second of the answer: 8 if 240 frames per second were given for a file that
            plays 30.

    Example:
        >>> answer.video.name, answer.video.n_frames, answer.video.fps  # answer = mien.recognise("face.mkv")
        ('face', 14, 100.0)
    """

    source: str
    name: str
    height: int
    width: int
    n_frames: int
    seconds: float
    fps: float
    variable_rate: bool | None
    problems: tuple[str, ...] = ()
    start: float = 0.0
    slower: float = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The complete answer about a video.

    Attributes:
        video: Facts about the video.
        tracks: One for each person, in order of appearance.
        spotter: Name of the method that found the intervals; None if the user gave the interval.
        weights: File of the weights that predicted the classes.
        card: Card of those weights.
        reasons: Why there is no answer, or an incomplete one, for the whole video.
        notes: Other remarks for the reader.
        seconds_spent: Computing time in seconds.
        unit_weights: File of the weights that predicted the action units; "" if units were not asked for.
        unit_card: Card of those weights.
        units: Numbers of the action units that each event answers, ascending.
        units_off: Numbers of the units that the weights know but that are off, because on real clips they were little
            better than chance.

    Example:
        >>> len(answer.tracks), len(answer.events), answer.card.classes  # answer = mien.recognise("face.mkv")
        (1, 1, ('negative', 'positive', 'surprise'))
    """

    video: VideoFacts
    tracks: tuple[Track, ...]
    spotter: str | None
    weights: str
    card: ModelCard
    reasons: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = ()
    seconds_spent: float = field(default=0.0, compare=False)
    unit_weights: str = ""
    unit_card: ModelCard | None = None
    units: tuple[int, ...] = ()
    units_off: tuple[int, ...] = ()

    @property
    def events(self) -> tuple[Event, ...]:
        """The expressions of all people, in the order of their onsets."""
        unsorted = [event for track in self.tracks for event in track.events]
        return tuple(sorted(unsorted, key=lambda event: (event.onset.index, event.person)))


def as_json(answer: Answer) -> dict[str, Any]:
    """Convert an answer to values that JSON can represent: lengths in pixels and seconds, NaN as null."""
    from mien.recognition import wording

    plain = asdict(answer)
    for track, record in zip(plain["tracks"], answer.tracks, strict=True):
        for event, source in zip(track["events"], record.events, strict=True):
            event["label"] = source.label
            event["tied"] = list(source.tied) if len(source.tied) > 1 else []
            for unit, answered in zip(event["units"], source.units, strict=True):
                unit["code"] = answered.code
            event["seconds"] = source.seconds
        if track["trace"] is not None:
            track["trace"]["values"] = [None if math.isnan(v) else round(v, 5) for v in track["trace"]["values"]]
    return {
        "format": FORMAT,
        **plain,
        "n_events": len(answer.events),
        "says": {
            "trained_on": wording.trained_on(answer.card),
            "error_rate": wording.error_rate(answer.card),
            "units": wording.unit_weights(answer.unit_card, answer.units_off),
            "spotting": wording.SPOTTING if answer.spotter else "",
            "not": wording.NOT,
        },
    }


def from_json(plain: Mapping[str, Any]) -> Answer:
    """Convert what `as_json` returned back to an answer. Values of earlier versions, without units, are read as well.

    Args:
        plain: The values, as `json.load` reads them.

    Raises:
        MienError: The values are not an answer, or one of another layout.

    Example:
        >>> from_json({"format": 99})
        Traceback (most recent call last):
        mien.errors.MienError: The answer has layout 99. Expected: layout 1. Try: `mien recognise VIDEO --json`.
    """
    again = "`mien recognise VIDEO --json`."
    if not isinstance(plain, Mapping) or plain.get("format") != FORMAT:
        layout = plain.get("format") if isinstance(plain, Mapping) else None
        raise MienError(f"The answer has layout {layout}.", f"layout {FORMAT}.", again)
    try:
        return _answer(plain)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MienError(
            f"These values are no answer ({type(error).__name__}: {error}).", "a complete answer.", again
        ) from None


def _answer(plain: Mapping[str, Any]) -> Answer:
    unit_card = plain.get("unit_card")
    return _record(
        Answer, plain, video=_record(VideoFacts, plain["video"], problems=tuple(plain["video"]["problems"])),
        tracks=tuple(_track(track) for track in plain["tracks"]), card=_card(plain["card"]),
        reasons=_reasons(plain["reasons"]), notes=tuple(plain["notes"]),
        unit_card=None if unit_card is None else _card(unit_card), units=tuple(plain.get("units", ())),
        units_off=tuple(plain.get("units_off", ())),
    )  # fmt: skip


def _record(kind: type[R], plain: Mapping[str, Any], **converted: Any) -> R:
    """Return a record from plain values; fields that the values lack take their defaults."""
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: plain[name] for name in names if name in plain} | converted)


def _card(plain: Mapping[str, Any]) -> ModelCard:
    tuples = {key: tuple(plain[key]) for key in ("classes", "trained_on", "shape")}
    return _record(ModelCard, plain, **tuples)


def _reasons(plain: Any) -> tuple[Reason, ...]:
    return tuple(_record(Reason, reason) for reason in plain)


def _moment(plain: Mapping[str, Any]) -> Moment:
    return _record(Moment, plain)


def _track(plain: Mapping[str, Any]) -> Track:
    trace = plain["trace"]
    if trace is not None:
        values = tuple(math.nan if value is None else value for value in trace["values"])
        trace = _record(Trace, trace, values=values)
    places = (_record(Place, p, eyes=None if p["eyes"] is None else tuple(p["eyes"])) for p in plain["places"])
    return _record(
        Track, plain, first=_moment(plain["first"]), last=_moment(plain["last"]),
        gaps=tuple((_moment(lost), _moment(back)) for lost, back in plain["gaps"]), places=tuple(places),
        events=tuple(_event(event) for event in plain["events"]), trace=trace, reasons=_reasons(plain["reasons"]),
    )  # fmt: skip


def _event(plain: Mapping[str, Any]) -> Event:
    return _record(
        Event, plain, onset=_moment(plain["onset"]), apex=_moment(plain["apex"]), offset=_moment(plain["offset"]),
        abstained=_reasons(plain["abstained"]), notes=tuple(plain["notes"]), eyes=tuple(plain["eyes"]),
        units=tuple(_record(UnitAnswer, unit) for unit in plain.get("units", ())),
    )  # fmt: skip
