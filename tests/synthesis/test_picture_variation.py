"""Random changes of synthetic flow pictures: within their ranges, and nothing else."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.motion.strain import optical_strain
from mien.synthesis import picture_variation
from mien.synthesis.picture_variation import draw_picture_crop, varied
from mien.synthesis.timeline import read_table


def hill(size: int = 28) -> NDArray[np.float64]:
    """Return the flow of a hill that moves up, left of the middle."""
    y, x = np.mgrid[:size, :size]
    rise = np.exp(-((x - 9) ** 2 + (y - 14) ** 2) / 18)
    return np.dstack([0.3 * rise, -rise])


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make nothing vary but the ratio of u and v in the strain."""
    still = dict.fromkeys(("rotation", "scale", "shift", "elastic"), 0.0) | {"grain": 5.0}
    level = {
        "power": [1.0, 1.0],
        "affine": 0.0,
        "parts": [1.0] * 4,
        "noise": 0.0,
        "scales": [1.0],
        "angle": [45.0, 45.0],
    }
    monkeypatch.setattr(picture_variation, "read_table", lambda _: {"geometry": still, "level": level})


@pytest.mark.usefixtures("plain")
def test_without_variation_the_flow_stays_as_it_is_but_for_scale() -> None:
    u, v, strain = varied(hill(), np.random.default_rng(0))
    expected = hill() - np.median(hill(), axis=(0, 1))
    for found, wanted in ((u, expected[..., 0]), (v, expected[..., 1])):
        np.testing.assert_allclose(found, wanted / np.sqrt((wanted**2).mean()), atol=1e-4)
    np.testing.assert_allclose(strain, optical_strain(np.dstack([u, v]) * np.sqrt(0.5), "small"), atol=1e-4)


@pytest.mark.usefixtures("plain")
def test_motion_of_the_whole_head_is_taken_out() -> None:
    moved = varied(hill() + np.array([3.0, -2.0]), np.random.default_rng(0))
    np.testing.assert_allclose(moved, varied(hill(), np.random.default_rng(0)), atol=1e-3)


def test_variation_moves_the_place_of_motion_by_a_few_pixels_and_keeps_its_direction() -> None:
    places, ups = [], []
    for seed in range(60):
        _, v, _ = varied(hill(), np.random.default_rng(seed))
        strength = np.clip(-v - 0.5, 0, None)
        places.append([(strength * axis).sum() / strength.sum() for axis in np.mgrid[:28, :28]])
        ups.append(v[np.unravel_index(np.abs(v).argmax(), v.shape)])
    centre, spread = np.mean(places, 0), np.std(places, 0)
    assert np.abs(centre - (14, 9)).max() < 1.0
    assert ((spread > 0.3) & (spread < 3)).all()
    assert np.mean(np.array(ups) < 0) > 0.95


def test_variation_depends_on_the_generator_alone() -> None:
    first, same, other = (varied(hill(), np.random.default_rng(s)) for s in (0, 0, 1))
    assert np.array_equal(first, same)
    assert np.abs(first - other).max() > 0.1


def test_a_still_face_gives_finite_pictures() -> None:
    assert np.isfinite(varied(np.zeros((28, 28, 2)), np.random.default_rng(0))).all()


def test_crops_fill_their_ranges() -> None:
    rng = np.random.default_rng(0)
    crops = [draw_picture_crop(rng) for _ in range(300)]
    for name in ("width", "height", "eyes"):
        low, high = read_table("pictures")["crop"][name]
        values = [getattr(crop, name) for crop in crops]
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(values) <= high
