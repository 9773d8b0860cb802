"""A network whose number of epochs is chosen on subjects that are left out of its training clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mien.classifiers.base import Clips, Progress
from mien.classifiers.inner_folds import inner_folds
from mien.classifiers.inner_score import macro_f1
from mien.classifiers.net import NetClassifier
from mien.preprocessing.inputs import as_inputs

CHOICE_SEED = 0
"""Seed of the inner folds and of their networks."""


@dataclass
class InnerEpoch(NetClassifier):
    """`NetClassifier` that stops after the epoch with the best UF1 on subjects left out of the training clips.

    The training subjects are dealt into inner folds. A network is trained on the others of each fold for the whole
    schedule, and answers for the fold after every `step` epochs; UF1 is that of all answers after the same epoch,
    counts pooled. A new network is then trained on all clips up to the best epoch; of equals the first. Test clips
    have no part in it. The inner folds and their networks come from a seed of their own: the choice depends on the
    training clips alone.

    Args:
        inner_folds: Inner folds by subject.
        splits: How many of them are left out, one after the other; 0 all of them.
        looks: Most epochs that are compared, evenly spaced, the last among them.
    """

    can_be_saved: ClassVar[bool] = True

    inner_folds: int = 3
    splits: int = 0
    looks: int = 100

    def fit(
        self,
        x: Clips,
        y: NDArray[np.int64],
        groups: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """Choose the epoch, then train on all clips; see `NetClassifier.fit`.

        Where no two inner folds can be made, the last epoch is used.
        """
        inputs, y = as_inputs(x), np.asarray(y, dtype=np.int64)
        whole, kept = self.schedule, 0.0

        def report(done: float) -> None:
            nonlocal kept
            kept = done
            if progress is not None:
                progress(done)

        self.choose(inputs, y, groups, report)
        assert self.chosen is not None
        self.schedule = replace(whole, epochs=int(self.chosen["epoch"]))
        try:
            return super().fit(inputs, y, groups, seed=seed, progress=lambda done: report(kept + (1 - kept) * done))
        finally:
            self.schedule = whole

    def choose(
        self, x: Clips, y: NDArray[np.int64], groups: Sequence[tuple[str, str]], progress: Progress | None = None
    ) -> None:
        """Set `chosen`: the epoch that is best on left-out subjects, and its UF1 there.

        Args:
            x: (N, ...) training input.
            y: (N,) class indices.
            groups: Subject of each clip.
            progress: Called with the share of `fit` that is done.
        """
        inputs, y = as_inputs(x), np.asarray(y, dtype=np.int64)
        names = {group: n for n, group in enumerate(dict.fromkeys(groups))}
        dealt = inner_folds(y, np.array([names[group] for group in groups]), self.inner_folds, CHOICE_SEED)
        dealt = dealt[: self.splits or None]
        share = 1 / (len(dealt) + 1)
        epochs = looked_at(self.schedule.epochs, self.looks)
        answers = np.full((len(epochs), len(y)), -1)
        for n, (train, held_out) in enumerate(dealt):

            def report(done: float, n: int = n) -> None:
                if progress is not None:
                    progress((n + done) * share)

            rows = answers[:, held_out]
            self._watch(inputs[train], y[train], inputs[held_out], epochs, rows, report)
            answers[:, held_out] = rows
        scores = [macro_f1(y[row >= 0], row[row >= 0]) if (row >= 0).any() else 0.0 for row in answers]
        best = int(np.argmax(scores)) if dealt else len(epochs) - 1
        self.chosen = {"epoch": epochs[best], "inner_uf1": round(float(scores[best]), 4)}

    def without_choice(self) -> NetClassifier:
        """Return the same network, untrained, that takes the last epoch."""
        same = {f.name: getattr(self, f.name) for f in fields(NetClassifier) if f.init}
        return NetClassifier(**{**same, "state_file": None, "chosen": None})

    def _watch(
        self, x: Any, y: NDArray[np.int64], held_out: Any, epochs: Sequence[int], rows: NDArray[Any],
        progress: Progress,
    ) -> None:  # fmt: skip
        """Train on some clips and write the answers for others after each epoch that is looked at."""
        net = self.without_choice()
        place = {epoch: n for n, epoch in enumerate(epochs)}

        def answer(model: nn.Module, epoch: int) -> None:
            if epoch in place:
                rows[place[epoch]] = net.probabilities_of(model, held_out).argmax(1)

        net.on_epoch = answer
        net.fit(x, y, [("", "")] * len(y), seed=CHOICE_SEED, progress=progress)


def looked_at(epochs: int, most: int) -> tuple[int, ...]:
    """Return at most so many epochs, evenly spaced and counted from 1; the last is the last of the schedule.

    Example:
        >>> looked_at(10, 3)
        (3, 7, 10)
        >>> looked_at(2, 100)
        (1, 2)
    """
    n = min(epochs, most)
    return tuple(round(epochs * (k + 1) / n) for k in range(n))
