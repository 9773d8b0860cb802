"""The function `recognise_many`: many videos, one table, one page each; a killed run resumes."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

import mien
from mien.errors import MienError
from mien.export import ENDINGS, WRITERS
from mien.export.boris import project_text
from mien.export.columns import Column, Rows, as_csv, as_parquet, event_rows, frame_rows, require_parquet
from mien.export.elan import eaf_bytes
from mien.export.film_list import MARKER, films_of, marker_of, names_of
from mien.export.page import write_page
from mien.export.tables import write
from mien.io.atomic import LOCK, UNFINISHED, lock_run, private_folder, sweep, unwritable, write_atomically
from mien.preprocessing.cache import source_digest, source_files
from mien.preprocessing.prepare import unexpected_failure
from mien.preprocessing.threads import in_processes, one_thread
from mien.progress import Bars, Meter, Slot
from mien.recognition.naming import Namer, open_namer
from mien.recognition.recognise import open_spotter, recognise
from mien.recognition.records import Answer, as_json, from_json
from mien.recognition.units import UnitReader, open_units
from mien.spotting import DEFAULT
from mien.types import Clip

FILES: Final = ("html", "json", "eaf", "boris", "mp4")
"""Kinds of files that may be written of each film; `boris` is one project for all."""

TABLES: Final = ("csv", "parquet")
SETTINGS: Final = "settings.json"
_FOLDER: Final = "films"


@dataclass(frozen=True, slots=True)
class Film:
    """What became of one film.

    Attributes:
        path: The film, as it was given.
        name: Its name within the output folder; no other film has the same.
        folder: Folder of its files.
        error: None, or why it could not be read: what was found, what was expected, what to type.
        resumed: Whether it had been answered before.
    """

    path: Path
    name: str
    folder: Path
    error: tuple[str, str, str] | None = None
    resumed: bool = False

    def answer(self) -> Answer:
        """Read the answer.

        Raises:
            MienError: There is none, or its file was changed by hand.
        """
        path = self.folder / f"{self.name}.json"
        try:
            return from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError, MienError) as error:
            raise MienError(
                f"{str(path)!r} is not as it was written ({error}).",
                "the answer about a film.",
                f"`rm -r {self.folder}` and the same command again, which analyses that film again.",
            ) from None


@dataclass(frozen=True, slots=True)
class FilmTask:
    """A film to answer, wherever that is done.

    Attributes:
        path: The film, absolute.
        name: Its name in the output folder.
        folder: Folder for its files, absolute.
        weights: File of the weights for classes; None for those of the package.
        unit_weights: File of the weights for action units; None for those of the package.
        all_units: See `recognise`.
        options: Further arguments of `recognise`.
        kinds: Kinds of files to write besides the answer.
        frames: Kind of the table with one row per frame and person; "" for none.
        slot: Reports how much is done.
    """

    path: Path
    name: str
    folder: Path
    weights: Path | None
    unit_weights: Path | None
    all_units: bool
    options: Mapping[str, Any]
    kinds: tuple[str, ...]
    frames: str
    slot: Slot


class FilmExecutor(Protocol):
    """Other machines that answer films; see `mien.evaluation.execution.ray_connect.connect`."""

    def spread(
        self, function: Callable[[Any], Any], tasks: Sequence[Any], clip_of: Callable[[Any], Clip]
    ) -> Iterator[tuple[Any, Any]]:
        """Yield each task with its result, in any order; with None for a task whose process died."""
        ...


def recognise_many(
    videos: str | Path | Sequence[str | Path],
    out: str | Path,
    weights: str | Path | None = None,
    spotter: str = DEFAULT,
    *,
    fps: float | None = None,
    parameters: Mapping[str, Any] | None = None,
    anyway: bool = False,
    unit_weights: str | Path | None = None,
    all_units: bool = False,
    files: Sequence[str] = ("html", "json"),
    table: str = "csv",
    per_frame: bool = False,
    jobs: int | None = None,
    bars: bool = False,
    executor: FilmExecutor | None = None,
) -> list[Film]:
    """Analyse many videos as `recognise` analyses one, into a folder. Resumes if `out` holds part of the same work.

    It is a function of its own because it returns something else: `recognise` gives an answer, which lives in memory,
    and this gives files, of which a kill at any moment loses no more than the films in progress. A film that cannot be
    read costs only itself. Every film is answered on one thread, so the table does not depend on `jobs`.

    `out` then holds `events.csv`, one row per expression of all films; `films.csv`, one row per film and why it could
    not be read; and a folder `films/NAME` for each film. Films may be added later.

    Args:
        videos: What `mien.export.film_list.films_of` takes: files, folders of pictures, patterns, `@LIST`.
        out: The folder.
        weights, spotter, fps, parameters, anyway, unit_weights, all_units: See `recognise`; the same for all films.
        files: Kinds of files for each film: "html" and "json", "eaf", "mp4"; "boris" writes one project for all.
        table: Kind of the table of all expressions, "csv" or "parquet".
        per_frame: Write a table with one row per frame and person for each film, of the same kind.
        jobs: Films at once; None takes the number of cores.
        bars: Show progress on the terminal.
        executor: Other machines to use instead. Films and weights must be there under the same path.

    Returns:
        What became of each film, in the order given.

    Raises:
        MienError: Films are missing; the weights, the spotter or the settings cannot be used; `out` cannot be written,
            holds answers with other settings, or a film in it has changed. Nothing was begun then.

    Example:
        >>> import mien
        >>> films = mien.recognise_many(["face.mkv"], "answers", jobs=1)
        >>> films[0].name, films[0].error, sorted(path.name for path in films[0].folder.iterdir())
        ('face', None, ['.film.json', 'face.html', 'face.json'])
    """
    films = films_of([videos] if isinstance(videos, str | Path) else videos)
    kinds = _kinds(files, table)
    each = tuple(kind for kind in kinds if kind not in ("json", "boris"))  # the others come from the stored answers
    namer, reader = open_namer(weights), open_units(unit_weights, all_units)
    chosen = open_spotter(spotter)
    given = chosen.with_parameters(parameters or {})
    options = {"spotter": spotter, "fps": fps, "parameters": dict(given), "anyway": anyway}
    settings = {
        "version": mien.__version__, "weights": hashlib.sha256(namer.path.read_bytes()).hexdigest(),
        "unit_weights": hashlib.sha256(reader.path.read_bytes()).hexdigest(), "units": list(reader.shown), **options,
        "files": sorted(each), "per_frame": table if per_frame else "",
    }  # fmt: skip
    out = Path(out).absolute()
    with lock_run(out, f"`ls {out / _FOLDER}` shows what is finished") as alone:
        _open_folder(out, json.loads(json.dumps(settings, default=str)))
        if alone:
            sweep(out)
        names = names_of(films, out / _FOLDER)
        results = [Film(path, name, out / _FOLDER / name) for path, name in zip(films, names, strict=True)]
        todo = [film for film in results if not _answered(film, out)]
        failed: dict[str, tuple[str, str, str]] = {}
        with Meter(max(1, len(todo)), out) as meter, Bars(show=bars and bool(todo)) as shown:
            finished = shown.follow("films", meter, parts=None)
            tasks = [
                FilmTask(
                    film.path.absolute(), film.name, film.folder,
                    None if weights is None else namer.path.absolute(),
                    None if unit_weights is None else reader.path.absolute(), all_units,
                    options, each,
                    table if per_frame else "", meter.slot(place),
                )
                for place, film in enumerate(todo)
            ]  # fmt: skip
            made = executor.spread(answer_film, tasks, clip_of) if executor else _locally(tasks, jobs)
            for task, result in made:
                if isinstance(result, MienError) or result is None:
                    error = result or _died(task)
                    failed[task.name] = error.found, error.expected, error.fix
                else:
                    _keep(task, result, out)
                task.slot(1.0)
                finished(1)
        again = {film.name for film in todo}
        results = [replace(film, error=failed.get(film.name), resumed=film.name not in again) for film in results]
        _write_tables(results, out, table, kinds)
    return results


def clip_of(task: FilmTask) -> Clip:
    """Return the film of a task as a clip, by whose files other machines know whether they have it."""
    return Clip("video", task.path.parent.name or "-", task.name, None, "", video=task.path)


def answer_film(task: FilmTask) -> dict[str, bytes] | MienError:
    """Answer one film and make its files; the process that asked writes them.

    Returns:
        The content of each file, by its name; or why the film cannot be answered.
    """
    try:
        with one_thread(), private_folder("mien-film-") as folder:
            return _files_of(task, folder)
    except MienError as error:
        return error
    except (OSError, MemoryError) as error:
        return MienError(
            f"{str(task.path)!r} could not be analysed on this machine ({type(error).__name__}: {error}).",
            "a film that can be read, and room in memory and on the disk.",
            "the same command again, which tries it again; with `--jobs 1` if memory is scarce.",
        )
    except Exception as error:  # one film must not stop the others
        return unexpected_failure(clip_of(task), error)


def _files_of(task: FilmTask, folder: Path) -> dict[str, bytes]:
    namer = _namer(task.weights)
    reader = _reader(task.unit_weights, task.all_units)
    share = {"looking": (0.0, 0.7), "naming": (0.7, 0.85)}

    def tell(stage: str, done: float) -> None:
        first, last = share.get(stage, (0.85, 0.85))
        if not math.isnan(done):
            task.slot(first + (last - first) * done)

    before = _stamp(task.path)
    digest = source_digest(clip_of(task))
    answer = recognise(task.path, namer, unit_weights=reader, progress=tell, **task.options)
    files = {f"{task.name}.json": (json.dumps(as_json(answer), indent=2, ensure_ascii=False) + "\n").encode()}
    for kind in task.kinds:
        name = f"{task.name}{ENDINGS[kind]}"
        if kind == "eaf":
            files[name] = eaf_bytes(answer, task.folder / name)
        elif kind == "html":
            files[name] = write_page(answer, folder / name, namer=namer).read_bytes()
        else:
            files[name] = WRITERS[kind](answer, folder / name, lambda done: None).read_bytes()
    if task.frames:
        rows = frame_rows(answer)
        name = f"{task.name}-frames{ENDINGS[task.frames]}"
        files[name] = as_parquet(rows) if task.frames == "parquet" else as_csv(rows).encode()
    marker = {"film": str(task.path.resolve()), "digest": digest, "stamp": before}
    files[MARKER] = (json.dumps(marker, indent=2) + "\n").encode()
    return files


@cache
def _namer(weights: Path | None) -> Namer:
    return open_namer(weights)


@cache
def _reader(weights: Path | None, all_units: bool) -> UnitReader:
    return open_units(weights, all_units)


def _locally(
    tasks: Sequence[FilmTask], jobs: int | None
) -> Iterator[tuple[FilmTask, dict[str, bytes] | MienError | None]]:
    """Answer films in processes of this machine. One that kills its process, as a decoder may, costs only itself."""
    from joblib import delayed

    left = list(tasks)
    jobs = max(1, min(jobs or os.cpu_count() or 1, len(left)))
    while left:
        done = set()
        try:
            work = (delayed(_numbered)(place, task) for place, task in enumerate(left))
            for place, result in in_processes(work, jobs, order="generator_unordered", ahead=jobs + 1):
                done.add(place)
                yield left[place], result
            return
        except BrokenProcessPool:
            left = [task for place, task in enumerate(left) if place not in done]
        # One of those that had been begun: each of them alone, to see which.
        begun, left = left[: 2 * jobs + 1], left[2 * jobs + 1 :]
        for task in begun:
            try:
                ((_, alone),) = in_processes([delayed(_numbered)(0, task)], 2)
            except BrokenProcessPool:
                alone = None
            yield task, alone


def _numbered(place: int, task: FilmTask) -> tuple[int, dict[str, bytes] | MienError]:
    return place, answer_film(task)


def _died(task: FilmTask) -> MienError:
    return MienError(
        f"The process that read {str(task.path)!r} died: it was killed, the memory ran out, or a decoder failed.",
        "a film that can be read with the available memory.",
        "`--jobs 1`, or another copy of the film.",
    )


def _kinds(files: Sequence[str], table: str) -> tuple[str, ...]:
    """Check the kinds of files, and return them without repetition."""
    for kind, known, option in (*((kind, FILES, "--files") for kind in files), (table, TABLES, "--table")):
        if kind not in known:
            raise MienError(
                f"{kind!r} is not a kind of file.", f"one of {', '.join(known)}.", f"`{option} {known[0]}`."
            )
    if table == "parquet":
        require_parquet("`--table csv`")
    return tuple(dict.fromkeys(files))


def _open_folder(out: Path, settings: Mapping[str, Any]) -> None:
    """Create the folder, or check that it holds answers with the same settings; try whether it can be written."""
    path = out / SETTINGS
    try:
        there = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        left = [] if there is not None or not out.is_dir() else list(out.iterdir())
        if any(each.name != LOCK and each.suffix != UNFINISHED for each in left):
            raise MienError(
                f"{str(out)!r} is not empty, and `mien recognise` did not make it.",
                "a new folder, or one with answers to resume.",
                f"`--out {out}-answers`.",
            )
        if there is not None and there != settings:
            keys = dict.fromkeys([*settings, *there])
            other = [
                f"{key} is {_short(there.get(key))} there and {_short(settings.get(key))} now"
                for key in keys
                if there.get(key) != settings.get(key)
            ]
            raise MienError(
                f"{str(out)!r} holds answers with other settings: {'; '.join(other[:3])}"
                + (f"; and {len(other) - 3} more." if len(other) > 3 else "."),
                "the same settings, to resume.",
                f"`--out {out}-2`; nothing was changed.",
            )
        write_atomically(path, json.dumps(settings, indent=2) + "\n")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise unwritable(out, error, "`--out` with another folder.") from None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:36]}..."


def _answered(film: Film, out: Path) -> bool:
    """Return whether a film was answered before.

    Raises:
        MienError: It has changed since.
    """
    marker = marker_of(film.folder)
    if not marker or not (film.folder / f"{film.name}.json").is_file():
        return False
    path = film.path.absolute()
    with suppress(OSError):  # gone since the list was read
        if marker.get("stamp") == _stamp(path):
            return True
        if marker.get("digest") == source_digest(Clip("video", "-", film.name, None, "", video=path)):
            return True
    raise MienError(
        f"The film {str(film.path)!r} has changed since it was analysed in {str(out)!r}.",
        "the same film, to resume.",
        f"`rm -r {film.folder}` to analyse it again, or `--out {out}-2`; nothing was changed.",
    )


def _stamp(film: Path) -> list[int]:
    """Return the number of files, their total size and the latest time of writing of a film."""
    found = [path.stat() for path in source_files(Clip("video", "-", film.name, None, "", video=film))]
    return [len(found), sum(each.st_size for each in found), max((each.st_mtime_ns for each in found), default=0)]


def _keep(task: FilmTask, files: Mapping[str, bytes], out: Path) -> None:
    """Write the files of a film, the marker last."""
    try:
        for name, content in files.items():
            write_atomically(task.folder / name, content)
    except OSError as error:
        raise unwritable(out, error, "the same command when there is room; what is finished is kept.") from None


def _write_tables(films: Sequence[Film], out: Path, table: str, kinds: Sequence[str]) -> None:
    """Write the tables of all films, from what is stored of each."""
    read = [film for film in films if film.error is None]
    answers = [_light(film.answer()) for film in read]
    names = [film.name for film in read]
    rows = event_rows(answers, names)
    write(out / f"events{ENDINGS[table]}", as_parquet(rows) if table == "parquet" else as_csv(rows))
    if "boris" in kinds:
        write(out / "events.boris", project_text(answers, names, out.name))
    write(out / "films.csv", as_csv(_film_rows(films, dict(zip(names, answers, strict=True)))))


def _light(answer: Answer) -> Answer:
    """Return an answer without what grows with the length of the video."""
    tracks = tuple(replace(track, trace=None, places=()) for track in answer.tracks)
    return replace(answer, tracks=tracks)


def _film_rows(films: Sequence[Film], answers: Mapping[str, Answer]) -> Rows:
    numbers = {"fps": 3, "seconds": 3}
    whole = ("width", "height", "frames", "people", "expressions", "micro", "macro")
    texts = ("film", "path", "read", *whole[:2], *numbers, *whole[2:], "reasons", "problems", "found",
             "expected", "try")  # fmt: skip
    columns = tuple(
        Column(name, "number" if name in numbers else "whole" if name in whole else "text", numbers.get(name, 0))
        for name in texts
    )

    def rows() -> Iterator[tuple[Any, ...]]:
        for film in films:
            if film.error is not None:
                yield (film.name, str(film.path), "no", *(None,) * (len(texts) - 6), *film.error)
                continue
            answer = answers[film.name]
            video, kinds = answer.video, [event.kind for event in answer.events]
            yield (
                film.name, str(film.path), "yes", video.width, video.height, video.fps, video.seconds,
                video.n_frames, len(answer.tracks), len(kinds), kinds.count("micro"), kinds.count("macro"),
                " ".join(reason.text for reason in answer.reasons) or None, " ".join(video.problems) or None,
                None, None, None,
            )  # fmt: skip

    return Rows(columns, rows())
