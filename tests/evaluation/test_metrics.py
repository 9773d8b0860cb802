from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score, precision_score

from mien.errors import MienError
from mien.evaluation import metrics

LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


ONES = np.ones(3, dtype=np.int64)
PEOPLE = [("d", "a"), ("d", "a"), ("d", "b")]


@settings(max_examples=150, deadline=None)
@given(LABELS)
@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:A single label", "ignore:.*ill-defined.*")
def test_against_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    y, p = np.array(pairs).T
    seen = np.union1d(y, p)
    assert metrics.confusion(y, p, 4).tolist() == confusion_matrix(y, p, labels=range(4)).tolist()
    assert metrics.accuracy(y, p) == pytest.approx(accuracy_score(y, p))
    assert metrics.uf1(y, p, 4) == pytest.approx(f1_score(y, p, average="macro", labels=seen))
    assert metrics.uar(y, p, 4) == pytest.approx(balanced_accuracy_score(y, p))
    assert metrics.f1_weighted(y, p, 4) == pytest.approx(f1_score(y, p, average="weighted"))
    assert metrics.f1_per_class(metrics.confusion(y, p, 4)) == pytest.approx(
        f1_score(y, p, average=None, labels=range(4), zero_division=0)
    )
    precision = precision_score(y, p, average="macro", labels=np.unique(p), zero_division=0)
    assert metrics.macro_precision_of(metrics.confusion(y, p, 4)) == pytest.approx(precision)


def test_constant_answer_on_the_composite() -> None:
    y = np.repeat([0, 1, 2], [250, 109, 83])
    accuracy, uf1 = metrics.majority(y, 3)
    assert accuracy == pytest.approx(0.566, abs=5e-4)
    assert uf1 == pytest.approx(0.241, abs=5e-4)
    assert metrics.uar(y, np.zeros_like(y), 3) == pytest.approx(1 / 3)


def test_published_confusions_of_micro_exp_stcnn() -> None:
    smic = np.array([[14, 0, 5], [2, 2, 2], [1, 0, 6]])
    assert metrics.f1_per_class(smic) == pytest.approx([0.778, 0.5, 0.6], abs=5e-4)
    assert float(metrics.uf1_of(smic)) == pytest.approx(0.626, abs=5e-4)
    assert float(metrics.accuracy_of(smic)) == pytest.approx(0.6875)
    assert float(metrics.uar_of(smic)) == pytest.approx(0.642, abs=1e-3)


def test_pooled_and_per_fold_scores_differ_as_written() -> None:
    y, p = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    folds = ["a", "a", "b", "b"]
    # Fold a: F1 of class 0 is 2/3, of class 1 is 0; fold b: class 1 is 1.
    assert metrics.f1_fold_mean(y, p, folds, 2) == pytest.approx((1 / 3 + 1) / 2)
    assert metrics.uf1(y, p, 2) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_scores_has_every_key_and_restricts_by_database() -> None:
    random = np.random.default_rng(0)
    y, p = random.integers(0, 3, 90), random.integers(0, 3, 90)
    datasets = ["samm" if n % 3 else "casme2" for n in range(90)]
    persons = [(d, str(n % 7)) for n, d in enumerate(datasets)]
    result = metrics.scores(y, p, [f"{d}-{s}" for d, s in persons], ["a", "b", "c"], datasets, persons)
    keys = "n_clips n_subjects accuracy uf1 uar f1_weighted f1_fold_mean majority_accuracy majority_uf1 confusion"
    assert set(keys.split()) <= set(result)
    inside = np.array(datasets) == "samm"
    assert result["per_dataset"]["samm"]["uf1"] == pytest.approx(f1_score(y[inside], p[inside], average="macro"))
    assert result["per_dataset"]["casme2"]["n_clips"] == 30
    assert result["n_subjects"] == 14
    assert result["per_class"]["a"]["support"] == int((y == 0).sum())


def slow_interval(y: np.ndarray, p: np.ndarray, persons: list[tuple[str, str]], n: int, seed: int) -> np.ndarray:
    names = list(dict.fromkeys(persons))
    random = np.random.default_rng(seed)
    values = []
    for counts in random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n):
        drawn = [
            i
            for name, k in zip(names, counts, strict=True)
            for _ in range(k)
            for i in range(len(y))
            if persons[i] == name
        ]
        values.append(f1_score(y[drawn], p[drawn], average="macro"))
    return np.asarray(np.quantile(values, [0.025, 0.975]))


def test_bootstrap_equals_the_plain_one() -> None:
    random = np.random.default_rng(1)
    y, p = random.integers(0, 3, 60), random.integers(0, 3, 60)
    persons = [("d", str(n % 8)) for n in range(60)]
    fast = metrics.bootstrap_interval(y, p, persons, n=60, seed=3)
    assert fast == pytest.approx(tuple(slow_interval(y, p, persons, 60, 3)))


def test_perfect_predictions_have_no_spread() -> None:
    y = np.tile([0, 1, 2], 10)
    persons = [("d", str(n % 5)) for n in range(30)]
    assert metrics.bootstrap_interval(y, y, persons) == (1.0, 1.0)


def test_macro_precision_is_not_uar() -> None:
    """The two differ as soon as the classes are answered unevenly; STSTNet's paper prints one as the other."""
    counts = np.array([[8, 2, 0], [3, 6, 1], [1, 1, 3]])
    assert float(metrics.uar_of(counts)) == pytest.approx((8 / 10 + 6 / 10 + 3 / 5) / 3)
    assert float(metrics.macro_precision_of(counts)) == pytest.approx((8 / 12 + 6 / 9 + 3 / 4) / 3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        # Without the check, class 3 of 3 would be counted as class 0 of the next row.
        (lambda: metrics.confusion(ONES, np.array([0, 1, 3]), 3), "from 0 to 3"),
        (lambda: metrics.confusion(ONES, np.array([0, 1, -1]), 3), "from -1 to 1"),
        (lambda: metrics.uf1(ONES, np.array([0, 1]), 3), "shape"),
        (lambda: metrics.scores(ONES, ONES, ["f"], ["a", "b"], ["d"] * 3, PEOPLE), "1 and 3"),
        (lambda: metrics.scores(ONES[:0], ONES[:0], [], ["a", "b"], [], []), "at least 1"),
        (lambda: metrics.bootstrap_interval(ONES, ONES, PEOPLE, metric="f1"), "uf1, uar, accuracy"),
        (lambda: metrics.bootstrap_interval(ONES, ONES, PEOPLE, level=95), "between 0 and 1"),
    ],
)
def test_what_cannot_be_scored_is_refused(call: Callable[[], object], words: str) -> None:
    with pytest.raises(MienError) as caught:
        call()
    assert words in str(caught.value)


@pytest.mark.parametrize("metric", sorted(metrics.METRICS))
def test_a_wider_level_holds_a_narrower_one(metric: str) -> None:
    random = np.random.default_rng(2)
    y, p = random.integers(0, 3, 90), random.integers(0, 3, 90)
    persons = [("d", str(n % 10)) for n in range(90)]
    narrow = metrics.bootstrap_interval(y, p, persons, metric=metric, level=0.5)
    wide = metrics.bootstrap_interval(y, p, persons, metric=metric, level=0.95)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
