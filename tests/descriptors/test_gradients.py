"""HIGO-TOP and HOG-TOP against loops; orientation, contrast and stillness."""

from math import atan2, hypot, pi

import numpy as np
import pytest

from mien.descriptors import higo_top, hog_top
from mien.errors import MienError
from mien.synthesis.moving_face import render_clip


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=shape, dtype=np.uint8)


def slow_orientations(clip: np.ndarray, bins: int, blocks: tuple[int, int, int], steep: bool) -> np.ndarray:
    """(times, rows, columns, planes, bins), voxel by voxel."""
    rows, columns, times = blocks
    levels = clip.astype(float)
    inner = [n - 2 for n in clip.shape]
    counts = np.zeros((times, rows, columns, 3, bins))
    for t, y, x in np.ndindex(*inner):
        block = []
        for at, length, n in zip((t, y, x), inner, (times, rows, columns), strict=True):
            block.append(next(i for i in range(n) if at < round((i + 1) * length / n)))
        gx = levels[t + 1, y + 1, x + 2] - levels[t + 1, y + 1, x]
        gy = levels[t + 1, y + 2, x + 1] - levels[t + 1, y, x + 1]
        gt = levels[t + 2, y + 1, x + 1] - levels[t, y + 1, x + 1]
        for plane, (a, b) in enumerate(((gx, gy), (gx, gt), (gy, gt))):
            if a or b:
                angle = atan2(b, a) % (2 * pi)
                counts[(*block, plane, min(int(angle / (2 * pi) * bins), bins - 1))] += hypot(a, b) if steep else 1
    return counts


@pytest.mark.parametrize(("bins", "blocks"), [(8, (2, 3, 1)), (5, (1, 2, 2))])
@pytest.mark.parametrize("what", ["noise", "face"])
def test_gradient_histograms_equal_a_slow_implementation(bins: int, blocks: tuple[int, int, int], what: str) -> None:
    clip = noise(6, 13, 16)
    if what == "face":
        clip = render_clip(1, "positive", interval_length=6, apex=3, size=24, seed=0, colour=False)
    votes = slow_orientations(clip, bins, blocks, steep=False)
    assert np.array_equal(higo_top(clip, bins=bins, blocks=blocks, normalise=False), votes.ravel())
    shares = (votes / votes.sum(-1, keepdims=True)).ravel()
    assert np.allclose(higo_top(clip, bins=bins, blocks=blocks), shares, atol=1e-12)
    assert np.allclose(higo_top(clip.astype(np.float64), bins=bins, blocks=blocks), shares, atol=1e-12)
    lengths = slow_orientations(clip, bins, blocks, steep=True)
    assert np.allclose(hog_top(clip, bins=bins, blocks=blocks, normalise=False), lengths.ravel(), rtol=1e-9)
    assert np.allclose(hog_top(clip / 4, bins=bins, blocks=blocks, normalise=False), lengths.ravel() / 4, rtol=1e-9)


def test_a_ramp_falls_into_the_bin_of_its_orientation() -> None:
    t, y, x = np.mgrid[0:5, 0:9, 0:9]
    found = higo_top((20 + 4 * x + 8 * y + 2 * t).astype(np.uint8), blocks=(1, 1, 1)).reshape(3, 8)
    # atan2(8, 4), atan2(2, 4) and atan2(2, 8), in eighths of a turn
    assert found.argmax(1).tolist() == [1, 0, 0]
    assert found.max(1).tolist() == [1, 1, 1]


def test_rotating_the_clip_rotates_the_bins() -> None:
    clip = noise(5, 14, 14)
    before = higo_top(clip, blocks=(1, 1, 1), bins=4).reshape(3, 4)[0]
    # A quarter turn moves a gradient of angle a to a + 90 degrees; those on a bin's edge move with it.
    after = higo_top(np.rot90(clip, -1, (1, 2)), blocks=(1, 1, 1), bins=4).reshape(3, 4)[0]
    assert np.allclose(np.roll(before, 1), after, atol=1e-12)


def test_higo_ignores_contrast_and_hog_does_not() -> None:
    clip = noise(5, 14, 14) // 2
    louder = clip.copy()
    louder[:, :, 7:] *= 2
    both = (clip[:, :, 8:], louder[:, :, 8:])
    quiet, loud = (higo_top(c, blocks=(1, 1, 1)) for c in both)
    assert np.array_equal(quiet, loud)
    quiet, loud = (hog_top(c, blocks=(1, 1, 1), normalise=False) for c in both)
    assert not np.allclose(quiet, loud)


def test_gradient_histograms_depend_on_every_frame() -> None:
    clip = noise(6, 12, 12)
    for describe in (higo_top, hog_top):
        before = describe(clip, blocks=(2, 2, 1))
        for frame in range(len(clip)):
            changed = clip.copy()
            changed[frame] = clip[frame, ::-1]
            assert not np.array_equal(describe(changed, blocks=(2, 2, 1)), before)


@pytest.mark.parametrize("describe", [higo_top, hog_top])
@pytest.mark.parametrize(
    ("clip", "given", "says"),
    [
        (noise(2, 20, 20), {}, "2 frames"),
        (noise(9, 20, 20), {"bins": 1}, "bins is 1"),
        (noise(9, 6, 20), {}, "4 rows into 5"),
        (noise(9, 20, 20, 3), {}, "colour"),
        (np.full((9, 20, 20), 5, np.uint8), {}, "constant"),
        (np.full((9, 20, 20), np.inf), {}, "infinity"),
    ],
)
def test_bad_input_raises_mien_error(describe: object, clip: np.ndarray, given: dict[str, object], says: str) -> None:
    with pytest.raises(MienError, match=says):
        describe(clip, **given)  # type: ignore[operator]
