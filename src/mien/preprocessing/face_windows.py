"""Input of HTNet and CausalNet: windows around eyes and mouth corners, and flow from onset to apex to offset.

Four windows of 14x14 are cut from a picture of 28x28 and put side by side. Their places are the fixed points of the
released code, for which no face need be found. Rows and columns are exchanged in it, so that the face lies transposed:
the right half of the top row shows the left corner of the mouth.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import numpy as np

from mien.errors import MienError
from mien.io.opencv import cv2
from mien.motion.apex import find_apex
from mien.motion.flow import optical_flow
from mien.preprocessing import steps
from mien.preprocessing.base import Array, Context, Recipe, Step
from mien.preprocessing.named import FLOW_PICTURE, flow_from_frames

OffsetFlow = Literal["picture", "reversed"]

WINDOWS: Final = (((2, 4), (14, 3)), ((3, 14), (13, 14)))
"""First row and column of each window: left eye and left mouth corner, then right eye and right mouth corner."""


def tile_windows(channels: Array, context: Context) -> Array:
    """Step: the four windows of each picture of (3 k, 28, 28), side by side; channels in the order strain, v, u."""
    k = len(channels) // 3
    turned = channels.reshape(k, 3, *channels.shape[1:])[:, ::-1].reshape(channels.shape)
    rows = [np.concatenate([turned[:, y : y + 14, x : x + 14] for y, x in row], 2) for row in WINDOWS]
    return np.ascontiguousarray(np.concatenate(rows, 1), np.float32)


TILE: Final = Step("tile_windows", tile_windows)


def apex_offset_pictures(_: Array, context: Context) -> Array:
    """Step: read two ready flow pictures (6, 28, 28): onset to apex, and, named with _1 beside it, apex to offset."""
    frames = context.clip.frames
    for picture in reversed(frames):
        onward = _named_with_1(Path(picture))
        if onward is not None:
            from mien.datasets.flow_images import read_flow_picture

            return np.concatenate([read_flow_picture(path).transpose(2, 0, 1) for path in (picture, onward)])
    raise MienError(
        f"{context.clip.key} has no flow picture from apex to offset, {Path(frames[-1]).stem.rstrip()}_1 beside it.",
        "a set of flow pictures with both, as CausalNet's.",
        "`--second-flow FOLDER` of such a set; or `--set offset_flow=reversed`, the first flow backwards in its place.",
    )


def _named_with_1(path: Path) -> Path | None:
    core = path.stem.rstrip()
    names = (f"{core}_1{path.stem[len(core) :]}{path.suffix}", f"{core}_1{path.suffix}")
    return next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)


def add_reversed(channels: Array, context: Context) -> Array:
    """Step: append to (3, H, W) of u, v and strain, 0..255, the same motion backwards: u and v turned about."""
    back = channels.copy()
    back[:2] = 255 - back[:2]
    return np.concatenate([channels, back])


def flows_to_apex_and_offset(_: Array, context: Context, *, longest: int, size: int) -> Array:
    """Step: TV-L1 flow and strain, onset to apex and apex to offset, (6, size, size), each channel 0..255."""
    clip, video = context.clip, steps.clip_video(context.clip)
    onset, apex, stop = steps.clip_rows(clip, steps.count_frames(video))
    if apex is None:
        context.interval_source = "detected"
        small = [
            cv2.resize(steps.as_grey(frame.pixels), (64, 64), interpolation=cv2.INTER_AREA)
            for frame in video.frames(onset, stop)
        ]
        apex = onset + find_apex(np.stack(small).astype(np.uint8))
    context.rows, context.apex = (onset, apex, stop - 1), 1
    context.use_interval(onset, apex, stop - 1)
    frames = np.stack([steps.as_grey(video.frame(row).pixels) for row in context.rows])
    frames = steps.shrink(frames, context, longest=longest)
    flows = [optical_flow(frames[n], frames[n + 1], "tvl1") for n in (0, 1)]
    pictures = [steps.flow_and_strain(flow, context, size=size) for flow in flows]
    return np.concatenate([steps.scale_each_channel(picture, context) for picture in pictures])


def add_directions(channels: Array, context: Context) -> Array:
    """Step: append to (3 k, H, W) of u, v and strain the direction of each picture as a colour.

    The colour wheel's hue in degrees is atan2(v, u) of the levels, which are not about zero, so that it spans red to
    yellow and a little green, 0 to 90 degrees, and blue is 0: no physical direction, but what published pictures hold.
    """
    found = [channels]
    for n in range(0, len(channels), 3):
        hue = np.degrees(np.arctan2(channels[n + 1], channels[n]))
        red, green = (np.clip(c / 60, 0, 1) for c in (120 - hue, hue))
        found.append(255 * np.stack([red, green, np.zeros_like(hue)]))
    return np.concatenate(found).astype(np.float32)


def htnet_input(medium: Literal["flow", "frames"]) -> Recipe:
    """Return the recipe of HTNet's input: the windows of one flow picture, (3, 28, 28), 0..255."""
    first = FLOW_PICTURE if medium == "flow" else flow_from_frames("tvl1")
    return Recipe((*first.steps, TILE), "CHW", (3, 28, 28), (0.0, 255.0))


def causalnet_input(medium: Literal["flow", "frames"], offset_flow: OffsetFlow) -> Recipe:
    """Return the recipe of CausalNet's input: windows of two flow pictures and of their directions, (12, 28, 28).

    Args:
        medium: Kind of the clips.
        offset_flow: Flow from apex to offset: a picture, or that from onset to apex backwards.
    """
    backwards = Step("add_reversed", add_reversed)
    if offset_flow == "reversed":
        one = FLOW_PICTURE if medium == "flow" else flow_from_frames("tvl1")
        begin: tuple[Step, ...] = (*one.steps, backwards)
    elif medium == "flow":
        begin = (Step("apex_offset_pictures", apex_offset_pictures),)
    else:
        begin = (Step("flows_to_apex_and_offset", flows_to_apex_and_offset, {"longest": 320, "size": 28}),)
    return Recipe((*begin, Step("add_directions", add_directions), TILE), "CHW", (12, 28, 28), (0.0, 255.0))
