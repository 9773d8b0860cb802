"""Application of a recipe to many clips, for `mien prepare`. A clip that fails does not affect the others."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.datasets.base import Dataset
from mien.errors import MienError
from mien.io.atomic import unwritable, write_atomically
from mien.io.video.open import require_file
from mien.preprocessing.base import Recipe, RecipeOutput
from mien.preprocessing.cache import Cache
from mien.preprocessing.named import named_recipe
from mien.preprocessing.threads import in_processes, one_thread
from mien.types import Clip, Interval, IntervalSource

INDEX = "index.csv"
ABOUT = "recipe.json"
MOMENTS = ("onset", "apex", "offset")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one clip.

    Attributes:
        key: The clip's key.
        shape: Shape of its input; None if it failed.
        interval_source: Where onset and apex came from; None if it failed.
        notes: Remarks for the user, as sentences.
        error: None, or the three parts of the error: found, expected, what to type.
        cached: Whether the input came from the cache.
        file: File of the input, relative to the output folder; "" if there is none.
        seconds: Computing time.
        interval: Onset, apex and offset that were used, in frame numbers; None if it failed, and for ready pictures.
        detected: Which of "onset", "apex" and "offset" were detected, not annotated. Of a video without an annotation,
            onset and offset are its first and last frame.
    """

    key: str
    shape: tuple[int, ...] | None
    interval_source: IntervalSource | None
    notes: tuple[str, ...] = ()
    error: tuple[str, str, str] | None = None
    cached: bool = False
    file: str = ""
    seconds: float = 0.0
    interval: Interval | None = None
    detected: tuple[str, ...] = ()


class ClipExecutor(Protocol):
    """Other machines that apply a recipe to clips."""

    def prepare(
        self, clips: Sequence[Clip], recipe: Recipe, store: Cache | None, arrays: bool
    ) -> Iterator[tuple[Outcome | None, NDArray[Any] | None]]:
        """Yield the outcome of each clip, in order, and its array if `arrays` is true and the clip did not fail.

        Yields (None, None) for a clip whose process died.
        """
        ...


Sources = str | Path | Clip | Dataset | Sequence[str | Path | Clip | Dataset]
"""What functions take as clips: a clip, a video, a dataset or NAME=FOLDER, or several of these."""


def clips_of(sources: Sources, interval: Interval | None = None, fps: float | None = None) -> list[Clip]:
    """Return the clips of databases and videos, in the order given.

    Args:
        sources: A clip, the path of a video, an open dataset or NAME=FOLDER, or several of these.
        interval: Part of the videos, in frames counted from 0; None takes all of them.
        fps: Frames per second of the videos, where the files do not say.

    Raises:
        MienError: There is no such file, folder or database.
    """
    from mien.datasets import DATASETS, open_specs

    clips: list[Clip] = []
    for source in [sources] if isinstance(sources, str | Path | Clip | Dataset) else sources:
        if isinstance(source, Clip):
            clips.append(source)
        elif isinstance(source, Dataset):
            clips += source.clips()
        else:
            name, mark, _ = str(source).partition("=")
            if mark and (name in DATASETS or not Path(source).exists()):
                clips += [clip for data in open_specs(str(source)) for clip in data.clips()]
            else:
                clips.append(video_clip(source, interval, fps))
    return clips


def prepare(
    clips: Sources,
    recipe: str | Recipe,
    *,
    out: str | Path | None = None,
    cache: Cache | None = None,
    jobs: int = 1,
    progress: Callable[[int], None] | None = None,
    executor: ClipExecutor | None = None,
) -> list[Outcome]:
    """Apply a recipe to clips. Results in the cache are reused, so a stopped run resumes where it stopped.

    Args:
        clips: A clip, the path of a video, an open dataset or NAME=FOLDER, or several of these.
        recipe: A recipe, or a name in `mien.recipes()`.
        out: Folder for one `.npy` file per clip, `index.csv` and `recipe.json`; None only fills the cache.
        cache: The cache; None uses none.
        jobs: Number of parallel processes.
        progress: Called with 1 after each clip.
        executor: Other machines to use instead; see `mien.evaluation.execution.ray_connect.connect`. Files are still
            written on this one.

    Returns:
        One outcome per clip, in the order of `clips`; those of failed clips hold the error.

    Raises:
        MienError: `out` holds inputs of another recipe, or cannot be written.

    Example:
        >>> prepare("face.mkv", named_recipe("aligned", transform="none"))[0].shape
        (14, 300, 245, 3)
    """
    from joblib import delayed

    clips = clips_of(clips)
    recipe = named_recipe(recipe) if isinstance(recipe, str) else recipe
    out = None if out is None else Path(out)
    if out is not None:
        _open_folder(out, recipe)
    jobs = max(1, min(jobs, len(clips)))
    results: Iterator[Outcome]
    if executor is None:
        tasks = [delayed(prepare_clip)(clip, recipe, out, cache, jobs > 1) for clip in clips]
        results = (
            outcome or _failed(clip, process_died(clip), 0.0)
            for clip, outcome in zip(clips, run_parallel(tasks, jobs), strict=True)
        )
    else:
        arrays = executor.prepare(clips, recipe, cache, out is not None)
        results = (
            _failed(clip, process_died(clip), 0.0)
            if outcome is None
            else outcome
            if out is None or array is None
            else write_array(outcome, clip, array, out)
            for clip, (outcome, array) in zip(clips, arrays, strict=True)
        )
    outcomes = []
    for outcome in results:
        outcomes.append(outcome)
        if progress is not None:
            progress(1)
    if out is not None:
        try:
            write_atomically(out / INDEX, _index(clips, outcomes))
        except OSError as error:
            raise unwritable(out, error, "`--out` with another folder.") from None
    return outcomes


def prepare_clip(
    clip: Clip, recipe: Recipe, out: Path | None = None, cache: Cache | None = None, alone: bool = False
) -> Outcome:
    """Apply a recipe to one clip. Any error is part of the outcome.

    Args:
        clip: The clip.
        recipe: The recipe.
        out: Folder for its `.npy` file; None writes none.
        cache: The cache; None uses none.
        alone: Whether to use a single thread, because other processes use the other cores.

    Returns:
        What became of the clip.
    """
    outcome, array = prepare_array(clip, recipe, cache, alone)
    return outcome if out is None or array is None else write_array(outcome, clip, array, out)


def prepare_array(
    clip: Clip, recipe: Recipe, cache: Cache | None = None, alone: bool = False
) -> tuple[Outcome, NDArray[Any] | None]:
    """Apply a recipe to one clip as `prepare_clip` does; also return the array, or None if the clip failed."""
    start = time.perf_counter()
    try:
        with one_thread(alone):
            output, cached = cache.load_or_apply(clip, recipe) if cache else (recipe.apply(clip), False)
    except MienError as error:
        return _failed(clip, error, time.perf_counter() - start), None
    except Exception as error:  # a failing clip must not stop the others; the outcome holds its error
        return _failed(clip, unexpected_failure(clip, error), time.perf_counter() - start), None
    seconds = time.perf_counter() - start
    return (
        Outcome(
            clip.key, output.array.shape, output.interval_source, output.notes, None, cached, "", seconds,
            output.interval, detected_moments(clip, output),
        ),
        output.array,
    )  # fmt: skip


def detected_moments(clip: Clip, output: RecipeOutput) -> tuple[str, ...]:
    """Return which of the onset, apex and offset that were used do not come from the annotation."""
    used = output.interval
    if used is None or output.interval_source != "detected":
        return ()
    ends = clip.interval is None
    return tuple(n for n, new in zip(MOMENTS, (ends, used.apex is not None, ends), strict=True) if new)


def write_array(outcome: Outcome, clip: Clip, array: NDArray[Any], out: Path) -> Outcome:
    """Write a clip's `.npy` file to a folder. The outcome returned has its name, or the error if that failed."""
    file = str(_file_of(clip))
    try:
        write_atomically(out / file, npy_bytes(array))
    except OSError as error:
        return _failed(clip, unwritable(out, error, "`--out` with another folder."), outcome.seconds)
    return replace(outcome, file=file)


def _failed(clip: Clip, error: MienError, seconds: float) -> Outcome:
    return Outcome(clip.key, None, None, error=(error.found, error.expected, error.fix), seconds=seconds)


def run_parallel(tasks: Sequence[Any], jobs: int) -> Iterator[Any]:
    """Run joblib tasks in parallel and yield their results in order; None for a task whose process died.

    When a process dies, all tasks that were running are lost. The remaining tasks then run one at a time, each in a
    process of its own, which shows the task that caused it. With one job there are no other processes.
    """
    done = 0
    try:
        for result in in_processes(tasks, jobs):
            done += 1
            yield result
        return
    except BrokenProcessPool:
        pass
    for task in tasks[done:]:
        try:
            (result,) = in_processes([task], 2)
        except BrokenProcessPool:
            result = None
        yield result


def process_died(clip: Clip) -> MienError:
    """Return the error for a clip whose process died."""
    return MienError(
        f"The process that prepared {clip.key} died: it was killed, the memory ran out, or a decoder failed.",
        "a clip that can be read with the available memory.",
        f"`mien check --deep {clip.dataset}=FOLDER` for what is wrong with its files.",
    )


def unexpected_failure(clip: Clip, error: Exception) -> MienError:
    """Return the error for a clip that failed with an exception other than `MienError`."""
    return MienError(
        f"{clip.key} failed unexpectedly: {type(error).__name__}: {error}", "no failure.", "report it as a bug."
    )


def video_clip(source: str | Path, interval: Interval | None = None, fps: float | None = None) -> Clip:
    """Return a video file or a folder of pictures as a clip.

    Args:
        source: The file or folder.
        interval: Part of the video, in frame numbers from 0; None uses all of it.
        fps: Frames per second; None takes it from the file.

    Raises:
        MienError: There is no such file or folder; it is a device.
    """
    path = Path(source)
    if not path.exists():
        raise MienError(
            f"There is no {str(source)!r}.",
            "a video file, a folder of pictures, or NAME=FOLDER for a database.",
            "`mien prepare video.mp4`, or `mien datasets` for the databases.",
        )
    require_file(path)
    return Clip("video", path.resolve().parent.name or "-", path.stem, interval, "", video=path, fps=fps)


def _open_folder(out: Path, recipe: Recipe) -> None:
    about = {
        "fingerprint": recipe.fingerprint,
        "axes": recipe.axes,
        "shape": list(recipe.shape),
        "dtype": recipe.dtype,
        "steps": [[s.name, dict(s.parameters)] for s in recipe.steps],
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        existing = json.loads((out / ABOUT).read_text())["fingerprint"] if (out / ABOUT).is_file() else None
        if existing is None and any(out.iterdir()):
            raise MienError(
                f"{str(out)!r} is not empty and was not written by `mien prepare`.",
                "a new or empty folder.",
                f"`--out {out}-2`.",
            )
        if existing not in (None, recipe.fingerprint):
            raise MienError(
                f"{str(out)!r} holds inputs of another recipe ({existing}).",
                "one recipe per folder.",
                f"`--out {out}-2`.",
            )
        write_atomically(out / ABOUT, json.dumps(about, indent=2) + "\n")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise unwritable(out, error, "`--out` with another folder.") from None


def _file_of(clip: Clip) -> Path:
    """Return the file of a clip's input: its key, in characters that every file system accepts."""
    parts = [re.sub(r"[^\w.+-]+", "_", part) for part in (clip.dataset, clip.subject, clip.name)]
    if "/".join(parts) != clip.key or "" in parts or ".." in parts:
        parts = [part.strip(".") or "_" for part in parts]
        parts[-1] += "-" + hashlib.sha256(clip.key.encode()).hexdigest()[:6]  # so that different keys stay different
    return Path(*parts[:-1], parts[-1] + ".npy")


def npy_bytes(array: NDArray[Any]) -> bytes:
    """Return an array as the bytes of a `.npy` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _index(clips: Iterable[Clip], outcomes: Sequence[Outcome]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ("file", "dataset", "subject", "clip", "emotion", "action_units", *MOMENTS, "fps", "shape",
         "interval_source", "detected", "notes", "error")
    )  # fmt: skip
    writer.writerows(_rows(clips, outcomes))
    return buffer.getvalue()


def _rows(clips: Iterable[Clip], outcomes: Sequence[Outcome]) -> Iterator[tuple[object, ...]]:
    for clip, outcome in zip(clips, outcomes, strict=True):
        span = outcome.interval if outcome.detected else clip.interval
        moments = (span.onset, span.apex, span.offset) if span else (None, None, None)
        yield (
            outcome.file, clip.dataset, clip.subject, clip.name, clip.emotion, clip.action_units,
            *("" if moment is None else moment for moment in moments), clip.fps or "",
            "x".join(map(str, outcome.shape or ())), outcome.interval_source or "", " ".join(outcome.detected),
            " ".join(outcome.notes), " ".join(outcome.error or ()),
        )  # fmt: skip
