"""What every kind of video shares: its frames, and what pixels mean."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.io.opencv import cv2

Pixels = NDArray[np.uint8 | np.uint16]

READ_LIMIT: Final = 2 << 30
"""Most bytes that `Video.read` returns at once."""

ENOUGH_FPS: Final = 60.0
"""A micro-expression lasts 1/25 to 1/2 second: below this rate the shortest ones have hardly a frame but the apex."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a video.

    Attributes:
        index: Its number, from 0.
        time: Seconds on the clock of the file, as players show it (see `Video.time_of`); NaN if it is not known.
        pixels: (H, W) grey or (H, W, 3) RGB; uint8 0..255 or uint16 0..65535.

    Example:
        >>> frame = mien.open_video("face.mkv").frame(3)
        >>> frame.index, frame.time, frame.pixels.shape
        (3, 0.03, (96, 96, 3))
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

    Example:
        >>> video = mien.open_video("face.mkv")
        >>> video.n_frames, video.fps, video.height, video.width
        (14, 100.0, 96, 96)
        >>> [frame.index for frame in video.frames(step=5)]
        [0, 5, 10]
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
        """Mean frames per second: as given on opening, otherwise from the timestamps; None if unknown."""

    @property
    def own_fps(self) -> float | None:
        """Mean frames per second at which players show the video, whatever rate was given on opening."""
        return self.fps

    @property
    @abstractmethod
    def n_frames(self) -> int | None:
        """Number of frames, known without decoding; None if it cannot be known. A damaged video yields fewer."""

    @property
    def variable_rate(self) -> bool | None:
        """Whether the time between frames varies; None if that is not known."""
        return None if self.fps is None else False

    def time_of(self, index: int) -> float:
        """Return the time of a frame on the clock of the file, as players show it, without decoding.

        A player's clock starts with the earliest stream. A picture that starts after the sound therefore does not start
        at 0. Pictures and GIFs start at 0, and so do files without timestamps, whose frames are evenly spaced.

        Args:
            index: Number of the frame, from 0.

        Returns:
            Seconds, as ffprobe's `pts_time` less `format.start_time`; NaN if neither timestamps nor a frame rate are
            known, and for cameras, whose frames get their times when they arrive.

        Example:
            >>> from mien.io.video import open_video
            >>> open_video("face.mkv").time_of(13)
            0.13
        """
        return index / self.fps if self.fps else math.nan

    @abstractmethod
    def _raw(self, start: int, stop: int | None, step: int) -> Generator[tuple[int, float, Any]]:
        """Yield index, time and stored picture of (at least) the requested frames, in order."""

    @abstractmethod
    def _pixels(self, raw: Any, grey: bool) -> Pixels | None:
        """Return the finished picture; None if it cannot be read."""

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1, *, grey: bool = False) -> Iterator[Frame]:
        """Yield the frames in order, one at a time in memory. Frames that cannot be decoded are left out and noted.

        The notes are in `problems`. After a damaged frame, the frames up to the next key frame are left out, because
        they are built upon it, and so are one or two before it that may wait in the decoder. Frames whose number is not
        known are left out as well: the last ones of a file that was cut, if others that it lacks are shown before them,
        and, in files without timestamps, all frames after a damaged one. Damage that the decoder does not notice stays:
        a few flipped bits, and in FFV1 a broken slice, which shows the one before.

        Args:
            start: Index of the first frame.
            stop: Index after the last; None goes to the end (a camera has none).
            step: Yield every `step`-th frame.
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
        """Return one frame, the same one that `frames` yields with this index.

        Raises:
            MienError: There is no such frame, or it is damaged.
        """
        for frame in self.frames(index, index + 1, grey=grey):
            return frame
        n = self.n_frames
        known = "an unknown number of frames" if n is None else f"{n} frames, 0 to {n - 1}"
        raise MienError(
            f"Frame {index} of {self.name!r}{self._place(index)} cannot be read.",
            f"a complete frame of this video; it has {known}.",
            "another frame, or `Video.problems` for what is damaged.",
        )

    def _place(self, index: int) -> str:
        """Return where a frame is stored, if it has a file of its own."""
        return ""

    def read(self, start: int = 0, stop: int | None = None, *, grey: bool = False) -> Pixels:
        """Return frames as one array (T, H, W) or (T, H, W, 3); damaged ones are left out and noted in `problems`.

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


def natural_order(text: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key under which img2 comes before img10.

    Args:
        text: A file name.

    Returns:
        Numbers and texts in turn, which compare as their reader would.

    Example:
        >>> sorted(["img10.png", "img2.png"], key=natural_order)
        ['img2.png', 'img10.png']
    """
    parts = re.split(r"(\d+)", text)
    return tuple((int(part), "") if odd % 2 else (-1, part.lower()) for odd, part in enumerate(parts))


def frame_rate_warning(fps: float | None) -> str | None:
    """Return what the reader of results must know about a frame rate.

    Args:
        fps: Frames per second; None if they are not known.

    Returns:
        A sentence; None if the rate is high enough for micro-expressions.

    Example:
        >>> frame_rate_warning(200) is None
        True
        >>> frame_rate_warning(25)
        '25 frames per second are few: a micro-expression lasts 1/25 to 1/2 s, here 1.0 to 12 frames; ...'

    Source: micro-expressions last 1/25 to 1/2 second (Yan et al., Journal of Nonverbal Behavior, 2013).
    """
    if fps is None or not math.isfinite(fps):
        return (
            f"The frame rate is not known: durations are unknown, and micro-expressions need at least "
            f"{ENOUGH_FPS:g} frames per second. Give it with `--fps`."
        )
    if fps < ENOUGH_FPS - 0.5:  # television's 59.94 are 60
        return (
            f"{fps:.4g} frames per second are few: a micro-expression lasts 1/25 to 1/2 s, here {fps / 25:.1f} to "
            f"{fps / 2:.0f} frames; record at {ENOUGH_FPS:g} or more, better 200."
        )
    return None


def to_uint8(pixels: NDArray[Any], depth: int = 16) -> NDArray[np.uint8]:
    """Return grey or colour levels as 8 bits, by a rule that is the same for every frame.

    Args:
        pixels: Any shape; uint8 is returned as it is, uint16 is divided by (2^depth - 1) / 255 and rounded.
        depth: Bits really used by uint16 levels. Frames of a `Video` use all 16; say 12 for a file that holds the raw
            0..4095 of a 12-bit camera. Levels above become white.

    Returns:
        Levels 0..255, of the shape of `pixels`.

    Raises:
        MienError: Neither uint8 nor uint16, or a depth outside 8..16.

    Example:
        >>> to_uint8(np.array([0, 2048, 4095, 5000], np.uint16), depth=12).tolist()
        [0, 128, 255, 255]
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


def on_black(pixels: NDArray[Any]) -> Pixels:
    """RGBA laid on black, as RGB."""
    largest = np.iinfo(pixels.dtype).max
    alpha = pixels[..., 3:].astype(np.uint32)
    return np.asarray((pixels[..., :3] * alpha + largest // 2) // largest, pixels.dtype)


def grey_of(pixels: Pixels) -> Pixels:
    """Grey levels (H, W) of RGB (H, W, 3), by the weights of ITU-R BT.601."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))


def upright(pixels: Pixels, turn: tuple[int, int, int, int]) -> Pixels:
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


def sizes_differ(name: str, size: tuple[int, ...], other: tuple[int, ...], first: str, later: str) -> MienError:
    """The error of a film whose frames differ in size.

    Args:
        name: Of the film.
        size: (H, W) of its first frame.
        other: (H, W) of a later one.
        first: What to call the first frame.
        later: What to call the later one.
    """
    return MienError(
        f"In {name!r}, {later} is {other[1]}x{other[0]} pixels, {first} is {size[1]}x{size[0]}.",
        "frames of one size.",
        "one film per folder, or cutting the frames to one size.",
    )
