"""Pairs of pictures with known motion, checked by measurement and by formula."""

import numpy as np
import pytest
from scipy import ndimage

from mien.errors import MienError
from mien.synthesis import moving_pairs
from mien.synthesis.moving_pairs import KINDS, TEXTURES, moving_pair, origins, render_pair

SIZE = {"height": 110, "width": 90}


def photograph() -> np.ndarray:
    noise = np.random.default_rng(5).normal(size=(96, 120))
    soft = ndimage.gaussian_filter(noise, 1.5)
    return np.asarray(128 + 40 * soft / soft.std())


@pytest.mark.parametrize("texture", [*TEXTURES, photograph()], ids=[*TEXTURES, "picture"])
@pytest.mark.parametrize("kind", ["translation", "rotation", "scale", "smooth", "occlusion"])
def test_second_frame_shows_the_first_displaced_by_the_flow(kind: str, texture: str | np.ndarray) -> None:
    (first, second), flow, valid = render_pair(kind, texture=texture, amplitude=1.5, noise=0.0, seed=2, **SIZE)
    y, x = np.mgrid[: first.shape[0], : first.shape[1]]
    there = ndimage.map_coordinates(second, [y + flow[..., 1], x + flow[..., 0]], order=5, mode="mirror")
    inner = np.zeros_like(valid)
    inner[10:-10, 10:-10] = True
    off, sure = misplacement(first, there)
    inner &= ndimage.binary_erosion(valid, iterations=6) & sure
    assert inner.sum() > 300
    assert np.quantile(off[inner], 0.99) < 0.02
    assert off[inner].mean() < 0.005


def misplacement(first: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measure the displacement by least squares in small windows, in pixels, and where it is reliable."""
    gy, gx = np.gradient(0.5 * (first + there))
    xx, yy, xy, xt, yt = (
        ndimage.gaussian_filter(product, 2)
        for product in (gx * gx, gy * gy, gx * gy, gx * (there - first), gy * (there - first))
    )
    determinant = xx * yy - xy * xy
    smaller = determinant / (xx + yy)
    off = np.hypot(yy * xt - xy * yt, xx * yt - xy * xt) / np.maximum(determinant, 1e-9)
    return off, smaller > 2


def test_displacement_measure_detects_a_fiftieth_of_a_pixel() -> None:
    (first, second), _, _ = render_pair("translation", texture="face", amplitude=0.03, noise=0.0, seed=2, **SIZE)
    off, sure = misplacement(first, second)
    assert np.median(off[sure]) == pytest.approx(0.03, rel=0.1)


def test_noise_texture_is_its_formula_at_displaced_points() -> None:
    (first, second), flow, _ = render_pair("translation", texture="noise", amplitude=0.7, noise=0.0, seed=4, **SIZE)
    waves = moving_pairs._waves(4)
    points = np.stack(np.meshgrid(np.arange(90), np.arange(110)), -1).astype(np.float64)
    np.testing.assert_allclose(first, waves(points), atol=1e-9)
    np.testing.assert_allclose(second, waves(points - flow[0, 0]), atol=1e-9)


def test_origins_invert_the_motion() -> None:
    def motion(points: np.ndarray) -> np.ndarray:
        return np.asarray(0.9 * np.sin(points[..., ::-1] / 3))

    points = np.random.default_rng(0).uniform(0, 50, (200, 2))
    found = origins(motion, points)
    np.testing.assert_allclose(found + motion(found), points, atol=1e-8)


@pytest.mark.parametrize("amplitude", [0.3, 3.0])
@pytest.mark.parametrize("kind", ["translation", "rotation", "scale", "smooth", "noise_1"])
def test_largest_displacement_equals_the_amplitude(kind: str, amplitude: float) -> None:
    pair = moving_pair(kind, amplitude=amplitude, seed=1)
    assert pair.first.shape == pair.second.shape == pair.valid.shape == (300, 245)
    assert pair.first.dtype == pair.second.dtype == np.uint8
    assert np.linalg.norm(pair.flow, axis=-1).max() == pytest.approx(amplitude, rel=1e-3)


def test_rotation_and_scale_are_exact() -> None:
    rotation = moving_pair("rotation", amplitude=3.0).flow.astype(np.float64)
    turned = np.eye(2) + [[np.gradient(rotation[..., i], axis=a)[40, 40] for a in (1, 0)] for i in (0, 1)]
    np.testing.assert_allclose(turned @ turned.T, np.eye(2), atol=1e-4)
    scale = moving_pair("scale", amplitude=3.0).flow.astype(np.float64)
    assert np.gradient(scale[..., 0], axis=1)[40, 40] == pytest.approx(
        np.gradient(scale[..., 1], axis=0)[7, 9], abs=1e-4
    )
    assert np.abs(np.gradient(scale[..., 0], axis=0)).max() < 1e-5


def test_hidden_points_and_points_outside_are_not_valid() -> None:
    (first, second), flow, valid = render_pair(
        "occlusion", texture="noise", amplitude=2.0, noise=0.0, seed=3, height=120, width=120
    )
    motions = np.unique(flow.reshape(-1, 2), axis=0)
    assert len(motions) == 2
    assert np.linalg.norm(motions[0] - motions[1]) == pytest.approx(6.0)
    assert 0.8 < valid[10:-10, 10:-10].mean() < 0.99
    y, x = np.mgrid[:120, :120]
    there = ndimage.map_coordinates(second, [y + flow[..., 1], x + flow[..., 0]], order=3, mode="mirror")
    wrong = np.abs(there - first) > 20
    assert wrong.sum() > 50  # points that are hidden do look different,
    assert not (wrong & valid)[3:-3, 3:-3].any()  # and none of them counts as seen.


def test_noise_is_white_with_the_standard_deviation_in_the_name() -> None:
    for kind, expected in (("noise_1", 1.0), ("noise_3", 3.0)):
        (first, _), _, _ = render_pair(kind, texture="noise", amplitude=1.0, noise=0.0, seed=0, **SIZE)
        (clean, _), _, _ = render_pair("smooth", texture="noise", amplitude=1.0, noise=0.0, seed=0, **SIZE)
        assert np.std(first - clean) == pytest.approx(expected, rel=0.03)
    (first, _), _, _ = render_pair("noise_3", texture="noise", amplitude=1.0, noise=4.0, seed=0, **SIZE)
    assert np.std(first - clean) == pytest.approx(5.0, rel=0.03)


def test_brightness_kind_changes_light_across_the_picture() -> None:
    (first, second), flow, _ = render_pair("brightness", texture="noise", amplitude=0.0, noise=0.0, seed=1, **SIZE)
    assert np.abs(flow).max() == 0
    light = second - 1.06 * first
    assert np.ptp(light) > 15
    plane = np.gradient(light, axis=(0, 1))
    assert max(float(np.ptp(d)) for d in plane) < 1e-9


def test_same_arguments_give_the_same_pair_and_another_seed_another_one() -> None:
    one, two, other = (moving_pair("noise_1", texture="noise", seed=s, **SIZE) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.second, two.second)
    assert (one.first != other.first).mean() > 0.5


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(MienError, match="smooth"):
        moving_pair("smoth")
    with pytest.raises(MienError, match="noise"):
        moving_pair("smooth", texture="nois")
    with pytest.raises(MienError, match="grey picture"):
        moving_pair("smooth", texture=np.zeros((40, 40, 3)))
    for wrong in ({"height": 20}, {"amplitude": 9.0}, {"noise": -1.0}, {"seed": -1}):
        with pytest.raises(MienError, match="amplitude"):
            moving_pair("smooth", **wrong)
    assert len(set(KINDS)) == len(KINDS)
