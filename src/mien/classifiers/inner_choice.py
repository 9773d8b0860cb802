"""Base of kernel classifiers whose settings are chosen within `fit`, on inner folds by subject."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator

from mien.classifiers.base import Classifier, Clips, Progress
from mien.classifiers.inner_folds import inner_folds
from mien.classifiers.inner_score import macro_f1
from mien.classifiers.svm import Floats, sharpness
from mien.preprocessing.inputs import as_array

Setting = tuple[Any, ...]


@dataclass
class InnerChoice(Classifier, BaseEstimator):  # type: ignore[misc]
    """A classifier that chooses the setting with the best UF1 on inner folds by subject, and then fits on all clips.

    What is the same for all settings, a table of every pair of clips, is worked out once.

    Args:
        n_classes: Classes C.
        inner_folds: Inner folds by subject.
        inner_repeats: Times the subjects are dealt into inner folds anew; the mean UF1 decides.

    Attributes:
        chosen: The setting of the last fit.
    """

    n_classes: int
    inner_folds: int = 5
    inner_repeats: int = 1
    chosen: Setting = field(default=(), init=False, repr=False)

    @abstractmethod
    def settings(self) -> list[Setting]:
        """Return all settings; the one in the middle is used where there are no inner folds."""

    @abstractmethod
    def learn_pairs(self, x: Floats) -> Floats:
        """Compute G tables of all pairs of training clips, (G, N, N)."""

    @abstractmethod
    def pairs_with(self, x: Floats) -> Floats:
        """Compute the same between new and training clips, (G, M, N)."""

    @abstractmethod
    def solve(self, pairs: Floats, y: NDArray[np.int64], setting: Setting) -> Any:
        """Fit on n clips, given tables (G, n, n) and classes (n,)."""

    @abstractmethod
    def values(self, machine: Any, pairs: Floats, setting: Setting) -> Floats:
        """Return decision values (M, C) of new clips; -inf for a class without training clips."""

    def fit(
        self,
        x: Clips,
        y: NDArray[np.int64],
        groups: Sequence[tuple[str, str]] | None = None,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """Choose the setting on inner folds, then fit on all clips.

        Args:
            x: (N, ...) input; flattened.
            y: (N,) class indices; at least two classes.
            groups: (dataset, subject) of each clip: inner folds never divide a subject. None: each is its own.
            seed: Orders the subjects into inner folds.
            progress: Called with the share that is done.
        """
        y = np.asarray(y)
        pairs = self.learn_pairs(flat(x))
        group_of = np.arange(len(y))
        if groups is not None:
            names = {group: n for n, group in enumerate(dict.fromkeys(groups))}
            group_of = np.array([names[group] for group in groups])
        settings = self.settings()
        dealt = [inner_folds(y, group_of, self.inner_folds, seed + 1000 * n) for n in range(self.inner_repeats)]
        best, held_out = settings[len(settings) // 2], None
        if len(settings) > 1 and dealt and all(dealt):
            results = []
            for n, setting in enumerate(settings):
                answers = [self._held_out(pairs, y, folds, setting) for folds in dealt]
                uf1 = np.mean([macro_f1(y, values.argmax(1)) for values in answers])
                results.append((float(uf1), answers[0]))
                if progress is not None:
                    progress((n + 1) / (len(settings) + 1))
            winner = int(np.argmax([uf1 for uf1, _ in results]))
            best, held_out = settings[winner], results[winner][1]
        elif dealt and dealt[0]:
            held_out = self._held_out(pairs, y, dealt[0], best)
        self.chosen = best
        self.machine_ = self.solve(pairs, y, best)
        self.sharpness_ = 1.0 if held_out is None else sharpness(held_out, y)
        if progress is not None:
            progress(1.0)
        return self

    def fit_log(self) -> dict[str, Any]:
        """Return the chosen setting."""
        return {"chosen": self.chosen}

    def _held_out(
        self, pairs: Floats, y: NDArray[np.int64], folds: Sequence[tuple[Any, Any]], setting: Setting
    ) -> Floats:
        """Return decision values (N, C) of each clip, from the machine that was not fitted on it."""
        found = np.full((len(y), self.n_classes), -np.inf)
        for train, test in folds:
            machine = self.solve(pairs[:, train][:, :, train], y[train], setting)
            found[test] = self.values(machine, pairs[:, test][:, :, train], setting)
        return found

    def decision_values(self, x: Clips) -> Floats:
        """Return decision values (M, C) of clips."""
        return self.values(self.machine_, self.pairs_with(flat(x)), self.chosen)

    def predict_proba(self, x: Clips) -> NDArray[np.float32]:
        """Return class probabilities (M, C): a softmax of the decision values, scaled by what the inner folds gave."""
        return np.asarray(softmax(self.sharpness_ * self.decision_values(x), axis=1), np.float32)

    def predict(self, x: Clips) -> NDArray[np.int64]:
        """Return the classes (M,) of clips."""
        return np.asarray(self.predict_proba(x).argmax(1), np.int64)


def flat(x: Clips) -> Floats:
    """Return clips as vectors (N, D)."""
    clips = as_array(x)
    return clips.reshape(len(clips), -1).astype(np.float64)
