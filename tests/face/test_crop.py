import math

import cv2
import numpy as np
import pytest

from mien.errors import MienError
from mien.face.crop import Box, crop, crop_box, crop_clip
from mien.face.landmarks import track_face


def ramp(height: int, width: int) -> np.ndarray:
    """Two channels that hold each pixel's own x and y."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.stack([x, y], -1)


def test_crop_box_of_level_eyes() -> None:
    box = crop_box(np.array([[100.0, 80.0], [150.0, 80.0]]))
    assert (box.x, box.y) == pytest.approx((100 - 0.4 * 50, 80 - 0.6 * 50))
    assert (box.width, box.height, box.angle) == pytest.approx((1.8 * 50, 2.2 * 50, 0))


def test_crop_box_moves_and_scales_with_the_eyes() -> None:
    eyes = np.array([[100.0, 80.0], [150.0, 92.0]])
    box = crop_box(eyes)
    other = crop_box(eyes * 2 + [10, -5])
    assert (other.x, other.y) == pytest.approx((2 * box.x + 10, 2 * box.y - 5))
    assert (other.width, other.height) == pytest.approx((2 * box.width, 2 * box.height))
    assert box.x + box.width / 2 == pytest.approx(125)


def test_level_puts_the_eyes_at_the_same_places_at_any_rotation() -> None:
    for tilt in (0.0, 0.3, -0.7):
        half = 25 * np.array([math.cos(tilt), math.sin(tilt)])
        middle = np.array([120.0, 90.0])
        eyes = np.stack([middle - half, middle + half])
        box = crop_box(eyes, level=True)
        seen = crop(ramp(300, 300)[None], box, (220, 180))[0]
        # 100 pixels of the result per eye distance; a pixel's centre is half a pixel in from its edge.
        for eye, u in zip(eyes, (0.4 * 100, 1.4 * 100), strict=True):
            place = np.array([[u - 0.5]], np.float32), np.array([[0.6 * 100 - 0.5]], np.float32)
            x = np.asarray(cv2.remap(seen, *place, cv2.INTER_LINEAR))[0, 0]
            assert x == pytest.approx(eye, abs=0.05)


def test_cropping_the_whole_picture_returns_it_unchanged() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1, 30, 40, 3), dtype=np.uint8)
    assert np.array_equal(crop(picture, Box(-0.5, -0.5, 40, 30), (30, 40)), picture)


def test_crop_samples_pixels_inside_the_box() -> None:
    seen = crop(ramp(100, 100)[None], Box(20.25, 30.5, 20, 10), (20, 40))[0]
    for v, u in ((0, 0), (7, 33), (19, 39)):
        assert seen[v, u] == pytest.approx([20.25 + (u + 0.5) / 2, 30.5 + (v + 0.5) / 2], abs=0.02)


def test_crop_to_a_smaller_size_averages_areas() -> None:
    picture = np.random.default_rng(1).uniform(0, 255, (1, 24, 36)).astype(np.float32)
    seen = crop(picture, Box(-0.5, -0.5, 36, 24), (8, 12))
    assert seen[0] == pytest.approx(picture[0].reshape(8, 3, 12, 3).mean((1, 3)), abs=1e-3)


def test_crop_repeats_the_border_outside_the_picture() -> None:
    seen = crop(ramp(50, 60)[None], Box(-20, -10, 100, 80), (80, 100))[0]
    assert seen.shape == (80, 100, 2)
    assert (seen[:5, :, 1] == 0).all()
    assert (seen[:, -10:, 0] == 59).all()


def test_crop_of_grey_and_16_bit_frames() -> None:
    picture = np.random.default_rng(1).integers(0, 65536, (2, 24, 36), dtype=np.uint16)
    seen = crop(picture, Box(3, 4, 20, 10), (10, 20))
    assert seen.shape == (2, 10, 20)
    assert seen.dtype == np.uint16


def test_crop_treats_each_colour_by_itself() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 90, 80, 3), dtype=np.uint8)
    box = Box(-3.2, 10.7, 60.1, 71.3, angle=0.1)
    cropped = crop(frames, box, size=(33, 24))
    alone = [crop(frames[..., channel], box, size=(33, 24)) for channel in range(3)]
    np.testing.assert_array_equal(cropped, np.stack(alone, axis=-1))


def test_coinciding_eyes_raise_mien_error() -> None:
    for eyes in (np.full((2, 2), 3.0), np.full((2, 2), np.nan)):
        with pytest.raises(MienError, match="Eyes"):
            crop_box(eyes)


def test_crop_clip_uses_the_first_face(woman: np.ndarray) -> None:
    clip = [woman, np.roll(woman, 6, 1)]
    track = track_face(clip)
    box = crop_box(track.eyes()[0])
    frozen = np.stack(list(crop_clip(clip, track, (110, 90))))
    assert frozen.shape == (2, 110, 90, 3)
    assert np.array_equal(frozen, crop(np.stack(clip), box, (110, 90)))
    following = np.stack(list(crop_clip(clip, track, (110, 90), per_frame=True)))
    inner = np.s_[1, 10:-10, 10:-10]
    still = frozen[0, 10:-10, 10:-10].astype(float)
    assert np.abs(following[inner] - still).mean() < 0.3 * np.abs(frozen[inner] - still).mean()
