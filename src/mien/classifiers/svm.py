"""An RBF support vector machine whose settings are chosen within `fit`, on inner folds by subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.svm import SVC

from mien.classifiers.base import Classifier, Clips, Progress
from mien.classifiers.inner_folds import Folds, few_clips, inner_folds
from mien.classifiers.inner_score import macro_f1
from mien.preprocessing.inputs import as_array

Floats = NDArray[np.float64]
Mirror = Callable[[NDArray[np.float32]], NDArray[np.float32]]

MOST_COMPARED: Final = 3000
"""Most training inputs of which all pairs are compared: a table of 72 MB, and a search of minutes."""


def mirror_flow(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the flow of the mirrored face: columns reversed, horizontal motion negated, strain kept.

    Args:
        x: (..., C, H, W), channels u, v[, strain], no motion being 0.

    Returns:
        The same shape and range; applying it twice gives the input back.
    """
    mirrored = x[..., ::-1].copy()
    mirrored[..., 0, :, :] *= -1
    return mirrored


def machine_on(kernel: Floats, y: NDArray[np.int64], cost: float, balanced: bool) -> SVC:
    """Return a trained support vector machine.

    Args:
        kernel: (N, N) of every pair of training clips.
        y: (N,) class indices.
        cost: C.
        balanced: Weight classes by the inverse of their frequency.
    """
    return _machine(cost, balanced, kernel="precomputed").fit(kernel, y)


def _machine(cost: float, balanced: bool, **kernel: Any) -> SVC:
    weights = "balanced" if balanced else None
    return SVC(C=cost, class_weight=weights, decision_function_shape="ovr", break_ties=True, **kernel)


@dataclass
class RbfSvm(Classifier):
    """A support vector machine with the kernel exp(-gamma |a - b|^2) on standardised features.

    C and gamma are those with the best UF1 on inner folds by subject of the training clips; a single value for each
    skips the search. The squared distances are computed once, so trying a pair costs one small solve. Of more than
    `MOST_COMPARED` training inputs, C and gamma are chosen on that many, of subjects drawn at random; the machine is
    fitted on all.

    Args:
        n_classes: Classes C.
        costs: Values of C to try.
        gammas: Values of gamma to try, times 1 / number of features.
        inner_folds: Inner folds by subject.
        inner_repeats: Times the subjects are dealt into inner folds anew; the mean UF1 decides, with less chance in it.
        balanced: Weight classes by the inverse of their frequency.
        simplest: Take the first pair, costs before gammas, whose UF1 is within one standard error of the best; with
            ascending values that is the softest machine that is about as good.
        mirror: Makes the mirror image of an input; each training clip is then used twice, and each decision is the
            mean of the clip's and of its mirror image's.

    Attributes:
        chosen: (C, gamma factor) of the last fit.
    """

    n_classes: int
    costs: Sequence[float] = (1.0, 3.0, 10.0, 30.0)
    gammas: Sequence[float] = (0.3, 1.0, 3.0)
    inner_folds: int = 5
    inner_repeats: int = 3
    balanced: bool = False
    mirror: Mirror | None = None
    simplest: bool = False
    chosen: tuple[float, float] = field(default=(1.0, 1.0), init=False)

    def _held_out(self, kernel: Floats, y: NDArray[np.int64], folds: Folds, cost: float) -> Floats:
        """Return decision values (N, C) of each clip, from the machine that was not trained on it."""
        values = np.full((len(y), self.n_classes), -np.inf)
        for train, test in folds:
            machine = machine_on(kernel[np.ix_(train, train)], y[train], cost, self.balanced)
            values[test] = self._scores(machine, kernel[np.ix_(test, train)])
        return values

    def _scores(self, machine: SVC, given: Floats) -> Floats:
        """Return decision values (N, C); -inf for a class without training clips."""
        values = machine.decision_function(given)
        if len(machine.classes_) == 2:
            values = np.stack([-values, values], axis=1)
        full = np.full((len(given), self.n_classes), -np.inf)
        full[:, machine.classes_] = values
        return full

    def fit(
        self,
        x: Clips,
        y: NDArray[np.int64],
        groups: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """Standardise, choose C and gamma on inner folds, and fit on all clips.

        Args:
            x: (N, ...) input; flattened.
            y: (N,) class indices; at least two classes.
            groups: (dataset, subject) of each clip: inner folds never divide a subject.
            seed: Orders the subjects into inner folds.
            progress: Called with the share that is done.
        """
        views = self._views(as_array(x))
        copies, y = len(views), np.tile(y, len(views))
        flat = np.concatenate(views)
        self._mean, deviation = flat.mean(0), flat.std(0)
        self._deviation = np.where(deviation > 0, deviation, 1.0)
        self._train = self._standardise(flat)
        names = {group: n for n, group in enumerate(dict.fromkeys(groups))}
        group_of = np.array([names[group] for group in groups])
        few = few_clips(group_of, MOST_COMPARED // copies, seed)
        rows = np.concatenate([few + len(x) * copy for copy in range(copies)])
        distances = _square_distances(self._train[rows], self._train[rows])
        pairs = list(product(self.costs, self.gammas))
        people, classes, truth = np.tile(group_of[few], copies), y[rows], y[few]
        dealt = [self._inner_folds(classes, people, seed + 1000 * n) for n in range(self.inner_repeats)]
        best, held_out = pairs[len(pairs) // 2], None
        if len(pairs) > 1 and all(dealt):
            results = []
            for n, (cost, gamma) in enumerate(pairs):
                kernel = np.exp(-gamma * distances)
                answers = [
                    self._held_out(kernel, classes, folds, cost).reshape(copies, len(few), -1).mean(0)
                    for folds in dealt
                ]
                uf1s = [macro_f1(truth, values.argmax(1)) for values in answers]
                results.append((uf1s, answers[0]))
                if progress is not None:
                    progress((n + 1) / (len(pairs) + 1))
            winner = _winner([uf1s for uf1s, _ in results], self.simplest)
            best, held_out = pairs[winner], results[winner][1]
        self.chosen = best
        if len(rows) == len(y):
            self._machine = machine_on(np.exp(-best[1] * distances), y, best[0], self.balanced)
        else:  # a table of all pairs could fill the memory
            self._machine = _machine(best[0], self.balanced, kernel="rbf", gamma=best[1]).fit(self._train, y)
        self._sharpness = 1.0 if held_out is None else sharpness(held_out, truth)
        if progress is not None:
            progress(1.0)
        return self

    def fit_log(self) -> dict[str, Any]:
        """Return the chosen C and gamma."""
        return {"chosen": self.chosen}

    def _inner_folds(self, y: NDArray[np.int64], groups: NDArray[np.int64], seed: int) -> Folds:
        return inner_folds(y, groups, self.inner_folds, seed)

    def predict_proba(self, x: Clips) -> NDArray[np.float32]:
        """Return class probabilities (N, C): a softmax of the decision values, scaled by what the inner folds gave."""
        views = [self._standardise(view) for view in self._views(as_array(x))]
        given: Iterable[Floats] = views
        if self._machine.kernel == "precomputed":
            given = (np.exp(-self.chosen[1] * _square_distances(view, self._train)) for view in views)
        values = np.mean([self._scores(self._machine, each) for each in given], axis=0)
        return np.asarray(softmax(self._sharpness * values, axis=1), dtype=np.float32)

    def _views(self, x: NDArray[np.float32]) -> list[Floats]:
        pictures = [x] if self.mirror is None else [x, self.mirror(x)]
        return [np.asarray(picture, dtype=np.float64).reshape(len(x), -1) for picture in pictures]

    def _standardise(self, flat: Floats) -> Floats:
        # Divided by the root of the number of features, gamma means the same for pictures of any size.
        return np.asarray((flat - self._mean) / self._deviation / np.sqrt(flat.shape[1]))


def _winner(uf1s: Sequence[Sequence[float]], simplest: bool) -> int:
    """Return the place of the setting with the best mean UF1; or of the first within one standard error of it.

    Source of the second: Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984, section 3.4.3.
    """
    means = np.mean(uf1s, axis=1)
    best = int(means.argmax())
    repeats = len(uf1s[best])
    if not simplest or repeats < 2:
        return best
    error = float(np.std(uf1s[best], ddof=1)) / np.sqrt(repeats)
    return int(np.flatnonzero(means >= means[best] - error)[0])


def _square_distances(a: Floats, b: Floats) -> Floats:
    """Compute squared distances (len(a), len(b)) by one matrix product, which is far faster than pair by pair."""
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2 * (a @ b.T)
    return np.asarray(np.maximum(squares, 0.0))


def sharpness(values: Floats, y: NDArray[np.int64]) -> float:
    """Return the factor on decision values whose softmax has the least log loss."""
    seen = np.isfinite(values[np.arange(len(y)), y])

    def loss(log_factor: float) -> float:
        logs = log_softmax(np.exp(log_factor) * values[seen], axis=1)
        return -float(logs[np.arange(int(seen.sum())), y[seen]].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded").x))
