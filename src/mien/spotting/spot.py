"""The function `spot`: find the expressions in a video as it is read. Memory does not grow with its length."""

from __future__ import annotations

import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
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
"""Least frames per second: a micro-expression lasts at least 1/25 s and may be missed at a lower frame rate."""

SHORTEST: Final = 2 * MICRO_LONGEST
"""Shortest video in seconds: half a second for a movement, and half a second of rest to compare it with."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The expressions found in a video.

    Attributes:
        name: Name of the video.
        spotter: Name of the spotter.
        fps: Frames per second; None if not known.
        n_frames: Number of frames read.
        n_with_face: Number of frames in which the face was followed.
        spots: Expressions in time order; frames counted from 0.
        abstained: Why there is no answer, in one sentence; "" if there is one.
        notes: Remarks for the reader.
        seconds: Computing time in seconds.
        times: Onset, apex and offset of each expression in seconds, on the clock of the video file, as players show it.
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
    times: tuple[tuple[float, float | None, float], ...] = ()


class Stream:
    """Find expressions in frames that arrive one by one, for example from a camera.

    An interval is returned some seconds after its end, because its shape is compared with the frames that follow. All
    frames must come from one video or camera and have the same size.

    Args:
        fps: Frames per second, at least 25.
        name: Name of the spotter (`mien spotters` lists them).
        parameters: Parameters of the spotter that differ from the defaults.
        model: The result of its `train`, for spotters that must be trained.
        faces: Follows the face; None follows the largest face.

    Attributes:
        faces: Follows the face and counts the frames with a face.
        row: The newest row of the watcher, for a live display; None before the first.

    Raises:
        MienError: The spotter or a parameter is unknown, the frame rate is too low, or the spotter must be trained and
            no model is given.

    Example:
        >>> stream = Stream(fps=100)
        >>> [stream.add(np.full((64, 64), 128, np.uint8)) for _ in range(2)], stream.finish()
        ([[], []], [])
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
                "a video from a faster camera, or `--fps` if the file states a wrong frame rate.",
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
        """Process the next frame and return the intervals that are now final.

        Args:
            frame: (H, W) grey or (H, W, 3) RGB, 8 bits.
        """
        index = self._n
        self._n += 1
        if index % self._hop:
            return []
        return self._settled(self._watcher.see(self.faces.look(frame)))

    def finish(self) -> list[Spot]:
        """Return the remaining intervals at the end of the video."""
        found = self._settled(self._watcher.finish())
        return [*found, *(self._scaled(s) for s in self._along.finish())]

    def _settled(self, rows: list[Rows]) -> list[Spot]:
        if rows:
            self.row = rows[-1]
        return [self._scaled(spot) for spot in self._along.add(rows)]

    def _scaled(self, spot: Spot) -> Spot:
        return in_frames(spot, self._hop, self._n)


def in_frames(spot: Spot, hop: int, n_frames: int) -> Spot:
    """Convert an interval from processed frames to frames of the video, if only every `hop`-th frame was processed.

    Args:
        spot: The interval, in processed frames.
        hop: Step between processed frames.
        n_frames: Number of frames of the video.

    Example:
        >>> in_frames(Spot(2, 3, 4, "micro"), 4, 100)
        Spot(onset=8, apex=12, offset=19, kind='micro', score=1.0, emotion='')
    """
    if hop == 1:
        return spot
    last = n_frames - 1
    apex = None if spot.apex is None else min(spot.apex * hop, last)
    return replace(spot, onset=spot.onset * hop, apex=apex, offset=min(spot.offset * hop + hop - 1, last))


def needs_model(chosen: Spotter) -> MienError:
    """Return the error for a spotter that must be trained first."""
    return MienError(
        f"{chosen.name} must be trained, and mien contains no trained one.",
        "a spotter that needs no training.",
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
    """Find the micro- and macro-expressions in a video.

    If an answer would be meaningless, there is none, and `abstained` gives the reason: the frame rate is unknown or too
    low, the video is shorter than a second, there is no face, or the face is narrower than 40 pixels.

    Args:
        source: Anything that `mien.io.video.open_video` opens, or an open video.
        name: Name of the spotter (`mien spotters` lists them), one that needs no training.
        fps: Frames per second, if the source states no frame rate or a wrong one.
        parameters: Parameters of the spotter that differ from the defaults.
        progress: Called with the number of frames processed since the last call.

    Returns:
        The expressions, or the reason why there is no answer.

    Raises:
        MienError: The file, the spotter or a parameter does not exist, the spotter must be trained, or the frames
            differ in size.

    Example:
        >>> outcome = spot("face.mkv")
        >>> outcome.abstained
        'The video lasts 0.14 s (14 frames); at least 1 s is needed.'
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
    read: list[tuple[int, int]] = []  # where frames are missing: how many were read, and the number of the next
    for frame in video.frames(grey=True):
        if frame.index != (read[-1][1] + n - read[-1][0] if read else -1):
            read.append((n, frame.index))
        n += 1
        found += stream.add(to_uint8(frame.pixels))
        if progress is not None:
            progress(1)
    found += stream.finish()
    reason = why_abstain(stream.faces, n, video.fps)
    numbered = [] if reason else [_numbered(spot, read) for spot in found]
    spots = tuple(sorted(numbered, key=lambda s: (s.onset, s.offset)))
    return Outcome(
        video.name, name, video.fps, n, stream.faces.found, spots, reason, tuple(_notes(video, stream.faces)),
        time.perf_counter() - started, tuple(_times(video, s) for s in spots),
    )  # fmt: skip


def _numbered(spot: Spot, read: Sequence[tuple[int, int]]) -> Spot:
    """Convert the frames of an interval from the order in which they were read to their numbers in the video."""

    def number(nth: int) -> int:
        at, first = read[max(0, bisect_right(read, (nth, sys.maxsize)) - 1)]
        return first + nth - at

    apex = None if spot.apex is None else number(spot.apex)
    return replace(spot, onset=number(spot.onset), apex=apex, offset=number(spot.offset))


def _times(video: Video, spot: Spot) -> tuple[float, float | None, float]:
    apex = None if spot.apex is None else video.time_of(spot.apex)
    return video.time_of(spot.onset), apex, video.time_of(spot.offset)


def why_not(fps: float | None) -> str:
    """Return why nothing can be spotted at a frame rate; "" if it is sufficient.

    Example:
        >>> why_not(100)
        ''
    """
    if fps is None or not np.isfinite(fps):
        return "The frame rate is not known, so durations are not known either; give it with --fps."
    if fps < LEAST_FPS - 0.1:
        return (
            f"{fps:.4g} frames per second are too few: a micro-expression lasts 1/25 to 1/2 s and may fall between two "
            f"frames. At least {LEAST_FPS:g} are needed; 100 and more are better."
        )
    return ""


def why_abstain(faces: FaceStream, n: int, fps: float) -> str:
    """Return why the result for a whole video is meaningless; "" if it is not.

    Args:
        faces: What followed the face through the video.
        n: Number of frames.
        fps: Frames per second.
    """
    if n < SHORTEST * fps:
        return f"The video lasts {n / fps:.2f} s ({n} frames); at least {SHORTEST:g} s is needed."
    if faces.found == 0 and faces.too_small:
        return (
            f"The face is only {faces.too_small:.0f} pixels wide; at least {SMALLEST_FACE} are needed; 200 and more "
            f"are better."
        )
    if faces.found == 0:
        return f"No face was found in the video ({n} frames, searched four times a second)."
    return ""


def _notes(video: Video, faces: FaceStream) -> Iterator[str]:
    warning = frame_rate_warning(video.fps)
    if warning:
        yield warning
    if video.variable_rate:
        yield "The frame rate varies; durations are computed with its mean."
    if 0 < faces.found < faces.seen:
        lost = faces.seen - faces.found
        yield f"The face was lost in {lost} of {faces.seen} frames; no expression is reported across such a gap."
    if faces.most_faces > 1:
        yield f"There are up to {faces.most_faces} faces in a frame; the one that was largest at first was followed."
    if 0 < faces.eye_distance < 60:
        yield f"The eyes are {faces.eye_distance:.0f} pixels apart; with 60 and more, small movements are seen better."
    yield from video.problems


def watch(
    frames: Iterator[NDArray[np.uint8]], fps: float, chosen: Spotter, parameters: Mapping[str, Any]
) -> tuple[Iterator[Rows], FaceStream]:
    """Compute the rows of a video, without searching them for intervals.

    Args:
        frames: Frames of 8 bits, in order.
        fps: Frames per second.
        chosen: The spotter.
        parameters: All parameters of the spotter.

    Returns:
        An iterator over the rows, and what follows the face.
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
