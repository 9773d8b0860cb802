import numpy as np
import pytest

from mien.errors import MienError
from mien.motion.strain import VARIANTS, optical_strain, strain_tensor

Y, X = np.mgrid[0:48, 0:64].astype(np.float64)


def field(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.stack([u, v], axis=-1)


def affine(matrix: np.ndarray, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Return the displacement of all points under x -> matrix x + shift."""
    points = np.stack([X - 30, Y - 20], axis=-1)
    return np.asarray(points @ (matrix - np.eye(2)).T + shift)


def rotation(degrees: float) -> np.ndarray:
    a = np.deg2rad(degrees)
    return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_strain_of_a_translation_is_zero(variant: str) -> None:
    assert optical_strain(affine(np.eye(2), (2.0, -1.0)), variant).max() < 1e-6


@pytest.mark.parametrize("degrees", [-5, 0.1, 5, 90, 180])
def test_strain_of_a_rotation_is_zero(degrees: float) -> None:
    assert optical_strain(affine(rotation(degrees), (1.5, 0.5))).max() < 1e-6


def test_small_strain_of_a_finite_rotation_is_not_zero() -> None:
    assert optical_strain(affine(rotation(5)), "small") == pytest.approx(np.sqrt(2) * (1 - np.cos(np.deg2rad(5))))
    assert optical_strain(field(-0.1 * Y, 0.1 * X), "small").max() < 1e-6


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_strain_of_a_stretch_by_a_tenth_is_a_tenth(variant: str) -> None:
    assert optical_strain(field(0.1 * X, 0 * X), variant) == pytest.approx(0.1, abs=1e-6)
    assert optical_strain(field(0 * X, -0.1 * Y), variant) == pytest.approx(0.1, abs=1e-6)


def test_strain_tensor_does_not_depend_on_rotation() -> None:
    stretch = np.array([[1.1, 0.03], [0.03, 0.95]])
    tensor = strain_tensor(affine(rotation(20) @ stretch, (3.0, 1.0)))
    np.testing.assert_allclose(tensor, np.broadcast_to([0.1, -0.05, 0.03], tensor.shape), atol=1e-9)


def test_strain_of_a_shear() -> None:
    assert optical_strain(field(0.1 * Y, 0 * X), "small") == pytest.approx(0.1 / np.sqrt(2), abs=1e-6)
    assert optical_strain(field(0.1 * Y, 0 * X), "no_shear").max() < 1e-6
    np.testing.assert_allclose(strain_tensor(field(0.1 * Y, 0.04 * X), "small")[5, 7], [0, 0, 0.07], atol=1e-12)


def test_full_strain_agrees_with_a_polar_decomposition() -> None:
    flow = np.random.default_rng(0).normal(0, 0.1, (6, 7, 2)).cumsum(0).cumsum(1)
    got = strain_tensor(flow)
    for i in range(6):
        for j in range(7):
            (u_y, u_x), (v_y, v_x) = ([d[i, j] for d in np.gradient(flow[..., c])] for c in (0, 1))
            deformation = np.eye(2) + np.array([[u_x, u_y], [v_x, v_y]])
            if np.linalg.det(deformation) <= 0:
                continue
            values, vectors = np.linalg.eigh(deformation.T @ deformation)
            expected = vectors @ np.diag(np.sqrt(values)) @ vectors.T - np.eye(2)
            np.testing.assert_allclose(got[i, j], [expected[0, 0], expected[1, 1], expected[0, 1]], atol=1e-9)


def test_full_and_small_agree_for_small_motion() -> None:
    flow = 0.01 * np.random.default_rng(1).normal(size=(3, 12, 14, 2))
    assert optical_strain(flow).shape == (3, 12, 14)
    np.testing.assert_allclose(optical_strain(flow), optical_strain(flow, "small"), atol=2e-3)


def test_strain_is_finite_where_the_field_folds_over() -> None:
    assert np.isfinite(optical_strain(field(-2 * X, 0 * X))).all()
    assert np.isfinite(optical_strain(affine(np.diag([1.0, -1.0])))).all()


def test_float32_fields_are_computed_in_float64() -> None:
    flow = affine(rotation(1), (1000.0, 0.0)).astype(np.float32)
    exact = optical_strain(flow.astype(np.float64))
    np.testing.assert_array_equal(optical_strain(flow), exact)


def test_wrong_arguments_raise_mien_error() -> None:
    with pytest.raises(MienError, match="x then y"):
        optical_strain(X)
    with pytest.raises(MienError, match="small"):
        optical_strain(field(X, Y), "smal")
