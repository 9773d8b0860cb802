"""The inputs of the clips of a run, and the record of clips that cannot be prepared."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mien.errors import MienError
from mien.evaluation.execution.base import ClipInput, Executor, InputTask, RunInputs
from mien.evaluation.execution.processes import Processes
from mien.evaluation.ledger import FAILED, failures_file, notes_file, read_failures, require_source
from mien.evaluation.planning import Plan
from mien.io.atomic import write_atomically
from mien.preprocessing.cache import Cache, default_folder
from mien.preprocessing.inputs import ArrayInputs
from mien.preprocessing.prepare import process_died
from mien.progress import Bars
from mien.types import Sample

IN_MEMORY = 1 << 30
"""Bytes of inputs that are kept in memory; more stays in the cache and is read when needed."""


def settle_failures(
    out: Path, failures: Mapping[str, MienError], n_clips: int, on_warning: Callable[[str], None] | None
) -> None:
    """Record which clips could not be prepared; as soon as a fold is done, they must stay the same.

    Raises:
        MienError: Another clip fails now, or one does not fail any more.
    """
    before = {entry["clip"] for entry in read_failures(out)}
    if before != set(failures):
        if any((out / "ledger").glob("s*.csv")):
            clip = min(before ^ set(failures))
            raise MienError(
                f"{clip} {'could' if clip in failures else 'could not'} be prepared when this run began, and "
                f"{'cannot' if clip in failures else 'can'} now"
                + (f": {failures[clip].found}" if clip in failures else "."),
                "the same clips in every fold.",
                f"`--out {out}-2`; or its files as they were.",
            )
        # Unfinished folds were trained on other clips.
        shutil.rmtree(out / "unfinished", ignore_errors=True)
        entries = [{"clip": k, "found": e.found, "expected": e.expected, "fix": e.fix} for k, e in failures.items()]
        write_atomically(failures_file(out), json.dumps(entries, indent=2) + "\n")
    if failures and on_warning is not None:
        first = next(iter(failures))
        on_warning(
            f"{len(failures)} of {n_clips} clips could not be prepared and count as wrong; they are in "
            f"{failures_file(out)}. The first, {first}: {failures[first].found}"
        )


def write_notes(out: Path, notes: Mapping[str, tuple[str, ...]], on_warning: Callable[[str], None] | None) -> None:
    """Write what recipes report about clips (filled up, interpolated, detected), and warn of the most common note."""
    path = notes_file(out)
    if not notes:
        path.unlink(missing_ok=True)
        return
    write_atomically(path, json.dumps({clip: list(said) for clip, said in notes.items()}, indent=2) + "\n")
    if on_warning is not None:
        (commonest, n), *others = Counter(note for said in notes.values() for note in said).most_common()
        rest = f"And {len(others)} more such note(s): {path}." if others else f"They are in {path}."
        on_warning(f"Of {n} clip(s): {commonest} {rest}")


def prepare_inputs(
    plan: Plan,
    executor: Executor,
    bars: Bars,
    failures: dict[str, MienError] | None = None,
    notes: dict[str, tuple[str, ...]] | None = None,
) -> RunInputs:
    """Return the inputs of all clips of a plan; they are kept in memory where they fit in `IN_MEMORY`.

    Args:
        plan: The run.
        executor: Where clips are prepared. Ready flow pictures are read in this process: that is faster.
        bars: Where progress is shown.
        failures: Receives the clips that cannot be prepared, by key. None: the first of them is raised.
        notes: Receives what the recipe reports about clips, by key.

    Raises:
        MienError: A clip cannot be prepared and `failures` is None; or no clip of a database can be prepared.
    """
    table = plan.samples
    recipes = {m: plan.system.recipe(m, plan.parameters) for m in {s.clip.medium for s in table}}
    meter = bars.start("clips prepared", len(table))
    recipe = next(iter(recipes.values()))
    several = recipe.axes.startswith("K")
    large = several or len(table) * 4 * math.prod(n or 1 for n in recipe.shape) > IN_MEMORY
    if not large and all(s.clip.medium != "frames" for s in table):
        executor = Processes(1)
    cache = Cache(default_folder())
    tasks = [InputTask(recipes[s.clip.medium], s.clip, cache, large) for s in table]
    made: list[ClipInput] = []
    failed: dict[str, MienError] = {}
    for task, found in zip(tasks, executor.inputs(tasks), strict=True):
        one = process_died(task.clip) if found is None else found
        if isinstance(one, MienError):
            require_source(task.clip)
            if failures is None:
                raise one
            failed[task.clip.key] = one
            one = ClipInput(None, FAILED)
        if one.notes and notes is not None:
            notes[task.clip.key] = one.notes
        made.append(one)
        meter(1)
    if failures is not None:
        _require_some(table, failed)
        failures.update(failed)
    sources = tuple(one.interval_source for one in made)
    if large:
        return RunInputs(executor.gather(tasks, made), sources)
    arrays = [one.array for one in made]
    if failed:
        # Never trained on and never predicted; NaN would show a mistake.
        nothing = np.full(next(a.shape for a in arrays if a is not None), np.nan, np.float32)
        arrays = [nothing if a is None else a for a in arrays]
    return RunInputs(ArrayInputs(np.stack(arrays)), sources)


def _require_some(table: Sequence[Sample], failed: Mapping[str, MienError]) -> None:
    """Raise MienError where no clip of a database can be prepared: then it is not the clips that are bad."""
    for name in sorted({s.clip.dataset for s in table}):
        keys = [s.clip.key for s in table if s.clip.dataset == name]
        if all(key in failed for key in keys):
            first = failed[keys[0]]
            raise MienError(
                f"None of the {len(keys)} clips of {name} can be prepared. The first: {first.found}",
                first.expected,
                first.fix,
            )
