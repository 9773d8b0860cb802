"""benchmark(): train and test one system on every fold of a protocol, and write the ledger."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mien.datasets import Databases, open_specs
from mien.errors import MienError, unknown_name
from mien.evaluation.execution.cluster import Cluster
from mien.evaluation.execution.folds import (
    answers_of,
    fold_done,
    fold_seed,
    prepared,
    require_training,
    run_fold,
    state_file,
    write_fold,
)
from mien.evaluation.leakage import check_ledger
from mien.evaluation.ledger import Ledger, fold_file, open_folder, read_ledger, told_plainly
from mien.evaluation.planning import Plan, clip_table, make_plan
from mien.evaluation.preparing import prepare_inputs, settle_failures, tell_notes
from mien.io.atomic import lock_run, sweep, write_atomically
from mien.preprocessing.inputs import Inputs
from mien.progress import Bars, Meter
from mien.systems.base import System
from mien.types import IntervalSource

WAYS = ("auto", "stacked", "processes", "sequential")
"""How the folds of a run may be trained."""


def benchmark(
    data: Databases,
    system: str | System,
    out: str | Path,
    *,
    protocol: str = "loso",
    labels: str | None = None,
    seeds: Sequence[int] = (0,),
    parameters: Mapping[str, Any] | None = None,
    protocol_parameters: Mapping[str, Any] | None = None,
    shuffle_labels: bool = False,
    jobs: int | None = None,
    bars: bool = False,
    on_warning: Callable[[str], None] | None = None,
    cluster: Cluster | None = None,
    folds: str = "auto",
) -> Ledger:
    """Score a system: every fold of the protocol, every seed; resumes when `out` holds part of the same run.

    Each fold is written whole, by atomic rename, as soon as it is done, so a killed run loses at most the folds in
    progress. Each fold runs on one thread and from its own seed: the ledger does not depend on `jobs` or on order.

    A clip that cannot be prepared costs no other clip its answer: nobody trains on it, and where it is tested it has a
    row without an answer, which counts as wrong. It is the same clips in every fold of a run.

    Args:
        data: NAME=FOLDER, an open dataset, or several of these: they are pooled.
        out: Folder of the run.
        jobs: Folds trained side by side; None takes the number of cores.
        bars: Show progress on the terminal.
        on_warning: Called with a sentence when clips could not be prepared, before anything is trained.
        cluster: Where clips are prepared and folds trained instead of in processes of this machine.
        folds: "stacked" trains them as one program (`mien.evaluation.execution.stacked`; the ledger is then the same
            up to rounding), "processes" and "sequential" each alone; "auto" takes what would be fastest here.
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
    out = Path(out)
    _require_way(folds, cluster)
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
    with lock_run(out) as alone, told_plainly(out):
        settings = open_run(out, plan)
        if alone:
            sweep(out)
        return _run(plan, settings, out, jobs, bars, on_warning, cluster, folds)


def _run(
    plan: Plan,
    settings: Mapping[str, Any],
    out: Path,
    jobs: int | None,
    bars: bool,
    on_warning: Callable[[str], None] | None,
    cluster: Cluster | None,
    folds: str,
) -> Ledger:
    """The folds of a run that are not there yet, and its whole ledger."""
    todo = [
        (seed, number)
        for seed in settings["seeds"]
        for number in range(len(plan.folds))
        if not fold_file(out, seed, number).is_file()
    ]
    if todo:
        jobs = max(1, min(jobs or os.cpu_count() or 1, len(todo)))
        with Bars(show=bars) as shown:
            failures: dict[str, MienError] = {}
            notes: dict[str, tuple[str, ...]] = {}
            inputs, intervals = prepare_inputs(plan, jobs, shown, failures, cluster, notes)
            settle_failures(out, failures, len(plan.samples), on_warning)
            tell_notes(out, notes, on_warning)
            if cluster is None:
                _train(plan, out, todo, inputs, intervals, jobs, shown, folds)
            else:
                _train_on(cluster, plan, out, todo, inputs, intervals, shown, on_warning)
    ledger = read_ledger(out)
    wrong = [p for p in check_ledger(ledger, plan.samples, plan.folds) if p.severity == "error"]
    if wrong:
        raise MienError(
            f"The ledger in {str(out)!r} is not that of this run: {wrong[0].where} {wrong[0].what}"
            + (f" (and {len(wrong) - 1} more)." if len(wrong) > 1 else "."),
            "rows as they were written.",
            f"a new --out folder; or remove the file with that clip from {out}/ledger, and the fold is redone.",
        )
    if ledger.complete:
        shutil.rmtree(out / "unfinished", ignore_errors=True)
    return ledger


def open_run(out: Path, plan: Plan) -> dict[str, Any]:
    """Create the run's folder, or check that the one that is there is the same run; more seeds may be added."""
    return open_folder(out, plan.settings, "clips.csv", clip_table(plan.samples, plan.classes), _differences)


def _differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return a sentence about each setting that differs; seeds may be added, and folders may move."""
    if there.get("system") != wanted["system"]:
        return [f"system is {there.get('system')!r} there and {wanted['system']!r} now"]
    differences = []
    for key in {*there, *wanted} - {"seeds", "data", "system_title", "lacking"}:
        old, new = there.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            differences += [
                f"{k} is {old.get(k)!r} there and {new.get(k)!r} now"
                for k in {**old, **new}
                if old.get(k) != new.get(k)
            ]
        elif old != new:
            differences.append(f"{key} is {old!r} there and {new!r} now")
    return sorted(differences)


def _train(
    plan: Plan,
    out: Path,
    todo: Sequence[tuple[int, int]],
    inputs: Inputs,
    intervals: Sequence[IntervalSource],
    jobs: int,
    bars: Bars,
    folds: str,
) -> None:
    from joblib import Parallel, delayed

    way, seconds = _way(plan, todo, inputs, intervals, jobs, folds)
    write_atomically(out / "log" / "folds.json", json.dumps({"folds": way, "asked": folds, "seconds": seconds}))
    jobs = 1 if way == "sequential" else jobs
    with Meter(len(todo)) as meter:
        finished = bars.follow("folds", meter)
        if way == "stacked":
            _train_stacked(plan, out, todo, inputs, intervals, [meter.slot(n) for n in range(len(todo))], finished)
            return
        work = (
            delayed(run_fold)(plan, out, seed, number, inputs, intervals, meter.slot(place))
            for place, (seed, number) in enumerate(todo)
        )
        for _ in Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch=jobs + 1, batch_size=1)(work):
            finished(1)


def _require_way(asked: str, cluster: Cluster | None) -> None:
    if asked not in WAYS:
        raise unknown_name("way to train folds", asked, WAYS, "mien benchmark --help")
    if cluster is not None and asked != "auto":
        raise MienError(f"--folds {asked} is for this machine alone.", "--ray without --folds.", "one of the two.")


def _way(
    plan: Plan,
    todo: Sequence[tuple[int, int]],
    inputs: Inputs,
    intervals: Sequence[IntervalSource],
    jobs: int,
    asked: str,
) -> tuple[str, dict[str, float]]:
    """How folds are trained, and the seconds that each way was thought to take where that was to be decided."""
    # Every network is trained for some epochs; other systems are not worth loading here.
    if asked != "auto" or "epochs" not in plan.parameters or len(todo) == 1:
        return (asked if asked != "auto" else "processes"), {}
    from mien.classifiers.net import NetClassifier
    from mien.classifiers.training import device_of
    from mien.evaluation.execution.stacked import measure

    device = plan.parameters.get("device", "auto")
    if jobs == 1 and device_of(device) == "cpu":
        return "sequential", {}
    classifier = plan.system.build(len(plan.classes), plan.parameters)
    trains = [prepared(plan.folds[number].train, intervals) for _, number in todo]
    if not isinstance(classifier, NetClassifier) or min(len(train) for train in trains) < 2:
        return "processes", {}
    y = np.array([s.label for s in plan.samples], dtype=np.int64)
    costs = measure(classifier, inputs, y, trains, jobs, device)
    return costs.choice(), {way: round(s, 1) for way, s in costs.estimates().items() if math.isfinite(s)}


def _train_stacked(
    plan: Plan,
    out: Path,
    todo: Sequence[tuple[int, int]],
    inputs: Inputs,
    intervals: Sequence[IntervalSource],
    slots: Sequence[Callable[[float], None]],
    finished: Callable[[int], None],
) -> None:
    """Trains folds as one program, and writes those of a stack as soon as it is done."""
    from mien.classifiers.net import NetClassifier
    from mien.evaluation.execution.stacked import cannot, fit_folds

    nets: list[NetClassifier] = []
    for _, number in todo:
        classifier = plan.system.build(len(plan.classes), plan.parameters)
        if not isinstance(classifier, NetClassifier):
            raise cannot(f"{plan.system.name} has no network")
        require_training(plan.folds[number], intervals)
        nets.append(classifier)

    def share(part: Sequence[int], value: float) -> None:
        for place in part:
            slots[place](value)

    def write(part: Sequence[int], seconds: float) -> None:
        for place in part:
            started = time.perf_counter()
            answers = answers_of(plan.folds[todo[place][1]], nets[place], inputs, intervals)
            taken = seconds / len(part) + time.perf_counter() - started
            more = {"stacked": len(part), "device": nets[place].device}
            done = fold_done(plan, *todo[place], nets[place], intervals, answers, taken, more)
            write_fold(out, *todo[place], done)
            state = state_file(out, *todo[place])
            for left in state.parent.glob(f"{state.name}-*"):  # of this fold's training alone, which was stopped
                left.unlink(missing_ok=True)
            nets[place].models = []
            finished(1)

    fit_folds(
        nets,
        inputs,
        np.array([s.label for s in plan.samples], dtype=np.int64),
        [prepared(plan.folds[number].train, intervals) for _, number in todo],
        [fold_seed(seed, number) for seed, number in todo],
        device=plan.parameters.get("device", "auto"),
        progress=share,
        finished=write,
    )


def _train_on(
    cluster: Cluster,
    plan: Plan,
    out: Path,
    todo: Sequence[tuple[int, int]],
    inputs: Inputs,
    intervals: Sequence[IntervalSource],
    bars: Bars,
    on_warning: Callable[[str], None] | None,
) -> None:
    smaller = []
    with Meter(len(todo)) as meter:
        finished = bars.follow("folds", meter)
        for seed, number, done in cluster.folds(plan, out, todo, inputs, intervals, meter.slot):
            write_fold(out, seed, number, done)
            meter.slot(todo.index((seed, number)))(1.0)  # it may have run where the meter cannot be seen
            finished(1)
            if "smaller_batch" in json.loads(done.log):
                smaller.append(plan.folds[number].name)
    if smaller and on_warning is not None:
        on_warning(
            f"In {len(smaller)} of {len(todo)} folds a GPU's memory was too small for the batch, which was halved: "
            f"{', '.join(smaller[:3])}{' ...' if len(smaller) > 3 else ''}; each log says to what."
        )
