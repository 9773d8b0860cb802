"""Weighted kernel ridge regression, on all clips or on a few support clips, with answers for groups left out."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_JITTER = 1e-8
"""Added to the diagonal of the kernel of the support clips, in shares of its mean: two of them may be alike."""


class Regression(Protocol):
    """Kernel ridge regression of which the kernel is known and the targets are not yet."""

    def solve(self, penalties: Floats, targets: Floats, groups: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Compute the coefficients, and what each clip gets if its whole group had not been trained on.

        Args:
            penalties: (N,) penalty of each clip, > 0: its squared error counts as one over it.
            targets: (N, C).
            groups: (N,) group of each clip; with a single group, the answers are the targets.

        Returns:
            (S, C) coefficients of the S support clips, and (N, C) answers.
        """
        ...


class FullRegression:
    """Kernel ridge regression in which every training clip is a support clip.

    Args:
        kernel: (N, N) kernel of the training clips.
    """

    def __init__(self, kernel: Floats) -> None:
        self.kernel = kernel

    def solve(self, penalties: Floats, targets: Floats, groups: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """See `Regression.solve`."""
        inverse = np.linalg.inv(self.kernel + np.diag(penalties))
        several = len(np.unique(groups)) > 1
        return inverse @ targets, left_out_answers(inverse, targets, groups) if several else targets


class SupportRegression:
    """Kernel ridge regression on a few support clips: the best answer among sums of their kernels (Nystroem).

    Args:
        columns: (N, S) kernel of the training clips with the support clips.
        support: (S,) which of the training clips these are.

    Source: Williams and Seeger, Using the Nystroem method to speed up kernel machines, NIPS 13, 2000.
    """

    def __init__(self, columns: Floats, support: NDArray[np.int64]) -> None:
        from scipy.linalg import cholesky, solve_triangular  # slow to load, and needed for training only

        own = columns[support]
        own = (own + own.T) / 2
        self.root = cholesky(own + np.eye(len(own)) * _JITTER * np.trace(own) / len(own), lower=True)
        self.features: Floats = solve_triangular(self.root, columns.T, lower=True).T

    def solve(self, penalties: Floats, targets: Floats, groups: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """See `Regression.solve`."""
        from scipy.linalg import cho_factor, cho_solve, solve_triangular

        weighted = self.features.T / penalties
        factor = cho_factor(weighted @ self.features + np.eye(len(self.root)))
        found = cho_solve(factor, weighted @ targets)
        coefficients = solve_triangular(self.root, found, lower=True, trans="T")
        names = np.unique(groups)
        if len(names) < 2:
            return coefficients, targets
        answers = np.empty_like(targets)
        missed = targets - self.features @ found
        for group in names:
            rows = np.flatnonzero(groups == group)
            influence = self.features[rows] @ cho_solve(factor, weighted[:, rows])
            answers[rows] = targets[rows] - np.linalg.solve(np.eye(len(rows)) - influence, missed[rows])
        return coefficients, answers


def left_out_answers(inverse: NDArray[np.floating[Any]], targets: Floats, groups: NDArray[np.int64]) -> Floats:
    """Compute what kernel ridge regression answers for each clip if the clip's whole group had not been trained on.

    With G = (K + penalty)^-1 and coefficients c = G t, the answers of a group S are t_S - G_SS^-1 c_S: exact, and no
    machine has to be trained again.

    Args:
        inverse: (N, N) G.
        targets: (N, C) t.
        groups: (N,) group of each clip.

    Returns:
        (N, C) answers.
    """
    coefficients = inverse @ targets
    answers = np.empty_like(targets)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        answers[rows] = targets[rows] - np.linalg.solve(inverse[np.ix_(rows, rows)], coefficients[rows])
    return answers
