"""MDMO: the mean flow in the main direction of 36 regions of the face, after removal of head motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.descriptors.hoof import Floats, check_bins, check_flow, lengths, orientation_bins
from mien.errors import MienError
from mien.face.crop import crop_box, crop_frame
from mien.io.video import frame_rate_warning
from mien.motion.clip_flow import flows_of_clip
from mien.preprocessing import steps
from mien.preprocessing.base import Array, Context

RIGID: Final = (0, 1, 2, 3, 4, 5, 11, 12, 13, 14, 15, 16, 30)
"""Landmarks that hardly move with expressions: both sides of the jaw and the tip of the nose."""

_UP: Final = 0.75
# Points of the left half of the picture, as weighted sums of landmarks. The weights of a point sum to 1, so that the
# regions follow a face under any affine map. The forehead extends above the brows by 3/4 of the length of the nose.
_POINTS: Final[Mapping[str, Mapping[int, float]]] = {
    "forehead_outer": {17: 1, 27: _UP, 30: -_UP},
    "forehead_brow": {19: 1, 27: _UP, 30: -_UP},
    "forehead_inner": {21: 1, 27: _UP, 30: -_UP},
    "forehead_middle": {21: 0.5, 22: 0.5, 27: _UP, 30: -_UP},
    "cheek": {3: 0.5, 29: 0.5},
    "nostril": {4: 0.5, 33: 0.5},
    "corner": {5: 0.5, 59: 0.5},
    "chin_outer": {6: 0.5, 58: 0.5},
    "chin_middle": {8: 0.5, 57: 0.5},
}
_LEFT: Final[Mapping[str, tuple[int | str, ...]]] = {
    "forehead, outer": (17, "forehead_outer", "forehead_brow", 19),
    "forehead, inner": (19, "forehead_brow", "forehead_inner", 21),
    "between the brows": (21, "forehead_inner", "forehead_middle", 27),
    "temple": (0, 17, 36, 1),
    "brow and lid, outer": (17, 19, 37, 36),
    "brow and lid, inner": (19, 21, 39, 38, 37),
    "root of the nose": (21, 27, 28, 39),
    "cheek, outer": (1, 36, 41, "cheek", 3),
    "cheek, under the eye": (41, 40, 39, "cheek"),
    "cheek, beside the nose": ("cheek", 39, 28, 29),
    "nose": ("cheek", 29, 33, "nostril"),
    "cheek, lower": (3, "cheek", "nostril", 4),
    "mouth": ("nostril", 33, 57, 58, 59, "corner"),
    "jaw": (4, "nostril", "corner", 5),
    "under the lip, outer": ("corner", 59, 58, "chin_outer"),
    "under the lip, middle": ("chin_outer", 58, 57, "chin_middle"),
    "chin, outer": (5, "corner", "chin_outer", 6),
    "chin, middle": (6, "chin_outer", "chin_middle", 8, 7),
}
REGIONS: Final = tuple(f"{name}, {side}" for side in ("image left", "image right") for name in _LEFT)
"""Names of the 36 regions, in order."""

# fmt: off
MIRRORED: Final = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)
# fmt: on
"""Index of the mirrored landmark for each of the 68."""


def mdmo(
    flows: NDArray[Any],
    landmarks: NDArray[Any],
    *,
    bins: int = 8,
    align: bool = True,
    rigid: Sequence[int] = RIGID,
    still: float = 1e-3,
) -> Floats:
    """Compute the main directional mean optical flow (MDMO) of a clip.

    In each frame and region, the main direction is the bin with the most vectors; the region is represented by their
    mean. These means are averaged over all frames, and their lengths divided by the largest.

    Args:
        flows: (T, H, W, 2) displacement from the first frame to each later one in pixels, x then y.
        landmarks: (68, 2) points of the first frame in pixels, x then y, in the order of iBUG 300-W.
        bins: Number of directions; the first is centred on 0 degrees.
        align: Whether to remove head motion first (`without_head_motion`).
        rigid: Landmarks that move only with the head.
        still: Length in pixels; shorter vectors are ignored, because no flow method is exact to a thousandth of a
            pixel.

    Returns:
        (72,): the lengths of the 36 regions, 0..1, then their angles in radians, -pi..pi, from x towards y. Both are 0
        in regions where nothing moves or that are outside the picture. `REGIONS` has the names.

    Raises:
        MienError: Shapes that do not match, NaN, or landmarks outside the picture.

    Example:
        >>> import numpy as np
        >>> from mien.descriptors.mdmo import mdmo
        >>> from mien.face.align import reference_face
        >>> flows = np.random.default_rng(0).normal(size=(3, 110, 90, 2))
        >>> mdmo(flows, reference_face(110, 90)).shape
        (72,)

    Source: Liu, Zhang, Yan, Wang, Zhao and Fu, "A main directional mean optical flow feature for spontaneous
    micro-expression recognition", IEEE Transactions on Affective Computing 7(4), 2016.
    """
    flows, bins = check_flow(flows, 4), check_bins(bins)
    landmarks = _checked(landmarks)
    labels = face_regions(landmarks, *flows.shape[1:3])
    if align:
        flows = without_head_motion(flows, landmarks, rigid=rigid)
    mean = main_directions(flows, labels, bins=bins, still=still).mean(0)
    rho, theta = np.hypot(mean[:, 0], mean[:, 1]), np.arctan2(mean[:, 1], mean[:, 0])
    largest = rho.max()
    return np.concatenate([rho / largest, np.where(rho > 0, theta, 0)]) if largest > 0 else np.zeros(2 * len(rho))


def mirror_mdmo(vectors: NDArray[Any]) -> NDArray[Any]:
    """Return the descriptor of the mirrored face, (..., 72): sides exchanged, angles reflected."""
    rho, theta = vectors[..., :36], vectors[..., 36:]
    other = np.roll(np.arange(36), 18)
    # The angle becomes 180 degrees minus itself, within -180..180; a region that does not move keeps its 0.
    reflected = np.where(rho > 0, np.where(theta > 0, np.pi - theta, -np.pi - theta), 0)
    return np.concatenate([rho[..., other], reflected[..., other]], axis=-1).astype(vectors.dtype)


def face_polygons(landmarks: NDArray[Any]) -> list[Floats]:
    """Return the corners of the 36 regions, (n, 2) pixels each, x then y: 18 left in the picture, then 18 right.

    Neighbouring regions share their edges and do not overlap; the eyes belong to none.
    """
    points = np.asarray(landmarks, np.float64)
    polygons = []
    for side in (points, points[list(MIRRORED)]):
        named = {name: sum((w * side[i] for i, w in parts.items()), np.zeros(2)) for name, parts in _POINTS.items()}
        polygons += [
            np.stack([named[c] if isinstance(c, str) else side[c] for c in corners]) for corners in _LEFT.values()
        ]
    return polygons


def face_regions(landmarks: NDArray[Any], height: int, width: int) -> NDArray[np.int64]:
    """Return the region of each pixel.

    Args:
        landmarks: (68, 2) in pixels, x then y.
        height: Height of the picture in pixels.
        width: Width of the picture in pixels.

    Returns:
        (height, width), 0..35 in the order of `REGIONS`, -1 outside all regions. A pixel belongs to the region that
        contains its centre; if regions of a distorted face overlap, to the first.

    Raises:
        MienError: NaN landmarks, or no region inside the picture.

    Example:
        >>> from mien.descriptors.mdmo import face_regions
        >>> from mien.face.align import reference_face
        >>> labels = face_regions(reference_face(110, 90), 110, 90)
        >>> labels.shape, int(labels.max())
        ((110, 90), 35)

    Source: Liu et al., TAC 2016; docs/methods/mdmo.md.
    """
    labels = np.full((height, width), -1, np.int64)
    for number, corners in enumerate(face_polygons(_checked(landmarks))):
        low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int) + 1
        x0, x1 = np.clip((low[0], high[0]), 0, width)
        y0, y1 = np.clip((low[1], high[1]), 0, height)
        if x0 < x1 and y0 < y1:
            here = labels[y0:y1, x0:x1]
            here[_inside(corners, np.arange(x0, x1), np.arange(y0, y1)) & (here < 0)] = number
    if labels.max() < 0:
        raise MienError(
            f"landmarks are outside the picture of {height}x{width} pixels.",
            "points in pixels of the flow, x then y.",
            "the landmarks of the same crop as the flow.",
        )
    return labels


def _inside(corners: Floats, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which points are inside a polygon, (len(y), len(x)), by counting the edges to their right."""
    odd = np.zeros((len(y), len(x)), np.bool_)
    for a, b in zip(corners, np.roll(corners, -1, 0), strict=True):
        # A shared edge is computed in the same way for both regions, so that no point is in both or in neither.
        (ax, ay), (bx, by) = (a, b) if (a[1], a[0]) <= (b[1], b[0]) else (b, a)
        rows = np.flatnonzero((ay <= y) & (y < by))
        odd[rows] ^= x < (ax + (y[rows] - ay) * ((bx - ax) / (by - ay)))[:, None] if len(rows) else False
    return odd


def without_head_motion(flows: NDArray[Any], landmarks: NDArray[Any], *, rigid: Sequence[int] = RIGID) -> Floats:
    """Remove the motion of the head from the flow.

    For each frame, an affine map is fitted by least squares that takes the rigid points back to their positions in the
    first frame. It is applied to the end points of the flow of all pixels.

    Args:
        flows: (T, H, W, 2) displacement from the first frame in pixels, x then y.
        landmarks: (68, 2) of the first frame in pixels.
        rigid: Landmarks that move only with the head, at least three.

    Returns:
        (T, H, W, 2). Exactly 0 where all flow is 0, and 0 up to rounding where the flow is an affine map.

    Raises:
        MienError: Fewer than three rigid points, or all on one line.

    Source: Liu et al. 2016, section on optical-flow-driven alignment. The map includes a translation, which a public
    implementation omits.
    """
    points = _checked(landmarks)[list(rigid)]
    height, width = flows.shape[1:3]
    if len(points) < 3 or np.linalg.matrix_rank(np.column_stack([points, np.ones(len(points))]), tol=1e-3) < 3:
        raise MienError(f"rigid is {list(rigid)}.", "three landmarks or more, not on one line.", "the default.")
    moves = _sample(flows, np.clip(points, 0, [width - 1, height - 1]))
    ends = points + moves
    # The map is fitted to the displacement back, not to the position, so that no motion gives exactly 0.
    terms = np.concatenate([ends, np.ones((*ends.shape[:-1], 1))], axis=-1)
    back = np.linalg.pinv(terms) @ -moves
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    result = np.empty(flows.shape, np.float64)
    for flow, b, out in zip(flows, back, result, strict=True):
        u, v = flow[..., 0].astype(np.float64), flow[..., 1].astype(np.float64)
        for axis, own in enumerate((u, v)):
            out[..., axis] = own + ((x + u) * b[0, axis] + (y + v) * b[1, axis] + b[2, axis])
    return result


def _sample(flows: NDArray[Any], points: Floats) -> Floats:
    """Sample the flow bilinearly at points (N, 2) inside the picture: (T, N, 2)."""
    low = np.minimum(points.astype(int), [max(flows.shape[2] - 2, 0), max(flows.shape[1] - 2, 0)])
    (ix, iy), (fx, fy) = low.T, (points - low).T[..., None]
    right, below = np.minimum(ix + 1, flows.shape[2] - 1), np.minimum(iy + 1, flows.shape[1] - 1)
    above = flows[:, iy, ix] * (1 - fx) + flows[:, iy, right] * fx
    under = flows[:, below, ix] * (1 - fx) + flows[:, below, right] * fx
    return np.asarray(above * (1 - fy) + under * fy, np.float64)


def main_directions(
    flows: NDArray[Any], labels: NDArray[np.int64], *, n_regions: int = 36, bins: int = 8, still: float = 1e-3
) -> Floats:
    """Compute the mean vector of the main direction of each region in each frame.

    Args:
        flows: (T, H, W, 2) in pixels, x then y.
        labels: (H, W) region of each pixel; -1 is none.
        n_regions: Number of regions, R.
        bins: Number of directions; the first is centred on 0 degrees.
        still: Length in pixels; shorter vectors are ignored.

    Returns:
        (T, R, 2): the mean of the vectors in the bin that has most of them (of equal ones, the bin with the longest
        sum); 0 where nothing moves.

    Source: Liu et al., TAC 2016; docs/methods/mdmo.md.
    """
    chosen = np.flatnonzero(labels.ravel() >= 0)
    region = labels.ravel()[chosen]
    result = np.zeros((len(flows), n_regions, 2))
    for flow, out in zip(flows, result, strict=True):
        vectors = flow.reshape(-1, 2)[chosen].astype(np.float64)
        place = region * bins + orientation_bins(vectors, bins, centred=True)
        moving = lengths(vectors) >= still
        counts = np.bincount(place, moving, n_regions * bins).reshape(n_regions, bins)
        sums = np.stack(
            [np.bincount(place, vectors[:, axis] * moving, n_regions * bins) for axis in (0, 1)], axis=-1
        ).reshape(n_regions, bins, 2)
        # The length decides between equal counts only, since divided by twice the largest it is below 1.
        sum_lengths = lengths(sums)
        best = (counts + sum_lengths / np.maximum(2 * sum_lengths.max(1, keepdims=True), 1e-300)).argmax(1)
        rows = np.arange(n_regions)
        out[:] = sums[rows, best] / np.maximum(counts[rows, best], 1)[:, None]
    return result


def _checked(landmarks: NDArray[Any]) -> Floats:
    points = np.asarray(landmarks, np.float64)
    if points.shape != (68, 2):
        raise MienError(
            f"landmarks have shape {points.shape}.",
            "(68, 2), x then y, in the order of iBUG 300-W.",
            "`track_face(frames).ibug68()[0]`.",
        )
    if not np.isfinite(points).all():
        raise MienError(
            "landmarks are NaN: no face was found in that frame.",
            "68 finite points.",
            "`track.ibug68()[track.first()]`, the first frame with a face.",
        )
    return points


WIDE: Final = (0.8, 0.9, 3.0, 2.6)
"""Deltas of `mien.face.crop.crop_box` for a wide crop that contains all 68 landmarks and the forehead."""


def mdmo_of_clip(
    _: Array,
    context: Context,
    *,
    size: Sequence[int] = (288, 248),
    landmarker: str = "mesh",
    flow: str = "dis",
    bins: int = 8,
    align: bool = True,
    still: float = 1e-3,
) -> Array:
    """Step: compute MDMO (72,) of a clip's frames from onset to offset.

    The face is cropped wide and level, at one place for all frames, by the landmarks of the first frame with a face. It
    is not warped, so that the flow is that of the original frames.

    Args:
        _: Ignored.
        context: The context of the step.
        size: Height and width of the crop; with 288 x 248 the eyes are about 96 pixels apart.
        landmarker: A name in `mien.face.landmarks.LANDMARKERS`.
        flow: Flow method.
        bins: See `mdmo`.
        align: See `mdmo`.
        still: See `mdmo`.

    Raises:
        MienError: No face in any frame, or fewer than two frames.
    """
    from mien.face.landmarks import track_face

    clip, video = context.clip, steps.clip_video(context.clip)
    onset, _apex, stop = steps.clip_rows(clip, steps.count_frames(video))
    if stop - onset > steps.MOST_FRAMES:
        raise MienError(
            f"{clip.key} has {stop - onset} frames from onset to offset.",
            f"at most {steps.MOST_FRAMES}; a micro-expression lasts less than half a second.",
            "`--interval ONSET:OFFSET`.",
        )
    if clip.interval is None:
        context.interval_source = "detected"  # without an annotation, the first frame is taken as the onset
    context.use_interval(onset, None, stop - 1)
    track = track_face((steps.as_colour(f.pixels) for f in video.frames(onset, stop)), landmarker=landmarker)
    context.track = track
    warning = frame_rate_warning(video.fps)
    context.notes.extend([*track.notes, *([warning] if warning else [])])
    first = track.first()
    box = crop_box(track.eyes()[first], WIDE, level=True)
    height, width = size
    frames = np.stack([crop_frame(steps.as_grey(f.pixels), box, (height, width)) for f in video.frames(onset, stop)])
    context.notes.extend(video.problems)
    matrix = box.matrix(height, width)
    points = np.linalg.solve(matrix[:, :2], (track.ibug68()[first] - matrix[:, 2]).T).T
    # Motion is measured from the first frame in which the face was found.
    flows = flows_of_clip(frames[first:], flow)
    return mdmo(flows, points, bins=bins, align=align, still=still).astype(np.float32)
