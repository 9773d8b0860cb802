"""The geometry of a face in a picture, and the exact motion of every pixel.

The skin moves as one smooth surface with two cuts. The upper lid slides over the eyeball, which moves only with head
and gaze; and the skin below the seam of the mouth can separate from the upper lip. So no smooth field has to bend
around an eye or a mouth, and it is known what a lid or a lip covers or uncovers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.synthesis.fields import Floats, face_frame, head_fields, unit_fields
from mien.synthesis.timeline import Timeline

_LID_LINES: Final = (((36, 37, 38, 39), (36, 41, 40, 39)), ((42, 43, 44, 45), (42, 47, 46, 45)))
_SEAM: Final = ((60, 61, 62, 63, 64), (60, 67, 66, 65, 64))
_BROWS: Final = {True: (18, 19, 20), False: (23, 24, 25)}  # left of the nose in the picture, and right of it
_CHEEK = 0.12  # distance below the corners of the mouth over which the motion of the jaw sets in, in IOD

_FAR = 1e3


@dataclass(frozen=True, slots=True)
class Rig:
    """An upright face on the pixel grid of a picture. Lengths are in pixels.

    Attributes:
        points: (68, 2) landmarks of the neutral face, x then y.
        shape: Height and width.
        iod: Distance between the eye centres.
        above_eye: (H, W) distance of each pixel above the line of the upper lid; large beside the eyes.
        below_eye: (H, W) distance of each pixel below the line of the lower lid; large beside the eyes.
        lid_share: (H, W) fraction of the motion of the upper lid that a pixel follows; 0 at the corners and beside.
        blink: (H, W, 2) displacement that closes the eyes.
        blink_slope: (H, W) vertical derivative of the vertical component of `blink`.
        below_seam: (H, W) distance of each pixel below the upper edge of the mouth opening.
        below_mouth: (H, W) distance of each pixel below the lower edge; equal to `below_seam` for a closed mouth.
        jaw_share: (H, W) fraction of the motion of the jaw that a pixel below the seam follows.
    """

    points: NDArray[np.float64]
    shape: tuple[int, int]
    iod: float
    above_eye: Floats
    below_eye: Floats
    lid_share: Floats
    blink: Floats
    blink_slope: Floats
    below_seam: Floats
    below_mouth: Floats
    jaw_share: Floats

    @property
    def eye(self) -> NDArray[np.bool_]:
        """(H, W) whether a pixel shows an eyeball."""
        return np.asarray((self.above_eye < 0) & (self.below_eye < 0))

    @property
    def cavity(self) -> NDArray[np.bool_]:
        """(H, W) whether a pixel lies between open lips."""
        return np.asarray((self.below_seam > 0) & (self.below_mouth < 0))


def rig(landmarks: NDArray[np.floating[Any]], shape: tuple[int, int]) -> Rig:
    """Compute the geometry of a face.

    Args:
        landmarks: (68, 2) landmarks in pixels of the grid; the eyes must be level to within a few degrees.
        shape: Height and width of the grid.

    Raises:
        MienError: The points are not those of a face.
    """
    points: NDArray[np.float64] = np.asarray(landmarks, np.float64)
    iod = face_frame(points).iod
    x, y = np.arange(shape[1], dtype=np.float64), np.arange(shape[0], dtype=np.float64)[:, None]
    above, below = np.full(shape, _FAR), np.full(shape, _FAR)
    share, slope, blink = np.zeros(shape), np.zeros(shape), np.zeros((*shape, 2))
    for upper, lower in _LID_LINES:
        inner, outer = points[upper[0], 0], points[upper[-1], 0]  # left and right in the picture
        columns = np.flatnonzero((x > inner) & (x < outer))
        if not len(columns):
            continue
        top, bottom = _line(points[list(upper)], x[columns]), _line(points[list(lower)], x[columns])
        above[:, columns], below[:, columns] = top - y, y - bottom
        place = 2 * (x[columns] - inner) / (outer - inner) - 1
        share[:, columns] = 1 - place**2
        # In a blink, the skin between brow and lid unfolds; the brow does not move.
        opening = np.clip(bottom - top, 0, None)
        brow = points[list(_BROWS[outer < points[27, 0]])][:, 1].max()
        room = np.maximum(0.9 * (top - brow), 1.4 * opening)
        room = np.maximum(room, 1)
        height = 1 - (top - y) / room
        blink[:, columns, 1] = opening * np.clip(height, 0, 1)
        slope[:, columns] = np.where((height > 0) & (height < 1), opening / room, 0)
    seam, mouth = (_line(points[list(line)], x) for line in _SEAM)
    left, right = points[60, 0], points[64, 0]
    opening = np.clip(1 - (2 * (x - left) / (right - left) - 1) ** 2, 0, 1)
    jaw = 1 - (1 - opening) * np.exp(-np.clip(y - mouth, 0, None) / (_CHEEK * iod))
    as_floats = (above, below, share, blink, slope, y - seam, y - mouth, jaw)
    return Rig(points, shape, iod, *(np.asarray(each, np.float32) for each in as_floats))


def _line(points: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the y of a smooth line through four or five points at the columns x; constant beyond its ends."""
    left, right = points[:, 0].min(), points[:, 0].max()
    middle, half = 0.5 * (left + right), 0.5 * (right - left)
    line = np.polyfit((points[:, 0] - middle) / half, points[:, 1], len(points) - 1)
    return np.asarray(np.polyval(line, (np.clip(x, left, right) - middle) / half))


@dataclass(frozen=True, slots=True)
class Motion:
    """All motion of a timeline, as fields multiplied by weights over time.

    Attributes:
        rig: The geometry of the face.
        timeline: The timeline.
        skin: (K, H, W, 2) displacement of the skin per unit of each weight: movements, then the six columns of the
            head.
        lid: (L, H, W, 2) additional displacement of the upper lids: movements, then the blink; None if there is none.
        jaw: (J, H, W, 2) additional displacement of the jaw; None if there is none.
        steepness: (K,) bound on the change of each skin field from pixel to pixel.
        reach: (K,) largest displacement of each skin field in pixels, in each direction.
    """

    rig: Rig
    timeline: Timeline
    skin: Floats
    lid: Floats | None
    jaw: Floats | None
    steepness: Floats
    reach: Floats

    def weights(self, frames: NDArray[np.integer[Any]]) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the weights (T, K) of skin, (T, L) of lids, (T, J) of jaw, and the gaze (T, 2) in pixels."""
        units = self.timeline.activations(frames)
        head = self.timeline.head_path(frames)
        lids = np.column_stack([units, self.timeline.closures(frames)])
        gaze = self.timeline.gaze(frames) * self.rig.iod
        as_floats = (np.column_stack([units, head]), lids, units, gaze)
        skin, lid, jaw, eyes = (np.asarray(each, np.float32) for each in as_floats)
        return skin, lid, jaw, eyes

    def flow(self, frame: int) -> Floats:
        """Return the true displacement of every pixel from frame 0 to a frame.

        Returns:
            (H, W, 2) in pixels, x then y: the point at (x, y) of frame 0 is at (x, y) + flow[y, x]. Zero for frame 0.
        """
        skin, lid, jaw, gaze = self.weights(np.array([frame]))
        total = np.tensordot(skin[0], self.skin, 1)
        rest = np.tensordot(skin[0, -6:], self.skin[-6:], 1)
        if self.lid is not None:
            total += np.where((self.rig.above_eye >= 0)[..., None], np.tensordot(lid[0], self.lid, 1), 0)
        if self.jaw is not None:
            total += np.where((self.rig.below_mouth >= 0)[..., None], np.tensordot(jaw[0], self.jaw, 1), 0)
        eyes = self.rig.eye[..., None]
        return np.asarray(np.where(eyes, rest + gaze[0], np.where(self.rig.cavity[..., None], rest, total)), np.float32)

    def visible(self, frame: int) -> NDArray[np.bool_]:
        """Return (H, W) whether each point of frame 0 is still visible: not under a lid, not outside the picture."""
        flow = self.flow(frame)
        y, x = np.mgrid[: self.rig.shape[0], : self.rig.shape[1]]
        x, y = x + flow[..., 0], y + flow[..., 1]
        inside = (x >= 0) & (y >= 0) & (x <= self.rig.shape[1] - 1) & (y <= self.rig.shape[0] - 1)
        if self.lid is None:
            return np.asarray(inside)
        # The edge of the lid in that frame, one point per column.
        eye = self.rig.eye
        edge = np.where(self.rig.above_eye >= 0, self.rig.above_eye, _FAR).argmin(0)
        columns = np.arange(self.rig.shape[1])
        lowered = edge + flow[edge, columns, 1]
        return np.asarray(inside & ~(eye & (y < lowered[None])))

    def landmarks(self, frames: NDArray[np.integer[Any]]) -> Floats:
        """Return the landmarks in some frames, (T, 68, 2) in pixels.

        Points on the upper lids move with the lids, points of the lower lip with the jaw.
        """
        skin, lid, jaw, _ = self.weights(frames)
        moved = np.einsum("tk,kpc->tpc", skin, _at(self.skin, self.rig.points))
        if self.lid is not None:
            upper = [37, 38, 43, 44]
            moved[:, upper] += np.einsum("tk,kpc->tpc", lid, _at(self.lid, self.rig.points[upper]))
        if self.jaw is not None:
            lower = [*range(4, 13), *range(55, 60), 65, 66, 67]
            moved[:, lower] += np.einsum("tk,kpc->tpc", jaw, _at(self.jaw, self.rig.points[lower]))
        return np.asarray(self.rig.points + moved, np.float32)


def motion(geometry: Rig, timeline: Timeline) -> Motion:
    """Compute the fields of all motion of a timeline.

    Args:
        geometry: The geometry of the face.
        timeline: The timeline.

    Example:
        >>> from mien.synthesis.shape import Crop, neutral_points
        >>> from mien.synthesis.timeline import movements_of
        >>> smile = Timeline(20, 200, movements_of("12", onset=0, apex=8, offset=19, intensity=0.2))
        >>> moving = motion(rig(Crop().place(neutral_points(), (56, 48)), (56, 48)), smile)
        >>> moving.flow(8).shape, float(abs(moving.flow(0)).max())
        ((56, 48, 2), 0.0)
    """
    shape, points = geometry.shape, geometry.points
    skin = np.zeros((len(timeline.movements), *shape, 2), np.float32)
    lid, jaw = np.zeros((len(timeline.movements) + 1, *shape, 2), np.float32), np.zeros_like(skin)
    lids = bool(timeline.blinks)
    for k, movement in enumerate(timeline.movements):
        halves = dict(zip(("R", "L"), movement.halves(), strict=True))
        for (side, layer), field in unit_fields(movement.unit, points, shape).items():
            if layer == "skin":
                skin[k] += halves[side] * field
            elif layer == "lid":
                lid[k] += halves[side] * field * geometry.lid_share[..., None]
                lids = True
            else:
                jaw[k] += halves[side] * field * geometry.jaw_share[..., None]
    lid[-1] = geometry.blink
    everything = np.concatenate([skin, head_fields(points, shape)])
    thin = everything[:, ::2, ::2]
    steepness = sum(np.abs(np.diff(thin, axis=axis)).max((1, 2, 3)) / 2 for axis in (1, 2))
    reach = np.abs(thin).max((1, 2, 3))
    return Motion(
        geometry, timeline, everything, lid if lids else None, jaw if jaw.any() else None, np.asarray(steepness), reach
    )


def _at(fields: Floats, points: NDArray[np.float64] | Sequence[Any]) -> Floats:
    """Sample fields (K, H, W, 2) at points (P, 2), bilinear, with the nearest pixel outside; return (K, P, 2)."""
    at = np.asarray(points, np.float64)
    height, width = fields.shape[1:3]
    x, y = at[:, 0].clip(0, width - 1), at[:, 1].clip(0, height - 1)
    x0, y0 = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    top = fields[:, y0, x0] * (1 - fx) + fields[:, y0, x0 + 1] * fx
    bottom = fields[:, y0 + 1, x0] * (1 - fx) + fields[:, y0 + 1, x0 + 1] * fx
    return np.asarray(top * (1 - fy) + bottom * fy, np.float32)
