"""The score of inner folds is that of scikit-learn, to the last bit."""

import numpy as np
from sklearn.metrics import f1_score

from mien.classifiers.inner_score import macro_f1


def test_it_is_the_macro_f1_of_scikit_learn_to_the_last_bit() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        n, classes = random.integers(1, 40), random.integers(1, 7)
        truth, answers = random.integers(0, classes, (2, n))
        assert macro_f1(truth, answers) == f1_score(truth, answers, average="macro")


def test_a_class_that_is_never_right_counts_and_one_that_never_occurs_does_not() -> None:
    assert macro_f1(np.array([0, 0, 3]), np.array([0, 0, 0])) == (2 * 2 / 5 + 0) / 2
