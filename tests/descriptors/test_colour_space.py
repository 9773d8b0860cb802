"""The learned colour space: known mixtures come apart, nothing leaks, grey is refused; LBP-TICS is LBP-TOP of it."""

import numpy as np
import pytest

from mien.descriptors import lbp_tics, lbp_top, learn_colour_space
from mien.descriptors.colour_space import to_colour_space
from mien.errors import MienError
from mien.synthesis.moving_face import render_clip


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return render_clip(2, "positive", interval_length=8, apex=4, size=32, seed=0, colour=True)


def test_learn_colour_space_separates_independent_sources() -> None:
    random = np.random.default_rng(0)
    sources = np.stack([random.uniform(-1, 1, 20_000), random.laplace(size=20_000), random.exponential(size=20_000)], 1)
    mixing = np.array([[60.0, 20, 5], [40, -30, 8], [30, 10, 20]])
    rows = learn_colour_space(sources @ mixing.T + 120)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1)
    found = np.abs(np.corrcoef((sources @ mixing.T @ rows.T).T, sources.T)[:3, 3:])
    assert (np.sort(found, axis=1)[:, 2] > 0.99).all()
    assert (np.sort(found, axis=1)[:, 1] < 0.05).all()
    assert sorted(found.argmax(1)) == [0, 1, 2]


def test_channels_are_ordered_by_correlation_with_brightness(face: np.ndarray) -> None:
    rows = learn_colour_space(face)
    brightness = face.mean(-1).ravel()
    follows = [np.corrcoef((face.reshape(-1, 3) @ row), brightness)[0, 1] for row in rows]
    assert follows == sorted(follows, reverse=True)
    assert follows[2] >= 0
    assert np.array_equal(rows, learn_colour_space(face))


def test_to_colour_space_equals_the_rounded_matrix_product(face: np.ndarray) -> None:
    rows = learn_colour_space(face)
    made = to_colour_space(face, rows)
    assert made.dtype == np.int16
    assert made.shape == (3, *face.shape[:3])
    for channel, row in zip(made, rows, strict=True):
        low, high = 255 * row[row < 0].sum(), 255 * row[row > 0].sum()
        plain = np.array([[[row @ pixel for pixel in line] for line in frame] for frame in face.astype(float)])
        assert np.allclose(channel, (plain - low) / (high - low) * 32640, atol=0.51)
        assert channel.min() >= 0
        assert channel.max() <= 32640


def test_lbp_tics_is_lbp_top_of_each_channel(face: np.ndarray) -> None:
    rgb = lbp_tics(face, np.eye(3), blocks=(2, 2, 1))
    assert np.array_equal(rgb, np.concatenate([lbp_top(face[..., c], blocks=(2, 2, 1)) for c in range(3)]))
    learned = lbp_tics(face, learn_colour_space(face), blocks=(2, 2, 1))
    assert learned.shape == rgb.shape
    assert not np.array_equal(learned, rgb)


def test_grey_clips_and_bad_transforms_raise_mien_error(face: np.ndarray) -> None:
    grey = np.repeat(face[..., :1], 3, -1)
    with pytest.raises(MienError, match="no colour"):
        learn_colour_space(grey)
    with pytest.raises(MienError, match=r"pixels has the shape \(8, 32, 32\)"):
        learn_colour_space(face[..., 0])
    with pytest.raises(MienError, match="NaN"):
        learn_colour_space(np.full((10, 3), np.nan))
    with pytest.raises(MienError, match="lbp_tics needs it"):
        lbp_tics(face[..., 0], np.eye(3))
    with pytest.raises(MienError, match=r"transform has the shape \(2, 3\)"):
        lbp_tics(face, np.eye(3)[:2])
    with pytest.raises(MienError, match="too few for radius"):
        lbp_tics(face[:5], np.eye(3))
