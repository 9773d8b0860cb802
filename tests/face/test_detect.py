from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
import pytest

from mien.face.detect import Face, _merge, _run_network, _tiles, _whole, detect_faces


def on_canvas(picture: np.ndarray, height: int, width: int, x: int, y: int) -> np.ndarray:
    canvas = np.full((height, width, 3), 90, np.uint8)
    canvas[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return canvas


def shrunk(picture: np.ndarray, factor: float) -> np.ndarray:
    return np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))


def test_detect_faces_finds_the_face_and_its_keypoints(woman: np.ndarray) -> None:
    (face,) = detect_faces(woman[None])[0]
    assert face.score > 0.9
    assert face.size == pytest.approx(103, abs=3)
    left_eye, right_eye, nose, mouth, left_ear, right_ear = face.keypoints
    assert left_eye == pytest.approx([139, 101], abs=4)
    assert right_eye == pytest.approx([183, 104], abs=4)
    assert left_ear[0] < left_eye[0] < nose[0] < right_eye[0] < right_ear[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < mouth[1] < face.box[3]


def test_detected_face_moves_with_the_picture(woman: np.ndarray) -> None:
    frames = [on_canvas(woman, 400, 400, x, y) for x, y in ((0, 0), (25, 0), (50, 75))]
    boxes = np.stack([faces[0].box for faces in detect_faces(frames)])
    # Whole steps of the network's own pixels (400 / 128) shift the answer exactly, others nearly.
    assert boxes[1] - boxes[0] == pytest.approx([25, 0, 25, 0], abs=2)
    assert boxes[2] - boxes[0] == pytest.approx([50, 75, 50, 75], abs=2)


def test_detect_faces_on_a_batch_equals_one_by_one(woman: np.ndarray) -> None:
    frames = [woman, woman[:, ::-1], woman[20:, :300], woman[..., 0]]
    for frame, together in zip(frames, detect_faces(frames), strict=True):
        (alone,) = detect_faces([np.ascontiguousarray(frame)])[0]
        assert together[0].box == pytest.approx(alone.box, abs=1e-2)


def test_detected_face_is_mirrored_with_the_picture(woman: np.ndarray) -> None:
    (face,), (mirrored,) = detect_faces([woman, np.ascontiguousarray(woman[:, ::-1])])
    assert mirrored.box[[2, 1, 0, 3]] * [-1, 1, -1, 1] + [319, 0, 319, 0] == pytest.approx(face.box, abs=7)


def test_no_face_in_uniform_and_noisy_pictures() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    soft = np.asarray(cv2.GaussianBlur(noise, (0, 0), 9))
    assert detect_faces([np.full_like(noise, 128), noise, soft]) == [[], [], []]


def test_detect_faces_returns_the_largest_face_first(woman: np.ndarray) -> None:
    small = shrunk(woman, 0.7)
    canvas = on_canvas(small, 330, 560, 4, 60)
    canvas[5:325, 236:556] = woman
    first, second = detect_faces([canvas])[0]
    assert first.size > 1.2 * second.size
    assert first.box[0] > 236 > second.box[2]


def test_a_doubtful_face_is_checked_enlarged(woman: np.ndarray) -> None:
    canvas = on_canvas(woman, 330, 700, 370, 5)
    assert max(face.score for face in _detect_whole(canvas)) < 0.7
    (face,) = detect_faces([canvas], small=False)[0]
    assert face.keypoints[0] == pytest.approx([370 + 139, 5 + 101], abs=5)


def _detect_whole(picture: np.ndarray) -> list[Face]:
    window = _whole(*picture.shape[:2])
    return _run_network([window.cut(picture)], [window], "cpu")[0]


def test_a_small_face_is_found_in_tiles_only(woman: np.ndarray) -> None:
    canvas = on_canvas(shrunk(woman, 0.5), 720, 1280, 900, 300)
    assert detect_faces([canvas], small=False) == [[]]
    (face,) = detect_faces([canvas])[0]
    assert face.size == pytest.approx(51, abs=5)
    assert face.keypoints[0] == pytest.approx([900 + 139 / 2, 300 + 101 / 2], abs=4)


@pytest.mark.parametrize(("height", "width"), [(360, 640), (1080, 1920), (700, 400), (512, 512)])
def test_tiles_cover_the_picture_and_overlap_by_half(height: int, width: int) -> None:
    tiles = _tiles(height, width)
    sides = sorted({tile.side for tile in tiles})
    assert sides[0] >= 128
    assert sides[-1] == max(height, width) / 2
    for side in sides:
        for length, places in (
            (height, {t.y for t in tiles if t.side == side}),
            (width, {t.x for t in tiles if t.side == side}),
        ):
            centres = sorted(places)
            assert centres[0] - side / 2 <= 0
            assert centres[-1] + side / 2 >= length
            assert all(b - a <= side / 2 + 1e-9 for a, b in pairwise(centres))


def test_overlapping_boxes_are_merged_to_their_weighted_mean() -> None:
    def face(x: float, score: float) -> Face:
        return Face(np.array([x, 0, x + 10, 10], np.float32), score, np.full((6, 2), x, np.float32))

    merged = _merge([face(0, 0.9), face(2, 0.6), face(50, 0.7), face(90, 0.55)], threshold=0.65, overlap=0.3)
    assert [round(merged_face.score, 2) for merged_face in merged] == [0.9, 0.7]
    assert merged[0].box == pytest.approx([0.8, 0, 10.8, 10])
    assert merged[0].keypoints == pytest.approx(0.8)
    assert merged[1].box == pytest.approx([50, 0, 60, 10])


def test_detect_faces_in_real_videos(read_video: Callable[[str], list[np.ndarray]]) -> None:
    assert all(len(faces) == 1 for faces in detect_faces(read_video("single_face.mp4")[::6]))
    assert not any(detect_faces(read_video("no_face.mp4")[::6]))
