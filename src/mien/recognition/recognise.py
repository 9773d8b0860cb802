"""recognise(): a video in, an answer out. One pass finds faces and intervals, a second looks at each interval."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from mien.errors import MienError
from mien.face.landmarks import SMALLEST_FACE
from mien.io.video import ENOUGH_FPS, Video, open_video, to_uint8
from mien.recognition.naming import (
    LEAST_EYES,
    LEAST_SCORE,
    Found,
    Namer,
    eyes_at,
    low_rate,
    name_interval,
    open_namer,
    small_face,
)
from mien.recognition.people import People, Person, one_thread
from mien.recognition.records import Answer, Event, Moment, Reason, Track, VideoFacts
from mien.recognition.trace import Tracer
from mien.spotting import DEFAULT
from mien.spotting import spotter as spotter_named
from mien.spotting.base import MICRO_LONGEST, Along, Spot, Spotter, Watcher
from mien.types import Interval

Progress = Callable[[str, float], None]
"""Told the stage, "looking" or "naming", and how much of it is done, 0..1; NaN where its end is not known."""

_AROUND: Final = 1.0
"""Seconds before and after a given interval in which faces are looked for, too."""

_SHORTEST: Final = 0.5
"""Seconds; faces seen for less are left out."""

_MOST_GAPS: Final = 200


@dataclass(slots=True)
class Watch:
    """What is known of one person's expressions while the film goes by.

    Attributes:
        watcher: Makes rows of numbers.
        along: Makes intervals of them; None where the interval is given.
        tracer: Keeps how much the face moves.
        first: Index of the frame of the first row.
        spots: Intervals so far, in frames of the film.
    """

    watcher: Watcher
    along: Along | None
    tracer: Tracer
    first: int
    spots: list[Spot] = field(default_factory=list)

    def take(self, rows: Sequence[Any]) -> None:
        """The next rows."""
        for row in rows:
            self.tracer.add(row)
        if self.along is not None:
            self.spots += [moved(spot, self.first) for spot in self.along.add(rows)]

    def finish(self) -> None:
        """The end of the film."""
        self.take(self.watcher.finish())
        if self.along is not None:
            self.spots += [moved(spot, self.first) for spot in self.along.finish()]


def moved(spot: Spot, by: int) -> Spot:
    """The same interval, counted from an earlier frame."""
    apex = None if spot.apex is None else spot.apex + by
    return Spot(spot.onset + by, apex, spot.offset + by, spot.kind, spot.score, spot.emotion)


def open_spotter(name: str) -> Spotter:
    """A spotter by name.

    Raises:
        MienError: There is none, or it must be trained first.
    """
    chosen = spotter_named(name)
    if chosen.train is not None:
        raise MienError(
            f"The spotter {name} must be trained first.",
            "one that needs no training.",
            f"`--spotter {DEFAULT}`, or `mien benchmark --task spot` to score {name}.",
        )
    return chosen


def recognise(
    video: str | Path | int | Video,
    weights: str | Path | Namer | None = None,
    interval: Interval | None = None,
    spotter: str = DEFAULT,
    *,
    fps: float | None = None,
    parameters: Mapping[str, Any] | None = None,
    anyway: bool = False,
    progress: Progress | None = None,
    device: str = "cpu",
) -> Answer:
    """Finds the expressions in a video and names those that are micro-expressions, with a reason where it does not.

    Frames are decoded one at a time; what is held does not grow with the length of the video, but for a few bytes per
    frame, per interval and per move of a head.

    Args:
        video: Anything `mien.io.video.open_video` opens, or an open video.
        weights: A `.safetensors` file that `mien train` wrote; None takes those that come with the package.
        interval: Onset, offset and possibly apex in frames from 0: nothing is searched then.
        spotter: How intervals are found (`mien.spotting.SPOTTERS`).
        fps: Frames per second, where the video does not tell or tells wrongly.
        parameters: Parameters of the spotter that differ from its defaults.
        anyway: Name classes even where there is a reason not to; the reasons stay.
        progress: Told how far it is.
        device: Where the face networks run.

    Raises:
        MienError: Nothing that can be read, no frame rate, no usable weights, an interval outside the video, an
            unknown spotter or parameter.
    """
    began = time.perf_counter()
    namer = weights if isinstance(weights, Namer) else open_namer(weights)
    chosen = open_spotter(spotter)
    settings = chosen.with_parameters(parameters or {})
    film = video if isinstance(video, Video) else open_video(video, fps=fps)
    rate = film.fps
    if rate is None or not math.isfinite(rate):
        raise MienError(
            f"The frame rate of {film.name!r} is not known.", "one, to tell how long a movement lasts.", "`--fps 200`."
        )
    start, stop = _span(film, interval, rate)
    tell = progress or (lambda stage, share: None)
    with one_thread():
        seen = _look(film, rate, start, stop, None if interval else chosen, settings, chosen, device, tell)
    if seen.n_frames == 0:
        raise MienError(
            f"Not one frame of {film.name!r} can be read.", "a video with whole frames.", "another copy of it."
        )
    reasons, notes = _of_video(film, rate, seen, interval)
    enough = max(1, min(round(_SHORTEST * rate), seen.n_frames // 2))
    kept = [person for person in seen.people.everybody if person.n_frames >= enough]
    passers = sum(0 < person.n_frames < enough for person in seen.people.everybody)
    if passers:
        notes.append(f"{passers} face(s) seen for less than half a second were left out.")
    jobs = {person.number: _intervals(person, seen, interval) for person in kept}
    total, done = sum(map(len, jobs.values())), 0
    tracks = []
    for number, person in enumerate(kept, 1):
        events = []
        for found in jobs[person.number]:
            event = _event(film, found, number, person, seen, namer, rate, anyway)
            if event is not None:
                events.append(event)
            done += 1
            tell("naming", done / total)
        tracks.append(_track(person, number, seen, events, interval))
    if rate < ENOUGH_FPS - 0.5 and interval is None:
        left_out = sum(_low(found, seen, rate) for found_by in jobs.values() for found in found_by)
        if left_out:
            notes.append(f"{left_out} short movement(s) that could be anything were left out for that reason.")
    if any(event.probabilities for track in tracks for event in track.events):
        notes += namer.notes
    n, seconds = seen.n_frames, seen.seconds
    if interval is not None and film.n_frames:  # its surroundings alone were read
        n, seconds = film.n_frames, (film.n_frames - 1) / rate
    facts = VideoFacts(
        str(getattr(film, "path", film.name) if isinstance(video, int | Video) else video), film.name,
        film.height, film.width, n, seconds, rate, film.variable_rate, tuple(film.problems),
    )  # fmt: skip
    return Answer(
        facts, tuple(tracks), None if interval else spotter, str(namer.path), namer.card, tuple(reasons),
        tuple(notes), time.perf_counter() - began,
    )  # fmt: skip


def _span(film: Video, interval: Interval | None, rate: float) -> tuple[int, int | None]:
    """The frames to look at."""
    if interval is None:
        return 0, None
    n = film.n_frames
    apex_out = interval.apex is not None and not interval.onset < interval.apex <= interval.offset
    outside = n is not None and interval.offset >= n
    if interval.onset < 0 or interval.onset >= interval.offset or apex_out or outside:
        last = "unknown" if n is None else n - 1
        apex = "" if interval.apex is None else f", its apex {interval.apex},"
        raise MienError(
            f"The interval {interval.onset} to {interval.offset}{apex} is not one of {film.name!r}, whose last frame "
            f"is {last}.",
            "an onset before the offset, the apex between them, all of them frames of the video, counted from 0.",
            f"`--interval {max(0, min(interval.onset, (n or 1) - 2))}:{(n or interval.onset + 2) - 1}`, or none to "
            f"have intervals found.",
        )
    around = round(_AROUND * rate)
    return max(0, interval.onset - around), interval.offset + around + 1


@dataclass(slots=True)
class _Seen:
    """The first pass."""

    people: People
    watches: dict[int, Watch]
    rate: float
    n_frames: int = 0
    seconds: float = 0.0
    last: int = -1
    times: array[float] | None = None
    start: int = 0

    def moment(self, index: int) -> Moment:
        if self.times is not None and 0 <= index - self.start < len(self.times):
            return Moment(index, self.times[index - self.start])
        return Moment(index, index / self.rate)


def _look(
    film: Video, rate: float, start: int, stop: int | None, spotter: Spotter | None, settings: Mapping[str, Any],
    tracing: Spotter, device: str, tell: Progress,
) -> _Seen:  # fmt: skip
    """Follows everybody through the film."""
    varies = film.variable_rate is not False
    seen = _Seen(People(rate, device), {}, rate, times=array("d") if varies else None, start=start)
    n = film.n_frames
    end = stop if n is None else min(n, stop or n)
    every, first_time = max(1, round(rate)), None
    for frame in film.frames(start, end, grey=True):
        first_time = frame.time if first_time is None else first_time
        if seen.times is not None:
            seen.times.extend([frame.time] * (frame.index - start + 1 - len(seen.times)))
        for person, look in seen.people.look(to_uint8(frame.pixels), frame.index):
            watch = seen.watches.get(person.number)
            if watch is None:
                watch = Watch(
                    tracing.watch(rate, settings), Along(spotter, rate, settings) if spotter else None,
                    Tracer(tracing.name, rate, look.index), look.index,
                )  # fmt: skip
                seen.watches[person.number] = watch
            watch.take(watch.watcher.see(look))
        seen.n_frames += 1
        seen.last, seen.seconds = frame.index, frame.time - first_time
        if seen.n_frames % every == 0:
            tell("looking", math.nan if end is None else (frame.index + 1 - start) / (end - start))
    for watch in seen.watches.values():
        watch.finish()
    tell("looking", 1.0)
    return seen


def _of_video(film: Video, rate: float, seen: _Seen, interval: Interval | None) -> tuple[list[Reason], list[str]]:
    """What stands in the way of any answer, and what else is to be known."""
    reasons, notes = [], []
    if rate < ENOUGH_FPS - 0.5:
        reasons.append(low_rate(rate))
    if not any(person.n_frames for person in seen.people.everybody):
        if seen.people.too_small:
            reasons.append(
                Reason(
                    "face_size",
                    f"The largest face is {seen.people.too_small:.0f} pixels across, at least {SMALLEST_FACE} are "
                    f"needed to follow it and about {2.5 * LEAST_EYES:.0f} to see a micro-expression: use the video "
                    f"at its full size, or a closer camera.",
                )
            )
        else:
            reasons.append(
                Reason(
                    "no_face",
                    f"No face was found in {seen.n_frames} frames. Faces must be seen from the front, upright, "
                    f"uncovered, and at least {SMALLEST_FACE} pixels across.",
                )
            )
    if seen.people.crowded:
        notes.append("More faces were in view than are followed at once; some were passed over.")
    if film.variable_rate:
        notes.append(
            "The frame rate varies. Times are those of the frames; the spotter takes the mean rate for all of them."
        )
    n = film.n_frames
    if interval is None and n is not None and seen.last + 1 < n:
        notes.append(f"Frames {seen.last + 1} to {n - 1} cannot be read; the answer covers what comes before.")
    elif film.problems:
        notes.append("Part of the video is missing or damaged; the answer covers what can be read.")
    return reasons, notes


def _intervals(person: Person, seen: _Seen, interval: Interval | None) -> list[Found]:
    if interval is not None:
        return [Found(interval.onset, interval.apex, interval.offset)]
    spots = sorted(seen.watches[person.number].spots, key=lambda spot: spot.onset)
    return [Found(spot.onset, spot.apex, min(spot.offset, seen.last), spot.score) for spot in spots]


def _length(found: Found, seen: _Seen) -> float:
    return seen.moment(found.offset).seconds - seen.moment(found.onset).seconds + 1 / seen.rate


def _low(found: Found, seen: _Seen, rate: float) -> bool:
    """A short interval at a rate at which short intervals mean nothing."""
    return rate < ENOUGH_FPS - 0.5 and _length(found, seen) <= MICRO_LONGEST + 1.5 / rate


def _event(
    film: Video, found: Found, number: int, person: Person, seen: _Seen, namer: Namer, rate: float, anyway: bool
) -> Event | None:
    """One interval of one person; None where nothing is worth telling."""
    eyes = eyes_at(person.places, found.onset) or eyes_at(person.places, found.apex or found.offset)
    if found.score is not None and _low(found, seen, rate) and not anyway:
        return None
    if eyes is None:
        return None
    length = _length(found, seen)
    kind_is_macro = length > MICRO_LONGEST + 1.5 / rate
    if found.score is None or anyway or (not kind_is_macro and found.score >= LEAST_SCORE):
        return name_interval(film, found, number, eyes, namer, rate, anyway=anyway)
    # What will not be named need not be looked at again.
    if kind_is_macro:
        reason = Reason(
            "macro",
            f"It lasts {length:.2f} s: an ordinary expression, not a micro-expression. The weights know only those.",
        )
    else:
        reason = Reason(
            "spotting",
            f"It reaches only {found.score:.2f} times the spotter's threshold; below {LEAST_SCORE:g} times it may as "
            f"well be noise.",
        )
    apex = found.apex if found.apex is not None else (found.onset + found.offset) // 2
    return Event(
        number, "macro" if kind_is_macro else "micro", seen.moment(found.onset), seen.moment(apex),
        seen.moment(found.offset), False, False, found.score, {}, (reason,), (), eyes,
    )  # fmt: skip


def _track(person: Person, number: int, seen: _Seen, events: list[Event], interval: Interval | None) -> Track:
    distance = float(np.median(person.sizes)) if person.sizes else 0.0
    reasons = []
    if 0 < distance < LEAST_EYES:
        reasons.append(small_face(distance))
    gaps = []
    for lost, back in zip(person.places, person.places[1:], strict=False):
        if lost.eyes is None and back.eyes is not None and back.index - lost.index > 1:
            gaps.append((seen.moment(lost.index), seen.moment(back.index - 1)))
    if interval is not None and not events:
        reasons.append(Reason("face_lost", "The face is not in view at the beginning of the interval."))
    first = person.places[0].index if person.places else person.first
    return Track(
        number, seen.moment(first), seen.moment(person.last), person.n_frames, distance,
        tuple(gaps[:_MOST_GAPS]), tuple(person.places), tuple(events), seen.watches[person.number].tracer.result(),
        tuple(reasons),
    )  # fmt: skip
