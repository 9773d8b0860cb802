"""The report on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

COLOURS = {"yes": "green", "partly": "yellow", "no": "red"}


def render_report(result: Mapping[str, Any]) -> Group:
    """Return a report as tables for the terminal.

    Args:
        result: What `mien.evaluation.report.report` gives.
    """
    parts: list[RenderableType] = []
    if result["warnings"]:
        lines = Text("\n".join(result["warnings"]))
        parts.append(Panel(lines, title="Read this first", border_style="yellow", title_align="left"))
    parts += [_headline(result), _per_class(result)]
    if len(result["per_dataset"]) > 1:
        parts.append(_per_dataset(result))
    parts.append(_confusion(result))
    if result["published"]:
        parts.append(_published(result))
    return Group(*(item for part in parts for item in (part, Text())))


def share(value: float | None) -> str:
    """Return a score with three decimals; a dash for None."""
    return "-" if value is None else f"{value:.3f}"


def plain_table(title: str, columns: Sequence[str], left: int = 1) -> Table:
    """Return a plain table; the first `left` columns are text, the others numbers."""
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for place, heading in enumerate(columns):
        table.add_column(Text(heading), justify="left" if place < left else "right", overflow="fold")
    return table


def _headline(result: Mapping[str, Any]) -> Table:
    seeds = f", mean ± sd of {len(result['per_seed'])} seeds" if "per_seed" in result else ""
    low, high = result["uf1_interval"]
    uf1 = share(result["uf1"]) + (f" ± {result['spread']['uf1']['sd']:.3f}" if "spread" in result else "")
    table = plain_table(
        f"Scores, {result['averaging']}{seeds}",
        ("system", "protocol", "clips", "subjects", "UF1", "UAR", "accuracy", "majority"),
        left=2,
    )
    table.padding = (0, 1, 0, 0)
    table.columns[-1].style = "dim"
    table.add_row(
        Text.assemble((result["system"], "bold"), f", {preset}" if (preset := result["preset"]) else ""),
        Text(result["protocol"]),
        str(result["n_clips"]),
        str(result["n_subjects"]),
        Text.assemble((uf1, "bold"), f"\n{low:.3f} to {high:.3f}"),
        share(result["uar"]),
        share(result["accuracy"]),
        share(result["majority_accuracy"]),
    )
    where = ", ".join(f"{count} {kind}" for kind, count in result["interval_source"].items())
    dropped = ", ".join(f"{n} ({reason})" for reason, n in result.get("left_out", {}).items())
    folded = result["f1_fold_mean"]
    table.caption = Text(
        "Below UF1: the 95 % interval of a bootstrap over subjects. "
        f"Classes {result['label_map']}: {', '.join(result['classes'])}. Onset and apex: {where}. "
        f"{f'Clips left out: {dropped}. ' if dropped else ''}"
        + ("" if folded is None else f"F1 averaged over folds, a different number: {share(folded)}."),
        "dim",
    )
    table.caption_justify = "left"
    return table


def _per_class(result: Mapping[str, Any]) -> Table:
    table = plain_table("By class", ("class", "clips", "precision", "recall", "F1"))
    for name, entry in result["per_class"].items():
        cells = [share(entry[key]) for key in ("precision", "recall", "f1")]
        table.add_row(Text(name), str(entry["support"]), *cells)
    return table


def _per_dataset(result: Mapping[str, Any]) -> Table:
    table = plain_table(
        "By database (trained on all of them)",
        ("database", "clips", "subjects", "UF1", "UAR", "accuracy", "majority"),
    )
    for name, entry in result["per_dataset"].items():
        cells = [share(entry[key]) for key in ("uf1", "uar", "accuracy", "majority_accuracy")]
        table.add_row(Text(name), str(entry["n_clips"]), str(entry["n_subjects"]), *cells)
    return table


def _confusion(result: Mapping[str, Any]) -> Table:
    summed = ", summed over seeds" if "per_seed" in result else ""
    missing = no_answers(result)
    columns = ("", *result["classes"], *(("no answer",) if any(missing) else ()))
    table = plain_table(f"Confusion: rows truth, columns answers{summed}", columns)
    for place, (name, row) in enumerate(zip(result["classes"], result["confusion"], strict=True)):
        cells = [Text(str(count), "bold" if column == place else "") for column, count in enumerate(row)]
        table.add_row(Text(name), *cells, *((Text(str(missing[place]), "dim"),) if any(missing) else ()))
    return table


def no_answers(result: Mapping[str, Any]) -> list[int]:
    """Return the clips of each class that could not be prepared, summed over seeds."""
    return [entry["unanswered"] for entry in result["per_class"].values()]


def _published(result: Mapping[str, Any]) -> Table:
    """Return the published rows for all databases together; those per database are in the JSON and on the page."""
    table = plain_table("Published scores", ("", "UF1", "UAR", "accuracy", "comparable"))
    table.columns[-1].justify = "left"
    table.add_row(
        Text("this run", "bold"), *(Text(share(result[key]), "bold") for key in ("uf1", "uar", "accuracy")), ""
    )
    for row in result["published"]:
        if row["column"] != "all":
            continue
        uar = share(row["uar"]) + ("*" if row["uar_true"] is not None else "")
        verdict = Text(row["comparable"], COLOURS[row["comparable"]])
        name = Text(row["method"], "bold" if row["same_system"] else "")
        table.add_row(name, share(row["uf1"]), uar, share(row["accuracy"]), verdict)
    notes = "Why, for each row: the page that --html writes."
    if any(row["uar_true"] is not None and row["column"] == "all" for row in result["published"]):
        notes = "* printed as UAR, but macro precision. " + notes
    table.caption, table.caption_justify = Text(notes, "dim"), "left"
    return table
