"""Many clips through one recipe: `mien prepare`. One bad clip never costs the others."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.datasets.base import Dataset
from mien.errors import MienError
from mien.io.atomic import unwritable, write_atomically
from mien.preprocessing.base import Recipe
from mien.preprocessing.cache import Cache
from mien.preprocessing.named import named_recipe
from mien.types import Clip, Interval, IntervalSource

INDEX = "index.csv"
ABOUT = "recipe.json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one clip.

    Attributes:
        key: The clip's key.
        shape: Shape of its input; None when it failed.
        interval_source: Where onset and apex came from; None when it failed.
        notes: What the reader should know.
        error: None, or (found, expected, what to type).
        cached: It had been prepared before.
        file: Where the input was written, relative to the folder; "" without one.
        seconds: How long it took.
    """

    key: str
    shape: tuple[int, ...] | None
    interval_source: IntervalSource | None
    notes: tuple[str, ...] = ()
    error: tuple[str, str, str] | None = None
    cached: bool = False
    file: str = ""
    seconds: float = 0.0


class Cluster(Protocol):
    """Machines that prepare clips."""

    def prepare(
        self, clips: Sequence[Clip], recipe: Recipe, store: Cache | None, arrays: bool
    ) -> Iterator[tuple[Outcome | None, NDArray[Any] | None]]:
        """What became of each clip, in order, and its array where `arrays` are wanted and there is one.

        (None, None) for a clip that brings processes down.
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
    cluster: Cluster | None = None,
) -> list[Outcome]:
    """Runs a recipe on clips; what is in the cache is not made again, so a stopped run goes on where it was.

    Args:
        clips: A clip, the path of a video, an open dataset or NAME=FOLDER, or several of these.
        recipe: A recipe, or a name in `mien.recipes()`.
        out: Folder for one `.npy` file per clip, `index.csv` and `recipe.json`; None only fills the cache.
        cache: Where inputs are kept; None keeps none.
        jobs: Processes side by side.
        progress: Called with 1 after every clip.
        cluster: Where it is done instead; see `mien.evaluation.execution.ray_folds.connect`.
            Files are written here all the same.

    Returns:
        One outcome per clip, in the order of `clips`; failed ones carry their error.

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
    made: Iterator[Outcome]
    if cluster is None:
        work = [delayed(prepare_one)(clip, recipe, out, cache, jobs > 1) for clip in clips]
        made = (
            outcome or _failed(clip, died(clip), 0.0)
            for clip, outcome in zip(clips, side_by_side(work, jobs), strict=True)
        )
    else:
        arrays = cluster.prepare(clips, recipe, cache, out is not None)
        made = (
            _failed(clip, died(clip), 0.0)
            if outcome is None
            else outcome
            if out is None or array is None
            else write_array(outcome, clip, array, out)
            for clip, (outcome, array) in zip(clips, arrays, strict=True)
        )
    outcomes = []
    for outcome in made:
        outcomes.append(outcome)
        if progress is not None:
            progress(1)
    if out is not None:
        try:
            write_atomically(out / INDEX, _index(clips, outcomes))
        except OSError as error:
            raise unwritable(out, error, "`--out` with another folder.") from None
    return outcomes


def prepare_one(
    clip: Clip, recipe: Recipe, out: Path | None = None, cache: Cache | None = None, alone: bool = False
) -> Outcome:
    """One clip through a recipe; whatever goes wrong is in the outcome.

    Args:
        clip: The clip.
        recipe: The recipe.
        out: Folder for its `.npy` file.
        cache: Where inputs are kept.
        alone: Use one thread: other processes use the other cores.
    """
    outcome, array = prepare_array(clip, recipe, cache, alone)
    return outcome if out is None or array is None else write_array(outcome, clip, array, out)


def prepare_array(
    clip: Clip, recipe: Recipe, cache: Cache | None = None, alone: bool = False
) -> tuple[Outcome, NDArray[Any] | None]:
    """As `prepare_one`, with the array; None where something went wrong."""
    began = time.perf_counter()
    try:
        with one_thread(alone):
            made, cached = cache.prepare(clip, recipe) if cache else (recipe.prepare(clip), False)
    except MienError as error:
        return _failed(clip, error, time.perf_counter() - began), None
    except Exception as error:  # one clip must never stop a batch; its kind and text are kept
        return _failed(clip, unexpected(clip, error), time.perf_counter() - began), None
    spent = time.perf_counter() - began
    return Outcome(clip.key, made.array.shape, made.interval_source, made.notes, None, cached, "", spent), made.array


def write_array(outcome: Outcome, clip: Clip, array: NDArray[Any], out: Path) -> Outcome:
    """Writes a clip's `.npy` file into a folder; the outcome names it, or says why it could not be written."""
    file = str(_file_of(clip))
    try:
        write_atomically(out / file, npy_bytes(array))
    except OSError as error:
        return _failed(clip, unwritable(out, error, "`--out` with another folder."), outcome.seconds)
    return replace(outcome, file=file)


def _failed(clip: Clip, error: MienError, seconds: float) -> Outcome:
    return Outcome(clip.key, None, None, error=(error.found, error.expected, error.fix), seconds=seconds)


def side_by_side(work: Sequence[Any], jobs: int) -> Iterator[Any]:
    """What tasks of joblib give, in their order; None for one that takes its process down.

    When a process dies, every task that was under way is lost with it: those that are left are then done one at a
    time, each in a process that nothing else depends on, and the one to blame shows. With one job there are no other
    processes.
    """
    from joblib import Parallel

    done = 0
    try:
        for result in Parallel(n_jobs=jobs, return_as="generator", pre_dispatch=2 * jobs, batch_size=1)(work):
            done += 1
            yield result
        return
    except BrokenProcessPool:
        pass
    for task in work[done:]:
        try:
            (result,) = Parallel(n_jobs=2)([task])
        except BrokenProcessPool:
            result = None
        yield result


def died(clip: Clip) -> MienError:
    """What to say of a clip that brought a process down."""
    return MienError(
        f"The process that prepared {clip.key} died: it was killed, the memory ran out, or a decoder failed.",
        "a clip that can be read in the memory there is.",
        f"`mien check --deep {clip.dataset}=FOLDER` for what is wrong with its files.",
    )


def unexpected(clip: Clip, error: Exception) -> MienError:
    """What to say of a clip that no rule foresaw."""
    return MienError(
        f"{clip.key} failed unexpectedly: {type(error).__name__}: {error}", "no failure.", "report it as a bug."
    )


def video_clip(source: str | Path, interval: Interval | None = None, fps: float | None = None) -> Clip:
    """A video file or a folder of pictures as a clip. Frame numbers of the interval count from 0.

    Raises:
        MienError: There is no such file or folder.
    """
    path = Path(source)
    if not path.exists():
        raise MienError(
            f"There is no {str(source)!r}.",
            "a video file, a folder of pictures, or NAME=FOLDER for a database.",
            "`mien prepare video.mp4`, or `mien datasets` for the databases.",
        )
    return Clip("video", path.resolve().parent.name or "-", path.stem, interval, "", video=path, fps=fps)


@contextmanager
def one_thread(wanted: bool) -> Iterator[None]:
    """One thread for torch and OpenCV within the block, where wanted."""
    if not wanted:
        yield
        return
    import cv2
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


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
        there = json.loads((out / ABOUT).read_text())["fingerprint"] if (out / ABOUT).is_file() else None
        if there is None and any(out.iterdir()):
            raise MienError(
                f"{str(out)!r} is not empty and was not made by `mien prepare`.",
                "a new or empty folder.",
                f"`--out {out}-2`.",
            )
        if there not in (None, recipe.fingerprint):
            raise MienError(
                f"{str(out)!r} holds inputs of another recipe ({there}).", "one recipe per folder.", f"`--out {out}-2`."
            )
        write_atomically(out / ABOUT, json.dumps(about, indent=2) + "\n")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise unwritable(out, error, "`--out` with another folder.") from None


def _file_of(clip: Clip) -> Path:
    """Where a clip's input goes: its key, in characters that every file system takes."""
    parts = [re.sub(r"[^\w.+-]+", "_", part) for part in (clip.dataset, clip.subject, clip.name)]
    if "/".join(parts) != clip.key or "" in parts or ".." in parts:
        parts = [part.strip(".") or "_" for part in parts]
        parts[-1] += "-" + hashlib.sha256(clip.key.encode()).hexdigest()[:6]  # names that differ stay different
    return Path(*parts[:-1], parts[-1] + ".npy")


def npy_bytes(array: NDArray[Any]) -> bytes:
    """An array as the bytes of a `.npy` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _index(clips: Iterable[Clip], outcomes: Sequence[Outcome]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ("file", "dataset", "subject", "clip", "emotion", "action_units", "onset", "apex", "offset", "fps", "shape",
         "interval_source", "notes", "error")
    )  # fmt: skip
    writer.writerows(_rows(clips, outcomes))
    return buffer.getvalue()


def _rows(clips: Iterable[Clip], outcomes: Sequence[Outcome]) -> Iterator[tuple[object, ...]]:
    for clip, outcome in zip(clips, outcomes, strict=True):
        span = clip.interval
        yield (
            outcome.file, clip.dataset, clip.subject, clip.name, clip.emotion, clip.action_units,
            span.onset if span else "", span.apex if span and span.apex is not None else "",
            span.offset if span else "", clip.fps or "",
            "x".join(map(str, outcome.shape or ())), outcome.interval_source or "", " ".join(outcome.notes),
            " ".join(outcome.error or ()),
        )  # fmt: skip
