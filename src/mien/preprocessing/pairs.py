"""Optical flow between two pictures, or from onset to apex of a video, for `mien flow`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.preprocessing import steps
from mien.preprocessing.base import Context
from mien.preprocessing.prepare import video_clip
from mien.types import Clip, Interval


@dataclass(frozen=True, slots=True)
class FlowBetween:
    """Two frames and the flow from the first to the second.

    Attributes:
        first: (H, W, 3) RGB or (H, W) grey, uint8.
        second: The later frame, of the same shape.
        flow: (H, W, 2) displacement in pixels, x then y.
        names: Names of the two frames ("frame 0", "apex, frame 12 (detected)").
        notes: Remarks for the user, as sentences.
    """

    first: NDArray[np.uint8]
    second: NDArray[np.uint8]
    flow: NDArray[np.float32]
    names: tuple[str, str]
    notes: tuple[str, ...] = ()


def flow_between(
    sources: Sequence[str | Path], *, method: str = "classic_nl", interval: Interval | None = None, face: bool = False
) -> FlowBetween:
    """Compute the flow between two pictures, or from onset to apex of a video.

    Args:
        sources: Two pictures, or one video.
        method: Flow method (`mien.motion.flow.METHODS`).
        interval: Part of the video to use. Its apex is detected if it is None.
        face: Whether to crop and align the face to 300x245 first, with the same transform for both frames.

    Returns:
        The two frames and their flow.

    Raises:
        MienError: Pictures that cannot be read or differ in size, an unknown method, or no face where one is required.
    """
    if len(sources) == 2:
        clip = _two_pictures(Path(sources[0]), Path(sources[1]))
        names = (Path(sources[0]).name, Path(sources[1]).name)
    elif len(sources) == 1:
        clip, names = video_clip(sources[0], interval), ("", "")
    else:
        raise MienError(
            f"{len(sources)} files.",
            "two pictures or one video.",
            "`mien flow onset.png apex.png --out flow.png`.",
        )
    context = Context(clip)
    if face:
        frames = steps.aligned_face(np.empty(0), context)
        pair = frames[[0, -1]] if len(sources) == 2 else steps.apex_and_onset(frames, context)
    else:
        steps.onset_apex_pair(np.empty(0), context)
        assert context.rows is not None
        video = steps.clip_video(clip)
        first, second = (steps.as_colour(video.frame(row).pixels) for row in context.rows)
        pair = np.stack([first, second])
    if len(sources) == 1 and context.rows is not None:
        onset, apex = context.rows
        names = (f"frame {onset}", f"apex, frame {apex} ({context.interval_source})")
    flow = steps.flow_of_pair(pair, context, method=method)
    return FlowBetween(pair[0], pair[1], flow, names, tuple(context.notes))


def _two_pictures(first: Path, second: Path) -> Clip:
    for path in (first, second):
        if not path.is_file():
            raise MienError(
                f"There is no picture {str(path)!r}.", "two picture files.", "`mien flow A.png B.png --out C.png`."
            )
    return Clip("pair", "-", first.stem, Interval(0, 1, 1), "", frames=(first, second), frame_nos=(0, 1))
