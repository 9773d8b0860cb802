"""What is let in: a name that is only ever shown, and a film whose length is known before it is decoded."""

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
"""Frames per second that `Limits.seconds` of film may have on average; the work grows with frames, not with seconds."""

_NAME: Final = 120
"""Letters of a name that are kept."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one upload may be.

    Attributes:
        mib: Size of the file, MiB.
        seconds: Length of the film.
    """

    mib: float = 512.0
    seconds: float = 600.0

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.mib * 2**20)

    @property
    def frames(self) -> int:
        """Most frames of a film."""
        return int(self.seconds * MOST_RATE)


def shown_name(name: str) -> str:
    """What a client calls its file, fit to be shown and to be offered as a name; never a place on this machine.

    Folders of either kind of slash, control characters and marks that turn the direction of writing go.
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
    """Opens an uploaded film if it may be answered; but for its first frame nothing is decoded.

    Args:
        path: Where it was put.
        limits: What it may be.
        fps: Its true frame rate, where the client gave one.

    Raises:
        MienError: Nothing in it, no film, too long, frames too large.
    """
    from mien.io.video import open_video

    if path.stat().st_size == 0:
        raise MienError("The file is empty.", "a video.", "another copy of it.")
    header = _header_seconds(path)
    if fps is None and header is not None and header > limits.seconds:
        raise too_long(header, limits)
    film = open_video(path, fps=fps)
    n, rate = film.n_frames, film.fps
    if n is not None and n > limits.frames:
        raise MienError(
            f"The film has {n} frames.", f"at most {limits.frames}.", "cutting it into parts and asking about each."
        )
    if n is not None and rate is not None and math.isfinite(rate) and n / rate > limits.seconds:
        raise too_long(n / rate, limits)
    return film


def too_long(seconds: float, limits: Limits) -> MienError:
    """The refusal of a long film."""
    return MienError(
        f"The film lasts {spoken(seconds)}.",
        f"at most {spoken(limits.seconds)}.",
        "cutting it into parts and asking about each, or `mien recognise`, which takes films of any length.",
    )


def _header_seconds(path: Path) -> float | None:
    """Length as the file says; None where it does not.

    Raises:
        MienError: Its frames are too large.
    """
    import av

    try:
        # Only this file: a play list may not make mien read others, or fetch them.
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
        return None  # `open_video` says what is wrong with it.


def spoken(seconds: float) -> str:
    """A length of time in words: `12 h`, `10 min`, `45 s`."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    return f"{minutes} min" if not hours else f"{hours} h {minutes} min" if minutes else f"{hours} h"
