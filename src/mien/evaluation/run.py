"""benchmark(): train and test one system on every fold of a protocol, and write the ledger."""

from __future__ import annotations

import json
import operator
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mien.datasets import Databases, open_specs
from mien.errors import MienError
from mien.evaluation.execution.base import Executor, RunInputs
from mien.evaluation.execution.folds import write_fold
from mien.evaluation.execution.processes import Processes
from mien.evaluation.leakage import check_ledger
from mien.evaluation.ledger import (
    Ledger,
    fold_file,
    machine_errors,
    open_folder,
    read_ledger,
    require_place,
    require_same_folder,
)  # fmt: skip
from mien.evaluation.planning import Plan, clip_table, make_plan
from mien.evaluation.preparing import prepare_inputs, settle_failures, write_notes
from mien.io.atomic import lock_run, require_writable_folder, sweep
from mien.parameters import Parameters
from mien.progress import Bars, Meter
from mien.systems.base import System


def benchmark(
    data: Databases,
    system: str | System,
    out: str | Path,
    *,
    protocol: str = "loso",
    labels: str | None = None,
    seeds: Sequence[int] = (0,),
    parameters: Mapping[str, Any] | Parameters | None = None,
    protocol_parameters: Mapping[str, Any] | None = None,
    shuffle_labels: bool = False,
    jobs: int | None = None,
    bars: bool = False,
    on_warning: Callable[[str], None] | None = None,
    executor: Executor | None = None,
) -> Ledger:
    """Score a system on every fold of a protocol, for every seed. Resumes if `out` holds part of the same run.

    Each fold is written atomically as soon as it is done: a killed run loses at most the folds in progress. Each fold
    runs on one thread and from its own seed, so the ledger does not depend on `jobs` or on the order of folds.

    A clip that cannot be prepared is not trained on; where it is tested, its row has no answer and counts as wrong. All
    folds of a run leave out the same clips.

    Args:
        data: NAME=FOLDER, an open dataset, or several of these: they are pooled.
        out: Folder of the run.
        jobs: Folds trained at once; None takes the number of cores.
        bars: Show progress on the terminal.
        on_warning: Called with a sentence where clips could not be prepared, before training starts.
        executor: Where clips are prepared and folds trained; None is processes of this machine.
        system, protocol, labels, seeds, parameters, protocol_parameters, shuffle_labels: See `make_plan`.

    Returns:
        The complete ledger.

    Raises:
        MienError: As `make_plan`; `out` holds another run; no clip of a database can be prepared, or other clips than
            when the run began; a row in `out` was changed by hand.

    Example:
        >>> ledger = benchmark("flow_images=pictures", "flow-svm", "runs/flow-svm", jobs=1)
        >>> ledger.complete
        True
    """
    require_place(out)
    out = Path(out).absolute()  # worker processes may have another current folder
    executor = executor or Processes(max(1, jobs or os.cpu_count() or 1))
    plan = make_plan(
        open_specs(data),
        system,
        protocol=protocol,
        labels=labels,
        seeds=seeds,
        parameters=parameters,
        protocol_parameters=protocol_parameters,
        shuffle_labels=shuffle_labels,
    )
    with lock_run(out) as alone, machine_errors(out):
        settings = open_run(out, plan)
        if on_warning is not None:
            for text in plan.settings.get("remarks", ()):
                on_warning(text)
        if alone:
            sweep(out)
        return _run(plan, settings["seeds"], out, executor, bars, on_warning)


def _run(
    plan: Plan,
    seeds: Sequence[int],
    out: Path,
    executor: Executor,
    bars: bool,
    on_warning: Callable[[str], None] | None,
) -> Ledger:
    """Train the missing folds of a run, and return its whole ledger."""
    todo = [
        (seed, number)
        for seed in seeds
        for number in range(len(plan.folds))
        if not fold_file(out, seed, number).is_file()
    ]
    if todo:
        require_writable_folder(out, f"`df -h {out}` and `ls -ld {out}`; then the same command, which resumes.")
        with Bars(show=bars) as shown:
            failures: dict[str, MienError] = {}
            notes: dict[str, tuple[str, ...]] = {}
            inputs = prepare_inputs(plan, executor, shown, failures, notes)
            settle_failures(out, failures, len(plan.samples), on_warning)
            write_notes(out, notes, on_warning)
            _train(plan, inputs, todo, out, executor, shown, on_warning)
    ledger = read_ledger(out)
    wrong = [p for p in check_ledger(ledger, plan.samples, plan.folds) if p.severity == "error"]
    if wrong:
        raise MienError(
            f"The ledger in {str(out)!r} is not that of this run: {wrong[0].where} {wrong[0].what}"
            + (f" (and {len(wrong) - 1} more)." if len(wrong) > 1 else "."),
            "rows as they were written.",
            f"a new --out folder; or remove the file with that clip from {out}/ledger, and the fold is trained again.",
        )
    if ledger.complete:
        shutil.rmtree(out / "unfinished", ignore_errors=True)
    return ledger


def _train(
    plan: Plan,
    inputs: RunInputs,
    todo: Sequence[tuple[int, int]],
    out: Path,
    executor: Executor,
    bars: Bars,
    on_warning: Callable[[str], None] | None,
) -> None:
    """Train folds, and write each as it finishes."""
    smaller = []
    with Meter(len(todo), out / "unfinished") as meter:
        finished = bars.follow("folds", meter)
        for result in executor.folds(plan, inputs, todo, out, meter.slot):
            write_fold(out, result)
            # A worker on another machine cannot reach the meter.
            meter.slot(todo.index((result.seed, result.number)))(1.0)
            finished(1)
            if "smaller_batch" in json.loads(result.log):
                smaller.append(plan.folds[result.number].name)
    if smaller and on_warning is not None:
        on_warning(
            f"In {len(smaller)} of {len(todo)} folds a GPU's memory was too small for the batch, which was halved: "
            f"{', '.join(smaller[:3])}{' ...' if len(smaller) > 3 else ''}; the log of each fold says to what size."
        )


def open_run(out: Path, plan: Plan) -> dict[str, Any]:
    """Create the folder of a run, or check that it holds the same run; seeds may be added. Return the settings."""
    return open_folder(out, plan.settings, "clips.csv", clip_table(plan.samples, plan.classes), _differences)


def require_same_run(out: Path, plan: Plan) -> None:
    """Refuse a folder that holds a run with other settings; nothing is written.

    Raises:
        MienError: As `open_run`.
    """
    require_same_folder(out, plan.settings, _differences)


def _differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return a sentence about each setting that differs; seeds may be added, and folders may move."""
    if there.get("system") != wanted["system"]:
        return [f"system is {there.get('system')!r} there and {wanted['system']!r} now"]
    differences = []
    for key in {*there, *wanted} - {"seeds", "data", "system_title", "lacking", "left_out", "remarks", "synthetic"}:
        old, new = there.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            # Parameters of a protocol may have been given as text: k=5 is k=5.
            same = (lambda a, b: str(a) == str(b)) if key == "protocol_parameters" else operator.eq
            differences += [
                f"{k} is {old.get(k)!r} there and {new.get(k)!r} now"
                for k in {**old, **new}
                if not same(old.get(k), new.get(k))
            ]
        elif old != new:
            differences.append(f"{key} is {old!r} there and {new!r} now")
    return sorted(differences)
