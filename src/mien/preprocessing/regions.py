"""Steps and recipes of grey frames: of the whole face, or of eyes and mouth, with a fixed number of frames."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.io.opencv import cv2
from mien.motion.interpolate import METHODS, resample, tim
from mien.preprocessing.base import Array, Context, Recipe, Step
from mien.preprocessing.parameters import EyesMouth, GreyClip, WholeFace
from mien.preprocessing.steps import ClipFrames, aligned_face, as_grey, grey

if TYPE_CHECKING:
    from mien.face.landmarks import FaceTrack

TIMES = (*METHODS, "tim", "first")
"""Methods to get a fixed number of frames: interpolation over time, or "first", the first n frames of the clip."""

POOL = 3
"""Size and stride of MicroExp's max pooling along rows, columns and time."""

_REGIONS = {
    # The points that must be inside the frame, and those at the top, bottom, left and right edge of the crop.
    "eyes": (range(36, 48), (19, 1, 1, 15)),
    "mouth": (range(48, 68), (2, 6, 2, 14)),
}


def check_whole(name: str, value: Any, example: str) -> None:
    """Checks that a parameter is as many whole numbers from 1 as its example.

    Raises:
        MienError: It is not.
    """
    n = len(json.loads(example))
    listed = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == n
    if not listed or not all(isinstance(k, int) and not isinstance(k, bool) and k >= 1 for k in value):
        raise MienError(f"{name} is {value!r}.", f"{n} whole numbers from 1.", f"`--set {name}={example}`.")


def pooled_shape(frames: int, height: int, width: int, kernel: Sequence[int]) -> tuple[int, int, int]:
    """Return the numbers of frames, rows and columns after MicroExp's convolution and pooling.

    Args:
        frames: Number of frames of the clip.
        height: Number of rows of a frame.
        width: Number of columns of a frame.
        kernel: (height, width, time) of the convolution, in the order of the paper.

    Raises:
        MienError: The kernel is not three whole numbers >= 1, or nothing remains after pooling.
    """
    check_whole("kernel", kernel, "[3,3,15]")
    rows, columns, time = kernel
    found = tuple((n - k + 1) // POOL for n, k in ((frames, time), (height, rows), (width, columns)))
    if min(found) < 1:
        raise MienError(
            f"A clip of {frames} frames of {height}x{width} leaves nothing after a kernel of "
            f"{rows}x{columns}x{time} and a pool of {POOL}.",
            f"at least {time + POOL - 1} frames of {rows + POOL - 1}x{columns + POOL - 1}.",
            f"`--set frames={max(frames, time + POOL - 1)}`, or a smaller kernel: `--set kernel=[3,3,3]`.",
        )
    return found[0], found[1], found[2]


def to_frames(frames: Array, context: Context, *, n: int, method: str, kernel: int, stretch: bool) -> Array:
    """Step: bring a clip (T, ...) to n frames, for a network whose kernel spans `kernel` frames. Changes are noted.

    Args:
        frames: (T, ...) grey levels, 0..255.
        context: The context of the step.
        n: Number of frames.
        method: One of `TIMES`; "first" takes the first n frames and drops the rest.
        kernel: A clip with fewer frames is refused unless `stretch` is true, because most frames inside the kernel
            would then be interpolated.
        stretch: Whether to interpolate such a clip.

    Returns:
        (n, ...) float32.

    Raises:
        MienError: Too short a clip, or an unknown `method`.
    """
    length, clip = len(frames), context.clip
    if method not in TIMES:
        raise MienError(f"time is {method!r}.", f"one of {', '.join(TIMES)}.", "`--set time=linear`.")
    if length < kernel and not stretch:
        raise MienError(
            f"{clip.key} has {length} frames from onset to offset.",
            f"at least {kernel}, the length of the temporal kernel.",
            "`--set stretch=true` to interpolate more frames into short clips, or `--set kernel=[3,3,3]`.",
        )
    context.rows = context.apex = None
    if length == n:
        return frames.astype(np.float32)
    if method == "first":
        if length < n:
            raise MienError(
                f"{clip.key} has {length} frames from onset to offset.",
                f"at least {n}, because the first {n} are used.",
                "`--set time=linear`, which interpolates.",
            )
        context.notes.append(f"The first {n} of {length} frames were used.")
        return frames[:n].astype(np.float32)
    context.notes.append(f"{length} frames were interpolated to {n} ({method}).")
    full = frames.astype(np.float32)
    result = tim(full, n) if method == "tim" else resample(full, n, method)
    return np.asarray(np.clip(result, 0, 255), np.float32)


def eyes_and_mouth(
    _: Array, context: Context, *, size: tuple[int, int] | list[int], per_frame: bool, landmarker: str = "mesh"
) -> Array:
    """Step: read two crops of the face from onset to offset: both eyes, and nose and mouth.

    In points of iBUG 300-W, counted from 0: the eyes span from the brow (point 19) down to the jaw at point 1, and from
    jaw point 1 to 15; nose and mouth span from jaw point 2 down to 6, and from 2 to 14. Crops are reduced by averaging
    areas.

    Args:
        _: Ignored.
        context: The context of the step.
        size: Height and width of each crop.
        per_frame: Whether to place the crops anew in each frame, as the authors do; landmark jitter then moves the
            picture. Otherwise they are placed once, by the median landmarks of the clip.
        landmarker: A name in `mien.face.landmarks.LANDMARKERS`.

    Returns:
        (T, 2, height, width) grey levels, uint8.

    Raises:
        MienError: No face, eyes or mouth outside the frame, or too many frames.

    Source: Reddy et al., IJCNN 2019, section III-B; points of the released code.
    """
    from mien.face.landmarks import track_face

    clip, read = context.clip, ClipFrames(context)
    frames, seen = read.frames, read.seen
    context.track = track = track_face(frames(), landmarker=landmarker, count_faces=False)
    context.notes.extend(track.notes)
    points = _points(track, per_frame)
    height, width = size
    result = np.empty((len(points), 2, height, width), np.uint8)
    beyond = 0.0
    done = 0
    for frame, where in zip(frames(), points, strict=False):
        picture = as_grey(frame)
        for place, region in enumerate(_REGIONS):
            cut, outside = _cut(picture, where, region, clip.key)
            result[done, place] = cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA)
            beyond = max(beyond, outside)
        done += 1
    if beyond > 0:
        context.notes.append(f"A crop extends {beyond:.0f} pixels outside the frame and was cut off there.")
    context.notes.extend(read.video.problems)
    if done < 2:
        raise MienError(f"Only {done} frame(s) of {clip.key} can be read.", "at least two.", "`mien check`.")
    context.rows = tuple(seen)
    return result[:done]


def _points(track: FaceTrack, per_frame: bool) -> NDArray[np.float32]:
    """Return the iBUG points of each frame (T, 68, 2); frames without a face use those of the last frame with one."""
    points = track.ibug68()
    if not per_frame:
        return np.broadcast_to(np.median(points[track.found], axis=0), points.shape)
    last = np.maximum.accumulate(np.where(track.found, np.arange(len(points)), track.first()))
    return np.asarray(points[last])


def _cut(picture: NDArray[np.uint8], points: NDArray[Any], region: str, key: str) -> tuple[NDArray[np.uint8], float]:
    """Return a region of a frame, cut off at its edge, and by how many pixels it extends outside."""
    inner, (top, bottom, left, right) = _REGIONS[region]
    height, width = picture.shape
    part = points[list(inner)]
    if (part < -0.5).any() or (part > np.array([width, height]) - 0.5).any():
        raise MienError(
            f"{key}: the {region} {'are' if region == 'eyes' else 'is'} not completely inside the frame.",
            "a face whose eyes and mouth are both in view.",
            "another part of the video, or a system that looks at the whole frame: microexp-stcnn.",
        )
    edges = np.array([points[top, 1], points[bottom, 1], points[left, 0], points[right, 0]])
    y0, y1, x0, x1 = np.round(edges).astype(int).tolist()
    inside = max(y0, 0), min(y1, height), max(x0, 0), min(x1, width)
    if inside[1] - inside[0] < 2 or inside[3] - inside[2] < 2:
        raise MienError(
            f"{key}: the landmarks of the {region} enclose no area.",
            "a face seen from the front.",
            "another part of the video, or a system that looks at the whole frame: microexp-stcnn.",
        )
    outside = max(-y0, y1 - height, -x0, x1 - width, 0)
    return picture[inside[0] : inside[1], inside[2] : inside[3]], float(outside)


def regions_first(frames: Array, context: Context) -> Array:
    """Step: rearrange (T, regions, H, W) to (regions, T, H, W)."""
    return np.ascontiguousarray(frames.swapaxes(0, 1))


# Recipes


def _length_step(p: GreyClip) -> Step:
    pooled_shape(p.frames, *p.size, p.kernel)
    given = {"n": p.frames, "method": p.time, "kernel": p.kernel[2], "stretch": p.stretch}
    return Step("to_frames", to_frames, given)


def whole_face(p: WholeFace) -> Recipe:
    """Return the recipe of grey frames of the whole face: (T, height, width), 0..255.

    Raises:
        MienError: Nothing is left of such clips behind the kernel and the pool.

    Source: Reddy et al., IJCNN 2019, Table I; areas are averaged in colour and then made grey, as in the released code.
    """
    face = {"size": p.size, "transform": p.face, "per_frame": False, "landmarker": "mesh"}
    steps = (Step("aligned_face", aligned_face, face, version=2), Step("grey", grey), _length_step(p))
    return Recipe(steps, "THW", (p.frames, *p.size), (0, 255), "float16")


def eyes_mouth(p: EyesMouth) -> Recipe:
    """Return the recipe of grey frames of eyes and mouth: (2, T, height, width), 0..255.

    Raises:
        MienError: As `whole_face`.
    """
    crops = Step("eyes_and_mouth", eyes_and_mouth, {"size": p.size, "per_frame": p.per_frame})
    steps = (crops, _length_step(p), Step("regions_first", regions_first))
    return Recipe(steps, "CTHW", (2, p.frames, *p.size), (0, 255), "float16")
