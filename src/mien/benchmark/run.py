"""benchmark(): train and test one system on every fold of a protocol, and write the ledger."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import mien
from mien.benchmark.ledger import (
    Ledger,
    Row,
    failures_file,
    fold_file,
    notes_file,
    open_folder,
    read_failures,
    read_ledger,
    rows_as_csv,
    told_plainly,
)
from mien.checkpoint import require_unseen
from mien.datasets.base import Dataset
from mien.datasets.labels import label_map, own_labels, samples
from mien.errors import MienError, unknown_name
from mien.files import held, sweep, write_atomically
from mien.progress import Bars, Meter, Slot
from mien.protocols.leakage import FAILED, check_folds, check_ledger
from mien.protocols.splits import PROTOCOLS, lacking_classes, make_folds
from mien.recipe import Recipe
from mien.recipe.cache import Cache, default_folder, source_digest
from mien.recipe.inputs import ArrayInputs, Inputs, gather
from mien.recipe.prepare import died, side_by_side, unexpected
from mien.systems import system as system_named
from mien.systems.base import Classifier, System
from mien.types import Clip, Fold, Sample

Made = tuple[Any, str, str, tuple[str, ...]]
"""A clip's input (None where it stays in the cache), its interval, its digest, and notes of its recipe."""

HELD = 1 << 30
"""Bytes of inputs that are held in memory; more stays in the cache and is read when it is trained on."""


WAYS = ("auto", "stacked", "processes", "sequential")
"""How the folds of a run may be trained."""


class Cluster(Protocol):
    """Machines that prepare the clips of a run and train its folds; what they make is written by the process that asks.

    See `mien.benchmark.ray_folds.connect`.
    """

    @property
    def places(self) -> int:
        """Folds that there is room for now."""
        ...

    def stop(self) -> None:
        """Ends what other threads have asked for."""
        ...

    def inputs(self, work: Sequence[tuple[Recipe, Clip, Cache, bool]]) -> Iterator[Made | MienError | None]:
        """What `prepare_input` gives, in order; of large inputs whatever `gather` takes; None for a clip that kills."""
        ...

    def gather(self, recipe: Recipe, large: Sequence[Any]) -> Inputs:
        """Large inputs, None for those that could not be prepared."""
        ...

    def folds(
        self,
        decided: Plan,
        out: Path,
        todo: Sequence[tuple[int, int]],
        inputs: Inputs,
        intervals: Sequence[str],
        slot: Callable[[int], Slot],
    ) -> Iterator[tuple[int, int, FoldDone]]:
        """(seed, number of the fold, what to write), in the order in which they finish."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a run is, before anything is trained.

    Attributes:
        system: The system.
        parameters: All its parameters.
        classes: Class names of the label map.
        samples: Clips with their classes, in the order the folds index.
        folds: The protocol's folds.
        settings: What run.json holds.
    """

    system: System
    parameters: Mapping[str, Any]
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    folds: tuple[Fold, ...]
    settings: Mapping[str, Any]


def plan(
    data: Sequence[Dataset],
    system: str,
    *,
    protocol: str = "loso",
    labels: str | None = None,
    seeds: Sequence[int] = (0,),
    parameters: Mapping[str, Any] | None = None,
    protocol_parameters: Mapping[str, Any] | None = None,
    shuffle_labels: bool = False,
) -> Plan:
    """Decide a run without training anything: classes, folds, settings.

    Args:
        data: One or more databases; several are pooled.
        system: Name of the system.
        protocol: Name of the protocol.
        labels: Label map; None takes that of the database, or MEGC 2019's three classes for several databases.
        seeds: Training seeds; each gives a row per clip.
        parameters: Parameters of the system that differ from its defaults.
        protocol_parameters: Parameters of the protocol.
        shuffle_labels: Permute the classes over all clips first: an honest benchmark then falls to chance.

    Raises:
        MienError: Unknown names, too few subjects, one class only, or folds that leak.
    """
    chosen = system_named(system)
    all_parameters = chosen.with_parameters(parameters or {})
    if len({d.id for d in data}) < len(data):
        names = ", ".join(d.id for d in data)
        raise MienError(f"One database is given twice ({names}).", "each database once.", "one NAME=FOLDER per name.")
    cards = [d.card.labels for d in data]
    name = labels or (cards[0] if len(set(cards)) == 1 else "megc2019")
    clips = [clip for d in data for clip in d.clips()]
    _require_unique(clips)
    classes = (own_labels(clips) if name == "own" else label_map(name)).classes
    table = samples(clips, name)
    _require_classes(table, classes, name, clips)
    classes, table = _drop_empty_classes(classes, table)
    if shuffle_labels:
        order = np.random.default_rng(0).permutation(len(table))
        table = [Sample(s.clip, table[j].label, s.origin) for s, j in zip(table, order, strict=True)]
    missing = sorted({s.clip.medium for s in table} - set(chosen.recipes))
    if missing:
        raise MienError(
            f"{chosen.name} cannot read {' or '.join(missing)}.", f"{' or '.join(chosen.recipes)}.", "`mien systems`."
        )
    folds = make_folds(protocol, table, **(protocol_parameters or {}))
    if all_parameters.get("start"):
        require_unseen(all_parameters["start"], sorted({s.clip.dataset for s in table}))
    record = PROTOCOLS[protocol]
    leaks = [p for p in check_folds(table, folds, shares_subjects=record.shares_subjects) if p.severity == "error"]
    if leaks:
        raise MienError(
            f"The folds leak: {leaks[0].where}: {leaks[0].what}",
            "no clip, copy or subject on both sides of a fold.",
            "`mien check` on the data, or another --protocol.",
        )
    settings = {
        "version": mien.__version__,
        "system": chosen.name,
        "system_title": chosen.title,
        "parameters": all_parameters,
        "recipes": {
            medium: chosen.recipe(medium, all_parameters).fingerprint
            for medium in sorted({s.clip.medium for s in table})
        },
        "protocol": protocol,
        "protocol_parameters": dict(protocol_parameters or {}),
        "protocol_warning": record.warning,
        "shares_subjects": record.shares_subjects,
        "labels": name,
        "classes": list(classes),
        "data": [{"name": d.id, "root": str(d.root)} for d in data],
        "datasets": sorted({s.clip.dataset for s in table}),
        "n_clips": len(table),
        "clip_table": hashlib.sha256(_clip_table(table, classes).encode()).hexdigest()[:16],
        "seeds": sorted(set(seeds)),
        "n_folds": len(folds),
        "shuffle_labels": shuffle_labels,
        "drawn": any(d.drawn for d in data),
        "lacking": {
            fold: [classes[label] for label in missing_labels]
            for fold, missing_labels in lacking_classes(table, folds).items()
        },
    }
    # What run.json gives back after a round trip, so that comparing with it compares like with like.
    settings = json.loads(json.dumps(settings))
    return Plan(chosen, all_parameters, classes, tuple(table), tuple(folds), settings)


def _require_unique(clips: Sequence[Clip]) -> None:
    seen: set[str] = set()
    for clip in clips:
        if clip.key in seen:
            raise MienError(
                f"Two clips are both called {clip.key}.",
                "one clip per dataset, subject and name.",
                "`mien check` on the data; a database and its flow pictures cannot be pooled.",
            )
        seen.add(clip.key)


def _require_classes(table: Sequence[Sample], classes: Sequence[str], name: str, clips: Sequence[Clip]) -> None:
    present = sorted({classes[s.label] for s in table})
    if len(present) < 2:
        emotions = sorted({clip.emotion or "none" for clip in clips})
        raise MienError(
            f"Under the label map {name!r} there is "
            f"{f'only one class ({present[0]})' if present else 'no clip at all'}; "
            f"the data's own labels are {', '.join(emotions) or 'none'}.",
            "clips of at least two classes.",
            "another label map, such as `--labels own`.",
        )


def _drop_empty_classes(classes: Sequence[str], table: list[Sample]) -> tuple[tuple[str, ...], list[Sample]]:
    """Classes that some clip has, with the labels renumbered: SMIC has no "other" in STRCN's four classes."""
    used = sorted({s.label for s in table})
    if len(used) == len(classes):
        return tuple(classes), table
    place = {label: n for n, label in enumerate(used)}
    return tuple(classes[label] for label in used), [Sample(s.clip, place[s.label], s.origin) for s in table]


def _clip_table(table: Sequence[Sample], classes: Sequence[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["dataset", "subject", "clip", "label", "origin", "onset", "apex", "offset"])
    for s in table:
        interval = s.clip.interval
        times = ("", "", "") if interval is None else (interval.onset, interval.apex, interval.offset)
        writer.writerow([s.clip.dataset, s.clip.subject, s.clip.name, classes[s.label], s.origin, *times])
    return out.getvalue()


def benchmark(
    data: Sequence[Dataset],
    system: str,
    out: Path,
    *,
    protocol: str = "loso",
    labels: str | None = None,
    seeds: Sequence[int] = (0,),
    parameters: Mapping[str, Any] | None = None,
    protocol_parameters: Mapping[str, Any] | None = None,
    shuffle_labels: bool = False,
    jobs: int | None = None,
    bars: bool = False,
    told: Callable[[str], None] | None = None,
    cluster: Cluster | None = None,
    folds: str = "auto",
) -> Ledger:
    """Score a system: every fold of the protocol, every seed; resumes when `out` holds part of the same run.

    Each fold is written whole, by atomic rename, as soon as it is done, so a killed run loses at most the folds in
    progress. Each fold runs on one thread and from its own seed: the ledger does not depend on `jobs` or on order.

    A clip that cannot be prepared costs no other clip its answer: nobody trains on it, and where it is tested it has a
    row without an answer, which counts as wrong. It is the same clips in every fold of a run.

    Args:
        out: Folder of the run.
        jobs: Folds trained side by side; None takes the number of cores.
        bars: Show progress on the terminal.
        told: Called with a sentence when clips could not be prepared, before anything is trained.
        cluster: Where clips are prepared and folds trained instead of in processes of this machine.
        folds: "stacked" trains them as one program (`mien.benchmark.stacked`; the ledger is then the same up to
            rounding), "processes" and "sequential" each alone; "auto" takes what would be fastest here.
        data, system, protocol, labels, seeds, parameters, protocol_parameters, shuffle_labels: See `plan`.

    Returns:
        The complete ledger.

    Raises:
        MienError: As `plan`; `out` holds another run; no clip of a database can be prepared, or other clips than when
            the run began; a row in `out` was changed by hand.
    """
    out = Path(out)
    _require_way(folds, cluster)
    decided = plan(
        data,
        system,
        protocol=protocol,
        labels=labels,
        seeds=seeds,
        parameters=parameters,
        protocol_parameters=protocol_parameters,
        shuffle_labels=shuffle_labels,
    )
    with held(out) as alone, told_plainly(out):
        settings = open_run(out, decided)
        if alone:
            sweep(out)
        return _run(decided, settings, out, jobs, bars, told, cluster, folds)


def _run(
    decided: Plan,
    settings: Mapping[str, Any],
    out: Path,
    jobs: int | None,
    bars: bool,
    told: Callable[[str], None] | None,
    cluster: Cluster | None,
    folds: str,
) -> Ledger:
    """The folds of a run that are not there yet, and its whole ledger."""
    todo = [
        (seed, number)
        for seed in settings["seeds"]
        for number in range(len(decided.folds))
        if not fold_file(out, seed, number).is_file()
    ]
    if todo:
        jobs = max(1, min(jobs or os.cpu_count() or 1, len(todo)))
        with Bars(show=bars) as shown:
            failures: dict[str, MienError] = {}
            notes: dict[str, tuple[str, ...]] = {}
            inputs, intervals = prepare_inputs(decided, jobs, shown, failures, cluster, notes)
            _settle_failures(out, failures, len(decided.samples), told)
            _tell_notes(out, notes, told)
            if cluster is None:
                _train(decided, out, todo, inputs, intervals, jobs, shown, folds)
            else:
                _train_on(cluster, decided, out, todo, inputs, intervals, shown, told)
    ledger = read_ledger(out)
    wrong = [p for p in check_ledger(ledger, decided.samples, decided.folds) if p.severity == "error"]
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


def open_run(out: Path, decided: Plan) -> dict[str, Any]:
    """Create the run's folder, or check that the one that is there is the same run; more seeds may be added."""
    return open_folder(out, decided.settings, "clips.csv", _clip_table(decided.samples, decided.classes), _differences)


def _differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Each setting that differs, told for people; the system first. Seeds may be added, folders may move."""
    keys = dict.fromkeys(["system", *there, *wanted])
    told = []
    for key in (
        keys.keys() - {"seeds", "data", "system_title", "lacking"}
        if there.get("system") == wanted["system"]
        else ["system"]
    ):
        old, new = there.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            told += [
                f"{k} is {old.get(k)!r} there and {new.get(k)!r} now"
                for k in {**old, **new}
                if old.get(k) != new.get(k)
            ]
        elif old != new:
            told.append(f"{key} is {old!r} there and {new!r} now")
    return sorted(told)


def _settle_failures(
    out: Path, failures: Mapping[str, MienError], n_clips: int, told: Callable[[str], None] | None
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
    if failures and told is not None:
        first = next(iter(failures))
        told(
            f"{len(failures)} of {n_clips} clips could not be prepared and count as wrong; they are in "
            f"{failures_file(out)}. The first, {first}: {failures[first].found}"
        )


def _tell_notes(out: Path, notes: Mapping[str, tuple[str, ...]], told: Callable[[str], None] | None) -> None:
    """Writes down what recipes want known of clips (filled up, interpolated, found), and tells the commonest."""
    path = notes_file(out)
    if not notes:
        path.unlink(missing_ok=True)
        return
    write_atomically(path, json.dumps({clip: list(said) for clip, said in notes.items()}, indent=2) + "\n")
    if told is not None:
        (commonest, n), *others = Counter(note for said in notes.values() for note in said).most_common()
        rest = f"And {len(others)} more such note(s): {path}." if others else f"They are in {path}."
        told(f"Of {n} clip(s): {commonest} {rest}")


def prepare_inputs(
    decided: Plan,
    jobs: int,
    bars: Bars,
    failures: dict[str, MienError] | None = None,
    cluster: Cluster | None = None,
    notes: dict[str, tuple[str, ...]] | None = None,
) -> tuple[Inputs, list[str]]:
    """Every clip's input, in memory where that is small, and where its onset and apex came from.

    Args:
        decided: The run.
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

    table = decided.samples
    recipes = {m: decided.system.recipe(m, decided.parameters) for m in {s.clip.medium for s in table}}
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
        cluster, results = None, side_by_side([delayed(prepare_input)(*each) for each in work], jobs)
    arrays: list[Any] = []
    intervals, digests = [], []
    failed: dict[str, MienError] = {}
    for sample, made in zip(table, results, strict=True):
        if made is None:
            made = died(sample.clip)
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
        return gather([s.clip for s in table], one, cache, digests), intervals
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
        return unexpected(clip, error)


def _made_input(recipe: Recipe, clip: Clip, cache: Cache, large: bool) -> Made:
    _one_thread()
    if clip.medium == "flow" and not large:
        prepared, digest = recipe.prepare(clip), ""
    else:
        digest = source_digest(clip)
        prepared = cache.prepare(clip, recipe)[0]
    array = None if large else np.asarray(prepared.array, np.float32)
    return array, prepared.interval, digest, prepared.notes


def _train(
    decided: Plan,
    out: Path,
    todo: Sequence[tuple[int, int]],
    inputs: Inputs,
    intervals: Sequence[str],
    jobs: int,
    bars: Bars,
    folds: str,
) -> None:
    from joblib import Parallel, delayed

    way, seconds = _way(decided, todo, inputs, intervals, jobs, folds)
    write_atomically(out / "log" / "folds.json", json.dumps({"folds": way, "asked": folds, "seconds": seconds}))
    jobs = 1 if way == "sequential" else jobs
    with Meter(len(todo)) as meter:
        finished = bars.follow("folds", meter)
        if way == "stacked":
            _train_stacked(decided, out, todo, inputs, intervals, [meter.slot(n) for n in range(len(todo))], finished)
            return
        work = (
            delayed(run_fold)(decided, out, seed, number, inputs, intervals, meter.slot(place))
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
    decided: Plan,
    todo: Sequence[tuple[int, int]],
    inputs: Inputs,
    intervals: Sequence[str],
    jobs: int,
    asked: str,
) -> tuple[str, dict[str, float]]:
    """How folds are trained, and the seconds that each way was thought to take where that was to be decided."""
    # Every network is trained for some epochs; other systems are not worth loading here.
    if asked != "auto" or "epochs" not in decided.parameters or len(todo) == 1:
        return (asked if asked != "auto" else "processes"), {}
    from mien.benchmark.stacked import measure
    from mien.training import NetClassifier, device_of

    device = decided.parameters.get("device", "auto")
    if jobs == 1 and device_of(device) == "cpu":
        return "sequential", {}
    classifier = decided.system.build(len(decided.classes), decided.parameters)
    trains = [_prepared(decided.folds[number].train, intervals) for _, number in todo]
    if not isinstance(classifier, NetClassifier) or min(len(train) for train in trains) < 2:
        return "processes", {}
    y = np.array([s.label for s in decided.samples], dtype=np.int64)
    costs = measure(classifier, inputs, y, trains, jobs, device)
    return costs.choice(), {way: round(s, 1) for way, s in costs.estimates().items() if math.isfinite(s)}


def _train_stacked(
    decided: Plan,
    out: Path,
    todo: Sequence[tuple[int, int]],
    inputs: Inputs,
    intervals: Sequence[str],
    slots: Sequence[Callable[[float], None]],
    finished: Callable[[int], None],
) -> None:
    """Trains folds as one program, and writes those of a stack as soon as it is done."""
    from mien.benchmark.stacked import cannot, fit_folds
    from mien.training import NetClassifier

    nets: list[NetClassifier] = []
    for _, number in todo:
        classifier = decided.system.build(len(decided.classes), decided.parameters)
        if not isinstance(classifier, NetClassifier):
            raise cannot(f"{decided.system.name} has no network")
        _require_training(decided.folds[number], intervals)
        nets.append(classifier)

    def share(part: Sequence[int], value: float) -> None:
        for place in part:
            slots[place](value)

    def write(part: Sequence[int], seconds: float) -> None:
        for place in part:
            started = time.perf_counter()
            answers = _answers(decided.folds[todo[place][1]], nets[place], inputs, intervals)
            taken = seconds / len(part) + time.perf_counter() - started
            more = {"stacked": len(part), "device": nets[place].device}
            done = _fold_done(decided, *todo[place], nets[place], intervals, answers, taken, more)
            write_fold(out, *todo[place], done)
            state = state_file(out, *todo[place])
            for left in state.parent.glob(f"{state.name}-*"):  # of this fold's training alone, which was stopped
                left.unlink(missing_ok=True)
            nets[place].models = []
            finished(1)

    fit_folds(
        nets,
        inputs,
        np.array([s.label for s in decided.samples], dtype=np.int64),
        [_prepared(decided.folds[number].train, intervals) for _, number in todo],
        [_fold_seed(seed, number) for seed, number in todo],
        device=decided.parameters.get("device", "auto"),
        progress=share,
        finished=write,
    )


def _train_on(
    cluster: Cluster,
    decided: Plan,
    out: Path,
    todo: Sequence[tuple[int, int]],
    inputs: Inputs,
    intervals: Sequence[str],
    bars: Bars,
    told: Callable[[str], None] | None,
) -> None:
    smaller = []
    with Meter(len(todo)) as meter:
        finished = bars.follow("folds", meter)
        for seed, number, done in cluster.folds(decided, out, todo, inputs, intervals, meter.slot):
            write_fold(out, seed, number, done)
            meter.slot(todo.index((seed, number)))(1.0)  # it may have run where the meter cannot be seen
            finished(1)
            if "smaller_batch" in json.loads(done.log):
                smaller.append(decided.folds[number].name)
    if smaller and told is not None:
        told(
            f"In {len(smaller)} of {len(todo)} folds a GPU's memory was too small for the batch, which was halved: "
            f"{', '.join(smaller[:3])}{' ...' if len(smaller) > 3 else ''}; each log says to what."
        )


def run_fold(
    decided: Plan,
    out: Path,
    seed: int,
    number: int,
    inputs: Inputs | NDArray[np.float32],
    intervals: Sequence[str],
    progress: Callable[[float], None] | None = None,
) -> None:
    """Train on one fold's training clips, predict its test clips, write its ledger rows and its log."""
    done = train_fold(decided, seed, number, inputs, intervals, progress, state_file(out, seed, number))
    write_fold(out, seed, number, done)
    if progress is not None:
        progress(1.0)


@dataclass(frozen=True, slots=True)
class FoldDone:
    """What a trained fold leaves.

    Attributes:
        rows: Its part of the ledger, as the bytes of its file.
        log: Seconds, loss curves, settings chosen: JSON.
    """

    rows: str
    log: str


def state_file(out: Path, seed: int, number: int) -> Path:
    """Where states of an unfinished fold go, less what a classifier adds to the name."""
    return out / "unfinished" / f"s{seed}-f{number:04d}"


def write_fold(out: Path, seed: int, number: int, done: FoldDone) -> None:
    """Write a fold's files; the ledger's last, since it is what says that the fold is done."""
    write_atomically(out / "log" / f"s{seed}-f{number:04d}.json", done.log)
    write_atomically(fold_file(out, seed, number), done.rows)


def train_fold(
    decided: Plan,
    seed: int,
    number: int,
    inputs: Inputs | NDArray[np.float32],
    intervals: Sequence[str],
    progress: Callable[[float], None] | None = None,
    keep: Path | None = None,
) -> FoldDone:
    """Train on one fold's training clips and predict its test clips; writes nothing but unfinished states.

    Only the training rows of `inputs` are handed to `fit`; clips that could not be prepared are in neither.

    Args:
        decided: The run.
        seed: Training seed.
        number: Which fold.
        inputs: Every clip's input.
        intervals: Where the onset and apex of each clip came from.
        progress: Called with the share that is done.
        keep: See `state_file`; None keeps no state.
    """
    from threadpoolctl import threadpool_limits

    _one_thread()
    fold = decided.folds[number]
    _require_training(fold, intervals)
    train = _prepared(fold.train, intervals)
    y = np.array([s.label for s in decided.samples], dtype=np.int64)
    groups = [decided.samples[i].clip.person for i in train]
    started = time.perf_counter()
    with threadpool_limits(1):
        classifier = decided.system.build(len(decided.classes), decided.parameters)
        if hasattr(classifier, "keep"):
            classifier.keep = keep
        answers: dict[int, NDArray[np.float32]] = {}
        if len(_prepared(fold.test, intervals)):
            classifier.fit(inputs[train], y[train], groups, seed=_fold_seed(seed, number), progress=progress)
            answers = _answers(fold, classifier, inputs, intervals)
    return _fold_done(decided, seed, number, classifier, intervals, answers, time.perf_counter() - started)


def _prepared(clips: Sequence[int], intervals: Sequence[str]) -> NDArray[np.int64]:
    """Those of some clips that could be prepared."""
    return np.array([i for i in clips if intervals[i] != FAILED], np.int64)


def _require_training(fold: Fold, intervals: Sequence[str]) -> None:
    if not len(_prepared(fold.train, intervals)):
        raise MienError(
            f"Of the fold {fold.name} not one training clip could be prepared.",
            "at least two.",
            "`mien check` on the data.",
        )


def _fold_seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _answers(
    fold: Fold, classifier: Classifier, inputs: Inputs | NDArray[np.float32], intervals: Sequence[str]
) -> dict[int, NDArray[np.float32]]:
    """Probabilities of each test clip that could be prepared."""
    test = _prepared(fold.test, intervals)
    if not len(test):
        return {}
    return dict(zip(test.tolist(), classifier.predict_proba(inputs[test]), strict=True))


def _fold_done(
    decided: Plan,
    seed: int,
    number: int,
    classifier: Classifier,
    intervals: Sequence[str],
    answers: Mapping[int, NDArray[np.float32]],
    seconds: float,
    more: Mapping[str, Any] | None = None,
) -> FoldDone:
    """A fold's rows, and its log, `more` among it."""
    fold = decided.folds[number]
    rows = [
        Row(
            dataset=decided.samples[i].clip.dataset,
            subject=decided.samples[i].clip.subject,
            clip=decided.samples[i].clip.name,
            fold=fold.name,
            seed=seed,
            interval=intervals[i],
            y_true=decided.classes[decided.samples[i].label],
            y_pred=decided.classes[int(answers[i].argmax())] if i in answers else "",
            probabilities=tuple(float(v) for v in answers[i]) if i in answers else (),
        )
        for i in fold.test
    ]
    log = {"fold": fold.name, "seconds": seconds, **_curves(classifier), **(more or {})}
    return FoldDone(rows_as_csv(rows, decided.classes), json.dumps(log))


def _curves(classifier: Any) -> dict[str, Any]:
    """What the classifier recorded while fitting: the mean loss of each epoch over its members, settings chosen."""
    record: dict[str, Any] = {}
    curves = getattr(classifier, "curves", None)
    if curves:
        shortest = min(len(curve) for curve in curves)
        record["loss"] = np.mean([curve[:shortest] for curve in curves], axis=0).round(6).tolist()
    chosen = getattr(classifier, "chosen", None)
    if chosen is not None:
        record["chosen"] = chosen
    smaller = getattr(classifier, "smaller_batch", None)
    if smaller is not None:
        record["smaller_batch"] = smaller
    return record


def _one_thread() -> None:
    """One thread per fold: sums then have one order, so the ledger is the same for any number of jobs."""
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    else:
        os.environ["OMP_NUM_THREADS"] = "1"
