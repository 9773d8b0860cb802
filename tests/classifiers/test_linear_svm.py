"""The linear machine on descriptors."""

import numpy as np
import pytest
from sklearn.svm import SVC

from mien.classifiers.inner_folds import inner_folds
from mien.classifiers.linear_svm import LinearSvm, weigh_halves

Staged = tuple[np.ndarray, np.ndarray, list[tuple[str, str]]]


def staged(seed: int = 0, n: int = 48, useful: slice = slice(0, 5)) -> Staged:
    """Three classes that differ in some of ten numbers, six subjects."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = random.normal(size=(n, 10))
    x[:, useful] += 1.5 * random.normal(size=(3, 10))[y][:, useful]
    return x.astype(np.float32), y, [("d", str(i // 3 % 6)) for i in range(n)]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_is_a_plain_linear_machine_on_vectors_scaled_by_one_number(n_classes: int) -> None:
    x, y, groups = staged()
    y = y % n_classes
    mine = LinearSvm(n_classes, costs=(10.0,)).fit(x, y, groups)
    centred = x.astype(float) - x.mean(0)
    scale = 1 / np.sqrt((centred**2).sum(1).mean())
    plain = SVC(C=10.0, kernel="linear", decision_function_shape="ovr", break_ties=True).fit(centred * scale, y)
    assert np.array_equal(mine.predict_proba(x).argmax(1), plain.predict(centred * scale))
    assert LinearSvm(n_classes, costs=(10.0,)).fit(1000 * x + 7, y, groups).predict_proba(
        1000 * x + 7
    ) == pytest.approx(mine.predict_proba(x), abs=1e-3)


def test_cost_and_weight_come_from_inner_folds_by_subject() -> None:
    """The best mean UF1 over folds that divide no subject, searched here by hand."""
    from sklearn.metrics import f1_score

    x, y, groups = staged(1)
    costs, weights = (0.01, 1.0, 100.0), (0.1, 0.5, 0.9)
    made = LinearSvm(3, costs=costs, weigh=weigh_halves, weights=weights, inner_repeats=2).fit(x, y, groups, seed=5)
    names = sorted(set(groups), key=groups.index)
    number = np.array([names.index(g) for g in groups])
    best, most = (0.0, 0.0), -1.0
    for weight in weights:
        for cost in costs:
            scores = []
            for repeat in range(2):
                answers = np.zeros(len(y), int)
                for train, test in inner_folds(y, number, 5, 5 + 1000 * repeat):
                    assert not set(number[train]) & set(number[test])
                    weighed = weigh_halves(x.astype(float), weight)
                    weighed = weighed - weighed.mean(0)
                    weighed /= np.sqrt((weighed**2).sum(1).mean())
                    machine = SVC(C=cost, kernel="linear", break_ties=True).fit(weighed[train], y[train])
                    answers[test] = machine.predict(weighed[test])
                scores.append(f1_score(y, answers, average="macro"))
            if np.mean(scores) > most:
                best, most = (cost, weight), float(np.mean(scores))
    assert made.chosen == best


def test_the_informative_half_gets_the_weight() -> None:
    for useful, low, high in ((slice(0, 5), 0.5, 1.0), (slice(5, 10), 0.0, 0.5)):
        x, y, groups = staged(3, 120, useful)
        made = LinearSvm(3, costs=(1.0,), weigh=weigh_halves, weights=(0.05, 0.95)).fit(x, y, groups)
        assert low < made.chosen[1] < high


def test_mirrored_training_makes_a_machine_that_does_not_see_the_side() -> None:
    x, y, groups = staged(4)
    made = LinearSvm(3, costs=(1.0,), mirror=lambda v: v[..., ::-1]).fit(x, y, groups)
    assert np.allclose(made.predict_proba(x), made.predict_proba(x[:, ::-1]), atol=1e-5)


def test_one_subject_or_constant_vectors_still_fit() -> None:
    x, y, _ = staged()
    one = LinearSvm(3).fit(x, y, [("d", "1")] * len(y))
    assert np.isfinite(one.predict_proba(x)).all()
    still = LinearSvm(3).fit(np.zeros_like(x), y, [("d", str(i % 4)) for i in range(len(y))])
    assert np.allclose(still.predict_proba(np.zeros_like(x)).sum(1), 1)
