"""The epoch that is chosen inside `fit`, on subjects that are left out."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score
from torch import nn

from mien.classifiers.inner_epoch import InnerEpoch, looked_at
from mien.classifiers.inner_folds import inner_folds
from mien.classifiers.net import NetClassifier
from mien.classifiers.schedule import Schedule

SCHEDULE = Schedule(epochs=12, batch_size=8, optimiser="adam", lr=3e-2)


def clips(n: int = 36) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str]]]:
    random = np.random.default_rng(3)
    y = np.arange(n) % 3
    x = random.normal(size=(n, 10)).astype(np.float32)
    x[np.arange(n), y] += 1.0
    return x, y, [("d", str(k // 4)) for k in range(n)]


def make(_: object) -> nn.Module:
    return nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def test_the_epoch_is_the_best_of_trainings_that_stop_at_each() -> None:
    x, y, groups = clips()
    chosen = InnerEpoch(make, SCHEDULE, inner_folds=3).fit(x, y, groups, seed=5)
    numbers = np.array([int(subject) for _, subject in groups])
    scores = []
    for epochs in range(1, 13):
        answers = np.zeros(len(y), int)
        for train, held_out in inner_folds(y, numbers, 3, 0):
            assert not set(numbers[train]) & set(numbers[held_out])
            one = NetClassifier(make, replace(SCHEDULE, epochs=epochs))
            one.fit(x[train], y[train], [groups[k] for k in train], seed=0)
            answers[held_out] = one.predict_proba(x[held_out]).argmax(1)
        scores.append(f1_score(y, answers, average="macro"))
    best = int(np.argmax(scores)) + 1
    assert chosen.chosen == {"epoch": best, "inner_uf1": pytest.approx(max(scores), abs=1e-4)}
    alone = NetClassifier(make, replace(SCHEDULE, epochs=best)).fit(x, y, groups, seed=5)
    assert np.array_equal(chosen.predict_proba(x), alone.predict_proba(x))
    assert chosen.fit_log()["chosen"]["epoch"] == best == len(chosen.curves[0])
    assert chosen.schedule == SCHEDULE


def test_one_subject_alone_takes_the_last_epoch_and_progress_ends_at_one() -> None:
    x, y, _ = clips()
    seen: list[float] = []
    made = InnerEpoch(make, SCHEDULE).fit(x, y, [("d", "a")] * len(y), seed=0, progress=seen.append)
    assert made.chosen is not None
    assert made.chosen["epoch"] == 12
    assert seen[-1] == 1.0
    assert seen == sorted(seen)


def test_looking_at_a_network_does_not_change_its_training() -> None:
    x, y, groups = clips()
    plain = NetClassifier(make, SCHEDULE).fit(x, y, groups, seed=1)
    watched = NetClassifier(make, SCHEDULE)
    seen: list[int] = []

    def look(model: nn.Module, epoch: int) -> None:
        seen.append(epoch)
        watched.probabilities_of(model, x)

    watched.on_epoch = look
    watched.fit(x, y, groups, seed=1)
    assert seen == list(range(1, 13))
    assert np.array_equal(plain.predict_proba(x), watched.predict_proba(x))


def test_few_epochs_are_all_looked_at_and_many_evenly() -> None:
    assert looked_at(5, 100) == (1, 2, 3, 4, 5)
    many = looked_at(3000, 100)
    assert len(many) == 100
    assert many[-1] == 3000
    assert set(np.diff(many)) == {30}


def test_the_rate_falls_in_steps() -> None:
    rates = [Schedule(epochs=9, batch_size=2, lr=1.0, decay=0.5, decay_every=3).rate(n) for n in range(7)]
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
