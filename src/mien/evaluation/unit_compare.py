"""Paired comparison of two runs about action units on the same clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table

from mien.evaluation.ledger import Ledger
from mien.evaluation.report_text import share
from mien.evaluation.unit_metrics import draw_scores, mean_of_known, quantiles, unit_scores
from mien.evaluation.units import unit_arrays

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """One score of run A and of run B on the same clips.

    Attributes:
        a, b: The scores, means over each run's seeds; None where no clip, or every clip, shows the unit.
        difference: A minus B.
        interval: 95 % bootstrap interval of that difference, over subjects, the same drawn for both.
        p: Share of bootstrap samples on the other side of zero, doubled; at most 1.
    """

    a: float | None
    b: float | None
    difference: float | None
    interval: tuple[float, float] | None
    p: float | None


@dataclass(frozen=True, slots=True)
class UnitComparison:
    """The comparison of run A with run B about action units.

    Attributes:
        n_clips: Clips both were tested on.
        mean_auc, mean_f1: Of the means over units.
        per_au: Unit to "auc" and "f1".
    """

    n_clips: int
    mean_auc: Difference
    mean_f1: Difference
    per_au: Mapping[str, Mapping[str, Difference]]


def compare_units(a: Ledger, b: Ledger, *, n: int = 2000, seed: int = 0) -> UnitComparison:
    """Compare two ledgers about the same units of the same clips.

    Args:
        a: Complete ledger of run A.
        b: Complete ledger of run B.
        n: Bootstrap samples.
        seed: Of the draws.

    Returns:
        The comparison; positive differences favour A.
    """
    keys = list(dict.fromkeys(row.key for row in a.rows))
    scores, drawn = zip(*(_scores(ledger, keys, n, seed) for ledger in (a, b)), strict=True)
    shown = np.array([scores[0]["per_au"][unit]["support"] > 0 for unit in a.classes])

    def difference(name: str, place: int | None) -> Difference:
        if place is None:
            values = [each[f"mean_{name}"] for each in scores]
            samples = [mean_of_known(each[name][shown]) for each in drawn]
        else:
            values = [each["per_au"][a.classes[place]][name] for each in scores]
            samples = [each[name][place] for each in drawn]
        return _difference(values, samples[0] - samples[1])

    return UnitComparison(
        len(keys),
        difference("auc", None),
        difference("f1", None),
        {unit: {name: difference(name, place) for name in ("auc", "f1")} for place, unit in enumerate(a.classes)},
    )


def _difference(values: Sequence[float | None], samples: Floats) -> Difference:
    first, second = values
    known = samples[~np.isnan(samples)]
    if first is None or second is None or not len(known):
        return Difference(first, second, None, None, None)
    # One is added to each count: a finite number of draws cannot show a probability of nothing.
    tail = (1 + min(int((known <= 0).sum()), int((known >= 0).sum()))) / (len(known) + 1)
    return Difference(first, second, first - second, quantiles(known), min(1.0, 2 * tail))


def _scores(ledger: Ledger, keys: Sequence[str], n: int, seed: int) -> tuple[dict[str, dict[str, float]], ...]:
    """Return the scores of a run, means over seeds, and those of bootstrap samples: (U, n) each of "auc" and "f1"."""
    found, drawn = [], []
    for one in ledger.seeds:
        rows = {row.key: row for row in ledger.of_seed(one)}
        ordered = [rows[key] for key in keys]
        arrays, persons = unit_arrays(ordered, ledger.classes), [(r.dataset, r.subject) for r in ordered]
        found.append(unit_scores(*arrays, ledger.classes, [r.dataset for r in ordered], persons))
        drawn.append(draw_scores(*arrays, persons, n, seed))
    first = dict(found[0])
    for name in ("mean_auc", "mean_f1"):
        first[name] = None if first[name] is None else float(np.mean([each[name] for each in found]))
    first["per_au"] = {
        unit: {
            **row,
            **{
                key: None if row[key] is None else float(np.mean([each["per_au"][unit][key] for each in found]))
                for key in ("auc", "f1")
            },
        }
        for unit, row in first["per_au"].items()
    }
    auc, f1 = (np.mean([each[k] for each in drawn], axis=0) for k in range(2))
    return first, {"auc": auc, "f1": f1}


def render_unit_comparison(result: UnitComparison, a: str, b: str) -> RenderableType:
    """Return a comparison as tables for the terminal, one of AUC and one of F1."""
    parts: list[RenderableType] = [f"A = {a}   B = {b}   {result.n_clips} clips", ""]
    for key, title, mean in (("auc", "AUC", result.mean_auc), ("f1", "F1", result.mean_f1)):
        table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
        for heading in ("", "A", "B", "A - B", "95 % over subjects"):
            table.add_column(heading, justify="right" if heading else "left")
        table.add_row("mean", *_cells(mean), style="bold")
        for name, row in result.per_au.items():
            table.add_row(name, *_cells(row[key]))
        parts += [table, f"Bootstrap p of the mean: {share(mean.p)}", ""]
    return Group(*parts[:-1])


def _cells(row: Difference) -> tuple[str, ...]:
    if row.difference is None or row.interval is None:
        return share(row.a), share(row.b), "-", "-"
    low, high = row.interval
    return share(row.a), share(row.b), f"{row.difference:+.3f}", f"{low:+.3f} to {high:+.3f}"
