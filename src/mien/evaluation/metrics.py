"""Scores of predictions, as the field defines them, computed from class indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError

Labels = NDArray[np.integer[Any]]

NO_ANSWER: Final = -1
"""Predicted class of a clip that got no answer: never right, and no class is charged with it as a false positive."""


def confusion(y_true: Labels, y_pred: Labels, n_classes: int) -> NDArray[np.int64]:
    """Count predictions in a confusion matrix (n_classes, n_classes): rows are true classes, columns predicted ones.

    Args:
        y_true: (N,) true class indices.
        y_pred: (N,) predicted class indices.
        n_classes: Number of classes of the label map.

    Raises:
        MienError: Different lengths, or a class index outside 0..n_classes-1.
    """
    truth, answer = np.asarray(y_true, dtype=np.int64), np.asarray(y_pred, dtype=np.int64)
    if truth.shape != answer.shape or truth.ndim != 1:
        raise MienError(
            f"y_true has the shape {truth.shape}, y_pred {answer.shape}.",
            "two lists of equal length.",
            "one prediction per clip.",
        )
    # An index too large would be counted in another cell, not refused.
    seen = np.concatenate([truth, answer])
    if seen.size and (seen.min() < 0 or seen.max() >= n_classes):
        raise MienError(
            f"Class indices run from {seen.min()} to {seen.max()}.",
            f"0 to {n_classes - 1}.",
            "the number of classes of the label map as n_classes.",
        )
    pairs = truth * n_classes + answer
    return np.bincount(pairs, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def tally(y_true: Labels, y_pred: Labels, n_classes: int) -> NDArray[np.int64]:
    """Count predictions (n_classes, n_classes + 1): as `confusion`, with clips without an answer in the last column.

    Every score below takes either kind of counts.

    Args:
        y_true: (N,) true class indices.
        y_pred: (N,) predicted class indices; `NO_ANSWER` where there is none.
        n_classes: Number of classes of the label map.

    Raises:
        MienError: As `confusion`.
    """
    truth, answer = np.asarray(y_true, dtype=np.int64), np.asarray(y_pred, dtype=np.int64)
    if truth.shape != answer.shape:
        return confusion(truth, answer, n_classes)  # which says so
    known = answer != NO_ANSWER
    counts = np.zeros((n_classes, n_classes + 1), np.int64)
    counts[:, :n_classes] = confusion(truth[known], answer[known], n_classes)
    silent = truth[~known]
    counts[:, n_classes] = confusion(silent, silent, n_classes).sum(1)
    return counts


def _parts(counts: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return (true positives, truths, predictions) per class of counts (..., C, C) or (..., C, C + 1)."""
    table = np.asarray(counts, dtype=np.float64)
    return np.diagonal(table, axis1=-2, axis2=-1), table.sum(-1), table.sum(-2)[..., : table.shape[-2]]


def _mean_where(values: NDArray[np.float64], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    n = counted.sum(-1)
    return np.asarray(np.where(counted, values, 0.0).sum(-1) / np.where(n > 0, n, 1))


def f1_per_class(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Compute F1 of each class, 2 TP / (2 TP + FP + FN), from counts (..., C, C); 0 for a class that does not occur."""
    hit, truths, predictions = _parts(counts)
    total = truths + predictions
    return 2 * hit / np.where(total > 0, total, 1)


def uf1_of(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Compute unweighted F1 (UF1) of counts (..., C, C): the mean F1 of the classes that occur.

    Source: MEGC 2019; TP, FP and FN are pooled over all folds before F1 is taken. A class that neither truth nor
    prediction holds is left out, as scikit-learn does; it matters only for parts of the data.
    """
    _, truths, predictions = _parts(counts)
    return _mean_where(f1_per_class(counts), truths + predictions > 0)


def uar_of(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Compute unweighted average recall (UAR) of counts (..., C, C): mean of TP / N over the true classes."""
    hit, truths, _ = _parts(counts)
    return _mean_where(hit / np.where(truths > 0, truths, 1), truths > 0)


def accuracy_of(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the share of right predictions of counts (..., C, C)."""
    hit, truths, _ = _parts(counts)
    n = truths.sum(-1)
    return np.asarray(hit.sum(-1) / np.where(n > 0, n, 1))


def macro_precision_of(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the mean precision of the predicted classes; the STSTNet paper prints it as "UAR"."""
    hit, _, predictions = _parts(counts)
    return _mean_where(hit / np.where(predictions > 0, predictions, 1), predictions > 0)


def f1_micro_of(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Compute F1 from true positives, false positives and false negatives summed over the classes (micro F1).

    Equal to accuracy where every clip has an answer. Source: STRCN (Xia et al. 2020), section IV-B.
    """
    hit, truths, predictions = _parts(counts)
    total = truths.sum(-1) + predictions.sum(-1)
    return np.asarray(2 * hit.sum(-1) / np.where(total > 0, total, 1))


METRICS = {"uf1": uf1_of, "uar": uar_of, "accuracy": accuracy_of}


def uf1(y_true: Labels, y_pred: Labels, n_classes: int) -> float:
    """Compute unweighted F1 from counts pooled over all predictions; see `uf1_of`."""
    return float(uf1_of(tally(y_true, y_pred, n_classes)))


def uar(y_true: Labels, y_pred: Labels, n_classes: int) -> float:
    """Compute the mean recall of the true classes."""
    return float(uar_of(tally(y_true, y_pred, n_classes)))


def accuracy(y_true: Labels, y_pred: Labels) -> float:
    """Compute the share of right predictions."""
    return float(np.mean(np.asarray(y_true) == np.asarray(y_pred)))


def f1_weighted(y_true: Labels, y_pred: Labels, n_classes: int) -> float:
    """Compute the mean F1 of the classes, weighted by how often each is true."""
    counts = tally(y_true, y_pred, n_classes)
    return float((f1_per_class(counts) * counts.sum(1)).sum() / counts.sum())


def f1_fold_mean(y_true: Labels, y_pred: Labels, folds: Sequence[str], n_classes: int) -> float:
    """Compute the mean over folds of the macro F1 of each fold; some papers call it F1.

    Not comparable with pooled UF1: most subjects have a handful of clips, often of one class.
    """
    per_fold = []
    names = np.asarray(folds)
    for fold in dict.fromkeys(folds):
        inside = names == fold
        per_fold.append(uf1(np.asarray(y_true)[inside], np.asarray(y_pred)[inside], n_classes))
    return float(np.mean(per_fold))


def majority(y_true: Labels, n_classes: int) -> tuple[float, float]:
    """Return (accuracy, UF1) of always predicting the most frequent class."""
    counts = np.bincount(np.asarray(y_true), minlength=n_classes)
    answer = np.full(len(y_true), int(counts.argmax()))
    return accuracy(y_true, answer), uf1(y_true, answer, n_classes)


def per_class(counts: NDArray[Any], classes: Sequence[str]) -> dict[str, dict[str, float | int]]:
    """Return precision, recall, F1, support and unanswered clips of each class, from counts (C, C) or (C, C + 1)."""
    hit, truths, predictions = _parts(counts)
    f1 = f1_per_class(counts)
    return {
        name: {
            "precision": float(hit[c] / predictions[c]) if predictions[c] else 0.0,
            "recall": float(hit[c] / truths[c]) if truths[c] else 0.0,
            "f1": float(f1[c]),
            "support": int(truths[c]),
            "unanswered": int(np.asarray(counts)[c, len(classes) :].sum()),
        }
        for c, name in enumerate(classes)
    }


def scores(
    y_true: Labels,
    y_pred: Labels,
    folds: Sequence[str],
    classes: Sequence[str],
    datasets: Sequence[str],
    persons: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    """Compute all scores of one set of predictions, ready for JSON; all but `f1_fold_mean` are pooled over folds.

    Args:
        y_true: (N,) true class indices.
        y_pred: (N,) predicted class indices; `NO_ANSWER` counts as wrong.
        folds: Fold name of each prediction.
        classes: Class names, by index.
        datasets: Dataset id of each prediction.
        persons: (dataset, subject) of each prediction.

    Returns:
        n_clips, n_subjects, accuracy, uf1, uar, f1_micro, f1_weighted, f1_fold_mean, macro_precision,
        majority_accuracy, majority_uf1, confusion (rows are true classes; answers only), per_class, and per_dataset:
        the same pooled predictions restricted to one database, which is not the score of training on it alone.

    Raises:
        MienError: No prediction at all, or lists of different lengths.
    """
    lengths = {len(y_true), len(y_pred), len(folds), len(datasets), len(persons)}
    if lengths == {0} or len(lengths) > 1:
        raise MienError(
            f"The lists hold {' and '.join(map(str, sorted(lengths)))} predictions.",
            "lists of one length, at least 1.",
            "the rows of one seed of a ledger.",
        )
    y_true, y_pred, n = np.asarray(y_true), np.asarray(y_pred), len(classes)
    counts = tally(y_true, y_pred, n)
    majority_accuracy, majority_uf1 = majority(y_true, n)
    of = np.asarray(datasets)
    by_dataset = {}
    for name in sorted(set(datasets)):
        inside = of == name
        part = tally(y_true[inside], y_pred[inside], n)
        by_dataset[name] = {
            "n_clips": int(inside.sum()),
            "n_subjects": len({p for p in persons if p[0] == name}),
            "accuracy": float(accuracy_of(part)),
            "uf1": float(uf1_of(part)),
            "uar": float(uar_of(part)),
            "majority_accuracy": majority(y_true[inside], n)[0],
            "confusion": part[:, :n].tolist(),
        }
    return {
        "n_clips": len(y_true),
        "n_subjects": len(set(persons)),
        "accuracy": float(accuracy_of(counts)),
        "uf1": float(uf1_of(counts)),
        "uar": float(uar_of(counts)),
        "f1_micro": float(f1_micro_of(counts)),
        "f1_weighted": f1_weighted(y_true, y_pred, n),
        "f1_fold_mean": f1_fold_mean(y_true, y_pred, folds, n),
        "macro_precision": float(macro_precision_of(counts)),
        "majority_accuracy": majority_accuracy,
        "majority_uf1": majority_uf1,
        "confusion": counts[:, :n].tolist(),
        "per_class": per_class(counts, classes),
        "per_dataset": by_dataset,
    }


def counts_by_person(
    y_true: Labels, y_pred: Labels, persons: Sequence[tuple[str, str]], n_classes: int
) -> NDArray[np.int64]:
    """Count the predictions of each person, (P, C, C + 1), in order of appearance; the last column is unanswered."""
    place = {person: k for k, person in enumerate(dict.fromkeys(persons))}
    out = np.zeros((len(place), n_classes, n_classes + 1), dtype=np.int64)
    # The index of `NO_ANSWER` is that of the last column.
    np.add.at(out, (np.array([place[p] for p in persons]), np.asarray(y_true), np.asarray(y_pred)), 1)
    return out


def resamples(n_persons: int, n: int, seed: int) -> NDArray[np.int64]:
    """Return how often each person occurs in each of `n` bootstrap samples, (n, n_persons)."""
    random = np.random.default_rng(seed)
    return random.multinomial(n_persons, np.full(n_persons, 1 / n_persons), size=n)


def bootstrap_interval(
    y_true: Labels,
    y_pred: Labels,
    persons: Sequence[tuple[str, str]],
    metric: str = "uf1",
    n: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Compute the percentile bootstrap interval of a score over persons: clips of one person stay together.

    Args:
        y_true: (N,) true class indices.
        y_pred: (N,) predicted class indices.
        persons: (dataset, subject) of each prediction.
        metric: "uf1", "uar" or "accuracy".
        n: Bootstrap samples.
        seed: Of the draws.
        level: Coverage, 0..1.

    Returns:
        (low, high).

    Raises:
        MienError: Unknown metric, or a level or number of samples that makes no interval.
    """
    if metric not in METRICS or not 0 < level < 1 or n < 1 or not len(y_true):
        raise MienError(
            f"metric={metric!r}, level={level}, n={n}, {len(y_true)} predictions.",
            f"a metric of {', '.join(METRICS)}, a level between 0 and 1, n and predictions at least 1.",
            'metric="uf1", level=0.95, n=2000.',
        )
    n_classes = int(max(np.max(y_true), np.max(y_pred))) + 1
    table = counts_by_person(y_true, y_pred, persons, n_classes)
    # A bootstrap sample's confusion counts are sums of its persons' counts: one matrix product gives all of them.
    drawn = resamples(len(table), n, seed) @ table.reshape(len(table), -1)
    values = METRICS[metric](drawn.reshape(n, *table.shape[1:]))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
