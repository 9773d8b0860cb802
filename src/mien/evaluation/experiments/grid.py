"""Tables and figures of papers as grids of benchmark runs.

Each cell is an ordinary run in a folder of its own, so that a stopped experiment resumes where it stopped, and every
cell has its report. A cell that cannot be computed has a reason instead of scores, and the others go on.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mien.datasets import Databases, label_maps_of, open_specs
from mien.datasets.base import Dataset
from mien.datasets.flow_images import FlowImages
from mien.errors import MienError, unknown_name
from mien.evaluation.best_epoch import BestEpoch, best_epoch
from mien.evaluation.execution.base import Executor
from mien.evaluation.experiments.catalogue import (
    Experiment,
    GridRow,
    choose_rows,
    find_experiment,
    name_in_paper,
    resolve,
)
from mien.evaluation.experiments.reasons import idle_reason, input_reason, require_weights
from mien.evaluation.leaking import Leak, leaking
from mien.evaluation.ledger import fold_file, read_settings
from mien.evaluation.planning import Plan, make_plan
from mien.evaluation.protocols import PROTOCOLS
from mien.evaluation.published.claims import published_for
from mien.evaluation.report import report_many
from mien.evaluation.run import benchmark, require_same_run
from mien.io.atomic import require_writable_folder
from mien.parameters import Parameters
from mien.progress import Bars
from mien.systems import SYSTEMS


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of an experiment.

    Attributes:
        row: Line of the experiment, with its final name.
        protocol: Protocol.
        data: Database id, or ids joined by "+".
        run: Folder of the run.
        result: The report; None where the cell could not be run.
        why: The reason, where it could not.
        failed: Whether the reason was not known before the cell was run.
        published: What the paper prints for it: accuracy and F1; None where it prints nothing.
        unlike: Why the paper's figures cannot be compared with this run; "" where they can, at least in part.
        leak: The same network scored with an epoch that test clips chose; None where that is not asked for.
    """

    row: GridRow
    protocol: str
    data: str
    run: Path
    result: Mapping[str, Any] | None
    why: str = ""
    failed: bool = False
    published: tuple[float | None, float | None] | None = None
    unlike: str = ""
    leak: Leak | BestEpoch | None = None


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """One run of an experiment, before it is run.

    Attributes:
        row: Line of the experiment, with its final name.
        protocol: Protocol.
        data: The database.
        run: Folder of the run.
        plan: What the run consists of; None where it cannot be run.
        why: The reason, where it cannot.
        labels: Label map; None for the database's own.
    """

    row: GridRow
    protocol: str
    data: Dataset
    run: Path
    plan: Plan | None
    why: str = ""
    labels: str | None = None

    def missing(self, seeds: Sequence[int]) -> list[tuple[int, int]]:
        """Return the folds, as (seed, number), that are not in the run's folder yet."""
        folds = range(len(self.plan.folds)) if self.plan else ()
        return [(s, n) for s in seeds for n in folds if not fold_file(self.run, s, n).is_file()]


def experiment(
    name: str | Experiment,
    data: Databases,
    out: str | Path,
    *,
    preset: str = "paper",
    seeds: Sequence[int] = (0,),
    parameters: Mapping[str, Any] | None = None,
    protocols: Sequence[str] = (),
    protocol_parameters: Mapping[str, Any] | None = None,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    second_flow: Path | None = None,
    jobs: int | None = None,
    bars: bool = False,
    on_warning: Callable[[str], None] | None = None,
    executor: Executor | None = None,
) -> list[Cell]:
    """Run the cells of an experiment on each database by itself; cells that are finished in `out` are not run again.

    What a database lacks for a cell (colour, landmarks, frames, classes) is found before any work and becomes the
    reason of that cell. So does a failure while a cell is run; the other cells go on.

    Args:
        name: Name of the experiment, or the experiment itself.
        data: NAME=FOLDER, an open dataset, or several of these; each is a column of its own.
        out: Folder for the runs.
        preset: Preset of every system that has it; systems without it keep their defaults.
        seeds: Training seeds.
        parameters: Parameters for every system that has them; they go before the preset, the grid before both.
        protocols: Protocols instead of the experiment's own; the paper's figures are then of others.
        protocol_parameters: Parameters of these protocols.
        only: Rows to run, by name or system; none runs all.
        skip: Rows to leave out, by name or system.
        second_flow: Folder of a second flow picture of each clip, for the rows that read it.
        jobs: As in `benchmark`.
        bars: Show progress on the terminal.
        on_warning: Called with a sentence before each cell.
        executor: As in `benchmark`; several cells are then run at once.

    Returns:
        The cells, in order of protocol, row and database.

    Raises:
        MienError: Unknown experiment, row, protocol or parameter; weights of another network; `out` holds runs with
            other settings; no cell can be run at all.

    Example:
        >>> cells = experiment("strcn-table2", "casme2=/data/CASMEII", "runs/table2")  # doctest: +SKIP
    """
    chosen = name if isinstance(name, Experiment) else find_experiment(name)
    require_folder(out)
    planned = plan_cells(
        chosen, data, out, preset=preset, seeds=seeds, parameters=parameters, protocols=protocols,
        protocol_parameters=protocol_parameters, only=only, skip=skip, second_flow=second_flow,
    )  # fmt: skip
    return run_cells(chosen, planned, out, seeds=seeds, jobs=jobs, bars=bars, on_warning=on_warning, executor=executor)


def require_folder(out: str | Path) -> None:
    """Refuse, before any work, a folder in which no new run could be written; one with runs may be read-only.

    Raises:
        MienError: It is a file, may not be written to, or has no room.
    """
    if not any(Path(out).glob("*/*/*/run.json")):
        require_writable_folder(out, "`--out runs/table`.")


def run_cells(
    chosen: Experiment,
    planned: Sequence[PlannedCell],
    out: str | Path,
    *,
    seeds: Sequence[int] = (0,),
    jobs: int | None = None,
    bars: bool = False,
    on_warning: Callable[[str], None] | None = None,
    executor: Executor | None = None,
) -> list[Cell]:
    """Run cells that `plan_cells` returned; see `experiment`."""
    # Trained in this process, whose random numbers are one stream.
    alone = threading.Lock()

    def inner_of(each: PlannedCell) -> tuple[Path, Parameters] | None:
        """Return folder and parameters of the run whose answers the training of a cell gives as well."""
        for other in planned:
            same = (other.protocol, other.data.id) == (each.protocol, each.data.id)
            if other.plan is not None and same and other.row.same_training and other.row.same_training == each.row.id:
                return other.run, other.plan.parameters
        return None

    def run(each: PlannedCell, bars: bool) -> Cell:
        what = f"{each.row.name}, {each.protocol}, {each.data.card.title}"
        if on_warning is not None:
            on_warning(f"{what}: not run, {each.why}" if each.why else what)
        empty = Cell(each.row, each.protocol, each.data.id, each.run, None, each.why)
        if each.plan is None:
            return empty
        common: dict[str, Any] = {"labels": each.labels, "parameters": each.plan.parameters, "bars": bars}
        leak: Leak | BestEpoch | None = None
        try:
            if chosen.leaking == "holdout" and each.protocol == chosen.protocols[0]:
                folder = Path(out) / slug(each.row.name) / "leaking" / each.data.id
                with alone:
                    leak = leaking([each.data], each.row.system, folder, seed=seeds[0], jobs=jobs or 1, **common)
            elif chosen.leaking == "best_epoch" and each.row.leak:
                folder = Path(out) / slug(each.row.name) / "leaking" / each.protocol / each.data.id
                # With an executor, other cells are run at the same time: each then trains for itself.
                with alone:
                    leak = best_epoch(
                        [each.data], each.row.system, folder, protocol=each.protocol, seeds=seeds, jobs=jobs or 1,
                        protocol_parameters=each.plan.settings["protocol_parameters"],
                        last=None if executor else each.run, inner=None if executor else inner_of(each), **common,
                    )  # fmt: skip
            benchmark(
                [each.data], each.row.system, each.run, protocol=each.protocol, seeds=seeds,
                protocol_parameters=each.plan.settings["protocol_parameters"], jobs=jobs, on_warning=on_warning,
                executor=executor, **common,
            )  # fmt: skip
            return replace(_finished(each), leak=leak)
        except MienError as error:
            why = error.found.rstrip(".")
        except Exception as error:  # one cell must not stop the others
            why = f"{type(error).__name__}: {error}"
        if on_warning is not None:
            on_warning(f"{what}: failed, {why}")
        return replace(empty, why=why, failed=True, leak=leak)

    if executor is None:
        return [run(each, bars) for each in planned]
    # The last folds of one cell leave machines idle, so the next begins: as many at once as fill them all.
    subjects = min(len({clip.person for clip in each.data.clips()}) for each in planned)
    at_once = min(8, 1 + math.ceil(executor.places / max(1, subjects)))
    with ThreadPoolExecutor(at_once) as pool, Bars(show=bars) as shown:
        finished = shown.start("cells", len(planned))
        futures = [pool.submit(run, each, False) for each in planned]
        try:
            for future in as_completed(futures):
                future.result()
                finished(1)
        except BaseException:
            executor.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]


def plan_cells(
    chosen: Experiment,
    data: Databases,
    out: str | Path,
    *,
    preset: str = "paper",
    seeds: Sequence[int] = (0,),
    parameters: Mapping[str, Any] | None = None,
    protocols: Sequence[str] = (),
    protocol_parameters: Mapping[str, Any] | None = None,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    second_flow: Path | None = None,
) -> list[PlannedCell]:
    """Return the cells of an experiment with what each run consists of, or why it cannot be run; see `experiment`."""
    opened, common = open_specs(data), dict(parameters or {})
    rows = choose_rows(chosen, only, skip)
    for protocol in protocols:
        PROTOCOLS.get(protocol)
    _require_known(rows, common)
    planned: list[PlannedCell] = []
    errors: list[MienError] = []
    reasons: dict[tuple[str, str, str], str] = {}
    idle: dict[str, MienError | None] = {}
    for protocol in protocols or chosen.protocols:
        its_own = {**chosen.protocol_parameters.get(protocol, {}), **(protocol_parameters or {})}
        for row in rows:
            if not protocols and row.protocols and protocol not in row.protocols:
                continue
            for given in opened:
                one = given
                labels = chosen.labels if chosen.labels in label_maps_of(one.id) else None
                base = PlannedCell(row, protocol, one, Path(out) / slug(row.name) / protocol / one.id, None, "", labels)
                if row.second:
                    if not isinstance(one, FlowImages) or second_flow is None:
                        why = "it reads a second set of flow pictures (--second-flow)"
                        planned.append(replace(base, row=replace(row, name=name_in_paper(row)), why=why))
                        continue
                    one = FlowImages(one.root, second=second_flow)
                    base = replace(base, data=one)
                clips = one.clips()
                medium = clips[0].medium if clips else "frames"
                plain = replace(base, row=replace(row, name=name_in_paper(row)))
                if row.system not in SYSTEMS:
                    planned.append(replace(plain, why="this version has no such system"))
                    continue
                if medium not in SYSTEMS[row.system].recipes:
                    planned.append(replace(plain, why=f"it cannot read ready {medium} pictures"))
                    continue
                its = chosen.presets.get(one.id, preset) if preset == "paper" else preset
                final, full = resolve(chosen, row, its, common, medium)
                base = replace(base, row=final, run=Path(out) / slug(final.name) / protocol / one.id)
                for key in common.keys() & type(full).model_fields.keys() - {"preset"}:
                    try:
                        full.require_effect([key], row.system, [medium])
                        idle[key] = None
                    except MienError as error:
                        idle.setdefault(key, error)
                sets = [*row.set, *(("alphas", "shares") if row.identical_copies else ())]
                if why := idle_reason(full, sets, medium):
                    planned.append(replace(base, why=why))
                    continue
                require_weights(SYSTEMS[row.system], full, medium, common)
                try:
                    plan = make_plan(
                        [one], row.system, protocol=protocol, labels=labels, seeds=seeds, parameters=full,
                        protocol_parameters=_for(protocol, its_own),
                    )  # fmt: skip
                except MienError as error:
                    errors.append(error)
                    planned.append(replace(base, why=error.found.rstrip(".")))
                    continue
                require_same_run(base.run, plan)
                each = replace(base, plan=plan)
                if len(each.missing(seeds)) == len(plan.folds) * len(seeds):  # else its inputs were found to be fit
                    key3 = (row.system, plan.settings["recipes"][medium], one.id)
                    if key3 not in reasons:
                        used = [sample.clip for sample in plan.samples]
                        reasons[key3] = input_reason(SYSTEMS[row.system], full, used, one.card.title)
                    if reasons[key3]:
                        each = replace(base, why=reasons[key3])
                planned.append(each)
    for without_effect in idle.values():
        if without_effect is not None:
            raise without_effect
    if all(each.why for each in planned):
        if errors:
            raise errors[0]
        first = planned[0]
        raise MienError(
            f"No cell of {chosen.name} can be run. The first, {first.row.name} on {first.data.id}: {first.why}.",
            "a database that at least one row can read.",
            f"`mien systems {first.row.system}` for what it needs.",
        )
    return planned


def two_sets(chosen: Experiment, specs: Sequence[str]) -> tuple[list[str], Path | None]:
    """Return the databases and the folder of second flow pictures, where both are given as flow_images=FOLDER.

    Args:
        chosen: The experiment; one without a row that reads a second set leaves all as it is.
        specs: NAME=FOLDER each.

    Example:
        >>> two_sets(find_experiment("leaderboard"), ["flow_images=a", "flow_images=b"])
        (['flow_images=a'], PosixPath('b'))
    """
    pictures = [spec for spec in specs if spec.partition("=")[0] == FlowImages.id]
    if len(pictures) != 2 or not any(row.second for row in chosen.rows):
        return list(specs), None
    return [spec for spec in specs if spec != pictures[1]], Path(pictures[1].partition("=")[2])


def _require_known(rows: Sequence[GridRow], common: Mapping[str, Any]) -> None:
    """Refuse a parameter that no system of the experiment has."""
    systems = [SYSTEMS[row.system] for row in rows if row.system in SYSTEMS]
    known = {name for system in systems for name in system.parameters.model_fields}
    for name in common:
        if systems and name not in known:
            raise unknown_name("parameter of these systems", name, known, f"mien systems {systems[0].name}")


def _for(protocol: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    return {k: v for k, v in (given or {}).items() if k in PROTOCOLS.get(protocol).parameters}


def _finished(cell: PlannedCell) -> Cell:
    method = cell.row.claim or cell.row.name
    claims = [claim for claim in published_for(read_settings(cell.run)) if claim.method == method]
    printed = (claims[0].accuracy, claims[0].uf1) if claims else None
    result = report_many([cell.run])[0]
    unlike = claims[0].why if claims and claims[0].comparable == "no" else ""
    return Cell(cell.row, cell.protocol, cell.data.id, cell.run, result, published=printed, unlike=unlike)


def slug(text: str) -> str:
    """Return a text as the name of a folder.

    Example:
        >>> slug("STRCN-A, M = 16")
        'strcn-a-m-16'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
