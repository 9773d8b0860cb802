"""The report of a run about action units, computed from its ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from statistics import fmean, stdev
from tomllib import loads
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from mien.evaluation.ledger import Ledger, Row
from mien.evaluation.metrics import accuracy, confusion, majority, per_class, uar, uf1
from mien.evaluation.report_text import plain_table, share
from mien.evaluation.unit_metrics import bootstrap_intervals, unit_intervals, unit_scores
from mien.evaluation.units import unit_arrays

SPREAD: Final = ("mean_auc", "mean_average_precision", "mean_f1")
OBJECTIVE: Final = ("I", "II", "III", "IV", "V", "VI", "VII")


def unit_results(ledger: Ledger) -> dict[str, Any]:
    """Compute the scores of a run about action units; means over its seeds where there are several.

    Returns:
        The keys of `mien.evaluation.unit_metrics.unit_scores`, `intervals` of the means and `auc_interval` and
        `f1_interval` of each unit (95 %, bootstrap over subjects, of the first seed), `objective` (see
        `objective_scores`), and with several seeds `per_seed` and `spread`.
    """
    per_seed = [{"seed": seed, **_scores(ledger, ledger.of_seed(seed))} for seed in ledger.seeds]
    rows = ledger.of_seed(ledger.seeds[0])
    arrays, persons = unit_arrays(rows, ledger.classes), [(r.dataset, r.subject) for r in rows]
    result: dict[str, Any] = _mean([{k: v for k, v in entry.items() if k != "seed"} for entry in per_seed])
    result["intervals"] = {k: _as_list(v) for k, v in bootstrap_intervals(*arrays, persons).items()}
    of = np.array([row.dataset for row in rows])
    for part, chosen in [(result, of != ""), *((part, of == name) for name, part in result["per_dataset"].items())]:
        kept = arrays[0][chosen], arrays[1][chosen], arrays[2][chosen]
        who = [person for person, there in zip(persons, chosen, strict=True) if there]
        found = unit_intervals(*kept, ledger.classes, who)
        for unit, intervals in found.items():
            part["per_au"][unit] |= {f"{name}_interval": _as_list(interval) for name, interval in intervals.items()}
    result["objective"] = objective_scores(rows, ledger.classes)
    if len(per_seed) > 1:
        result["per_seed"] = per_seed
        result["spread"] = {
            name: {"sd": stdev(values), "min": min(values), "max": max(values)}
            for name in SPREAD
            if len(values := [entry[name] for entry in per_seed if entry[name] is not None]) > 1
        }
    return result


def unit_summary(ledger: Ledger) -> dict[str, Any]:
    """Compute the mean scores of `unit_results` and the interval of the AUC, without those of each unit."""
    per_seed = [_scores(ledger, ledger.of_seed(seed)) for seed in ledger.seeds]
    rows = ledger.of_seed(ledger.seeds[0])
    found = bootstrap_intervals(*unit_arrays(rows, ledger.classes), [(r.dataset, r.subject) for r in rows])
    mean = _mean([{name: entry[name] for name in SPREAD} for entry in per_seed])
    return {**mean, "intervals": {name: _as_list(interval) for name, interval in found.items()}}


def _as_list(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)  # as JSON gives it back


def _mean(entries: Sequence[Any]) -> Any:
    """Return the mean of each score over seeds; counts stay whole where all agree."""
    first = entries[0]
    if isinstance(first, dict):
        return {key: _mean([entry[key] for entry in entries if key in entry]) for key in first}
    known = [entry for entry in entries if entry is not None]
    return known[0] if known and all(each == known[0] for each in known) else fmean(known) if known else None


def _scores(ledger: Ledger, rows: Sequence[Row]) -> dict[str, Any]:
    return unit_scores(
        *unit_arrays(rows, ledger.classes),
        ledger.classes,
        [row.dataset for row in rows],
        [(row.dataset, row.subject) for row in rows],
    )


@cache
def _objective_classes() -> Mapping[frozenset[int], str]:
    table = loads((files("mien.synthesis") / "tables" / "objective.toml").read_text(encoding="utf-8"))
    return {frozenset(map(int, units.split("+"))): name for name, listed in table.items() for units in listed}


def objective_class(units: Sequence[int]) -> str:
    """Return the objective class, I to VII, of the action units of a clip; VII for units in no other list.

    Source: Davison, Merghani and Yap, Journal of Imaging 4(10), 2018, table 2.

    Example:
        >>> objective_class([12]), objective_class([4, 7]), objective_class([4, 12])
        ('I', 'III', 'VII')
    """
    return _objective_classes().get(frozenset(units), "VII")


def objective_scores(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Any]:
    """Score the objective classes that follow from predicted units, against those that follow from the true ones.

    Both see only the units of the label map, so the true class can differ from the one of a database's own sheet.

    Returns:
        n_clips, uf1, uar and accuracy pooled over folds, majority_accuracy and majority_uf1 (of always answering the
        most frequent class), and per_class: UF1's parts, with the clips of each class.
    """
    truth, _, decisions = unit_arrays(rows, names)
    numbers = [int(name.removeprefix("AU")) for name in names]
    y_true, y_pred = (_objective_labels(each, numbers) for each in (truth, decisions))
    counts = confusion(y_true, y_pred, len(OBJECTIVE))
    constant = majority(y_true, len(OBJECTIVE))
    return {
        "n_clips": len(rows),
        "uf1": uf1(y_true, y_pred, len(OBJECTIVE)),
        "uar": uar(y_true, y_pred, len(OBJECTIVE)),
        "accuracy": accuracy(y_true, y_pred),
        "majority_accuracy": constant[0],
        "majority_uf1": constant[1],
        "per_class": per_class(counts, OBJECTIVE),
    }


def _objective_labels(present: NDArray[np.bool_], numbers: Sequence[int]) -> NDArray[np.int64]:
    classes = [objective_class([n for n, there in zip(numbers, row, strict=True) if there]) for row in present]
    return np.array([OBJECTIVE.index(name) for name in classes], np.int64)


def interval_text(interval: Sequence[float] | None) -> str:
    """Return an interval in words, a dash for None.

    Example:
        >>> interval_text((0.5, 0.61234))
        '0.500 to 0.612'
    """
    return "-" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def render_unit_report(result: Mapping[str, Any]) -> Group:
    """Return the report of a run about action units as tables for the terminal."""
    parts: list[RenderableType] = []
    if result["warnings"]:
        parts.append(
            Panel(
                Text("\n".join(result["warnings"])),
                title="Read this first",
                border_style="yellow",
                title_align="left",
            )
        )
    spread = result.get("spread", {})
    seeds = f", mean ± sd of {len(result['per_seed'])} seeds" if "per_seed" in result else ""
    head = plain_table(
        f"Action units, {result['averaging']}, mean over {result['units_scored']} units{seeds}",
        ("system", "protocol", "clips", "subjects", "AUC", "F1", "always yes"),
        left=2,
    )
    head.padding = (0, 1, 0, 0)
    for place in (4, 5):  # scores with their intervals; names may take two lines
        head.columns[place].no_wrap = True
    cells = []
    for name in ("mean_auc", "mean_f1"):
        value = share(result[name]) + (f" ± {spread[name]['sd']:.3f}" if name in spread else "")
        between = interval_text(result["intervals"][name]).replace(" to ", "-")
        cells.append(Text.assemble((value, "bold"), f"\n{between}"))
    head.add_row(
        Text(result["system"], "bold"), Text(result["protocol"]), str(result["n_clips"]), str(result["n_subjects"]),
        *cells, share(result["always_yes_f1"]),
    )  # fmt: skip
    objective = result["objective"]
    head.caption = Text(
        'Below AUC and F1: the 95 % interval of a bootstrap over subjects. AUC of guessing is 0.500; "always yes" is '
        "the F1 of that one answer, of always no it is 0. Objective classes I to VII from predicted units: "
        f"UF1 {objective['uf1']:.3f}, accuracy {objective['accuracy']:.3f} (majority "
        f"{objective['majority_accuracy']:.3f}).",
        "dim",
    )
    head.caption_justify = "left"
    parts.append(head)
    table = plain_table(
        "By unit", ("unit", "clips", "AUC", "95 %", "average precision", "precision", "recall", "F1", "always yes")
    )
    table.padding = (0, 1, 0, 0)
    for name, row in result["per_au"].items():
        keys = ("average_precision", "precision", "recall", "f1", "always_yes_f1")
        interval = Text(interval_text(row["auc_interval"]), "dim")
        table.add_row(Text(name), str(row["support"]), share(row["auc"]), interval, *(share(row[key]) for key in keys))
    parts.append(table)
    if len(result["per_dataset"]) > 1:
        table = plain_table("By database", ("database", "clips", "subjects", "AUC", "F1", "always yes"))
        for name, row in result["per_dataset"].items():
            scores = ("mean_auc", "mean_f1", "always_yes_f1")
            table.add_row(Text(name), str(row["n_clips"]), str(row["n_subjects"]), *(share(row[key]) for key in scores))
        parts.append(table)
    return Group(*(item for part in parts for item in (part, Text())))
