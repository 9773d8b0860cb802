"""Times of frames are those that players show, as ffprobe states them."""

from __future__ import annotations

from pathlib import Path

import clocked
import cv2
import numpy as np
import pytest

from mien.errors import MienError
from mien.io.video import open_video, write_video

FPS = 50


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty frames, each of its own grey."""
    frames = (np.full((48, 64), 4 * t, np.uint8) for t in range(60))
    return write_video(tmp_path_factory.mktemp("clock") / "source.mkv", frames, FPS)


@pytest.mark.parametrize("kind", clocked.EVERY)
def test_times_of_frames_equal_those_of_ffprobe(kind: str, source: Path, tmp_path: Path) -> None:
    path = clocked.make(kind, source, tmp_path)
    expected = clocked.times(path)
    video = open_video(path)
    frames = list(video.frames(grey=True))
    assert video.n_frames == len(frames) == len(expected)
    assert [frame.index for frame in frames] == list(range(len(expected)))
    assert [frame.time for frame in frames] == pytest.approx(expected, abs=0.5 / FPS)
    assert [video.time_of(n) for n in range(len(expected))] == [frame.time for frame in frames]
    assert video.frame(30).time == frames[30].time
    assert video.problems == []
    hidden = 60 - len(expected)  # by the edit list
    greys = np.array([np.median(frame.pixels) for frame in frames])
    assert np.abs(greys - 4 * np.arange(hidden, 60)).max() <= 3


def test_picture_that_starts_after_the_sound_does_not_start_at_zero(source: Path, tmp_path: Path) -> None:
    late = open_video(clocked.make("late.mp4", source, tmp_path))
    assert late.time_of(0) == pytest.approx(0.8)
    assert late.time_of(59) == pytest.approx(0.8 + 59 / FPS)
    assert (late.fps, late.variable_rate) == (FPS, False)


def test_given_rate_counts_from_the_time_of_the_first_frame(source: Path, tmp_path: Path) -> None:
    path = clocked.make("late.mp4", source, tmp_path)
    video = open_video(path, fps=FPS)
    assert [frame.time for frame in video.frames()] == pytest.approx(clocked.times(path), abs=1e-3)


def test_avi_with_b_frames_has_the_times_of_its_frame_rate(source: Path, tmp_path: Path) -> None:
    """AVI stores no presentation times; frames that it dropped still take their time."""
    clocked.need_ffmpeg()
    for offset in (0.0, 0.8):
        path = tmp_path / f"film{offset}.avi"
        clocked.ffmpeg(
            "-itsoffset", str(offset), "-i", str(source), *clocked.SOUND, "-map", "0:v", "-map", "1:a",
            "-fps_mode", "passthrough", "-c:v", "libx264", "-bf", "3", "-pix_fmt", "yuv420p", "-c:a", "mp3", str(path),
        )  # fmt: skip
        video = open_video(path)
        assert [frame.index for frame in video.frames()] == list(range(60))
        assert [video.time_of(n) for n in range(60)] == pytest.approx(offset + np.arange(60) / FPS, abs=0.5 / FPS)


def test_pictures_start_at_zero(tmp_path: Path) -> None:
    for n in range(3):
        cv2.imwrite(str(tmp_path / f"{n}.png"), np.full((8, 8), n, np.uint8))
    video = open_video(tmp_path, fps=200)
    assert [video.time_of(n) for n in range(3)] == [0, 0.005, 0.01]
    assert np.isnan(open_video(tmp_path).time_of(0))


def test_film_written_with_a_start_is_shown_from_then_on(tmp_path: Path) -> None:
    frames = [np.full((32, 32), 9 * n, np.uint8) for n in range(20)]
    path = write_video(tmp_path / "late.mp4", frames, FPS, start=0.813)
    expected = 0.813 + np.arange(20) / FPS
    assert [frame.time for frame in open_video(path).frames()] == pytest.approx(expected, abs=1e-3)
    assert clocked.times(path) == pytest.approx(expected, abs=1e-3)
    uneven = np.cumsum([0, *[0.01, 0.05] * 9, 0.02])
    path = write_video(tmp_path / "uneven.mp4", frames, FPS, times=list(uneven + 7), start=0.813)
    assert clocked.times(path) == pytest.approx(0.813 + uneven, abs=1e-3)
    for name, start in (("a.mkv", 0.5), ("a.mp4", -1.0), ("a.mp4", np.nan)):
        with pytest.raises(MienError, match="was to be shown"):
            write_video(tmp_path / name, frames, FPS, start=start)
    assert not (tmp_path / "a.mp4").exists()
