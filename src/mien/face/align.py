"""Faces brought to one shape by local weighted mean transforms, so that each pixel shows the same part of any face."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.face.crop import DELTAS, oversampling, reduce

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
"""The 68 points of a neutral face in distances of its eyes, from the middle between them. STRCN names no model face.
This is what the face mesh answers when shown plain grey (its idea of a face before it sees one), made symmetrical, and
stretched downwards so that the chin lies 1.8 eye distances below the eyes, as on the average adult."""


def reference_face(height: int, width: int) -> Points:
    """The landmarks of the reference face in a picture that is exactly its crop by equation 1 of STRCN.

    Args:
        height: Pixels of the picture; 2.2 eye distances.
        width: Pixels of the picture; 1.8 eye distances. Another ratio than 2.2 : 1.8 stretches the face.

    Returns:
        (68, 2) pixels, x then y, in the order of iBUG 300-W; parts of the jaw lie beyond the picture.
    """
    side, above, high, wide = DELTAS
    unit = np.array([width / wide, height / high])
    corner = np.array([-0.5 - side, -above])
    return np.asarray((np.array(_REFERENCE) - corner) * unit - 0.5, np.float64)


@dataclass(frozen=True, slots=True)
class LocalWeightedMean:
    """A smooth map of the plane, made of polynomials of the second degree, each weighted near its control point.

    Far from all control points it becomes their common affine map, without a seam.

    Attributes:
        centres: (N, 2) control points, in the units of `origin` and `unit`.
        radii: (N,) where the weight of each control point ends.
        polynomials: (N, 6, 2) for 1, x, y, x^2, xy, y^2 about each centre, in its radii; added to the affine map.
        affine: (3, 2) for x, y, 1.
        origin: (2,) mean of the control points.
        unit: Their mean distance from it.
    """

    centres: Points
    radii: Points
    polynomials: Points
    affine: Points
    origin: Points
    unit: float

    def evaluate(self, points: NDArray[np.floating[Any]]) -> Points:
        """Where points go.

        Args:
            points: (..., 2), x then y.

        Returns:
            (..., 2).
        """
        places = ((np.asarray(points, np.float64) - self.origin) / self.unit).reshape(-1, 2)
        across = np.ascontiguousarray(places[:, 0])
        total, moved = np.zeros(len(places)), np.zeros_like(places)
        for centre, radius, polynomial in zip(self.centres, self.radii, self.polynomials, strict=True):
            near = np.flatnonzero(np.abs(across - centre[0]) < radius)
            local = (places[near] - centre) / radius
            squared = local[:, 0] ** 2 + local[:, 1] ** 2
            inside = squared < 1
            near, local, squared = near[inside], local[inside], squared[inside]
            weight = 1 - 3 * squared + 2 * squared**1.5
            total[near] += weight
            moved[near] += weight[:, None] * (_terms(local) @ polynomial)
        # Divided by the sum of the weights, this is the local weighted mean. Where that sum falls below 1, which it
        # never does at a control point, the affine map takes over: s (3 - 2 s) = s^2 (3 - 2 s) / s, 0 where s is.
        share = np.minimum(total, 1)
        moved *= np.where(total < 1, share * (3 - 2 * share), 1 / np.maximum(total, 1))[:, None]
        return (_with_ones(places) @ self.affine + moved).reshape(np.shape(points))

    def grid(self, height: int, width: int) -> NDArray[np.float32]:
        """(height, width, 2): where each pixel of a picture goes, x then y."""
        y, x = np.mgrid[0:height, 0:width]
        return self.evaluate(np.stack([x, y], -1)).astype(np.float32)


def fit_lwm(
    reference: NDArray[np.floating[Any]], source: NDArray[np.floating[Any]], n: int = 12, ridge: float = 0.01
) -> LocalWeightedMean:
    """The local weighted mean transform from a reference to a source, as needed to pull the source's pixels over.

    Args:
        reference: (N, 2) control points.
        source: (N, 2) where they go.
        n: Points in each polynomial, from 6 to N. With 6 and no ridge the map passes through all control points; the
            12 of common implementations smooths their errors. STRCN does not say.
        ridge: Pulls each polynomial towards the affine map of all points, >= 0, as a share of the n residuals. Needed
            where neighbours lie on a line, as on the jaw.

    Raises:
        MienError: Points that are lost, coincide, are on one line, or are fewer than n; a bad `n` or `ridge`.

    Source: Goshtasby, "Image registration by local approximation methods", Image and Vision Computing 6(4), 1988;
    STRCN (Xia et al. 2020), equation 2. Weight 1 - 3 r^2 + 2 r^3.
    """
    a, b = np.asarray(reference, np.float64), np.asarray(source, np.float64)
    if a.ndim != 2 or a.shape[1:] != (2,) or a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise MienError(
            f"Control points of shapes {a.shape} and {b.shape}.",
            "two times (N, 2) finite numbers.",
            "landmarks of a frame in which the face was found.",
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
            "points spread over a plane.",
            "other landmarks; these come from no face.",
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
    """A map made ready for one size of the result."""

    def __init__(self, transform: LocalWeightedMean, size: tuple[int, int]) -> None:
        self.size = size
        height, width = size
        step = np.linalg.norm(transform.affine[:2] / transform.unit, axis=1)
        along, down = oversampling(float(step[0])), oversampling(float(step[1]))
        y = (np.arange(height * down) + 0.5) / down - 0.5
        x = (np.arange(width * along) + 0.5) / along - 0.5
        grid = transform.evaluate(np.stack(np.meshgrid(x, y), -1)).astype(np.float32)
        self.x, self.y = np.ascontiguousarray(grid[..., 0]), np.ascontiguousarray(grid[..., 1])

    def __call__(self, frame: Array) -> Array:
        seen = cv2.remap(frame, self.x, self.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return reduce(np.asarray(seen), self.size)


def align(frames: Array, maps: LocalWeightedMean | Sequence[LocalWeightedMean], size: tuple[int, int]) -> Array:
    """Frames pulled over to the reference.

    Args:
        frames: (T, H, W) or (T, H, W, C), any type OpenCV resamples (8 and 16 bits, float32).
        maps: From pixels of the result to pixels of the frames; one for all, or one for each.
        size: Height and width of the result.

    Returns:
        (T, height, width[, C]) of the same type; bilinear, areas averaged where the face shrinks, the border of the
        frame going on beyond it.

    Raises:
        MienError: Another number of maps than of frames.
    """
    if isinstance(maps, LocalWeightedMean):
        warp = _Warp(maps, size)
        return np.stack([warp(frame) for frame in frames])
    if len(maps) != len(frames):
        raise MienError(f"{len(maps)} maps for {len(frames)} frames.", "one map, or one per frame.", "`align_clip`.")
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
    """The face of a clip, frame by frame, in the shape of the reference face.

    By default one transform, from the first frame's landmarks, serves the whole clip: landmarks jitter by more than a
    micro-expression moves.

    Args:
        frames: The pictures (H, W[, C]) that were tracked.
        track: Landmarks of the face in them.
        size: Height and width of the result (STRCN: 300 x 245).
        per_frame: A transform for every frame, as STRCN's text has it. Frames without a face keep the one before.
        mean_of: Take the mean landmarks of this many first frames with the face; not with `per_frame`.
        n: See `fit_lwm`.
        ridge: See `fit_lwm`.

    Yields:
        (height, width[, C]) of the frames' type.
    """
    points = track.ibug68()
    reference = reference_face(*size)
    first = points[track.found][: 1 if per_frame else max(1, mean_of)].mean(0)
    warp = _Warp(fit_lwm(reference, first, n, ridge), size)
    for t, frame in enumerate(frames):
        if per_frame and t > track.first() and t < len(points) and track.found[t]:
            warp = _Warp(fit_lwm(reference, points[t], n, ridge), size)
        yield warp(frame)
