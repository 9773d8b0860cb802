"""Draw one interval: its three frames, flow, strain, saliency, and a slow loop with and without magnified motion."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.classifiers.flow_ensemble import FlowEnsemble, centred
from mien.errors import MienError
from mien.face.crop import crop_box, crop_frame
from mien.face.landmarks import track_face
from mien.io.video import Video
from mien.motion.flow import optical_flow
from mien.motion.magnify import Magnifier, coefficients
from mien.motion.pictures import beside, flow_colours, flow_wheel, scalar_colours
from mien.motion.strain import optical_strain
from mien.preprocessing.steps import as_colour, as_grey
from mien.recognition.cuts import cut_out, row_of
from mien.recognition.naming import Namer, clip_of
from mien.recognition.records import Event
from mien.recognition.saliency import attribution, heat_over, spread_out

Picture = NDArray[np.uint8]

ALPHA: Final = 8.0
"""Factor by which the motion in the loop is magnified."""

SLOWER: Final = 4.0
"""Factor by which the loop plays slower, approximately."""

_SHOWN: Final = (0.5, 0.75, 2.5, 2.0)  # margins of the crop; see `crop_box`
_HEIGHT: Final = 300  # pixels of a still picture
_LOOP_HEIGHT: Final = 220
_LOOP_FRAMES: Final = 48
_BEFORE, _AFTER = 0.15, 0.15  # seconds of the loop around the interval


@dataclass(frozen=True)
class EventPictures:
    """Pictures of one interval, all (H, W, 3) RGB.

    Attributes:
        onset: Crop of the face at the onset.
        apex: The same crop at the apex.
        offset: The same crop at the offset.
        flow: Optical flow from onset to apex as colours.
        largest: Displacement shown by the full colour, in pixels of the video.
        strain: Optical strain of that flow as colours.
        most_strain: Strain shown by the brightest colour, no unit.
        saliency: What counted for the class, over the face; None if no class is named or if it cannot be computed.
        loop: The interval as an animated WebP file: original on the left, magnified motion on the right.
        slower: Factor by which the loop plays slower.
        notes: Remarks for the reader.
    """

    onset: Picture
    apex: Picture
    offset: Picture
    flow: Picture
    largest: float
    strain: Picture
    most_strain: float
    saliency: Picture | None
    loop: bytes
    slower: float
    notes: tuple[str, ...] = ()


def event_pictures(video: Video, event: Event, namer: Namer | None, fps: float) -> EventPictures:
    """Draw one interval.

    Args:
        video: The video.
        event: The interval.
        namer: The weights, for saliency; None leaves the saliency out.
        fps: Frames per second of the video.

    Raises:
        MienError: The frames cannot be read any more.
    """
    around = cut_out(
        video, max(0, event.onset.index - round(_BEFORE * fps)), event.offset.index + round(_AFTER * fps), event.eyes
    )
    eyes = (np.array(event.eyes).reshape(2, 2) - np.array(around.corner)) / around.scale
    box = crop_box(eyes, _SHOWN)
    size = max(32, round(box.height)), max(32, round(box.width))
    faces = [as_colour(np.asarray(crop_frame(frame, box, size), np.uint8)) for frame in around.frames]
    onset, apex, offset = (
        int(np.argmin(np.abs(np.asarray(around.index) - m.index))) for m in (event.onset, event.apex, event.offset)
    )
    flow = optical_flow(as_grey(faces[onset]), as_grey(faces[max(apex, onset)]), "tvl1")
    length = np.hypot(flow[..., 0], flow[..., 1])
    largest = max(float(np.percentile(length, 99)), 1e-3)
    strain = optical_strain(flow)
    most = max(float(np.percentile(strain, 99.5)), 1e-6)
    flow_picture = _with_wheel(_tall(flow_colours(flow, largest), _HEIGHT))
    notes: list[str] = []
    saliency = None
    if namer is not None and event.label is not None:
        try:
            saliency = _filling(_saliency(video, event, namer, fps), _tall(faces[onset], _HEIGHT))
        except MienError as error:
            notes.append(f"No saliency: {error.found}")
    loop, slower = _loop(faces, fps)
    return EventPictures(
        _tall(faces[onset], _HEIGHT), _tall(faces[apex], _HEIGHT), _tall(faces[offset], _HEIGHT), flow_picture,
        largest * around.scale, _tall(scalar_colours(strain, 0, most), _HEIGHT), most, saliency, loop, slower,
        tuple(notes),
    )  # fmt: skip


def _saliency(video: Video, event: Event, namer: Namer, fps: float) -> Picture:
    """Draw what counted for the named class, over the face as the recipe aligned it."""
    cut = cut_out(video, event.onset.index, event.offset.index, event.eyes)
    track = track_face(cut.frames)
    row = row_of(cut, event.apex.index)
    assert row is not None
    assert event.label is not None
    face: list[Picture] = []

    def keep(step: Any, array: NDArray[Any], context: Any) -> None:
        if not face and array.ndim >= 3 and array.shape[0] > 1 and array.shape[-1] in (3, array.shape[2]):
            first = array[0]
            face.append(as_colour(np.clip(np.round(first), 0, 255).astype(np.uint8)))

    with clip_of(cut, row, track, namer, fps) as clip:
        made = namer.recipe.apply(clip, keep)
    x = np.asarray(made.array[0] if namer.recipe.axes.startswith("K") else made.array, np.float32)
    low, high = namer.recipe.range
    base = 0.0 if low < 0 or not np.isfinite(high) else (low + high) / 2
    target = namer.card.classes.index(event.label)
    classifier = namer.classifier
    if isinstance(classifier, FlowEnsemble):  # of its machines, the network can be looked into
        classifier, x, base = classifier.network, centred(x[None])[0], 0.0
    heat, _ = spread_out(attribution(classifier, x, target, "integrated", base), namer.recipe.axes)
    return heat_over(face[0] if face else None, heat)


def _tall(picture: Picture, height: int) -> Picture:
    factor = height / picture.shape[0]
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (round(picture.shape[1] * factor), height), interpolation=how), np.uint8)


def _filling(picture: Picture, other: Picture) -> Picture:
    """Resize a picture to the size of another. Where their shapes differ by more than 5 %, the rest is black."""
    height, width = other.shape[:2]
    if abs(math.log(picture.shape[1] * height / picture.shape[0] / width)) < 0.05:
        return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    factor = min(height / picture.shape[0], width / picture.shape[1])
    small = _tall(picture, max(1, round(picture.shape[0] * factor)))[:, :width]
    result = np.zeros_like(other)
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    result[top : top + small.shape[0], left : left + small.shape[1]] = small
    return result


def _with_wheel(picture: Picture) -> Picture:
    """Add the legend of the flow colours in the lower right corner."""
    side = picture.shape[0] // 5
    wheel = flow_wheel(side)
    y, x = np.mgrid[0:side, 0:side] + 0.5
    inside = np.hypot(x - side / 2, y - side / 2) < side / 2
    result = picture.copy()
    result[-side:, -side:][inside] = wheel[inside]
    return result


def _loop(faces: Sequence[Picture], fps: float) -> tuple[bytes, float]:
    """Return an animated WebP, original and magnified side by side, and the factor by which it plays slower."""
    height, width = faces[0].shape[:2]
    fast, slow = coefficients(min(1.0, fps / 20), min(12.0, 0.4 * fps), fps)
    magnifier = Magnifier(height, width, True, alphas=(ALPHA,), r1=fast, r2=slow)
    step = max(1, -(-len(faces) // _LOOP_FRAMES))
    shown = []
    for n, face in enumerate(faces):
        larger = np.asarray(magnifier.push(face)[0], np.uint8)
        if n % step == 0:
            shown.append(beside(_tall(face, _LOOP_HEIGHT), _tall(larger, _LOOP_HEIGHT)))
    milliseconds = max(20, round(1000 * step * SLOWER / fps))
    return animation(shown, milliseconds), milliseconds * fps / (1000 * step)


def animation(frames: Sequence[Picture], milliseconds: int) -> bytes:
    """Encode frames as an animated WebP that repeats for ever.

    Args:
        frames: (H, W, 3) RGB pictures of one size.
        milliseconds: Time for which each frame is shown.

    Example:
        >>> animation([np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)], 40)[8:12]
        b'WEBP'
    """
    from PIL import Image

    buffer = io.BytesIO()
    first, *rest = (Image.fromarray(frame) for frame in frames)
    first.save(
        buffer, "WEBP", save_all=True, append_images=rest, duration=milliseconds, loop=0, quality=62, method=3,
        minimize_size=False,
    )  # fmt: skip
    return buffer.getvalue()


def still(picture: Picture, quality: int = 88) -> bytes:
    """Encode one (H, W, 3) RGB picture as WebP.

    Args:
        picture: The picture.
        quality: Quality, 0 to 100.

    Example:
        >>> still(np.zeros((4, 4, 3), np.uint8))[8:12]
        b'WEBP'
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()
