"""The function `recognise`: a first pass over the video finds faces and intervals, a second predicts their classes."""

from __future__ import annotations

import math
import time
from array import array
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mien.errors import MienError
from mien.face.landmarks import SMALLEST_FACE
from mien.io.video import ENOUGH_FPS, Frame, Video, open_video, to_uint8
from mien.preprocessing.threads import one_thread
from mien.recognition.cuts import Candidate, eyes_at
from mien.recognition.naming import Namer, name_interval, open_namer, read_units
from mien.recognition.people import People, Person, single_torch_thread
from mien.recognition.person_watch import Watch
from mien.recognition.reasons import (
    LEAST_EYES,
    LEAST_SCORE,
    few_frames,
    small_face,
    too_long_for_micro,
    weak_score,
)
from mien.recognition.records import Answer, Event, Moment, Reason, Track, UnitAnswer, VideoFacts
from mien.recognition.trace import Tracer
from mien.recognition.units import UnitReader, open_units
from mien.spotting import DEFAULT
from mien.spotting import spotter as spotter_named
from mien.spotting.base import MICRO_LONGEST, Along, Spotter
from mien.types import Interval

Progress = Callable[[str, float], None]
"""Called with the stage ("looking" or "naming") and its progress, 0 to 1; NaN if the end is not known."""

_AROUND: Final = 1.0
"""Seconds before and after a given interval in which faces are searched as well."""

_SHORTEST: Final = 0.5
"""Seconds for which a face must be in view; others are left out."""

_TWICE: Final = 45.0
"""Looks per second of which half are enough while a face is still."""

_AHEAD: Final = 8
"""Looks at faces that may wait for their motion to be followed; each may hold a whole frame."""

_MOST_GAPS: Final = 200


def open_spotter(name: str) -> Spotter:
    """Return a spotter that needs no training.

    Args:
        name: Name of the spotter (`mien spotters` lists them).

    Raises:
        MienError: There is no such spotter, or it must be trained first.

    Example:
        >>> open_spotter("flow-peaks").title
        'Bumps in regional flow'
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
    unit_weights: str | Path | UnitReader | None = None,
    all_units: bool = False,
) -> Answer:
    """Find the expressions of every face in a video, say which action units moved, and name the micro-expressions.

    Each expression gets its action units (FACS), with probability, side and strength: `event.units`, and `event.moved`
    for those above their thresholds. Micro-expressions also get a class, where the video allows it; otherwise the
    answer gives the reason. Any frame rate will do for the units of expressions longer than half a second, micro-
    expressions need 60 frames per second and more.

    Frames are decoded one at a time. Memory hardly grows with the length of the video: a few bytes per frame, per
    interval and per movement of a head.

    Args:
        video: Anything that `mien.io.video.open_video` opens, or an open video.
        weights: A `.safetensors` file that `mien train` wrote, for the classes; None uses the weights of the package.
        interval: Onset, apex (or None) and offset, in frames from 0: `mien.types.Interval`. If given, nothing is
            searched.
        spotter: Name of the method that finds the intervals (`mien spotters` lists them).
        fps: Frames per second, if the video does not state its frame rate or states a wrong one.
        parameters: Parameters of the spotter that differ from the defaults.
        anyway: Name a class even if there are reasons not to; the reasons are kept.
        progress: Called with the stage and its progress, 0 to 1.
        device: Device of the face networks ("cpu", "cuda").
        unit_weights: The same for action units (`mien train --labels au12`); None uses the weights of the package.
        all_units: Also answer units that were little better than chance on real clips.

    Returns:
        People, expressions, action units, classes and reasons.

    Raises:
        MienError: The video cannot be read or has no frame rate, the weights cannot be used, the interval lies outside
            the video, or the spotter or one of its parameters is unknown.

    Example:
        >>> answer = recognise("face.mkv", interval=Interval(onset=0, apex=7, offset=13), anyway=True)
        >>> event = answer.events[0]
        >>> event.kind, [unit.code for unit in event.moved]
        ('micro', ['AU10', 'AU12'])
        >>> [reason.about for reason in event.abstained]  # why the class is unreliable
        ['face_size']
    """
    began = time.perf_counter()
    namer = weights if isinstance(weights, Namer) else open_namer(weights)
    units = unit_weights if isinstance(unit_weights, UnitReader) else open_units(unit_weights, all_units)
    chosen = open_spotter(spotter)
    settings = chosen.with_parameters(parameters or {})
    film = video if isinstance(video, Video) else open_video(video, fps=fps)
    rate = film.fps
    if rate is None or not math.isfinite(rate):
        raise MienError(
            f"The frame rate of {film.name!r} is not known.",
            "frames per second, to know how long a movement lasts.",
            "`--fps 200`.",
        )
    start, stop = _span(film, interval, rate)
    tell = progress or (lambda stage, share: None)
    with one_thread():
        seen = _look(film, rate, start, stop, None if interval else chosen, settings, chosen, device, tell)
    if seen.n_frames == 0:
        raise MienError(
            f"No frame of {film.name!r} can be read.", "a video with complete frames.", "another copy of the video."
        )
    reasons, notes = _of_video(film, rate, seen, interval)
    enough = max(1, min(round(_SHORTEST * rate), seen.n_frames // 2))
    kept = [person for person in seen.people.everybody if person.n_frames >= enough]
    passers = sum(0 < person.n_frames < enough for person in seen.people.everybody)
    if passers:
        notes.append(f"{passers} face(s) seen for less than half a second were left out.")
    jobs = [
        (number, candidate) for number, person in enumerate(kept, 1) for candidate in _intervals(person, seen, interval)
    ]
    by_person: dict[int, list[Event]] = {number: [] for number in range(1, len(kept) + 1)}

    def answered(job: tuple[int, Candidate]) -> Event | None:
        number, candidate = job
        return _event(film, candidate, number, kept[number - 1], seen, namer, units, rate, anyway)

    with single_torch_thread(), one_thread(len(jobs) > 1), ThreadPoolExecutor(2) as pool:
        for done, ((number, _), event) in enumerate(zip(jobs, pool.map(answered, jobs), strict=True), 1):
            if event is not None:
                by_person[number].append(event)
            tell("naming", done / len(jobs))
    tracks = [_track(person, number, seen, by_person[number], interval) for number, person in enumerate(kept, 1)]
    if rate < ENOUGH_FPS - 0.5 and interval is None:
        left_out = sum(_low(candidate, seen, rate) for _, candidate in jobs)
        if left_out:
            notes.append(f"{left_out} short movement(s) were left out because the frame rate is too low.")
    if any(event.probabilities for track in tracks for event in track.events):
        notes += namer.notes
    n, seconds = seen.n_frames, seen.seconds
    if interval is not None and film.n_frames:  # only the surroundings of the interval were read
        n, seconds = film.n_frames, (film.n_frames - 1) / rate
    facts = VideoFacts(
        str(getattr(film, "path", film.name) if isinstance(video, int | Video) else video), film.name,
        film.height, film.width, n, seconds, rate, film.variable_rate, tuple(film.problems),
        0.0 if math.isnan(film.time_of(0)) else film.time_of(0), rate / (film.own_fps or rate),
    )  # fmt: skip
    return Answer(
        facts, tuple(tracks), None if interval else spotter, str(namer.path), namer.card, tuple(reasons),
        tuple(notes), time.perf_counter() - began, str(units.path), units.card, units.shown, units.off,
    )  # fmt: skip


def _span(film: Video, interval: Interval | None, rate: float) -> tuple[int, int | None]:
    """Return the first frame to read, and the frame at which to stop (None reads to the end)."""
    if interval is None:
        return 0, None
    if type(interval) is not Interval:  # a tuple, most often
        raise MienError(
            f"The interval is {interval!r}, a {type(interval).__name__}.",
            "a `mien.types.Interval` of onset, apex (or None) and offset.",
            "`from mien.types import Interval`, then `interval=Interval(10, 20, 30)`.",
        )
    n = film.n_frames
    apex_out = interval.apex is not None and not interval.onset < interval.apex <= interval.offset
    outside = n is not None and interval.offset >= n
    if interval.onset < 0 or interval.onset >= interval.offset or apex_out or outside:
        last = "unknown" if n is None else n - 1
        apex = "" if interval.apex is None else f", its apex {interval.apex},"
        raise MienError(
            f"The interval {interval.onset} to {interval.offset}{apex} does not fit {film.name!r}, whose last frame "
            f"is {last}.",
            "an onset before the offset, the apex between them, all of them frame numbers of the video from 0.",
            f"`--interval {max(0, min(interval.onset, (n or 1) - 2))}:{(n or interval.onset + 2) - 1}`, or no "
            f"`--interval` to have the expressions found.",
        )
    around = round(_AROUND * rate)
    return max(0, interval.onset - around), interval.offset + around + 1


@dataclass(slots=True)
class _Seen:
    """Result of the first pass."""

    film: Video
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
        return Moment(index, self.film.time_of(index))


def _look(
    film: Video, rate: float, start: int, stop: int | None, spotter: Spotter | None, settings: Mapping[str, Any],
    tracing: Spotter, device: str, tell: Progress,
) -> _Seen:  # fmt: skip
    """Follow everybody through the video: the first pass.

    This thread finds the faces, another one follows their motion: each keeps a processor busy.
    """
    with ThreadPoolExecutor(1) as beside:
        return _look_beside(film, rate, start, stop, spotter, settings, tracing, device, tell, beside)


def _look_beside(
    film: Video, rate: float, start: int, stop: int | None, spotter: Spotter | None, settings: Mapping[str, Any],
    tracing: Spotter, device: str, tell: Progress, beside: ThreadPoolExecutor,
) -> _Seen:  # fmt: skip
    live = math.isnan(film.time_of(start))  # a camera: the times of its frames are known when they arrive
    fine = max(1, round(rate / tracing.enough)) if tracing.enough else 1
    hop = 2 * fine if tracing.enough and rate / fine >= _TWICE else fine
    seen = _Seen(film, People(rate, device, hop), {}, rate, times=array("d") if live else None, start=start)
    middle: Frame | None = None
    seeing: deque[Future[None]] = deque()
    n = film.n_frames
    end = stop if n is None else min(n, stop or n)
    every, first_time = max(1, round(rate)), None
    for frame in film.frames(start, end, grey=True):
        first_time = frame.time if first_time is None else first_time
        if seen.times is not None:
            seen.times.extend([frame.time] * (frame.index - start + 1 - len(seen.times)))
        looks = () if frame.index % hop else seen.people.look(to_uint8(frame.pixels), frame.index)
        if frame.index % hop == fine:
            middle = frame
        for person, look in looks:
            watch = seen.watches.get(person.number)
            if watch is None:
                watch = Watch(
                    tracing.watch(rate / hop, settings), Along(spotter, rate, settings) if spotter else None,
                    Tracer(tracing.name, rate, look.index * hop), look.index * hop, hop,
                )  # fmt: skip
                seen.watches[person.number] = watch
            follows = middle is not None and middle.index == look.index * hop - fine
            halfway = to_uint8(middle.pixels) if middle is not None and follows else None
            seeing.append(beside.submit(watch.see, look, person.stream.crop(), halfway))
            if len(seeing) > _AHEAD:
                seeing.popleft().result()
        seen.n_frames += 1
        seen.last, seen.seconds = frame.index, frame.time - first_time
        if seen.n_frames % every == 0:
            tell("looking", math.nan if end is None else (frame.index + 1 - start) / (end - start))
    for seen_by in seeing:
        seen_by.result()
    for watch in seen.watches.values():
        watch.finish()
    for person in seen.people.everybody:  # the last frames were not looked at, if they are fewer than a step
        if person.present:
            person.last = max(person.last, seen.last)
        person.n_frames = min(person.n_frames, seen.n_frames)
    tell("looking", 1.0)
    return seen


def _of_video(film: Video, rate: float, seen: _Seen, interval: Interval | None) -> tuple[list[Reason], list[str]]:
    """Return the reasons and the notes that concern the whole video."""
    reasons, notes = [], []
    if rate < ENOUGH_FPS - 0.5:
        reasons.append(few_frames(rate))
    if not any(person.n_frames for person in seen.people.everybody):
        if seen.people.too_small:
            reasons.append(
                Reason(
                    "face_size",
                    f"The largest face is {seen.people.too_small:.0f} pixels wide. At least {SMALLEST_FACE} are needed "
                    f"to follow a face, and about {2.5 * LEAST_EYES:.0f} to see a micro-expression. Use the video at "
                    f"full resolution, or move the camera closer.",
                )
            )
        else:
            reasons.append(
                Reason(
                    "no_face",
                    f"No face was found in {seen.n_frames} frames. Faces must be frontal, upright, uncovered and at "
                    f"least {SMALLEST_FACE} pixels wide.",
                )
            )
    if seen.people.crowded:
        notes.append("More faces were in view than can be followed at once; some were ignored.")
    if film.variable_rate:
        notes.append(
            "The frame rate varies. Times are the timestamps of the frames; the spotter uses the mean frame rate."
        )
    n = film.n_frames
    if interval is None and n is not None and seen.last + 1 < n:
        notes.append(f"Frames {seen.last + 1} to {n - 1} cannot be read; the answer covers the frames before.")
    elif film.problems:
        notes.append("Part of the video is missing or damaged; the answer covers the rest.")
    return reasons, notes


def _intervals(person: Person, seen: _Seen, interval: Interval | None) -> list[Candidate]:
    if interval is not None:
        return [Candidate(interval.onset, interval.apex, interval.offset)]
    spots = sorted(seen.watches[person.number].spots, key=lambda spot: spot.onset)
    return [Candidate(spot.onset, spot.apex, min(spot.offset, seen.last), spot.score) for spot in spots]


def _length(candidate: Candidate, seen: _Seen) -> float:
    return seen.moment(candidate.offset).seconds - seen.moment(candidate.onset).seconds + 1 / seen.rate


def _low(candidate: Candidate, seen: _Seen, rate: float) -> bool:
    """Return whether an interval is short while the frame rate is too low for short intervals."""
    return rate < ENOUGH_FPS - 0.5 and _length(candidate, seen) <= MICRO_LONGEST + 1.5 / rate


def _event(
    film: Video, candidate: Candidate, number: int, person: Person, seen: _Seen, namer: Namer, units: UnitReader,
    rate: float, anyway: bool,
) -> Event | None:  # fmt: skip
    """Return one interval of one person with its units, and its class or reasons; None if it is to be left out."""
    eyes = eyes_at(person.places, candidate.onset) or eyes_at(person.places, candidate.apex or candidate.offset)
    if candidate.score is not None and _low(candidate, seen, rate) and not anyway:
        return None
    if eyes is None:
        return None
    length = _length(candidate, seen)
    kind_is_macro = length > MICRO_LONGEST + 1.5 / rate
    if candidate.score is None or anyway or (not kind_is_macro and candidate.score >= LEAST_SCORE):
        return name_interval(film, candidate, number, eyes, namer, rate, anyway=anyway, units=units)
    # No class will be named: of a longer expression, two frames are read again, of a doubtful interval none.
    apex = candidate.apex if candidate.apex is not None else (candidate.onset + candidate.offset) // 2
    answered: tuple[UnitAnswer, ...] = ()
    reasons: tuple[Reason, ...] = (Reason("spotting", weak_score(candidate.score)),)
    if kind_is_macro:
        answered, hindrances = read_units(film, candidate.onset, apex, eyes, units)
        reasons = Reason("macro", too_long_for_micro(length)), *hindrances
    return Event(
        number, "macro" if kind_is_macro else "micro", seen.moment(candidate.onset), seen.moment(apex),
        seen.moment(candidate.offset), False, False, candidate.score, {}, reasons, (), eyes, answered,
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
        reasons.append(Reason("face_lost", "The face is out of view at the beginning of the interval."))
    first = person.places[0].index if person.places else person.first
    return Track(
        number, seen.moment(first), seen.moment(person.last), person.n_frames, distance,
        tuple(gaps[:_MOST_GAPS]), tuple(person.places), tuple(events), seen.watches[person.number].tracer.result(),
        tuple(reasons),
    )  # fmt: skip
