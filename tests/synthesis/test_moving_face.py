"""The drawn face: the same arguments give the same bytes, and the true motion is the motion in the pictures."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import MienError
from mien.synthesis import moving_face as module
from mien.synthesis.drawn_face import draw_face
from mien.synthesis.moving_face import EMOTIONS, motion_of, render_clip

CLIP: dict[str, Any] = {"interval_length": 12, "apex": 7, "size": 96, "seed": 0}
EXPRESSIONS = [emotion for emotion in EMOTIONS if emotion != "none"]
INNER = (slice(12, -12), slice(12, -12))


def peak(motion: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest local displacement of each frame (T,), head motion taken out at a still corner."""
    local = motion - motion[:, :1, :1]
    return np.asarray(np.linalg.norm(local, axis=-1).max((1, 2)), np.float32)


def sample(picture: NDArray[np.uint8], motion: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the picture sampled at x + motion(x)."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    x, y = x + motion[..., 0], y + motion[..., 1]
    return np.asarray(cv2.remap(picture.astype(np.float32), x, y, cv2.INTER_CUBIC), np.float32)


def flow_between(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    method.setFinestScale(0)
    return np.asarray(method.calc(first, second, np.zeros((*first.shape, 2), np.float32)), np.float32)


@pytest.mark.parametrize("colour", [True, False])
def test_frames_have_the_right_shape_and_are_reproducible(colour: bool) -> None:
    first = render_clip(3, "positive", colour=colour, **CLIP)
    assert first.shape == ((12, 96, 96, 3) if colour else (12, 96, 96))
    assert first.dtype == np.uint8
    assert np.array_equal(first, render_clip(3, "positive", colour=colour, **CLIP))
    for other in (
        render_clip(4, "positive", colour=colour, **CLIP),
        render_clip(3, "positive", colour=colour, **(CLIP | {"seed": 1})),
        render_clip(3, "surprise", colour=colour, **CLIP),
    ):
        assert not np.array_equal(first, other)


def test_grey_and_colour_show_the_same_face() -> None:
    colour = render_clip(1, "negative", colour=True, **CLIP)
    grey = render_clip(1, "negative", colour=False, **CLIP)
    luminance = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(luminance.mean(0) - grey.mean(0)).mean() < 1.5


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_frame_0_is_the_neutral_face(emotion: str) -> None:
    assert not motion_of(2, emotion, **CLIP)[0].any()
    shown = render_clip(2, emotion, colour=False, **CLIP)[0].astype(float)
    neutral = render_clip(2, "none", colour=False, **(CLIP | {"seed": 9}))[0].astype(float)
    difference = shown - neutral
    assert 1.5 < difference.std() < 3.0, "two frames of the same neutral face differ by sensor noise only"


@pytest.mark.parametrize("size", [96, 160])
@pytest.mark.parametrize("emotion", EXPRESSIONS)
def test_frame_0_moved_by_the_true_motion_is_the_apex_frame(emotion: str, size: int) -> None:
    clip = CLIP | {"size": size, "seed": 5}
    frames = render_clip(6, emotion, colour=False, **clip)
    motion = motion_of(6, emotion, **clip)
    length = np.linalg.norm(motion[7], axis=-1)[INNER]
    moving = length > 0.5 * length.max()
    left = (sample(frames[7], motion[7]) - frames[0])[INNER][moving]
    unmoved = (frames[7].astype(float) - frames[0])[INNER][moving]
    assert left.std() < 3.6, "noise of two frames, flicker and interpolation"
    assert unmoved.std() > 2 * left.std()


@pytest.mark.parametrize("emotion", EXPRESSIONS)
def test_optical_flow_finds_the_true_motion(emotion: str) -> None:
    measured, true = [], []
    for seed in range(8):
        clip = CLIP | {"seed": seed}
        motion = motion_of(seed, emotion, **clip)[7]
        if not 1 <= peak(motion[None])[0] <= 2:
            continue
        frames = render_clip(seed, emotion, colour=False, **clip)
        flow = flow_between(frames[0], frames[7])
        moving = np.linalg.norm(motion, axis=-1)[INNER] > 0.7
        measured.append(flow[INNER][moving])
        true.append(motion[INNER][moving])
    assert len(true) >= 2
    error = np.linalg.norm(np.concatenate(measured) - np.concatenate(true), axis=-1)
    assert np.median(error) < 0.35
    assert np.median(np.linalg.norm(np.concatenate(true), axis=-1)) > 0.8


def test_emotion_none_moves_only_the_head() -> None:
    motion = motion_of(5, "none", **CLIP)
    assert np.ptp(motion, axis=(1, 2)).max() == 0
    assert 0 < np.abs(motion).max() < 1
    frames = render_clip(5, "none", colour=False, **CLIP)
    flow = flow_between(frames[0], frames[7])
    assert np.median(np.linalg.norm(flow - motion[7], axis=-1)[INNER]) < 0.15


@pytest.mark.parametrize("emotion", EXPRESSIONS)
def test_motion_is_largest_at_the_apex_and_within_range(emotion: str) -> None:
    for seed in range(20):
        local = peak(motion_of(seed, emotion, **(CLIP | {"seed": seed})))
        assert int(local.argmax()) == CLIP["apex"]
        assert 0.5 <= local.max() <= 2.55
        assert (np.diff(local[:8]) > 0).all(), "rises to the apex"
        assert (np.diff(local[7:]) < 0).all(), "falls towards the offset"


def test_action_units_pull_in_the_right_direction() -> None:
    apex = {emotion: motion_of(0, emotion, **CLIP)[7] for emotion in EMOTIONS}
    local = {emotion: motion - motion[0, 0] for emotion, motion in apex.items()}
    brow_rows, mouth_rows = slice(26, 40), slice(64, 78)
    assert local["surprise"][brow_rows, :, 1].min() < -0.3, "brows up"
    assert local["negative"][brow_rows, :, 1].max() > 0.3, "brows down"
    assert local["negative"][brow_rows, :48, 0].max() > 0.1, "the left brow moves towards the middle"
    assert local["negative"][brow_rows, 48:, 0].min() < -0.1, "so does the right one"
    assert local["positive"][mouth_rows, :, 1].min() < -0.3, "mouth corners up"
    assert local["positive"][mouth_rows, 60:, 0].max() > 0.1, "and outwards"
    assert abs(local["positive"][brow_rows, :, 1]).max() < 0.3, "brows stay"


def test_motion_scales_with_the_picture() -> None:
    small, large = (peak(motion_of(1, "surprise", **(CLIP | {"size": size}))).max() for size in (96, 192))
    assert large == pytest.approx(2 * small, rel=0.02)


def test_last_frame_can_be_the_apex() -> None:
    motion = peak(motion_of(0, "positive", interval_length=2, apex=1, size=32, seed=0))
    assert motion[0] == 0
    assert motion[1] > 0.1


def test_a_face_is_drawn_once_and_each_frame_takes_five_warps(monkeypatch: pytest.MonkeyPatch) -> None:
    draw, warp = Mock(wraps=draw_face), Mock(wraps=module._sample)
    monkeypatch.setattr(module, "draw_face", draw)
    monkeypatch.setattr(module, "_sample", warp)
    module._neutral.cache_clear()
    for seed in range(5):
        render_clip(0, "positive", interval_length=16, apex=8, size=96, seed=seed, colour=True)
    assert draw.call_count == 1
    assert warp.call_count == 5 * 16 * 5  # four turns to invert the motion, one for the picture


@pytest.mark.parametrize(
    "change", [{"apex": 0}, {"apex": 12}, {"interval_length": 1, "apex": 1}, {"size": 4}, {"seed": -1}]
)
def test_numbers_out_of_range_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(MienError):
        render_clip(0, "positive", colour=True, **(CLIP | change))


def test_unknown_emotion_suggests_the_nearest_name() -> None:
    with pytest.raises(MienError) as caught:
        motion_of(0, "suprise", **CLIP)
    assert "surprise" in caught.value.fix
