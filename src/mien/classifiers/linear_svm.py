"""A linear support vector machine on descriptors; its cost, and a weight of parts, are chosen on inner folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import SVC

from mien.classifiers.inner_choice import InnerChoice, Setting
from mien.classifiers.svm import Floats, machine_on

Weigh = Callable[[Floats, float], Floats]
Mirror = Callable[[NDArray[Any]], NDArray[Any]]


def weigh_halves(x: Floats, weight: float) -> Floats:
    """Multiply the first half of each vector by the weight, and the second by 1 minus the weight.

    Args:
        x: (N, D), such as MDMO's lengths and angles.
        weight: 0..1.
    """
    half = x.shape[1] // 2
    return np.concatenate([weight * x[:, :half], (1 - weight) * x[:, half:]], axis=1)


@dataclass
class LinearSvm(InnerChoice):
    """A linear support vector machine, one class against another, on vectors scaled by one factor.

    That number makes the mean squared length of the training vectors, about their mean, 1: the machine stays the same,
    and a cost means the same for any descriptor. Cost and weight are those with the best UF1 on inner folds by subject
    of the training clips; a single value for each skips the search.

    Args:
        n_classes: Classes C.
        costs: Values of the cost to try.
        weigh: Weighs the parts of the vectors; None leaves them as they are.
        weights: Weights to try.
        inner_folds: Inner folds by subject.
        inner_repeats: Times the subjects are dealt into inner folds anew; the mean UF1 decides.
        balanced: Weight classes by the inverse of their frequency.
        mirror: Makes the vectors of the mirrored faces; each training clip is then used twice, and each decision is the
            mean of the clip's and of its mirror image's.

    Attributes:
        chosen: (cost, weight) of the last fit.
    """

    inner_repeats: int = 3
    costs: Sequence[float] = (0.1, 1.0, 10.0, 100.0, 1000.0)
    weigh: Weigh | None = None
    weights: Sequence[float] = (1.0,)
    balanced: bool = False
    mirror: Mirror | None = None

    def settings(self) -> list[Setting]:
        """Return all pairs (cost, weight)."""
        return [(cost, weight) for weight, cost in product(self.weights, self.costs)]

    def learn_pairs(self, x: Floats) -> Floats:
        """Compute inner products of training clips for each weight and each pair of copies, (W V V, N, N)."""
        views = self._views(x)
        self.scales_: list[tuple[Floats, float]] = []
        for weight in self.weights:
            weighed = self._weighed(np.concatenate(views), weight)
            centre = weighed.mean(0)
            size = float(np.sqrt(((weighed - centre) ** 2).sum(1).mean()))
            self.scales_.append((centre, 1 / size if size > 0 else 1.0))
        self.train_ = self._scaled(views)
        return self._tables(self.train_)

    def pairs_with(self, x: Floats) -> Floats:
        """Compute the same between new and training clips, (W V V, M, N)."""
        return self._tables(self._scaled(self._views(x)))

    def solve(self, pairs: Floats, y: NDArray[np.int64], setting: Setting) -> SVC:
        """Fit a machine on all copies of clips."""
        return machine_on(self._kernel(pairs, setting), np.tile(y, self._copies), setting[0], self.balanced)

    def values(self, machine: Any, pairs: Floats, setting: Setting) -> Floats:
        """Return its decision values, averaged over the copies of each clip."""
        found = machine.decision_function(self._kernel(pairs, setting))
        if len(machine.classes_) == 2:
            found = np.stack([-found, found], axis=1)
        full = np.full((pairs.shape[1], self.n_classes), -np.inf)
        full[:, machine.classes_] = found.reshape(self._copies, pairs.shape[1], -1).mean(0)
        return full

    @property
    def _copies(self) -> int:
        return 1 if self.mirror is None else 2

    def _views(self, x: Floats) -> list[Floats]:
        return [x] if self.mirror is None else [x, np.asarray(self.mirror(x), np.float64)]

    def _weighed(self, x: Floats, weight: float) -> Floats:
        return x if self.weigh is None else self.weigh(x, weight)

    def _scaled(self, views: Sequence[Floats]) -> list[list[Floats]]:
        """Return each copy under each weight."""
        return [
            [(self._weighed(view, weight) - centre) * scale for view in views]
            for weight, (centre, scale) in zip(self.weights, self.scales_, strict=True)
        ]

    def _tables(self, new: Sequence[Sequence[Floats]]) -> Floats:
        return np.stack(
            [a @ b.T for ours, known in zip(new, self.train_, strict=True) for a, b in product(ours, known)]
        )

    def _kernel(self, pairs: Floats, setting: Setting) -> Floats:
        v = self._copies
        first = list(self.weights).index(setting[1]) * v * v
        return np.block([[pairs[first + row * v + column] for column in range(v)] for row in range(v)])
