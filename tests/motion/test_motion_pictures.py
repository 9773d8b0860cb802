"""Tests that pictures have the right colours in the right places, for all kinds of input."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.errors import MienError
from mien.motion import pictures


def field(u: float, v: float, size: int = 8) -> np.ndarray:
    return np.full((size, size, 2), (u, v), np.float32)


def test_flow_colours_draws_no_motion_white_and_right_red() -> None:
    assert (pictures.flow_colours(field(0, 0)) == 255).all()
    assert pictures.flow_colours(field(2, 0), 2.0)[0, 0].tolist() == [255, 0, 0]
    half = pictures.flow_colours(field(1, 0), 2.0)[0, 0]
    assert half[0] == 255
    assert 120 < half[1] < 135


@pytest.mark.parametrize(("u", "v", "strongest"), [(-1.0, 0.0, 2), (0.0, -1.0, 2), (1.0, 0.0, 0)])
def test_flow_colours_gives_each_direction_its_hue(u: float, v: float, strongest: int) -> None:
    # The wheel of Baker et al.: right red, down yellow, left cyan to blue, up blue to violet.
    colour = pictures.flow_colours(field(u, v), 1.0)[0, 0].astype(int)
    assert colour.argmax() == strongest
    down = pictures.flow_colours(field(0, 1), 1.0)[0, 0].astype(int)
    assert down[0] > 200
    assert down[1] > 200
    assert down[2] == 0


def test_flow_colours_gives_opposite_directions_different_colours() -> None:
    angles = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    there = pictures.flow_colours(np.stack([np.cos(angles), np.sin(angles)], -1)[None], 1.0)[0].astype(int)
    back = pictures.flow_colours(np.stack([-np.cos(angles), -np.sin(angles)], -1)[None], 1.0)[0].astype(int)
    assert np.abs(there - back).max(-1).min() > 100


def test_flow_wheel_is_white_in_the_centre_and_outside() -> None:
    wheel = pictures.flow_wheel(65)
    assert wheel.shape == (65, 65, 3)
    assert (wheel[0, 0] == 255).all()
    assert wheel[32, 32].min() > 240
    assert wheel[32, 63].tolist() != [255, 255, 255]


def test_scalar_colours_is_monotonic_and_draws_nan_grey() -> None:
    values = np.array([[0.0, 0.5], [1.0, np.nan]])
    picture = pictures.scalar_colours(values)
    brightness = picture.sum(-1)
    assert brightness[0, 0] < brightness[0, 1] < brightness[1, 0]
    assert picture[1, 1].tolist() == [128, 128, 128]
    assert (pictures.scalar_colours(np.zeros((3, 3))) == pictures.scalar_colours(np.ones((3, 3)))).all()


def test_mask_over_fades_pixels_outside_the_mask() -> None:
    face = np.full((40, 30), 100, np.uint8)
    mask = np.zeros((20, 15), bool)
    mask[5:15, 5:10] = True
    picture = pictures.mask_over(face, mask)
    assert picture[20, 15].tolist() == [100, 100, 100]
    assert picture[2, 2].min() > 180
    edge = picture[10, 10:20].astype(int)
    assert (edge[:, 0] - edge[:, 1]).max() > 60


def test_landmarks_over_draws_dots_at_the_points() -> None:
    frame = np.zeros((60, 80), np.uint8)
    points = np.array([[20.0, 10.0], [70.0, 50.0], [np.nan, np.nan]])
    picture = pictures.landmarks_over(frame, points, (255, 255, 255))
    ys, xs = np.nonzero(picture[..., 0] > 100)
    assert set(zip(xs // 10, ys // 10, strict=True)) <= {(1, 0), (2, 1), (1, 1), (2, 0), (6, 4), (7, 5), (6, 5), (7, 4)}
    assert picture[10, 20, 0] == 255
    assert frame.max() == 0


@pytest.mark.parametrize("colour", [False, True])
def test_strip_time_slice_and_beside(colour: bool) -> None:
    clip = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((1, 6, 4), np.uint8) * 10
    clip = np.repeat(clip[..., None], 3, -1) if colour else clip
    row = pictures.strip(clip, 3, gap=2)
    assert row.shape == (6, 3 * 4 + 2 * 2, 3)
    assert [row[0, x, 0] for x in (0, 6, 12)] == [0, 20, 40]
    through = pictures.time_slice(clip, 2)
    assert through.shape == (4, 5, 3)
    assert through[0, :, 0].tolist() == [0, 10, 20, 30, 40]
    assert pictures.beside(clip[0], clip[1]).shape == (6, 12, 3)


def test_figures_can_be_saved(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    clip = random.integers(0, 255, (6, 40, 30, 3), dtype=np.uint8)
    flow = random.normal(size=(40, 30, 2)).astype(np.float32)
    figures = {
        "flow": pictures.figure_flow(clip[0], clip[1], flow),
        "still": pictures.figure_flow(clip[0], clip[0], 0 * flow),
        "mask": pictures.figure_mask(clip[0], flow[..., 0], flow[..., 0] > 0),
        "magnified": pictures.figure_magnified(clip, clip[::-1], 8),
        "maps": pictures.figure_maps(flow.transpose(2, 0, 1), ("u", "v"), (True, False)),
        "apex": pictures.figure_apex(np.arange(6.0), 5, 100),
    }
    for name, figure in figures.items():
        with Image.open(pictures.save(figure, tmp_path / f"{name}.png")) as picture:
            assert min(picture.size) > 200
            assert len(picture.convert("L").getcolors(1 << 20) or ()) > 20


def test_save_with_an_unknown_ending_raises_mien_error(tmp_path: Path) -> None:
    with pytest.raises(MienError, match=r"ends in '\.what'"):
        pictures.save(np.zeros((4, 4, 3), np.uint8), tmp_path / "x.what")
