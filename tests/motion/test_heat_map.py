import numpy as np
import pytest

from mien.errors import MienError
from mien.motion.heat_map import difference_heat, mean_heat, top_mask


def clip(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (7, 12, 10), np.uint8)


def test_difference_heat_sums_the_difference_to_the_first_frame() -> None:
    frames = clip()
    plain = np.zeros((12, 10))
    for frame in frames:
        for y in range(12):
            for x in range(10):
                plain[y, x] += abs(int(frame[y, x]) - int(frames[0, y, x]))
    assert difference_heat(frames) == pytest.approx(plain)
    assert np.array_equal(difference_heat(iter(frames)), difference_heat(frames))
    assert (difference_heat(np.repeat(frames[:1], 5, axis=0)) == 0).all()
    grey_rgb = np.repeat(frames[..., None], 3, axis=-1)
    assert difference_heat(grey_rgb) == pytest.approx(plain, abs=1e-2)


def test_difference_heat_weighs_colours_by_luminance() -> None:
    frames = np.zeros((2, 12, 12, 3), np.uint8)
    frames[1] = (100, 0, 0)
    assert difference_heat(frames) == pytest.approx(29.9)


def test_mean_heat_with_and_without_per_clip_max() -> None:
    a, b = difference_heat(clip(0)), 50 * difference_heat(clip(1)[:3])
    assert mean_heat([a, b]) == pytest.approx((a + b) / 2)
    assert mean_heat(iter([a, b]), per_clip_max=True) == pytest.approx((a / a.max() + b / b.max()) / 2)
    still = np.zeros_like(a)
    assert mean_heat([a, still], per_clip_max=True) == pytest.approx(a / a.max() / 2)
    assert np.array_equal(top_mask(mean_heat([a, b])), top_mask(a + b))


@pytest.mark.parametrize(("share", "count"), [(0.30, 922), (0.25, 768), (1.0, 3072), (1e-9, 0)])
def test_top_mask_selects_exactly_the_share(share: float, count: int) -> None:
    heat = np.random.default_rng(0).normal(size=(64, 48))
    mask = top_mask(heat, share)
    assert mask.dtype == np.bool_
    assert mask.sum() == count
    if 0 < count < 3072:
        assert heat[mask].min() > heat[~mask].max()
    # A map full of equals has its share too, always the same pixels.
    flat = top_mask(np.ones((64, 48)), share)
    assert flat.ravel().tolist() == [True] * count + [False] * (3072 - count)


def test_top_mask_selects_the_pixels_that_move() -> None:
    frames = np.full((6, 20, 20), 90, np.uint8)
    frames[1:, 5:9, 7:12] += np.arange(1, 6, dtype=np.uint8)[:, None, None]
    expected = np.zeros((20, 20), bool)
    expected[5:9, 7:12] = True
    assert np.array_equal(top_mask(difference_heat(frames), 20 / 400), expected)


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_opening_equals_a_slow_implementation(radius: int) -> None:
    heat = np.random.default_rng(2).normal(size=(30, 28))
    heat[8:20, 6:18] += 3
    mask = top_mask(heat, 0.35)
    plain = np.zeros_like(mask)
    disk = [
        (y, x) for y in range(-radius, radius + 1) for x in range(-radius, radius + 1) if y * y + x * x <= radius**2
    ]
    for y in range(30):
        for x in range(28):
            # What lies outside the picture counts as hot, so that areas at its border are not eaten away.
            spots = [(y + dy, x + dx) for dy, dx in disk if 0 <= y + dy < 30 and 0 <= x + dx < 28]
            if all(mask[spot] for spot in spots):
                for spot in spots:
                    plain[spot] = True
    opened = top_mask(heat, 0.35, opening=radius)
    assert np.array_equal(opened, plain)
    assert 0 < opened.sum() < mask.sum()


def test_wrong_arguments_raise_mien_error() -> None:
    heat = np.ones((4, 4))
    for share, opening in ((0, 0), (1.5, 0), (0.3, -1)):
        with pytest.raises(MienError, match="share"):
            top_mask(heat, share, opening)
    with pytest.raises(MienError, match="finite"):
        top_mask(np.full((4, 4), np.nan))
    with pytest.raises(MienError, match="one training clip"):
        mean_heat([])
    with pytest.raises(MienError, match="one size"):
        mean_heat([heat, np.ones((4, 5))])
    with pytest.raises(MienError, match="at least one frame"):
        difference_heat(clip()[:0])
    with pytest.raises(MienError, match="grey"):
        difference_heat(np.zeros((3, 4, 4, 2), np.uint8))
    with pytest.raises(MienError, match="one size"):
        difference_heat([np.zeros((4, 4)), np.zeros((4, 5))])
