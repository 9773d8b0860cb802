"""Magnification of a whole video, frame by frame, for `mien magnify`. Memory does not grow with its length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.io.atomic import require_writable_file
from mien.io.video import frame_rate_warning, open_video, write_video
from mien.io.video.write import write_outlined
from mien.motion.magnify import Magnifier, coefficients
from mien.preprocessing.steps import as_colour


@dataclass(frozen=True, slots=True)
class MagnifiedFilm:
    """What `magnify_video` wrote.

    Attributes:
        path: The file.
        n_frames: Number of frames.
        size: Height and width in pixels.
        r1: Coefficient of the faster low-pass filter that was used.
        r2: Coefficient of the slower low-pass filter that was used.
        notes: Remarks for the user, as sentences.
    """

    path: Path
    n_frames: int
    size: tuple[int, int]
    r1: float
    r2: float
    notes: tuple[str, ...]


def magnify_video(
    source: str | Path,
    out: str | Path,
    *,
    alpha: float = 8.0,
    r1: float = 0.4,
    r2: float = 0.05,
    band: tuple[float, float] | None = None,
    wavelength: float = 16.0,
    beside: bool = False,
    slower: float = 1.0,
    fps: float | None = None,
    progress: Callable[[int], None] | None = None,
) -> MagnifiedFilm:
    """Write a video with its small movements magnified.

    Args:
        source: Anything that `mien.io.video.open_video` opens.
        out: File to write: `.mp4` to watch, `.mkv` for lossless video, `.gif` for a web page.
        alpha: Magnification factor, >= 0.
        r1: Coefficient of the faster low-pass filter; see `mien.motion.magnify.Magnifier`.
        r2: Coefficient of the slower low-pass filter, 0 < r2 < r1 <= 1.
        band: Frequency band (low, high) in hertz, instead of r1 and r2; needs the frame rate.
        wavelength: In pixels, > 0; finer details are magnified less.
        beside: Whether to show the original on the left.
        slower: How many times slower the result plays, > 0.
        fps: Frame rate, for sources that do not state one.
        progress: Called with 1 after each frame.

    Returns:
        What was written.

    Raises:
        MienError: The source cannot be read, the band is not possible at the frame rate, or `out` cannot be written.

    Example:
        >>> magnify_video("face.mkv", "large.mkv", alpha=10).n_frames
        14

    Source: see `mien.motion.magnify`.
    """
    out = Path(out)
    require_writable_file(out, "`--out large.mp4`.")
    video = open_video(source, fps=fps)
    notes = [note for note in [frame_rate_warning(video.fps)] if note]
    rate = video.fps
    if band is not None:
        if rate is None:
            raise MienError(
                f"The frame rate of {str(source)!r} is not known.",
                "a frame rate, which a band in hertz needs.",
                "`--fps 100`, or `--r1 --r2`.",
            )
        r1, r2 = coefficients(*band, rate)
    height, width = video.height, video.width
    magnifier = Magnifier(height, width, True, alphas=(alpha,), r1=r1, r2=r2, wavelength=wavelength)
    written = 0

    def pictures() -> Iterator[NDArray[np.uint8]]:
        nonlocal written
        for frame in video.frames():
            original = as_colour(frame.pixels)
            magnified = np.asarray(magnifier.push(original)[0])
            if magnified.dtype != np.uint8:
                magnified = np.clip(np.round(magnified), 0, 255).astype(np.uint8)
            yield _side_by_side(original, magnified) if beside else magnified
            written += 1
            if progress is not None:
                progress(1)

    write_video(out, pictures(), (rate or 30.0) / slower)
    return MagnifiedFilm(out, written, (height, width), r1, r2, (*notes, *video.problems))


def _side_by_side(original: NDArray[np.uint8], magnified: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw both pictures side by side, each with its name in the corner."""
    labelled = []
    for picture, name in ((original, "original"), (magnified, "magnified")):
        picture = picture.copy()
        scale = max(0.35, picture.shape[0] / 700)
        place = (round(14 * scale), round(30 * scale))
        write_outlined(picture, name, place, scale, (255, 255, 255))
        labelled.append(picture)
    return np.hstack(labelled)
