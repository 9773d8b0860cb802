"""A linear support vector machine on descriptors: cost, and a weight between their parts, by inner subject folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import f1_score
from sklearn.svm import SVC

from mien.models.svm import Floats, Folds, Mirror, inner_folds, sharpness
from mien.recipe.inputs import Inputs, as_array

Weigh = Callable[[Floats, float], Floats]


def weigh_halves(x: Floats, weight: float) -> Floats:
    """The first half of each vector times the weight, the second times what is left to 1.

    Args:
        x: (N, D), such as MDMO's lengths and angles.
        weight: 0..1.
    """
    half = x.shape[1] // 2
    return np.concatenate([weight * x[:, :half], (1 - weight) * x[:, half:]], axis=1)


@dataclass
class LinearSvm:
    """A linear support vector machine, one class against another, on vectors scaled by one number.

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

    n_classes: int
    costs: Sequence[float] = (0.1, 1.0, 10.0, 100.0, 1000.0)
    weigh: Weigh | None = None
    weights: Sequence[float] = (1.0,)
    inner_folds: int = 5
    inner_repeats: int = 3
    balanced: bool = False
    mirror: Mirror | None = None
    chosen: tuple[float, float] = field(default=(1.0, 1.0), init=False)

    def fit(
        self,
        x: Inputs | NDArray[np.float32],
        y: NDArray[np.int64],
        groups: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        progress: Callable[[float], None] | None = None,
    ) -> Self:
        """Choose cost and weight on inner folds, solve once more on everything.

        Args:
            x: (N, ...) descriptors; flattened.
            y: (N,) class indices; at least two classes.
            groups: (dataset, subject) of each clip: inner folds never divide a subject.
            seed: Orders the subjects into inner folds.
            progress: Called with the share that is done.
        """
        views = self._views(as_array(x))
        copies, truth = len(views), y
        y = np.tile(y, copies)
        names = {group: n for n, group in enumerate(dict.fromkeys(groups))}
        group_of = np.tile([names[group] for group in groups], copies)
        pairs = list(product(self.costs, self.weights))
        dealt = [inner_folds(y, group_of, self.inner_folds, seed + 1000 * n) for n in range(self.inner_repeats)]
        held_out: Floats | None = None
        self.chosen = pairs[len(pairs) // 2]
        if len(pairs) > 1 and all(dealt):
            most = -1.0
            for weight in self.weights:
                self._weight(views, weight)
                kernel = self._train @ self._train.T
                for cost in self.costs:
                    answers = [
                        self._held_out(kernel, y, folds, cost).reshape(copies, len(truth), -1).mean(0)
                        for folds in dealt
                    ]
                    uf1 = float(np.mean([f1_score(truth, a.argmax(1), average="macro") for a in answers]))
                    if uf1 > most:
                        most, self.chosen, held_out = uf1, (cost, weight), answers[0]
                if progress is not None:
                    progress((self.weights.index(weight) + 1) / (len(self.weights) + 1))
        self._weight(views, self.chosen[1])
        self._machine = self._solve(self._train @ self._train.T, y, self.chosen[0])
        self._sharpness = 1.0 if held_out is None else sharpness(held_out, truth)
        if progress is not None:
            progress(1.0)
        return self

    def predict_proba(self, x: Inputs | NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities (N, C): a softmax of the decision values, its sharpness learned on the inner folds."""
        views = [self._scaled(view, self.chosen[1]) for view in self._views(as_array(x))]
        values = np.mean([self._scores(self._machine, view @ self._train.T) for view in views], axis=0)
        return np.asarray(softmax(self._sharpness * values, axis=1), dtype=np.float32)

    def _views(self, x: NDArray[np.float32]) -> list[Floats]:
        flat = x.reshape(len(x), -1)
        vectors = [flat] if self.mirror is None else [flat, self.mirror(flat)]
        return [np.asarray(each, np.float64) for each in vectors]

    def _weight(self, views: Sequence[Floats], weight: float) -> None:
        """Learn centre and scale of the training vectors under a weight."""
        flat = np.concatenate(views)
        weighed = flat if self.weigh is None else self.weigh(flat, weight)
        self._centre = weighed.mean(0)
        size = float(np.sqrt(((weighed - self._centre) ** 2).sum(1).mean()))
        self._scale = 1 / size if size > 0 else 1.0
        self._train = self._scaled(flat, weight)

    def _scaled(self, flat: Floats, weight: float) -> Floats:
        weighed = flat if self.weigh is None else self.weigh(flat, weight)
        return np.asarray((weighed - self._centre) * self._scale)

    def _solve(self, kernel: Floats, y: NDArray[np.int64], cost: float) -> SVC:
        machine = SVC(
            C=cost,
            kernel="precomputed",
            class_weight="balanced" if self.balanced else None,
            decision_function_shape="ovr",
            break_ties=True,
        )
        return machine.fit(kernel, y)

    def _held_out(self, kernel: Floats, y: NDArray[np.int64], folds: Folds, cost: float) -> Floats:
        """Decision values (N, C) of every clip from the machine that did not train on it."""
        values = np.full((len(y), self.n_classes), -np.inf)
        for train, test in folds:
            machine = self._solve(kernel[np.ix_(train, train)], y[train], cost)
            values[test] = self._scores(machine, kernel[np.ix_(test, train)])
        return values

    def _scores(self, machine: SVC, kernel: Floats) -> Floats:
        """Decision values (N, C); -inf stands for a class the training clips do not have."""
        values = machine.decision_function(kernel)
        if len(machine.classes_) == 2:
            values = np.stack([-values, values], axis=1)
        full = np.full((len(kernel), self.n_classes), -np.inf)
        full[:, machine.classes_] = values
        return full
