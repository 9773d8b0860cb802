"""HOOF against loops, and what its bins promise."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.descriptors import bi_woof, fdm, hoof
from mien.descriptors.hoof import orientation_bins
from mien.errors import MienError

SMALL = st.integers(-3, 3)


def slow_bin(x: float, y: float, bins: int, centred: bool) -> int:
    """By degrees, rounded so that the borders of bins are hit."""
    degrees = round(math.degrees(math.atan2(y, x)), 9) % 360
    width = 360 / bins
    return math.floor(round((degrees + (width / 2 if centred else 180)) / width, 9)) % bins


def slow_hoof(flow: np.ndarray, bins: int, rows: int, columns: int, symmetric: bool, weighted: bool) -> np.ndarray:
    height, width, _ = flow.shape
    counts = np.zeros((rows, columns, bins))
    for i in range(height):
        for j in range(width):
            x, y = map(float, flow[i, j])
            row = max(r for r in range(rows) if round(r * height / rows) <= i)
            column = max(c for c in range(columns) if round(c * width / columns) <= j)
            if symmetric:
                b = min(int((math.atan2(y, abs(x)) / math.pi + 0.5) * bins), bins - 1)
            else:
                b = slow_bin(x, y, bins, False)
            length = math.hypot(x, y)
            counts[row, column, b] += length if weighted else float(length > 0)
    for histogram in counts.reshape(-1, bins):
        if histogram.sum() > 0:
            histogram /= histogram.sum()
    return counts.ravel()


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("bins", "blocks"), [(8, (1, 1)), (8, (5, 4)), (6, (2, 3)), (12, (1, 7)), (9, (3, 3))])
def test_hoof_equals_a_slow_implementation(bins: int, blocks: tuple[int, int], symmetric: bool, weighted: bool) -> None:
    flow = np.random.default_rng(1).normal(size=(23, 19, 2)).astype(np.float32)
    flow[:6] = 0
    made = hoof(flow, bins=bins, blocks=blocks, symmetric=symmetric, weighted=weighted)
    assert np.allclose(made, slow_hoof(flow, bins, *blocks, symmetric, weighted), atol=1e-12)


@given(SMALL, SMALL, st.sampled_from([4, 6, 8, 9, 12, 16]), st.booleans())
def test_orientation_bins_of_vectors_on_bin_borders(x: int, y: int, bins: int, centred: bool) -> None:
    assert orientation_bins(np.array([x, y]), bins, centred) == slow_bin(x, y, bins, centred)


@given(SMALL, SMALL, st.floats(1e-3, 1e3), st.sampled_from([4, 8, 12, 16]), st.booleans())
def test_rotation_by_90_degrees_shifts_a_quarter_of_the_bins(
    x: int, y: int, size: float, bins: int, centred: bool
) -> None:
    if (x, y) == (0, 0):
        return
    before, after = (int(orientation_bins(size * np.array(v, float), bins, centred)) for v in ((x, y), (-y, x)))
    assert after == (before + bins // 4) % bins


def test_rotating_the_flow_permutes_the_histogram() -> None:
    flow = np.random.default_rng(2).normal(size=(30, 31, 2))
    turned = np.stack([-flow[..., 1], flow[..., 0]], -1)
    first, second = (hoof(f, blocks=(3, 3)).reshape(9, 8) for f in (flow, turned))
    assert np.allclose(second, np.roll(first, 2, axis=1), atol=1e-12)


def test_symmetric_hoof_is_equal_for_mirrored_flow() -> None:
    flow = np.random.default_rng(3).normal(size=(20, 20, 2))
    mirrored = flow[:, ::-1] * [-1, 1]
    assert np.allclose(hoof(flow, symmetric=True), hoof(mirrored, symmetric=True), atol=1e-12)
    assert not np.allclose(hoof(flow), hoof(mirrored), atol=1e-3)


def test_hoof_of_a_batch_equals_one_by_one() -> None:
    flows = np.random.default_rng(4).normal(size=(2, 3, 16, 16, 2)).astype(np.float32)
    together = hoof(flows, blocks=(2, 2))
    assert together.shape == (2, 3, 32)
    assert np.array_equal(together[1, 2], hoof(flows[1, 2], blocks=(2, 2)))


def test_hoof_of_no_motion_is_zero() -> None:
    assert not hoof(np.zeros((8, 8, 2))).any()


FIELD = np.zeros((16, 16, 2))


@pytest.mark.parametrize("function", [hoof, bi_woof, fdm])
@pytest.mark.parametrize(
    ("flow", "settings", "names"),
    [
        (np.full((5, 16, 16, 2), np.nan), {}, "flow"),
        (np.zeros((5, 16, 16, 3)), {}, "flow"),
        (np.zeros((5, 16, 16, 2), complex), {}, "flow"),
        (np.zeros((0, 16, 16, 2)), {}, "flow"),
    ],
)
def test_bad_flow_raises_mien_error(
    function: Callable[..., np.ndarray], flow: np.ndarray, settings: dict[str, object], names: str
) -> None:
    with pytest.raises(MienError, match=f"^{names}"):
        function(flow, **settings)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"blocks": (17, 1)}, "blocks"),
        ({"blocks": (0, 1)}, "blocks"),
        ({"blocks": (2.5, 1)}, "blocks"),
        ({"bins": 1}, "bins"),
    ],
)
def test_bad_parameters_raise_mien_error(settings: dict[str, object], names: str) -> None:
    with pytest.raises(MienError, match=names):
        hoof(FIELD, **settings)  # type: ignore[arg-type]
    with pytest.raises(MienError, match=names):
        bi_woof(FIELD, **settings)  # type: ignore[arg-type]
