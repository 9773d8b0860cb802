"""The head without its looks moves as the one that is rendered, and units move where and as anatomy says."""

import numpy as np
import pytest

from mien.synthesis.head.bare import BareHead, random_bare_head
from mien.synthesis.head.identity import mean_identity, random_identity
from mien.synthesis.head.scene import Head, Pose, State
from mien.synthesis.shape import Crop

WHOLE = Crop(width=3.0, height=3.6, eyes=0.4)


def test_flow_equals_that_of_the_rendered_head_where_there_is_no_hair() -> None:
    bare = BareHead(random_identity(3)).seen_in(WHOLE, 96, 900.0)
    whole = Head(bare.identity, bare.camera)
    before, after = State(), State({"AU12": 0.3, "AU4": 0.2}, Pose(yaw=0.3, right=0.2), (1.0, 0.5))
    truth, seen = whole.flow(before, after)
    found = bare.exact_flow(before, after)
    points = bare.landmarks(before)
    low, high = points[17:].min(0).astype(int), points[17:].max(0).astype(int)
    face = np.s_[low[1] : high[1], low[0] : high[0]]
    close = np.abs(found - truth)[face].max(-1) < 1e-3
    assert close[seen[face]].mean() > 0.97  # the rim of a lid or lip may differ
    assert np.abs(truth[face]).max() > 0.5


@pytest.mark.parametrize("width", [1.6, 2.3])
def test_eyes_lie_where_the_crop_has_them(width: float) -> None:
    crop = Crop(width=width, height=2.4, eyes=0.27, right=0.05)
    head = BareHead(random_identity(5)).seen_in(crop, 64, 1000.0)
    eyes = head.landmarks()[36:48].reshape(2, 6, 2).mean(1)
    assert np.linalg.norm(eyes[1] - eyes[0]) == pytest.approx(64 / width, rel=0.05)
    middle = eyes.mean(0) + 0.5
    assert middle[0] == pytest.approx(32 + 0.05 * 64 / width, abs=1.0)
    assert middle[1] == pytest.approx(0.27 * crop.shape(64)[0], abs=1.5)


# Distance outwards and down from the middle of the eyes, in eye distances, and the direction (outwards, down) there.
ANATOMY = {
    "AU1": ((0.25, -0.30), (0, -1)),
    "AU2": ((0.75, -0.28), (0, -1)),
    "AU4": ((0.45, -0.35), (-0.5, 0.87)),
    "AU6": ((0.72, 0.55), (0, -1)),
    "AU12": ((0.48, 1.00), (0.5, -0.87)),
    "AU14": ((0.48, 1.05), (1, 0)),
    "AU15": ((0.46, 1.05), (0.2, 0.98)),
    "AU17": ((0.10, 1.25), (0, -1)),
    "AU20": ((0.48, 1.00), (1, 0.3)),
}


@pytest.mark.parametrize("unit", ANATOMY)
def test_units_move_the_skin_where_and_as_anatomy_says(unit: str) -> None:
    (out, down), direction = ANATOMY[unit]
    head = BareHead(mean_identity()).seen_in(WHOLE, 120, 3000.0)
    flow = head.exact_flow(State(), State({unit: 0.3}))
    eyes = head.landmarks()[36:48].reshape(2, 6, 2).mean(1)
    middle, iod = eyes.mean(0), eyes[1, 0] - eyes[0, 0]
    for sign in (-1, 1):
        x, y = (middle + iod * np.array([sign * out, down])).round().astype(int)
        moved = flow[y, x] * (sign, 1)
        assert np.linalg.norm(moved) > 0.4 * np.linalg.norm(flow, axis=-1).max()
        assert moved @ direction > 0.8 * np.linalg.norm(moved) * np.linalg.norm(direction)


def test_one_half_moves_alone() -> None:
    head = BareHead(mean_identity()).seen_in(WHOLE, 96, 900.0)
    flow = np.linalg.norm(head.exact_flow(State(), State({"AU14": (0.0, 0.3)})), axis=-1)
    assert flow[:, 60:].max() > 20 * flow[:, :36].max()  # the person's left is on the right of the picture


def test_random_heads_differ_and_repeat() -> None:
    first, again, other = (random_bare_head(np.random.default_rng(s), WHOLE, 64) for s in (0, 0, 1))
    np.testing.assert_array_equal(first[0].rest, again[0].rest)
    assert first[1] == again[1] != other[1]
    assert np.abs(first[0].rest - other[0].rest).max() > 1
