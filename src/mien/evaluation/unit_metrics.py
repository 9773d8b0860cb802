"""Scores of action units: several right answers per clip, each unit scored by itself, then averaged over units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.evaluation.metrics import resamples

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def auc(truth: Bools, scores: Floats) -> float:
    """Compute the area under the ROC curve: how often a true clip scores above another one, ties counting half.

    Args:
        truth: (N,) whether the unit is present.
        scores: (N,) larger for surer; any scale.

    Returns:
        0..1; NaN where all clips are true or none is.

    Example:
        >>> auc(np.array([False, True, True]), np.array([0.2, 0.1, 0.9]))
        0.5
    """
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return float("nan")
    from scipy.stats import rankdata  # half a second, which a run of classes need not wait for

    ranks = rankdata(scores)[truth].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(truth: Bools, scores: Floats) -> float:
    """Compute the mean precision at the rank of each true clip; tied clips share one rank.

    Args:
        truth: (N,) whether the unit is present.
        scores: (N,) larger for surer.

    Returns:
        0..1; NaN where no clip is true.
    """
    if not truth.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits, sorted_scores = np.cumsum(truth[order]), scores[order]
    last = np.append(np.flatnonzero(np.diff(sorted_scores)), len(scores) - 1)
    gained = np.diff(hits[last], prepend=0)
    return float((gained * hits[last] / (last + 1)).sum() / truth.sum())


def f1_of_counts(hits: NDArray[Any], decided: NDArray[Any], true: NDArray[Any]) -> Floats:
    """Compute F1 = 2 TP / (decided + true) from counts of any shape; 0 where both are 0."""
    total = np.asarray(decided + true, np.float64)
    f1: Floats = 2 * hits / np.where(total > 0, total, 1)
    return f1


def unit_scores(
    truth: Bools,
    probabilities: Floats,
    decisions: Bools,
    units: Sequence[str],
    datasets: Sequence[str],
    persons: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    """Compute every score of one set of answers about units, ready for JSON; all pooled over folds.

    A clip without an answer has NaN probabilities: its true units count as missed, and it is left out of AUC and of
    average precision.

    Args:
        truth: (N, U) whether each unit is present.
        probabilities: (N, U) of each unit, 0..1.
        decisions: (N, U) whether each unit is said to be present.
        units: Names of the U units.
        datasets: Dataset id of each clip.
        persons: (dataset, subject) of each clip.

    Returns:
        n_clips, n_subjects, n_unanswered, mean_auc, mean_average_precision, mean_f1 (over the units that have true
        clips; `units_scored` counts them), always_yes_f1 and always_no_f1 (the same mean for one constant answer),
        per_au (`share` is that of the clips with the unit: the average precision of guessing), and per_dataset: the
        same pooled answers restricted to one database.

    Raises:
        MienError: Arrays of different shapes, or no clip.
    """
    shapes = {truth.shape, probabilities.shape, decisions.shape}
    if len(shapes) > 1 or truth.shape != (len(datasets), len(units)) or not len(truth):
        raise MienError(
            f"The arrays have the shapes {', '.join(map(str, sorted(shapes)))} for {len(datasets)} clips and "
            f"{len(units)} units.",
            "(clips, units) each, at least one clip.",
            "one row per clip and one column per unit.",
        )
    of = np.asarray(datasets)
    by_dataset = {
        name: {
            **_scores(truth[of == name], probabilities[of == name], decisions[of == name], units),
            "n_subjects": len({p for p in persons if p[0] == name}),
        }
        for name in sorted(set(datasets))
    }
    whole = _scores(truth, probabilities, decisions, units)
    return {**whole, "n_subjects": len(set(persons)), "per_dataset": by_dataset}


def _scores(truth: Bools, probabilities: Floats, decisions: Bools, units: Sequence[str]) -> dict[str, Any]:
    answered = ~np.isnan(probabilities).any(1)
    per_au: dict[str, dict[str, Any]] = {}
    for place, unit in enumerate(units):
        true, said = truth[:, place], decisions[:, place] & answered
        hits, n_true, n_said = int((true & said).sum()), int(true.sum()), int(said.sum())
        shown, scores = true[answered], probabilities[answered, place]
        per_au[unit] = {
            "support": n_true,
            "share": n_true / len(true),
            "f1": float(f1_of_counts(np.array(hits), np.array(n_said), np.array(n_true))),
            "precision": hits / n_said if n_said else 0.0,
            "recall": hits / n_true if n_true else 0.0,
            "auc": _or_none(auc(shown, scores)),
            "average_precision": _or_none(average_precision(shown, scores)),
            "always_yes_f1": 2 * n_true / (n_true + len(true)) if n_true else 0.0,
        }
    scored = [row for row in per_au.values() if row["support"]]
    return {
        "n_clips": len(truth),
        "n_unanswered": int((~answered).sum()),
        "units_scored": len(scored),
        "mean_auc": _mean(row["auc"] for row in scored),
        "mean_average_precision": _mean(row["average_precision"] for row in scored),
        "mean_f1": _mean(row["f1"] for row in scored),
        "always_yes_f1": _mean(row["always_yes_f1"] for row in scored),
        "always_no_f1": 0.0,
        "per_au": per_au,
    }


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def bootstrap_intervals(
    truth: Bools,
    probabilities: Floats,
    decisions: Bools,
    persons: Sequence[tuple[str, str]],
    n: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float] | None]:
    """Compute percentile intervals of mean AUC and mean F1 when persons, not clips, are drawn anew.

    Units without a true clip are left out; in a sample without a true or without another clip of a unit, that unit
    is left out of the sample's mean AUC.

    Args:
        truth: (N, U) whether each unit is present.
        probabilities: (N, U); clips with NaN are left out of AUC and count as misses in F1.
        decisions: (N, U) whether each unit is said to be present.
        persons: (dataset, subject) of each clip.
        n: Bootstrap samples.
        seed: Seed of the draws.
        level: Coverage, 0..1.

    Returns:
        "mean_auc" and "mean_f1" to (low, high); None where no sample has a score.
    """
    aucs, f1s = draw_scores(truth, probabilities, decisions, persons, n, seed)
    shown = truth.any(0)
    found = {"mean_auc": mean_of_known(aucs[shown]), "mean_f1": np.mean(f1s[shown], axis=0)}
    return {name: quantiles(values, level) for name, values in found.items()}


def unit_intervals(
    truth: Bools,
    probabilities: Floats,
    decisions: Bools,
    units: Sequence[str],
    persons: Sequence[tuple[str, str]],
    n: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, dict[str, tuple[float, float] | None]]:
    """Compute the interval of each unit's AUC and F1 when persons are drawn anew; see `bootstrap_intervals`.

    Returns:
        Unit to "auc" and "f1", each (low, high); None where no sample has both a true and another clip.
    """
    aucs, f1s = draw_scores(truth, probabilities, decisions, persons, n, seed)
    return {
        unit: {"auc": quantiles(aucs[place], level), "f1": quantiles(f1s[place], level)}
        for place, unit in enumerate(units)
    }


def draw_scores(
    truth: Bools,
    probabilities: Floats,
    decisions: Bools,
    persons: Sequence[tuple[str, str]],
    n: int,
    seed: int,
) -> tuple[Floats, Floats]:
    """Return AUC and F1 of each unit, (U, n), in bootstrap samples; equal for equal persons, n and seed."""
    place = {person: k for k, person in enumerate(dict.fromkeys(persons))}
    who = np.array([place[p] for p in persons])
    weights = resamples(len(place), n, seed)[:, who].astype(np.float64)
    answered = ~np.isnan(probabilities).any(1)
    f1s, aucs = [], []
    for unit in range(truth.shape[1]):
        true, said = truth[:, unit], decisions[:, unit] & answered
        f1s.append(f1_of_counts(weights @ (true & said), weights @ said, weights @ true))
        aucs.append(_weighted_aucs(true[answered], probabilities[answered, unit], weights[:, answered]))
    return np.array(aucs), np.array(f1s)


def mean_of_known(values: Floats) -> Floats:
    """Return the mean over the first axis without NaN; NaN where all are."""
    known = ~np.isnan(values)
    found: Floats = np.where(known, values, 0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)
    return found


def quantiles(values: Floats, level: float = 0.95) -> tuple[float, float] | None:
    """Return the (low, high) between which the middle share `level` of some draws lies; None where all are NaN."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _weighted_aucs(truth: Bools, scores: Floats, weights: Floats) -> Floats:
    """Return the AUC of each row of clip weights (n, N); NaN where true or other clips weigh nothing."""
    order = np.argsort(scores, kind="stable")
    true, weights = truth[order], weights[:, order]
    positive, negative = weights * true, weights * ~true
    below = np.cumsum(negative, axis=1) - negative
    # Tied clips count half: each sees the mean of what lies below the first and below the end of its tie.
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf) > 0)
    tie = np.cumsum(np.diff(scores[order], prepend=-np.inf) > 0) - 1
    first = below[:, starts][:, tie]
    tied = np.add.reduceat(negative, starts, axis=1)[:, tie]
    hits = (positive * (first + tied / 2)).sum(1)
    total = positive.sum(1) * negative.sum(1)
    found: Floats = np.where(total > 0, hits / np.where(total > 0, total, 1), np.nan)
    return found
