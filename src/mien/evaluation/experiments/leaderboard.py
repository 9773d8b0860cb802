"""The leaderboard for the terminal: claimed beside honest beside leaking, best honest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mien.evaluation.best_epoch import WARNING, BestEpoch
from mien.evaluation.experiments.catalogue import Experiment
from mien.evaluation.experiments.grid import Cell
from mien.evaluation.published.claims import published_rows

if TYPE_CHECKING:
    from rich.console import Group

NAME_WIDTH = 30


def ranked(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells with a result, best UF1 first, then those that were not run, in their order."""
    done = sorted((cell for cell in cells if cell.result is not None), key=lambda cell: -_uf1(cell))
    return [*done, *(cell for cell in cells if cell.result is None)]


def _uf1(cell: Cell) -> float:
    return float(cell.result["uf1"]) if cell.result is not None else 0.0


def render_leaderboard(chosen: Experiment, cells: Sequence[Cell]) -> Group:
    """Return the table of each protocol and database, and what its columns mean."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    for protocol, data in dict.fromkeys((cell.protocol, cell.data) for cell in cells):
        table = Table(title=f"{chosen.title} · {protocol} · {data}", title_justify="left", box=None, padding=(0, 1))
        table.add_column("", width=NAME_WIDTH, overflow="fold")
        for heading in ("[dim]claimed\n[dim]UF1", "honest\nUF1", "\n95 %", "\nUAR", "[yellow]leaking\n[yellow]UF1"):
            table.add_column(heading, justify="right", no_wrap=True)
        here = [cell for cell in cells if (cell.protocol, cell.data) == (protocol, data)]
        for cell in ranked(here):
            table.add_row(Text(cell.row.name), *columns(cell))
            if cell.why:
                state = "failed" if cell.failed else "not run"
                table.add_row(Text(f"  {state}: {cell.why}", "red" if cell.failed else "yellow"))
        known = next((cell.result for cell in here if cell.result), None)
        if known:
            table.add_row(Text("most frequent class", "dim"), "", Text(f"{known['majority_uf1']:.3f}", "dim"))
        parts.append(table)
    parts += [
        Text(
            "Claimed: one subject left out. Honest: counts pooled; mean ± sd over seeds; interval over subjects.",
            "dim",
        ),
        Text(f"Leaking: best test epoch of each subject, mean over seeds. {WARNING}", "yellow"),
        *([Text(chosen.note, "dim")] if chosen.note else []),
    ]
    return Group(*parts)


def claimed_uf1(method: str) -> float | None:
    """Return what is printed for a method on the composite, one subject left out; None where nothing is.

    Example:
        >>> claimed_uf1("STSTNet")
        0.7353
    """
    for row in published_rows():
        if (row.method, row.protocol, row.column) == (method, "composite", "all") and row.uf1 is not None:
            return row.uf1
    return None


def columns(cell: Cell) -> list[str]:
    """Return claimed UF1, honest UF1, its interval, UAR and leaking UF1 as text; "-" where there is none."""
    uf1 = claimed_uf1(cell.row.claim or cell.row.name)
    claimed = "-" if uf1 is None else f"{uf1:.3f}"
    leaking = f"{cell.leak.latest['uf1']:.3f}" if isinstance(cell.leak, BestEpoch) else "-"
    if cell.result is None:
        return [claimed, "-", "-", "-", leaking]
    spread = cell.result.get("spread", {}).get("uf1")
    low, high = cell.result["uf1_interval"]
    honest = f"{cell.result['uf1']:.3f}" + (f"±{spread['sd']:.3f}" if spread else "")
    return [claimed, honest, f"{low:.2f}-{high:.2f}", f"{cell.result['uar']:.3f}", leaking]
