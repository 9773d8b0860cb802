"""What an answer is made of: frozen records, and the same as plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from mien.classifiers.checkpoint import ModelCard

About = Literal[
    "no_face", "frame_rate", "face_size", "face_lost", "head_motion", "spotting", "macro", "variable_rate", "input"
]
"""What stands in the way of an answer."""

FORMAT = 1
"""Version of the JSON layout."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in a video.

    Attributes:
        index: Number of the frame, from 0.
        seconds: After the first frame, by the video's own timestamps.
    """

    index: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is not said.

    Attributes:
        about: What stands in the way.
        text: In words, with what was measured and what the limit rests on.
    """

    about: About
    text: str


@dataclass(frozen=True, slots=True)
class Event:
    """One expression of one person.

    Attributes:
        person: Number of the track it belongs to, from 1.
        kind: "micro" up to half a second, "macro" beyond.
        onset: First frame of the movement.
        apex: Frame of its largest change.
        offset: Last frame of the movement (included).
        given: The interval was given by the user; else it was found by the spotter.
        apex_given: The apex was given, too.
        score: How many times the spotter's threshold it reaches; None where the interval was given.
        probabilities: Class names and probabilities, summing to 1; empty where no class is named.
        abstained: Why no class is named; where the user asked for one anyway, why it means little.
        notes: What else the reader should know.
        eyes: x and y of the image-left, then the other eye at the onset, in pixels of the video.
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

    @property
    def label(self) -> str | None:
        """The most probable class; None where none is named."""
        return max(self.probabilities, key=lambda name: self.probabilities[name]) if self.probabilities else None

    @property
    def seconds(self) -> float:
        """Length, from the beginning of its first frame to the end of its last."""
        frames = max(1, self.offset.index - self.onset.index)
        return (self.offset.seconds - self.onset.seconds) * (frames + 1) / frames

    @property
    def eye_distance(self) -> float:
        """Pixels between the eyes at the onset."""
        return math.dist(self.eyes[:2], self.eyes[2:])


@dataclass(frozen=True, slots=True)
class Trace:
    """How much a face moved over time, thinned out to a few thousand points: the most in each stretch of frames.

    Attributes:
        first: Index of the frame at which the first stretch begins.
        width: Frames in a stretch.
        values: One number per stretch; NaN without a face.
        unit: What the numbers count.
    """

    first: int
    width: int
    values: tuple[float, ...]
    unit: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a face was from some frame on.

    Attributes:
        index: Number of the frame.
        eyes: x and y of the image-left, then the other eye, in pixels; None where the face is lost from here on.
    """

    index: int
    eyes: tuple[float, float, float, float] | None


@dataclass(frozen=True, slots=True)
class Track:
    """One person, as long as the face could be followed. Nobody is identified: a number stands for a place.

    Attributes:
        person: Number, from 1, in order of appearance.
        first: First frame with the face.
        last: Last frame with it.
        n_frames: Frames with the face.
        eye_distance: Median pixels between the eyes.
        gaps: Stretches between first and last without the face: first and last frame of each.
        places: Where the face was, a new entry whenever it had moved noticeably.
        events: In the order of their onsets.
        trace: How much the face moved; None where a given interval left nothing to search.
        reasons: Why nothing could be said of this person.
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
    """What was looked at.

    Attributes:
        source: As the user named it.
        name: File name without its ending.
        height: Rows.
        width: Columns.
        n_frames: Frames that were read; where an interval was given, those that the file is said to have.
        seconds: From the first to the last of them.
        fps: Mean frames per second.
        variable_rate: Whether frames follow each other at changing intervals; None when nothing tells.
        problems: What was found missing or damaged.
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


@dataclass(frozen=True, slots=True)
class Answer:
    """All that is said about a video.

    Attributes:
        video: What was looked at.
        tracks: One per person, in order of appearance.
        spotter: Name of the method that found the intervals; None where the interval was given.
        weights: The file that named the classes.
        card: What those weights are.
        reasons: Why something is not said about the whole video.
        notes: What else the reader should know.
        seconds_spent: Time that the answer took.
    """

    video: VideoFacts
    tracks: tuple[Track, ...]
    spotter: str | None
    weights: str
    card: ModelCard
    reasons: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = ()
    seconds_spent: float = field(default=0.0, compare=False)

    @property
    def events(self) -> tuple[Event, ...]:
        """Those of all persons, in the order of their onsets."""
        every = [event for track in self.tracks for event in track.events]
        return tuple(sorted(every, key=lambda event: (event.onset.index, event.person)))


def as_json(answer: Answer) -> dict[str, Any]:
    """An answer as values that JSON knows; lengths in pixels and seconds, NaN as null."""
    from mien.recognition import wording

    plain = asdict(answer)
    for track, record in zip(plain["tracks"], answer.tracks, strict=True):
        for event, source in zip(track["events"], record.events, strict=True):
            event["label"] = source.label
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
            "spotting": wording.SPOTTING if answer.spotter else "",
            "not": wording.NOT,
        },
    }
