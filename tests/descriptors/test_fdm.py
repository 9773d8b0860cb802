"""FDM against loops, its alignment and its iteration."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.descriptors import fdm
from mien.descriptors.fdm import mirror_fdm, principal_direction, without_translation
from mien.errors import MienError
from mien.motion.clip_flow import flows_of_clip
from mien.synthesis.moving_face import render_clip


def slow_shift(values: list[float], tolerance: float) -> float:
    values = sorted(values)
    best: list[float] = []
    for start in values:
        inside = [v for v in values if start <= v <= start + 2 * tolerance]
        if len(inside) > len(best):
            best = inside
    return sum(best) / len(best)


def slow_direction(vectors: list[tuple[float, float]], still: float) -> tuple[float, float]:
    moving = [v for v in vectors if math.hypot(*v) >= still]
    if not moving:
        return 0.0, 0.0
    x, y = sum(v[0] for v in moving), sum(v[1] for v in moving)
    before = None
    for _ in range(100):
        ahead = [i for i, v in enumerate(moving) if v[0] * x + v[1] * y > 0]
        if ahead == before:
            break
        before, x, y = ahead, sum(moving[i][0] for i in ahead), sum(moving[i][1] for i in ahead)
    return x / math.hypot(x, y), y / math.hypot(x, y)


def slow_fdm(flows: np.ndarray, cuboids: tuple[int, int, int], tolerance: float) -> np.ndarray:
    flows = flows.astype(float).copy()
    for field in flows:
        for axis in (0, 1):
            field[..., axis] -= slow_shift(field[..., axis].ravel().tolist(), tolerance)
    edges = [[round(k * side / n) for k in range(n + 1)] for side, n in zip(flows.shape[:3], cuboids, strict=True)]
    made: list[float] = []
    for t in range(cuboids[0]):
        for r in range(cuboids[1]):
            for c in range(cuboids[2]):
                part = flows[
                    edges[0][t] : edges[0][t + 1], edges[1][r] : edges[1][r + 1], edges[2][c] : edges[2][c + 1]
                ]
                made += slow_direction([(float(u), float(v)) for u, v in part.reshape(-1, 2)], 1e-3)
    return np.array(made)


@pytest.mark.parametrize("cuboids", [(1, 1, 1), (2, 3, 4), (3, 5, 2)])
def test_fdm_equals_a_slow_implementation(cuboids: tuple[int, int, int]) -> None:
    flows = np.random.default_rng(0).normal(0.3, 1, size=(5, 13, 11, 2)).astype(np.float32)
    assert np.allclose(fdm(flows, cuboids=cuboids), slow_fdm(flows, cuboids, 0.05), atol=1e-6)


def test_fdm_of_a_face_equals_a_slow_implementation() -> None:
    frames = render_clip(3, "positive", interval_length=5, apex=3, size=32, seed=0, colour=False)
    flows = flows_of_clip(frames, "dis", "previous")
    assert np.allclose(fdm(flows, cuboids=(2, 4, 4)), slow_fdm(flows, (2, 4, 4), 0.05), atol=1e-6)


def test_fdm_directions_are_unit_vectors_or_zero() -> None:
    flows = np.zeros((4, 16, 16, 2))
    flows[:2, :8, :8] = [0.3, -0.4]
    cells = fdm(flows, cuboids=(2, 2, 2)).reshape(2, 2, 2, 2)
    assert np.allclose(cells[0, 0, 0], [0.6, -0.8])
    cells[0, 0, 0] = 0
    assert not cells.any()
    sized = fdm(flows, cuboids=(2, 2, 2), amplitude=True).reshape(2, 2, 2, 2)
    assert np.allclose(sized[0, 0, 0], [0.3, -0.4])


def test_without_translation_removes_head_motion_in_every_frame() -> None:
    random = np.random.default_rng(1)
    flows = np.zeros((6, 20, 20, 2))
    flows[:, 12:16, 5:9] = [0.5, 0.25]
    shaken = flows + random.normal(size=(6, 1, 1, 2))
    assert np.allclose(without_translation(shaken), flows, atol=1e-12)
    assert np.allclose(fdm(shaken, cuboids=(2, 5, 5)), fdm(flows, cuboids=(2, 5, 5)), atol=1e-9)
    assert not fdm(np.ones((4, 16, 16, 2), np.float32) * np.float32(0.7)).any()


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_principal_direction_never_decreases_the_displacement_along_it(seed: int, n: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(n, 2))
    start = vectors.sum(0) / np.linalg.norm(vectors.sum(0))
    end = principal_direction(vectors)
    gained = [np.maximum(vectors @ d, 0).sum() for d in (start, end)]
    assert gained[1] >= gained[0] - 1e-12
    ahead = vectors[vectors @ end > 1e-9].sum(0)
    assert np.allclose(ahead / np.linalg.norm(ahead), end, atol=1e-6)


def test_principal_direction_of_opposite_vectors_starts_with_the_longest() -> None:
    assert np.allclose(principal_direction(np.array([[1.0, 0], [-1, 0]])), [1, 0])
    assert not principal_direction(np.zeros((5, 2))).any()


def test_fdm_depends_on_every_frame() -> None:
    flows = np.random.default_rng(2).normal(size=(8, 16, 16, 2))
    whole = fdm(flows)
    for t in range(8):
        other = flows.copy()
        other[t] = -other[t]
        assert not np.allclose(fdm(other), whole, atol=1e-3), t


def test_mirror_fdm_is_the_map_of_the_mirrored_flow() -> None:
    flows = np.random.default_rng(3).normal(size=(4, 16, 24, 2))
    made = mirror_fdm(fdm(flows, align=False))
    assert np.allclose(made, fdm(flows[:, :, ::-1] * [-1, 1], align=False), atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"cuboids": (6, 1, 1)}, "cuboids"),
        ({"cuboids": (1, 17, 1)}, "cuboids"),
        ({"cuboids": (1, 1)}, "cuboids"),
        ({"tolerance": 0.0}, "tolerance"),
    ],
)
def test_bad_parameters_raise_mien_error(settings: dict[str, object], names: str) -> None:
    with pytest.raises(MienError, match=names):
        fdm(np.zeros((5, 16, 16, 2)), **settings)  # type: ignore[arg-type]


def test_bad_flow_raises_mien_error() -> None:
    with pytest.raises(MienError, match="at least two frames"):
        flows_of_clip(np.zeros((1, 32, 32)))
    with pytest.raises(MienError, match="against"):
        flows_of_clip(np.zeros((3, 32, 32)), "dis", "next")  # type: ignore[arg-type]
