"""The motion of the skin from onset to apex, relative to the head: what action units are read from.

Both frames are cropped to the face by one rectangle, and the optical flow between them is computed once, for classes
and units alike. Where the head or the skin moved too far for that flow, it is computed anew for the units: the apex is
aligned with the onset by landmarks that no expression moves, and both are scaled down until the method can follow the
motion.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.face.crop import Box, crop_box, crop_frame
from mien.face.landmarks import FaceTrack
from mien.motion.flow import SMALLEST, optical_flow
from mien.preprocessing.base import NOWHERE, Recipe
from mien.preprocessing.steps import as_grey

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_RIGID: Final = (27, 28, 29, 30, 33, 36, 39, 42, 45)
"""iBUG 300-W points that hardly move in an expression: bridge and tip of the nose, corners of the eyes."""

_STILL: Final = 0.03
"""Distances between the eyes by which the head may move before the apex is aligned. Below, the fit to the flow is more
exact than landmarks are."""

_LEVEL: Final = math.radians(3)
"""Angle of the line between the eyes above which the face is set upright."""

_FOLLOWED: Final = 4.0
"""Pixels of motion that the flow methods follow reliably; faces that move farther are scaled down for the flow."""

_WORTH: Final = 0.85
"""Factor below which a face is scaled down for the flow; above it, the flow for the classes serves."""

_LEAST_EYES: Final = 24.0
"""Pixels between the eyes below which a face is not scaled down any further."""

_UPRIGHT_EYES: Final = 96.0
"""Pixels between the eyes in pictures that are cropped anew."""

_GRID: Final = 4
_ROUNDS: Final = 6


FlowOfPair = Callable[[Picture, str], Floats]
"""Flow (h, w, 2) of a pair of grey pictures (2, h, w), by the name of a method."""


@dataclass(slots=True)
class FacePair:
    """One face at the onset and at the apex, cropped by the same rectangle (STRCN, equation 1).

    Attributes:
        frames: The two whole frames, (H, W) or (H, W, 3), 8 bits.
        track: (2, 68, 2) landmarks in these frames.
        pair: (2, h, w) grey levels of the crop.
        points: (68, 2) landmarks at the onset, in pixels of the crop.
    """

    frames: tuple[Picture, Picture]
    track: Floats
    pair: Picture = field(init=False)
    points: Doubles = field(init=False)
    _flows: dict[tuple[str, tuple[int, ...]], Floats] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        box = crop_box(_eyes(self.track[0]))
        size = max(SMALLEST, round(box.height)), max(SMALLEST, round(box.width))
        self.pair = np.stack([as_grey(np.asarray(crop_frame(frame, box, size))) for frame in self.frames])
        self.points = _inside(self.track[0], box, size)

    def flow(self, pair: Picture, method: str) -> Floats:
        """Compute the flow (h, w, 2) of this pair, shrunk or not, once for each size and method."""
        key = method, pair.shape
        if key not in self._flows:
            self._flows[key] = optical_flow(pair[0], pair[1], method)
        return self._flows[key]


def face_pair(frames: tuple[Picture, Picture], track: FaceTrack, rows: tuple[int, int]) -> FacePair:
    """Return the face at onset and apex.

    Args:
        frames: The frames of onset and apex.
        track: Landmarks of the face.
        rows: Rows of the track that belong to the two frames.
    """
    return FacePair(frames, track.ibug68()[list(rows)])


def run_on_pair(recipe: Recipe, face: FacePair, flow: FlowOfPair) -> NDArray[Any]:
    """Apply a recipe that reads onset and apex to a face in memory.

    Args:
        recipe: Its first step is `onset_apex_pair`.
        face: The face at onset and apex.
        flow: Computes the flow in place of the recipe's own step.
    """
    array: NDArray[Any] = face.pair
    for step in recipe.steps[1:]:
        if step.name == "flow_of_pair":
            array = flow(array, str(step.parameters["method"]))
        else:
            array = step.function(array, NOWHERE, **step.parameters)
    return array


@dataclass(frozen=True, slots=True)
class SkinMotion:
    """How the skin moved from onset to apex, relative to the head.

    Attributes:
        flow: (h, w, 2) displacement in pixels, x then y; the motion of the head is subtracted.
        points: (68, 2) landmarks at the onset, in the same pixels.
        iod: Distance between the eyes at the onset, in the same pixels.
    """

    flow: Floats
    points: Doubles
    iod: float


def skin_motion(face: FacePair, pair: Picture, method: str) -> SkinMotion:
    """Compute the motion of the skin relative to the head.

    The motion of the head is a similarity (shift, rotation, scale) fitted to the flow with Cauchy weights, which leave
    out what moves otherwise: expressions and blinks.

    Args:
        face: The face at onset and apex.
        pair: (2, h, w) its crop, as shrunk by a recipe.
        method: Flow method; see `mien.motion.flow`.
    """
    points = face.points * (pair.shape[1] / face.pair.shape[1])
    eyes = _eyes(face.track[0])
    tilt = math.atan2(*(eyes[1] - eyes[0])[::-1])
    head = similarity(*face.track[:, list(_RIGID)].astype(np.float64))
    iod = math.dist(*eyes)
    moved = float(np.abs(face.track[0] @ head[:, :2].T + head[:, 2] - face.track[0]).max()) / iod
    if abs(tilt) > _LEVEL or moved > _STILL:
        pair, points = _upright(face, head, iod)
    iod = math.dist(*_eyes(points))
    share = _smaller(pair, iod)
    if share < _WORTH:
        size = max(SMALLEST, round(share * pair.shape[2])), max(SMALLEST, round(share * pair.shape[1]))
        small = [np.asarray(cv2.resize(each, size, interpolation=cv2.INTER_AREA)) for each in pair]
        points, iod = points * (size[1] / pair.shape[1]), iod * size[1] / pair.shape[1]
        flow = optical_flow(small[0], small[1], method)
    else:
        flow = face.flow(pair, method)
    return SkinMotion(relative_to_head(flow, points), points, iod)


def similarity(before: Doubles, after: Doubles) -> Doubles:
    """Fit the shift, rotation and scale that take some points to others, by least squares.

    Args:
        before: (P, 2) points.
        after: (P, 2) the same points later.

    Returns:
        (2, 3) affine matrix.

    Example:
        >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        >>> similarity(square, 2 * square + 3).round(6).tolist()
        [[2.0, -0.0, 3.0], [0.0, 2.0, 3.0]]
    """
    a, b = before - before.mean(0), after - after.mean(0)
    size = max(float((a**2).sum()), 1e-12)
    cosine = float((a * b).sum()) / size
    sine = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / size
    linear = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([linear, after.mean(0) - linear @ before.mean(0)])


def relative_to_head(flow: Floats, points: Doubles) -> Floats:
    """Subtract the motion of the head from a flow field.

    Args:
        flow: (H, W, 2) in pixels.
        points: (68, 2) landmarks in the same pixels; the eyes are left out of the fit.

    Returns:
        (H, W, 2) in pixels.
    """
    height, width = flow.shape[:2]
    y, x = (each.ravel() for each in np.mgrid[_GRID // 2 : height : _GRID, _GRID // 2 : width : _GRID])
    iod = math.dist(*_eyes(points))
    skin = np.ones(len(x), bool)
    for middle in _eyes(points):
        skin &= np.hypot((x - middle[0]) / 0.32, (y - middle[1]) / 0.20) > iod
    x, y = x[skin], y[skin]
    if len(x) < 8:
        return np.asarray(flow - np.median(flow, (0, 1)), np.float32)
    centre = points[27:31].mean(0)
    seen = flow[y, x].astype(np.float64)
    a, b = x - centre[0], y - centre[1]
    one, none = np.ones(len(x)), np.zeros(len(x))
    design = np.concatenate([np.stack([one, none, a, -b], 1), np.stack([none, one, b, a], 1)])
    target, weight, found = seen.T.ravel(), one, np.zeros(4)
    for _ in range(_ROUNDS):
        weighted = design * np.tile(weight, 2)[:, None]
        found = np.linalg.solve(weighted.T @ design + 1e-6 * np.eye(4), weighted.T @ target)
        off = np.hypot(*(target - design @ found).reshape(2, -1))
        weight = 1 / (1 + (off / max(1.5 * float(np.median(off)), 0.02)) ** 2)
    a, b = np.arange(width) - centre[0], (np.arange(height) - centre[1])[:, None]
    head = np.stack([found[0] + found[2] * a - found[3] * b, found[1] + found[3] * a + found[2] * b], -1)
    return np.asarray(flow - head, np.float32)


def _upright(face: FacePair, head: Doubles, iod: float) -> tuple[Picture, Doubles]:
    """Crop both frames anew, with level eyes, the apex by the rectangle moved along with the head."""
    box = crop_box(_eyes(face.track[0]), level=True)
    share = min(1.0, _UPRIGHT_EYES / iod)
    size = max(SMALLEST, round(share * box.height)), max(SMALLEST, round(share * box.width))
    centre = head[:, :2] @ (box.x + box.width / 2, box.y + box.height / 2) + head[:, 2]
    grown = float(np.hypot(head[0, 0], head[1, 0]))
    width, height = grown * box.width, grown * box.height
    turned = box.angle + math.atan2(head[1, 0], head[0, 0])
    carried = Box(centre[0] - width / 2, centre[1] - height / 2, width, height, turned)
    crops = [crop_frame(frame, b, size) for frame, b in zip(face.frames, (box, carried), strict=True)]
    return np.stack([as_grey(np.asarray(each)) for each in crops]), _inside(face.track[0], box, size)


def _smaller(pair: Picture, iod: float) -> float:
    """Return the factor, at most 1, by which a pair is scaled so that its largest motion can be followed."""
    half = [cv2.resize(each, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for each in pair]
    if min(half[0].shape) < SMALLEST:
        return 1.0
    rough = 2 * optical_flow(half[0], half[1], "dis")  # finds large motion at once, but is not exact
    away = rough - np.median(rough, (0, 1))
    largest = float(np.percentile(np.hypot(away[..., 0], away[..., 1]), 98))
    return 1.0 if largest <= _FOLLOWED else min(1.0, max(_FOLLOWED / largest, _LEAST_EYES / iod))


def _eyes(points: Floats | Doubles) -> Doubles:
    return np.asarray(points[36:48].reshape(2, 6, 2).mean(1), np.float64)


def _inside(points: Floats | Doubles, box: Box, size: tuple[int, int]) -> Doubles:
    """Return points of the frame in pixels of a crop of that size."""
    back: NDArray[Any] = cv2.invertAffineTransform(box.matrix(*size))
    return np.asarray(points @ back[:, :2].T + back[:, 2], np.float64)
