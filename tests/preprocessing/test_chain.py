"""From a film to tensors through the real networks, and what happens when the film is not as it should be."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import MienError
from mien.face.portrait import portrait
from mien.io.video import write_video
from mien.preprocessing import named_recipe
from mien.preprocessing.album import write_album
from mien.preprocessing.prepare import prepare, prepare_clip, video_clip
from mien.systems import SYSTEMS
from mien.types import Interval

T, APEX = 10, 6
Film = NDArray[np.uint8]


def smile(face: Film, most: float = 1.5) -> Film:
    """A mouth corner of the portrait rises by `most` pixels and sinks again."""
    height, width = face.shape[:2]
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    bump = np.exp(-((xs - 0.565 * width) ** 2 + (ys - 0.475 * height) ** 2) / (2 * (0.03 * width) ** 2))
    curve = np.interp(np.arange(T), [0, 1, APEX, T - 1], [0, 0, most, 0.3])
    moved = [cv2.remap(face, xs, (ys + c * bump).astype(np.float32), cv2.INTER_CUBIC) for c in curve]
    return np.stack(moved)


@pytest.fixture(scope="module")
def frames() -> Film:
    return smile(portrait())


@pytest.fixture(scope="module")
def film(frames: Film, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("film") / "smile.mkv", frames, 100)


def test_strcn_g_recipe_finds_the_apex_and_the_motion(film: Path) -> None:
    made = named_recipe("strcn-g", flow="dis").apply(video_clip(film))
    assert made.array.shape == (2, 300, 245)
    assert made.interval_source == "detected"
    length = np.hypot(*made.array)
    y, x = np.unravel_index(length.argmax(), length.shape)
    assert 180 < y < 290  # about the mouth
    assert x > 130  # on its side
    assert length.max() > 3  # a pixel and a half of a smaller picture, magnified
    assert np.median(length[:110]) < 0.3
    assert made.array[1][length > 0.5 * length.max()].mean() < -1


def test_strcn_a_recipe(film: Path) -> None:
    made = named_recipe("strcn-a").apply(video_clip(film))
    assert made.array.shape == (30, 64, 48, 3)
    assert made.array.min() >= 0
    assert made.array.max() <= 255
    assert np.abs(made.array[0] - made.array[18]).max() > 30
    assert made.notes == ()


def test_a_still_video_has_no_motion(tmp_path: Path) -> None:
    film = write_video(tmp_path / "still.mkv", np.repeat(portrait()[None], 4, 0), 100)
    made = named_recipe("strcn-g", flow="dis").apply(video_clip(film))
    assert np.abs(made.array).max() < 1e-3


def test_aligned_recipe_puts_the_eyes_at_the_reference_positions(film: Path) -> None:
    from mien.face.landmarks import track_face

    for transform in ("lwm", "crop"):
        made = named_recipe("aligned", transform=transform).apply(video_clip(film))
        eyes = track_face(np.pad(made.array[:1], ((0, 0), (80, 80), (80, 80), (0, 0)), mode="edge")).eyes()[0] - 80
        distance = 245 / 1.8
        expected = np.array([[0.4 * distance, 0.6 * distance], [1.4 * distance, 0.6 * distance]])
        assert np.abs(eyes - expected).max() < 6, transform


def test_write_album_writes_a_picture_of_each_stage(film: Path, tmp_path: Path) -> None:
    names = [p.name for p in write_album(video_clip(film), named_recipe("strcn-a"), tmp_path)]
    assert names == ["1-landmarks.png", "2-aligned.png", "3-magnified.png", "4-small.png", "5-length.png", "6-mask.png"]


def test_aligned_recipe_uses_only_the_interval(film: Path) -> None:
    given = named_recipe("aligned").apply(video_clip(film, Interval(2, 6, 8)))
    assert given.array.shape[0] == 7
    assert given.interval_source == "annotated"


def test_bad_videos_fail_alone_with_an_error(frames: Film, film: Path, tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (4, 120, 160), dtype=np.uint8)
    small = np.stack(
        [cv2.copyMakeBorder(cv2.resize(f, (44, 44)), 150, 150, 200, 200, cv2.BORDER_REPLICATE) for f in frames]
    )
    cases = {
        "nobody": (write_video(tmp_path / "nobody.mkv", grey, 100), "No face"),
        "tiny": (write_video(tmp_path / "tiny.mkv", small, 100), "face"),
        "one": (write_video(tmp_path / "one.mkv", frames[:1], 100), "1 frame"),
        "text": (tmp_path / "text.mp4", "text.mp4"),
    }
    cases["text"][0].write_text("not a film")
    clips = [video_clip(film), *(video_clip(path) for path, _ in cases.values())]
    outcomes = prepare(clips, named_recipe("aligned"), out=tmp_path / "out")
    assert outcomes[0].error is None
    for outcome, (_, told) in zip(outcomes[1:], cases.values(), strict=True):
        assert outcome.error is not None
        assert told in outcome.error[0], outcome.error
        assert "failed unexpectedly" not in outcome.error[0]
    assert len(list((tmp_path / "out").glob("**/*.npy"))) == 1


def test_several_faces_and_lost_faces_are_noted(frames: Film, tmp_path: Path) -> None:
    beside = np.concatenate([frames, frames], 2)
    two = prepare_clip(video_clip(write_video(tmp_path / "two.mkv", beside, 100)), named_recipe("aligned"))
    assert two.error is None
    assert any("largest" in note for note in two.notes), two.notes
    lost = frames.copy()
    lost[4:7] = 128
    gone = prepare_clip(video_clip(write_video(tmp_path / "lost.mkv", lost, 100)), named_recipe("aligned"))
    assert gone.error is None
    assert gone.shape == (T, 300, 245, 3)
    assert any("4" in note for note in gone.notes), gone.notes


def test_a_truncated_video_is_read_as_far_as_possible(frames: Film, tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.mkv", frames, 100)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])
    outcome = prepare_clip(video_clip(path), named_recipe("aligned"))
    assert outcome.error is None
    assert outcome.shape is not None
    assert 2 <= outcome.shape[0] < T
    assert any("ends too early" in note or "cannot be read" in note for note in outcome.notes), outcome.notes


@pytest.mark.parametrize("fps", [30.0, None])
def test_a_low_or_unknown_frame_rate_is_noted(frames: Film, tmp_path: Path, fps: float | None) -> None:
    if fps is None:
        (tmp_path / "frames").mkdir()
        for n, frame in enumerate(frames[:4]):
            cv2.imwrite(str(tmp_path / "frames" / f"img{n}.png"), frame[..., ::-1])
        source = tmp_path / "frames"
    else:
        source = write_video(tmp_path / "slow.mkv", frames[:4], fps)
    made = named_recipe("aligned").apply(video_clip(source))
    assert any("frames per second" in note.lower() or "frame rate" in note.lower() for note in made.notes), made.notes


@pytest.mark.parametrize("kind", ["grey16", "rgba"])
def test_16_bit_and_transparent_pictures_are_read_correctly(frames: Film, tmp_path: Path, kind: str) -> None:
    for n, frame in enumerate(frames[:3]):
        bgr = np.ascontiguousarray(frame[..., ::-1])
        if kind == "grey16":
            picture = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY).astype(np.uint16) * 257
        else:
            picture = cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA)
        cv2.imwrite(str(tmp_path / f"img{n}.png"), picture)
    made = named_recipe("aligned").apply(video_clip(tmp_path, fps=100))
    plain = named_recipe("aligned").apply(video_clip(write_video(tmp_path.parent / f"{kind}.mkv", frames[:3], 100)))
    reference = plain.array if kind == "rgba" else np.repeat(plain.array.mean(-1, keepdims=True), 3, -1)
    assert np.abs(made.array.astype(float) - reference).mean() < 12


def test_a_long_clip_without_an_interval_raises_mien_error(
    tmp_path: Path, frames: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.preprocessing.steps.MOST_FRAMES", 5)
    film = write_video(tmp_path / "long.mkv", frames, 100)
    with pytest.raises(MienError, match="10 frames"):
        named_recipe("aligned").apply(video_clip(film))


def test_the_album_of_strcn_g_shows_its_copies(film: Path, tmp_path: Path) -> None:
    given = {"preset": "small", "face": "none", "alphas": [8.0], "size": [40, 32]}
    names = [p.name for p in write_album(video_clip(film), SYSTEMS["strcn-g"].recipe("frames", given), tmp_path)]
    assert names == ["1-aligned.png", "2-copies.png"]
