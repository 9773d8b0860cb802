"""Kernel ridge regression on a few support clips, against the same on all clips and against training again."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.classifiers.kernel_ridge import FullRegression, SupportRegression

Floats = NDArray[np.float64]


def clips(n: int, seed: int = 0) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
    """Return the kernel of n clips, their penalties and targets, and their groups."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    kernel = np.exp(-((x[:, None] - x[None]) ** 2).sum(2))
    return kernel, rng.uniform(0.5, 2, n), rng.normal(size=(n, 2)), np.arange(n) // 3


def test_all_clips_as_support_equal_the_full_regression() -> None:
    kernel, penalties, targets, groups = clips(24)
    wanted, left_out = FullRegression(kernel).solve(penalties, targets, groups)
    found, answers = SupportRegression(kernel, np.arange(24)).solve(penalties, targets, groups)
    np.testing.assert_allclose(kernel @ found, kernel @ wanted, atol=1e-5)
    np.testing.assert_allclose(answers, left_out, atol=1e-5)


def test_support_regression_minimises_its_loss() -> None:
    kernel, penalties, targets, groups = clips(24)
    support = np.arange(0, 24, 3)
    columns, own = kernel[:, support], kernel[np.ix_(support, support)]
    found, _ = SupportRegression(columns, support).solve(penalties, targets, groups)

    def loss(c: Floats) -> float:
        return float((((columns @ c - targets) ** 2) / penalties[:, None]).sum() + (c * (own @ c)).sum())

    rng = np.random.default_rng(1)
    assert all(loss(found) < loss(found + rng.normal(0, 0.01, found.shape)) for _ in range(20))


def test_answers_left_out_equal_training_again_without_the_group() -> None:
    kernel, penalties, targets, groups = clips(24)
    support = np.arange(0, 24, 3)
    columns, own = kernel[:, support], kernel[np.ix_(support, support)]
    _, answers = SupportRegression(columns, support).solve(penalties, targets, groups)
    for group in range(8):
        out, kept = groups == group, groups != group
        weighted = columns[kept].T / penalties[kept]
        again = np.linalg.solve(weighted @ columns[kept] + own, weighted @ targets[kept])
        np.testing.assert_allclose(answers[out], columns[out] @ again, atol=1e-5)


def test_equal_support_clips_are_no_obstacle() -> None:
    kernel, penalties, targets, groups = clips(12)
    support = np.array([0, 0, 4, 8])
    found, answers = SupportRegression(kernel[:, support], support).solve(penalties, targets, groups)
    assert np.isfinite(found).all()
    assert np.isfinite(answers).all()


@pytest.mark.parametrize("support", [None, np.arange(0, 12, 2)])
def test_with_a_single_group_the_answers_are_the_targets(support: NDArray[np.int64] | None) -> None:
    kernel, penalties, targets, _ = clips(12)
    one = np.zeros(12, np.int64)
    regression = FullRegression(kernel) if support is None else SupportRegression(kernel[:, support], support)
    np.testing.assert_array_equal(regression.solve(penalties, targets, one)[1], targets)
