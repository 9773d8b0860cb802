"""Films in files: mp4, avi, mkv, mov, webm, GIF and whatever else FFmpeg reads."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from mien.errors import MienError
from mien.io.video.base import Pixels, Video, grey_of, on_black, sizes_differ, upright
from mien.io.video.packets import Scan, opened, packets_of, scan

_ONE_THREAD: Final[dict[str, Any]] = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 17 else {}
"""PyAV converts with all cores from version 17 on; they are busy decoding, and sharing a frame costs as much again."""

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
    def _scan(self) -> Scan:
        return scan(self.path, self.first, self.fields, self._note)

    @property
    def fps(self) -> float | None:
        return self.rate or self._scan.rate

    @property
    def own_fps(self) -> float | None:
        return self._scan.rate

    @property
    def n_frames(self) -> int | None:
        return self._scan.n_frames

    @property
    def variable_rate(self) -> bool | None:
        return False if self.rate else self._scan.variable

    def time_of(self, index: int) -> float:
        scan = self._scan
        if self.rate is None and 0 <= index < len(scan.shown):
            return scan.start + float(scan.shown[index] - scan.shown[0]) * scan.tick
        return scan.start + index / self.fps if self.fps else math.nan

    def _raw(self, start: int, stop: int | None, step: int) -> Generator[tuple[int, float, _Undeveloped]]:
        developer = VideoReformatter()  # one for all frames: making it costs more than using it
        for key in self._beginnings(start):
            exact = key is None
            for index, picture in self._numbered(key):
                if index > start and not exact:
                    break  # What is called a key frame was none, or came too late: go back further.
                if index >= start:
                    exact = True
                    yield index, self.time_of(index), (developer, picture)
            if exact:
                return

    def _beginnings(self, index: int) -> Iterator[int | None]:
        """Yield times of key frames from which decoding may reach a frame, the best first; None is the beginning."""
        scan = self._scan
        if index < len(scan.times):
            before = scan.keys[: np.searchsorted(scan.keys, scan.times[index], side="right")]
            yield from (int(key) for key in before[:-3:-1] if key > scan.times[0])
        if index < (scan.n_frames or index + 1):
            yield None

    def _numbered(self, key: int | None) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield decoded frames with their indices, in order: by several threads, by one from where damage shows."""
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
        """Decode from a key frame on.

        Args:
            key: Time of the key frame; None begins at the beginning.
            careful: False: fast, raises FFmpegError at damage, possibly some frames late. True: continues at the next
                key frame after damage, because the frames between are built upon the damaged picture.
        """
        times, count = self._scan.times, -1
        with opened(self.path) as (container, stream):
            decoder = stream.codec_context
            decoder.thread_type = "NONE" if careful else "AUTO"
            if key is not None:
                container.seek(key, stream=stream)
            lost, since = False, self.first if key is None else key
            counted = len(times) == 0  # frames are numbered by counting
            even, adrift = self.fields, False
            for packet in packets_of(container, stream, careful):
                if lost and not packet.is_keyframe:
                    continue
                if lost:
                    lost, since = False, packet.pts
                pictures: list[av.VideoFrame] = []
                ends = not packet.size
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
                    adrift = adrift or (counted and count >= 0)
                    if adrift:
                        pictures = []
                if ends and counted and self._scan.cut:
                    return  # Those left in the decoder may be shown after some that the file lacks.
                for picture in pictures:
                    count += 1
                    by_time = self._number(picture) if counted and even else None
                    if adrift:
                        # How many were lost is only known if the frames before it were evenly spaced.
                        if by_time is None:
                            return
                        count, adrift = by_time, False
                    even = even and by_time == count
                    index = count
                    if len(times):
                        # Those before the key frame lean on pictures that were not decoded.
                        if picture.pts is None or (since is not None and picture.pts < since):
                            continue
                        index = int(np.searchsorted(times, picture.pts))
                        if index == len(times) or times[index] != picture.pts:
                            continue
                        if len(self._scan.unsure) and self._scan.unsure[index]:
                            continue
                    if not picture.is_corrupt:
                        yield index, picture
                    elif not careful:
                        raise av.InvalidDataError(0, "damaged picture")

    def _number(self, picture: av.VideoFrame) -> int | None:
        """Return the number of a frame of an evenly spaced film, by its time."""
        if picture.pts is None or self.first is None or self._scan.rate is None:
            return None
        return round((picture.pts - self.first) * self._scan.tick * self._scan.rate)

    def _pixels(self, raw: _Undeveloped, grey: bool) -> Pixels:
        developer, stored = raw
        layout = self.layout
        by_luma = grey and stored.format.name.startswith("yuv") and stored.colorspace in _LUMA_OF_GREY
        if by_luma and layout in _GREY_LAYOUT:
            layout = _GREY_LAYOUT[layout]
        pixels: Pixels
        if layout == "gray" and stored.format.name in _LUMA_OF_ONE_BYTE:
            luma: Any = stored.planes[0]
            rows = np.frombuffer(luma, np.uint8).reshape(-1, luma.line_size)[: stored.height, : stored.width]
            levels = _grey_of_luma(stored.format.name, int(stored.color_range), int(stored.colorspace))
            pixels = np.asarray(cv2.LUT(rows, levels), np.uint8)
        else:
            picture = developer.reformat(stored, format=layout, **_ONE_THREAD)
            found: Pixels = picture.to_ndarray()  # type: ignore[assignment]
            # The array is a window on the picture: never on one that the decoder builds later ones upon.
            pixels = found.copy() if picture is stored else np.ascontiguousarray(found)
        if layout.startswith("rgba"):
            pixels = on_black(pixels)
        if grey and pixels.ndim == 3:
            pixels = grey_of(pixels)
        pixels = upright(pixels, self.turn)
        if pixels.shape[:2] != (self.height, self.width):
            raise sizes_differ(self.name, (self.height, self.width), pixels.shape[:2], "its first frame", "a later one")
        return pixels


_GREY_LAYOUT: Final = {"rgb24": "gray", "rgb48le": "gray16le"}

_LUMA_OF_GREY: Final = (2, 5, 6)
"""FFmpeg's colour spaces with the weights 0.299, 0.587, 0.114: not said, BT.470 BG, SMPTE 170M."""


_LUMA_OF_ONE_BYTE: Final = ("yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p")


@cache
def _grey_of_luma(form: str, colour_range: int, colour_space: int) -> NDArray[np.uint8]:
    """Return the grey level that FFmpeg makes of each of 256 levels of luma, by letting it convert them all.

    Looking levels up takes a third of the time of its conversion, which computes each pixel anew.
    """
    ramp = av.VideoFrame(256, 16, form)
    for number, plane in enumerate(ramp.planes):
        levels = np.full((plane.height, plane.line_size), 128, np.uint8)
        if number == 0:
            levels[:, :256] = np.arange(256)
        plane.update(levels.tobytes())
    ramp.color_range, ramp.colorspace = colour_range, colour_space
    return np.ascontiguousarray(VideoReformatter().reformat(ramp, format="gray", **_ONE_THREAD).to_ndarray()[0])


def open_film(path: Path, fps: float | None) -> Video:
    """Open a video file, reading its header and its first frame."""
    problem = "no frame could be decoded"
    try:
        with opened(path) as (container, stream):
            stream.codec_context.thread_type = "NONE"
            for packet in packets_of(container, stream, careful=False):
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
        "a complete video file (mp4, avi, mkv, mov, webm, ...), a GIF, a picture or a folder of pictures.",
        "copy or export the file again, or play it to see whether it is complete.",
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
