from collections.abc import Sequence
from dataclasses import replace
from math import comb

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from mien.errors import MienError
from mien.evaluation.compare import compare, compare_classes
from mien.evaluation.ledger import Ledger, Row

CLASSES = ("negative", "positive", "surprise")
TRUTH = np.random.default_rng(5).integers(0, 3, 60)
SUBJECTS = [f"s{n % 10}" for n in range(60)]


def ledger(runs: Sequence[np.ndarray]) -> Ledger:
    """Runs of one system, one array of probabilities (60, 3) per seed."""
    rows = tuple(
        Row(
            "casme2",
            SUBJECTS[n],
            str(n),
            f"casme2-{SUBJECTS[n]}",
            seed,
            "annotated",
            CLASSES[TRUTH[n]],
            CLASSES[int(p.argmax())],
            tuple(p),
        )
        for seed, run in enumerate(runs)
        for n, p in enumerate(run)
    )
    return Ledger({}, CLASSES, rows, True)


def guesses(seed: int, skill: float) -> np.ndarray:
    """Random probabilities that lean to the true class by `skill`."""
    p = np.random.default_rng(seed).random((60, 3)) + skill * np.eye(3)[TRUTH]
    return np.asarray(p / p.sum(1, keepdims=True))


def test_scores_are_means_over_seeds() -> None:
    runs = [guesses(1, 0.5), guesses(2, 0.5), guesses(3, 0.5)]
    result = compare_classes(ledger(runs), ledger([guesses(4, 0.2)]), n=50)
    answers = [p.argmax(1) for p in runs]
    assert result.uf1[0] == pytest.approx(np.mean([f1_score(TRUTH, a, average="macro") for a in answers]))
    assert result.uar[0] == pytest.approx(np.mean([balanced_accuracy_score(TRUTH, a) for a in answers]))
    assert result.accuracy[0] == pytest.approx(np.mean([accuracy_score(TRUTH, a) for a in answers]))
    assert result.uf1_difference == pytest.approx(result.uf1[0] - result.uf1[1])
    assert result.n_clips == 60


def test_mcnemar_is_the_binomial_sum_over_the_seeds_mean_probabilities() -> None:
    first, second = [guesses(1, 0.6), guesses(2, 0.6)], [guesses(3, 0.3)]
    result = compare_classes(ledger(first), ledger(second), n=50)
    right = [np.mean(runs, axis=0).argmax(1) == TRUTH for runs in (first, second)]
    b, c = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    assert (result.only_a, result.only_b) == (b, c)
    tail = sum(comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert result.mcnemar_p == pytest.approx(min(1.0, 2 * tail))


def test_the_bootstrap_draws_the_same_persons_for_both() -> None:
    first, second = guesses(1, 0.6), guesses(2, 0.3)
    result = compare_classes(ledger([first]), ledger([second]), n=80, seed=3)
    names = list(dict.fromkeys(SUBJECTS))
    differences = []
    for counts in np.random.default_rng(3).multinomial(10, np.full(10, 0.1), size=80):
        drawn = [
            i for name, k in zip(names, counts, strict=True) for i in range(60) if SUBJECTS[i] == name for _ in range(k)
        ]
        scores = [f1_score(TRUTH[drawn], p.argmax(1)[drawn], average="macro") for p in (first, second)]
        differences.append(scores[0] - scores[1])
    assert result.uf1_interval == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])))


def test_a_run_does_not_differ_from_itself() -> None:
    run = ledger([guesses(1, 0.4)])
    result = compare_classes(run, run, n=100)
    assert result.uf1_difference == 0
    assert result.uf1_interval == (0.0, 0.0)
    assert (result.uf1_p, result.mcnemar_p) == (1.0, 1.0)


def test_swapping_the_runs_swaps_the_answer() -> None:
    good, poor = ledger([guesses(1, 1.0)]), ledger([guesses(2, 0.0)])
    ahead, behind = compare_classes(good, poor, n=200), compare_classes(poor, good, n=200)
    assert ahead.uf1_interval[0] > 0
    assert ahead.uf1_p < 0.05
    assert ahead.mcnemar_p < 0.01
    assert behind.uf1_interval == pytest.approx((-ahead.uf1_interval[1], -ahead.uf1_interval[0]))
    assert (behind.only_a, behind.only_b) == (ahead.only_b, ahead.only_a)


@pytest.mark.parametrize("kind", ["clips", "truth", "classes", "unfinished", "empty"])
def test_runs_that_cannot_be_compared_are_refused(kind: str) -> None:
    run = ledger([guesses(1, 0.4)])
    other_class = next(name for name in CLASSES if name != run.rows[0].y_true)
    other = {
        "clips": replace(run, rows=run.rows[1:]),
        "truth": replace(run, rows=(replace(run.rows[0], y_true=other_class), *run.rows[1:])),
        "classes": replace(run, classes=CLASSES[::-1]),
        "unfinished": replace(run, complete=False),
        "empty": replace(run, rows=()),
    }[kind]
    with pytest.raises(MienError) as caught:
        compare(run, other)
    assert caught.value.fix
    wanted = "unfinished" if kind in ("unfinished", "empty") else "differ"
    assert wanted in caught.value.found
