"""Steps: pure functions of one clip's array and its context.

A step never sees two clips, so no statistic can pass from a test clip to a training clip here; whatever needs many
clips belongs to the classifier. Steps that read pixels come first in a recipe and ignore the array they are given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets.flow_images import read_flow_picture
from mien.errors import MienError
from mien.io.video import Video, frame_rate_warning, frames_video, open_video, to_uint8
from mien.motion.apex import find_apex
from mien.motion.flow import CLASSIC, optical_flow
from mien.motion.strain import optical_strain
from mien.preprocessing.base import Array, Context
from mien.types import Clip

MOST_FRAMES = 2000
"""Frames that a step may hold at once: ten seconds at 200 per second, far beyond any micro-expression."""

Transform = Literal["lwm", "crop", "none"]


def clip_video(clip: Clip) -> Video:
    """The frames of a clip, nothing decoded yet."""
    if clip.video is not None:
        return open_video(clip.video, fps=clip.fps)
    return frames_video(clip.frames, clip.fps, clip.name)


def clip_rows(clip: Clip, n_frames: int) -> tuple[int, int | None, int]:
    """Onset, apex and the end of a clip as indices into its frames; the end is one past the offset.

    An apex that is not annotated, or that falls on the onset, is None. A clip without an interval is taken whole.

    Raises:
        MienError: Fewer than two frames.
    """
    if n_frames < 2:
        raise MienError(
            f"{clip.key} has {n_frames} frame(s).",
            "at least two, the onset and a later one.",
            f"`mien check {clip.dataset}=FOLDER` to see which clips lack frames, or a longer video.",
        )
    if clip.interval is None:
        return 0, None, n_frames

    def position(frame_no: int) -> int:
        if not clip.frame_nos:
            return min(max(frame_no, 0), n_frames - 1)
        return int(np.argmin(np.abs(np.asarray(clip.frame_nos) - frame_no)))

    onset = min(position(clip.interval.onset), n_frames - 2)
    stop = max(position(clip.interval.offset), onset + 1) + 1
    apex = None if clip.interval.apex is None else position(clip.interval.apex)
    return onset, None if apex is None or apex <= onset else min(apex, n_frames - 1), stop


def count_frames(video: Video) -> int:
    """How many frames a video has; decodes it where only that can tell."""
    return video.n_frames if video.n_frames is not None else sum(1 for _ in video.frames())


def as_grey(pixels: Array) -> NDArray[np.uint8]:
    """A frame (H, W) or (H, W, 3) as 8-bit grey levels."""
    pixels = to_uint8(pixels)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels)


def as_colour(pixels: Array) -> NDArray[np.uint8]:
    """A frame (H, W) or (H, W, 3) as 8-bit RGB; grey frames get three equal channels."""
    pixels = to_uint8(pixels)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else pixels)


# Reading


def onset_apex_pair(_: Array, context: Context) -> Array:
    """Step: the onset and the apex frame as grey pictures (2, H, W); an apex that is not given is found."""
    clip, video = context.clip, clip_video(context.clip)
    onset, apex, stop = clip_rows(clip, count_frames(video))
    if apex is None:
        context.interval_source = "detected"
        # Kept small: only the spread of the difference matters, and long clips must not fill the memory.
        small = [
            cv2.resize(as_grey(frame.pixels), (64, 64), interpolation=cv2.INTER_AREA)
            for frame in video.frames(onset, stop)
        ]
        apex = onset + find_apex(np.stack(small).astype(np.uint8))
    first, second = (as_grey(video.frame(row).pixels) for row in (onset, apex))
    context.rows, context.apex = (onset, apex), 1
    return np.stack([first, second])


class ClipFrames:
    """The colour frames of a step's clip from onset to offset, read one by one as often as asked.

    Notes that the interval was not given and that the rate is low go into the context.

    Args:
        context: Of the step.

    Attributes:
        video: Where they are.
        onset, apex, stop: Rows, as `clip_rows` gives them.
        seen: Rows of the frames that the last reading gave.

    Raises:
        MienError: More frames than may be held.
    """

    def __init__(self, context: Context) -> None:
        clip = context.clip
        self.video = clip_video(clip)
        self.onset, self.apex, self.stop = clip_rows(clip, count_frames(self.video))
        if self.stop - self.onset > MOST_FRAMES:
            raise MienError(
                f"{clip.key} has {self.stop - self.onset} frames from onset to offset.",
                f"at most {MOST_FRAMES}; a micro-expression lasts less than half a second.",
                "`--interval ONSET:OFFSET`, or `mien magnify` for a long video.",
            )
        self.seen: list[int] = []
        if clip.interval is None:
            context.interval_source = "detected"  # nobody said where the movement begins: the first frame is taken
        warning = frame_rate_warning(self.video.fps)
        if warning:
            context.notes.append(warning)

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """(H, W, 3) RGB, in time order."""
        self.seen.clear()
        for frame in self.video.frames(self.onset, self.stop):
            self.seen.append(frame.index)
            yield as_colour(frame.pixels)


def aligned_face(
    _: Array,
    context: Context,
    *,
    size: tuple[int, int] | list[int] = (300, 245),
    transform: Transform = "lwm",
    per_frame: bool = False,
    landmarker: str = "mesh",
) -> Array:
    """Step: the face from onset to offset, cropped, aligned and of one size: (T, height, width, 3) RGB, 0..255.

    Two passes over the clip, so that full frames are never held together: one for the landmarks, one for the pixels.

    Args:
        size: Height and width of the result.
        transform: "lwm": local weighted mean from the first frame's landmarks to the reference face; "crop": the
            rectangle of equation 1 alone; "none": the whole frame made this size, for cropped faces.
        per_frame: A transform for every frame instead of one for the clip: landmark jitter then looks like motion.
        landmarker: Which landmarks (`mien.face.landmarks.LANDMARKERS`).

    Source: STRCN (Xia et al. 2020), section III-B, equations 1 and 2.
    """
    clip, read = context.clip, ClipFrames(context)
    frames, seen, apex = read.frames, read.seen, read.apex
    height, width = size
    pictures: Iterator[Array]
    if transform == "none":
        pictures = (cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA) for f in frames())
    else:
        from mien.face.align import align_clip
        from mien.face.crop import crop_clip
        from mien.face.landmarks import track_face

        context.track = track = track_face(frames(), landmarker=landmarker)
        context.notes.extend(track.notes)
        make = align_clip if transform == "lwm" else crop_clip
        pictures = make(frames(), track, size=(height, width), per_frame=per_frame)
    result = np.empty((read.stop - read.onset, height, width, 3), np.uint8)
    for place, picture in enumerate(pictures):
        result[place] = picture
    context.notes.extend(read.video.problems)
    if len(seen) < 2:
        raise MienError(
            f"Only {len(seen)} frame(s) of {clip.key} can be read.", "at least two.", "`mien check`, or another copy."
        )
    context.rows = tuple(seen)
    if apex is not None:
        # A damaged frame is missing from the rows: the nearest one that is there stands for it.
        context.apex = max(1, int(np.argmin(np.abs(np.asarray(seen) - apex))))
    return result[: len(seen)]


# Time


def magnify(frames: Array, context: Context, *, alpha: float, r1: float, r2: float, wavelength: float) -> Array:
    """Step: motion of a clip (T, H, W[, 3]) made larger by Eulerian magnification (STRCN, equation 3)."""
    from mien.motion.magnify import magnify as magnified

    return magnified(frames, alpha, r1=r1, r2=r2, wavelength=wavelength)


def apex_and_onset(frames: Array, context: Context, *, apex: Literal["given", "found"] = "given") -> Array:
    """Step: the first frame and the apex of a clip (T, ...), as (2, ...).

    Args:
        apex: "given" takes the annotated apex where there is one; "found" always looks for it (STRCN, equation 5).
    """
    row = context.apex
    if row is None or apex == "found":
        context.interval_source = "detected"
        row = find_apex(frames)
    if context.rows is not None:
        context.rows = (context.rows[0], context.rows[row])
    context.apex = 1
    return np.asarray(frames[[0, row]])


def to_length(frames: Array, context: Context, *, n: int, method: str) -> Array:
    """Step: a clip (T, ...) brought to n frames, by "tim", "linear", "nearest" or "cubic" interpolation over time."""
    from mien.motion.interpolate import resample, tim

    full = frames.astype(np.float32)
    context.rows = context.apex = None
    result = tim(full, n) if method == "tim" else resample(full, n, method)
    return np.asarray(np.clip(result, 0, 255), np.float32)


def pool_by_rank(frames: Array, context: Context) -> Array:
    """Step: a clip (T, ...) as one dynamic image, by approximate rank pooling."""
    from mien.motion.rank_pooling import dynamic_image

    context.rows = context.apex = None
    return dynamic_image(frames)


# Space


def resize(frames: Array, context: Context, *, size: tuple[int, int] | list[int]) -> Array:
    """Step: pictures (T, H, W[, C]) made (T, height, width[, C]); areas are averaged when they shrink."""
    height, width = size
    shrinks = height <= frames.shape[1] and width <= frames.shape[2]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, (width, height), interpolation=how) for frame in frames])


def shrink(pair: Array, context: Context, *, longest: int) -> Array:
    """Step: pictures (T, H, W) made smaller until the longer side has `longest` pixels; never larger."""
    height, width = pair.shape[1:3]
    factor = longest / max(height, width)
    if factor >= 1:
        return pair
    return resize(pair, context, size=(max(1, round(height * factor)), max(1, round(width * factor))))


def grey(frames: Array, context: Context) -> Array:
    """Step: RGB pictures (T, H, W, 3) as grey levels (T, H, W)."""
    return np.stack([as_grey(frame) for frame in frames])


# Motion


def flow_of_pair(pair: Array, context: Context, *, method: str) -> Array:
    """Step: optical flow (H, W, 2), in pixels, from the first picture of a pair to the second."""
    if pair.ndim == 4:
        if method in CLASSIC:  # these look at colour too
            from mien.motion.classic_nl import classic_nl

            return classic_nl(pair[0], pair[1], **CLASSIC[method])
        pair = grey(pair, context)
    return optical_flow(pair[0], pair[1], method)


def flow_and_strain(flow: Array, context: Context, *, size: int) -> Array:
    """Step: (3, size, size) of u, v and optical strain; strain is taken before the picture is made small."""
    full = np.dstack([flow, optical_strain(flow, "small")])
    return np.asarray(cv2.resize(full, (size, size), interpolation=cv2.INTER_AREA)).transpose(2, 0, 1)


def channels_first(picture: Array, context: Context) -> Array:
    """Step: (H, W, C) as (C, H, W)."""
    return np.ascontiguousarray(np.moveaxis(picture, -1, 0))


# Scale


def scale_each_channel(channels: Array, context: Context) -> Array:
    """Step: each channel of (C, H, W) stretched to 0..255 on its own; a constant channel becomes 127.5.

    This is what the community's ready-made pictures do. It removes the amplitude of the motion.
    """
    low = channels.min((1, 2), keepdims=True)
    span = channels.max((1, 2), keepdims=True) - low
    return np.where(span > 0, 255.0 * (channels - low) / np.where(span > 0, span, 1.0), 127.5).astype(np.float32)


def flow_picture(_: Array, context: Context) -> Array:
    """Step: a ready flow picture as (3, H, W) of u, v and optical strain, 0..255."""
    return read_flow_picture(context.clip.frames[0]).transpose(2, 0, 1)


def centre_and_scale(channels: Array, context: Context) -> Array:
    """Step: (3, H, W) of u, v and strain, 0..255, about zero and of unit root mean square.

    A picture stretched to 0..255 has lost where zero motion lies. Most of a face hardly moves, so the median of u and
    of v is that zero: without it the same movement looks different from clip to clip. Strain has no sign and is taken
    about the middle of its range. Each channel is then divided by its root mean square; a constant one becomes 0.
    """
    motion = channels.astype(np.float32)
    zero = np.append(np.median(motion[:2], axis=(1, 2)), 127.5).astype(np.float32)
    motion -= zero[:, None, None]
    size = np.sqrt(np.mean(motion**2, axis=(1, 2), keepdims=True))
    still = np.ptp(motion, axis=(1, 2), keepdims=True) == 0
    return np.where(still, 0, motion / np.where(size > 0, size, 1)).astype(np.float32)
