"""Windows of HTNet and CausalNet, and directions of flow as colours."""

import colorsys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.errors import MienError
from mien.preprocessing import Context
from mien.preprocessing.face_windows import (
    add_directions,
    add_reversed,
    apex_offset_pictures,
    causalnet_input,
    tile_windows,
)
from mien.types import Clip

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "megc2019_flow_b"


def clip(*frames: Path) -> Clip:
    return Clip("smic_hs", "s01", "a", interval=None, emotion="positive", medium="flow", frames=frames)


def test_each_window_lies_where_the_released_code_cuts_it() -> None:
    rows, columns = np.mgrid[0:28, 0:28]
    picture = np.stack([rows, columns, np.full((28, 28), 7)]).astype(np.float32)
    strain, v, u = tile_windows(picture, Context(clip()))
    assert (strain == 7).all()
    places = {(0, 0): (2, 4), (0, 14): (14, 3), (14, 0): (3, 14), (14, 14): (13, 14)}
    for (y, x), (row, column) in places.items():
        assert np.array_equal(u[y : y + 14, x : x + 14], rows[row : row + 14, column : column + 14])
        assert np.array_equal(v[y : y + 14, x : x + 14], columns[row : row + 14, column : column + 14])


def test_a_direction_is_a_hue_of_full_saturation() -> None:
    random = np.random.default_rng(0)
    flow = random.uniform(0, 255, (3, 6, 5)).astype(np.float32)
    found = add_directions(flow, Context(clip()))
    assert np.array_equal(found[:3], flow)
    for y in range(6):
        for x in range(5):
            hue = np.degrees(np.arctan2(flow[1, y, x], flow[0, y, x]))
            assert found[3:, y, x] == pytest.approx(255 * np.array(colorsys.hsv_to_rgb(hue / 360, 1, 1)), abs=0.01)


def test_backwards_twice_is_the_flow_again() -> None:
    flow = np.random.default_rng(0).uniform(0, 255, (3, 28, 28)).astype(np.float32)
    both = add_reversed(flow, Context(clip()))
    assert np.allclose(add_reversed(both[3:], Context(clip()))[3:], flow, atol=1e-4)
    assert np.array_equal(both[5], flow[2])


def test_the_picture_from_apex_to_offset_is_found_beside_the_other_or_missed_in_three_parts(tmp_path: Path) -> None:
    for name, level in (("a .png", 10), ("a_1 .png", 20), ("b.png", 30)):
        Image.fromarray(np.full((28, 28, 3), level, np.uint8)).save(tmp_path / name)
    found = apex_offset_pictures(np.empty(0), Context(clip(tmp_path / "b.png", tmp_path / "a .png")))
    assert found[:3].max() == 10
    assert found[3:].min() == 20
    with pytest.raises(MienError, match="offset_flow=reversed"):
        apex_offset_pictures(np.empty(0), Context(clip(tmp_path / "b.png")))
    assert causalnet_input("flow", "reversed").apply(clip(tmp_path / "b.png")).array.shape == (12, 28, 28)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real flow pictures are not here")
def test_directions_agree_with_the_published_ones() -> None:
    differences = []
    for path in sorted(SHARED.glob("sub0*_EP*[!_][0-9]f .png"))[:5] or sorted(SHARED.glob("sub01_EP02_01f .png")):
        flow = np.asarray(Image.open(path).convert("RGB"), np.float32).transpose(2, 0, 1)
        core = path.stem.rstrip()
        published = np.asarray(Image.open(path.with_name(f"{core}_2 .png")).convert("RGB"), np.float32)
        ours = add_directions(flow, Context(clip(path)))[3:].transpose(1, 2, 0)
        differences.append(np.abs(ours - published).mean())
    assert differences
    assert np.mean(differences) < 4
