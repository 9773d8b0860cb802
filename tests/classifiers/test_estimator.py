"""A plain estimator as a classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mien.classifiers.estimator import EstimatorClassifier
from mien.errors import MienError
from mien.preprocessing.inputs import ArrayInputs

RANDOM = np.random.default_rng(0)
Y = np.arange(24) % 3
X = (RANDOM.normal(size=(24, 2, 4, 4)) + Y[:, None, None, None]).astype(np.float32)
GROUPS = [("d", str(i // 6)) for i in range(24)]


class Answers(BaseEstimator):  # type: ignore[misc]
    """Answers what it is told to."""

    def __init__(self, answer: Any = None, error: Exception | None = None) -> None:
        self.answer = answer
        self.error = error

    def fit(self, x: Any, y: Any) -> Any:
        return self

    def predict_proba(self, x: Any) -> Any:
        if self.error is not None:
            raise self.error
        return self.answer


def test_inputs_are_arrays_to_numpy() -> None:
    inputs = ArrayInputs(np.stack([X, -X], 1), copies=2)
    assert np.array_equal(np.asarray(inputs), X)
    assert np.asarray(inputs[[1, 3]]).shape == (2, 2, 4, 4)
    assert np.asarray(inputs, np.float64).dtype == np.float64


@pytest.mark.parametrize("x", [X, ArrayInputs(X)])
def test_clips_are_flattened_and_the_estimator_given_is_left_as_it_was(x: Any) -> None:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    classifier = EstimatorClassifier(3, pipeline).fit(x, Y, GROUPS)
    p = classifier.predict_proba(x)
    assert p.shape == (24, 3)
    assert p.dtype == np.float32
    assert (p.argmax(1) == Y).mean() > 0.9
    assert not hasattr(pipeline[-1], "coef_")


def test_a_plain_class_gets_the_shape_of_the_recipe() -> None:
    class Means:
        def fit(self, x: np.ndarray, y: np.ndarray) -> None:
            self.means = np.stack([x[y == c].mean(0) for c in np.unique(y)])

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            distance = ((x[:, None] - self.means) ** 2).sum((2, 3, 4))
            return np.asarray(np.eye(3)[distance.argmin(1)])

    classifier = EstimatorClassifier(3, Means(), flatten=False).fit(X, Y, GROUPS)
    assert (classifier.predict_proba(X).argmax(1) == Y).mean() > 0.9


def test_the_seed_reaches_every_random_state() -> None:
    forest = make_pipeline(StandardScaler(), RandomForestClassifier(5))
    same, again, other = (EstimatorClassifier(3, forest).fit(X, Y, GROUPS, seed=s).predict_proba(X) for s in (1, 1, 2))
    assert np.array_equal(same, again)
    assert not np.array_equal(same, other)


def test_classes_without_training_clips_get_no_probability() -> None:
    two = EstimatorClassifier(3, LogisticRegression()).fit(X[Y != 1], Y[Y != 1], GROUPS)
    assert np.array_equal(two.predict_proba(X)[:, 1], np.zeros(24))
    assert two.predict_proba(X).sum(1) == pytest.approx(1)
    one = EstimatorClassifier(3, LogisticRegression()).fit(X[Y == 2], Y[Y == 2], GROUPS)
    assert np.array_equal(one.predict_proba(X[:2]), [[0, 0, 1], [0, 0, 1]])


def test_a_search_over_settings_records_what_it_chose() -> None:
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2)
    assert EstimatorClassifier(3, search).fit(X, Y, GROUPS).fit_log()["chosen"]["C"] in (0.1, 1.0)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (np.full((24, 3), np.nan), "returned \\[nan, nan, nan\\] for a clip"),
        (np.full((24, 3), np.inf), "returned \\[inf, inf, inf\\] for a clip"),
        (np.full((24, 3), 0.5), "returned a row with the sum 1.5"),
        (np.tile([1.5, -0.5, 0.0], (24, 1)), "returned \\[1.5, -0.5, 0.0\\] for a clip"),
        (np.full((24, 2), 0.5), "returned an array of shape \\(24, 2\\)"),
        (np.full((24, 3, 1), 1 / 3), "returned an array of shape \\(24, 3, 1\\)"),
        (None, "returned a NoneType|returned an array of shape"),
        ("words", "returned a str"),
    ],
)
def test_what_are_no_probabilities_is_refused(answer: Any, found: str) -> None:
    classifier = EstimatorClassifier(3, Answers(answer)).fit(X, Y, GROUPS)
    with pytest.raises(MienError, match=found) as error:
        classifier.predict_proba(X)
    assert "predict_proba of Answers from" in error.value.found
    assert "test_estimator.py" in error.value.found
    assert "(24, 3)" in error.value.expected


def test_an_estimator_that_fails_is_named_with_its_file() -> None:
    with pytest.raises(MienError, match="failed on 24 clips of shape \\(32,\\): ValueError: no") as error:
        EstimatorClassifier(3, Answers(error=ValueError("no"))).fit(X, Y, GROUPS).predict_proba(X)
    assert "test_estimator.py" in error.value.found
    with pytest.raises(MienError, match="fit of LogisticRegression from the package scikit-learn"):
        EstimatorClassifier(3, LogisticRegression(C=-1)).fit(X, Y, GROUPS)


def test_an_estimator_that_cannot_be_copied_is_refused() -> None:
    class Stubborn(LogisticRegression):  # type: ignore[misc]
        def __init__(self, C: float = 1.0) -> None:
            super().__init__(C=C + 1)

    with pytest.raises(MienError, match="cannot be copied"):
        EstimatorClassifier(3, Stubborn())
