"""Inner folds by subject, on which `fit` chooses settings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Folds = list[tuple[NDArray[np.int64], NDArray[np.int64]]]
"""Places of the training and of the test clips of each fold."""


def few_clips(groups: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Return the places of the clips of some subjects, at least two, drawn at random; of all if these are few enough.

    Args:
        groups: (N,) subjects, numbered from 0.
        most: Most clips.
        seed: Of the draw.

    Returns:
        At most `most` places, ascending.

    Example:
        >>> import numpy as np
        >>> from mien.classifiers.inner_folds import few_clips
        >>> few_clips(np.array([0, 0, 1, 1, 1]), 5, 0).tolist()
        [0, 1, 2, 3, 4]
    """
    if len(groups) <= most:
        return np.arange(len(groups))
    random = np.random.default_rng(seed)
    order = random.permutation(groups.max() + 1)
    enough = max(2, int(np.searchsorted(np.cumsum(np.bincount(groups)[order]), most, "right")))
    found = np.flatnonzero(np.isin(groups, order[:enough]))
    return found if len(found) <= most else np.sort(random.choice(found, most, replace=False))


def inner_folds(y: NDArray[np.int64], groups: NDArray[np.int64], n_folds: int, seed: int) -> Folds:
    """Return inner folds by subject with at least two training classes; [] if there are too few subjects.

    Args:
        y: (N,) classes of the training clips.
        groups: (N,) their subjects, numbered from 0.
        n_folds: Folds, where there are as many subjects.
        seed: Orders the subjects.
    """
    n = min(n_folds, len(np.unique(groups)))
    if n < 2:
        return []
    from sklearn.model_selection import StratifiedGroupKFold  # a second, which networks without inner folds do not need

    # One random order of subjects; scikit-learn warns when a class is rarer than the folds, which is common here.
    random = np.random.default_rng(seed).permutation(groups.max() + 1)
    splitter = StratifiedGroupKFold(n) if np.bincount(y)[np.unique(y)].min() >= n else None
    order = random[groups]
    if splitter is None:
        parts = [np.flatnonzero(order % n == k) for k in range(n)]
        folds = [(np.setdiff1d(np.arange(len(y)), part), part) for part in parts if len(part)]
    else:
        folds = list(splitter.split(np.zeros(len(y)), y, order))
    return [(train, test) for train, test in folds if len(np.unique(y[train])) > 1]
