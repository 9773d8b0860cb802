"""benchmark(): train and test one system on every fold of a protocol, and write the ledger."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mien
from mien.benchmark.ledger import Ledger, Row, fold_file, open_folder, read_ledger, rows_as_csv
from mien.checkpoint import require_unseen
from mien.datasets.base import Dataset
from mien.datasets.labels import label_map, own_labels, samples
from mien.errors import MienError
from mien.files import write_atomically
from mien.progress import Bars, Meter
from mien.protocols.leakage import check_folds, check_ledger
from mien.protocols.splits import PROTOCOLS, lacking_classes, make_folds
from mien.recipe import Recipe
from mien.recipe.cache import Cache, default_folder, source_digest
from mien.recipe.inputs import ArrayInputs, Inputs, gather
from mien.systems import system as system_named
from mien.systems.base import System
from mien.types import Clip, Fold, Sample

HELD = 1 << 30
"""Bytes of inputs that are held in memory; more stays in the cache and is read when it is trained on."""


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
) -> Ledger:
    """Score a system: every fold of the protocol, every seed; resumes when `out` holds part of the same run.

    Each fold is written whole, by atomic rename, as soon as it is done, so a killed run loses at most the folds in
    progress. Each fold runs on one thread and from its own seed: the ledger does not depend on `jobs` or on order.

    Args:
        out: Folder of the run.
        jobs: Folds trained side by side; None takes the number of cores.
        bars: Show progress on the terminal.
        data, system, protocol, labels, seeds, parameters, protocol_parameters, shuffle_labels: See `plan`.

    Returns:
        The complete ledger.

    Raises:
        MienError: As `plan`; `out` holds another run; a clip cannot be read; a row in `out` was changed by hand.
    """
    out = Path(out)
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
    settings = open_run(out, decided)
    todo = [
        (seed, number)
        for seed in settings["seeds"]
        for number in range(len(decided.folds))
        if not fold_file(out, seed, number).is_file()
    ]
    if todo:
        jobs = max(1, min(jobs or os.cpu_count() or 1, len(todo)))
        with Bars(show=bars) as shown:
            inputs, intervals = prepare_inputs(decided, jobs, shown)
            _train(decided, out, todo, inputs, intervals, jobs, shown)
    ledger = read_ledger(out)
    wrong = [p for p in check_ledger(ledger, decided.samples, decided.folds) if p.severity == "error"]
    if wrong:
        raise MienError(
            f"The ledger in {str(out)!r} is not that of this run: {wrong[0].where} {wrong[0].what}"
            + (f" (and {len(wrong) - 1} more)." if len(wrong) > 1 else "."),
            "rows as they were written.",
            f"a new --out folder; or remove the file with that clip from {out}/ledger, and the fold is redone.",
        )
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
        if there["system"] == wanted["system"]
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


def prepare_inputs(decided: Plan, jobs: int, bars: Bars) -> tuple[Inputs, list[str]]:
    """Every clip's input, in memory where that is small, and where its onset and apex came from."""
    from joblib import Parallel, delayed

    table = decided.samples
    recipes = {m: decided.system.recipe(m, decided.parameters) for m in {s.clip.medium for s in table}}
    meter = bars.start("clips prepared", len(table))
    # Ready pictures are read faster than processes start, or than a cache entry is checked.
    if all(s.clip.medium == "flow" for s in table):
        jobs = 1
    one = next(iter(recipes.values()))
    several = one.axes.startswith("K")
    large = several or len(table) * 4 * math.prod(n or 1 for n in one.shape) > HELD
    cache = Cache(default_folder())
    work = (delayed(_input)(recipes[s.clip.medium], s.clip, cache, large) for s in table)
    arrays, intervals, digests = [], [], []
    for array, interval, digest in Parallel(n_jobs=jobs, return_as="generator")(work):
        arrays.append(array)
        intervals.append(interval)
        digests.append(digest)
        meter(1)
    if large:
        return gather([s.clip for s in table], one, cache, digests), intervals
    return ArrayInputs(np.stack(arrays)), intervals


def _input(recipe: Recipe, clip: Clip, cache: Cache, large: bool) -> tuple[NDArray[np.float32] | None, str, str]:
    """A clip's input, its interval and its digest; the input stays in the cache where it is large."""
    _one_thread()
    if clip.medium == "flow" and not large:
        prepared, digest = recipe.prepare(clip), ""
    else:
        digest = source_digest(clip)
        prepared = cache.prepare(clip, recipe)[0]
    return None if large else np.asarray(prepared.array, np.float32), prepared.interval, digest


def _train(
    decided: Plan,
    out: Path,
    todo: Sequence[tuple[int, int]],
    inputs: Inputs,
    intervals: Sequence[str],
    jobs: int,
    bars: Bars,
) -> None:
    from joblib import Parallel, delayed

    with Meter(len(todo)) as meter:
        finished = bars.follow("folds", meter)
        work = (
            delayed(run_fold)(decided, out, seed, number, inputs, intervals, meter.slot(place))
            for place, (seed, number) in enumerate(todo)
        )
        for _ in Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch=jobs + 1, batch_size=1)(work):
            finished(1)


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

    Only the training rows of `inputs` are handed to `fit`.

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
    train, test = np.array(fold.train), np.array(fold.test)
    y = np.array([s.label for s in decided.samples], dtype=np.int64)
    groups = [decided.samples[i].clip.person for i in fold.train]
    fold_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    started = time.perf_counter()
    with threadpool_limits(1):
        classifier = decided.system.build(len(decided.classes), decided.parameters)
        if hasattr(classifier, "keep"):
            classifier.keep = keep
        classifier.fit(inputs[train], y[train], groups, seed=fold_seed, progress=progress)
        probabilities = classifier.predict_proba(inputs[test])
    rows = [
        Row(
            dataset=decided.samples[i].clip.dataset,
            subject=decided.samples[i].clip.subject,
            clip=decided.samples[i].clip.name,
            fold=fold.name,
            seed=seed,
            interval=intervals[i],
            y_true=decided.classes[y[i]],
            y_pred=decided.classes[int(p.argmax())],
            probabilities=tuple(float(v) for v in p),
        )
        for i, p in zip(fold.test, probabilities, strict=True)
    ]
    log = {"fold": fold.name, "seconds": time.perf_counter() - started, **_curves(classifier)}
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
    return record


def _one_thread() -> None:
    """One thread per fold: sums then have one order, so the ledger is the same for any number of jobs."""
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    else:
        os.environ["OMP_NUM_THREADS"] = "1"
