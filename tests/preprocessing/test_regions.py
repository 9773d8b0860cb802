"""Crops of eyes and mouth, and clips of a given number of frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import MienError
from mien.face.landmarks import FaceTrack, track_face
from mien.face.portrait import portrait
from mien.io.video import write_video
from mien.preprocessing import Context, Recipe, Step
from mien.preprocessing.prepare import video_clip
from mien.preprocessing.regions import eyes_and_mouth, pooled_shape, regions_first, to_frames
from mien.types import Clip

Film = NDArray[np.uint8]


def context() -> Context:
    return Context(Clip("d", "s", "c", None, ""))


def recipe(per_frame: bool = False, size: int = 32) -> Recipe:
    crops = Step("eyes_and_mouth", eyes_and_mouth, {"size": [size, size], "per_frame": per_frame})
    return Recipe((crops, Step("regions_first", regions_first)), "CTHW", (2, None, size, size), (0, 255), "float16")


def film(frames: Film, folder: Path) -> Clip:
    return video_clip(write_video(folder / "film.mkv", frames, 100))


def drifting(steps: list[int]) -> Film:
    """The portrait, moved to the right by some pixels in each frame."""
    face = portrait()
    height, width = face.shape[:2]
    return np.stack(
        [
            cv2.warpAffine(face, np.float32([[1, 0, s], [0, 1, 0]]), (width, height), borderMode=cv2.BORDER_REPLICATE)  # type: ignore[arg-type]
            for s in steps
        ]
    )


def by_hand(frames: Film, track: FaceTrack, size: int) -> NDArray[np.float64]:
    """What the paper's code cuts out of the first frame, with the landmarks of that frame."""
    p = np.round(track.ibug68()[0]).astype(int)
    grey = cv2.cvtColor(frames[0], cv2.COLOR_RGB2GRAY)
    eyes = grey[p[19, 1] : p[1, 1], p[1, 0] : p[15, 0]]
    mouth = grey[p[2, 1] : p[6, 1], p[2, 0] : p[14, 0]]
    return np.stack([cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA) for cut in (eyes, mouth)]).astype(
        float
    )


def test_eyes_and_mouth_crops_follow_the_landmarks(tmp_path: Path) -> None:
    frames = drifting([0, 0, 0])
    made = recipe().apply(film(frames, tmp_path))
    assert made.array.shape == (2, 3, 32, 32)
    theirs = by_hand(frames, track_face(iter(frames)), 32)
    assert np.abs(made.array[:, 0] - theirs).mean() < 1.5
    assert made.notes == () or all("crop" not in note for note in made.notes)


def test_per_frame_crops_remove_a_drift_and_fixed_crops_keep_it(tmp_path: Path) -> None:
    clip = film(drifting([0, 6, 12, 18]), tmp_path)
    frozen, followed = (recipe(per_frame, 48).apply(clip).array.astype(np.float32) for per_frame in (False, True))
    still, moved = (np.abs(made[:, -1] - made[:, 0]).mean() for made in (followed, frozen))
    assert still < 0.5 * moved


def test_a_mouth_outside_the_frame_raises_mien_error(tmp_path: Path) -> None:
    face = portrait()
    lips = track_face([face]).ibug68()[0, 48:]
    cut = int(lips[:, 1].mean())
    with pytest.raises(MienError) as caught:
        recipe().apply(film(np.stack([face[:cut]] * 3), tmp_path))
    assert "mouth" in caught.value.found or "No face" in caught.value.found


def test_a_crop_outside_the_frame_is_noted(tmp_path: Path) -> None:
    face = portrait()
    points = track_face([face]).ibug68()[0]
    # Cut the picture between the lips and the jaw points below them.
    low = int((points[48:, 1].max() + points[6, 1]) / 2)
    if low - points[48:, 1].max() < 3:
        pytest.skip("this portrait has no room between lips and jaw")
    made = recipe().apply(film(np.stack([face[:low]] * 2), tmp_path))
    assert any("outside the frame" in note for note in made.notes)


@pytest.mark.parametrize("method", ["linear", "tim", "nearest", "cubic"])
def test_to_frames_interpolates_with_a_note(method: str) -> None:
    frames = np.linspace(0, 200, 20, dtype=np.float32)[:, None, None] * np.ones((1, 3, 4), np.float32)
    seen = context()
    made = to_frames(frames, seen, n=30, method=method, kernel=15, stretch=False)
    assert made.shape == (30, 3, 4)
    assert np.abs(made[0] - frames[0]).max() < 25
    assert (np.diff(made[:, 0, 0]) >= -1e-3).mean() > 0.9
    assert seen.notes == [f"20 frames were interpolated to 30 ({method})."]


def test_to_frames_keeps_a_clip_of_n_frames() -> None:
    frames = np.arange(5.0)[:, None]
    seen = context()
    assert np.array_equal(to_frames(frames, seen, n=5, method="linear", kernel=3, stretch=False), frames)
    assert seen.notes == []


def test_to_frames_with_method_first() -> None:
    seen = context()
    frames = np.arange(9.0)[:, None]
    assert np.array_equal(to_frames(frames, seen, n=5, method="first", kernel=3, stretch=False), frames[:5])
    assert seen.notes == ["The first 5 of 9 frames were used."]
    with pytest.raises(MienError, match="at least 10"):
        to_frames(frames, context(), n=10, method="first", kernel=3, stretch=True)


def test_a_clip_shorter_than_the_kernel_raises_mien_error() -> None:
    frames = np.arange(9.0)[:, None]
    with pytest.raises(MienError, match="stretch=true"):
        to_frames(frames, context(), n=18, method="linear", kernel=15, stretch=False)
    seen = context()
    assert to_frames(frames, seen, n=18, method="linear", kernel=15, stretch=True).shape == (18, 1)
    assert seen.notes


def test_an_unknown_method_raises_mien_error() -> None:
    with pytest.raises(MienError, match="linear"):
        to_frames(np.zeros((20, 1)), context(), n=18, method="spline", kernel=15, stretch=False)


@pytest.mark.parametrize(
    ("kernel", "shape"),
    [((3, 3, 15), (27, 20, 20)), ((3, 3, 3), (31, 20, 20)), ((5, 5, 7), (30, 20, 20)), ((7, 7, 19), (26, 19, 19))],
)
def test_pooled_shape(kernel: tuple[int, int, int], shape: tuple[int, int, int]) -> None:
    assert pooled_shape(96, 64, 64, kernel) == shape
