"""Alignment of faces to a reference face by local weighted mean transforms.

After alignment each pixel shows the same part of any face.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.face.crop import DELTAS, oversampling, sampled

if TYPE_CHECKING:
    from mien.face.landmarks import FaceTrack

Array = NDArray[Any]
Points = NDArray[np.float64]

# fmt: off
_REFERENCE: Final = (
    (-1.024, -0.030), (-1.009, 0.202), (-0.998, 0.445), (-0.966, 0.703), (-0.824, 1.204), (-0.729, 1.382),
    (-0.479, 1.635), (-0.195, 1.778), (0.000, 1.800), (0.195, 1.778), (0.479, 1.635), (0.729, 1.382),
    (0.824, 1.204), (0.966, 0.703), (0.998, 0.445), (1.009, 0.202), (1.024, -0.030), (-0.879, -0.262),
    (-0.800, -0.362), (-0.667, -0.417), (-0.486, -0.415), (-0.267, -0.392), (0.267, -0.392), (0.486, -0.415),
    (0.667, -0.417), (0.800, -0.362), (0.879, -0.262), (0.000, -0.059), (0.000, 0.203), (0.000, 0.431),
    (0.000, 0.567), (-0.226, 0.699), (-0.139, 0.754), (0.000, 0.760), (0.139, 0.754), (0.226, 0.699),
    (-0.699, 0.001), (-0.600, -0.055), (-0.439, -0.065), (-0.276, 0.008), (-0.414, 0.051), (-0.572, 0.059),
    (0.276, 0.008), (0.439, -0.065), (0.600, -0.055), (0.699, 0.001), (0.572, 0.059), (0.414, 0.051),
    (-0.413, 1.093), (-0.248, 1.018), (-0.129, 0.991), (0.000, 1.012), (0.129, 0.991), (0.248, 1.018),
    (0.413, 1.093), (0.234, 1.239), (0.124, 1.278), (0.000, 1.290), (-0.124, 1.278), (-0.234, 1.239),
    (-0.371, 1.096), (-0.101, 1.107), (0.000, 1.113), (0.101, 1.107), (0.371, 1.096), (0.102, 1.122),
    (0.000, 1.129), (-0.102, 1.122),
)
# fmt: on
"""The 68 points of a neutral face, in units of the distance between the eyes, from the point midway between them.
STRCN does not say which model face it uses. This one is the output of the face mesh network for a plain grey picture
(the face that it expects by default), made symmetrical, and stretched downwards so that the chin lies 1.8 eye distances
below the eyes, as on an average adult."""


def reference_face(height: int, width: int) -> Points:
    """Return the landmarks of the reference face, in a picture cropped by equation 1 of STRCN.

    Args:
        height: Height of the picture in pixels; stands for 2.2 eye distances.
        width: Width of the picture in pixels; stands for 1.8 eye distances. A ratio other than 2.2 : 1.8 stretches the
            face.

    Returns:
        (68, 2) in pixels, x then y, in the order of iBUG 300-W. Parts of the jaw lie outside the picture.

    Example:
        >>> from mien.face.align import reference_face
        >>> left_eye = reference_face(220, 180)[36:42].mean(0)
        >>> left_eye.round().tolist()
        [40.0, 59.0]
    """
    side, above, box_height, box_width = DELTAS
    unit = np.array([width / box_width, height / box_height])
    corner = np.array([-0.5 - side, -above])
    return np.asarray((np.array(_REFERENCE) - corner) * unit - 0.5, np.float64)


@dataclass(frozen=True, slots=True)
class LocalWeightedMean:
    """A smooth map of the plane: a weighted mean of quadratic polynomials, one around each control point.

    Far from all control points it passes smoothly into one affine map. `fit_lwm` computes it from control points.

    Attributes:
        centres: (N, 2) control points, relative to `origin`, in units of `unit`.
        radii: (N,) distance from each control point at which its weight becomes 0, in units of `unit`.
        polynomials: (N, 6, 2) coefficients of 1, x, y, x^2, xy, y^2 around each centre, in units of its radius. They
            are added to the affine map.
        affine: (3, 2) coefficients of x, y, 1 of the affine map.
        origin: (2,) mean of the control points.
        unit: Mean distance of the control points from `origin`.
    """

    centres: Points
    radii: Points
    polynomials: Points
    affine: Points
    origin: Points
    unit: float

    def evaluate(self, points: NDArray[np.floating[Any]]) -> Points:
        """Map points.

        Args:
            points: (..., 2), x then y.

        Returns:
            (..., 2), the mapped points, x then y.
        """
        places = ((np.asarray(points, np.float64) - self.origin) / self.unit).reshape(-1, 2)
        x = np.ascontiguousarray(places[:, 0])
        total, moved = np.zeros(len(places)), np.zeros_like(places)
        for centre, radius, polynomial in zip(self.centres, self.radii, self.polynomials, strict=True):
            near = np.flatnonzero(np.abs(x - centre[0]) < radius)
            local = (places[near] - centre) / radius
            squared = local[:, 0] ** 2 + local[:, 1] ** 2
            inside = squared < 1
            near, local, squared = near[inside], local[inside], squared[inside]
            weight = 1 - 3 * squared + 2 * squared**1.5
            total[near] += weight
            moved[near] += weight[:, None] * (_terms(local) @ polynomial)
        # The local weighted mean is this sum divided by the sum s of the weights. Where s < 1, which never happens at
        # a control point, the map fades into the affine one with the factor s^2 (3 - 2 s), and s^2 (3 - 2 s) / s is
        # s (3 - 2 s), which has no division by 0.
        share = np.minimum(total, 1)
        moved *= np.where(total < 1, share * (3 - 2 * share), 1 / np.maximum(total, 1))[:, None]
        return (_with_ones(places) @ self.affine + moved).reshape(np.shape(points))

    def on_grid(self, x: NDArray[Any], y: NDArray[Any]) -> Points:
        """Map the points of a grid, as `evaluate` does but for rounding (1e-5 pixels), many times as fast.

        Args:
            x: (W,) its columns, ascending.
            y: (H,) its rows, ascending.

        Returns:
            (H, W, 2), the mapped points, x then y.
        """
        across, down = (
            (np.asarray(x, np.float64) - self.origin[0]) / self.unit,
            (np.asarray(y, np.float64) - self.origin[1]) / self.unit,
        )
        total = np.zeros((len(down), len(across)), np.float32)
        moved = np.zeros((2, *total.shape), np.float32)
        for centre, radius, polynomial in zip(self.centres, self.radii, self.polynomials, strict=True):
            columns = slice(*np.searchsorted(across, (centre[0] - radius, centre[0] + radius)))
            rows = slice(*np.searchsorted(down, (centre[1] - radius, centre[1] + radius)))
            u = ((across[columns] - centre[0]) / radius).astype(np.float32)
            v = ((down[rows] - centre[1]) / radius).astype(np.float32)[:, None]
            squared = u * u + v * v
            np.minimum(squared, 1, out=squared)  # at 1 the weight is 0
            weight = np.sqrt(squared)
            weight *= 2
            weight -= 3
            weight *= squared
            weight += 1
            total[rows, columns] += weight
            powers_u, powers_v = np.stack([np.ones_like(u), u, u * u]), np.hstack([np.ones_like(v), v, v * v])
            for axis, (a, b, c, d, e, f) in enumerate(polynomial.T.tolist()):
                value = powers_v @ np.array([[a, b, d], [c, e, 0], [f, 0, 0]], np.float32) @ powers_u
                value *= weight
                moved[axis, rows, columns] += value
        share = np.minimum(total, 1)
        moved *= np.where(total < 1, share * (3 - 2 * share), 1 / np.maximum(total, 1))
        found = across[:, None] * self.affine[0] + down[:, None, None] * self.affine[1] + self.affine[2]
        return np.asarray(found + moved.transpose(1, 2, 0))

    def grid(self, height: int, width: int) -> NDArray[np.float32]:
        """Map each pixel of a picture: (height, width, 2), x then y."""
        return self.on_grid(np.arange(width), np.arange(height)).astype(np.float32)


def fit_lwm(
    reference: NDArray[np.floating[Any]], source: NDArray[np.floating[Any]], n: int = 12, ridge: float = 0.01
) -> LocalWeightedMean:
    """Fit a local weighted mean transform to control points.

    To warp a picture, map from the reference to the source: each pixel of the result is looked up in the source.

    Args:
        reference: (N, 2) control points, x then y.
        source: (N, 2) the points that they are mapped to.
        n: Number of points that each polynomial is fitted to, 6 <= n <= N. With 6 and `ridge=0` the map passes through
            all control points; with 12, as in common implementations, errors of single points are smoothed. STRCN does
            not say.
        ridge: Strength of the regularisation that pulls each polynomial towards the affine map of all points, >= 0.
            Needed where neighbouring points lie on a line, as on the jaw.

    Raises:
        MienError: Points that are NaN, coincide, lie on one line, or are fewer than n; `n` or `ridge` out of range.

    Example:
        >>> import numpy as np
        >>> from mien.face.align import fit_lwm
        >>> points = np.random.default_rng(0).uniform(0, 100, (20, 2))
        >>> fit_lwm(points, points + [3, 0]).evaluate(np.array([50.0, 50.0])).round(6).tolist()
        [53.0, 50.0]

    Source: Goshtasby, "Image registration by local approximation methods", Image and Vision Computing 6(4), 1988;
    STRCN (Xia et al. 2020), equation 2. The weight is 1 - 3 r^2 + 2 r^3.
    """
    a, b = np.asarray(reference, np.float64), np.asarray(source, np.float64)
    if a.ndim != 2 or a.shape[1:] != (2,) or a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise MienError(
            f"Control points of shapes {a.shape} and {b.shape}.",
            "twice (N, 2) finite numbers.",
            "the landmarks of a frame in which the face was found.",
        )
    if not (6 <= n <= len(a) and np.isfinite(ridge) and ridge >= 0):
        raise MienError(
            f"n {n} and ridge {ridge:g} for {len(a)} control points.",
            f"6 <= n <= {len(a)} and a ridge of at least 0.",
            "`n=12, ridge=0.01`.",
        )
    origin = a.mean(0)
    unit = float(np.linalg.norm(a - origin, axis=1).mean())
    centres = (a - origin) / max(unit, 1e-300)
    distances = np.linalg.norm(centres[:, None] - centres, axis=-1)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :n]
    radii = distances[np.arange(len(a)), nearest[:, -1]]
    if unit == 0 or radii.min() < 1e-9 or np.linalg.matrix_rank(_with_ones(centres), tol=1e-6) < 3:
        raise MienError(
            "The control points coincide or lie on one line.",
            "points spread over an area.",
            "the landmarks of a frame in which the face was found.",
        )
    affine = np.asarray(np.linalg.lstsq(_with_ones(centres), b, rcond=None)[0], np.float64)
    rest = b - _with_ones(centres) @ affine
    polynomials = np.stack(
        [_polynomial((centres[near] - centres[near[0]]) / radius, rest[near], ridge)
         for near, radius in zip(nearest, radii, strict=True)]
    )  # fmt: skip
    return LocalWeightedMean(centres, radii, polynomials, affine, origin, unit)


def _polynomial(local: Points, values: Points, ridge: float) -> Points:
    terms = _terms(local)
    if ridge:
        penalty = np.sqrt(ridge * len(local)) * np.eye(6)[1:]
        terms, values = np.concatenate([terms, penalty]), np.concatenate([values, np.zeros((5, 2))])
    return np.asarray(np.linalg.lstsq(terms, values, rcond=None)[0], np.float64)


def _terms(local: Points) -> Points:
    x, y = local[:, 0], local[:, 1]
    return np.column_stack([np.ones_like(x), x, y, x * x, x * y, y * y])


def _with_ones(points: Points) -> Points:
    return np.column_stack([points, np.ones(len(points))])


class _Warp:
    """Warps frames by a transform to a fixed size of the result."""

    def __init__(self, transform: LocalWeightedMean, size: tuple[int, int]) -> None:
        self.size = size
        height, width = size
        step = np.linalg.norm(transform.affine[:2] / transform.unit, axis=1)
        samples_x, samples_y = oversampling(float(step[0])), oversampling(float(step[1]))
        y = (np.arange(height * samples_y) + 0.5) / samples_y - 0.5
        x = (np.arange(width * samples_x) + 0.5) / samples_x - 0.5
        self.places = np.ascontiguousarray(transform.on_grid(x, y), np.float32)

    def __call__(self, frame: Array) -> Array:
        return sampled(frame, self._look_up, self.places.shape[:2], self.size)

    def _look_up(self, frame: Array) -> Array:
        return np.asarray(cv2.remap(frame, self.places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def align(frames: Array, maps: LocalWeightedMean | Sequence[LocalWeightedMean], size: tuple[int, int]) -> Array:
    """Warp frames to the shape of the reference.

    Args:
        frames: (T, H, W) or (T, H, W, C); uint8, uint16, int16, float32 or float64, of any scale.
        maps: From pixels of the result to pixels of the frames; one for all frames, or one for each.
        size: Height and width of the result.

    Returns:
        (T, height, width) or (T, height, width, C) of the type and scale of the frames. Pixels are interpolated
        bilinearly, and averaged over areas where the face gets smaller. Outside a frame its border pixels are repeated.

    Raises:
        MienError: A number of maps other than 1 or T, or another type of frames.

    Example:
        >>> import numpy as np
        >>> from mien.face.align import align, fit_lwm
        >>> points = np.random.default_rng(0).uniform(0, 40, (20, 2))
        >>> align(np.zeros((3, 50, 50), np.uint8), fit_lwm(points, points + 2), size=(32, 24)).shape
        (3, 32, 24)
    """
    if isinstance(maps, LocalWeightedMean):
        warp = _Warp(maps, size)
        return np.stack([warp(frame) for frame in frames])
    if len(maps) != len(frames):
        raise MienError(f"{len(maps)} maps for {len(frames)} frames.", "one map, or one per frame.", "`maps[0]`.")
    return np.stack([_Warp(one, size)(frame) for one, frame in zip(maps, frames, strict=True)])


def align_clip(
    frames: Iterable[Array],
    track: FaceTrack,
    size: tuple[int, int] = (300, 245),
    per_frame: bool = False,
    *,
    mean_of: int = 1,
    n: int = 12,
    ridge: float = 0.01,
) -> Iterator[Array]:
    """Yield the face of a clip, frame by frame, warped to the shape of the reference face.

    By default a single transform, from the landmarks of the first frame with a face, is used for the whole clip,
    because landmarks jitter by more than a micro-expression moves.

    Args:
        frames: The frames (H, W) or (H, W, C) in which the face was tracked.
        track: Landmarks of the face in these frames, from `mien.face.landmarks.track_face`.
        size: Height and width of the result; 300 x 245 in STRCN.
        per_frame: Whether to fit a transform for every frame, as STRCN's text has it. Frames without a face use the
            last transform before them.
        mean_of: Number of frames with a face, from the first, whose landmarks are averaged. Ignored with `per_frame`.
        n: See `fit_lwm`.
        ridge: See `fit_lwm`.

    Yields:
        (height, width) or (height, width, C), of the type and scale of the frames.

    Example:
        >>> from mien.face.align import align_clip
        >>> from mien.face.landmarks import track_face
        >>> from mien.face.portrait import portrait
        >>> frames = [portrait()] * 2
        >>> [face.shape for face in align_clip(frames, track_face(frames), size=(60, 48))]
        [(60, 48, 3), (60, 48, 3)]

    Source: STRCN (Xia et al. 2020), section III-B1. One transform per clip, the reference face, n and the ridge are
    ours.
    """
    points = track.ibug68()
    reference = reference_face(*size)
    first = points[track.found][: 1 if per_frame else max(1, mean_of)].mean(0)
    warp = _Warp(fit_lwm(reference, first, n, ridge), size)
    for t, frame in enumerate(frames):
        if per_frame and t > track.first() and t < len(points) and track.found[t]:
            warp = _Warp(fit_lwm(reference, points[t], n, ridge), size)
        yield warp(frame)
