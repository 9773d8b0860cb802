"""Writing films: without loss, to look at, or as a GIF."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.io.atomic import replaced, unwritable
from mien.io.video.base import Pixels, to_uint8

if TYPE_CHECKING:
    from av.container import OutputContainer


def write_video(
    path: str | Path, frames: Iterable[NDArray[Any]], fps: float, *, times: Sequence[float] | None = None,
    start: float = 0.0,
) -> Path:  # fmt: skip
    """Write a video; nothing is at `path` until it is complete.

    Args:
        path: The ending decides. `.mkv`: without loss (FFV1), read back bit for bit; times are kept to a millisecond.
            `.mp4`: H.264 to look at, 8 bits, an odd side repeats its last line. `.gif`: to look at, 256 colours, times
            to a hundredth of a second and at least two hundredths a frame, like frames joined.
        frames: (H, W) grey or (H, W, 3) RGB of one size, uint8; grey ones may be uint16.
        fps: Frames per second.
        times: Seconds of each frame after the first, ascending; gives a variable rate. None spaces them evenly. It is
            read after each frame, so that it may grow with the frames.
        start: Seconds that players show for the first frame, >= 0; only `.mp4`. The time before is filled with silence,
            without which players would take the first frame for 0.

    Returns:
        The path.

    Raises:
        MienError: No frames or not all alike, an unknown ending, bad times, no room or no right to write.

    Example:
        >>> write_video("grey.mkv", [np.full((64, 64), 128, np.uint8)] * 10, fps=200).name
        'grey.mkv'
        >>> mien.open_video("grey.mkv").fps
        200.0
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
    if start and (kind != ".mp4" or not (math.isfinite(start) and start > 0)):
        raise MienError(
            f"The first frame of {path.name!r} was to be shown at {start} s.",
            "0 s; a time above 0 for an .mp4 only.",
            f"`{path.with_suffix('.mp4').name}` and `start` above 0, or no `start`.",
        )
    import av  # here and below: it takes long, and few who import this module write a film

    try:
        with replaced(path) as temporary:
            timed = _timed(frames, fps, times, least={".mkv": 1e-3, ".mp4": 1e-5, ".gif": 0.0}[kind])
            if kind == ".gif":
                _write_gif(temporary, timed)
            else:
                late = start if start > 0.5 / fps else 0.0
                _write_stream(temporary, timed, fps, times is not None, lossless=kind == ".mkv", start=late)
    except (av.FFmpegError, OSError) as error:
        raise unwritable(path, error, "another folder, or `df` to see how much room is left.") from None
    return path


def write_outlined(
    picture: NDArray[np.uint8], text: str, place: tuple[int, int], scale: float, colour: tuple[int, int, int]
) -> None:
    """Write a line of text into a picture, with a dark outline by which it can be read on any ground.

    The outline is grown from the letters themselves: letters that are drawn twice, thick and thin, drift apart, because
    OpenCV's fonts become wider with the thickness.

    Args:
        picture: (H, W, 3), changed in place.
        text: What has no letter in OpenCV's fonts, which are ASCII, becomes "?".
        place: Left end of the base line, x and y, in pixels.
        scale: Size; 1 is letters of some 22 pixels.
        colour: Of the letters.
    """
    import cv2

    plain = text.encode("ascii", "replace").decode()
    ink = np.zeros(picture.shape[:2], np.uint8)
    cv2.putText(ink, plain, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, max(1, round(1.6 * scale)), cv2.LINE_AA)
    size = 2 * max(1, round(1.5 * scale)) + 1
    edge = cv2.dilate(
        np.where(ink > 40, np.uint8(255), np.uint8(0)), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    )
    for mask, shade in ((edge, (0, 0, 0)), (ink, colour)):
        share = mask[..., None].astype(np.float32) / 255
        picture[:] = np.round(picture * (1 - share) + np.array(shade, np.float32) * share).astype(np.uint8)


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
    path: Path, timed: Iterator[tuple[float, Pixels]], fps: float, variable: bool, lossless: bool, start: float
) -> None:
    import av
    from av.video.reformatter import VideoReformatter

    began, first = next(timed)
    rate = Fraction(fps).limit_denominator(1001)
    # Even times are counted in frames, exactly; true ones in the finest unit that containers share.
    base = Fraction(1, 90_000) if variable or start else 1 / rate
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
        if start:
            _write_silence(container, start)
        developer = VideoReformatter()
        for number, (moment, pixels) in enumerate(chain([(began, first)], timed)):
            if not lossless:
                pixels = np.pad(to_uint8(pixels), even, "edge")
            source = {1: "gray", 2: "gray16le"}[pixels.itemsize] if pixels.ndim == 2 else "rgb24"
            stored = av.VideoFrame.from_ndarray(pixels, format=source)  # type: ignore[arg-type]
            picture = developer.reformat(stored, format=layout)
            picture.pts = round((start + moment - began) / base) if base.denominator == 90_000 else number
            picture.time_base = base
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _write_silence(container: OutputContainer, seconds: float) -> None:
    import av

    rate, block = 48_000, 1024
    stream = container.add_stream("aac", rate, layout="mono")
    for begin in range(0, math.ceil(seconds * rate), block):
        sound = av.AudioFrame.from_ndarray(np.zeros((1, block), np.float32), format="fltp", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = rate, begin, Fraction(1, rate)
        container.mux(stream.encode(sound))
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
