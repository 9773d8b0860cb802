"""Anything that shows a face over time, as one kind of thing: files, folders of pictures, GIFs, a camera.

Opening reads the header and the first frame. Everything else is decoded when it is asked for, one frame at a time, so
memory does not grow with the length of a film (but for 8 bytes a frame once its timestamps are needed).

What pixels mean, everywhere in mien: RGB or grey, upright (rotation tags of phones are applied), 8 bits as uint8,
deeper ones as uint16 stretched to the whole range 0..65535. Transparent parts are laid on black. Interlaced frames are
given as stored, both fields woven; pixels that are not square stay as they are.
"""

from __future__ import annotations

import math
import os
import re
import secrets
import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from mien import MOST_PIXELS
from mien.errors import MienError
from mien.io.atomic import UNFINISHED, at_home, unwritable

Pixels = NDArray[np.uint8 | np.uint16]

PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".jp2"})
"""Endings of the files that count as frames in a folder."""

READ_LIMIT: Final = 2 << 30
"""Most bytes that `Video.read` returns at once."""

ENOUGH_FPS: Final = 60.0
"""A micro-expression lasts 1/25 to 1/2 second: below this rate the shortest ones have hardly a frame but the apex."""

_NOT_FILMS: Final = frozenset({"tty", "concat", "hls", "lavfi"})
"""FFmpeg takes a text file for a film of a terminal, and a play list for an order to open other files."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_STRICT: Final = {"err_detect": "explode", "max_pixels": str(MOST_PIXELS)}
"""Damage that a decoder notices is an error, else it paints over it and tells nobody; so is a frame beyond all size."""

_HOLDS_BOXES: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"})
"""Parts of an MP4 on the way to its tables of frames."""

_MOST_BOXES: Final = 2_000_000
"""Parts that an MP4 may have: some in every second of a film that was sent in fragments."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a video.

    Attributes:
        index: Its number, from 0.
        time: Seconds after the first frame; NaN where the source has neither timestamps nor a known rate.
        pixels: (H, W) grey or (H, W, 3) RGB; uint8 0..255 or uint16 0..65535.
    """

    index: int
    time: float
    pixels: Pixels


@dataclass(frozen=True)
class Video(ABC):
    """A film whose frames are read when they are asked for. `open_video` makes one.

    Attributes:
        name: File name without its ending, or the name of the folder.
        height: Rows of an upright frame.
        width: Columns of an upright frame.
        colour: True for RGB frames, False for grey ones.
        depth: Bits of one sample in the source, 8 to 16; above 8 the frames are uint16.
        problems: What was found missing or damaged so far, one sentence each; complete once all frames were read.
    """

    name: str
    height: int
    width: int
    colour: bool
    depth: int
    problems: list[str] = field(default_factory=list, compare=False, kw_only=True)

    @property
    @abstractmethod
    def fps(self) -> float | None:
        """Mean frames per second: as given on opening, else from the timestamps; None when nothing tells."""

    @property
    @abstractmethod
    def n_frames(self) -> int | None:
        """Number of frames, without decoding any; None when that cannot be known. A damaged film yields fewer."""

    @property
    def variable_rate(self) -> bool | None:
        """Whether frames follow each other at changing intervals; None when nothing tells."""
        return None if self.fps is None else False

    @abstractmethod
    def _raw(self, start: int, stop: int | None, step: int) -> Generator[tuple[int, float, Any]]:
        """Index, time and undeveloped picture of (at least) the frames asked for, in order."""

    @abstractmethod
    def _pixels(self, raw: Any, grey: bool) -> Pixels | None:
        """The finished picture; None when it cannot be read."""

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1, *, grey: bool = False) -> Iterator[Frame]:
        """Frames in order, one at a time in memory. Those that cannot be decoded are left out and told in `problems`.

        So are those after a damaged one, up to the next key frame, for they are built upon it, and one or two before it
        that may wait in the decoder. What a decoder itself does not notice stays: a few flipped bits, and in FFV1 a
        broken slice, which shows the one before.

        Args:
            start: Index of the first frame.
            stop: Index after the last; None goes to the end (a camera has none).
            step: Every so manieth frame.
            grey: Grey frames (H, W) also of a colour film: its own luma, stretched to the whole range where it is
                stored in the limited one, wherever the film's luma is that of grey pictures (ITU-R BT.601); else by
                the same weights from RGB.

        Raises:
            MienError: A negative index, a step below 1; while reading: frames of differing size.
        """
        if start < 0 or step < 1 or (stop is not None and stop < 0):
            raise MienError(
                f"Frames {start}:{'' if stop is None else stop}:{step} of {self.name!r} were asked for.",
                "numbers that count from 0 at the first frame, and a step of at least 1.",
                f"`frames(0, {self.n_frames or 'n'}, 1)`.",
            )
        return self._walk(start, stop, step, grey)

    def _walk(self, start: int, stop: int | None, step: int, grey: bool) -> Iterator[Frame]:
        due = start  # the next frame asked for
        if stop is not None and stop <= start:
            return
        with closing(self._raw(start, stop, step)) as found:
            for index, moment, raw in found:
                if stop is not None and index >= stop:
                    break
                if (index - start) % step:
                    continue
                pixels = self._pixels(raw, grey)
                if pixels is None:
                    continue
                self._note_gap(due, index, step)
                due = index + step
                yield Frame(index, moment, pixels)
                if stop is not None and due >= stop:
                    return
        n = self.n_frames
        if n is not None:
            self._note_gap(due, n if stop is None else min(n, stop), step)

    def _note_gap(self, due: int, found: int, step: int) -> None:
        if found > due:
            last = due + (found - 1 - due) // step * step
            self._note(f"Frame {due} cannot be read." if last == due else f"Frames {due} to {last} cannot be read.")

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def frame(self, index: int, *, grey: bool = False) -> Frame:
        """One frame, the very one that `frames` gives with this index.

        Raises:
            MienError: There is no such frame, or it is damaged.
        """
        for frame in self.frames(index, index + 1, grey=grey):
            return frame
        n = self.n_frames
        known = "an unknown number of frames" if n is None else f"{n} frames, 0 to {n - 1}"
        raise MienError(
            f"Frame {index} of {self.name!r}{self._place(index)} cannot be read.",
            f"a whole frame of this video; it has {known}.",
            "another frame, or `Video.problems` for what is damaged.",
        )

    def _place(self, index: int) -> str:
        """Where a frame lies, where it has a file of its own."""
        return ""

    def read(self, start: int = 0, stop: int | None = None, *, grey: bool = False) -> Pixels:
        """Frames as one array (T, H, W) or (T, H, W, 3); damaged ones are left out and told in `problems`.

        Raises:
            MienError: More than `READ_LIMIT` bytes, no end, or not one readable frame.
        """
        ends = [end for end in (stop, self.n_frames) if end is not None]
        colour = self.colour and not grey
        size = self.height * self.width * (3 if colour else 1) * (2 if self.depth > 8 else 1)
        if not ends or (min(ends) - start) * size > READ_LIMIT:
            what = f"{(min(ends) - start) * size / 2**30:.1f} GiB" if ends else "a video without a known end"
            raise MienError(
                f"{what} of {self.name!r} would have to be held in memory.",
                f"at most {READ_LIMIT / 2**30:g} GiB at once, that is {READ_LIMIT // size} of these frames.",
                f"`for frame in video.frames():`, or `read({start}, {start + min(READ_LIMIT // size, 500)})`.",
            )
        shape = (max(min(ends) - start, 0), self.height, self.width, *((3,) if colour else ()))
        film: Pixels = np.empty(shape, np.uint16 if self.depth > 8 else np.uint8)
        n = 0
        for n, frame in enumerate(self.frames(start, min(ends), grey=grey), 1):
            film[n - 1] = frame.pixels
        if n == 0:
            raise MienError(
                f"Frames {start} to {min(ends)} of {self.name!r} hold nothing that can be read.",
                "at least one whole frame.",
                "another range, or `Video.problems` for what is damaged.",
            )
        return film[:n]


# Opening


def open_video(source: str | Path | int | Sequence[str | Path], fps: float | None = None) -> Video:
    """Opens anything that holds frames.

    Args:
        source: A video file or GIF, a folder of pictures (taken in natural order: img2 before img10; other files are
            passed over), one picture, a list of pictures, or a camera (`0` or `"camera:0"`).
        fps: Frames per second; replaces the timing of a file, whose frames then count as evenly spaced. Films of fast
            cameras are often stored to play slowly.

    Raises:
        MienError: Nothing there, or nothing in it that can be read as a frame.
    """
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise MienError(f"The frame rate {fps} was given.", "a number of frames per second above 0.", "`--fps 200`.")
    if isinstance(source, int):
        return _open_camera(source, fps)
    if not isinstance(source, (str, Path)):
        paths = [Path(path) for path in source]
        return frames_video(paths, fps, paths[0].parent.name if paths else "")
    camera = re.fullmatch(r"camera:(\d+)", str(source))
    if camera:
        return _open_camera(int(camera[1]), fps)
    path = at_home(source)
    try:
        folder, there = path.is_dir(), path.exists()
    except OSError:  # a name too long, no right to look
        folder, there = False, False
    if folder:
        return frames_video(_pictures_in(path), fps, path.resolve().name)
    if not there:
        raise MienError(
            f"There is no {str(path)!r}.",
            "a video file, a folder of pictures, a GIF or `camera:0`.",
            f"`ls {path.parent}` to see what is there.",
        )
    if path.suffix.lower() in PICTURES:
        _refuse_pages(path)
        return frames_video([path], fps, path.stem)
    return _open_file(path, fps)


def natural_order(text: str) -> tuple[tuple[int, str], ...]:
    """A sort key under which img2 comes before img10."""
    parts = re.split(r"(\d+)", text)
    return tuple((int(part), "") if odd % 2 else (-1, part.lower()) for odd, part in enumerate(parts))


def frame_rate_warning(fps: float | None) -> str | None:
    """What the reader of results must know about a frame rate; None when it is high enough for micro-expressions.

    Source: micro-expressions last 1/25 to 1/2 second (Yan et al., Journal of Nonverbal Behavior, 2013).
    """
    if fps is None or not math.isfinite(fps):
        return (
            f"The frame rate is not known: durations cannot be told, and micro-expressions need at least "
            f"{ENOUGH_FPS:g} frames per second. Give it with `--fps`."
        )
    if fps < ENOUGH_FPS - 0.5:  # television's 59.94 are 60
        return (
            f"{fps:.4g} frames per second are few: a micro-expression lasts 1/25 to 1/2 s, here {fps / 25:.1f} to "
            f"{fps / 2:.0f} frames; record at {ENOUGH_FPS:g} or more, better 200."
        )
    return None


def to_uint8(pixels: NDArray[Any], depth: int = 16) -> NDArray[np.uint8]:
    """Grey or colour levels as 8 bits, by a rule that is the same for every frame.

    Args:
        pixels: Any shape; uint8 is returned as it is, uint16 is divided by (2^depth - 1) / 255 and rounded.
        depth: Bits really used by uint16 levels. Frames of a `Video` use all 16; say 12 for a file that holds the raw
            0..4095 of a 12-bit camera. Levels above become white.

    Raises:
        MienError: Neither uint8 nor uint16, or a depth outside 8..16.
    """
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    if pixels.dtype != np.uint16 or not 8 <= depth <= 16:
        raise MienError(
            f"Pixels are {pixels.dtype} of {depth} bits.",
            "whole numbers of 8 to 16 bits, uint8 or uint16.",
            "`np.round(pixels).astype(np.uint8)` if they lie in 0..255.",
        )
    largest = (1 << depth) - 1
    return np.asarray((np.minimum(pixels, largest).astype(np.uint32) * 510 + largest) // (2 * largest), np.uint8)


# Files


class _Scan(NamedTuple):
    """All that the packets of a file tell without decoding: when each frame is shown, and where decoding can begin."""

    times: NDArray[np.int64]  # presentation times of the frames, ascending, in ticks; empty when the packets lack them
    keys: NDArray[np.int64]  # those of the key frames, ascending
    tick: float  # seconds
    n_frames: int | None
    rate: float | None
    variable: bool | None


_Undeveloped = tuple[VideoReformatter, av.VideoFrame]


@dataclass(frozen=True)
class _FileVideo(Video):
    """A film in a file."""

    path: Path
    rate: float | None  # as the user gave it
    layout: str  # FFmpeg's name of the pixel layout to convert to
    turn: tuple[int, int, int, int]  # display matrix (a, b, c, d) of -1, 0, 1
    first: int | None  # presentation time of the first frame that can be decoded
    fields: bool  # two packets may make one frame

    @cached_property
    def _scan(self) -> _Scan:
        return _scan(self)

    @property
    def fps(self) -> float | None:
        return self.rate or self._scan.rate

    @property
    def n_frames(self) -> int | None:
        return self._scan.n_frames

    @property
    def variable_rate(self) -> bool | None:
        return False if self.rate else self._scan.variable

    def _raw(self, start: int, stop: int | None, step: int) -> Generator[tuple[int, float, _Undeveloped]]:
        scan, developer = self._scan, VideoReformatter()  # one for all frames: making it costs more than using it
        for key in self._beginnings(start):
            exact = key is None
            for index, picture in self._numbered(key):
                if index > start and not exact:
                    break  # What is called a key frame was none, or came too late: go back further.
                if index >= start:
                    exact = True
                    yield index, self._time(scan, index), (developer, picture)
            if exact:
                return

    def _beginnings(self, index: int) -> Iterator[int | None]:
        """Times of key frames from which decoding may reach a frame, the best first; None is the very beginning."""
        scan = self._scan
        if index < len(scan.times):
            before = scan.keys[: np.searchsorted(scan.keys, scan.times[index], side="right")]
            yield from (int(key) for key in before[:-3:-1] if key > scan.times[0])
        if index < (scan.n_frames or index + 1):
            yield None

    def _time(self, scan: _Scan, index: int) -> float:
        if self.rate is None and len(scan.times):
            return float(scan.times[index] - scan.times[0]) * scan.tick
        return index / self.fps if self.fps else math.nan

    def _numbered(self, key: int | None) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decoded frames with their indices, in order. Threads first; one thread from where damage shows."""
        last = -1
        try:
            for index, picture in self._decoded(key, careful=False):
                if index > last:
                    yield index, picture
                    last = index
            return
        except av.FFmpegError:
            pass
        if len(self._scan.times) and last >= 0:
            key = next(self._beginnings(last))
        for index, picture in self._decoded(key, careful=True):
            if index > last:
                yield index, picture
                last = index

    def _decoded(self, key: int | None, careful: bool) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decodes from a key frame on.

        Args:
            key: Time of the key frame; None begins at the beginning.
            careful: False: fast, raises FFmpegError at damage, possibly some frames late. True: passes over damage, to
                the next key frame, for what lies between is built upon the damaged picture.
        """
        times, count = self._scan.times, -1
        with _opened(self.path) as (container, stream):
            decoder = stream.codec_context
            decoder.thread_type = "NONE" if careful else "AUTO"
            if key is not None:
                container.seek(key, stream=stream)
            lost, since = False, self.first if key is None else key
            for packet in _packets(container, stream, careful):
                if lost and not packet.is_keyframe:
                    continue
                if lost:
                    lost, since = False, packet.pts
                pictures: list[av.VideoFrame] = []
                try:
                    if packet.is_corrupt:
                        raise av.InvalidDataError(0, "incomplete packet")
                    pictures = packet.decode()
                except av.FFmpegError:
                    if not careful:
                        raise
                    lost = True
                    with suppress(av.FFmpegError):
                        pictures = decoder.decode(None)
                    decoder.flush_buffers()
                for picture in pictures:
                    count += 1
                    index = count
                    if len(times):
                        # Those before the key frame lean on pictures that were not decoded.
                        if picture.pts is None or (since is not None and picture.pts < since):
                            continue
                        index = int(np.searchsorted(times, picture.pts))
                        if index == len(times) or times[index] != picture.pts:
                            continue
                    if not picture.is_corrupt:
                        yield index, picture
                    elif not careful:
                        raise av.InvalidDataError(0, "damaged picture")

    def _pixels(self, raw: _Undeveloped, grey: bool) -> Pixels:
        developer, stored = raw
        layout = self.layout
        by_luma = grey and stored.format.name.startswith("yuv") and stored.colorspace in _LUMA_OF_GREY
        if by_luma and layout in _GREY_LAYOUT:
            layout = _GREY_LAYOUT[layout]
        picture = developer.reformat(stored, format=layout)
        pixels: Pixels = picture.to_ndarray()  # type: ignore[assignment]
        # The array is a window on the picture: never on one that the decoder builds later ones upon.
        pixels = pixels.copy() if picture is stored else np.ascontiguousarray(pixels)
        if layout.startswith("rgba"):
            pixels = _on_black(pixels)
        if grey and pixels.ndim == 3:
            pixels = _grey(pixels)
        pixels = _turned(pixels, self.turn)
        if pixels.shape[:2] != (self.height, self.width):
            raise _sizes_differ(
                self.name, (self.height, self.width), pixels.shape[:2], "its first frame", "a later one"
            )
        return pixels


_GREY_LAYOUT: Final = {"rgb24": "gray", "rgb48le": "gray16le"}

_LUMA_OF_GREY: Final = (2, 5, 6)
"""FFmpeg's colour spaces with the weights 0.299, 0.587, 0.114: not said, BT.470 BG, SMPTE 170M."""


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its video stream; pictures of album covers do not count. Raises FFmpegError."""
    facts = path.stat()
    if _claims_too_much(path, facts.st_size, facts.st_mtime_ns):
        raise av.InvalidDataError(0, "it claims more frames than it has bytes")
    # Only this file: a play list may not make mien read others, or fetch them.
    options = {"protocol_whitelist": "file"}
    with av.open(str(path.resolve()), options=options, metadata_errors="replace") as container:
        # A stream of an unknown codec has no decoder.
        known: list[Any] = [s for s in container.streams.video if s.codec_context is not None]
        films = [s for s in known if not s.disposition & av.stream.Disposition.attached_pic]
        if container.format.name in _NOT_FILMS or not films:
            raise av.InvalidDataError(0, "no video stream")
        films[0].codec_context.options = _STRICT
        yield container, films[0]


@lru_cache(maxsize=16)
def _claims_too_much(path: Path, size: int, changed: int) -> bool:
    """Whether the tables of an MP4 name more frames than it has bytes for: FFmpeg would make room for all of them.

    Args:
        path: The file.
        size: Its bytes.
        changed: When it was, so that another file of this name is looked at anew.
    """
    parts = [(0, size)]
    with path.open("rb") as file:
        for _ in range(_MOST_BOXES):
            while parts and parts[-1][0] + 8 > parts[-1][1]:
                parts.pop()
            if not parts:
                return False
            at, end = parts.pop()
            file.seek(at)
            head = file.read(24)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            length = length or end - at
            if length < 8 or not (kind.isalnum() and kind.isascii()):
                if not at:
                    return False  # another kind of file
                continue
            parts.append((at + length, end))
            if kind in _HOLDS_BOXES:
                parts.append((at + 8, min(at + length, end)))
            elif kind == b"stsz":  # version and flags, the size of all frames or 0, their number
                each, count = (int.from_bytes(head[n : n + 4], "big") for n in (12, 16))
                if count * max(each, 1) > size:
                    return True
            elif kind == b"trun" and int.from_bytes(head[12:16], "big") > size:
                return True
    return True


def _packets(container: InputContainer, stream: VideoStream, careful: bool) -> Iterator[av.Packet[VideoStream]]:
    """The packets, up to where the file can be read."""
    try:
        for packet in container.demux(stream):
            # An empty packet marks a dropped frame; a decoder would take it for the end.
            if packet.size or packet.dts is None:
                yield packet
    except av.FFmpegError:
        if not careful:
            raise


def _open_file(path: Path, fps: float | None) -> Video:
    """Reads the header and the first frame."""
    problem = "no frame could be decoded"
    try:
        with _opened(path) as (container, stream):
            stream.codec_context.thread_type = "NONE"
            for packet in _packets(container, stream, careful=False):
                try:
                    pictures = [] if packet.is_corrupt else packet.decode()
                except av.FFmpegError:
                    continue
                for picture in pictures:
                    if not picture.is_corrupt:
                        return _file_video(path, fps, stream, picture)
    except av.FFmpegError as error:
        problem = error.strerror or str(error)
    except (ValueError, OverflowError, MemoryError) as error:
        problem = f"its header makes no sense: {error}"
    size = path.stat().st_size
    raise MienError(
        f"{str(path)!r} holds no video that can be read ({'the file is empty' if not size else problem.lower()}).",
        "a whole video file (mp4, avi, mkv, mov, webm, ...), a GIF, a picture or a folder of pictures.",
        "copying or exporting the file again, or playing it to see whether it is whole.",
    )


def _file_video(path: Path, fps: float | None, stream: VideoStream, first: av.VideoFrame) -> _FileVideo:
    form = first.format
    depth = min(max([8, *(part.bits for part in form.components)]), 16)
    deep = depth > 8
    if any(part.is_alpha for part in form.components):
        layout = "rgba64le" if deep else "rgba"
    elif form.name.startswith(("gray", "mono")):
        layout = "gray16le" if deep else "gray"
    else:
        layout = "rgb48le" if deep else "rgb24"
    turn = (1, 0, 0, 1)
    problems = []
    matrix: Any = first.side_data.get("DISPLAYMATRIX")
    if matrix is not None:
        a, b, _, c, d, *_ = (round(int(v) / 65536, 2) for v in np.frombuffer(matrix, np.int32))
        if sorted(abs(v) for v in (a, b, c, d)) == [0, 0, 1, 1] and abs(a) == abs(d):
            turn = (int(a), int(b), int(c), int(d))
        else:
            problems.append("Its rotation tag asks for other than quarter turns and is not followed.")
    height, width = (first.height, first.width) if turn[0] else (first.width, first.height)
    return _FileVideo(
        path.stem, height, width, not layout.startswith("gray"), depth, path, fps, layout, turn, first.pts,
        first.interlaced_frame and stream.codec_context.name == "h264", problems=problems,
    )  # fmt: skip


def _scan(video: _FileVideo) -> _Scan:
    """Walks through the packets of a file."""
    times, keys, n, hidden, early = array("q"), array("q"), 0, 0, 0
    timed = not video.fields
    with _opened(video.path) as (container, stream):
        for packet in _packets(container, stream, careful=True):
            if packet.is_discard or not packet.size or packet.is_corrupt:
                hidden += packet.is_discard
                continue
            n += 1
            if packet.pts is None or video.first is None:
                timed = False
            elif packet.pts < video.first:
                early += 1
            else:
                times.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
        told = [float(rate) for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate) if rate]
        tick = float(stream.time_base or 0)
        claimed, length = stream.frames - hidden, _length(stream)
        avi = container.format.name == "avi"
        # AVI keeps no order of showing: beside B-frames its times are those of decoding, under another name.
        timed = timed and not (avi and stream.codec_context.has_b_frames)
    order, key_order = np.sort(np.asarray(times, np.int64)), np.sort(np.asarray(keys, np.int64))
    if not timed or len(order) != n - early or (np.diff(order) == 0).any():
        none = np.zeros(0, np.int64)
        return _Scan(none, none, tick, None if video.fields else n, told[0] if told else None, None)
    if early:
        video._note(f"{early} packet(s) before the first whole picture cannot be decoded.")
    seconds = (order - order[0]) * tick
    steady = [rate for rate in told if np.abs(seconds * rate - np.arange(len(order))).max() <= tick * rate + 1e-6]
    mean = (len(order) - 1) / seconds[-1] if len(order) > 1 else None
    rate = steady[0] if steady else mean
    # The frames that an AVI dropped count in its header.
    spanned = round(seconds[-1] * told[0]) + 1 if told else n
    if claimed > max(n, spanned):
        video._note(f"The file says it has {claimed} frames, {n} are there.")
    elif length and steady and length - seconds[-1] > 2.5 / steady[0]:
        video._note(
            f"The file says it lasts {length:.2f} s, its last frame is at {seconds[-1]:.2f} s: it ends too early."
        )
    return _Scan(order, key_order, tick, len(order), rate, not steady if len(order) > 2 else None)


def _length(stream: VideoStream) -> float | None:
    """Seconds from the start to the end of the last frame, as the header of a Matroska file tells."""
    clock = re.match(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    return 3600 * int(clock[1]) + 60 * int(clock[2]) + float(clock[3]) if clock else None


# Pictures


@dataclass(frozen=True)
class _PictureVideo(Video):
    """A film whose frames are picture files."""

    paths: tuple[Path, ...]
    rate: float | None

    @property
    def fps(self) -> float | None:
        return self.rate

    @property
    def n_frames(self) -> int:
        return len(self.paths)

    def _place(self, index: int) -> str:
        return f" ({self.paths[index].name})" if index < len(self.paths) else ""

    def _raw(self, start: int, stop: int | None, step: int) -> Generator[tuple[int, float, Path]]:
        for index in range(start, min(stop or len(self.paths), len(self.paths)), step):
            yield index, index / self.rate if self.rate else math.nan, self.paths[index]

    def _pixels(self, raw: Path, grey: bool) -> Pixels | None:
        pixels = _picture(raw)
        if pixels is None:
            self._note(f"{raw.name} is no picture that can be read.")
            return None
        first = self.paths[0].name
        if pixels.shape[:2] != (self.height, self.width):
            raise _sizes_differ(self.name, (self.height, self.width), pixels.shape[:2], first, raw.name)
        kind = "colour" if pixels.ndim == 3 else "grey", 8 * pixels.itemsize
        if kind[1] != self.depth or (kind[0] == "colour" and not self.colour):
            raise MienError(
                f"In {self.name!r}, {raw.name} is {kind[0]} of {kind[1]} bits, "
                f"{first} is {'colour' if self.colour else 'grey'} of {self.depth}.",
                "frames of one kind.",
                "one film per folder, or converting them all alike.",
            )
        if pixels.ndim == 2 and self.colour and not grey:
            return np.repeat(pixels[..., None], 3, -1)
        return _grey(pixels) if grey and pixels.ndim == 3 else pixels


def frames_video(paths: Sequence[Path], fps: float | None, name: str) -> Video:
    """Picture files as a film, in the order given; one picture is a film of one frame.

    Args:
        paths: PNG, JPEG, TIFF, BMP, WebP, PGM or PPM, all of one size and depth; grey ones among coloured ones become
            coloured.
        fps: Frames per second, where it is known.
        name: What to call it.

    Raises:
        MienError: No picture among them that can be read.
    """
    missing: list[str] = []
    for path in paths:
        pixels = _picture(path)
        if pixels is not None:
            height, width = pixels.shape[:2]
            film = _PictureVideo(
                name, height, width, pixels.ndim == 3, 8 * pixels.itemsize, tuple(Path(p) for p in paths), fps
            )
            for unread in missing:
                film._note(f"{unread} is no picture that can be read.")
            return film
        missing.append(Path(path).name)
    raise MienError(
        f"{name!r} holds no picture that can be read" + (f" ({missing[0]} is none)." if missing else "."),
        f"files ending in {', '.join(sorted(PICTURES))}, of 8 or 16 bits, directly in the folder.",
        "the folder that holds the frames of one film, or the path of a video file.",
    )


def _pictures_in(folder: Path) -> list[Path]:
    try:
        found = [p for p in folder.iterdir() if p.suffix.lower() in PICTURES and not p.name.startswith(".")]
    except OSError as error:
        raise MienError(
            f"The folder {str(folder)!r} cannot be read ({error.strerror}).",
            "a folder with the right to read.",
            f"`ls -l {folder}`.",
        ) from None
    return sorted(found, key=lambda path: (natural_order(path.name), path.name))


def _refuse_pages(path: Path) -> None:
    from PIL import Image

    pages = 1
    with suppress(Exception), Image.open(path) as picture:  # a damaged file: the decoder will say so
        if picture.format in ("TIFF", "WEBP", "PNG", "MPO"):
            pages = getattr(picture, "n_frames", 1)
    if pages > 1:
        raise MienError(
            f"{str(path)!r} holds {pages} pictures in one file.",
            "a video file, or a folder with one picture per file.",
            "saving the pages as files `001.png`, `002.png`, ...",
        )


def _forged_png(data: NDArray[np.uint8]) -> bool:
    """Whether a PNG has a chunk that claims to be longer than the file: its decoder would take that much memory."""
    place = len(_PNG)
    if data[:place].tobytes() != _PNG:
        return False
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4].tobytes(), "big")
        if length > len(data):
            return True
        place += 12 + length
    return False


def _picture(path: Path) -> Pixels | None:
    """A picture file as (H, W) or (H, W, 3) RGB; None where there is none, or not of 8 or 16 bits."""
    try:
        data = np.fromfile(path, np.uint8)  # cv2.imread knows no names outside ASCII on some systems
    except OSError:
        return None
    if not len(data) or _forged_png(data):
        return None
    # Only this way follows a JPEG's rotation tag; only the other keeps the transparency of a PNG.
    jpeg = data[:2].tobytes() == b"\xff\xd8"
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR if jpeg else cv2.IMREAD_UNCHANGED)
    except cv2.error:  # larger than `MOST_PIXELS`
        return None
    if pixels is None or not pixels.size or pixels.dtype not in (np.uint8, np.uint16):
        return None
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4):
        return None
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return _on_black(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA))
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
    return np.asarray(pixels).reshape(pixels.shape[:2])


# Cameras


@dataclass(frozen=True)
class _CameraVideo(Video):
    """What a camera sees, from the moment `frames` is called."""

    number: int
    rate: float | None

    @property
    def fps(self) -> float | None:
        return self.rate

    @property
    def n_frames(self) -> None:
        return None

    @property
    def variable_rate(self) -> bool:
        return True

    def _raw(self, start: int, stop: int | None, step: int) -> Generator[tuple[int, float, NDArray[np.uint8]]]:
        camera = _camera(self.number)
        try:
            index, began = 0, None
            while stop is None or index < stop:
                whole, picture = camera.read()
                now = time.monotonic()
                if not whole:
                    self._note(f"The camera stopped after {index} frames.")
                    return
                began = now if began is None else began
                if index >= start:
                    yield index, now - began, picture
                index += 1
        finally:
            camera.release()

    def _pixels(self, raw: NDArray[np.uint8], grey: bool) -> Pixels:
        return np.asarray(cv2.cvtColor(raw, cv2.COLOR_BGR2GRAY if grey else cv2.COLOR_BGR2RGB))


def _camera(number: int) -> Any:
    level = cv2.utils.logging.setLogLevel(0)  # OpenCV would tell about every driver it tried.
    camera = cv2.VideoCapture(number)
    cv2.utils.logging.setLogLevel(level)
    if not camera.isOpened():
        raise MienError(
            f"There is no camera {number}, or another program uses it.",
            "the number of a camera that is plugged in; the first is 0.",
            "`camera:0`, or a video file.",
        )
    return camera


def _open_camera(number: int, fps: float | None) -> Video:
    camera = _camera(number)
    try:
        whole, picture = camera.read()
        rate = fps or camera.get(cv2.CAP_PROP_FPS) or None
    finally:
        camera.release()
    if not whole:
        raise MienError(
            f"Camera {number} gives no picture.", "a camera that works.", "unplugging it, or another number."
        )
    return _CameraVideo(f"camera {number}", picture.shape[0], picture.shape[1], True, 8, number, rate)


# Pixels


def _on_black(pixels: NDArray[Any]) -> Pixels:
    """RGBA laid on black, as RGB."""
    largest = np.iinfo(pixels.dtype).max
    alpha = pixels[..., 3:].astype(np.uint32)
    return np.asarray((pixels[..., :3] * alpha + largest // 2) // largest, pixels.dtype)


def _grey(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))


def _turned(pixels: Pixels, turn: tuple[int, int, int, int]) -> Pixels:
    """A frame set upright: shown x = a x + c y, shown y = b x + d y."""
    a, b, c, d = turn
    if turn == (1, 0, 0, 1):
        return pixels
    if not a:
        pixels = np.swapaxes(pixels, 0, 1)
    if (a or c) < 0:
        pixels = pixels[:, ::-1]
    if (d or b) < 0:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _sizes_differ(name: str, size: tuple[int, ...], other: tuple[int, ...], first: str, later: str) -> MienError:
    return MienError(
        f"In {name!r}, {later} is {other[1]}x{other[0]} pixels, {first} is {size[1]}x{size[0]}.",
        "frames of one size.",
        "one film per folder, or cutting the frames to one size.",
    )


# Writing


def write_video(
    path: str | Path, frames: Iterable[NDArray[Any]], fps: float, *, times: Sequence[float] | None = None
) -> Path:
    """Writes a film; nothing is at `path` until it is whole.

    Args:
        path: The ending decides. `.mkv`: without loss (FFV1), read back bit for bit; times are kept to a millisecond.
            `.mp4`: H.264 to look at, 8 bits, an odd side repeats its last line. `.gif`: to look at, 256 colours, times
            to a hundredth of a second and at least two hundredths a frame, like frames joined.
        frames: (H, W) grey or (H, W, 3) RGB of one size, uint8; grey ones may be uint16.
        fps: Frames per second.
        times: Seconds of each frame after the first, ascending; gives a variable rate. None spaces them evenly.

    Returns:
        The path.

    Raises:
        MienError: No frames or not all alike, an unknown ending, bad times, no room or no right to write.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".mkv", ".mp4", ".gif"):
        raise MienError(
            f"Films ending in {kind!r} are not written.",
            ".mkv (without loss), .mp4 or .gif.",
            f"`{path.with_suffix('.mkv').name}`.",
        )
    if not (math.isfinite(fps) and fps > 0):
        raise MienError(f"The frame rate {fps} was given.", "a number of frames per second above 0.", "`fps=200`.")
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}{UNFINISHED}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        timed = _timed(frames, fps, times, least={".mkv": 1e-3, ".mp4": 1e-5, ".gif": 0.0}[kind])
        if kind == ".gif":
            _write_gif(temporary, timed)
        else:
            _write_stream(temporary, timed, fps, times is not None, lossless=kind == ".mkv")
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except (av.FFmpegError, OSError) as error:
        raise unwritable(path, error, "another folder, or `df` to see how much room is left.") from None
    finally:
        with suppress(OSError):
            temporary.unlink()
    return path


def _timed(
    frames: Iterable[NDArray[Any]], fps: float, times: Sequence[float] | None, least: float
) -> Iterator[tuple[float, Pixels]]:
    """Frames with their times, checked to be of one kind; at least one."""
    first, n, last = None, 0, -math.inf
    for n, frame in enumerate(frames, 1):
        if first is None:
            first = frame
            colour = frame.ndim == 3 and frame.shape[2] == 3
            if not (colour or frame.ndim == 2) or frame.dtype not in ((np.uint8,) if colour else (np.uint8, np.uint16)):
                raise MienError(
                    f"A frame has the shape {frame.shape} and the type {frame.dtype}.",
                    "(H, W) of uint8 or uint16, or (H, W, 3) of uint8.",
                    "`to_uint8(frame)`, or `np.round(frame).astype(np.uint8)`.",
                )
        if frame.shape != first.shape or frame.dtype != first.dtype:
            raise MienError(
                f"Frame {n - 1} is {frame.shape} {frame.dtype}, the first is {first.shape} {first.dtype}.",
                "frames of one size and type.",
                "cutting the frames to one size before.",
            )
        moment = (n - 1) / fps if times is None else times[n - 1] if n <= len(times) else math.nan
        if not moment - last >= least * (1 - 1e-6) or moment == last:
            raise MienError(
                f"Frame {n - 1} is at {moment} s, the one before at {last} s.",
                f"a time for every frame, ascending, at least {least:g} s apart.",
                "`times` as long as the film, or another ending.",
            )
        last = moment
        yield moment, np.ascontiguousarray(frame)
    if n == 0 or (times is not None and n < len(times)):
        raise MienError(
            f"There are {n} frames" + (f" and {len(times)} times." if times is not None else "."),
            "at least one frame, and as many times if any.",
            "looking at where the frames come from.",
        )


def _write_stream(
    path: Path, timed: Iterator[tuple[float, Pixels]], fps: float, variable: bool, lossless: bool
) -> None:
    began, first = next(timed)
    rate = Fraction(fps).limit_denominator(1001)
    # Even times are counted in frames, exactly; true ones in the finest unit that containers share.
    base = Fraction(1, 90_000) if variable else 1 / rate
    with av.open(str(path), "w", format="matroska" if lossless else "mp4") as container:
        if lossless:
            layout = "gray16le" if first.dtype == np.uint16 else "gray" if first.ndim == 2 else "bgr0"
            # Every frame alone, in slices with check sums: any can be reached, and damage does not spread.
            stream = container.add_stream(
                "ffv1", rate, options={"level": "3", "g": "1", "slices": "4", "slicecrc": "1"}
            )
        else:
            layout = "yuv420p"
            stream = container.add_stream("libx264", rate, options={"crf": "18", "preset": "veryfast"})
            stream.codec_context.colorspace, stream.codec_context.color_range = 6, 1  # what the conversion does
        stream.pix_fmt = layout
        stream.codec_context.time_base = stream.time_base = base
        stream.codec_context.thread_type = "AUTO"
        even = [(0, 0 if lossless else side % 2) for side in first.shape[:2]] + [(0, 0)] * (first.ndim - 2)
        stream.height, stream.width = (side + more for side, (_, more) in zip(first.shape, even[:2], strict=False))
        developer = VideoReformatter()
        for number, (moment, pixels) in enumerate(chain([(began, first)], timed)):
            if not lossless:
                pixels = np.pad(to_uint8(pixels), even, "edge")
            source = {1: "gray", 2: "gray16le"}[pixels.itemsize] if pixels.ndim == 2 else "rgb24"
            stored = av.VideoFrame.from_ndarray(pixels, format=source)  # type: ignore[arg-type]
            picture = developer.reformat(stored, format=layout)
            picture.pts, picture.time_base = (round((moment - began) / base) if variable else number), base
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _write_gif(path: Path, timed: Iterator[tuple[float, Pixels]]) -> None:
    from PIL import Image

    moments: list[float] = []

    def pictures() -> Iterator[Image.Image]:
        for moment, pixels in timed:
            moments.append(moment)
            yield Image.fromarray(to_uint8(pixels))

    # Pillow wants the durations before it sees the last frame.
    films = list(pictures())
    marks = [round(100 * (moment - moments[0])) for moment in moments]
    lasts = [max(after - mark, 2) for mark, after in pairwise(marks)]
    films[0].save(
        path, "gif", save_all=True, append_images=films[1:], loop=0, optimize=False,
        duration=[10 * last for last in [*lasts, lasts[-1] if lasts else 10]],
    )  # fmt: skip
