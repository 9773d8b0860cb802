"""A face that can be moved: photo warp with exact motion. Every frame is sampled from one picture."""

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
from mien.synthesis.rig import Motion, Rig, motion, rig
from mien.synthesis.sensor import Exposure, Sensor, draw_sensor
from mien.synthesis.shape import Crop, draw_crop
from mien.synthesis.timeline import Timeline

_OVER: Final = 2
"""The reference picture has so many pixels each way for one of a frame."""
_CHUNK: Final = 16
_TURNS: Final = 3
MARGIN: Final = 0.05
"""Rim of `onset_and_apex`, as a part of the crop's size."""

_ENOUGH: Final = 0.004  # pixels by which the place of a pixel may be wrong
_CLIP: Final = 4.0  # pixels beyond which a border map need not tell how far
_CAVITY: Final = np.array([70, 30, 28], np.float32)

_Box = tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class Puppet:
    """A face on the grid of a picture, ready to be moved.

    Attributes:
        rig: Its geometry in pixels of a frame.
        skin: The reference picture, twice the size of a frame each way: (2H, 2W[, 3]), 0..255.
        eyes: The same with the eyeballs carried on under the lids.
        eye_boxes: Where eyes and lids are, in pixels of a frame.
        mouth_box: Where the jaw can leave the upper lip.
    """

    rig: Rig
    skin: Floats
    eyes: Floats
    eye_boxes: tuple[_Box, ...]
    mouth_box: _Box

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, 3) of a frame."""
        return (*self.rig.shape, *self.skin.shape[2:])


def puppet(
    face: Face, *, crop: Crop | None = None, width: int = 245, height: int | None = None, colour: bool = True
) -> Puppet:
    """Makes a face ready to be moved.

    Args:
        face: Whose face.
        crop: What part of it the pictures show.
        width: Width of the pictures in pixels.
        height: Their height; where it is not given, as the crop has it.
        colour: RGB pictures when true, else grey.
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
    """The part of a picture that the frames show, twice their size, band-limited to what they can hold."""
    into = _OVER * placed + 0.5 * (_OVER - 1)
    # One similarity leads from the picture to the frames: that of the eyes.
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
    """The reference picture in which the eyeballs go on a little way under the lids."""
    eyes = reference.copy()
    for rows, columns in boxes:
        large = (slice(_OVER * rows.start, _OVER * rows.stop), slice(_OVER * columns.start, _OVER * columns.stop))
        part = reference[large]
        # A little inside of the lids, so that lashes are not carried on.
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
    """Frames without a sensor, one after the other: (H, W[, 3]), 0..255, not rounded.

    Args:
        body: The face.
        moving: Its motion; of the same rig.
        frames: Which frames of the timeline.
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
    """Turns of the iteration that bring the error below `_ENOUGH`, for fields so steep and so large: (T,) each."""
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
    """Upper lid before lower lid before eyeball, each in its own place."""
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
    # Half a pixel of overlap: closed lips leave no gap.
    low = _share(_map(body.rig.below_mouth, lower) + 0.5, picture.ndim)
    high = _share(0.5 - _map(body.rig.below_seam, origin[box]), picture.ndim)
    dark = _CAVITY if picture.ndim == 3 else np.float32(40)
    picture[box] = low * _sample(body.skin, lower) + (1 - low) * (high * picture[box] + (1 - high) * dark)


def _share(distance: Floats, dimensions: int) -> Floats:
    """0..1 from a signed distance in pixels: a border one pixel wide."""
    share: Floats = np.clip(distance + 0.5, 0, 1)
    return share[..., None] if dimensions == 3 else share


def _inverse(
    grid: Floats, field: Floats, turns: int, corner: tuple[int, int] = (0, 0), slope: Floats | None = None
) -> Floats:
    """Where each pixel was in the neutral face: solves q + field(q) = grid by fixed-point iteration.

    Each turn lowers the error by the steepness of the field, a third at the most for skin. A blink is steeper: there
    the known slope of the field makes the turns Newton's.
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
    """The frames of a timeline as a camera stores them; holds a few at a time, whatever the length.

    Args:
        body: The face.
        timeline: What it does.
        sensor: The camera.
        rng: Noise and flicker.

    Yields:
        (H, W[, 3]) of 8 bits.
    """
    moving = motion(body.rig, timeline)
    gains = sensor.gains(timeline.n_frames, timeline.fps, rng)
    camera = Exposure(sensor, body.shape, rng)
    for gain, frame in zip(gains, clean_frames(body, moving, np.arange(timeline.n_frames)), strict=True):
        yield camera.take(frame, float(gain))


def onset_and_apex(
    emotion: str, seed: int, subject: int, rng: np.random.Generator, manner: Manner
) -> tuple[NDArray[np.uint8], str]:
    """Two grey frames (2, H, W) of a micro-expression as a laboratory camera would take them, and its action units.

    They show `MARGIN` of the crop's size more on each side than a tight crop does.

    Args:
        emotion: A name in `mien.synthesis.acting.emotions()`.
        seed: With `subject`, whose face.
        subject: With `seed`, whose face.
        rng: Everything else.
        manner: How hard it is.
    """
    face = _acquainted(seed, subject)
    crop, larger = draw_crop(rng), 1 + 2 * MARGIN
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


def _acquainted(seed: int, subject: int) -> Face:
    """The face of a subject; the last one is kept, as clips of one subject come in a row."""
    key = (seed, subject)
    if key not in _KNOWN:
        _KNOWN.clear()
        _KNOWN[key] = draw_identity(np.random.default_rng(np.random.SeedSequence([seed, subject, 3])))
    return _KNOWN[key]
