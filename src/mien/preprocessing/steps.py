"""Steps: functions of the array of one clip and its context.

A step never sees two clips, so no statistic can leak from a test clip to a training clip. Whatever needs many clips
belongs to the classifier. Steps that read frames come first in a recipe and ignore the array they are given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.io.opencv import cv2
from mien.io.video import Video, frame_rate_warning, frames_video, open_video, to_uint8
from mien.motion.apex import find_apex
from mien.motion.flow import CLASSIC, optical_flow
from mien.motion.strain import optical_strain
from mien.preprocessing.base import Array, Context
from mien.types import Clip

MOST_FRAMES = 2000
"""Maximum number of frames of a clip: ten seconds at 200 frames per second, far more than any micro-expression."""

_LOOKS = 8
"""Least number of frames of a clip in which landmarks are searched where only those of the first are used."""

Transform = Literal["lwm", "crop", "none"]


def clip_video(clip: Clip) -> Video:
    """Open the frames of a clip, without decoding any."""
    if clip.video is not None:
        return open_video(clip.video, fps=clip.fps)
    return frames_video(clip.frames, clip.fps, clip.name)


def clip_rows(clip: Clip, n_frames: int) -> tuple[int, int | None, int]:
    """Return onset, apex and end of a clip as indices of its frames. The end is one past the offset.

    The apex is None if it is not annotated or equals the onset. A clip without an interval is used whole.

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
    """Return the number of frames of a video. If its file does not state it, the video is decoded."""
    return video.n_frames if video.n_frames is not None else sum(1 for _ in video.frames())


def as_grey(pixels: Array) -> NDArray[np.uint8]:
    """Convert a frame (H, W) or (H, W, 3) to 8-bit grey levels (H, W)."""
    pixels = to_uint8(pixels)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels)


def as_colour(pixels: Array) -> NDArray[np.uint8]:
    """Convert a frame (H, W) or (H, W, 3) to 8-bit RGB (H, W, 3); grey frames get three equal channels."""
    pixels = to_uint8(pixels)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else pixels)


# Reading


def onset_apex_pair(_: Array, context: Context) -> Array:
    """Step: read the onset and apex frames as grey pictures (2, H, W). An apex that is not annotated is detected."""
    clip, video = context.clip, clip_video(context.clip)
    onset, apex, stop = clip_rows(clip, count_frames(video))
    if apex is None:
        context.interval_source = "detected"
        # The apex is detected in small frames, so that long clips fit into memory.
        small = [
            cv2.resize(as_grey(frame.pixels), (64, 64), interpolation=cv2.INTER_AREA)
            for frame in video.frames(onset, stop)
        ]
        apex = onset + find_apex(np.stack(small).astype(np.uint8))
    first, second = (as_grey(video.frame(row).pixels) for row in (onset, apex))
    context.rows, context.apex = (onset, apex), 1
    context.use_interval(onset, apex, stop - 1)
    return np.stack([first, second])


class ClipFrames:
    """The colour frames of a clip from onset to offset, read one at a time, as often as needed.

    Records in the context that the interval was not annotated, and that the frame rate is low.

    Args:
        context: The context of the step.

    Attributes:
        video: The video that holds the frames.
        onset: Index of the first frame, from `clip_rows`.
        apex: Index of the apex, or None.
        stop: One past the index of the last frame.
        seen: Indices of the frames returned by the last call of `frames`.

    Raises:
        MienError: More than `MOST_FRAMES` frames.
    """

    def __init__(self, context: Context) -> None:
        self.clip = clip = context.clip
        self.video = clip_video(clip)
        self.onset, self.apex, self.stop = clip_rows(clip, count_frames(self.video))
        if self.stop - self.onset > MOST_FRAMES:
            raise MienError(
                f"{clip.key} has {self.stop - self.onset} frames from onset to offset.",
                f"at most {MOST_FRAMES}; a micro-expression lasts less than half a second.",
                "`--interval ONSET:OFFSET`, or `mien magnify` for a long video.",
            )
        context.use_interval(self.onset, self.apex, self.stop - 1)
        self.seen: list[int] = []
        if clip.interval is None:
            context.interval_source = "detected"  # without an annotation, the first frame is taken as the onset
        warning = frame_rate_warning(self.video.fps)
        if warning:
            context.notes.append(warning)

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames (H, W, 3), RGB, in order of time."""
        self.seen.clear()
        for frame in self.video.frames(self.onset, self.stop):
            self.seen.append(frame.index)
            yield as_colour(frame.pixels)

    def some_frames(self) -> list[NDArray[np.uint8]]:
        """Return the first frame and seven others or more, evenly spaced; none where one is damaged or the clip short.

        They are enough to see whether the face stays, where its place in the first frame is all that is needed.
        """
        step = (self.stop - self.onset) // _LOOKS
        if step < 2:
            return []
        found = list(clip_video(self.clip).frames(self.onset, self.stop, step))
        complete = [frame.index for frame in found] == list(range(self.onset, self.stop, step))
        return [as_colour(frame.pixels) for frame in found] if complete else []


def aligned_face(
    _: Array,
    context: Context,
    *,
    size: tuple[int, int] | list[int] = (300, 245),
    transform: Transform = "lwm",
    per_frame: bool = False,
    landmarker: str = "mesh",
) -> Array:
    """Step: read the face from onset to offset, cropped and aligned.

    The clip is read twice, once for the landmarks and once for the pixels, so that full frames are not kept in memory.
    With one transform for the clip, landmarks are searched in eight frames or a few more, evenly spaced; in all of them
    if the face is missing in one of these.

    Args:
        _: Ignored.
        context: The context of the step.
        size: Height and width of the result.
        transform: "lwm": warp the face to the reference face by a local weighted mean of the first frame's landmarks.
            "crop": only cut out the rectangle of equation 1. "none": resize the whole frame, for faces that are already
            cropped.
        per_frame: Whether to compute a transform for every frame instead of one for the clip. Landmark jitter then
            looks like motion.
        landmarker: A name in `mien.face.landmarks.LANDMARKERS`.

    Returns:
        (T, height, width, 3) RGB, uint8.

    Raises:
        MienError: No face, too many frames, or fewer than two that can be read.

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

        track = None
        with suppress(MienError):  # no face there: they are all looked at below
            if some := [] if per_frame else read.some_frames():
                track = track_face(some, landmarker=landmarker, count_faces=False)
        if track is None or not track.found.all():
            track = track_face(frames(), landmarker=landmarker, count_faces=False)
        context.track = track
        context.notes.extend(track.notes)
        cut_out = align_clip if transform == "lwm" else crop_clip
        pictures = cut_out(frames(), track, size=(height, width), per_frame=per_frame)
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
        # Damaged frames are missing. If the apex is one of them, the nearest frame is used.
        context.apex = max(1, int(np.argmin(np.abs(np.asarray(seen) - apex))))
    return result[: len(seen)]


# Time


def magnify(
    frames: Array,
    context: Context,
    *,
    alpha: float,
    r1: float,
    r2: float,
    wavelength: float,
    exaggeration: float = 2.0,
    hertz: bool = False,
) -> Array:
    """Step: magnify the movements of a clip (T, H, W) or (T, H, W, 3) (STRCN, equation 3).

    Args:
        frames: (T, H, W) or (T, H, W, 3).
        context: The context of the step.
        alpha, wavelength, exaggeration: See `mien.motion.magnify.magnify`.
        r1, r2: See there; with `hertz`, the upper and the lower end of the band in hertz.
        hertz: Whether r1 and r2 are hertz; the clip then needs its frame rate.

    Raises:
        MienError: As `mien.motion.magnify.magnify`, or `hertz` without a frame rate.
    """
    from mien.motion.magnify import magnify as magnify_clip

    r1, r2 = band(context, r1, r2, hertz)
    return magnify_clip(frames, alpha, r1=r1, r2=r2, wavelength=wavelength, exaggeration=exaggeration)


def band(context: Context, r1: float, r2: float, hertz: bool) -> tuple[float, float]:
    """Return the coefficients of the magnified band, at the frame rate of a clip where r1 and r2 are hertz.

    Raises:
        MienError: Hertz without a frame rate, or a band that is not possible at it.
    """
    if not hertz:
        return r1, r2
    from mien.motion.magnify import coefficients

    fps = context.clip.fps or clip_video(context.clip).fps
    if not fps:
        raise MienError(
            f"{context.clip.key} has no frame rate.",
            "one, for a band in hertz.",
            "`--fps 200`, or `--set hertz=false`.",
        )
    return coefficients(r2, r1, fps)


def apex_and_onset(frames: Array, context: Context, *, apex: Literal["given", "found"] = "given") -> Array:
    """Step: select the first frame and the apex of a clip (T, ...), as (2, ...).

    Args:
        frames: (T, ...).
        context: The context of the step.
        apex: "given" uses the annotated apex if there is one; "found" always detects it (STRCN, equation 5).
    """
    row = context.apex
    if row is None or apex == "found":
        context.interval_source = "detected"
        row = find_apex(frames)
    if context.rows is not None:
        context.use_apex(row)
        context.rows = (context.rows[0], context.rows[row])
    context.apex = 1
    return np.asarray(frames[[0, row]])


def to_length(frames: Array, context: Context, *, n: int, method: str) -> Array:
    """Step: bring a clip (T, ...) to n frames by "tim", "linear", "nearest" or "cubic" interpolation over time."""
    from mien.motion.interpolate import resample, tim

    full = frames.astype(np.float32)
    context.rows = context.apex = None
    result = tim(full, n) if method == "tim" else resample(full, n, method)
    return np.asarray(np.clip(result, 0, 255), np.float32)


def pool_by_rank(frames: Array, context: Context) -> Array:
    """Step: compute the dynamic image (...) of a clip (T, ...) by approximate rank pooling."""
    from mien.motion.rank_pooling import dynamic_image

    context.rows = context.apex = None
    return dynamic_image(frames)


# Space


def resize(frames: Array, context: Context, *, size: tuple[int, int] | list[int]) -> Array:
    """Step: resize frames (T, H, W) or (T, H, W, C). When they get smaller, areas are averaged."""
    height, width = size
    shrinks = height <= frames.shape[1] and width <= frames.shape[2]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, (width, height), interpolation=method) for frame in frames])


def shrink(pair: Array, context: Context, *, longest: int) -> Array:
    """Step: reduce pictures (T, H, W) so that the longer side has at most `longest` pixels."""
    height, width = pair.shape[1:3]
    factor = longest / max(height, width)
    if factor >= 1:
        return pair
    return resize(pair, context, size=(max(1, round(height * factor)), max(1, round(width * factor))))


def grey(frames: Array, context: Context) -> Array:
    """Step: convert RGB frames (T, H, W, 3) to grey levels (T, H, W)."""
    return np.stack([as_grey(frame) for frame in frames])


# Motion


def flow_of_pair(pair: Array, context: Context, *, method: str) -> Array:
    """Step: compute the optical flow (H, W, 2), in pixels, from the first picture of a pair to the second."""
    if pair.ndim == 4:
        if method in CLASSIC:  # these methods use colour
            from mien.motion.classic_nl import classic_nl

            return classic_nl(pair[0], pair[1], **CLASSIC[method])
        pair = grey(pair, context)
    return optical_flow(pair[0], pair[1], method)


def flow_and_strain(flow: Array, context: Context, *, size: int) -> Array:
    """Step: return (3, size, size) of u, v and optical strain. The strain is computed before the flow is reduced."""
    full = np.dstack([flow, optical_strain(flow, "small")])
    return np.asarray(cv2.resize(full, (size, size), interpolation=cv2.INTER_AREA)).transpose(2, 0, 1)


def channels_first(picture: Array, context: Context) -> Array:
    """Step: move the channels of (H, W, C) first, (C, H, W)."""
    return np.ascontiguousarray(np.moveaxis(picture, -1, 0))


# Scale


def scale_each_channel(channels: Array, context: Context) -> Array:
    """Step: stretch each channel of (C, H, W) to 0..255 on its own; a constant channel becomes 127.5.

    Published sets of flow pictures are stored in this way. It removes the amplitude of the motion.
    """
    low = channels.min((1, 2), keepdims=True)
    span = channels.max((1, 2), keepdims=True) - low
    return np.where(span > 0, 255.0 * (channels - low) / np.where(span > 0, span, 1.0), 127.5).astype(np.float32)


def flow_picture(_: Array, context: Context) -> Array:
    """Step: read a ready flow picture as (3, H, W) of u, v and optical strain, 0..255."""
    from mien.datasets.flow_images import read_flow_picture

    return read_flow_picture(context.clip.frames[0]).transpose(2, 0, 1)


def flow_pictures(_: Array, context: Context) -> Array:
    """Step: read every ready flow picture of the clip as (3 k, H, W) of u, v and optical strain each, 0..255."""
    from mien.datasets.flow_images import read_flow_picture

    return np.concatenate([read_flow_picture(path).transpose(2, 0, 1) for path in context.clip.frames])


def ready_features(_: Array, context: Context) -> Array:
    """Step: read the ready features of the clip, (D,)."""
    from mien.datasets.features import features_of

    return features_of(context.clip)


def centre_and_scale(channels: Array, context: Context) -> Array:
    """Step: shift u, v and strain (3, H, W), 0..255, so that zero motion is 0, and scale them to unit root mean square.

    In a picture that was stretched to 0..255, the value of zero motion is lost. Most of a face hardly moves, so the
    median of u and that of v are taken as zero; without this, the same movement would look different from clip to clip.
    Strain has no sign and is centred on the middle of its range, 127.5. Each channel is then divided by its root mean
    square; a constant one becomes 0.
    """
    motion = channels.astype(np.float32)
    zero = np.append(np.median(motion[:2], axis=(1, 2)), 127.5).astype(np.float32)
    motion -= zero[:, None, None]
    size = np.sqrt(np.mean(motion**2, axis=(1, 2), keepdims=True))
    still = np.ptp(motion, axis=(1, 2), keepdims=True) == 0
    return np.where(still, 0, motion / np.where(size > 0, size, 1)).astype(np.float32)
