"""Recipes: ordered lists of steps that turn one clip into the array a system reads.

A step is a pure function of one clip's array and its context. It never sees two clips, so no statistic can pass from
a test clip to a training clip here; whatever needs many clips belongs to the classifier.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mien.datasets.flow_images import read_flow_picture
from mien.errors import MienError
from mien.motion.apex import find_apex
from mien.motion.flow import optical_flow
from mien.motion.strain import optical_strain
from mien.types import Clip

Array = NDArray[Any]
Found = Literal["given", "found", "ready"]


@dataclass(slots=True)
class Context:
    """What a step may know besides the array.

    Attributes:
        clip: The clip; its interval and frame rate are here.
        interval: "given" while onset and apex come from the annotation, "found" once a step had to find one, "ready"
            for ready flow pictures. The ledger records it.
    """

    clip: Clip
    interval: Found = "given"


@dataclass(frozen=True, slots=True)
class Step:
    """One named step with its parameters.

    Attributes:
        name: Name in fingerprints and documentation.
        function: (array, context, **parameters) to array. The first step of a recipe gets an empty array.
        parameters: Keyword arguments; JSON values only.
    """

    name: str
    function: Callable[..., Array]
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """An ordered list of steps and what comes out.

    Attributes:
        steps: In the order they run.
        axes: Axes of the output, one letter each ("CHW").
        shape: Its shape.
        range: Its least and greatest possible value.
    """

    steps: tuple[Step, ...]
    axes: str
    shape: tuple[int, ...]
    range: tuple[float, float]

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that change when a step, a parameter or the order changes."""
        text = json.dumps([[s.name, dict(s.parameters)] for s in self.steps], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def run(self, clip: Clip) -> tuple[NDArray[np.float32], Found]:
        """The system's input for one clip.

        Returns:
            The array, float32, of the declared shape; and where onset and apex came from.

        Raises:
            MienError: A frame is missing or unreadable, or the output is not of the declared shape.
        """
        context = Context(clip, "ready" if clip.medium == "flow" else "given")
        array: Array = np.empty(0)
        for step in self.steps:
            array = step.function(array, context, **step.parameters)
        if array.shape != self.shape:
            raise MienError(
                f"{clip.key} gives an input of shape {array.shape}.",
                f"{self.shape} ({self.axes}).",
                "a picture of that size, or another system (`mien systems`).",
            )
        return array.astype(np.float32, copy=False), context.interval


def read_grey(path: Path) -> NDArray[np.uint8]:
    """One picture file as (H, W) grey levels 0..255.

    Raises:
        MienError: It is missing or cannot be read.
    """
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("L"))
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise MienError(
            f"The picture {str(path)!r} cannot be read ({error}).", "a whole PNG, JPEG or BMP file.", "`mien check`."
        ) from None


def _position(clip: Clip, frame_no: int) -> int:
    """Index in `clip.frames` of the frame whose number is nearest to `frame_no`."""
    if not clip.frame_nos:
        return 0
    return int(np.argmin(np.abs(np.asarray(clip.frame_nos) - frame_no)))


def onset_apex_pair(_: Array, context: Context) -> Array:
    """Step: the onset and the apex frame as grey pictures (2, H, W); an apex that is not given is found."""
    clip = context.clip
    if len(clip.frames) < 2:
        raise MienError(
            f"{clip.key} has {len(clip.frames)} frame(s).",
            "at least two, the onset and a later one.",
            f"`mien check {clip.dataset}=FOLDER` to see which clips lack frames.",
        )
    interval = clip.interval
    onset = 0 if interval is None else _position(clip, interval.onset)
    last = len(clip.frames) - 1 if interval is None else _position(clip, interval.offset)
    if interval is not None and interval.apex is not None and _position(clip, interval.apex) != onset:
        apex = _position(clip, interval.apex)
    else:
        context.interval = "found"
        stop = max(last, min(onset + 1, len(clip.frames) - 1)) + 1
        # Kept small: only the spread of the difference matters, and long clips must not fill the memory.
        small = [
            cv2.resize(read_grey(path), (64, 64), interpolation=cv2.INTER_AREA) for path in clip.frames[onset:stop]
        ]
        apex = onset + find_apex(np.stack(small).astype(np.uint8))
    first, second = read_grey(clip.frames[onset]), read_grey(clip.frames[apex])
    if first.shape != second.shape:
        raise MienError(
            f"{clip.key} has frames of {first.shape} and {second.shape} pixels.", "one size per clip.", "`mien check`."
        )
    return np.stack([first, second])


def shrink(pair: Array, context: Context, *, longest: int) -> Array:
    """Step: pictures (T, H, W) made smaller until the longer side has `longest` pixels; never larger."""
    height, width = pair.shape[1:]
    factor = longest / max(height, width)
    if factor >= 1:
        return pair
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.stack([cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pair])


def flow_of_pair(pair: Array, context: Context, *, method: str) -> Array:
    """Step: optical flow (H, W, 2), in pixels, from the first picture of a pair to the second."""
    return optical_flow(pair[0], pair[1], method)


def flow_and_strain(flow: Array, context: Context, *, size: int) -> Array:
    """Step: (3, size, size) of u, v and optical strain; strain is taken before the picture is made small."""
    full = np.dstack([flow, optical_strain(flow)])
    return np.asarray(cv2.resize(full, (size, size), interpolation=cv2.INTER_AREA)).transpose(2, 0, 1)


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


CENTRE = Step("centre_and_scale", centre_and_scale)

FLOW_PICTURE = Recipe((Step("flow_picture", flow_picture),), "CHW", (3, 28, 28), (0.0, 255.0))
"""Ready 28x28 flow pictures as they are."""

CENTRED_FLOW_PICTURE = Recipe((*FLOW_PICTURE.steps, CENTRE), "CHW", (3, 28, 28), (-28.0, 28.0))
"""Ready flow pictures about zero motion."""


def flow_from_frames(method: str, longest: int = 320, size: int = 28, centred: bool = False) -> Recipe:
    """The recipe behind the ready pictures: onset and apex, flow, strain, 28x28, each channel stretched to 0..255.

    Args:
        method: Flow method (`mien.motion.flow.METHODS`).
        longest: Frames are first shrunk until their longer side has this many pixels.
        size: Side of the result in pixels.
        centred: Then taken about zero motion, as `CENTRED_FLOW_PICTURE`.
    """
    return Recipe(
        (
            Step("onset_apex_pair", onset_apex_pair),
            Step("shrink", shrink, {"longest": longest}),
            Step("flow_of_pair", flow_of_pair, {"method": method}),
            Step("flow_and_strain", flow_and_strain, {"size": size}),
            Step("scale_each_channel", scale_each_channel),
            *([CENTRE] if centred else []),
        ),
        "CHW",
        (3, size, size),
        # A channel of n values and unit root mean square holds no value beyond the square root of n.
        (-float(size), float(size)) if centred else (0.0, 255.0),
    )
