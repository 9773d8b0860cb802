"""Classifiers of histograms: kernel machines of one or several kernels, and a random forest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics.pairwise import additive_chi2_kernel
from sklearn.svm import SVC

from mien.classifiers.base import Classifier, Clips, Progress
from mien.classifiers.inner_choice import InnerChoice, Setting, flat
from mien.classifiers.svm import Floats, machine_on
from mien.errors import MienError

Kernel = Literal["poly", "linear", "hellinger", "chi2"]
KERNELS = ("poly", "linear", "hellinger", "chi2")


def kernel_table(a: Floats, b: Floats, kernel: str, gamma: float = 0.22, shift: float = 0.0, degree: int = 2) -> Floats:
    """Compute a kernel of all pairs of rows; for "chi2" the distance sum (a - b)^2 / (a + b), made a kernel later.

    Args:
        a: (M, D).
        b: (N, D).
        kernel: "poly": (gamma a.b + shift)^degree; "linear": a.b; "hellinger": sqrt(a).sqrt(b); "chi2".
        gamma, shift, degree: Of "poly"; 0.22, 0 and 2 are STRCN's (TMM 2020, section IV-B).

    Returns:
        (M, N).

    Raises:
        MienError: A negative value where histograms are due.
    """
    if kernel in ("hellinger", "chi2") and min(a.min(initial=0), b.min(initial=0)) < 0:
        raise MienError(
            f"kernel {kernel!r} got the negative value {min(a.min(), b.min()):.3g}.",
            "histograms, nothing below 0.",
            "`--set kernel=linear`.",
        )
    if kernel == "chi2":
        return np.asarray(-additive_chi2_kernel(a, b))
    if kernel == "hellinger":
        return np.asarray(np.sqrt(a) @ np.sqrt(b).T)
    products = np.asarray(a @ b.T)
    return products if kernel == "linear" else np.asarray((gamma * products + shift) ** degree)


@dataclass
class KernelSvm(InnerChoice):
    """A support vector machine on histograms, with one of several kernels.

    The training kernel is divided by the mean of its diagonal: C then means the same whatever the number of blocks.
    For kernels without a shift this is no more than another unit of C.

    Args:
        kernel: "poly", "linear", "hellinger", or "chi2": exp(-width chi2 / mean chi2 of the training clips).
        gamma, shift, degree: See `kernel_table`.
        costs: Values of C to try.
        widths: Widths of "chi2" to try.
        balanced: Weight classes by the inverse of their frequency.
    """

    kernel: Kernel = "poly"
    gamma: float = 0.22
    shift: float = 0.0
    degree: int = 2
    costs: Sequence[float] = (1.0, 10.0, 100.0, 1000.0)
    widths: Sequence[float] = (1.0,)
    balanced: bool = True

    def settings(self) -> list[Setting]:
        """Return the pairs of C and width."""
        return list(product(self.costs, self.widths if self.kernel == "chi2" else (1.0,)))

    def _table(self, a: Floats, b: Floats) -> Floats:
        return kernel_table(a, b, self.kernel, self.gamma, self.shift, self.degree)

    def learn_pairs(self, x: Floats) -> Floats:
        """Compute the kernel, or the distances, of the training clips, scaled to a mean of 1."""
        table = self._table(x, x)
        scale = float(table.mean() if self.kernel == "chi2" else np.diag(table).mean())
        self._train, self._scale = x, scale if scale > 0 else 1.0
        return table[None] / self._scale

    def pairs_with(self, x: Floats) -> Floats:
        """Compute the same between new and training clips."""
        return np.asarray(self._table(x, self._train)[None] / self._scale)

    def solve(self, pairs: Floats, y: NDArray[np.int64], setting: Setting) -> SVC:
        """Fit a machine of scikit-learn."""
        return machine_on(self._kernel(pairs, setting), y, setting[0], self.balanced)

    def values(self, machine: Any, pairs: Floats, setting: Setting) -> Floats:
        """Return its decision values."""
        found = machine.decision_function(self._kernel(pairs, setting))
        if len(machine.classes_) == 2:
            found = np.stack([-found, found], axis=1)
        full = np.full((pairs.shape[1], self.n_classes), -np.inf)
        full[:, machine.classes_] = found
        return full

    def _kernel(self, pairs: Floats, setting: Setting) -> Floats:
        return np.asarray(np.exp(-setting[1] * pairs[0])) if self.kernel == "chi2" else pairs[0]


@dataclass(frozen=True)
class _Weighed:
    """One-against-rest machines on a weighted sum of kernels."""

    machines: tuple[SVC, ...]
    classes: NDArray[np.int64]
    weights: Floats


@dataclass
class MultipleKernels(InnerChoice):
    """A support vector machine on a sum of kernels with learned weights, one kernel per part of the vector.

    Formulation: lp-norm multiple kernel learning. Weights are not negative and their p-norm is at most 1; machine and
    weights are solved in turn, the weights in closed form, until the objective rests. All classes, one against the
    rest, share the weights.

    Args:
        parts: Equal parts of the vector (blocks, or planes); each has a kernel.
        kernel, gamma, shift, degree: See `kernel_table`; not "chi2".
        norm: p; nearer 1, fewer kernels keep a weight.
        costs: Values of C to try.
        balanced: Weight classes by the inverse of their frequency.
        turns: Most turns.

    Source: Kloft, Brefeld, Sonnenburg, Zien, "lp-norm multiple kernel learning", JMLR 2011, algorithm 1.
    """

    parts: int = 1
    kernel: Kernel = "poly"
    gamma: float = 0.22
    shift: float = 0.0
    degree: int = 2
    norm: float = 1.5
    costs: Sequence[float] = (1.0, 10.0, 100.0, 1000.0)
    balanced: bool = True
    turns: int = 10

    def settings(self) -> list[Setting]:
        """Return the values of C."""
        return [(cost,) for cost in self.costs]

    def learn_pairs(self, x: Floats) -> Floats:
        """Compute the kernel of each part, divided by the mean of its diagonal."""
        if self.kernel == "chi2":
            raise MienError(
                "kernel is 'chi2'.", "poly, linear or hellinger for several kernels.", "`--set kernel=poly`."
            )
        if self.norm < 1:
            raise MienError(f"norm is {self.norm}.", "1 or more.", "`--set norm=1.5`.")
        self._train = split_parts(x, self.parts)
        tables = self._tables(self._train)
        scales = np.einsum("gnn->g", tables) / len(x)
        self._scales = np.where(scales > 0, scales, 1.0)
        return tables / self._scales[:, None, None]

    def _tables(self, split: Floats) -> Floats:
        return np.stack(
            [
                kernel_table(a, b, self.kernel, self.gamma, self.shift, self.degree)
                for a, b in zip(split, self._train, strict=True)
            ]
        )

    def pairs_with(self, x: Floats) -> Floats:
        """Compute the same between new and training clips."""
        return self._tables(split_parts(x, self.parts)) / self._scales[:, None, None]

    def solve(self, pairs: Floats, y: NDArray[np.int64], setting: Setting) -> _Weighed:
        """Solve machines and weights in turn; `objectives` records the sum of the objectives after each turn."""
        classes = np.unique(y)
        shown = classes if len(classes) > 2 else classes[1:]  # of two classes, one machine tells both
        weights = np.full(len(pairs), len(pairs) ** (-1 / self.norm))
        self.objectives = []
        for turn in range(self.turns):
            kernel = np.tensordot(weights, pairs, 1)
            machines, sizes, objective = [], np.zeros(len(pairs)), 0.0
            for one in shown:
                machine = SVC(C=setting[0], kernel="precomputed", class_weight="balanced" if self.balanced else None)
                machine.fit(kernel, y == one)
                machines.append(machine)
                held, alpha = machine.support_, machine.dual_coef_[0]
                quadratic = np.einsum("i,gij,j->g", alpha, pairs[:, held][:, :, held], alpha, optimize=True)
                sizes += np.maximum(weights**2 * quadratic, 0)
                objective += np.abs(alpha).sum() - 0.5 * float(weights @ quadratic)
            self.objectives.append(objective)
            rests = turn > 0 and self.objectives[-2] - objective <= 1e-4 * abs(objective)
            if rests or turn == self.turns - 1 or not sizes.any():
                break
            p = self.norm
            lengths = np.sqrt(sizes)
            weights = lengths ** (2 / (p + 1)) / (lengths ** (2 * p / (p + 1))).sum() ** (1 / p)
        return _Weighed(tuple(machines), classes, weights)

    def values(self, machine: Any, pairs: Floats, setting: Setting) -> Floats:
        """Return the one-against-rest decision values."""
        kernel = np.tensordot(machine.weights, pairs, 1)
        found = [one.decision_function(kernel) for one in machine.machines]
        full = np.full((pairs.shape[1], self.n_classes), -np.inf)
        full[:, machine.classes] = np.stack(found if len(found) > 1 else [-found[0], found[0]], axis=1)
        return full


def split_parts(x: Floats, parts: int) -> Floats:
    """Split vectors (N, D) into parts (parts, N, D / parts).

    Raises:
        MienError: The parts are not equal.
    """
    if x.shape[1] % parts:
        raise MienError(f"parts is {parts}.", f"a divisor of the {x.shape[1]} values.", "`parts=1`.")
    return x.reshape(len(x), parts, -1).swapaxes(0, 1)


@dataclass
class Forest(Classifier, BaseEstimator):  # type: ignore[misc]
    """A random forest.

    Args:
        n_classes: Classes C.
        trees: Trees.
        leaf: Fewest clips in a leaf.
        balanced: Weight classes by the inverse of their frequency.
    """

    n_classes: int
    trees: int = 500
    leaf: int = 1
    balanced: bool = True

    def fit(
        self,
        x: Clips,
        y: NDArray[np.int64],
        groups: Sequence[tuple[str, str]] | None = None,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """Grow the trees; see `Classifier.fit`."""
        self.forest_ = RandomForestClassifier(
            self.trees,
            min_samples_leaf=self.leaf,
            class_weight="balanced" if self.balanced else None,
            random_state=seed,
        ).fit(flat(x), y)
        if progress is not None:
            progress(1.0)
        return self

    def predict_proba(self, x: Clips) -> NDArray[np.float32]:
        """Return class probabilities (M, C)."""
        found = np.zeros((len(x), self.n_classes), np.float32)
        found[:, self.forest_.classes_] = self.forest_.predict_proba(flat(x))
        return found
