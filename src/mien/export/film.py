"""Write the video with faces and expressions marked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.io.video import open_video, write_video
from mien.io.video.write import write_outlined
from mien.preprocessing.steps import as_colour
from mien.recognition.cuts import eyes_at
from mien.recognition.people import face_box
from mien.recognition.records import Answer, Event, Track

Picture = NDArray[np.uint8]

_LARGEST: Final = 1920
"""Pixels of the longer side; larger videos are scaled down."""

_QUIET, _MICRO, _MACRO = (190, 196, 204), (255, 176, 32), (92, 160, 255)
_LINGER = 0.7  # seconds for which a label stays after its interval: half a second is too short to read it


def write_mp4(answer: Answer, out: Path, progress: Callable[[float], None] | None = None) -> Path:
    """Write the whole video as H.264 with faces and expressions marked and each person's trace in a strip below.

    The timestamps of the video are kept: where its picture starts after the sound, silence fills the time before. One
    frame at a time is held in memory.

    Args:
        answer: The answer.
        out: The file, `.mp4`.
        progress: Called with the progress, 0 to 1.

    Returns:
        `out`.

    Raises:
        MienError: The video was deleted or was a camera, or `out` cannot be written.

    Example:
        >>> path = write_mp4(answer, Path("marked.mp4"))  # answer = mien.recognise("face.mkv")
        >>> open_video(path).n_frames
        14
    """
    source = answer.video
    if not Path(source.source).exists():
        raise MienError(
            f"The video {source.source!r} no longer exists, or was a camera.",
            "a video file or a folder of frames, to mark the expressions in.",
            f"`--html {out.with_suffix('.html').name}`, which needs no video.",
        )
    film = open_video(source.source, fps=source.fps if not source.variable_rate else None)
    # Of an incomplete video, too, the frames are not evenly spaced.
    times: list[float] | None = [] if source.variable_rate or source.problems else None
    strip = _Strip(answer, min(film.width, _LARGEST))

    def pictures() -> Iterator[Picture]:
        for n, frame in enumerate(film.frames()):
            factor = min(1.0, _LARGEST / max(film.height, film.width))
            picture = as_colour(frame.pixels)
            if factor < 1:
                picture = np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
            picture = np.ascontiguousarray(picture)
            for track in answer.tracks:
                _mark(picture, track, frame.index, frame.time, factor)
            if progress is not None and n % 50 == 0:
                progress(n / max(1, source.n_frames))
            if times is not None:
                times.append(frame.time)  # `write_video` reads it after the frame
            yield np.vstack([picture, strip.at(frame.index, picture.shape[1])])

    return write_video(out, pictures(), source.fps, times=times, start=max(0.0, source.start))


def _mark(picture: Picture, track: Track, index: int, seconds: float, factor: float) -> None:
    eyes = eyes_at(track.places, index)
    if eyes is None:
        return
    x0, y0, x1, y1 = (round(float(v) * factor) for v in face_box(np.array(eyes, np.float64).reshape(2, 2)))
    now = next((e for e in track.events if e.onset.index <= index <= e.offset.index), None)
    recent = now or next((e for e in reversed(track.events) if 0 <= seconds - e.offset.seconds <= _LINGER), None)
    colour = _QUIET if now is None else _MICRO if now.kind == "micro" else _MACRO
    thick = max(1, round(picture.shape[1] / 640))
    cv2.rectangle(picture, (x0, y0), (x1, y1), colour, (2 if now else 1) * thick, cv2.LINE_AA)
    text = f"{track.person}" if recent is None else f"{track.person}: {_label(recent)}"
    _write(picture, text, (x0, max(y0 - 6 * thick, 14 * thick)), colour if recent is None else _colour(recent))


def _label(event: Event) -> str:
    units = "+".join(unit.code.removeprefix("AU") for unit in sorted(event.moved, key=lambda unit: unit.unit))
    moved = f", AU {units}" if units else ""
    if event.label is None:
        return f"{event.kind}{moved}, {event.said or 'no class'}"
    return f"{event.kind}{moved}, {event.label} {event.probabilities[event.label]:.2f}"


def _colour(event: Event) -> tuple[int, int, int]:
    return _MICRO if event.kind == "micro" else _MACRO


def _write(picture: Picture, text: str, place: tuple[int, int], colour: tuple[int, int, int]) -> None:
    write_outlined(picture, text, place, max(0.42, picture.shape[1] / 1400), colour)


class _Strip:
    """The traces of all people over the whole video, drawn once, with a line at the current frame."""

    def __init__(self, answer: Answer, width: int) -> None:
        self._n = max(1, answer.video.n_frames)
        self._height = 2 * round(max(28, width / 22) / 2)
        # The number of rows is even because H.264 stores colours for squares of two by two pixels.
        self._base = np.full((self._height, width, 3), 24, np.uint8)
        for track in answer.tracks:
            self._draw(track)

    def _draw(self, track: Track) -> None:
        height, width = self._base.shape[:2]
        for event in track.events:
            x0 = round(event.onset.index / self._n * width)
            x1 = max(x0 + 2, round((event.offset.index + 1) / self._n * width))
            self._base[:, x0:x1] = np.array(_colour(event)) // 2
        if track.trace is None:
            return
        values = np.array(track.trace.values)
        known = values[np.isfinite(values)]
        if not len(known):
            return
        high = max(float(np.percentile(known, 99.5)), 1e-9)
        previous: tuple[int, int] | None = None
        for place, value in enumerate(values):
            if math.isnan(value):
                previous = None
                continue
            x = round((track.trace.first + place * track.trace.width) / self._n * width)
            point = x, round((height - 4) * (1 - min(value / high, 1))) + 2
            if previous is not None:
                cv2.line(self._base, previous, point, (206, 212, 222), 1, cv2.LINE_AA)
            previous = point

    def at(self, index: int, width: int) -> Picture:
        """Return the strip with a line at one frame."""
        if self._base.shape[1] != width:
            self._base = np.asarray(cv2.resize(self._base, (width, self._height), interpolation=cv2.INTER_AREA))
        strip = self._base.copy()
        x = min(width - 1, round(index / self._n * width))
        strip[:, x : x + max(1, width // 640)] = (255, 255, 255)
        return strip
