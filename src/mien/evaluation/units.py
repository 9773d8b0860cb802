"""Runs about action units: how a ledger spells several units of one clip, and what such a run needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.types import Fold, Sample

UNITS_TASK: Final = "units"
"""`task` in the settings of a run about action units."""

NO_UNIT: Final = "none"
"""True or predicted label of a clip without any of the units; no answer is ""."""

FEWEST_CLIPS: Final = 2
"""Clips that must show some unit, for anything to be learned and tested."""


def units_as_text(present: Sequence[bool] | NDArray[np.bool_], names: Sequence[str]) -> str:
    """Return the units of a clip as one label.

    Example:
        >>> units_as_text([True, False, True], ["AU1", "AU2", "AU4"])
        'AU1+AU4'
        >>> units_as_text([False, False, False], ["AU1", "AU2", "AU4"])
        'none'
    """
    return "+".join(name for name, there in zip(names, present, strict=True) if there) or NO_UNIT


def units_from_text(text: str, names: Sequence[str]) -> NDArray[np.bool_]:
    """Return which units a label names.

    Raises:
        ValueError: It names one that is not among `names`, or not in their order.
    """
    listed = [] if text == NO_UNIT else text.split("+")
    present = np.array([name in listed for name in names])
    if units_as_text(present, names) != text:
        raise ValueError(f"units {text!r}; there are {', '.join(names)}")
    return present


def unit_answer_problem(y_pred: str, probabilities: Sequence[float], names: Sequence[str]) -> str:
    """Return what is wrong with the answer about one clip; "" where nothing is."""
    if len(probabilities) != len(names):
        return f"has {len(probabilities)} probabilities for {len(names)} units"
    if not all(0 <= p <= 1 for p in probabilities):
        return "has a probability outside 0..1"
    try:
        units_from_text(y_pred, names)
    except ValueError as error:
        return f"predicts {error}"
    return ""


def require_units(table: Sequence[Sample], names: Sequence[str], label_map: str) -> None:
    """Refuse clips from which no unit could be learned and tested.

    Raises:
        MienError: No clip has coded units, or no unit is shown by two clips.
    """
    counts = np.array([s.units for s in table], int).reshape(len(table), -1).sum(0) if table else np.zeros(len(names))
    if counts.max(initial=0) < FEWEST_CLIPS:
        found = f"{len(table)} clip(s) with coded action units" if table else "no clip with coded action units"
        raise MienError(
            f"Under the label map {label_map!r} there is {found}, and no unit is shown by {FEWEST_CLIPS} of them.",
            f"clips that show one of {', '.join(names)}.",
            "for ready flow pictures, `--label-sheet casme2=FILE --label-sheet samm=FILE`; else a database whose sheet "
            "codes action units (`mien datasets NAME`).",
        )


def lacking_units(table: Sequence[Sample], folds: Sequence[Fold], names: Sequence[str]) -> dict[str, list[str]]:
    """Return the folds none of whose training clips shows some unit that other clips show, with these units."""
    shown = np.array([s.units for s in table], bool)
    found: dict[str, list[str]] = {}
    for fold in folds:
        missing = shown.any(0) & ~shown[list(fold.train)].any(0)
        if missing.any():
            found[fold.name] = [names[place] for place in np.flatnonzero(missing).tolist()]
    return found


def unit_arrays(
    rows: Sequence[Any], names: Sequence[str]
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]]:
    """Return (truth, probabilities, decisions), each (N, U), of ledger rows; NaN probabilities for no answer."""
    truth = np.array([units_from_text(row.y_true, names) for row in rows])
    nothing = (np.nan,) * len(names)
    probabilities = np.array([row.probabilities or nothing for row in rows], np.float64)
    none = np.zeros(len(names), bool)
    decisions = np.array([units_from_text(row.y_pred, names) if row.y_pred else none for row in rows])
    return truth, probabilities, decisions
