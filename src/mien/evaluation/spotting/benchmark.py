"""spot_benchmark(): score a spotter on long videos; thresholds are chosen on training subjects only."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mien
from mien.datasets.base import Dataset
from mien.datasets.labels import label_map
from mien.errors import MienError
from mien.evaluation.ledger import fold_file, machine_errors, open_folder, require_place, require_source
from mien.evaluation.protocols import PROTOCOLS
from mien.evaluation.spotting.ledger import SpotLedger, SpotRow, read_spots, rows_as_csv
from mien.evaluation.spotting.metrics import Count, count
from mien.io.atomic import lock_run, require_writable_folder, sweep, write_atomically
from mien.io.video import frames_video, open_video, to_uint8
from mien.preprocessing.prepare import npy_bytes, unexpected_failure
from mien.preprocessing.threads import in_processes, use_one_thread
from mien.progress import Bars
from mien.spotting import spotter as spotter_named
from mien.spotting.base import KINDS, Kind, Model, Rows, Spot, Spotter, decide_all
from mien.spotting.spot import in_frames, watch, why_abstain, why_not
from mien.types import Clip, Fold, Sample


@dataclass(frozen=True, slots=True)
class Recogniser:
    """A recogniser of detected micro-expressions, for spot-then-recognise.

    Attributes:
        name: (video, found interval in frames from 0) to the name of a class; "" where none can be named. Must be
            fit to be sent to other processes.
        labels: Label map of its classes; true emotions are mapped to these.
        settings: What it is, for run.json.
    """

    name: Callable[[Clip, Spot], str]
    labels: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Filmed:
    """A long video with its true expressions.

    Attributes:
        clip: The whole video.
        true: Its expressions, in frames counted from 0.
    """

    clip: Clip
    true: tuple[Spot, ...]

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Return the database's number of each frame."""
        return np.array(self.clip.frame_nos, np.int64)


def filmed(data: Sequence[Dataset], labels: str | None = None) -> list[Filmed]:
    """Return all long videos of databases, including those without an expression.

    Args:
        data: The databases.
        labels: Label map of the emotions; None keeps the database's own words.

    Raises:
        MienError: A database has none, or labels an expression in a video that is not there.
    """
    found: list[Filmed] = []
    for dataset in data:
        videos = dataset.videos()
        if not videos:
            raise MienError(
                f"{dataset.id} in {str(dataset.root)!r} has no long videos.",
                "a database for spotting, with its frames: casme_sq or samm_lv.",
                "`mien datasets` for what each serves, `mien check` for what is missing.",
            )
        expressions = dataset.expressions()
        true: dict[tuple[str, str], list[Spot]] = {(v.subject, v.name): [] for v in videos}
        frames = {(v.subject, v.name): np.array(v.frame_nos, np.int64) for v in videos}
        for clip in expressions:
            place = clip.subject, clip.extra.get("video", clip.name)
            kind = clip.extra.get("kind", "micro")
            if kind not in KINDS or clip.interval is None or _outside(clip):
                continue  # `left_out_of_truth` counts them
            if place not in true:
                raise MienError(
                    f"{clip.key} is labelled in the video {place[1]!r} of subject {place[0]}, which is not there.",
                    "the frames of every labelled video.",
                    f"`mien check {dataset.id}={dataset.root}`.",
                )
            true[place].append(replace(_indexed(clip, frames[place], kind), emotion=_emotion(clip, labels)))
        found += [Filmed(v, tuple(sorted(true[v.subject, v.name], key=lambda s: s.onset))) for v in videos]
    return found


def left_out_of_truth(data: Sequence[Dataset]) -> dict[str, int]:
    """Return how many labelled expressions cannot be among the true intervals, by what they lack; empty where none.

    Args:
        data: The databases.
    """
    counts: Counter[str] = Counter()
    for dataset in data:
        for clip in dataset.expressions():
            kind = clip.extra.get("kind", "micro")
            if kind not in KINDS:
                counts[f"expression(s) of {dataset.id} of the kind {kind!r}"] += 1
            elif clip.interval is None:
                counts[f"{kind}-expression(s) of {dataset.id} without an interval"] += 1
            elif _outside(clip):
                counts[f"{kind}-expression(s) of {dataset.id} outside the frames of the video"] += 1
    return dict(counts.most_common())


def _outside(clip: Clip) -> bool:
    """Return whether a clip has frames but none within its interval."""
    span = clip.interval
    if span is None or not clip.frame_nos:
        return False
    return clip.frame_nos[-1] < span.onset or clip.frame_nos[0] > span.offset


def _emotion(clip: Clip, labels: str | None) -> str:
    if labels is None or labels == "own":
        return clip.emotion
    known = label_map(labels)
    place = known.of(clip)
    return "" if place is None else known.classes[place]


def _indexed(clip: Clip, numbers: NDArray[np.int64], kind: str) -> Spot:
    assert clip.interval is not None
    onset, stop = np.searchsorted(numbers, [clip.interval.onset, clip.interval.offset + 1])
    apex = clip.interval.apex
    middle = None if apex is None else int(np.searchsorted(numbers, apex))
    as_kind: Kind = "micro" if kind == "micro" else "macro"
    return Spot(int(onset), middle, max(int(stop) - 1, int(onset)), as_kind)


def spot_benchmark(
    data: Sequence[Dataset],
    name: str,
    out: Path,
    *,
    protocol: str = "loso",
    protocol_parameters: Mapping[str, Any] | None = None,
    seeds: Sequence[int] = (0,),
    parameters: Mapping[str, Any] | None = None,
    recogniser: Recogniser | None = None,
    jobs: int | None = None,
    bars: bool = False,
    on_warning: Callable[[str], None] | None = None,
) -> SpotLedger:
    """Score a spotter on all long videos of databases. Resumes if `out` holds part of the same run.

    Each video is read once. Then, in each fold, parameters are chosen by F1 on the videos of training subjects, a
    network, if the spotter has one, is trained on them, and expressions are detected in the test videos. Parameters
    that are given are not chosen.

    Args:
        data: Databases with long videos.
        name: Name of the spotter.
        out: Folder of the run.
        protocol: A protocol that keeps subjects apart.
        protocol_parameters: Its parameters.
        seeds: Training seeds; one is enough for spotters that are not trained.
        parameters: Parameters of the spotter that differ from its defaults.
        recogniser: Names the micro-expressions found (spot-then-recognise); None names none.
        jobs: Videos and folds side by side; None takes the number of cores.
        bars: Show progress on the terminal.
        on_warning: Called with a sentence where labelled expressions are left out, before anything runs.

    Raises:
        MienError: Unknown names, no long videos, too few subjects, or `out` holds another run. A video that cannot be
            read is noted in its row of the ledger and counts as one in which nothing was detected.
    """
    require_place(out)
    out = Path(out)
    chosen = spotter_named(name)
    given = chosen.with_parameters(parameters or {})
    films = filmed(data, recogniser.labels if recogniser else None)
    dropped = left_out_of_truth(data)
    if dropped and on_warning is not None:
        on_warning(
            f"Left out of the truth: {', '.join(f'{n} {what}' for what, n in dropped.items())}. See `mien check`."
        )
    samples = [Sample(f.clip, 0, f.clip.key) for f in films]
    folds = _folds(protocol, samples, protocol_parameters or {})
    settings: dict[str, Any] = {
        "task": "spot",
        "version": mien.__version__,
        "system": chosen.name,
        "system_title": chosen.title,
        "parameters": given,
        "given": sorted(parameters or {}),
        "protocol": protocol,
        "protocol_parameters": dict(protocol_parameters or {}),
        "data": [{"name": d.id, "root": str(d.root)} for d in data],
        "datasets": sorted({f.clip.dataset for f in films}),
        "n_videos": len(films),
        **({"left_out": dropped} if dropped else {}),
        "video_table": hashlib.sha256(_video_table(films).encode()).hexdigest()[:16],
        "seeds": sorted(set(seeds)),
        "n_folds": len(folds),
        "synthetic": any(d.is_synthetic for d in data),
        **({"recogniser": dict(recogniser.settings)} if recogniser else {}),
    }
    if recogniser and not any(spot.emotion for film in films for spot in film.true if spot.kind == "micro"):
        raise MienError(
            f"No micro-expression of {', '.join(settings['datasets'])} has an emotion under {recogniser.labels!r}.",
            "a database that labels emotions in long videos, such as casme_sq.",
            "without --weights: intervals are scored, not named.",
        )
    with lock_run(out) as alone, machine_errors(out):
        settings = open_folder(out, json.loads(json.dumps(settings)), "videos.csv", _video_table(films), _differences)
        if alone:
            sweep(out)
        return _run(films, folds, chosen.name, given, set(parameters or {}), settings, recogniser, out, jobs, bars)


def _run(
    films: Sequence[Filmed],
    folds: Sequence[Fold],
    name: str,
    parameters: Mapping[str, Any],
    given: set[str],
    settings: Mapping[str, Any],
    recogniser: Recogniser | None,
    out: Path,
    jobs: int | None,
    bars: bool,
) -> SpotLedger:
    """Run the missing folds, and return the whole ledger."""
    from joblib import delayed

    todo = [(s, n) for s in settings["seeds"] for n in range(len(folds)) if not fold_file(out, s, n).is_file()]
    if todo:
        require_writable_folder(out, f"`df -h {out}` and `ls -ld {out}`; then the same command, which resumes.")
        jobs = jobs or os.cpu_count() or 1
        with Bars(show=bars) as shown:
            meter = shown.start("videos watched", len(films))
            work = (delayed(_watched)(f, name, parameters, _rows_file(out, i)) for i, f in enumerate(films))
            notes = []
            for note in in_processes(work, min(jobs, len(films))):
                notes.append(note)
                meter(1)
            meter = shown.start("folds", len(todo))
            again = (
                delayed(_fold)(films, folds, n, s, name, parameters, given, notes, recogniser, out) for s, n in todo
            )
            for _ in in_processes(again, min(jobs, len(todo)), order="generator_unordered"):
                meter(1)
    ledger = read_spots(out)
    if ledger.complete:
        shutil.rmtree(out / "rows", ignore_errors=True)
    return ledger


def _folds(protocol: str, samples: Sequence[Sample], parameters: Mapping[str, Any]) -> list[Fold]:
    sound = {k: p for k, p in PROTOCOLS.items() if k in ("loso", "kfold_subject")}
    if protocol not in sound:
        raise MienError(
            f"The protocol {protocol!r} does not serve spotting.",
            f"{' or '.join(sound)}: whole subjects apart.",
            "`--protocol loso`.",
        )
    known = sound[protocol].parameters
    wrong = sorted(set(parameters) - set(known))
    if wrong:
        raise MienError(
            f"{protocol} has no parameter {wrong[0]!r}.", f"{', '.join(known) or 'no parameter'}.", "`mien protocols`."
        )
    try:
        typed = {key: type(known[key])(value) for key, value in parameters.items()}
    except ValueError:
        raise MienError(
            f"{dict(parameters)} cannot be read.", f"as {dict(known)}.", f"`--protocol {protocol}` alone."
        ) from None
    return sound[protocol].split(samples, **typed)


def _video_table(films: Sequence[Filmed]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["dataset", "subject", "video", "frames", "fps", "micro", "macro"])
    for film in films:
        clip = film.clip
        kinds = [sum(s.kind == kind for s in film.true) for kind in KINDS]
        writer.writerow([clip.dataset, clip.subject, clip.name, len(clip.frames), clip.fps, *kinds])
    return out.getvalue()


def _differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    free = {"seeds", "data", "system_title", "version", "left_out"}
    return [
        f"{k} is {there.get(k)!r} there and {wanted.get(k)!r} now"
        for k in dict.fromkeys([*there, *wanted])
        if k not in free and there.get(k) != wanted.get(k)
    ]


# Watching


def _rows_file(out: Path, number: int) -> Path:
    return out / "rows" / f"{number:04d}.npy"


def _watched(film: Filmed, name: str, parameters: Mapping[str, Any], path: Path) -> str:
    """Write the rows of a video unless they exist; return why there is no answer, "" where there is one."""
    note_file = path.with_suffix(".json")
    with suppress(OSError, ValueError, KeyError, TypeError):  # not there yet, or damaged: watched again
        np.load(path, mmap_mode="r")
        return str(json.loads(note_file.read_text(encoding="utf-8"))["note"])
    use_one_thread(opencv=True)
    chosen = spotter_named(name)
    rows: list[Rows] = []
    fps = film.clip.fps
    note = why_not(fps)
    if not note:
        assert fps is not None
        try:
            made, faces = watch(_frames(film.clip), fps, chosen, parameters)
            rows = list(made)
            note = why_abstain(faces, len(rows) * chosen.hop(fps), fps)
        except MienError as error:
            require_source(film.clip)
            note, rows = str(error), []
        except (OSError, MemoryError):
            raise  # the machine's fault, not the film's
        except Exception as error:  # one film must never stop the others; its kind and text are kept
            note, rows = str(unexpected_failure(film.clip, error)), []
    write_atomically(path, npy_bytes(np.stack(rows) if rows else np.empty((0, 1), np.float32)))
    write_atomically(note_file, json.dumps({"note": note}))
    return note


def _frames(clip: Clip) -> Iterator[NDArray[np.uint8]]:
    video = open_video(clip.video, clip.fps) if clip.video else frames_video(clip.frames, clip.fps, clip.name)
    yield from (to_uint8(frame.pixels) for frame in video.frames(grey=True))


# Folds


def _fold(
    films: Sequence[Filmed],
    folds: Sequence[Fold],
    number: int,
    seed: int,
    name: str,
    parameters: Mapping[str, Any],
    given: set[str],
    notes: Sequence[str],
    recogniser: Recogniser | None,
    out: Path,
) -> None:
    """Choose parameters and train on the training videos of a fold, spot in its test videos, write its files."""
    use_one_thread(opencv=True)
    started = time.perf_counter()
    chosen = spotter_named(name)
    fold = folds[number]
    usable = [i for i in fold.train if not notes[i]]
    rows = [_load(out, i) for i in usable]
    true = [_watched_spots(films[i], chosen) for i in usable]
    fps = [_rate(films[i], chosen) for i in usable]
    model: Model | None = None
    if chosen.train is not None:
        if not usable:
            raise MienError("There is no video to train on.", "at least one with a face.", "`mien report` on the run.")
        model = chosen.train(
            rows, true, fps, parameters, int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        )
    picked = fit_parameters(chosen, rows, true, fps, parameters, model, fixed=given)
    found: list[SpotRow] = []
    for i in fold.test:
        found += _rows_of(films[i], chosen, picked, model, recogniser, out, i, notes[i], fold.name, seed)
    choice = {k: v for k, v in picked.items() if k in _tunable(chosen) - given}
    log = {"fold": fold.name, "seconds": time.perf_counter() - started, "chosen": choice}
    write_atomically(out / "log" / f"s{seed}-f{number:04d}.json", json.dumps(log))
    write_atomically(fold_file(out, seed, number), rows_as_csv(found))


def fit_parameters(
    chosen: Spotter,
    rows: Sequence[Rows],
    true: Sequence[Sequence[Spot]],
    fps: Sequence[float],
    parameters: Mapping[str, Any],
    model: Model | None = None,
    fixed: set[str] | frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Choose parameters one after another by F1 on some videos; the default stays where none is better.

    Args:
        chosen: The spotter; its `tuned` says what to try.
        rows: Rows of each training video.
        true: Its expressions, in watched frames.
        fps: Its watched frames per second.
        parameters: Where to start.
        model: Its trained part.
        fixed: Parameters to leave.
    """
    picked = dict(parameters)
    scored = [r if model is None else model.score(r) for r in rows]
    for kind, grid in chosen.tuned.items():
        for key, values in grid.items():
            if key in fixed:
                continue

            def f1(value: float, key: str = key, kind: Kind = kind) -> float:
                tried = {**picked, key: value}
                total = Count()
                for r, t, rate in zip(scored, true, fps, strict=True):
                    total += count([(t, decide_all(chosen, r, rate, tried))])[kind]
                return total.f1

            best = {value: f1(value) for value in dict.fromkeys((parameters[key], *values))}
            picked[key] = max(best, key=lambda v: (best[v], v == parameters[key], -abs(v - parameters[key])))
    return picked


def _tunable(chosen: Spotter) -> set[str]:
    return {key for grid in chosen.tuned.values() for key in grid}


def _load(out: Path, number: int) -> Rows:
    rows: Rows = np.load(_rows_file(out, number), mmap_mode="r")
    return rows


def _rate(film: Filmed, chosen: Spotter) -> float:
    assert film.clip.fps is not None
    return film.clip.fps / chosen.hop(film.clip.fps)


def _watched_spots(film: Filmed, chosen: Spotter) -> list[Spot]:
    """Return true expressions, counted in watched frames."""
    assert film.clip.fps is not None
    hop = chosen.hop(film.clip.fps)
    return [
        replace(s, onset=s.onset // hop, apex=None if s.apex is None else s.apex // hop, offset=s.offset // hop)
        for s in film.true
    ]


def _rows_of(
    film: Filmed,
    chosen: Spotter,
    parameters: Mapping[str, Any],
    model: Model | None,
    recogniser: Recogniser | None,
    out: Path,
    number: int,
    note: str,
    fold: str,
    seed: int,
) -> Iterator[SpotRow]:
    clip, numbers = film.clip, film.numbers

    def row(role: str, spot: Spot) -> SpotRow:
        apex = None if spot.apex is None else int(numbers[min(spot.apex, len(numbers) - 1)])
        ends = (int(numbers[min(max(f, 0), len(numbers) - 1)]) for f in (spot.onset, spot.offset))
        onset, offset = ends
        return SpotRow(
            clip.dataset, clip.subject, clip.name, fold, seed, "true" if role == "true" else "found", spot.kind,
            onset, apex, offset, None if role == "true" else spot.score, spot.emotion,
        )  # fmt: skip

    yield SpotRow(
        clip.dataset, clip.subject, clip.name, fold, seed, "video", "", int(numbers[0]) if len(numbers) else 0, None,
        int(numbers[-1]) if len(numbers) else 0, None, "", note,
    )  # fmt: skip
    for spot in film.true:
        yield row("true", spot)
    if not note and len(numbers):
        assert clip.fps is not None
        hop = chosen.hop(clip.fps)
        for spot in decide_all(chosen, _load(out, number), clip.fps / hop, parameters, model):
            seen = in_frames(spot, hop, len(numbers))
            if recogniser is not None and seen.kind == "micro":
                seen = replace(seen, emotion=recogniser.name(clip, seen))
            yield row("found", seen)
