"""How long the cells of an experiment take on this machine, before any of them is run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mien.errors import MienError
from mien.evaluation.estimate import LONG, Costs, Estimate, estimate, in_words, measure, warn_if_long
from mien.evaluation.experiments.grid import PlannedCell
from mien.evaluation.experiments.tables import NAME_WIDTH

if TYPE_CHECKING:
    from rich.table import Table

BUDGET: Final = 15.0
"""Seconds that may be spent on measuring before a run that nobody asked to be estimated."""

Estimated = tuple[PlannedCell, Estimate | None, str]
"""A cell, its estimate, and why there is none."""


def estimate_cells(
    planned: Sequence[PlannedCell], seeds: Sequence[int], jobs: int | None = None, budget: float = float("inf")
) -> list[Estimated]:
    """Estimate each cell; cells that differ only in their protocol are measured once, and prepared once.

    Training is measured once for all databases whose inputs have the same shape.

    Args:
        planned: The cells.
        seeds: Training seeds.
        jobs: Folds at once.
        budget: Seconds after which no further cell is measured; those are left out.
    """
    known: dict[str, Costs | str] = {}
    trained: dict[Any, tuple[float, float, float, int]] = {}
    found: list[Estimated] = []
    prepared: set[str] = set()
    started = time.monotonic()
    for each in planned:
        if each.plan is None:
            found.append((each, None, each.why))
            continue
        todo = each.missing(seeds)
        settings = each.plan.settings
        key = json.dumps([settings["system"], settings["parameters"], settings["data"], len(settings["classes"])])
        if todo and key not in known:
            if time.monotonic() - started > budget:
                continue
            try:
                known[key] = measure(each.plan, trained)
            except MienError as error:  # the clip that was tried; the run goes on without such clips
                known[key] = error.found
        costs = known.get(key)
        if isinstance(costs, str):
            found.append((each, None, costs))
        else:
            # An earlier cell leaves the inputs in the cache.
            inputs = json.dumps([settings["recipes"], settings["data"]])
            if costs is not None and inputs in prepared:
                costs = replace(costs, cached=1.0)
            if todo:
                prepared.add(inputs)
            found.append((each, estimate(each.plan, todo, jobs, costs), ""))
    return found


def warn_before(
    planned: Sequence[PlannedCell], seeds: Sequence[int], jobs: int | None, on_warning: Callable[[str], None]
) -> None:
    """Say how long an experiment takes, where that is over an hour, from the cells that can be measured in a moment."""
    wanted = [each for each in planned if each.plan is not None]
    known = [one for _, one, _ in estimate_cells(wanted, seeds, jobs, BUDGET) if one is not None]
    if not known:
        return
    seconds = sum(one.seconds for one in known) * len(wanted) / len(known)
    memory = max(one.memory for one in known) / 2**30
    text = f"About {in_words(seconds)} on this machine for {len(wanted)} cells, and {memory:.1f} GiB of memory."
    warn_if_long(
        seconds,
        text,
        "`--small`, `--only ROW`, fewer seeds, `--protocol kfold_subject`; `--estimate` says it cell by cell",
        on_warning,
    )


def as_json(found: Sequence[Estimated]) -> dict[str, Any]:
    """Return estimates, ready for JSON."""
    return {
        "hours": sum(one.seconds for _, one, _ in found if one) / 3600,
        "memory_gib": max((one.memory for _, one, _ in found if one), default=0) / 2**30,
        "cells": [
            {
                "row": cell.row.name,
                "protocol": cell.protocol,
                "data": cell.data.id,
                "why_not": why,
                **(one.as_json() if one else {}),
            }
            for cell, one, why in found
        ],
    }


def render_estimates(title: str, found: Sequence[Estimated]) -> Table:
    """Return estimates as a table for the terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{title} · estimates"), title_justify="left", box=None, padding=(0, 1))
    table.add_column("", width=NAME_WIDTH, overflow="fold")
    for heading in ("", "", "folds", "time", "memory"):
        table.add_column(heading, justify="right" if heading else "left", overflow="fold", no_wrap=heading == "time")
    for cell, one, why in found:
        name = Text(cell.row.name)
        if one is None:
            name.append(f"\nnot run: {why}", "yellow")
        numbers = ("-", "-", "-") if one is None else (str(one.folds), in_words(one.seconds), _gib(one.memory))
        table.add_row(name, cell.protocol, cell.data.id, *numbers)
    seconds = sum(one.seconds for _, one, _ in found if one)
    most = max((one.memory for _, one, _ in found if one), default=0)
    table.add_row(Text("all", "bold"), "", "", "", Text(in_words(seconds), "bold"), _gib(most))
    longer = "" if seconds < LONG else " Shorter: `--small`, `--only ROW`, fewer seeds, `--protocol kfold_subject`."
    table.caption = Text(f"From one clip and a few steps, or a small fold, of each cell.{longer}", "dim")
    table.caption_justify = "left"
    return table


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
