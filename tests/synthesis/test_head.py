"""The three-dimensional head: rasteriser, action units, identities, exact motion and timelines."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import MienError
from mien.face.landmarks import track_face
from mien.motion.flow import optical_flows
from mien.synthesis.fields import face_frame
from mien.synthesis.head import (
    Camera,
    Head,
    Light,
    Pose,
    State,
    head_actions,
    head_units,
    mean_identity,
    random_identity,
)
from mien.synthesis.head.actions import moved_vertices
from mien.synthesis.head.clip import HeadMotion, draw_head, head_face
from mien.synthesis.head.identity import base_shape
from mien.synthesis.head.mesh import head_mesh
from mien.synthesis.head.raster import rasterise
from mien.synthesis.puppet import clean_frames, puppet
from mien.synthesis.rig import motion
from mien.synthesis.timeline import STILL, Blink, Glance, Movement, Timeline, action_units
from mien.synthesis.timeline import Head as HeadSway

SMALL = Camera(height=150, width=122)


@pytest.fixture(scope="module")
def head() -> Head:
    return Head(random_identity(3), seed=3)


def grey(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(picture @ np.array([0.299, 0.587, 0.114]), np.float32)


def face_of(head: Head, state: State) -> NDArray[np.bool_]:
    """Return the pixels inside the outline of the landmarks."""
    shape = (head.camera.height, head.camera.width)
    hull = cv2.convexHull(head.landmarks(state).astype(np.int32))
    return np.asarray(cv2.fillConvexPoly(np.zeros(shape, np.uint8), hull, 1), bool)


# The rasteriser


def slow_raster(xy: Any, nearness: Any, triangles: Any, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Rasterise one triangle and one sample at a time; return nearness and interpolated vertex values."""
    best = np.zeros(shape)
    for a, b, c in triangles:
        (ax, ay), (bx, by), (cx, cy) = xy[a], xy[b], xy[c]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= 0:
            continue
        for y in range(shape[0]):
            for x in range(shape[1]):
                second = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
                third = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
                if min(second, third, 1 - second - third) >= 0:
                    near = (1 - second - third) * nearness[a] + second * nearness[b] + third * nearness[c]
                    best[y, x] = max(best[y, x], near)
    return best


def test_rasterise_equals_a_loop_over_triangles_and_samples() -> None:
    rng = np.random.default_rng(0)
    xy, nearness = rng.uniform(-4, 24, (60, 2)), rng.uniform(0.5, 2, 60)
    triangles = rng.integers(60, size=(40, 3))
    triangles = triangles[(np.diff(np.sort(triangles, 1)) > 0).all(1)]
    seen = rasterise(xy, nearness, triangles, (20, 18))
    found = np.zeros((20, 18))
    found.reshape(-1)[seen.place] = seen.nearness
    np.testing.assert_allclose(found, slow_raster(xy, nearness, triangles, (20, 18)), atol=1e-5)
    assert len(np.unique(seen.place)) == len(seen.place)


def test_raster_interpolates_in_space() -> None:
    """Points interpolated at the samples of a slanted plane are projected back to the samples."""
    points = np.array([[-5.0, -5, 10], [5, -5, 20], [5, 5, 30], [-5, 5, 14]])
    camera = 60 * points[:, :2] / points[:, 2:] + 20
    seen = rasterise(camera, 1 / points[:, 2], np.array([[0, 3, 1], [1, 3, 2]]), (40, 40))
    assert len(seen.place) > 200
    carried = seen.points(points, np.array([[0, 3, 1], [1, 3, 2]]))
    back = 60 * carried[:, :2] / carried[:, 2:] + 20
    rows, columns = np.divmod(seen.place, 40)
    np.testing.assert_allclose(back, np.column_stack([columns, rows]), atol=1e-3)


def test_raster_leaves_no_gap_between_neighbours() -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:12, 0:12] * 5.0
    xy = np.stack([x, y], -1).reshape(-1, 2)
    inner = (xy > 0).all(1) & (xy < 55).all(1)
    xy[inner] += rng.uniform(-1.5, 1.5, (inner.sum(), 2))
    at = np.arange(144).reshape(12, 12)
    a, b, c, d = (part.ravel() for part in (at[:-1, :-1], at[:-1, 1:], at[1:, 1:], at[1:, :-1]))
    triangles = np.concatenate([np.column_stack([a, c, b]), np.column_stack([a, d, c])])
    assert len(rasterise(xy, np.ones(144), triangles, (56, 56)).place) == 56 * 56


# Mesh and actions


def test_head_data_is_small_and_complete() -> None:
    mesh = head_mesh()
    assert len(mesh.action_names) == 51
    assert len(mesh.gaze) == 8
    assert mesh.triangles.max() == len(mesh.part) - 1
    assert len(set(mesh.landmarks.tolist())) == 68
    assert np.isfinite(mesh.bases).all()


def test_halves_of_the_face_move_separately_and_sum_to_the_whole() -> None:
    vertices = head_mesh().vertices
    for unit in head_units():
        whole = moved_vertices({unit: 0.5})
        right, left = moved_vertices({unit: (0.5, 0.0)}), moved_vertices({unit: (0.0, 0.5)})
        np.testing.assert_allclose(whole, right + left, atol=1e-4)
        assert np.linalg.norm(right, axis=1)[vertices[:, 0] > 45].max() < 0.1 * np.linalg.norm(right, axis=1).max()


def test_action_units_move_the_regions_that_facs_states() -> None:
    mesh = head_mesh()

    def move(unit: str, point: int) -> NDArray[np.float32]:
        return np.asarray(moved_vertices({unit: 1.0})[mesh.landmarks[point]])

    assert move("AU1", 21)[1] > 3
    assert move("AU1", 21)[1] > 3 * abs(move("AU1", 17)[1])
    assert move("AU2", 18)[1] > 3
    assert move("AU4", 20)[1] < -2
    assert move("AU4", 21)[0] > 1  # the right brow comes nearer to the left one
    assert move("AU12", 48)[1] > 4
    assert move("AU12", 48)[0] < -2
    assert move("AU15", 48)[1] < -2
    assert move("AU17", 57)[1] > 1
    assert move("AU20", 48)[0] < -2
    assert move("AU26", 8)[1] < -8
    assert move("AU26", 66)[1] < 3 * move("AU26", 62)[1] - 3
    assert move("AU5", 37)[1] > 0.5
    assert move("AU45", 37)[1] < -3
    assert set(action_units()) <= set(head_units())


def test_displacement_is_linear_in_the_amounts() -> None:
    both = moved_vertices({"AU1": 0.4, "AU12": 0.2})
    np.testing.assert_allclose(both, moved_vertices({"AU1": 0.4}) + moved_vertices({"AU12": 0.2}), atol=1e-4)
    np.testing.assert_allclose(moved_vertices({"jawOpen": 0.5}) * 2, moved_vertices({"jawOpen": 1.0}), atol=1e-4)
    assert "jawOpen" in head_actions()


# Identities


def test_identities_differ_and_are_reproducible() -> None:
    a, again, b = (base_shape(random_identity(seed)) for seed in (5, 5, 6))
    assert (a == again).all()
    assert np.abs(a - b).max() > 3
    eyes = [a[marks].mean(0) for marks in head_mesh().eyes]
    np.testing.assert_allclose(np.mean(eyes, 0), 0, atol=1e-3)


def test_distances_between_eyes_are_those_of_people() -> None:
    mesh = head_mesh()
    apart = []
    for seed in range(40):
        shape = base_shape(random_identity(seed))
        apart.append(np.linalg.norm(shape[mesh.eyes[0]].mean(0) - shape[mesh.eyes[1]].mean(0)))
    assert np.min(apart) > 53
    assert np.max(apart) < 74
    assert 60 < np.mean(apart) < 65


# Pictures and exact motion


def test_same_seed_gives_the_same_bytes_and_no_motion_without_change(head: Head) -> None:
    state = State({"AU12": 0.2}, Pose(yaw=3))
    frame = head.frame(state)
    assert (frame == Head(random_identity(3), seed=3).frame(state)).all()
    flow, visible = head.flow(state, state)
    assert (flow == 0).all()
    assert visible.mean() > 0.3
    assert not (frame == Head(random_identity(4), seed=3).frame(state)).all()


@pytest.mark.parametrize(
    ("amounts", "pose"),
    [
        ({"AU1": 0.2, "AU2": 0.2}, Pose()),
        ({"AU12": 0.15, "AU6": 0.1}, Pose()),
        ({"AU4": 0.2}, Pose(yaw=0.2, right=0.3)),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_optical_flow_recovers_the_true_motion(amounts: dict[str, float], pose: Pose, seed: int) -> None:
    head = Head(random_identity(seed), seed=seed)
    before, after = State(), State(amounts, pose)
    truth, visible = head.flow(before, after)
    size = np.linalg.norm(truth, axis=-1)
    assert 0.3 < size[visible].max() < 2.6
    found = optical_flows(grey(head.frame(before))[None], grey(head.frame(after))[None], "dis_fine")[0]
    face = face_of(head, before) & visible
    error = np.linalg.norm(found - truth, axis=-1)
    assert error[face].mean() < 0.1
    moving = face & (size > 0.3)
    assert error[moving].mean() < 0.35 * size[moving].mean()


@pytest.mark.slow
def test_classic_nl_recovers_the_true_motion() -> None:
    for seed, amounts in ((1, {"AU12": 0.15}), (2, {"AU1": 0.2}), (3, {"AU4": 0.2, "AU7": 0.15})):
        head = Head(random_identity(seed), seed=seed)
        truth, visible = head.flow(State(), State(amounts))
        before, after = (grey(head.frame(State(amount)))[None] for amount in ({}, amounts))
        error = np.linalg.norm(optical_flows(before, after, "classic_nl")[0] - truth, axis=-1)
        assert error[face_of(head, State()) & visible].mean() < 0.1


def test_landmarks_move_with_the_flow(head: Head) -> None:
    before, after = State(), State({"AU1": 0.25, "AU12": 0.2})
    truth, _ = head.flow(before, after)
    start, end = head.landmarks(before), head.landmarks(after)
    inner = [*range(17, 36), 48, 54, 51, 57]  # on skin and seen from the front
    at = np.rint(start[inner]).astype(int)
    np.testing.assert_allclose(truth[at[:, 1], at[:, 0]], (end - start)[inner], atol=0.15)
    assert np.abs(end - start).max() > 0.5


def test_micro_expressions_move_by_0_3_to_2_pixels() -> None:
    head = Head(mean_identity())
    for unit in ("AU1", "AU2", "AU4", "AU9", "AU12", "AU14", "AU15", "AU17", "AU20"):
        faint, strong = (
            np.linalg.norm(head.landmarks(State({unit: x})) - head.landmarks(), axis=1).max() for x in (0.08, 0.3)
        )
        assert 0.1 < faint < 1.2, unit
        assert 0.7 < strong < 6, unit
        assert np.isclose(strong / faint, 0.3 / 0.08, rtol=0.1)


def test_shifted_head_moves_all_points_equally(head: Head) -> None:
    """A step of one pixel to the right at the eyes, about as much elsewhere."""
    step = head.camera.span / head.camera.height
    flow, visible = head.flow(State(), State(pose=Pose(right=step)))
    face = face_of(head, State()) & visible
    assert np.abs(flow[face][:, 0] - 1).max() < 0.15
    assert np.abs(flow[face][:, 1]).max() < 1e-4


def test_subpixel_motion_changes_the_picture_evenly() -> None:
    """Small steps change the picture evenly: no step is left out and none counts double."""
    head = Head(random_identity(2), SMALL, seed=1)
    pictures = [head.picture(State(pose=Pose(right=0.1 * k))) for k in range(6)]
    changes = [float(np.abs(b - a).mean()) for a, b in pairwise(pictures)]
    assert min(changes) > 0.6 * max(changes)


def test_blink_hides_the_eye(head: Head) -> None:
    flow, visible = head.flow(State(), State({"AU45": 1.0}))
    eye = head.landmarks()[36:42].mean(0).round().astype(int)
    assert not visible[eye[1], eye[0]]
    assert flow[eye[1], eye[0]] == pytest.approx(0, abs=1e-3)


def test_gaze_moves_the_iris_and_not_the_skin(head: Head) -> None:
    flow, _ = head.flow(State(), State(gaze=(5.0, 0.0)))
    x, y = head.landmarks()[36:42].mean(0).round().astype(int)
    assert flow[y, x, 0] > 0.7
    brow = head.landmarks()[19].round().astype(int)
    assert flow[brow[1], brow[0]] == pytest.approx(0, abs=1e-6)
    left = moved_in_x(head, State({"eyeLookOutLeft": 0.5}), slice(42, 48))
    right = moved_in_x(head, State({"eyeLookOutRight": 0.5}), slice(36, 42))
    assert left > 0.3
    assert right < -0.3


def moved_in_x(head: Head, state: State, eye: slice) -> float:
    flow, _ = head.flow(State(), state)
    x, y = head.landmarks()[eye].mean(0).round().astype(int)
    return float(flow[y, x, 0])


@pytest.mark.slow
def test_face_tracker_finds_fifty_identities() -> None:
    check_tracker(range(50))


def test_face_tracker_finds_identities() -> None:
    check_tracker(range(3))


def check_tracker(seeds: range) -> None:
    """Check that the face tracker finds each identity, in random light and pose, near the landmarks of the mesh."""
    off = []
    for seed in seeds:
        head, pose = draw_head(np.random.default_rng(seed))
        state = State(pose=pose)
        track = track_face([head.frame(state)])
        assert track.found.all()
        points = head.landmarks(state)
        inner = slice(27, 68)
        off.append(np.linalg.norm(track.ibug68()[0] - points, axis=1)[inner].mean() / face_frame(points).iod)
    assert np.mean(off) < 0.06
    assert np.max(off) < 0.12


# Timelines


def test_head_follows_the_timeline(head: Head) -> None:
    timeline = Timeline(
        20,
        100,
        (Movement("AU12", 0, 10, 19, 0.2, side="L"), Movement("AU38", 2, 10, 19, 0.2)),
        (Blink(4, 6, 9),),
        (Glance(12, 2, 0.02, 0.0),),
        HeadSway(drift=0.01, seed=4),
    )
    moving = HeadMotion(head, timeline)
    assert (moving.flow(0) == 0).all()
    states = list(moving.states(np.array([0, 6, 10])))
    assert states[0].amounts["AU12"] == (0.0, 0.0)
    assert np.allclose(states[2].amounts["AU12"], (0.0, 0.2))
    assert states[1].amounts["AU45"] == (1.0, 1.0)
    path = timeline.head_path(np.array([10]))[0]
    assert states[2].pose.right == pytest.approx(path[0] * head.eye_distance)
    points = moving.landmarks(np.array([0, 10]))
    still = HeadMotion(head, Timeline(20, 100, timeline.movements, head=STILL)).landmarks(np.array([0, 10]))
    moved = still[1] - still[0]
    assert abs(moved[54]).max() > 3 * abs(moved[48]).max()  # the person's left is the picture's right
    assert points.shape == (2, 68, 2)
    pictures = list(moving.clean_frames(np.array([0, 10])))
    assert pictures[0].shape == (300, 245, 3)
    assert (pictures[0] >= 0).all()
    assert (pictures[0] <= 255).all()
    assert moving.visible(10).sum() > 1000


def test_head_path_has_the_signs_of_the_timeline(head: Head) -> None:
    """Right, down and tilt to the right as the columns of `timeline.HEAD` say, and the nod goes down."""
    middle = head.landmarks()[27:36].mean(0)
    for pose, sign in ((Pose(yaw=3), (1, 0)), (Pose(pitch=-3), (0, 1)), (Pose(roll=3), (1, 0)), (Pose(down=3), (0, 1))):
        moved = head.landmarks(State(pose=pose))[27:36].mean(0) - middle
        assert moved @ np.array(sign) > 1


def test_head_face_gives_a_still_for_the_photo_warp() -> None:
    face = head_face(np.random.default_rng(0))
    assert 150 < face_frame(face.points).iod < 260
    assert face.image.shape == (960, 800, 3)
    body = puppet(face, width=122)
    moving = motion(body.rig, Timeline(10, 100, (Movement("AU12", 0, 5, 9, 0.3),), head=STILL))
    still, apex = clean_frames(body, moving, np.array([0, 5]))
    assert 0.3 < np.abs(apex - still).mean() < 10


# Bad input


@pytest.mark.parametrize(
    ("amounts", "message"),
    [({"AU99": 0.1}, "AU99"), ({"AU12": 1.7}, "1.7"), ({"AU12": -0.1}, "-0.1"), ({"AU12": float("nan")}, "nan")],
)
def test_wrong_amounts_are_refused(amounts: dict[str, float], message: str) -> None:
    with pytest.raises(MienError, match=message):
        moved_vertices(amounts)


def test_wrong_poses_cameras_and_lights_are_refused(head: Head) -> None:
    with pytest.raises(MienError, match="hides its face"):
        Pose(yaw=80)
    with pytest.raises(MienError, match="outside the picture"):
        head.frame(State(pose=Pose(right=300)))
    for bad in (
        lambda: Camera(height=3),
        lambda: Camera(samples=9),
        lambda: Light(azimuth=170),
        lambda: State(gaze=(90, 0)),
        lambda: random_identity(-1),
    ):
        with pytest.raises(MienError):
            bad()
