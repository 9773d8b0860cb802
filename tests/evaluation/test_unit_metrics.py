"""Scores of action units against scikit-learn and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from mien.errors import MienError
from mien.evaluation.unit_metrics import _weighted_aucs, auc, average_precision, bootstrap_intervals, unit_scores


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=30))
def test_auc_and_average_precision_equal_scikit_learn_with_ties(rows: list[tuple[bool, int]]) -> None:
    truth, scores = np.array([t for t, _ in rows]), np.array([s / 5 for _, s in rows])
    if truth.any() and not truth.all():
        assert auc(truth, scores) == pytest.approx(roc_auc_score(truth, scores))
    else:
        assert np.isnan(auc(truth, scores))
    if truth.any():
        assert average_precision(truth, scores) == pytest.approx(average_precision_score(truth, scores))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=15))
def test_weighted_auc_equals_repeating_each_clip_as_often_as_it_was_drawn(rows: list[tuple[bool, int, int]]) -> None:
    truth, scores, weights = (np.array([row[k] for row in rows]) for k in range(3))
    found = _weighted_aucs(truth.astype(bool), scores.astype(float), weights[None].astype(float))[0]
    repeated = auc(np.repeat(truth, weights).astype(bool), np.repeat(scores, weights).astype(float))
    assert found == pytest.approx(repeated, nan_ok=True)


def answers(n: int = 60, seed: int = 0):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    truth = rng.random((n, 3)) < [0.2, 0.5, 0.1]
    probabilities = np.clip(truth * 0.3 + rng.random((n, 3)) * 0.7, 0, 1)
    persons = [("casme2" if i % 2 else "samm", f"s{i % 10}") for i in range(n)]
    return truth, probabilities, probabilities > 0.5, ["1", "4", "12"], [p[0] for p in persons], persons


def test_scores_equal_scikit_learn_unit_by_unit_and_their_means() -> None:
    truth, probabilities, decisions, units, datasets, persons = answers()
    found = unit_scores(truth, probabilities, decisions, units, datasets, persons)
    f1s = [f1_score(truth[:, k], decisions[:, k]) for k in range(3)]
    aucs = [roc_auc_score(truth[:, k], probabilities[:, k]) for k in range(3)]
    assert [found["per_au"][u]["f1"] for u in units] == pytest.approx(f1s)
    assert found["mean_f1"] == pytest.approx(np.mean(f1s))
    assert found["mean_auc"] == pytest.approx(np.mean(aucs))
    yes = [f1_score(truth[:, k], np.ones(len(truth), bool)) for k in range(3)]
    assert found["always_yes_f1"] == pytest.approx(np.mean(yes))
    assert found["n_clips"] == 60
    assert found["n_subjects"] == 10
    assert {name: part["n_clips"] for name, part in found["per_dataset"].items()} == {"casme2": 30, "samm": 30}


def test_clip_without_an_answer_counts_as_missed_and_is_left_out_of_auc() -> None:
    truth, probabilities, decisions, units, datasets, persons = answers()
    probabilities[truth[:, 1].argmax()] = np.nan
    found = unit_scores(truth, probabilities, decisions, units, datasets, persons)
    kept = ~np.isnan(probabilities[:, 1])
    assert found["n_unanswered"] == 1
    assert found["per_au"]["4"]["auc"] == pytest.approx(roc_auc_score(truth[kept, 1], probabilities[kept, 1]))
    assert found["per_au"]["4"]["f1"] == pytest.approx(f1_score(truth[:, 1], decisions[:, 1] & kept))


def test_unit_that_nobody_has_is_left_out_of_the_means() -> None:
    truth, probabilities, decisions, units, datasets, persons = answers()
    truth[:, 2] = False
    found = unit_scores(truth, probabilities, decisions, units, datasets, persons)
    assert found["units_scored"] == 2
    assert found["per_au"]["12"]["auc"] is None
    assert found["mean_f1"] == pytest.approx(np.mean([found["per_au"][u]["f1"] for u in ("1", "4")]))


def test_intervals_hold_the_score_and_equal_a_loop_over_samples() -> None:
    truth, probabilities, decisions, units, datasets, persons = answers()
    found = unit_scores(truth, probabilities, decisions, units, datasets, persons)
    intervals = bootstrap_intervals(truth, probabilities, decisions, persons, n=200, seed=1)
    for name in ("mean_auc", "mean_f1"):
        low, high = intervals[name] or (1.0, 0.0)
        assert low < found[name] < high
    from mien.evaluation.metrics import resamples

    people = list(dict.fromkeys(persons))
    means = []
    for row in resamples(len(people), 200, 1):
        index = [i for i, p in enumerate(persons) for _ in range(row[people.index(p)])]
        means.append(np.mean([f1_score(truth[index, k], decisions[index, k], zero_division=0) for k in range(3)]))
    assert intervals["mean_f1"] == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_arrays_of_different_shapes_are_refused() -> None:
    truth, probabilities, decisions, units, datasets, persons = answers()
    with pytest.raises(MienError, match="shapes"):
        unit_scores(truth, probabilities[:, :2], decisions, units, datasets, persons)
