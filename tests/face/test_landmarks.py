import importlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mien.errors import MienError
from mien.face.detect import detect_faces
from mien.face.landmarks import IBUG_OF_MESH, LANDMARKERS, FaceTrack, _runs, ibug68, track_face
from mien.face.mesh import Square, _cut, find_mesh, square_of_face
from mien.face.portrait import portrait


def moved(picture: np.ndarray, x: float, y: float = 0.0) -> np.ndarray:
    matrix = np.array([[1, 0, x], [0, 1, y]])
    return np.asarray(
        cv2.warpAffine(picture, matrix, picture.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    )


def bilinear(picture: np.ndarray, x: float, y: float) -> np.ndarray:
    x, y = np.clip(x, 0, picture.shape[1] - 1), np.clip(y, 0, picture.shape[0] - 1)
    i, j = min(int(y), picture.shape[0] - 2), min(int(x), picture.shape[1] - 2)
    b, a = y - i, x - j
    p = picture.astype(np.float64)
    return np.asarray(
        (1 - b) * ((1 - a) * p[i, j] + a * p[i, j + 1]) + b * ((1 - a) * p[i + 1, j] + a * p[i + 1, j + 1])
    )


# Cutting out squares and regions


def test_square_cut_samples_the_rotated_square(woman: np.ndarray) -> None:
    smooth = np.asarray(cv2.GaussianBlur(woman, (0, 0), 3))
    square = Square(150.3, 140.8, 170.0, 0.2)
    seen = square.cut(smooth)
    for v, u in ((0, 0), (40, 100), (96, 96), (191, 10), (150, 191)):
        along, down = (u - 96) * 170 / 192, (v - 96) * 170 / 192
        x = 150.3 + along * np.cos(0.2) - down * np.sin(0.2)
        y = 140.8 + along * np.sin(0.2) + down * np.cos(0.2)
        assert seen[v, u] == pytest.approx(bilinear(smooth, x, y), abs=1.01)


def test_features_of_a_region_are_sampled_at_pixel_centres() -> None:
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 2, 48, 48)))
    centre, x_axis, y_axis = (
        torch.tensor([v], dtype=torch.float64) for v in ((90.0, 110.0), (60.0, 8.0), (-5.0, 40.0))
    )
    seen = _cut(features, centre, x_axis, y_axis)[0].numpy()
    channels_last = features[0].permute(1, 2, 0).numpy()
    for i, j in ((0, 0), (5, 12), (15, 15)):
        a, b = (j + 0.5) / 16 - 0.5, (i + 0.5) / 16 - 0.5
        x, y = 90 + 60 * a - 5 * b, 110 + 8 * a + 40 * b
        assert seen[:, i, j] == pytest.approx(bilinear(channels_last, x / 4 - 0.5, y / 4 - 0.5), abs=1e-9)


def test_mesh_moves_with_the_picture(woman: np.ndarray) -> None:
    square = square_of_face(detect_faces(woman[None])[0][0])
    aside = Square(square.x + 7, square.y - 4, square.side, square.angle)
    points, presence = find_mesh([woman, np.roll(woman, (-4, 7), (0, 1))], [square, aside])
    assert presence.min() > 0.99
    assert points[1] - points[0] == pytest.approx(np.tile([7, -4], (478, 1)), abs=0.05)


# 68 of 478


def test_ibug68_points_are_at_the_parts_they_name(woman: np.ndarray) -> None:
    assert len(set(IBUG_OF_MESH)) == 68
    points = track_face([woman]).ibug68()[0]
    jaw, brows, bridge, below = points[:17], points[17:27], points[27:31], points[31:36]
    left_eye, right_eye, outer, inner = points[36:42], points[42:48], points[48:60], points[60:]
    assert (np.diff(jaw[:, 0]) > 0)[2:-2].all()
    assert np.argmax(jaw[:, 1]) == 8
    assert (np.diff(brows[:, 0]) > 0).all()
    assert (np.diff(bridge[:, 1]) > 0).all()
    assert (np.diff(below[:, 0]) > 0).all()
    for eye, brow in ((left_eye, brows[:5]), (right_eye, brows[5:])):
        assert eye[0, 0] == eye[:, 0].min()
        assert eye[3, 0] == eye[:, 0].max()
        assert eye[1:3, 1].max() < eye[4:, 1].min()
        assert brow[:, 1].max() < eye[:, 1].min()
    assert left_eye[:, 0].max() < right_eye[:, 0].min()
    assert outer[0, 0] == outer[:, 0].min()
    assert outer[6, 0] == outer[:, 0].max()
    # She smiles: teeth are between the lips.
    assert outer[3, 1] < inner[2, 1] < inner[6, 1] - 3 < outer[9, 1]


def test_ibug68_keeps_leading_axes() -> None:
    mesh = np.random.default_rng(0).normal(size=(2, 3, 478, 2))
    assert np.array_equal(ibug68(mesh)[1, 2], mesh[1, 2][list(IBUG_OF_MESH)])


# Following


def test_landmarks_of_a_still_clip_are_constant_for_any_batch_size(woman: np.ndarray) -> None:
    whole, parts = track_face([woman] * 5), track_face([woman] * 5, batch=2)
    assert whole.points.shape == (5, 478, 2)
    assert whole.points.dtype == np.float32
    assert whole.found.all()
    assert whole.n_faces.tolist() == [1] * 5
    assert whole.notes == ()
    assert np.ptp(whole.points, axis=0).max() < 1e-3
    assert parts.points == pytest.approx(whole.points, abs=1e-3)
    low, high = whole.points[0].min(0), whole.points[0].max(0)
    assert (whole.box[:2] < low).all()
    assert (whole.box[2:] > high).all()


def test_track_face_follows_a_known_motion(woman: np.ndarray) -> None:
    steps = np.arange(6) * 0.7
    track = track_face([moved(woman, s, -s / 2) for s in steps])
    path = track.points.mean(1) - track.points[0].mean(0)
    # The landmarks depend a little on the position of the face in its square.
    assert path == pytest.approx(np.stack([steps, -steps / 2], 1), abs=0.3)


def test_track_face_accepts_grey_frames(woman: np.ndarray) -> None:
    grey = np.asarray(cv2.cvtColor(woman, cv2.COLOR_RGB2GRAY))
    track = track_face([grey])
    assert track.eyes()[0] == pytest.approx(np.array([[139.2, 101.4], [183.0, 103.7]]), abs=1.5)


def test_more_crops_reduce_noise(woman: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    noisy = [np.clip(woman + rng.normal(0, 3, woman.shape), 0, 255).astype(np.uint8) for _ in range(12)]

    def noise(crops: int) -> float:
        return float(np.median(track_face(noisy, crops=crops).points.std(0)))

    assert noise(7) < 0.9 * noise(1)


def test_track_face_finds_a_lost_face_again(woman: np.ndarray) -> None:
    left = np.full((330, 700, 3), 90, np.uint8)
    right, empty = left.copy(), left.copy()
    left[5:325, :320] = woman
    right[5:325, 370:690] = woman
    clip = [left] * 3 + [empty] * 2 + [right] * 2
    for batch in (32, 2):
        track = track_face(clip, batch=batch)
        assert track.found.tolist() == [True] * 3 + [False] * 2 + [True] * 2
        assert track.n_faces.tolist() == [1, 1, 1, 0, 0, 1, 1]
        assert np.isnan(track.points[3:5]).all()
        assert track.eyes()[5] - track.eyes()[0] == pytest.approx(np.tile([370, 0], (2, 1)), abs=1)
        assert any("frames 3-4 of 7" in note for note in track.notes)
        assert any("a new one starts at frame 5" in note for note in track.notes)


def test_a_face_that_leaves_its_square_gets_a_new_square(woman: np.ndarray) -> None:
    wide = np.full((330, 640, 3), 90, np.uint8)
    wide[5:325, :320] = woman
    clip = [np.roll(wide, 12 * t, 1) for t in range(16)]
    track = track_face(clip)
    assert track.found.all()
    assert track.points.mean(1)[:, 0] - track.points[0].mean(0)[0] == pytest.approx(12.0 * np.arange(16), abs=1.5)
    assert any("a new one starts at" in note for note in track.notes)


def test_the_largest_face_is_tracked_and_a_note_says_so(woman: np.ndarray) -> None:
    canvas = np.full((330, 560, 3), 90, np.uint8)
    small = cv2.resize(woman, (224, 224), interpolation=cv2.INTER_AREA)
    canvas[60:284, 4:228] = small
    canvas[5:325, 236:556] = woman
    track = track_face([canvas] * 2)
    assert track.n_faces.tolist() == [2, 2]
    assert (track.eyes()[..., 0] > 236).all()
    assert track.notes == ("2 faces in frame 0; the largest was used.",)


def test_track_face_keeps_one_batch_in_memory(woman: np.ndarray) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    class Frame(np.ndarray):
        """A picture that can be counted."""

        __hash__ = object.__hash__  # type: ignore[assignment]

    def frames() -> Iterator[np.ndarray]:
        nonlocal most
        for _ in range(12):
            frame = woman.copy().view(Frame)
            alive.add(frame)
            most = max(most, len(alive))
            yield frame

    track = track_face(frames(), batch=3)
    assert len(track.points) == 12
    assert most <= 2 * 3 + 1


# Bad input


def test_no_face_raises_mien_error_with_the_number_of_frames() -> None:
    with pytest.raises(MienError, match="No face in any of 3 frame"):
        track_face([np.full((120, 160, 3), 100, np.uint8)] * 3)


def test_a_small_face_raises_mien_error_with_its_size(woman: np.ndarray) -> None:
    canvas = np.full((360, 640, 3), 60, np.uint8)
    canvas[10:106, 200:296] = cv2.resize(woman, (96, 96), interpolation=cv2.INTER_AREA)
    with pytest.raises(MienError, match=r"only (2[5-9]|3[0-5]) pixels across"):
        track_face([canvas])


@pytest.mark.parametrize(
    ("frames", "what"),
    [
        ([], "no frame"),
        ([np.zeros((50, 50, 3), np.float32)], "float32"),
        ([np.zeros((50, 50, 4), np.uint8)], "shape"),
        ([np.zeros((50, 50), np.uint8), np.zeros((50, 51), np.uint8)], "first one"),
    ],
)
def test_frames_of_a_wrong_type_or_shape_raise_mien_error(frames: list[np.ndarray], what: str) -> None:
    with pytest.raises(MienError, match=what):
        track_face(frames)


def test_unknown_landmarkers_and_missing_packages_raise_mien_error(
    woman: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MienError, match="mediapipe"):
        track_face([woman], landmarker="mediapip")
    with pytest.raises(MienError, match="batch"):
        track_face([woman], batch=0)

    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    for name, package in (("mediapipe", "mediapipe==0.10.14"), ("dlib", "dlib-bin")):
        with pytest.raises(MienError, match="not installed") as error:
            track_face([woman], landmarker=name)
        assert package in error.value.fix


def test_a_landmarker_can_be_added_by_name(woman: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    def middle(frames: Iterator[np.ndarray], /, *, batch: int, crops: int, device: str) -> FaceTrack:
        n = len(list(frames))
        return FaceTrack(
            np.zeros((n, 68, 2), np.float32), np.ones(n, bool), np.ones(n, np.int64), np.zeros(4, np.float32)
        )

    monkeypatch.setitem(LANDMARKERS, "middle", middle)
    assert track_face([woman] * 2, landmarker="middle").ibug68().shape == (2, 68, 2)


def test_runs_of_frames_are_formatted_as_ranges() -> None:
    assert _runs([4]) == "frame 4"
    assert _runs([0, 1, 2, 7, 9, 10]) == "frames 0-2, 7, 9-10"


# Real videos


def test_track_face_finds_a_real_face_in_every_frame(read_video: Callable[[str], list[np.ndarray]]) -> None:
    track = track_face(read_video("single_face.mp4")[::3])
    assert track.found.all()
    assert (track.n_faces == 1).all()
    assert track.notes == ()
    width = np.linalg.norm(track.ibug68()[:, 54] - track.ibug68()[:, 48], axis=1)
    assert width[-1] > 1.3 * width[0]  # the mouth of a smile


def test_track_face_finds_no_face_in_a_real_video_without_one(read_video: Callable[[str], list[np.ndarray]]) -> None:
    with pytest.raises(MienError, match="No face"):
        track_face(read_video("no_face.mp4")[::3])


def test_the_mesh_agrees_with_mediapipe(woman: np.ndarray, read_video: Callable[[str], list[np.ndarray]]) -> None:
    mediapipe = pytest.importorskip("mediapipe")
    if not hasattr(mediapipe, "solutions"):
        pytest.skip("this release of MediaPipe has no face mesh")
    frames = [woman, *read_video("single_face.mp4")[::8]]
    squares = [square_of_face(faces[0]) for faces in detect_faces(frames)]
    ours, _ = find_mesh(frames, squares)
    for frame, points in zip(frames, ours, strict=True):
        theirs = track_face([frame], landmarker="mediapipe").points[0]
        distance = np.linalg.norm(points - theirs, axis=1)
        assert distance.max() < 0.1
        assert distance.mean() < 0.03


def test_landmarks_are_the_same_where_faces_are_not_counted() -> None:
    still = portrait()
    gone = np.full_like(still, 90)
    moved = np.roll(still, 60, 1)
    for frames in ([still] * 3, [still, gone, still, moved], [gone, gone, still]):
        counted, tracked = (track_face(frames, count_faces=count) for count in (True, False))
        np.testing.assert_array_equal(counted.points, tracked.points)
        assert counted.found.tolist() == tracked.found.tolist()
        assert counted.notes == tracked.notes
