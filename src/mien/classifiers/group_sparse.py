"""Kernelised group sparse learning: the blocks of a face are groups, and few of them get a weight.

For groups i with centred training kernels K_i (N, N), of mean diagonal 1, and class targets L (N, C):

    minimise over P_i (N, C) and beta_i >= 0
        || S^(1/2) (L - sum_i beta_i K_i P_i) ||^2  +  ridge * sum_i tr(P_i' K_i P_i)  +  sparsity * sum_i beta_i

S weights clips. With fixed beta, the P_i have a closed form: P_i = beta_i A, where
(sum_i beta_i^2 K_i + ridge S^-1) A = L, one system of N unknowns however many groups there are. With fixed P, beta is a
non-negative lasso. Each turn solves both exactly, so the objective never increases. A clip's class is the largest of
sum_i beta_i P_i' k_i(x).

Source: after Zong, Huang, Zheng, Cui, Zhao, "Learning from hierarchical spatiotemporal descriptors for
micro-expression recognition", TMM 2018. Their formulation is known here only at second hand: kernel, norm on P and
weights are choices of ours, see docs/methods/hierarchical-stlbp-ip.md.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from mien.classifiers.inner_choice import InnerChoice, Setting
from mien.classifiers.svm import Floats
from mien.classifiers.texture_svm import Kernel, kernel_table, split_parts


@dataclass(frozen=True)
class Solution:
    """The solution of `solve_groups`.

    Attributes:
        beta: (G,) weights of the groups, >= 0.
        projections: (N, C): P_i = beta_i times this.
        objectives: The objective after every half turn.
        penalty: The weight of sum(beta) that was used.
    """

    beta: Floats
    projections: Floats
    objectives: tuple[float, ...]
    penalty: float


def solve_groups(
    kernels: Floats, targets: Floats, weights: Floats, *, ridge: float, sparsity: float, turns: int = 20
) -> Solution:
    """Minimise the objective above.

    Args:
        kernels: (G, N, N), positive semi-definite.
        targets: (N, C).
        weights: (N,) weights of the clips, > 0.
        ridge: Weight of the projections' size.
        sparsity: Weight of the sum of beta, as a share of the least that empties all groups in the first turn.
        turns: Most turns; it stops where the objective falls by less than 1e-4 of itself.
    """
    groups = len(kernels)
    root = np.sqrt(weights)[:, None]
    beta = np.full(groups, groups**-0.5)
    penalty = 0.0
    objectives: list[float] = []

    def project() -> tuple[Floats, Floats]:
        """Return the best A for this beta, and the answers of each group before its weight, (G, N, C)."""
        total = np.tensordot(beta**2, kernels, 1)
        best = np.asarray(np.linalg.solve(total + ridge * np.diag(1 / weights), targets), np.float64)
        return best, np.asarray(beta[:, None, None] * (kernels @ best), np.float64)

    def objective(best: Floats, made_with: Floats, answers: Floats) -> float:
        miss = root * (targets - np.tensordot(beta, answers, 1))
        size = sum(b * float(np.sum(best * a)) for b, a in zip(made_with, answers, strict=True))
        return float(np.sum(miss**2) + ridge * size + penalty * beta.sum())

    for turn in range(turns):
        best, answers = project()
        columns = (root * answers).reshape(groups, -1).T
        wanted = (root * targets).ravel()
        if turn == 0:
            penalty = sparsity * 2 * float(np.max(columns.T @ wanted, initial=0))
        objectives.append(objective(best, beta, answers))
        made_with = beta
        if penalty > 0:
            # scikit-learn divides the squared error by twice the number of rows.
            lasso = Lasso(penalty / (2 * len(wanted)), positive=True, fit_intercept=False, max_iter=5000, tol=1e-7)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                found = np.asarray(lasso.fit(columns, wanted).coef_, np.float64)
            beta = found
            now = objective(best, made_with, answers)
            if now > objectives[-1]:  # the lasso stopped within its tolerance of where it began
                beta = made_with
                break
            objectives.append(now)
        else:
            break
        if not beta.any() or (len(objectives) > 2 and objectives[-3] - now <= 1e-4 * abs(now)):
            break
    best, answers = project()
    objectives.append(objective(best, beta, answers))
    return Solution(beta, best, tuple(objectives), penalty)


@dataclass(frozen=True)
class _Machine:
    """A solution, with the means of the kernels and the classes."""

    solution: Solution
    scales: Floats
    means: Floats
    grand: Floats
    classes: NDArray[np.int64]


@dataclass
class KernelGroupSparse(InnerChoice):
    """Kernelised group sparse learning as a classifier; see the module.

    Args:
        parts: Equal parts of the vector; each is a group.
        kernel, gamma, shift, degree: See `kernel_table`; not "chi2".
        ridges: Values of `ridge` to try.
        sparsities: Values of `sparsity` to try.
        balanced: Weight clips by the inverse of their class's frequency.
        turns: Most turns.
    """

    parts: int = 1
    kernel: Kernel = "hellinger"
    gamma: float = 0.22
    shift: float = 0.0
    degree: int = 2
    ridges: Sequence[float] = (0.1, 1.0, 10.0)
    sparsities: Sequence[float] = (0.01, 0.1)
    balanced: bool = True
    turns: int = 20

    def settings(self) -> list[Setting]:
        """Return the pairs of ridge and sparsity."""
        return list(product(self.ridges, self.sparsities))

    def learn_pairs(self, x: Floats) -> Floats:
        """Compute the kernel of each group."""
        self._train = split_parts(x, self.parts)
        return self.pairs_with(x)

    def pairs_with(self, x: Floats) -> Floats:
        """Compute the same between new and training clips."""
        return np.stack(
            [
                kernel_table(a, b, self.kernel, self.gamma, self.shift, self.degree)
                for a, b in zip(split_parts(x, self.parts), self._train, strict=True)
            ]
        )

    def solve(self, pairs: Floats, y: NDArray[np.int64], setting: Setting) -> _Machine:
        """Centre the kernels, scale each to a mean diagonal of 1, and solve."""
        means, grand = pairs.mean(1), pairs.mean((1, 2))
        centred = _centre(pairs, means, grand)
        scales = np.einsum("gnn->g", centred) / len(y)
        scales = np.where(scales > 1e-12, scales, np.inf)  # a block that is the same in all clips says nothing
        classes, place = np.unique(y, return_inverse=True)
        share = np.bincount(place)
        weights = (len(y) / (len(classes) * share))[place] if self.balanced else np.ones(len(y))
        targets = np.eye(len(classes))[place]
        targets -= np.average(targets, axis=0, weights=weights)
        solution = solve_groups(
            centred / scales[:, None, None],
            targets,
            weights,
            ridge=setting[0],
            sparsity=setting[1],
            turns=self.turns,
        )
        return _Machine(solution, scales, means, grand, classes)

    def values(self, machine: Any, pairs: Floats, setting: Setting) -> Floats:
        """Return the predicted targets."""
        centred = _centre(pairs, machine.means, machine.grand) / machine.scales[:, None, None]
        total = np.tensordot(machine.solution.beta**2, centred, 1)
        full = np.full((pairs.shape[1], self.n_classes), -np.inf)
        full[:, machine.classes] = total @ machine.solution.projections
        return full


def _centre(pairs: Floats, means: Floats, grand: Floats) -> Floats:
    """Centre kernels (G, M, N) at the mean of the N training clips in the space of each kernel."""
    return np.asarray(pairs - pairs.mean(2, keepdims=True) - means[:, None, :] + grand[:, None, None])
