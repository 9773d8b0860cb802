from collections.abc import Callable

import numpy as np
import pytest
import torch

from mien.errors import MienError
from mien.face.align import _REFERENCE, LocalWeightedMean, align, align_clip, fit_lwm, reference_face
from mien.face.crop import crop_box
from mien.face.landmarks import ibug68, track_face


def scattered(n: int, seed: int = 0) -> np.ndarray:
    """Return points on a randomly displaced grid: evenly spread, no three neighbours on a line."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(n)))
    y, x = np.mgrid[0:side, 0:side]
    return (np.stack([x, y], -1).reshape(-1, 2)[:n] + rng.uniform(-0.35, 0.35, (n, 2))) * 40 + 20


def bent(points: np.ndarray) -> np.ndarray:
    x, y = points[..., 0], points[..., 1]
    return np.stack([1.1 * x + 0.1 * y + 5 + 3 * np.sin(y / 60), 0.9 * y - 0.05 * x + 4 * np.cos(x / 70)], -1)


def slow_lwm(reference: np.ndarray, source: np.ndarray, n: int, point: np.ndarray) -> np.ndarray:
    """Evaluate equation 2 as printed, for one point in pixels. Valid where the weights sum to at least 1."""
    above, below = np.zeros(2), 0.0
    for i in range(len(reference)):
        distances = np.hypot(*(reference - reference[i]).T)
        near = np.argsort(distances)[:n]
        r = np.hypot(*(point - reference[i])) / distances[near[-1]]
        if r >= 1:
            continue
        rows = [[1, x, y, x * x, x * y, y * y] for x, y in reference[near] - reference[i]]
        coefficients = np.linalg.lstsq(np.array(rows), source[near], rcond=None)[0]
        x, y = point - reference[i]
        weight = 1 - 3 * r**2 + 2 * r**3
        above += weight * (np.array([1, x, y, x * x, x * y, y * y]) @ coefficients)
        below += weight
    assert below >= 1, "this point is beyond the plain formula"
    return np.asarray(above / below)


def test_fit_lwm_equals_equation_2() -> None:
    reference = scattered(36)
    source = bent(reference) + np.random.default_rng(1).normal(0, 0.5, reference.shape)
    for n in (6, 12):
        fitted = fit_lwm(reference, source, n=n, ridge=0)
        for point in ([110.0, 120.0], [95.5, 160.2], [150.0, 90.0]):
            assert fitted.evaluate(np.array(point)) == pytest.approx(
                slow_lwm(reference, source, n, np.array(point)), abs=1e-6
            )


def test_fit_lwm_with_six_points_passes_through_all_control_points() -> None:
    reference = scattered(49)
    source = bent(reference) + np.random.default_rng(2).normal(0, 1, reference.shape)
    fitted = fit_lwm(reference, source, n=6, ridge=0)
    assert np.abs(fitted.evaluate(reference) - source).max() < 1e-6


def test_fit_lwm_reproduces_affine_maps() -> None:
    reference = scattered(30)
    matrix = np.array([[1.2, -0.1], [0.3, 0.8]])
    points = np.random.default_rng(0).uniform(-500, 900, (200, 2))
    for n, ridge in ((6, 0.0), (12, 0.01)):
        fitted = fit_lwm(reference, reference @ matrix + [7, -3], n=n, ridge=ridge)
        assert fitted.evaluate(points) == pytest.approx(points @ matrix + [7, -3], abs=1e-6)


def test_fit_lwm_is_smooth_and_affine_far_from_its_points() -> None:
    reference = scattered(36)
    fitted = fit_lwm(reference, bent(reference), n=12)
    far = np.array([[5000.0, -3000.0]])
    affine = fitted.evaluate(far)
    for angle in np.linspace(0, 2 * np.pi, 17):
        along = np.arange(0, 400, 0.05)[:, None] * [np.cos(angle), np.sin(angle)] + reference.mean(0)
        slope = np.diff(fitted.evaluate(along), axis=0) / 0.05
        assert np.abs(slope).max() < 4
        assert np.abs(np.diff(slope, axis=0)).max() < 0.02  # a seam would be a jump of the slope
    # All weights end within the farthest neighbour's distance: beyond it the map is affine, so twice the step
    # is twice the way.
    step = np.array([[10.0, 20.0]])
    assert fitted.evaluate(far + 2 * step) - affine == pytest.approx(
        2 * (fitted.evaluate(far + step) - affine), abs=1e-8
    )


def test_fit_lwm_is_stable_with_points_on_a_line() -> None:
    row = np.column_stack([np.linspace(0, 200, 14), np.full(14, 300.0)])
    reference = np.concatenate([scattered(16), row])
    source = bent(reference) + np.random.default_rng(3).normal(0, 0.5, reference.shape)
    fitted = fit_lwm(reference, source)
    grid = fitted.grid(320, 200)
    y, x = np.mgrid[0:320, 0:200]
    assert np.isfinite(grid).all()
    assert np.abs(grid - bent(np.stack([x, y], -1).astype(float))).max() < 12


def test_fit_lwm_does_not_depend_on_units() -> None:
    reference = scattered(30)
    small, large = fit_lwm(reference, bent(reference)), fit_lwm(reference * 1e3 + 1e5, bent(reference))
    points = scattered(20, seed=5)
    assert large.evaluate(points * 1e3 + 1e5) == pytest.approx(small.evaluate(points), abs=1e-6)


@pytest.mark.parametrize(
    ("reference", "n"),
    [
        (np.zeros((20, 2)), 12),
        (np.column_stack([np.arange(20.0), np.arange(20.0)]), 12),
        (np.full((20, 2), np.nan), 12),
        (scattered(9), 12),
        (scattered(20), 5),
    ],
)
def test_bad_control_points_raise_mien_error(reference: np.ndarray, n: int) -> None:
    with pytest.raises(MienError):
        fit_lwm(reference, scattered(len(reference)), n=n)


# The reference face


def test_crop_box_of_the_reference_face_is_the_whole_picture() -> None:
    for height, width in ((220, 180), (300, 245), (64, 48)):
        eyes = reference_face(height, width)[36:48].reshape(2, 6, 2).mean(1)
        assert eyes[:, 0] == pytest.approx([0.4 / 1.8 * width - 0.5, 1.4 / 1.8 * width - 0.5], abs=1e-3 * width)
        assert eyes[:, 1] == pytest.approx(0.6 / 2.2 * height - 0.5, abs=1e-3 * height)
    box = crop_box(reference_face(220, 180)[36:48].reshape(2, 6, 2).mean(1))
    assert (box.x, box.y, box.width, box.height) == pytest.approx((-0.5, -0.5, 180, 220), abs=0.1)


def test_reference_face_is_the_mesh_of_a_plain_grey_picture() -> None:
    from mien.face.mesh import _network

    with torch.inference_mode():
        points, _ = _network("cpu")(torch.full((1, 3, 192, 192), 128 / 255))
    face = ibug68(points[0].double().numpy())
    eyes = face[36:48].reshape(2, 6, 2).mean(1)
    across = (eyes[1] - eyes[0]) / np.linalg.norm(eyes[1] - eyes[0])
    turn = np.array([across, [-across[1], across[0]]]).T / np.linalg.norm(eyes[1] - eyes[0])
    face = (face - eyes.mean(0)) @ turn
    stored = np.array(_REFERENCE)
    assert stored[8, 1] == pytest.approx(1.8, abs=1e-3)
    face[:, 1] *= 1.8 / face[8, 1]
    # The network is not quite symmetrical; the stored face is.
    assert np.abs(face - stored).max() < 0.04
    assert stored[:17] * [-1, 1] == pytest.approx(stored[16::-1], abs=1e-3)


def jacobian(fitted: LocalWeightedMean, height: int, width: int) -> np.ndarray:
    """Return the determinant of the map at every pixel, relative to that of the affine map."""
    grid = fitted.grid(height, width).astype(np.float64)
    x, y = np.diff(grid, axis=1)[:-1], np.diff(grid, axis=0)[:, :-1]
    whole = np.linalg.det(fitted.affine[:2] / fitted.unit)
    return np.asarray((x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0]) / whole)


def test_alignment_of_a_smiling_face_does_not_fold(woman: np.ndarray) -> None:
    # A wide smile against a closed mouth is the hardest case.
    turned = jacobian(fit_lwm(reference_face(300, 245), track_face([woman]).ibug68()[0]), 300, 245)
    assert turned.min() > 0.2
    assert turned.max() < 4


def test_alignment_of_a_smile_does_not_fold_in_any_frame(read_video: Callable[[str], list[np.ndarray]]) -> None:
    for points in track_face(read_video("single_face.mp4")[::12]).ibug68():
        turned = jacobian(fit_lwm(reference_face(300, 245), points), 300, 245)
        assert turned.min() > 0.2


# Pictures


def test_align_samples_pixels_at_the_mapped_positions() -> None:
    y, x = np.mgrid[0:200, 0:220].astype(np.float32)
    reference = scattered(36)
    fitted = fit_lwm(reference, reference * 0.5 + [40, 30] + (bent(reference) - reference) * 0.1)
    seen = align(np.stack([x, y], -1)[None], fitted, (180, 190))
    assert seen.shape == (1, 180, 190, 2)
    assert seen[0, 20:-20, 20:-20] == pytest.approx(fitted.grid(180, 190)[20:-20, 20:-20], abs=0.03)


def test_align_averages_areas_when_the_face_gets_smaller() -> None:
    stripes = np.zeros((1, 400, 400), np.float32)
    stripes[:, :, ::2] = 255
    reference = scattered(16)
    seen = align(stripes, fit_lwm(reference, reference * 2), (150, 150))
    assert seen[:, :, 1:] == pytest.approx(127.5, abs=1)  # the first column has the border repeated


@pytest.mark.parametrize("scale", [1.0, 0.5, 2.3])
def test_align_treats_each_colour_by_itself(scale: float) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 90, 80, 3), dtype=np.uint8)
    points = rng.uniform(10, 70, (20, 2))
    to_frame = fit_lwm(points / scale, points + rng.normal(size=points.shape))
    warped = align(frames, to_frame, size=(33, 24))
    alone = [align(frames[..., channel], to_frame, size=(33, 24)) for channel in range(3)]
    np.testing.assert_array_equal(warped, np.stack(alone, axis=-1))


def test_aligned_landmarks_are_those_of_the_reference_face(woman: np.ndarray) -> None:
    clip = [woman] * 3
    aligned = list(align_clip(clip, track_face(clip)))
    assert aligned[0].shape == (300, 245, 3)
    assert np.array_equal(aligned[0], aligned[2])
    # Room round the face, so that it can be found again.
    wide = np.pad(aligned[0], ((100, 100), (100, 100), (0, 0)), mode="edge")
    eyes = track_face([wide]).eyes()[0] - 100
    assert eyes == pytest.approx(reference_face(300, 245)[36:48].reshape(2, 6, 2).mean(1), abs=5)


def test_one_transform_per_clip_keeps_motion_and_one_per_frame_removes_it(woman: np.ndarray) -> None:
    clip = [woman, np.roll(woman, 5, 1)]
    track = track_face(clip)
    still = next(align_clip([woman], track_face([woman]))).astype(float)
    one, each = (list(align_clip(clip, track, per_frame=per_frame))[1] for per_frame in (False, True))
    assert np.abs(each - still).mean() < 0.3 * np.abs(one - still).mean()


def test_mean_of_averages_the_landmarks_of_the_first_frames(woman: np.ndarray) -> None:
    clip = [woman, np.roll(woman, 2, 1), np.roll(woman, 1, 1)]
    track = track_face(clip)
    mean = next(align_clip(clip, track, mean_of=3))
    middle = fit_lwm(reference_face(300, 245), track.ibug68().mean(0))
    assert np.array_equal(mean, align(np.stack(clip[:1]), middle, (300, 245))[0])


def test_another_number_of_maps_raises_mien_error() -> None:
    reference = scattered(16)
    fitted = fit_lwm(reference, reference)
    frames = np.zeros((2, 50, 50), np.uint8)
    assert align(frames, [fitted, fitted], (20, 30)).shape == (2, 20, 30)
    with pytest.raises(MienError, match="1 maps for 2 frames"):
        align(frames, [fitted], (20, 30))
