import numpy as np
import pytest

from mien.errors import MienError
from mien.motion.apex import apex_curve, find_apex

HEIGHTS = [0, 1, 3, 6, 9, 7, 4, 2, 1]


def bump(heights: list[int]) -> np.ndarray:
    """Return frames of a textured picture with a patch that is brighter by `heights[t]` grey levels in frame t."""
    picture = np.random.default_rng(0).integers(0, 200, (32, 32)).astype(np.uint8)
    frames = np.repeat(picture[None], len(heights), axis=0)
    for frame, height in zip(frames, heights, strict=True):
        frame[8:16, 8:16] += np.uint8(height)
    return frames


def test_find_apex_returns_the_frame_with_the_largest_change() -> None:
    assert find_apex(bump(HEIGHTS)) == 4
    assert find_apex(np.repeat(bump(HEIGHTS)[..., None], 3, axis=-1)) == 4
    assert find_apex(iter(bump(HEIGHTS))) == 4


def test_apex_curve_is_the_standard_deviation_of_the_difference() -> None:
    # A patch of 1/16 of the picture raised by h: h sqrt(1/16 (1 - 1/16)).
    expected = np.array(HEIGHTS) * np.sqrt(1 / 16 * 15 / 16)
    assert apex_curve(bump(HEIGHTS)) == pytest.approx(expected, abs=1e-5)
    noise = np.random.default_rng(0).integers(0, 256, (5, 20, 30, 3), np.uint8)
    grey = noise @ np.array([0.299, 0.587, 0.114])
    assert apex_curve(noise) == pytest.approx([np.std(g - grey[0]) for g in grey], abs=1e-3)


def test_find_apex_ignores_a_change_of_brightness_of_the_whole_picture() -> None:
    frames = bump(HEIGHTS)
    frames[7] += 30
    assert find_apex(frames) == 4


@pytest.mark.parametrize("peak", [1, 2, 10, 18, 19])
def test_find_apex_searches_the_whole_clip_by_default(peak: int) -> None:
    assert find_apex(bump([0] + [20 - abs(t - peak) for t in range(1, 20)])) == peak


def test_find_apex_searches_only_the_window() -> None:
    # Of 20 frames, counted from 1, the window (0.2, 0.7) holds the 4th to the 14th.
    for peak in range(20):
        heights = [0] + [20 - abs(t - peak) for t in range(1, 20)]
        assert find_apex(bump(heights), (0.2, 0.7)) == min(max(peak, 3), 13)


def test_find_apex_in_short_and_still_clips() -> None:
    frames = bump(HEIGHTS)
    for window in (None, (0.2, 0.7), (0.0, 0.01), (0.99, 1.0)):
        assert find_apex(frames[:1], window) == 0
        assert find_apex(frames[:2], window) == 1
    assert find_apex(frames[:1].repeat(11, axis=0)) == 1
    assert (apex_curve(frames[:1].repeat(3, axis=0)) == 0).all()


def test_wrong_arguments_raise_mien_error() -> None:
    with pytest.raises(MienError, match="at least one frame"):
        find_apex(np.zeros((0, 4, 4), np.uint8))
    with pytest.raises(MienError, match="grey"):
        find_apex(np.zeros((3, 4, 4, 2), np.uint8))
    with pytest.raises(MienError, match="one size"):
        find_apex([np.zeros((4, 4)), np.zeros((5, 4))])
    for window in ((0.7, 0.2), (-0.1, 0.5), (0.2, 1.1)):
        with pytest.raises(MienError, match="window"):
            find_apex(bump(HEIGHTS), window)
