"""The clips of a run become inputs; those that cannot are settled once and for all folds."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import MienError
from mien.evaluation.execution.folds import one_thread
from mien.evaluation.ledger import FAILED, failures_file, notes_file, read_failures
from mien.evaluation.planning import Plan
from mien.io.atomic import write_atomically
from mien.preprocessing import Recipe
from mien.preprocessing.cache import Cache, default_folder, source_digest
from mien.preprocessing.inputs import ArrayInputs, Inputs, cached_inputs
from mien.preprocessing.prepare import process_died, run_parallel, unexpected_failure
from mien.progress import Bars
from mien.types import Clip, IntervalSource, Sample

if TYPE_CHECKING:
    from mien.evaluation.execution.cluster import Cluster

Made = tuple[Any, IntervalSource, str, tuple[str, ...]]
"""A clip's input (None where it stays in the cache), its interval, its digest, and notes of its recipe."""

HELD = 1 << 30
"""Bytes of inputs that are held in memory; more stays in the cache and is read when it is trained on."""


def settle_failures(
    out: Path, failures: Mapping[str, MienError], n_clips: int, on_warning: Callable[[str], None] | None
) -> None:
    """Writes down which clips could not be prepared; once a fold is done they must stay the same ones.

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
        # What was half trained, was trained on other clips.
        shutil.rmtree(out / "unfinished", ignore_errors=True)
        entries = [{"clip": k, "found": e.found, "expected": e.expected, "fix": e.fix} for k, e in failures.items()]
        write_atomically(failures_file(out), json.dumps(entries, indent=2) + "\n")
    if failures and on_warning is not None:
        first = next(iter(failures))
        on_warning(
            f"{len(failures)} of {n_clips} clips could not be prepared and count as wrong; they are in "
            f"{failures_file(out)}. The first, {first}: {failures[first].found}"
        )


def tell_notes(out: Path, notes: Mapping[str, tuple[str, ...]], on_warning: Callable[[str], None] | None) -> None:
    """Writes down what recipes want known of clips (filled up, interpolated, found), and tells the commonest."""
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
    jobs: int,
    bars: Bars,
    failures: dict[str, MienError] | None = None,
    cluster: Cluster | None = None,
    notes: dict[str, tuple[str, ...]] | None = None,
) -> tuple[Inputs, list[IntervalSource]]:
    """Every clip's input, in memory where that is small, and where its onset and apex came from.

    Args:
        plan: The run.
        jobs: Clips side by side.
        bars: Where progress is shown.
        failures: Takes the clips that cannot be prepared, by key; None lets the first one be raised. Their interval is
            `FAILED` and their input not a number.
        cluster: Where it is done instead.
        notes: Takes what the recipe wants known of clips, by key.

    Raises:
        MienError: A clip cannot be prepared and `failures` is None; or not one clip of a database can be: then it is
            not the clips that are bad.
    """
    from joblib import delayed

    table = plan.samples
    recipes = {m: plan.system.recipe(m, plan.parameters) for m in {s.clip.medium for s in table}}
    meter = bars.start("clips prepared", len(table))
    # Ready pictures are read faster than processes start, or than a cache entry is checked.
    ready = all(s.clip.medium == "flow" for s in table)
    if ready:
        jobs = 1
    one = next(iter(recipes.values()))
    several = one.axes.startswith("K")
    large = several or len(table) * 4 * math.prod(n or 1 for n in one.shape) > HELD
    cache = Cache(default_folder())
    work = [(recipes[s.clip.medium], s.clip, cache, large) for s in table]
    if cluster is not None and (large or not ready):
        results = cluster.inputs(work)
    else:
        cluster, results = None, run_parallel([delayed(prepare_input)(*each) for each in work], jobs)
    arrays: list[Any] = []
    intervals: list[IntervalSource] = []
    digests = []
    failed: dict[str, MienError] = {}
    for sample, made in zip(table, results, strict=True):
        if made is None:
            made = process_died(sample.clip)
        if isinstance(made, MienError):
            if failures is None:
                raise made
            failed[sample.clip.key] = made
            made = None, FAILED, "", ()
        array, interval, digest, said = made
        if said and notes is not None:
            notes[sample.clip.key] = said
        arrays.append(array)
        intervals.append(interval)
        digests.append(digest)
        meter(1)
    if failures is not None:
        _require_some(table, failed)
        failures.update(failed)
    if large and cluster is not None:
        return cluster.gather(one, arrays), intervals
    if large:
        return cached_inputs([s.clip for s in table], one, cache, digests), intervals
    if failed:
        # Never trained on and never asked about; a mistake would show.
        nothing = np.full(next(a.shape for a in arrays if a is not None), np.nan, np.float32)
        arrays = [nothing if a is None else a for a in arrays]
    return ArrayInputs(np.stack(arrays)), intervals


def _require_some(table: Sequence[Sample], failed: Mapping[str, MienError]) -> None:
    for name in sorted({s.clip.dataset for s in table}):
        keys = [s.clip.key for s in table if s.clip.dataset == name]
        if all(key in failed for key in keys):
            first = failed[keys[0]]
            raise MienError(
                f"Not one of the {len(keys)} clips of {name} can be prepared. The first: {first.found}",
                first.expected,
                first.fix,
            )


def prepare_input(recipe: Recipe, clip: Clip, cache: Cache, large: bool) -> Made | MienError:
    """A clip's input, its interval, its digest and notes, or why there is none; a large one stays in the cache."""
    try:
        return _made_input(recipe, clip, cache, large)
    except MienError as error:
        return error
    except (OSError, MemoryError) as error:  # the machine's fault, not the clip's
        raise MienError(
            f"{clip.key} could not be prepared on this machine ({type(error).__name__}: {error}).",
            "room in memory and on the disk.",
            "`--jobs 1`, or `df` and `free` to see how much room is left; what is finished is kept.",
        ) from None
    except Exception as error:  # one clip must never stop the others; its kind and text are kept
        return unexpected_failure(clip, error)


def _made_input(recipe: Recipe, clip: Clip, cache: Cache, large: bool) -> Made:
    one_thread()
    if clip.medium == "flow" and not large:
        prepared, digest = recipe.apply(clip), ""
    else:
        digest = source_digest(clip)
        prepared = cache.load_or_apply(clip, recipe)[0]
    array = None if large else np.asarray(prepared.array, np.float32)
    return array, prepared.interval_source, digest, prepared.notes
