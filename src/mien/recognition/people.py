"""Follow the faces of a video over time, one stream per person, matched by their positions.

Nobody is identified. A face that comes into view is a new person, unless somebody went out of view before: then it
counts as the person whose last face was nearest and about as large.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mien.face.crop import crop_box
from mien.face.detect import Face, detect_faces
from mien.face.landmarks import SMALLEST_FACE
from mien.recognition.records import Place
from mien.spotting.face_stream import FaceStream, Look

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]

MOST_PEOPLE: Final = 6
"""Faces followed at once. Each of them costs the same time."""

_LOOK_ROUND: Final = 0.5
"""Seconds between two searches of the whole picture."""

_PATIENCE: Final = 1.0
"""Seconds without a search for landmarks while a face is still; see `FaceStream`."""

_STILL_SCENE: Final = 2.0
"""Seconds without a search of the whole picture while nothing but the faces in view changes."""

_CELL: Final = 16
"""Pixels of the side of the squares whose mean grey levels show whether anything changes; see `_STILL_SCENE`."""

_CHANGED: Final = 6.0
"""Grey levels by which the mean of such a square must change. A face that comes into view covers several of them."""

_LONGEST_SIDE: Final = 1280
"""Longest side in pixels. Larger pictures are scaled down before the search, whose cost grows with the area."""

_SAME: Final = 0.3
"""Least overlap (intersection over union) of one person's boxes in two searches."""

_FACE: Final = (0.5, 0.75, 2.5, 2.0)
"""Margins of about the box that the detector gives a face; see `crop_box`."""


@dataclass(slots=True)
class Person:
    """State of one person while the video is read.

    Attributes:
        number: Number of the person, from 1.
        stream: Follows the face.
        first: Index of the first frame with the face.
        last: Index of the last frame with the face.
        n_frames: Number of frames with the face.
        box: (4,) x0, y0, x1, y1 of the face where it was seen last.
        present: Whether the face is in view.
        places: Where the face was; see `mien.recognition.records.Track`.
        sizes: Distance between the eyes in pixels, one for each place.
        lost_at: Index of the frame at which the face went out of view.
    """

    number: int
    stream: FaceStream
    first: int
    last: int
    n_frames: int
    box: Floats
    present: bool = True
    places: list[Place] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    lost_at: int = -1


class People:
    """Follow everybody in a video, frame by frame. No frame is kept.

    Args:
        fps: Frames per second of the video.
        device: Device of the networks ("cpu", "cuda").
        hop: Step between the frames that are looked at. Looks count them; people and places count frames of the video.

    Attributes:
        everybody: All people so far.
        too_small: Size in pixels of the largest face that was too small to use; 0 if there was none.
        crowded: Whether more than `MOST_PEOPLE` faces were in view.
    """

    def __init__(self, fps: float, device: str = "cpu", hop: int = 1) -> None:
        self._fps, self._device, self._hop = fps / hop, device, hop
        self._step = max(1, round(_LOOK_ROUND * self._fps))
        self._faces: tuple[int, list[Face]] = (-1, [])
        self._searched: tuple[int, Picture] | None = None
        self._now = -1
        self.everybody: list[Person] = []
        self.too_small = 0.0
        self.crowded = False

    def look(self, frame: Picture, index: int) -> Iterator[tuple[Person, Look]]:
        """Find everybody's face in the next frame. People out of view get a look without a picture.

        Args:
            frame: (H, W) grey or (H, W, 3) RGB, 8 bits.
            index: Number of the frame in the video, a multiple of `hop`. Multiples left out count as frames without a
                face.
        """
        index //= self._hop
        due = self._now < 0 or index // self._step != self._now // self._step
        self._now = index
        if due:
            self._look_round(frame)
        for person in self.everybody:
            while person.stream.seen < index:  # frames that cannot be read
                yield person, Look(person.stream.seen, None, None)
                person.stream.seen += 1
            look = person.stream.look(frame)
            self._note(person, look)
            yield person, look

    def _look_round(self, frame: Picture) -> None:
        """Search the whole picture: notice who is new, who is back, and whether two streams follow the same face."""
        present = [person for person in self.everybody if person.present]
        for i, person in enumerate(present):
            if any(_overlap(person.box, other.box) > 0.6 for other in present[:i]):
                person.stream = self._stream(person, self._now)  # it had moved to another person's face
                person.present = False
                _lose(person, self._now * self._hop)
        present = [person for person in present if person.present]
        if self._unchanged(frame):
            return
        for face in self._detected(frame):
            if face.size < SMALLEST_FACE:
                self.too_small = max(self.too_small, face.size)
                continue
            if any(_overlap(face.box, person.box) > _SAME or _inside(face.box, person.box) for person in present):
                continue
            lost = [person for person in self.everybody if not person.present and _alike(face.box, person.box)]
            if lost:
                back = min(lost, key=lambda person: math.dist(_middle(face.box), _middle(person.box)))
                back.box, back.present = face.box, True
                present.append(back)
            elif len(present) < MOST_PEOPLE:
                first = self._now * self._hop
                person = Person(len(self.everybody) + 1, FaceStream(self._fps), first, first, 0, face.box)
                person.stream = self._stream(person, self._now)
                self.everybody.append(person)
                present.append(person)
            else:
                self.crowded = True

    def _unchanged(self, frame: Picture) -> bool:
        """Return whether nobody can have come since the last search: all are in view, and nothing else changes."""
        height, width = (max(1, length // _CELL) for length in frame.shape[:2])
        across, down = frame.shape[1] / width, frame.shape[0] / height
        grey = frame if frame.ndim == 2 else frame[..., 1]
        cells = np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA))
        if self._searched is not None and self.everybody and all(person.present for person in self.everybody):
            before, seen = self._searched
            changed = np.abs(cells.astype(np.int16) - seen) >= _CHANGED
            for person in self.everybody:
                x0, y0, x1, y1 = (person.box / (across, down, across, down)).astype(int)
                changed[max(0, y0 - 1) : y1 + 2, max(0, x0 - 1) : x1 + 2] = False
            if self._now - before < _STILL_SCENE * self._fps and not changed.any():
                return True
        self._searched = self._now, cells
        return False

    def _stream(self, person: Person, index: int) -> FaceStream:
        """Make a stream that follows only a face near this person's last box."""

        def own(frame: Picture) -> list[Face]:
            others = [p.box for p in self.everybody if p is not person and p.present]
            return [
                face
                for face in self._detected(frame)
                if _overlap(face.box, person.box) > 0.1
                and not any(_overlap(face.box, box) > _overlap(face.box, person.box) for box in others)
            ]

        stream = FaceStream(self._fps, device=self._device, detect=own, patience=_PATIENCE)
        stream.seen = index
        return stream

    def _detected(self, frame: Picture) -> list[Face]:
        """Detect the faces in this frame, once per frame however often this is called."""
        if self._faces[0] != self._now:
            factor = max(1.0, max(frame.shape[:2]) / _LONGEST_SIDE)
            size = round(frame.shape[1] / factor), round(frame.shape[0] / factor)
            small = frame if factor == 1 else np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
            alone = not any(person.present for person in self.everybody)
            faces = detect_faces([small], small=alone and self._now % self._step == 0, device=self._device)[0]
            scale = np.float32(factor)
            self._faces = self._now, [Face(f.box * scale, f.score, f.keypoints * scale) for f in faces]
        return self._faces[1]

    def _note(self, person: Person, look: Look) -> None:
        eyes = person.stream.eyes
        person.present = look.picture is not None and eyes is not None
        if not person.present:
            _lose(person, look.index * self._hop)
            return
        assert eyes is not None
        person.n_frames += self._hop
        person.last = look.index * self._hop
        if look.fresh or look.change is not None:
            x0, y0, x1, y1 = (round(float(v), 2) for v in eyes.ravel())
            person.places.append(Place(look.index * self._hop, (x0, y0, x1, y1)))
            person.sizes.append(person.stream.eye_distance)
            person.box = face_box(eyes)


@contextmanager
def single_torch_thread() -> Iterator[None]:
    """Limit torch to one thread: for one small picture at a time, several threads are slower than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def face_box(eyes: NDArray[np.floating]) -> Floats:
    """Return the box of a face from the centres of its eyes.

    Args:
        eyes: (2, 2) x and y of the image-left eye, then of the other, in pixels.

    Returns:
        (4,) x0, y0, x1, y1 in pixels.

    Example:
        >>> face_box(np.array([[40.0, 50.0], [60.0, 50.0]])).round().tolist()
        [30.0, 35.0, 70.0, 85.0]
    """
    box = crop_box(eyes, _FACE)
    return np.array([box.x, box.y, box.x + box.width, box.y + box.height], np.float32)


def _lose(person: Person, index: int) -> None:
    if person.places and person.places[-1].eyes is not None:
        person.places.append(Place(index, None))


def _overlap(a: Floats, b: Floats) -> float:
    """Return the intersection over union of two boxes."""
    both = float(np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)))
    return both / max(float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - both, 1e-9)


def _inside(face: Floats, box: Floats) -> bool:
    """Return whether the middle of a face lies well inside another box."""
    x, y = _middle(face)
    margin = 0.2 * (box[2:] - box[:2])
    low, high = box[:2] + margin, box[2:] - margin
    return bool(low[0] < x < high[0] and low[1] < y < high[1])


def _middle(box: Floats) -> tuple[float, float]:
    return float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2


def _alike(a: Floats, b: Floats) -> bool:
    """Return whether two boxes are similar enough in size to show one face at different distances."""
    sides = [math.sqrt(max(float(np.prod(box[2:] - box[:2])), 1e-9)) for box in (a, b)]
    return 0.5 < sides[0] / sides[1] < 2
