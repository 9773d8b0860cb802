"""A plain scikit-learn estimator as a classifier: anything with `fit(X, y)` and `predict_proba(X)`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from mien.classifiers.base import Classifier, Clips, Progress
from mien.errors import MienError
from mien.registry import origin_of

SUM_TOLERANCE = 1e-3
"""How far the probabilities of a clip may be from a sum of 1."""


class EstimatorClassifier(Classifier):
    """A copy of an estimator, fitted to the training clips of one fold.

    The estimator that was given is never fitted. Each parameter of it that is called `random_state`, at any depth of a
    pipeline, is set from the fold's seed. A class without a training clip gets the probability 0; where there is but
    one class, nothing is fitted and it gets 1.

    Args:
        n_classes: Classes C of the label map.
        estimator: Has `fit(X, y)` and `predict_proba(X)`.
        flatten: Hand the clips over as (N, D); False leaves the shape of the recipe, (N, ...).

    Raises:
        MienError: The estimator lacks one of the two methods or cannot be copied.

    Example:
        >>> from sklearn.linear_model import LogisticRegression
        >>> x, y = np.float32([[0], [1], [2], [3]]), np.array([0, 0, 2, 2])
        >>> classifier = EstimatorClassifier(3, LogisticRegression()).fit(x, y, [("d", "s")] * 4)
        >>> classifier.predict_proba(x).argmax(1).tolist()
        [0, 0, 2, 2]
    """

    def __init__(self, n_classes: int, estimator: Any, *, flatten: bool = True) -> None:
        require_estimator(estimator)
        self.n_classes, self.estimator, self.flatten = n_classes, estimator, flatten

    def fit(
        self,
        x: Clips,
        y: NDArray[np.int64],
        groups: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """See `Classifier.fit`. The estimator does not get `groups`.

        Raises:
            MienError: The estimator failed.
        """
        self.present_ = np.unique(y)
        self.fitted_: Any = None
        if len(self.present_) > 1:
            self.fitted_ = _copy_of(self.estimator)
            _seed(self.fitted_, seed)
            rows = self._rows(x)
            try:
                self.fitted_.fit(rows, y)
            except Exception as error:
                raise _failed(self.estimator, "fit", rows, error) from error
        return self

    def predict_proba(self, x: Clips) -> NDArray[np.float32]:
        """See `Classifier.predict_proba`.

        Raises:
            MienError: The estimator failed, or what it returned are not probabilities.
        """
        full = np.zeros((len(x), self.n_classes), np.float32)
        if self.fitted_ is None:
            full[:, self.present_] = 1.0
            return full
        rows = self._rows(x)
        try:
            found = self.fitted_.predict_proba(rows)
        except Exception as error:
            raise _failed(self.estimator, "predict_proba", rows, error) from error
        classes = np.asarray(getattr(self.fitted_, "classes_", self.present_))
        where = f"predict_proba of {name_of(self.estimator)}"
        if classes.ndim != 1 or not set(classes.tolist()) <= set(range(self.n_classes)):
            raise MienError(
                f"{where} has the classes {classes.tolist()}.",
                f"those it was fitted to, {self.present_.tolist()}.",
                "an estimator that keeps the classes given to `fit`.",
            )
        full[:, classes.astype(int)] = require_probabilities(found, (len(x), len(classes)), where)
        return full

    def fit_log(self) -> dict[str, Any]:
        """Return the settings that a search over settings chose, where the estimator is one."""
        chosen = getattr(self.fitted_, "best_params_", None)
        return {"chosen": {key: _plain(value) for key, value in chosen.items()}} if chosen else {}

    def _rows(self, x: Clips) -> NDArray[np.float32]:
        rows = np.asarray(x, np.float32)
        return rows.reshape(len(rows), -1) if self.flatten else rows


def name_of(estimator: Any) -> str:
    """Return an estimator's class (a pipeline's last step), with its package and file, for errors."""
    steps = getattr(estimator, "steps", None)
    last = steps[-1][1] if steps else estimator
    pipeline = f"{type(last).__name__}, the last step of a {type(estimator).__name__}," if steps else ""
    return f"{pipeline or type(last).__name__} from {origin_of(last)}"


def require_estimator(estimator: Any) -> None:
    """Refuse what is not an estimator that gives probabilities.

    Raises:
        MienError: It is a class, or lacks `fit` or `predict_proba`, or cannot be copied.
    """
    if isinstance(estimator, type):
        raise MienError(
            f"{estimator.__name__} from {origin_of(estimator)} is a class.",
            "an estimator.",
            f"`{estimator.__name__}()`.",
        )
    for method in ("fit", "predict_proba"):
        if not callable(getattr(estimator, method, None)):
            raise MienError(
                f"{name_of(estimator)} has no {method}.",
                "an estimator with fit(X, y) and predict_proba(X).",
                "`sklearn.calibration.CalibratedClassifierCV(ESTIMATOR, ensemble=False)` around it."
                if method == "predict_proba" and callable(getattr(estimator, "fit", None))
                else "`sklearn.linear_model.LogisticRegression()`.",
            )
    try:
        _copy_of(estimator)
    except Exception as error:
        raise MienError(
            f"{name_of(estimator)} cannot be copied ({type(error).__name__}: {error}).",
            "an estimator that `sklearn.base.clone` copies, since each fold fits a new one.",
            "a class derived from `sklearn.base.BaseEstimator`, whose `__init__` only stores its arguments.",
        ) from error


def require_probabilities(found: Any, shape: tuple[int, int], where: str) -> NDArray[np.float64]:
    """Return what was predicted, where it is probabilities.

    Args:
        found: What was predicted.
        shape: Clips and classes.
        where: Who predicted it, for the error.

    Raises:
        MienError: Another shape, numbers that are not finite or negative, or rows that do not sum to 1.
    """
    expected = f"probabilities of shape {shape}, clips by classes, each row with the sum 1."
    try:
        p = np.asarray(found, np.float64)
    except (TypeError, ValueError):
        p = np.empty(0)
    if p.shape != shape:
        got = f"an array of shape {p.shape}" if p.size else f"a {type(found).__name__}"
        raise MienError(f"{where} returned {got}.", expected, "an estimator of one label per clip.")
    fix = "other settings of the estimator, or `CalibratedClassifierCV` around it."
    if not np.isfinite(p).all():
        clip = int(np.flatnonzero(~np.isfinite(p).all(1))[0])
        raise MienError(
            f"{where} returned {p[clip].tolist()} for a clip.", expected, "scaled inputs (`StandardScaler()` first)."
        )
    if (p < -SUM_TOLERANCE).any():
        clip = int(np.flatnonzero((p < -SUM_TOLERANCE).any(1))[0])
        raise MienError(f"{where} returned {p[clip].tolist()} for a clip.", expected, fix)
    sums = p.sum(1)
    if (abs(sums - 1) > SUM_TOLERANCE).any():
        clip = int(np.argmax(abs(sums - 1)))
        raise MienError(f"{where} returned a row with the sum {sums[clip]:.6g} for a clip.", expected, fix)
    return p


def _copy_of(estimator: Any) -> Any:
    return clone(estimator) if callable(getattr(estimator, "get_params", None)) else copy.deepcopy(estimator)


def _seed(estimator: Any, seed: int) -> None:
    if not callable(getattr(estimator, "get_params", None)):
        return
    keys = sorted(k for k in estimator.get_params(deep=True) if k.rpartition("__")[2] == "random_state")
    if keys:
        estimator.set_params(**dict.fromkeys(keys, seed))


def _failed(estimator: Any, method: str, rows: NDArray[np.float32], error: Exception) -> MienError:
    return MienError(
        f"{method} of {name_of(estimator)} failed on {len(rows)} clips of shape {rows.shape[1:]}: "
        f"{type(error).__name__}: {str(error).strip() or 'no message'}.",
        "an estimator that takes an array of clips and their classes.",
        f"the estimator by itself, on `numpy.random.rand{rows.shape}`.",
    )


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
