"""spot(): the expressions in a film, found as it runs. Memory does not grow with its length."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.face.landmarks import SMALLEST_FACE
from mien.io.video import Video, frame_rate_warning, open_video, to_uint8
from mien.spotting import DEFAULT
from mien.spotting import spotter as spotter_named
from mien.spotting.base import MICRO_LONGEST, Along, Model, Rows, Spot, Spotter
from mien.spotting.face_stream import FaceStream, Look

LEAST_FPS: Final = 25.0
"""Frames per second below which a micro-expression may fall between two frames (it lasts 1/25 s at least)."""

SHORTEST: Final = 2 * MICRO_LONGEST
"""Seconds of the shortest film: a movement that lasts half a second, and as much rest to see it against."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found in a film.

    Attributes:
        name: The film's.
        spotter: The method's name.
        fps: Frames per second; None where not known.
        n_frames: Frames read.
        n_with_face: Frames in which the face was followed.
        spots: Expressions in time order; frames counted from 0.
        abstained: Why there is no answer, in one sentence; "" where there is one.
        notes: What the reader should know.
        seconds: Time it took.
    """

    name: str
    spotter: str
    fps: float | None
    n_frames: int
    n_with_face: int
    spots: tuple[Spot, ...]
    abstained: str
    notes: tuple[str, ...]
    seconds: float


class Stream:
    """A spotter that is given frames one by one: frame in, settled intervals out.

    An interval is settled some seconds after its end, as its shape must be seen against what follows. Feed the frames
    of one film or camera, all of one size.

    Args:
        fps: Frames per second, at least 25.
        name: A name in `SPOTTERS`.
        parameters: Parameters of the spotter that differ from its defaults.
        model: What `train` gave, for spotters that are trained.
        faces: Follows the face; None follows the largest.

    Attributes:
        faces: What follows the face, with how often it was seen.
        row: The newest row of numbers that was watched, for a trace on the screen; None before the first.

    Raises:
        MienError: No such spotter or parameter, too few frames per second, a trained spotter without a model.
    """

    def __init__(
        self,
        fps: float,
        name: str = DEFAULT,
        parameters: Mapping[str, Any] | None = None,
        model: Model | None = None,
        faces: FaceStream | None = None,
    ) -> None:
        chosen = spotter_named(name)
        if not fps >= LEAST_FPS - 0.1:
            raise MienError(
                f"{fps:.4g} frames per second.",
                f"{LEAST_FPS:g} or more; a micro-expression lasts 1/25 to 1/2 s.",
                "a film of a faster camera, or `--fps` where the file tells a wrong rate.",
            )
        if chosen.train is not None and model is None:
            raise needs_model(chosen)
        given = chosen.with_parameters(parameters or {})
        self._hop = chosen.hop(fps)
        rate = fps / self._hop
        self.faces = FaceStream(rate) if faces is None else faces
        self._watcher = chosen.watch(rate, given)
        self._along = Along(chosen, rate, given, model)
        self._n = 0
        self.row: Rows | None = None

    def add(self, frame: NDArray[np.uint8]) -> list[Spot]:
        """The next frame, (H, W) grey or (H, W, 3) RGB, 8 bits; intervals that it settles."""
        index = self._n
        self._n += 1
        if index % self._hop:
            return []
        return self._settled(self._watcher.see(self.faces.look(frame)))

    def finish(self) -> list[Spot]:
        """Intervals still open at the end."""
        found = self._settled(self._watcher.finish())
        return [*found, *(self._scaled(s) for s in self._along.finish())]

    def _settled(self, rows: list[Rows]) -> list[Spot]:
        if rows:
            self.row = rows[-1]
        return [self._scaled(spot) for spot in self._along.add(rows)]

    def _scaled(self, spot: Spot) -> Spot:
        return in_frames(spot, self._hop, self._n)


def in_frames(spot: Spot, hop: int, n_frames: int) -> Spot:
    """An interval of watched frames as one of the film's frames, where every `hop`-th was watched."""
    if hop == 1:
        return spot
    last = n_frames - 1
    apex = None if spot.apex is None else min(spot.apex * hop, last)
    return replace(spot, onset=spot.onset * hop, apex=apex, offset=min(spot.offset * hop + hop - 1, last))


def needs_model(chosen: Spotter) -> MienError:
    """The error for a spotter that has to be trained first."""
    return MienError(
        f"{chosen.name} has to be trained, and no trained one comes with mien.",
        "a spotter that is not trained.",
        f"`--spotter {DEFAULT}`; `mien benchmark casme_sq=FOLDER --task spot --system {chosen.name} --out RUN` trains "
        "it fold by fold.",
    )


def spot(
    source: str | Path | Video,
    name: str = DEFAULT,
    *,
    fps: float | None = None,
    parameters: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """The expressions in a film.

    Abstains, with the reason, where an answer would mean nothing: no rate or too low a rate, a film shorter than a
    second, no face, a face of fewer than 40 pixels.

    Args:
        source: Anything `mien.io.video.open_video` opens, or a video that is open.
        name: A name in `SPOTTERS`; one that is not trained.
        fps: Frames per second, where the source does not tell, or tells a wrong rate.
        parameters: Parameters of the spotter that differ from its defaults.
        progress: Called with the number of frames done since the last call.

    Raises:
        MienError: There is no such file, spotter or parameter; the spotter has to be trained; frames differ in size.
    """
    started = time.perf_counter()
    chosen = spotter_named(name)
    chosen.with_parameters(parameters or {})
    if chosen.train is not None:
        raise needs_model(chosen)
    video = source if isinstance(source, Video) else open_video(source, fps)
    reason = why_not(video.fps)
    if reason:
        seconds = time.perf_counter() - started
        return Outcome(video.name, name, video.fps, 0, 0, (), reason, (), seconds)
    assert video.fps is not None
    stream = Stream(video.fps, name, parameters)
    found: list[Spot] = []
    n = 0
    for frame in video.frames(grey=True):
        n += 1
        found += stream.add(to_uint8(frame.pixels))
        if progress is not None:
            progress(1)
    found += stream.finish()
    reason = why_abstain(stream.faces, n, video.fps)
    spots = () if reason else tuple(sorted(found, key=lambda s: (s.onset, s.offset)))
    return Outcome(
        video.name, name, video.fps, n, stream.faces.found, spots, reason, tuple(_notes(video, stream.faces)),
        time.perf_counter() - started,
    )  # fmt: skip


def why_not(fps: float | None) -> str:
    """Why nothing can be spotted at this rate; "" where it can."""
    if fps is None or not np.isfinite(fps):
        return "The frame rate is not known, so durations cannot be told; give it with --fps."
    if fps < LEAST_FPS - 0.1:
        return (
            f"{fps:.4g} frames per second are too few: a micro-expression lasts 1/25 to 1/2 s and may fall between two "
            f"frames; {LEAST_FPS:g} are the least, 100 and more are good."
        )
    return ""


def why_abstain(faces: FaceStream, n: int, fps: float) -> str:
    """Why what was found in a film that is over means nothing; "" where it does."""
    if n < SHORTEST * fps:
        return f"The film lasts {n / fps:.2f} s ({n} frames); {SHORTEST:g} s are the least."
    if faces.found == 0 and faces.too_small:
        least = f"{SMALLEST_FACE} are the least, 200 and more are good"
        return f"The face is only {faces.too_small:.0f} pixels across; {least}."
    if faces.found == 0:
        return f"No face in any of the frames looked at (four a second of {n})."
    return ""


def _notes(video: Video, faces: FaceStream) -> Iterator[str]:
    warning = frame_rate_warning(video.fps)
    if warning:
        yield warning
    if video.variable_rate:
        yield "Frames follow each other at changing intervals; lengths are told as if they were even."
    if 0 < faces.found < faces.seen:
        lost = faces.seen - faces.found
        yield f"The face was lost in {lost} of {faces.seen} frames; nothing is spotted across a gap."
    if faces.most_faces > 1:
        yield f"Up to {faces.most_faces} faces in one frame; the largest at first was followed."
    if 0 < faces.eye_distance < 60:
        yield f"The eyes are {faces.eye_distance:.0f} pixels apart; 60 and more show small movements better."
    yield from video.problems


def watch(
    frames: Iterator[NDArray[np.uint8]], fps: float, chosen: Spotter, parameters: Mapping[str, Any]
) -> tuple[Iterator[Rows], FaceStream]:
    """The rows of a film whose frames come one by one, and what follows its face; nothing is decided.

    Args:
        frames: 8-bit frames.
        fps: Frames per second.
        chosen: Whose rows.
        parameters: All its parameters.
    """
    hop = chosen.hop(fps)
    faces = FaceStream(fps / hop)

    def rows() -> Iterator[Rows]:
        watcher = chosen.watch(fps / hop, parameters)
        for index, frame in enumerate(frames):
            if index % hop == 0:
                look: Look = faces.look(frame)
                yield from watcher.see(look)
        yield from watcher.finish()

    return rows(), faces
