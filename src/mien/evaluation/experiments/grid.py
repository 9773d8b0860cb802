"""Tables and figures of papers as grids of benchmark runs, printed beside the figures of the paper.

Each grid is a data file in `experiments/`; each cell is an ordinary run in a folder of its own, so that a stopped
experiment resumes where it stopped, and every cell has its report.
"""

from __future__ import annotations

import math
import re
import threading
import tomllib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.datasets import Databases, open_specs
from mien.datasets.base import Dataset
from mien.errors import MienError, unknown_name
from mien.evaluation.execution.base import Executor
from mien.evaluation.leaking import Leak, leaking, render_leaks
from mien.evaluation.published.claims import published_for
from mien.evaluation.report import report_many
from mien.evaluation.run import benchmark
from mien.parameters import Parameters
from mien.progress import Bars
from mien.systems import SYSTEMS, System

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Group


@dataclass(frozen=True, slots=True)
class GridRow:
    """One line of an experiment.

    Attributes:
        name: As the paper names it.
        system: The system that is run.
        set: Parameters that differ from the preset.
        small: Further ones under the small preset.
        same_iterations: Train as many batches as the preset with all its copies would.
        x: Place on the axis of a figure.
        curve: Curve of a figure.
    """

    name: str
    system: str
    set: Mapping[str, Any] = field(default_factory=dict)
    small: Mapping[str, Any] = field(default_factory=dict)
    same_iterations: bool = False
    x: float | None = None
    curve: str = ""


@dataclass(frozen=True, slots=True)
class Experiment:
    """One table or figure of a paper.

    Attributes:
        name: Name on the command line.
        title: As the paper calls it.
        paper: Citation.
        shows: What it compares, in a few words.
        protocols: Protocols it is run under.
        labels: Label map; where a database does not have it, its own default.
        rows: Lines of the table.
        axis: Title of a figure's axis; "" for a table.
        note: What the reader should know; may be "".
        leaking: Also score as the MicroExp papers do (`mien.evaluation.leaking`), to be put beside the first protocol.
        presets: Preset that the paper used on a database, where that differs from one to the next.
    """

    name: str
    title: str
    paper: str
    shows: str
    protocols: tuple[str, ...]
    labels: str
    rows: tuple[GridRow, ...]
    axis: str = ""
    note: str = ""
    leaking: bool = False
    presets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of an experiment.

    Attributes:
        row: Line of the experiment.
        protocol: Protocol.
        data: Database id, or ids joined by "+".
        run: Folder of the run.
        result: The report; None where the cell could not be run.
        why: The reason, where it could not.
        published: What the paper prints for it: accuracy and F1; None where it prints nothing.
        leak: The same network scored on clips that chose its best epoch; None where that is not part of the experiment.
    """

    row: GridRow
    protocol: str
    data: str
    run: Path
    result: Mapping[str, Any] | None
    why: str = ""
    published: tuple[float | None, float | None] | None = None
    leak: Leak | None = None


@cache
def experiments() -> Mapping[str, Experiment]:
    """Return all experiments by name."""
    folder = files("mien.evaluation.experiments")
    found = {}
    for file in sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name):
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        name = file.name.removesuffix(".toml")
        rows = tuple(GridRow(**row) for row in table.pop("rows"))
        table["protocols"] = tuple(table["protocols"])
        found[name] = Experiment(name=name, rows=rows, **table)
    return found


def experiment(
    name: str,
    data: Databases,
    out: str | Path,
    *,
    preset: str = "paper",
    seeds: Sequence[int] = (0,),
    parameters: Mapping[str, Any] | None = None,
    protocols: Sequence[str] = (),
    jobs: int | None = None,
    bars: bool = False,
    on_warning: Callable[[str], None] | None = None,
    executor: Executor | None = None,
) -> list[Cell]:
    """Run the cells of an experiment on each database by itself; cells that are finished in `out` are not run again.

    Args:
        name: Name of the experiment.
        data: NAME=FOLDER, an open dataset, or several of these; each is a column of its own.
        out: Folder for the runs.
        preset: Preset of every system that has it; systems without it keep their defaults.
        seeds: Training seeds.
        parameters: Parameters for every system that has them; they go before the preset, the grid before both.
        protocols: Protocols instead of the experiment's own; the paper's figures are then of others.
        jobs: As in `benchmark`.
        bars: Show progress on the terminal.
        on_warning: Called with a sentence before each cell.
        executor: As in `benchmark`; several cells are then run at once.

    Returns:
        The cells, in order of protocol, row and database. Cells whose system is not there yet, or cannot read a
        database, say why.

    Raises:
        MienError: Unknown experiment; a run fails.

    Example:
        >>> "strcn-table2" in experiments()
        True
        >>> cells = experiment("strcn-table2", "casme2=/data/CASMEII", "runs/table2")  # doctest: +SKIP
        >>> print(render("strcn-table2", cells))  # doctest: +SKIP
    """
    if name not in experiments():
        raise unknown_name("experiment", name, experiments(), "mien experiments")
    out, opened = Path(out), open_specs(data)
    chosen = experiments()[name]
    wanted = [(p, row, one) for p in protocols or chosen.protocols for row in chosen.rows for one in opened]
    # Trained in this process, whose random numbers are one stream.
    alone = threading.Lock()

    def cell(protocol: str, row: GridRow, one: Dataset, bars: bool) -> Cell:
        run = out / _slug(row.name) / protocol / one.id
        if on_warning is not None:
            on_warning(f"{row.name}, {protocol}, {one.card.title}")
        why = _cannot(row, one)
        if why:
            return Cell(row, protocol, one.id, run, None, why, None)
        its_preset = chosen.presets.get(one.id, preset) if preset == "paper" else preset
        full = _parameters(row, its_preset, parameters or {})
        leak = None
        if chosen.leaking and protocol == chosen.protocols[0]:
            with alone:
                leak = leaking(
                    [one],
                    row.system,
                    out / _slug(row.name) / "leaking" / one.id,
                    labels=_labels(chosen, one),
                    seed=seeds[0],
                    parameters=full,
                    jobs=jobs or 1,
                    bars=bars,
                )
        benchmark(
            [one],
            row.system,
            run,
            protocol=protocol,
            labels=_labels(chosen, one),
            seeds=seeds,
            parameters=full,
            jobs=jobs,
            bars=bars,
            on_warning=on_warning,
            executor=executor,
        )
        return replace(_cell(row, protocol, one, run), leak=leak)

    if executor is None:
        return [cell(*each, bars) for each in wanted]
    # The last folds of one cell leave machines idle, so the next begins: as many at once as fill them all.
    subjects = min(len({clip.person for clip in one.clips()}) for one in opened)
    at_once = min(8, 1 + math.ceil(executor.places / max(1, subjects)))
    with ThreadPoolExecutor(at_once) as pool, Bars(show=bars) as shown:
        finished = shown.start("cells", len(wanted))
        futures = [pool.submit(cell, *each, False) for each in wanted]
        try:
            for future in as_completed(futures):
                future.result()
                finished(1)
        except BaseException:
            executor.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _cell(row: GridRow, protocol: str, data: Dataset, run: Path) -> Cell:
    from mien.evaluation.ledger import read_settings

    claims = [claim for claim in published_for(read_settings(run)) if claim.method == row.name]
    printed = (claims[0].accuracy, claims[0].uf1) if claims else None
    return Cell(row, protocol, data.id, run, report_many([run])[0], "", printed)


def _cannot(row: GridRow, data: Dataset) -> str:
    if row.system not in SYSTEMS:
        return "this version has no such system"
    clips = data.clips()
    if clips and clips[0].medium not in SYSTEMS[row.system].recipes:
        return f"it cannot read ready {clips[0].medium} pictures"
    return ""


def _labels(chosen: Experiment, data: Dataset) -> str | None:
    from mien.datasets import label_maps_of

    return chosen.labels if chosen.labels in label_maps_of(data.id) else None


def _parameters(row: GridRow, preset: str, common: Mapping[str, Any]) -> Parameters:
    system: System[Any] = SYSTEMS[row.system]
    given: dict[str, Any] = {"preset": preset} if preset in system.presets else {}
    given |= {k: v for k, v in common.items() if k in system.parameters.model_fields}
    full = system.with_parameters(given)
    given |= {**row.set, **(row.small if preset == "small" else {})}
    if row.same_iterations:
        copies = len(getattr(full, "alphas", (1,))) * len(getattr(full, "shares", (1,)))
        given["epochs"] = full.epochs * copies
    # A setting that this system does not have under this preset would be a typing error in the grid.
    made: Parameters = system.with_parameters(given)
    return made


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def as_json(name: str, cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the cells of an experiment, ready for JSON."""
    keys = ("accuracy", "f1_weighted", "uf1", "uar", "majority_accuracy", "majority_uf1", "n_clips", "n_subjects")
    return {
        "experiment": name,
        "averaging": "counts pooled over folds",
        "cells": [
            {
                "row": cell.row.name,
                "system": cell.row.system,
                "protocol": cell.protocol,
                "data": cell.data,
                "run": str(cell.run),
                "why_not": cell.why,
                "published": None
                if cell.published is None
                else {"accuracy": cell.published[0], "f1": cell.published[1]},
                **({} if cell.leak is None else {"leaking": cell.leak.as_json()}),
                **({} if cell.result is None else {k: cell.result[k] for k in keys}),
            }
            for cell in cells
        ],
    }


def render(name: str, cells: Sequence[Cell]) -> Group:
    """Return the table of the paper beside ours, one per protocol, for the terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from mien.evaluation.protocols import PROTOCOLS

    chosen = experiments()[name]
    parts: list[Any] = []
    columns = list(dict.fromkeys(cell.data for cell in cells))
    if chosen.leaking:
        beside = [cell for cell in cells if cell.protocol == chosen.protocols[0]]
        parts += render_leaks(chosen.title, [(c.row.name, c.data, c.leak, c.result) for c in beside])
    protocols = tuple(dict.fromkeys(cell.protocol for cell in cells))
    for protocol in protocols[1:] if chosen.leaking else protocols:
        table = Table(title=f"{chosen.title} · {protocol}", title_justify="left", box=None, padding=(0, 1))
        table.add_column("")
        for data in columns:
            for heading in (f"{data}\nacc", "\nUF1", "\nUAR", "[dim]paper\nacc", "[dim]\nF1"):
                table.add_column(heading, justify="right")
        for row in chosen.rows:
            of_row = {c.data: c for c in cells if c.row == row and c.protocol == protocol}
            values: list[str] = []
            for data in columns:
                cell = of_row[data]
                ours = (
                    ["-"] * 3 if cell.result is None else [f"{cell.result[k]:.3f}" for k in ("accuracy", "uf1", "uar")]
                )
                theirs = [f"[dim]{v:.3f}" if v is not None else "[dim]-" for v in cell.published or (None, None)]
                values += [*ours, *theirs]
            table.add_row(row.name, *values)
        majority = []
        for data in columns:
            known = [c.result for c in cells if c.data == data and c.protocol == protocol and c.result]
            if known:
                first = known[0]
                majority += [f"{first['majority_accuracy']:.3f}", f"{first['majority_uf1']:.3f}", ""]
            else:
                majority += ["", "", ""]
            majority += ["", ""]
        table.add_row("[dim]majority class", *(f"[dim]{v}" for v in majority))
        parts.append(table)
        warning = PROTOCOLS[protocol].warning
        if warning:
            parts.append(Text(warning, style="yellow"))
    reasons = {cell.row.name: cell.why for cell in cells if cell.why}
    if reasons:
        parts.append(Text("Not run: " + "; ".join(f"{row} ({why})" for row, why in reasons.items()) + ".", style="dim"))
    if chosen.note:
        parts.append(Text(chosen.note, style="dim"))
    theirs_is = "accuracy alone" if chosen.leaking else "one F1 and not which"
    parts.append(Text(f"Ours: counts pooled over folds; UF1 is macro F1. The paper prints {theirs_is}.", "dim"))
    return Group(*parts)


def figure(name: str, cells: Sequence[Cell]) -> Figure:
    """Draw accuracy (and UF1, dashed) along the axis of a figure, one panel per protocol.

    Raises:
        MienError: The experiment is a table.
    """
    from matplotlib.figure import Figure as NewFigure

    chosen = experiments()[name]
    if not chosen.axis:
        raise MienError(f"{name} is a table.", "an experiment with an axis.", "`mien experiments`.")
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
            x = [cell.row.small.get("maps", cell.row.x) if _is_small(cell) else cell.row.x for cell in line]
            for key, style in (("accuracy", "-o"), ("uf1", "--")):
                y = [cell.result[key] for cell in line if cell.result is not None]
                label = f"{curve} · {data}" if key == "accuracy" else None
                axes.plot(x, y, style, color=colour, lw=1.4, ms=3.5, label=label)
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


def _is_small(cell: Cell) -> bool:
    return bool(cell.result and cell.result.get("parameters", {}).get("preset") == "small" and cell.row.small)
