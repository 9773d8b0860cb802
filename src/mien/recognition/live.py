"""Recognise expressions live, from a camera or a video played in real time.

Frames that the machine cannot process in time are dropped and counted.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.face.crop import crop_box
from mien.io.video import ENOUGH_FPS, Frame, Video, to_uint8
from mien.recognition.cuts import Candidate, Cut, eyes_at
from mien.recognition.naming import Namer, name_cut
from mien.recognition.people import People, Person, single_torch_thread
from mien.recognition.person_watch import Watch
from mien.recognition.reasons import low_rate
from mien.recognition.recognise import open_spotter
from mien.recognition.records import Event, Reason
from mien.recognition.trace import Tracer
from mien.recognition.units import UnitReader
from mien.spotting import DEFAULT
from mien.spotting.base import MICRO_LONGEST, Along, Spotter

Picture = NDArray[np.uint8]

_QUEUE: Final = 0.5
"""Seconds of frames that may wait to be processed; further frames are dropped."""

_PART, _MARGIN = 0.5, 2.0
"""Seconds of signal that are searched at a time, and seconds after them that the search waits for.

Only short intervals fit into this window: live, longer expressions are left out.
"""

_KEPT: Final = 1.5
"""Seconds of face crops kept in addition to that window."""

_WIDE: Final = (1.0, 1.3, 3.8, 3.0)  # margins of the face crops that are kept; see `crop_box`
_MOST_EYES = 100.0  # pixels between the eyes; crops of larger faces are stored smaller
_BRIDGED = 0.05  # seconds of dropped frames that are bridged by repeating the last row
_MOST_DROPPED = 0.05  # share of dropped frames above which a warning is given
_MEASURED = 1.0  # seconds over which a camera's true frame rate is measured


@dataclass(frozen=True, slots=True)
class Status:
    """State of a live run.

    Attributes:
        seconds: Time on the clock of the video file, or since the camera started.
        fps: Frames per second that arrive.
        n_frames: Frames processed.
        dropped: Frames skipped because the machine could not keep up.
        behind: Seconds between the arrival of the newest frame and now.
        people: Number of people in view.
        movement: How much the face of the first person in view moves; NaN without one.
        eye_distance: Pixels between that person's eyes; 0 without one.
        events: Expressions completed since the last status.
        reasons: Why there can be no answer, or an incomplete one, at the moment.
    """

    seconds: float
    fps: float
    n_frames: int
    dropped: int
    behind: float
    people: int
    movement: float
    eye_distance: float
    events: tuple[Event, ...]
    reasons: tuple[Reason, ...]


@dataclass(slots=True)
class _Kept:
    """Face crops of one person over the last seconds."""

    index: deque[int]
    seconds: deque[float]
    pictures: deque[Picture]
    corner: tuple[int, int] = (0, 0)
    scale: float = 1.0
    place: tuple[int, int, int, int] | None = None
    place_at: int = -1


class Watcher:
    """Process frames one by one as they arrive.

    Args:
        namer: The weights that predict classes.
        fps: Frames per second that arrive.
        spotter: Finds the intervals.
        device: Device of the face networks ("cpu", "cuda").
        units: The weights that predict action units; None leaves them out.
    """

    def __init__(
        self, namer: Namer, fps: float, spotter: Spotter, device: str = "cpu", units: UnitReader | None = None
    ) -> None:
        self._namer, self._fps, self._units = namer, fps, units
        self._spotter = replace(spotter, part=_PART, margin=_MARGIN)
        self._settings = spotter.with_parameters({})
        self._people = People(fps, device)
        self._watches: dict[int, Watch] = {}
        self._kept: dict[int, _Kept] = {}
        self._rows: dict[int, Any] = {}
        self._n = math.ceil((_PART + _MARGIN + _KEPT) * fps)
        # Predicting a class takes as long as dozens of frames: it runs in a thread of its own.
        self._pool = ThreadPoolExecutor(1)
        self._naming: deque[Future[Event]] = deque()
        self._last = -1

    def see(self, pixels: Picture, index: int, seconds: float) -> list[Event]:
        """Process the next frame and return the expressions completed since the last call.

        Args:
            pixels: (H, W) grey levels, 8 bits.
            index: Number of the frame. A gap in the numbers means that frames were dropped.
            seconds: Time of the frame.
        """
        bridge = 0 < index - self._last - 1 <= max(1, round(_BRIDGED * self._fps)) and self._last >= 0
        self._last = index
        for person, look in self._people.look(pixels, index):
            watch = self._watches.get(person.number)
            if watch is None:
                along = Along(self._spotter, self._fps, self._settings)
                watch = Watch(
                    self._spotter.watch(self._fps, self._settings), along,
                    Tracer(self._spotter.name, self._fps, look.index), look.index,
                )  # fmt: skip
                self._watches[person.number] = watch
            if look.index < index and bridge and person.number in self._rows:
                watch.take([self._rows[person.number]])  # too short a gap to lose the face over
                continue
            rows = watch.watcher.see(look)
            if rows:
                self._rows[person.number] = rows[-1]
            watch.take(rows)
            if look.index == index:
                self._keep(person, pixels, index, seconds)
            self._settle(person, watch)
        return self._named(wait=False)

    def finish(self) -> list[Event]:
        """Return the expressions still open at the end of the video."""
        for person in self._people.everybody:
            watch = self._watches.get(person.number)
            if watch is not None:
                watch.finish()
                self._settle(person, watch)
        events = self._named(wait=True)
        self._pool.shutdown()
        return events

    def _named(self, wait: bool) -> list[Event]:
        events = []
        while self._naming and (wait or self._naming[0].done()):
            events.append(self._naming.popleft().result())
        return events

    @property
    def present(self) -> list[Person]:
        """People in view."""
        return [person for person in self._people.everybody if person.present]

    def movement(self) -> float:
        """Return how much the face of the first person in view moves; NaN without one."""
        return self._watches[self.present[0].number].tracer.now if self.present else math.nan

    def _keep(self, person: Person, pixels: Picture, index: int, seconds: float) -> None:
        kept = self._kept.setdefault(person.number, _Kept(deque(maxlen=self._n), deque(maxlen=self._n),
                                                          deque(maxlen=self._n)))  # fmt: skip
        eyes = person.stream.eyes
        if eyes is None:
            return
        if kept.place is None or person.places[-1].index != kept.place_at:
            self._place(kept, person, eyes, pixels)
        assert kept.place is not None
        x0, y0, x1, y1 = kept.place
        part = pixels[y0:y1, x0:x1]
        if kept.scale > 1:
            size = max(2, round((x1 - x0) / kept.scale)), max(2, round((y1 - y0) / kept.scale))
            part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
        else:
            part = part.copy()
        kept.index.append(index)
        kept.seconds.append(seconds)
        kept.pictures.append(part)

    def _place(self, kept: _Kept, person: Person, eyes: NDArray[np.float32], pixels: Picture) -> None:
        """Choose the rectangle of the crops. A new one discards the old crops: only when the face left the old one."""
        kept.place_at = person.places[-1].index
        height, width = pixels.shape
        if kept.place is not None:
            x0, y0, x1, y1 = kept.place
            box = crop_box(eyes.astype(np.float64), (0.5, 0.75, 2.5, 2.0))
            if (
                max(x0, box.x) - box.x < 2
                and max(y0, box.y) - box.y < 2
                and box.x + box.width - min(x1, box.x + box.width) < 2
                and box.y + box.height - min(y1, box.y + box.height) < 2
            ):
                return
        box = crop_box(eyes.astype(np.float64), _WIDE)
        kept.place = (
            max(0, math.floor(box.x)), max(0, math.floor(box.y)),
            min(width, math.ceil(box.x + box.width)), min(height, math.ceil(box.y + box.height)),
        )  # fmt: skip
        kept.corner = kept.place[:2]
        kept.scale = max(1.0, person.stream.eye_distance / _MOST_EYES)
        for entries in (kept.index, kept.seconds, kept.pictures):
            entries.clear()

    def _settle(self, person: Person, watch: Watch) -> None:
        """Start the prediction of classes for the intervals that were completed."""
        spots, watch.spots = watch.spots, []
        for spot in spots:
            kept = self._kept.get(person.number)
            eyes = eyes_at(person.places, spot.onset)
            length = (spot.offset - spot.onset + 1) / self._fps
            # Longer intervals do not fit into the crops kept; at too low a frame rate, short ones mean nothing.
            if kept is None or eyes is None or length > MICRO_LONGEST + 1.5 / self._fps or self._slow:
                continue
            rows = [n for n, index in enumerate(kept.index) if spot.onset <= index <= spot.offset]
            if len(rows) < 2:
                continue  # the face left its rectangle right after: the head moved, not the face
            cut = Cut(
                tuple(kept.index[n] for n in rows), tuple(kept.seconds[n] for n in rows),
                [kept.pictures[n] for n in rows], kept.corner, kept.scale,
            )  # fmt: skip
            candidate = Candidate(spot.onset, spot.apex, spot.offset, spot.score)
            self._naming.append(
                self._pool.submit(
                    name_cut, cut, candidate, person.number, self._namer, self._fps, False, eyes, units=self._units
                )
            )

    @property
    def _slow(self) -> bool:
        return self._fps < ENOUGH_FPS - 0.5


def watch(
    film: Video, namer: Namer, *, spotter: str | None = None, real_time: bool = True, device: str = "cpu",
    seconds: float | None = None, stop: threading.Event | None = None, units: UnitReader | None = None,
) -> Iterator[Status]:  # fmt: skip
    """Recognise expressions from a camera or a playing video, and yield the state about ten times a second.

    Args:
        film: A camera, or a video that is played at its own rate.
        namer: The weights that predict classes.
        spotter: Name of the spotter that finds the intervals; None takes the default.
        real_time: If False, every frame of a video is processed, however long that takes.
        device: Device of the face networks ("cpu", "cuda").
        seconds: Stop at this time of the video; None runs to its end.
        stop: Set this event to stop.
        units: The weights that predict action units; None leaves them out.

    Yields:
        The state; one last time after the end of the video.

    Raises:
        MienError: The frame rate is not known, or the camera was disconnected.

    Example:
        >>> import pathlib, tempfile
        >>> from mien.io.video import open_video, write_video
        >>> from mien.recognition.naming import open_namer
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_video(pathlib.Path(folder) / "grey.mkv", [np.full((64, 64), 128, np.uint8)] * 10, 100)
        ...     states = list(watch(open_video(path), open_namer(None), real_time=False))
        >>> states[-1].n_frames, states[-1].people
        (10, 0)
    """
    chosen = open_spotter(spotter or DEFAULT)
    ended = stop or threading.Event()
    camera = film.n_frames is None and film.variable_rate is True
    frames = _Arriving(film, camera, real_time, ended)
    source = frames.frames()
    rate, first = _rate_of(film, source) if camera else (film.fps, [])
    if rate is None or not math.isfinite(rate):
        raise MienError(
            f"The frame rate of {film.name!r} is not known.", "frames per second, to know durations.", "`--fps 100`."
        )
    watcher = Watcher(namer, rate, chosen, device, units)
    n, reported, pending = 0, -math.inf, list[Event]()
    moment = 0.0

    def status(behind: float) -> Status:
        nonlocal pending
        events, pending = tuple(pending), []
        present = watcher.present
        return Status(
            moment, rate, n, frames.dropped, behind, len(present), watcher.movement(),
            present[0].stream.eye_distance if present else 0.0, events, tuple(_in_the_way(rate, n, frames.dropped)),
        )  # fmt: skip

    try:
        for arrived, frame in _chained(first, source):
            moment = frame.time
            with single_torch_thread():
                pending += watcher.see(to_uint8(frame.pixels), frame.index, frame.time)
            n += 1
            if frame.time - reported >= 0.1 or pending:
                reported = frame.time
                yield status(max(0.0, time.monotonic() - arrived))
            if seconds is not None and frame.time >= seconds:
                break
    finally:
        ended.set()
    pending += watcher.finish()
    yield status(0.0)


def _in_the_way(fps: float, n: int, dropped: int) -> Iterator[Reason]:
    """Yield the reasons why there can be no answer, or an incomplete one."""
    if fps < ENOUGH_FPS - 0.5:
        yield low_rate(fps)
    if dropped > _MOST_DROPPED * (n + dropped):
        yield Reason(
            "input",
            f"{dropped} of {n + dropped} frames were dropped because this machine cannot keep up: expressions may be "
            f"missed. Close other programs, or lower the camera's frame rate or resolution.",
        )


def _chained(first: list[tuple[float, Frame]], rest: Iterator[tuple[float, Frame]]) -> Iterator[tuple[float, Frame]]:
    yield from first
    yield from rest


def _rate_of(film: Video, source: Iterator[tuple[float, Frame]]) -> tuple[float | None, list[tuple[float, Frame]]]:
    """Measure the frame rate that a camera really delivers; also return the frames read meanwhile.

    The rate that a driver reports is often wrong.
    """
    seen: list[tuple[float, Frame]] = []
    for arrived, frame in source:
        seen.append((arrived, frame))
        if frame.time >= _MEASURED:
            break
    if len(seen) < 2:
        return film.fps, seen
    return (seen[-1][1].index - seen[0][1].index) / max(seen[-1][1].time - seen[0][1].time, 1e-9), seen


class _Arriving:
    """Read frames in a separate thread, at the rate of the video, into a short queue."""

    def __init__(self, film: Video, camera: bool, real_time: bool, ended: threading.Event) -> None:
        self._film, self._camera, self._real_time, self._ended = film, camera, real_time, ended
        self.dropped = 0
        room = max(2, round(_QUEUE * (film.fps or 30)))
        self._queue: queue.Queue[tuple[float, Frame] | BaseException | None] = queue.Queue(room)

    def frames(self) -> Iterator[tuple[float, Frame]]:
        """Yield (time of arrival, frame), without the frames that were dropped."""
        thread = threading.Thread(target=self._read, daemon=True)
        thread.start()
        while True:
            got = self._queue.get()
            if got is None:
                return
            if isinstance(got, BaseException):
                raise got
            yield got

    def _read(self) -> None:
        try:
            start = self._film.time_of(0)
            began = time.monotonic()
            for frame in self._film.frames(grey=True):
                if self._ended.is_set():
                    return
                if not self._camera and self._real_time:
                    wait = began + frame.time - start - time.monotonic()
                    if wait > 0:
                        time.sleep(wait)
                if self._camera or self._real_time:
                    try:
                        self._queue.put_nowait((time.monotonic(), frame))
                    except queue.Full:
                        self.dropped += 1
                else:
                    self._queue.put((time.monotonic(), frame))
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _put(self, what: BaseException | None) -> None:
        """Put the end mark into the queue: unlike a frame, it must not be dropped."""
        while not self._ended.is_set():
            try:
                self._queue.put(what, timeout=0.1)
                return
            except queue.Full:
                continue
