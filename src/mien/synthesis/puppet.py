"""Animate a face by warping one picture of it, with exactly known motion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.synthesis.acting import Manner, draw_micro
from mien.synthesis.face import draw_identity, to_grey
from mien.synthesis.fields import Floats, face_frame
from mien.synthesis.neutral_face import Face
from mien.synthesis.picture_variation import draw_picture_crop
from mien.synthesis.rig import Motion, Rig, motion, rig
from mien.synthesis.sensor import Exposure, Sensor, draw_sensor
from mien.synthesis.shape import Crop
from mien.synthesis.timeline import Timeline

_OVER: Final = 2
"""Pixels of the reference picture per pixel of a frame, in each direction."""
_CHUNK: Final = 16
_TURNS: Final = 3
MARGIN: Final = 0.05
"""Additional border of `onset_and_apex`, as a fraction of the size of the crop."""

_ENOUGH: Final = 0.004  # allowed error of the position of a pixel, in pixels
_CLIP: Final = 4.0  # distances from a border are limited to so many pixels
_CAVITY: Final = np.array([70, 30, 28], np.float32)

_Box = tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class Puppet:
    """A face on the pixel grid of the frames, ready to be animated.

    Attributes:
        rig: Its geometry in pixels of a frame.
        skin: The reference picture, twice the size of a frame in each direction: (2H, 2W[, 3]), 0..255.
        eyes: The same with the eyeballs continued under the lids.
        eye_boxes: Regions of the eyes and lids, in pixels of a frame.
        mouth_box: Region in which the jaw can separate from the upper lip.
    """

    rig: Rig
    skin: Floats
    eyes: Floats
    eye_boxes: tuple[_Box, ...]
    mouth_box: _Box

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a frame: (H, W) or (H, W, 3)."""
        return (*self.rig.shape, *self.skin.shape[2:])


def puppet(
    face: Face, *, crop: Crop | None = None, width: int = 245, height: int | None = None, colour: bool = True
) -> Puppet:
    """Prepare a face for animation.

    Args:
        face: The face.
        crop: Part of the face that the frames show.
        width: Width of the frames in pixels.
        height: Height of the frames in pixels; None derives it from the crop.
        colour: RGB frames if true, otherwise grey.

    Example:
        >>> from mien.synthesis.shape import neutral_points
        >>> grey = Face(np.full((64, 64, 3), 128, np.float32), Crop().place(neutral_points(), (64, 64)), "grey")
        >>> puppet(grey, width=48, height=56).shape
        (56, 48, 3)
    """
    crop = crop or Crop()
    shape = (height, width) if height is not None else crop.shape(width)
    frame = face_frame(face.points)
    upright = np.stack([(face.points - frame.origin) @ frame.across, (face.points - frame.origin) @ frame.down], -1)
    placed = crop.place(upright / frame.iod, shape)
    image = face.image if colour else to_grey(face.image)
    reference = _cut(image, face.points, placed, shape)
    geometry = rig(placed, shape)
    boxes = _eye_boxes(geometry)
    return Puppet(geometry, reference, _under_lids(reference, geometry, boxes), boxes, _mouth_box(geometry))


def _cut(image: Floats, points: NDArray[np.float64], placed: NDArray[np.float64], shape: tuple[int, int]) -> Floats:
    """Return the part of a picture that the frames show, at twice their size, band-limited to their resolution."""
    into = _OVER * placed + 0.5 * (_OVER - 1)
    # The eyes determine the similarity transform from the picture to the frames.
    a, b = face_frame(points), face_frame(into)
    scale = b.iod / a.iod
    turn = np.stack([b.across, b.down], 1) @ np.stack([a.across, a.down], 0) * scale
    matrix = np.column_stack([turn, b.origin - turn @ a.origin])
    if scale < 0.7:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.5 / scale), np.float32)
    size = (_OVER * shape[1], _OVER * shape[0])
    cut = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip(cv2.GaussianBlur(cut, (0, 0), 0.4 * _OVER), 0, 255), np.float32)


def _eye_boxes(geometry: Rig) -> tuple[_Box, ...]:
    boxes = []
    for at in (slice(36, 42), slice(42, 48)):
        (left, top), (right, bottom) = geometry.points[at].min(0), geometry.points[at].max(0)
        margin = 0.12 * geometry.iod
        boxes.append(_box(geometry, left - margin, top - 0.45 * geometry.iod, right + margin, bottom + margin))
    return tuple(b for b in boxes if b[0].stop > b[0].start and b[1].stop > b[1].start)


def _mouth_box(geometry: Rig) -> _Box:
    top = geometry.points[60:68, 1].min() - 0.15 * geometry.iod
    return _box(geometry, 0, top, geometry.shape[1], geometry.shape[0])


def _box(geometry: Rig, left: float, top: float, right: float, bottom: float) -> _Box:
    height, width = geometry.shape
    rows = slice(int(np.clip(top, 0, height)), int(np.clip(np.ceil(bottom), 0, height)))
    return rows, slice(int(np.clip(left, 0, width)), int(np.clip(np.ceil(right), 0, width)))


def _under_lids(reference: Floats, geometry: Rig, boxes: tuple[_Box, ...]) -> Floats:
    """Return the reference picture with the eyeballs continued a little under the lids."""
    eyes = reference.copy()
    for rows, columns in boxes:
        large = (slice(_OVER * rows.start, _OVER * rows.stop), slice(_OVER * columns.start, _OVER * columns.stop))
        part = reference[large]
        # A margin inside the lids, so that lashes are not continued.
        inside = (geometry.above_eye[rows, columns] < -0.03 * geometry.iod) & (geometry.below_eye[rows, columns] < -1)
        seen = np.kron(inside, np.ones((_OVER, _OVER))).astype(np.uint8)
        if seen.any():
            filled = cv2.inpaint(np.clip(part, 0, 255).astype(np.uint8), 1 - seen, 3, cv2.INPAINT_TELEA)
            keep = np.kron(geometry.eye[rows, columns], np.ones((_OVER, _OVER))).astype(np.float32)
            keep = cv2.GaussianBlur(keep, (0, 0), 1.0)
            keep = keep[..., None] if part.ndim == 3 else keep
            eyes[large] = keep * part + (1 - keep) * filled
    return eyes


def clean_frames(body: Puppet, moving: Motion, frames: NDArray[np.integer]) -> Iterator[Floats]:
    """Yield frames without camera effects: (H, W[, 3]), 0..255, not rounded.

    Args:
        body: The face.
        moving: Its motion, with the same rig.
        frames: Numbers of the frames of the timeline.
    """
    height, width = body.rig.shape
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    flat = moving.skin.reshape(len(moving.skin), -1)
    for start in range(0, len(frames), _CHUNK):
        some = frames[start : start + _CHUNK]
        skin, lid, jaw, gaze = moving.weights(some)
        fields = (skin @ flat).reshape(len(some), height, width, 2)
        turns = _turns(np.abs(skin) @ moving.steepness, np.abs(skin) @ moving.reach)
        for t, field in enumerate(fields):
            yield _frame(body, moving, grid, field, turns[t], skin[t, -6:], lid[t], jaw[t], gaze[t])


def _turns(steepness: Floats, reach: Floats) -> list[int]:
    """Return the iterations that bring the error below `_ENOUGH`, from steepness and size of the fields, (T,) each."""
    steep = np.clip(steepness, 1e-6, 0.9)
    return [int(n) for n in np.clip(np.ceil(np.log(_ENOUGH / np.maximum(reach, 1e-6)) / np.log(steep)) - 1, 0, 12)]


def _frame(
    body: Puppet,
    moving: Motion,
    grid: Floats,
    field: Floats,
    turns: int,
    head: Floats,
    lid: Floats,
    jaw: Floats,
    gaze: Floats,
) -> Floats:
    origin = _inverse(grid, field, turns)
    picture = _sample(body.skin, origin)
    for box in body.eye_boxes:
        _draw_eye(picture, body, moving, grid, field, origin, box, head, lid, gaze)
    if moving.jaw is not None:
        _draw_jaw(picture, body, moving, grid, field, origin, jaw)
    return picture


def _draw_eye(
    picture: Floats,
    body: Puppet,
    moving: Motion,
    grid: Floats,
    field: Floats,
    origin: Floats,
    box: _Box,
    head: Floats,
    lid: Floats,
    gaze: Floats,
) -> None:
    """Draw the eyeball, the lower lid over it, and the upper lid over both, each with its own motion."""
    here, below = grid[box], origin[box]
    upper = below
    if moving.lid is not None and lid.any():
        extra = np.tensordot(lid, moving.lid[(slice(None), *box)], 1)
        slope = lid[-1] * body.rig.blink_slope[box] if lid[-1] > 0 else None
        upper = _inverse(here, field[box] + extra, _TURNS + 2, (box[1].start, box[0].start), slope)
    above = _map(body.rig.above_eye, upper)
    under = _map(body.rig.below_eye, below)
    rest = np.tensordot(head, moving.skin[(slice(-6, None), *box)], 1)
    ball = _sample(body.eyes, here - rest - gaze)
    a, b = _share(above, picture.ndim), _share(under, picture.ndim)
    lowered = picture[box] if upper is below else _sample(body.skin, upper)
    picture[box] = a * lowered + (1 - a) * (b * picture[box] + (1 - b) * ball)


def _draw_jaw(
    picture: Floats, body: Puppet, moving: Motion, grid: Floats, field: Floats, origin: Floats, jaw: Floats
) -> None:
    assert moving.jaw is not None
    box = body.mouth_box
    if not jaw.any() or box[0].start >= box[0].stop:
        return
    extra = np.tensordot(jaw, moving.jaw[(slice(None), *box)], 1)
    lower = _inverse(grid[box], field[box] + extra, _TURNS + 2, (box[1].start, box[0].start))
    # The lips overlap by half a pixel, so that closed lips show no gap.
    low = _share(_map(body.rig.below_mouth, lower) + 0.5, picture.ndim)
    high = _share(0.5 - _map(body.rig.below_seam, origin[box]), picture.ndim)
    dark = _CAVITY if picture.ndim == 3 else np.float32(40)
    picture[box] = low * _sample(body.skin, lower) + (1 - low) * (high * picture[box] + (1 - high) * dark)


def _share(distance: Floats, dimensions: int) -> Floats:
    """Convert a signed distance in pixels to a coverage 0..1, with a border one pixel wide."""
    share: Floats = np.clip(distance + 0.5, 0, 1)
    return share[..., None] if dimensions == 3 else share


def _inverse(
    grid: Floats, field: Floats, turns: int, corner: tuple[int, int] = (0, 0), slope: Floats | None = None
) -> Floats:
    """Find where each pixel was in the neutral face: solve q + field(q) = grid by fixed-point iteration.

    Each iteration multiplies the error by the steepness of the field, at most a third for skin. Blinks are steeper:
    there, the known slope of the field is used for Newton steps.
    """
    points = grid - field
    shift = np.array(corner, np.float32)
    for _ in range(turns):
        at = points - shift if corner != (0, 0) else points
        moved = cv2.remap(field, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if slope is None:
            points = grid - moved
        else:
            left = points + moved - grid
            left[..., 1] /= 1 + cv2.remap(slope, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            points = points - left
    return np.asarray(points, np.float32)


def _sample(picture: Floats, points: Floats) -> Floats:
    at = points * _OVER + np.float32(0.5 * (_OVER - 1))
    return np.asarray(cv2.remap(picture, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _map(distance: Floats, points: Floats) -> Floats:
    clipped = np.clip(distance, -_CLIP, _CLIP)
    return np.asarray(cv2.remap(clipped, points, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def film(body: Puppet, timeline: Timeline, sensor: Sensor, rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a timeline as a camera stores them. A few are in memory at a time, whatever the length.

    Args:
        body: The face.
        timeline: What the face does.
        sensor: The camera.
        rng: Random generator for noise and flicker.

    Yields:
        (H, W[, 3]) frames of 8 bits.

    Example:
        >>> from mien.synthesis.shape import neutral_points
        >>> from mien.synthesis.timeline import movements_of
        >>> grey = Face(np.full((64, 64, 3), 128, np.float32), Crop().place(neutral_points(), (64, 64)), "grey")
        >>> smile = Timeline(9, 200, movements_of("12", onset=1, apex=4, offset=8, intensity=0.2))
        >>> len(list(film(puppet(grey, width=48, height=56), smile, Sensor(), np.random.default_rng(0))))
        9
    """
    moving = motion(body.rig, timeline)
    gains = sensor.gains(timeline.n_frames, timeline.fps, rng)
    camera = Exposure(sensor, body.shape, rng)
    for gain, frame in zip(gains, clean_frames(body, moving, np.arange(timeline.n_frames)), strict=True):
        yield camera.take(frame, float(gain))


def onset_and_apex(
    emotion: str, seed: int, subject: int, rng: np.random.Generator, manner: Manner
) -> tuple[NDArray[np.uint8], str]:
    """Render onset and apex of a random micro-expression as a laboratory camera would take them.

    The frames show more than a tight crop: `MARGIN` of its size on each side.

    Args:
        emotion: A name in `mien.synthesis.acting.emotions()`.
        seed: Together with `subject`, determines the face.
        subject: Together with `seed`, determines the face.
        rng: Random generator for everything else.
        manner: Distributions of the random values.

    Returns:
        (2, H, W) grey frames of 8 bits, and the action units shown.
    """
    face = _face_of(seed, subject)
    crop, larger = draw_picture_crop(rng), 1 + 2 * MARGIN
    wide = replace(crop, width=crop.width * larger, height=crop.height * larger, eyes=(crop.eyes + MARGIN) / larger)
    body = puppet(face, crop=wide, width=round(larger * int(rng.integers(84, 140))), colour=False)
    timeline, units = draw_micro(emotion, 200, rng, manner=manner)
    apex = timeline.movements[0].apex if timeline.movements else timeline.n_frames // 2
    sensor = draw_sensor(rng)
    camera = Exposure(sensor, body.shape, rng)
    gains = sensor.gains(timeline.n_frames, timeline.fps, rng)
    two = clean_frames(body, motion(body.rig, timeline), np.array([0, apex]))
    return np.stack([camera.take(f, float(gains[t])) for f, t in zip(two, (0, apex), strict=True)]), units


_KNOWN: dict[tuple[int, int], Face] = {}


def _face_of(seed: int, subject: int) -> Face:
    """Return the face of a subject. The last one is cached, because clips of one subject follow each other."""
    key = (seed, subject)
    if key not in _KNOWN:
        _KNOWN.clear()
        _KNOWN[key] = draw_identity(np.random.default_rng(np.random.SeedSequence([seed, subject, 3])))
    return _KNOWN[key]
