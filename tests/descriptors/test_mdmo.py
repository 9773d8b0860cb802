"""MDMO against loops; its regions, its alignment, and the step that makes it from frames."""

import math

import numpy as np
import pytest

from mien.descriptors import mdmo
from mien.descriptors.mdmo import (
    MIRRORED,
    REGIONS,
    RIGID,
    face_polygons,
    face_regions,
    mdmo_of_clip,
    mirror_mdmo,
    without_head_motion,
)
from mien.errors import MienError
from mien.face.align import reference_face
from mien.io.video import write_video
from mien.preprocessing.base import Context
from mien.preprocessing.prepare import video_clip
from mien.synthesis.moving_face import motion_of, render_clip
from mien.types import Interval

SIZE = 72


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    """A neutral face that lies wholly within 72 x 72 pixels."""
    face = reference_face(300, 245)
    return np.asarray((face - face.min(0)) / np.ptp(face, axis=0).max() * 50 + [12, 18])


def inside(x: float, y: float, corners: np.ndarray) -> bool:
    """By the angle that the corners turn through, seen from the point."""
    turned = 0.0
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, 0), strict=True):
        a, b = math.atan2(ay - y, ax - x), math.atan2(by - y, bx - x)
        turned += math.remainder(b - a, math.tau)
    return abs(turned) > math.pi


def slow_mdmo(flows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Without alignment."""
    mean = np.zeros((36, 2))
    for flow in flows.astype(float):
        for region in range(36):
            bins: list[list[tuple[float, float]]] = [[] for _ in range(8)]
            for i, j in zip(*np.nonzero(labels == region), strict=True):
                u, v = flow[i, j]
                if math.hypot(u, v) >= 1e-3:
                    bins[round(math.degrees(math.atan2(v, u)) / 45) % 8].append((u, v))
            best = max(range(8), key=lambda b: (len(bins[b]), float(np.hypot(*np.sum(bins[b] or [(0, 0)], axis=0)))))
            if bins[best]:
                mean[region] += np.mean(bins[best], axis=0) / len(flows)
    rho = [math.hypot(*m) for m in mean]
    theta = [math.atan2(m[1], m[0]) if r else 0.0 for m, r in zip(mean, rho, strict=True)]
    return np.array([r / max(rho) for r in rho] + theta)


def smooth(seed: int, n: int = 3) -> np.ndarray:
    """Flow that differs from place to place."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE] / 9
    waves = [np.sin(a * x + b * y + c) for a, b, c in random.normal(size=(2 * n, 3))]
    clean = np.reshape(waves, (n, 2, SIZE, SIZE)).transpose(0, 2, 3, 1)
    return np.asarray(clean + random.normal(0, 0.4, clean.shape), np.float32)


def test_mdmo_equals_a_slow_implementation(points: np.ndarray) -> None:
    flows = smooth(0)
    labels = face_regions(points, SIZE, SIZE)
    assert np.allclose(mdmo(flows, points, align=False), slow_mdmo(flows, labels), atol=1e-6)
    aligned = without_head_motion(flows, points)
    assert np.allclose(mdmo(flows, points), slow_mdmo(aligned, labels), atol=1e-6)


def test_face_regions_are_the_pixels_inside_the_polygons(points: np.ndarray) -> None:
    labels = face_regions(points, SIZE, SIZE)
    polygons = face_polygons(points)
    assert len(polygons) == len(REGIONS) == 36
    for i in range(0, SIZE, 4):
        for j in range(0, SIZE, 3):
            first = next((k for k, corners in enumerate(polygons) if inside(j, i, corners)), -1)
            assert labels[i, j] == first, (i, j)


def test_regions_share_edges_and_are_symmetric() -> None:
    face = reference_face(300, 245) * 2 + [80, 200]
    counts = np.bincount(face_regions(face, 900, 700).ravel() + 1, minlength=37)[1:]
    assert counts.min() > 200
    assert np.allclose(counts[:18], counts[18:], rtol=0.02)
    corners = [(p, np.roll(p, -1, 0)) for p in face_polygons(face)]
    areas = [0.5 * abs(float(np.sum(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]))) for a, b in corners]
    # Were there overlaps, the pixels of the later region would be fewer than its area.
    assert np.allclose(counts, areas, rtol=0.04)


def test_face_regions_follow_affine_maps_of_the_face(points: np.ndarray) -> None:
    turn = np.array([[1.7, 0.3], [-0.2, 1.5]])
    moved = face_polygons(points @ turn.T + [5, 9])
    for before, after in zip(face_polygons(points), moved, strict=True):
        assert np.allclose(before @ turn.T + [5, 9], after)


def test_mirrored_landmarks_are_on_the_other_side() -> None:
    face = reference_face(300, 245)
    middle = face[27, 0]
    assert sorted(MIRRORED) == list(range(68))
    assert np.allclose(face[list(MIRRORED)] * [-1, 1] + [2 * middle, 0], face, atol=1.5)


@pytest.mark.parametrize("matrix", [[[0.0, 0], [0, 0]], [[0.01, 0.02], [-0.015, 0.005]], [[0, -0.03], [0.03, 0]]])
def test_without_head_motion_removes_affine_motion(matrix: list[list[float]], points: np.ndarray) -> None:
    y, x = np.mgrid[:SIZE, :SIZE]
    head = np.stack([x, y], -1) @ np.array(matrix).T + [1.2, -0.7]
    assert np.abs(without_head_motion(head[None], points)).max() < 1e-9
    assert not mdmo(head[None], points).any()
    assert mdmo(head[None], points, align=False).any()


def test_without_head_motion_keeps_facial_motion(points: np.ndarray) -> None:
    """A turned head with a moved brow: the flow left is the brow's, where it was in the first frame."""
    brow = np.zeros((SIZE, SIZE, 2))
    brow[12:30, :] = [0, -0.8]
    angle = 0.03
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (np.stack([x, y], -1) + brow) @ turn.T + [2, 1] - np.stack([x, y], -1)
    rigid = [i for i in RIGID if points[i, 1] > 32]
    assert np.allclose(without_head_motion(moved[None], points, rigid=rigid)[0], brow, atol=1e-6)


def test_mdmo_of_no_motion_is_zero(points: np.ndarray) -> None:
    assert not mdmo(np.zeros((4, SIZE, SIZE, 2), np.float32), points).any()


def test_rotating_the_flow_rotates_every_angle(points: np.ndarray) -> None:
    flows = smooth(1)
    turned = np.stack([-flows[..., 1], flows[..., 0]], -1)
    before, after = (mdmo(f, points, align=False) for f in (flows, turned))
    assert np.allclose(before[:36], after[:36], atol=1e-9)
    assert np.allclose(np.exp(1j * after[36:]), 1j * np.exp(1j * before[36:]), atol=1e-9)


def test_mdmo_depends_on_every_frame(points: np.ndarray) -> None:
    flows = smooth(2, 6)
    whole = mdmo(flows, points)
    for t in range(6):
        other = flows.copy()
        other[t] *= -1
        assert not np.allclose(mdmo(other, points), whole, atol=1e-3), t


def test_mdmo_finds_known_motion_in_the_right_regions() -> None:
    """Surprise: brows rise, the chin falls, the nose stays."""
    face = reference_face(300, 245) * 0.219 + [21.6, 23.8]  # the eyes of the drawn face
    flows = motion_of(2, "surprise", interval_length=6, apex=4, size=96, seed=0)[1:]
    made = dict(zip(REGIONS, np.column_stack(np.split(mdmo(flows, face), 2)), strict=True))
    for side in ("image left", "image right"):
        length, angle = made[f"brow and lid, inner, {side}"]
        assert length > 0.5
        assert np.degrees(angle) == pytest.approx(-90, abs=30)
        assert np.degrees(made[f"under the lip, middle, {side}"][1]) == pytest.approx(90, abs=30)
        assert made[f"nose, {side}"][0] < 0.2


def test_mirror_mdmo_is_the_descriptor_of_the_mirrored_face(points: np.ndarray) -> None:
    flows = smooth(3)
    other = (points * [-1, 1] + [SIZE - 1, 0])[list(MIRRORED)]
    mirrored = mdmo(flows[:, :, ::-1] * [-1, 1], other)
    swapped = mirror_mdmo(mdmo(flows, points))
    assert np.allclose(swapped[:36], mirrored[:36], atol=1e-6)
    assert np.allclose(np.exp(1j * swapped[36:]), np.exp(1j * mirrored[36:]), atol=1e-6)
    assert np.allclose(mirror_mdmo(swapped), mdmo(flows, points), atol=1e-9)


@pytest.mark.parametrize(
    ("landmarks", "says"),
    [
        (np.zeros((5, 2)), "landmarks have shape"),
        (np.full((68, 2), np.nan), "landmarks are NaN"),
        (np.arange(136).reshape(68, 2) + 500.0, "outside the picture"),
    ],
)
def test_bad_landmarks_raise_mien_error(landmarks: np.ndarray, says: str) -> None:
    with pytest.raises(MienError, match=says):
        mdmo(np.zeros((2, SIZE, SIZE, 2)), landmarks)


def test_bad_rigid_points_raise_mien_error(points: np.ndarray) -> None:
    with pytest.raises(MienError, match="rigid"):
        mdmo(smooth(0), points, rigid=[0, 16])


def test_mdmo_of_clip_finds_rising_brows(tmp_path: pytest.TempPathFactory) -> None:
    frames = render_clip(2, "surprise", interval_length=8, apex=6, size=192, seed=0, colour=True)
    film = write_video(tmp_path / "film.mkv", frames, 100)  # type: ignore[operator]
    context = Context(video_clip(film, Interval(0, 6, 7)))
    made = mdmo_of_clip(np.empty(0), context)
    assert made.shape == (72,)
    assert context.track is not None
    for side in ("image left", "image right"):
        place = REGIONS.index(f"brow and lid, inner, {side}")
        assert made[place] > 0.4
        assert np.degrees(made[36 + place]) == pytest.approx(-90, abs=35)


def test_a_clip_without_a_face_raises_mien_error(tmp_path: pytest.TempPathFactory) -> None:
    grey = np.full((4, 96, 96, 3), 128, np.uint8)
    film = write_video(tmp_path / "film.mkv", grey, 100)  # type: ignore[operator]
    with pytest.raises(MienError, match="No face"):
        mdmo_of_clip(np.empty(0), Context(video_clip(film)))
