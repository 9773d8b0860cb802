"""Long films of a drawn face with known micro- and macro-expressions, blinks and head motion, made frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.synthesis.drawn_face import draw_face, features_of
from mien.synthesis.moving_face import motion_of

Picture = NDArray[np.uint8]
_FACES = ("negative", "positive", "surprise")


@dataclass(frozen=True)
class Event:
    """An expression or a blink; frames counted from 0, both ends included."""

    onset: int
    apex: int
    offset: int
    kind: str
    face: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Film:
    """The events of a video."""

    identity: int
    seconds: float
    fps: float
    events: tuple[Event, ...]
    blinks: tuple[Event, ...]
    seed: int
    head: float
    size: tuple[int, int] = (240, 320)
    side: int = 220

    @property
    def n_frames(self) -> int:
        return round(self.seconds * self.fps)


def film(
    identity: int,
    seconds: float = 60.0,
    fps: float = 100.0,
    *,
    micros: int = 6,
    macros: int = 2,
    blinks: int = 12,
    head: float = 1.0,
    seed: int = 0,
    size: tuple[int, int] = (240, 320),
    side: int = 220,
) -> Film:
    """Return events at random times that do not overlap, and blinks at any time."""
    rng = np.random.default_rng([identity, seed, 7])
    kinds = ["micro"] * micros + ["macro"] * macros
    rng.shuffle(kinds)
    slot = (seconds - 3.0) / max(len(kinds), 1)
    events = []
    for i, kind in enumerate(kinds):
        longest = min(3.0, slot - 0.8)
        length = rng.uniform(0.18, 0.48) if kind == "micro" else rng.uniform(0.75, max(longest, 0.8))
        start = 1.5 + slot * i + rng.uniform(0.2, max(slot - length - 0.4, 0.21))
        onset, offset = round(start * fps), round((start + length) * fps)
        apex = onset + max(1, round(rng.uniform(0.35, 0.6) * (offset - onset)))
        events.append(Event(onset, apex, offset, kind, _FACES[int(rng.integers(3))], int(rng.integers(1000))))
    shut = []
    for start in np.sort(rng.uniform(0.5, seconds - 1, blinks)):
        length = rng.uniform(0.15, 0.35)
        onset, offset = round(start * fps), round((start + length) * fps)
        shut.append(Event(onset, onset + max(1, (offset - onset) // 3), offset, "blink"))
    return Film(identity, seconds, fps, tuple(events), tuple(shut), seed, head, size, side)


def curve(event: Event, t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 0 outside the event, 1 at its apex, with cosine ramps."""
    rise = np.clip((t - event.onset) / (event.apex - event.onset), 0, 1)
    fall = np.clip((event.offset - t) / (event.offset - event.apex), 0, 1)
    return 0.5 - 0.5 * np.cos(np.pi * np.minimum(rise, fall))


def frames(staged: Film) -> Iterator[Picture]:
    """(H, W) grey frames."""
    side, (height, width) = staged.side, staged.size
    fps = staged.fps
    rng = np.random.default_rng([staged.identity, staged.seed, 8])
    f = features_of(staged.identity)
    opened = draw_face(f, side) @ np.array([0.299, 0.587, 0.114], np.float32)
    axis = ((np.arange(side) + 0.5) / side).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    u = (np.abs(x - 0.5) - f.eye_distance) / f.eye_width
    arch = np.clip(1 - u * u, 0, None)
    upper, lower = f.eye_y - f.eye_openness * arch**0.8 - 0.012, f.eye_y + 0.68 * f.eye_openness * arch
    eye = (np.abs(u) < 1) & (y > upper) & (y < lower + 0.006)
    lid = opened.copy()
    lid[eye] = float(np.median(opened[(np.abs(u) < 1) & (y < upper) & (y > upper - 0.03)])) - 6
    lid = cv2.GaussianBlur(lid, (0, 0), 0.8)

    fields = []
    for event in staged.events:
        moved = motion_of(staged.identity, event.face, interval_length=3, apex=1, size=side, seed=event.seed)[1]
        pull = moved - moved[0, 0]
        if event.kind == "macro":
            pull = pull * 3.0
        fields.append(pull.astype(np.float32))
    columns, rows = np.arange(width), np.arange(height)[:, None]
    corner = np.array([(width - side) / 2, (height - side) / 2])
    centre = np.array([width / 2, height / 2 + 0.2 * side])
    scale = side / 220 * staged.head
    sway = rng.uniform(0.5, 1.0, (4, 3)) * np.array([[2.5], [1.8], [0.012], [0.008]]) * np.array([[1, 0.5, 0.2]])
    hertz = rng.uniform([0.03, 0.12, 0.4], [0.1, 0.3, 0.9], (4, 3))
    phase = rng.uniform(0, 2 * np.pi, (4, 3))
    light = 0.0
    blank = np.zeros((side, side, 2), np.float32)
    for t in range(staged.n_frames):
        now = t / fps
        dx, dy, turn, grow = (sway * np.sin(2 * np.pi * hertz * now + phase)).sum(1) * (
            scale, scale, staged.head, staged.head,
        )  # fmt: skip
        c, s = np.cos(turn) * (1 + grow), np.sin(turn) * (1 + grow)
        c, s = c / (1 + grow) ** 2, s / (1 + grow) ** 2
        across, down = columns - (centre[0] + dx), rows - (centre[1] + dy)
        offset = centre - corner
        source = np.empty((height, width, 2), np.float32)
        source[..., 0] = (c * across + offset[0]).astype(np.float32) + (s * down).astype(np.float32)
        source[..., 1] = (-s * across).astype(np.float32) + (c * down + offset[1]).astype(np.float32)
        pull = blank
        for event, each in zip(staged.events, fields, strict=True):
            if event.onset < t < event.offset:
                pull = pull + each * float(curve(event, np.array(float(t))))
        if pull is not blank:
            points = source.copy()
            for _ in range(3):
                points = source - cv2.remap(pull, points[..., 0], points[..., 1], cv2.INTER_LINEAR)
            source = points
        picture = opened
        shut = max((float(curve(b, np.array(float(t)))) for b in staged.blinks), default=0.0)
        if shut > 0:
            edge = upper + shut * (lower - upper + 0.01)
            mask = (np.clip((edge - y) * side / 1.5 + 0.5, 0, 1) * eye).astype(np.float32)
            picture = opened + mask * (lid - opened)
        frame = cv2.remap(picture, source[..., 0], source[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        light = 0.98 * light + rng.normal(0, 0.0008)
        frame = frame * (1 + light) + 1.5 * rng.standard_normal(frame.shape, np.float32)
        yield np.clip(frame + 0.5, 0, 255).astype(np.uint8)
