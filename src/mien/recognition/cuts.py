"""Frames of an interval, cropped to one face and scaled down where it is large."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.face.crop import crop_box
from mien.io.video import Video, to_uint8
from mien.preprocessing.steps import MOST_FRAMES
from mien.recognition.records import Place

Picture = NDArray[np.uint8]

_WIDE: Final = (1.2, 1.6, 4.4, 3.4)  # margins of the crop in which the face is found again; see `crop_box`
_LARGEST_EYES = 160.0  # pixels between the eyes; larger faces are scaled down before anything is computed


@dataclass(frozen=True, slots=True)
class Candidate:
    """An interval whose class is to be predicted, in frames of the video.

    Attributes:
        onset: First frame.
        apex: Frame of the largest change; None has it searched.
        offset: Last frame (included).
        score: Score of the spotter; None if the user gave the interval.
    """

    onset: int
    apex: int | None
    offset: int
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """Frames of one interval, cropped to one face.

    Attributes:
        index: Numbers of the frames, ascending.
        seconds: Times of the frames.
        frames: (T, H, W[, 3]), 8 bits.
        corner: Column and row of the video at the upper left corner of the crop.
        scale: Pixels of the video per pixel of the crop.
    """

    index: tuple[int, ...]
    seconds: tuple[float, ...]
    frames: Sequence[Picture]
    corner: tuple[int, int]
    scale: float


def cut_out(video: Video, first: int, last: int, eyes: tuple[float, ...], *, ends_only: bool = False) -> Cut:
    """Read the frames from `first` to `last`, cropped to one face.

    Args:
        video: The video.
        first: Index of the first frame.
        last: Index of the last frame (included).
        eyes: x and y of both eyes in some frame close by, in pixels of the video.
        ends_only: Keep only the first and the last of these frames.

    Raises:
        MienError: More frames than `MOST_FRAMES`, or fewer than two that can be read.
    """
    if last - first + 1 > MOST_FRAMES and not ends_only:
        raise MienError(
            f"The interval {first}:{last} has {last - first + 1} frames.",
            f"at most {MOST_FRAMES}; a micro-expression lasts less than half a second.",
            "a shorter `--interval`, or no `--interval` to have the expressions found.",
        )
    points = np.array(eyes, np.float64).reshape(2, 2)
    box = crop_box(points, _WIDE)
    x0, y0 = max(0, math.floor(box.x)), max(0, math.floor(box.y))
    x1, y1 = min(video.width, math.ceil(box.x + box.width)), min(video.height, math.ceil(box.y + box.height))
    factor = max(1.0, math.dist(points[0], points[1]) / _LARGEST_EYES)
    size = max(2, round((x1 - x0) / factor)), max(2, round((y1 - y0) / factor))
    index, seconds, frames = [], [], []
    for frame in video.frames(first, last + 1, max(1, last - first) if ends_only else 1):
        part = to_uint8(frame.pixels[y0:y1, x0:x1])
        shrunk = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA)) if factor > 1 else part.copy()
        index.append(frame.index)
        seconds.append(frame.time)
        frames.append(shrunk)
    if len(frames) < 2:
        raise MienError(
            f"Only {len(frames)} of the frames {first} to {last} can be read.", "at least two.", "another interval."
        )
    return Cut(tuple(index), tuple(seconds), frames, (x0, y0), factor)


def eyes_at(places: Sequence[Place], index: int) -> tuple[float, float, float, float] | None:
    """Return where the eyes were in a frame, or None if the face was out of view.

    Args:
        places: Where the face was, in the order of the frames.
        index: Number of the frame.

    Returns:
        x and y of the image-left eye, then of the other, in pixels.

    Example:
        >>> from mien.recognition.records import Place
        >>> eyes_at([Place(4, (10.0, 20.0, 30.0, 20.0)), Place(9, None)], 7)
        (10.0, 20.0, 30.0, 20.0)
    """
    at = bisect_right([place.index for place in places], index) - 1
    return places[at].eyes if at >= 0 else None


def row_of(cut: Cut, apex: int | None) -> int | None:
    """Return the row of a cut that is nearest to the apex, never the first row; None if the apex is not known."""
    if apex is None:
        return None
    return max(1, int(np.argmin(np.abs(np.asarray(cut.index) - apex))))
