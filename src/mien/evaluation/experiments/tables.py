"""Tables and figures of an experiment: its cells beside what the paper prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mien.errors import MienError
from mien.evaluation.experiments.catalogue import Experiment
from mien.evaluation.experiments.grid import Cell
from mien.evaluation.experiments.leaderboard import render_leaderboard
from mien.evaluation.leaking import Leak, render_leaks
from mien.evaluation.protocols import PROTOCOLS

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Group
    from rich.table import Table

KEYS: Final = (
    "accuracy", "f1_micro", "f1_weighted", "uf1", "uar", "majority_accuracy", "majority_uf1", "n_clips", "n_subjects",
    "seed",
)  # fmt: skip

NAME_WIDTH: Final = 28

AVERAGING: Final = "Counts are pooled over folds; F1 is micro F1, UF1 macro F1."

FORMULA: Final = (
    "Ours: counts pooled over folds. F1 is the paper's formula (section IV-B): precision and recall from summed TP, FP "
    "and FN. With one label per clip it equals accuracy, and the paper's tables print an F1 that differs from their "
    "accuracy: they cannot have used it, and do not say what they used. UF1 is macro F1."
)


def as_json(chosen: Experiment, cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the cells of an experiment, ready for JSON."""
    return {
        "experiment": chosen.name,
        "averaging": "counts pooled over folds",
        "cells": [
            {
                "row": cell.row.name,
                "system": cell.row.system,
                "protocol": cell.protocol,
                "data": cell.data,
                "run": str(cell.run),
                "why_not": cell.why,
                "failed": cell.failed,
                "published": None
                if cell.published is None
                else {"accuracy": cell.published[0], "f1": cell.published[1], "not_comparable": cell.unlike},
                **({} if cell.leak is None else {"leaking": cell.leak.as_json()}),
                **({} if cell.result is None else {k: cell.result[k] for k in KEYS}),
                **({} if cell.result is None or "spread" not in cell.result else {"spread": cell.result["spread"]}),
            }
            for cell in cells
        ],
    }


def render(chosen: Experiment, cells: Sequence[Cell]) -> Group:
    """Return a table per protocol and database, ours beside the paper's, for the terminal."""
    from rich.console import Group
    from rich.text import Text

    if chosen.leaking == "best_epoch":
        return render_leaderboard(chosen, cells)
    parts: list[Any] = []
    if chosen.leaking:
        beside = [cell for cell in cells if cell.protocol == chosen.protocols[0]]
        leaks = [(c.row.name, c.data, c.leak if isinstance(c.leak, Leak) else None, c.result) for c in beside]
        parts += render_leaks(chosen.title, leaks)
    protocols = tuple(dict.fromkeys(cell.protocol for cell in cells))
    shown = protocols[1:] if chosen.leaking else protocols
    for protocol in shown:
        of_protocol = [cell for cell in cells if cell.protocol == protocol]
        for data in dict.fromkeys(cell.data for cell in of_protocol):
            title = f"{chosen.title} · {protocol} · {data}"
            parts.append(_table(title, [cell for cell in of_protocol if cell.data == data]))
        warning = PROTOCOLS[protocol].warning
        if warning:
            parts.append(Text(warning, style="yellow"))
    if chosen.leaking:
        parts += [Text(f"{cell.row.name}, {cell.data}: not run, {cell.why}.", "dim") for cell in cells if cell.why]
    parts += [Text(f"* {names}: not comparable. {why}", "dim") for why, names in _unlike(cells).items()]
    if chosen.note:
        parts.append(Text(chosen.note, style="dim"))
    if chosen.leaking:
        parts.append(Text("The paper prints accuracy alone.", "dim"))
    else:
        parts.append(Text(FORMULA if "(STRCN)" in chosen.paper else AVERAGING, "dim"))
    return Group(*parts)


def _unlike(cells: Sequence[Cell]) -> dict[str, str]:
    """Return why figures of the paper cannot be compared with a run, each reason with the names of its rows."""
    names: dict[str, list[str]] = {}
    for cell in cells:
        if cell.unlike:
            names.setdefault(cell.unlike, []).append(cell.row.name)
    return {why: ", ".join(dict.fromkeys(rows)) for why, rows in names.items()}


def _table(title: str, cells: Sequence[Cell]) -> Table:
    """Return the rows of one database under one protocol; what could not be run has its reason below its name."""
    from rich.table import Table
    from rich.text import Text

    seeds = max((len(cell.result.get("per_seed", [0])) for cell in cells if cell.result), default=1)
    table = Table(
        title=Text(title + (f" · mean ± sd of {seeds} seeds" if seeds > 1 else "")),
        title_justify="left", box=None, padding=(0, 1),
    )  # fmt: skip
    table.add_column("", width=NAME_WIDTH, overflow="fold")
    for heading in ("accuracy", "F1", "UF1", "UAR", "[dim]paper\nacc", "[dim]\nF1"):
        table.add_column(heading, justify="right", no_wrap=True)
    for cell in cells:
        name = Text(cell.row.name)
        if cell.why:
            name.append(f"\n{'failed' if cell.failed else 'not run'}: {cell.why}", "red" if cell.failed else "yellow")
        mark = "*" if cell.unlike else ""
        theirs = [Text("-" if v is None else f"{v:.3f}{mark}", "dim") for v in cell.published or (None, None)]
        table.add_row(name, *(_score(cell, key) for key in ("accuracy", "f1_micro", "uf1", "uar")), *theirs)
    known = next((cell.result for cell in cells if cell.result), None)
    if known:
        constant = (f"{known['majority_accuracy']:.3f}", "", f"{known['majority_uf1']:.3f}", "", "", "")
        table.add_row(Text("most frequent class", "dim"), *(Text(value, "dim") for value in constant))
    return table


def _score(cell: Cell, key: str) -> str:
    """Return a score, with its standard deviation over seeds below it where there are several."""
    if cell.result is None:
        return "-"
    spread = cell.result.get("spread", {}).get(key)
    return f"{cell.result[key]:.3f}" + (f"\n±{spread['sd']:.3f}" if spread else "")


def figure(chosen: Experiment, cells: Sequence[Cell]) -> Figure:
    """Draw accuracy (and UF1, dashed) along the axis of a figure, one panel per protocol.

    Raises:
        MienError: The experiment is a table.
    """
    from matplotlib.figure import Figure as NewFigure

    if not chosen.axis:
        raise MienError(f"{chosen.name} is a table.", "an experiment with an axis.", "`mien experiments`.")
    done = [cell for cell in cells if cell.result is not None and cell.row.x is not None]
    protocols = tuple(dict.fromkeys(cell.protocol for cell in cells))
    canvas = NewFigure(figsize=(4.2 * len(protocols), 3.2), dpi=144, layout="constrained")
    colours = ("#2563eb", "#d64832", "#0f8a6b", "#8b5cf6", "#b7791f", "#475569")
    for axes, protocol in zip(np.atleast_1d(canvas.subplots(1, len(protocols), sharey=True)), protocols, strict=True):
        lines: dict[tuple[str, str], list[Cell]] = {}
        for cell in done:
            if cell.protocol == protocol:
                lines.setdefault((cell.row.curve or cell.row.system, cell.data), []).append(cell)
        for (curve, data), line in lines.items():
            colour = colours[list(lines).index((curve, data)) % len(colours)]
            x = [cell.row.x for cell in line]
            for key, style in (("accuracy", "-o"), ("uf1", "--")):
                y = [cell.result[key] for cell in line if cell.result is not None]
                label = f"{curve} · {data}" if key == "accuracy" else None
                axes.plot(x, y, style, color=colour, lw=1.4, ms=3.5, label=label)
                spread = [c.result["spread"][key]["sd"] for c in line if c.result is not None and "spread" in c.result]
                if len(spread) == len(y):
                    axes.fill_between(x, np.subtract(y, spread), np.add(y, spread), color=colour, alpha=0.12, lw=0)
            first = line[0].result
            if first is not None:
                axes.axhline(first["majority_accuracy"], color=colour, lw=0.8, ls=":")
        axes.set_title(f"{protocol}: accuracy, UF1 dashed, majority dotted", fontsize=8, loc="left")
        axes.set_xlabel(chosen.axis, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.set_ylim(0, 1)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        if lines:
            axes.legend(fontsize=6.5, frameon=False)
    return canvas
