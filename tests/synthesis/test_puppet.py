"""The photo warp: the stated motion equals the motion in the pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mien.errors import MienError
from mien.face.landmarks import track_face
from mien.motion.flow import optical_flow
from mien.synthesis.face import _portrait as stored_portrait
from mien.synthesis.face import draw_identity, drawn_identity, face_from
from mien.synthesis.fields import MIRROR, unit_fields
from mien.synthesis.neutral_face import Face
from mien.synthesis.puppet import Puppet, clean_frames, film, puppet
from mien.synthesis.rig import motion, rig
from mien.synthesis.sensor import Sensor
from mien.synthesis.shape import Crop, draw_points, neutral_points
from mien.synthesis.timeline import STILL, Blink, Glance, Head, Timeline, action_units, movements_of

SIZE = (180, 147)
MICRO = {"onset": 0, "apex": 10, "offset": 20, "intensity": 0.25}


@pytest.fixture(scope="module")
def person() -> Face:
    return draw_identity(np.random.default_rng(4), "photo")


@pytest.fixture(scope="module")
def body(person: Face) -> Puppet:
    return puppet(person, width=SIZE[1], height=SIZE[0], colour=False)


def shown(body: Puppet, timeline: Timeline, *frames: int) -> list[np.ndarray]:
    return list(clean_frames(body, motion(body.rig, timeline), np.array(frames)))


def test_mirror_is_its_own_inverse_and_fits_the_mean_face() -> None:
    points = neutral_points()
    np.testing.assert_allclose(points[list(MIRROR)] * (-1, 1), points, atol=2e-3)


@pytest.mark.parametrize("unit", action_units())
def test_fields_are_smooth_compact_symmetric_and_of_the_stated_size(unit: str) -> None:
    points = Crop().place(neutral_points(), SIZE)
    fields = unit_fields(unit, points, SIZE)
    iod = float(points[45, 0] + points[42, 0] - points[39, 0] - points[36, 0]) / 2
    for (side, layer), field in fields.items():
        length = np.linalg.norm(field, axis=-1)
        assert 0.01 * iod < length.max() < 0.25 * iod
        assert (length == 0).mean() > 0.3, "most of the face does not move at all"
        assert max(np.abs(np.diff(field, axis=a)).max() for a in (0, 1)) < 1.4, "nothing folds over at full strength"
        other = fields[("L" if side == "R" else "R", layer)]
        np.testing.assert_allclose(field[:, ::-1] * (-1, 1), other, atol=0.15)


@pytest.mark.parametrize("units", ["6+12", "1+2+5", "4+7", "15+17"])
def test_measured_flow_equals_the_true_flow(body: Puppet, units: str) -> None:
    timeline = Timeline(21, 200, movements_of(units, **MICRO), head=Head(0.003, 0.0005, 9, 0.001, 0.3, 1))
    first, second = shown(body, timeline, 0, 10)
    moving = motion(body.rig, timeline)
    true, seen = moving.flow(10), moving.visible(10)
    found = optical_flow(first, second, "classic_nl")
    seen[:6], seen[-6:], seen[:, :6], seen[:, -6:] = (False,) * 4
    error = np.linalg.norm(found - true, axis=-1)[seen]
    assert np.linalg.norm(true, axis=-1).max() > 0.8
    assert error.mean() < 0.1


def test_points_follow_the_true_flow_to_a_hundredth_of_a_pixel(body: Puppet) -> None:
    """Sampling the later frame at the displaced points gives the first frame; no flow method is involved."""
    timeline = Timeline(21, 200, movements_of("4+12+17", **MICRO), head=Head(0.004, 0, 9, 0, 0.3, 2))
    first, second = shown(body, timeline, 0, 10)
    moving = motion(body.rig, timeline)
    flow = moving.flow(10)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)

    def misfit(by: np.ndarray) -> float:
        there = cv2.remap(second, x + by[..., 0], y + by[..., 1], cv2.INTER_CUBIC)
        return float(np.abs(there - first)[8:-8, 8:-8][~body.rig.eye[8:-8, 8:-8]].mean())

    assert misfit(flow) < 0.4
    assert misfit(flow) < 0.2 * misfit(np.zeros_like(flow))
    assert misfit(flow + np.float32(0.1)) > 1.5 * misfit(flow)


def test_landmarks_move_by_the_stated_amount(body: Puppet) -> None:
    timeline = Timeline(21, 200, movements_of("12", onset=0, apex=10, offset=20, intensity=0.2), head=STILL)
    places = motion(body.rig, timeline).landmarks(np.arange(21))
    moved = (places - places[0]) / body.rig.iod
    # AU12 at full strength moves the corner of the mouth by 0.11 outwards and 0.13 up, its second pull adds a little.
    assert moved[10, 54, 0] == pytest.approx(0.2 * 0.11, rel=0.25)
    assert moved[10, 54, 1] == pytest.approx(-0.2 * 0.13, rel=0.25)
    assert moved[10, 48, 0] == pytest.approx(-moved[10, 54, 0], rel=0.1)
    assert np.abs(moved[:, [19, 24, 27]]).max() < 0.002
    assert np.abs(moved[[0, 20]]).max() < 1e-6


def test_one_sided_movements_stay_on_the_side_of_the_person(body: Puppet) -> None:
    timeline = Timeline(21, 200, movements_of("L12", **MICRO), head=STILL)
    places = motion(body.rig, timeline).landmarks(np.array([0, 10]))
    moved = np.linalg.norm(places[1] - places[0], axis=-1)
    assert moved[54] > 5 * moved[48], "the person's left is on the right of the picture"


def test_timeline_without_movement_gives_a_still_clip(body: Puppet) -> None:
    timeline = Timeline(5, 100, head=STILL)
    first, last = shown(body, timeline, 0, 4)
    np.testing.assert_array_equal(first, last)
    assert not motion(body.rig, timeline).flow(4).any()
    frames = np.stack(list(film(body, timeline, Sensor(0, 0), np.random.default_rng(0)))).astype(int)
    assert np.ptp(frames, axis=0).max() == 0
    noisy = np.stack(list(film(body, timeline, Sensor(2.0, 0), np.random.default_rng(0)))).astype(float)
    assert (noisy[1] - noisy[0]).std() == pytest.approx(2 * np.sqrt(2), rel=0.1)
    assert abs((noisy[1] - noisy[0]).mean()) < 0.1


def test_eyeballs_do_not_move_with_lids_and_brows(body: Puppet) -> None:
    timeline = Timeline(21, 100, movements_of("4+7", **MICRO), head=STILL)
    flow = motion(body.rig, timeline).flow(10)
    assert not flow[body.rig.eye].any()
    assert np.abs(flow).max() > 0.5


def test_a_blink_covers_the_eyes_and_opens_them_again(body: Puppet) -> None:
    timeline = Timeline(31, 100, blinks=(Blink(5, 12, 25, 1.0),), head=STILL)
    before, closed, after = shown(body, timeline, 0, 12, 30)
    np.testing.assert_array_equal(before, after)
    eye = body.rig.eye
    assert np.abs(closed - before)[eye].mean() > 10
    assert motion(body.rig, timeline).visible(12)[eye].mean() < 0.25
    assert motion(body.rig, timeline).visible(0).all()
    far = np.ones(SIZE, bool)
    for rows, columns in body.eye_boxes:
        far[rows, columns] = False
    np.testing.assert_array_equal(closed[far], before[far])


def test_glance_moves_only_the_irises(body: Puppet) -> None:
    timeline = Timeline(11, 100, glances=(Glance(0, 5, 0.03, 0.0),), head=STILL)
    flow = motion(body.rig, timeline).flow(10)
    np.testing.assert_allclose(flow[body.rig.eye], [[0.03 * body.rig.iod, 0]] * int(body.rig.eye.sum()), atol=1e-4)
    assert not flow[~body.rig.eye].any()
    before, after = shown(body, timeline, 0, 10)
    assert np.abs(after - before)[body.rig.eye].mean() > 2


def test_jaw_separates_from_the_upper_lip(body: Puppet) -> None:
    timeline = Timeline(
        21, 100, movements_of("26", onset=0, apex=10, offset=20, intensity=0.8, kind="macro"), head=STILL
    )
    before, wide = shown(body, timeline, 0, 10)
    places = motion(body.rig, timeline).landmarks(np.array([0, 10]))
    moved = (places[1] - places[0])[:, 1]
    assert moved[57] > 0.08 * body.rig.iod
    assert np.abs(moved[[50, 51, 52, 48, 54]]).max() < 0.02 * body.rig.iod
    gap_y, gap_x = places[1, [62, 66]].mean(0)[::-1].astype(int)
    assert wide[gap_y, gap_x] < before[gap_y, gap_x], "between the lips it is dark"


def test_head_turns_move_the_nose_more_than_the_outline() -> None:
    points = Crop().place(neutral_points(), SIZE)
    geometry = rig(points, SIZE)
    yaw = motion(geometry, Timeline(2, 100, head=STILL)).skin[-2]
    nose, ear = points[30].astype(int), points[2].astype(int)
    assert yaw[nose[1], nose[0], 0] > 2 * yaw[ear[1], ear[0].clip(0), 0] > 0


def test_face_tracker_finds_synthetic_faces_at_their_landmarks() -> None:
    for seed in (1, 2):
        face = draw_identity(np.random.default_rng(seed), "photo")
        found = track_face([np.clip(face.image, 0, 255).astype(np.uint8)]).ibug68()[0]
        inner = slice(17, 68)
        off = np.linalg.norm(found[inner] - face.points[inner], axis=-1) / 200
        assert np.median(off) < 0.06
        assert off.max() < 0.25


def test_stored_landmarks_of_the_portrait_match_the_face_tracker(woman: np.ndarray) -> None:
    found = face_from(woman)
    assert np.abs(found.points - stored_portrait()[1]).max() < 0.5


def test_faces_differ_and_are_reproducible() -> None:
    one, two, other = (draw_identity(np.random.default_rng(s), "photo") for s in (1, 1, 2))
    np.testing.assert_array_equal(one.image, two.image)
    assert np.abs(one.image - other.image).mean() > 5
    shapes = np.stack([draw_points(np.random.default_rng(s)) for s in range(30)])
    assert 0.01 < shapes.std(0).mean() < 0.08
    assert (shapes[:, 57, 1] > shapes[:, 51, 1]).all()
    drawn = drawn_identity(3)
    eyes = drawn.points[36:48].reshape(2, 6, 2).mean(1)
    for x, y in eyes:
        assert drawn.image[int(y), int(x)].mean() < drawn.image[int(y) + 60, int(x)].mean(), "pupils are dark"


def test_picture_without_a_face_and_wrong_arguments_are_refused() -> None:
    with pytest.raises(MienError, match="face"):
        face_from(np.full((200, 200, 3), 128, np.uint8))
    with pytest.raises(MienError, match="source"):
        draw_identity(np.random.default_rng(0), "photos")
    with pytest.raises(MienError, match="68"):
        Face(np.zeros((64, 64, 3), np.float32), np.zeros((5, 2)), "wrong")
    with pytest.raises(MienError, match="Sensor"):
        Sensor(noise=-1)
    with pytest.raises(MienError, match="crop"):
        Crop(width=0.1)


def test_sensor_adds_the_stated_noise_flicker_and_compression(body: Puppet) -> None:
    timeline = Timeline(8, 50, head=STILL)
    rng = np.random.default_rng
    clean = np.stack(list(film(body, timeline, Sensor(0, 0), rng(0))))
    rough = np.stack(list(film(body, timeline, Sensor(0, 0, quality=10), rng(0))))
    soft = np.stack(list(film(body, timeline, Sensor(0, 0, blur=2.0), rng(0))))
    beating = Timeline(8, 60, head=STILL)  # lamps at 100 Hz beat with 60 frames per second, not with 50
    bright = np.stack(list(film(body, beating, Sensor(0, 0.05), rng(0)))).mean((1, 2))
    assert 1 < np.abs(rough.astype(int) - clean).mean() < 10
    assert np.abs(np.diff(soft.astype(int), axis=2)).mean() < 0.7 * np.abs(np.diff(clean.astype(int), axis=2)).mean()
    assert 0.01 < bright.std() / bright.mean() < 0.1
