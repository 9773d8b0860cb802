"""Check uploads: make file names safe to display, and refuse videos that are too long or too large before decoding."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien import MOST_PIXELS
from mien.errors import MienError

if TYPE_CHECKING:
    from mien.io.video import Video

MOST_RATE: Final = 250.0
"""Highest mean frame rate of a video that lasts `Limits.seconds`: the work depends on the number of frames."""

_NAME: Final = 120
"""Longest file name that is displayed, in characters."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one upload.

    Attributes:
        mib: Largest size of the file in MiB.
        seconds: Longest duration of the video in seconds.
    """

    mib: float = 512.0
    seconds: float = 600.0

    @property
    def size(self) -> int:
        """Largest size of the file in bytes."""
        return int(self.mib * 2**20)

    @property
    def frames(self) -> int:
        """Largest number of frames."""
        return int(self.seconds * MOST_RATE)


def shown_name(name: str) -> str:
    """Make the file name given by a client safe to display. It is never used as a path on this machine.

    Folders (with either kind of slash), control characters and marks that change the writing direction are removed.

    Example:
        >>> shown_name("../../etc/passwd")
        'passwd'
    """
    last = re.split(r"[\\/]", name)[-1]
    kept = "".join(c for c in last if unicodedata.category(c)[0] != "C" and c not in ':*?"<>|')
    kept = kept.strip(" .")
    if len(kept) > _NAME:
        stem, dot, ending = kept.rpartition(".")
        short = dot and len(ending) <= 8
        kept = f"{stem[: _NAME - len(ending) - 1]}.{ending}" if short else kept[:_NAME]
    return kept or "video"


def open_upload(path: Path, limits: Limits, fps: float | None = None) -> Video:
    """Open an uploaded video if it is within the limits. Only its first frame is decoded.

    Args:
        path: The uploaded file.
        limits: The limits.
        fps: True frame rate, if the client gave one.

    Raises:
        MienError: The file is empty, not a video, too long, or its frames are too large.
    """
    from mien.io.video import open_video

    if path.stat().st_size == 0:
        raise MienError("The file is empty.", "a video.", "another copy of the file.")
    header = _header_seconds(path)
    if fps is None and header is not None and header > limits.seconds:
        raise too_long(header, limits)
    film = open_video(path, fps=fps)
    n, rate = film.n_frames, film.fps
    if n is not None and n > limits.frames:
        raise MienError(
            f"The video has {n} frames.", f"at most {limits.frames}.", "cutting it into parts and sending each of them."
        )
    if n is not None and rate is not None and math.isfinite(rate) and n / rate > limits.seconds:
        raise too_long(n / rate, limits)
    return film


def too_long(seconds: float, limits: Limits) -> MienError:
    """Return the error for a video that is too long."""
    return MienError(
        f"The video lasts {spoken(seconds)}.",
        f"at most {spoken(limits.seconds)}.",
        "cutting it into parts and sending each of them, or `mien recognise`, which accepts videos of any length.",
    )


def _header_seconds(path: Path) -> float | None:
    """Return the duration that the file header states; None if it states none.

    Raises:
        MienError: The frames are too large.
    """
    import av

    try:
        # Open this file only: a play list must not make mien read or download others.
        with av.open(str(path), options={"protocol_whitelist": "file"}, metadata_errors="replace") as container:
            decoders: list[Any] = [stream.codec_context for stream in container.streams.video]
            for decoder in decoders:
                # A stream of an unknown codec has no decoder.
                width, height = (decoder.width, decoder.height) if decoder is not None else (0, 0)
                if width * height > MOST_PIXELS:
                    raise MienError(
                        f"Its frames are {width}x{height} pixels.",
                        f"at most {MOST_PIXELS // 10**6} million pixels.",
                        "a smaller copy.",
                    )
            return None if container.duration is None else container.duration / av.time_base
    except (av.FFmpegError, OSError, ValueError):
        return None  # `open_video` will raise the error


def spoken(seconds: float) -> str:
    """Format a duration: `12 h`, `10 min`, `45 s`.

    Example:
        >>> spoken(5400)
        '1 h 30 min'
    """
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    return f"{minutes} min" if not hours else f"{hours} h {minutes} min" if minutes else f"{hours} h"
