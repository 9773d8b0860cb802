"""Tables of descriptors of many clips, for `mien describe`. A clip that fails does not affect the others."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import mien
from mien.descriptors import descriptor as descriptor_named
from mien.errors import MienError, install_extra
from mien.io.atomic import require_writable_file, write_atomically, writing
from mien.preprocessing.base import Recipe
from mien.preprocessing.cache import Cache
from mien.preprocessing.prepare import Sources, clips_of
from mien.preprocessing.threads import in_processes
from mien.types import Clip, Interval

if TYPE_CHECKING:
    import pyarrow

FORMATS = (".parquet", ".csv", ".npz")
COLUMNS = (
    "dataset",
    "subject",
    "clip",
    "emotion",
    "action_units",
    "onset",
    "apex",
    "offset",
    "interval_source",
    "notes",
)
"""Columns before those of the descriptor."""


@dataclass(frozen=True, slots=True)
class DescribedClip:
    """The descriptor of one clip, or why it failed.

    Attributes:
        clip: The clip.
        vector: (D,), or None if it failed.
        interval_source: Where onset and apex came from; "" if it failed.
        notes: Remarks for the user, as sentences.
        error: None, or the three parts of the error: found, expected, what to type.
        interval: Onset, apex and offset that were used, in frame numbers.
    """

    clip: Clip
    vector: NDArray[np.float32] | None
    interval_source: str = ""
    notes: tuple[str, ...] = ()
    error: tuple[str, str, str] | None = None
    interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class DescriptorTable:
    """One descriptor of many clips.

    Attributes:
        descriptor: Name of the descriptor.
        parameters: All its parameters.
        rows: One for each clip, including failed ones.
    """

    descriptor: str
    parameters: Mapping[str, Any]
    rows: tuple[DescribedClip, ...]

    @property
    def done(self) -> tuple[DescribedClip, ...]:
        """Return the clips that have a vector."""
        return tuple(row for row in self.rows if row.vector is not None)

    @property
    def features(self) -> NDArray[np.float32]:
        """Return the vectors (N, D) of the clips in `done`, in their order."""
        vectors = [row.vector for row in self.rows if row.vector is not None]
        return np.stack(vectors) if vectors else np.empty((0, 0), np.float32)


def describe(
    clips: Sources,
    descriptor: str = "lbp-top",
    parameters: Mapping[str, str | Any] | None = None,
    *,
    cache: Cache | None = None,
    jobs: int = 1,
    progress: Callable[[int], None] | None = None,
) -> DescriptorTable:
    """Compute a descriptor of each clip.

    Args:
        clips: The clips; `mien.preprocessing.prepare.video_clip` makes one of a video.
        descriptor: A name in `mien.descriptors.DESCRIPTORS`.
        parameters: Parameters that differ from the defaults.
        cache: The cache of the vectors, so that a stopped run resumes where it stopped; None uses none.
        jobs: Number of parallel processes.
        progress: Called with 1 after each clip.

    Returns:
        The table, in the order of `clips`; rows of failed clips hold the error.

    Raises:
        MienError: No clip, an unknown descriptor or parameter, or clips of a kind it cannot read.

    Example:
        >>> describe("face.mkv", "hoof", {"flow": "dis", "face": "none"}).features.shape
        (1, 8)
    """
    from joblib import delayed

    chosen = descriptor_named(descriptor)
    clips = clips_of(clips)
    if not clips:
        raise MienError("There is no clip in what was given.", "at least one.", "`mien check NAME=FOLDER`.")
    p = chosen.with_parameters(parameters)
    media = {clip.medium for clip in clips}
    recipes = {medium: chosen.recipe(p, medium) for medium in media}
    p.require_effect(parameters or {}, descriptor, media)
    # Reading ready pictures takes less time than starting processes.
    jobs = 1 if set(recipes) == {"flow"} else max(1, min(jobs, len(clips)))
    work = (delayed(_describe_one)(clip, recipes[clip.medium], cache, jobs > 1) for clip in clips)
    rows = []
    for row in in_processes(work, jobs):
        rows.append(row)
        if progress is not None:
            progress(1)
    return DescriptorTable(descriptor, p.model_dump(mode="json"), tuple(rows))


def _describe_one(clip: Clip, recipe: Recipe, cache: Cache | None, alone: bool) -> DescribedClip:
    from mien.preprocessing.threads import one_thread

    try:
        with one_thread(alone):
            output = cache.load_or_apply(clip, recipe)[0] if cache else recipe.apply(clip)
    except MienError as error:
        return DescribedClip(clip, None, error=(error.found, error.expected, error.fix))
    except Exception as error:  # a failing clip must not stop the others; its row holds the error
        message = f"{clip.key} failed unexpectedly: {type(error).__name__}: {error}"
        return DescribedClip(clip, None, error=(message, "no failure.", "report it as a bug."))
    used = output.interval if output.interval_source == "detected" else clip.interval
    vector = np.asarray(output.array, np.float32)
    return DescribedClip(clip, vector, output.interval_source, output.notes, interval=used)


def check_target(path: Path) -> None:
    """Check that a table can be written to a path, before anything is computed.

    Raises:
        MienError: Another suffix, a folder, no permission to write, or no pyarrow for Parquet.
    """
    if path.suffix.lower() not in FORMATS:
        raise MienError(
            f"--out {str(path)!r} ends in {path.suffix or 'nothing'!r}.",
            f"one of {', '.join(FORMATS)}.",
            f"`--out {path.with_suffix('.parquet')}`.",
        )
    if path.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise MienError(
            "Parquet needs the package pyarrow, which is not installed.",
            "pyarrow, or another format.",
            f"{install_extra('table')}, or `--out {path.with_suffix('.csv')}`.",
        )
    require_writable_file(path, "`--out features.parquet`.")


def write_table(table: DescriptorTable, path: Path) -> Path:
    """Write the clips that have a vector to a file: one row each, first `COLUMNS`, then one column per number.

    Parquet and NPZ also hold the descriptor's name and parameters; NPZ holds the numbers as one array `features`.

    Raises:
        MienError: As `check_target`; or no clip has a vector.
    """
    check_target(path)
    if not table.done:
        raise MienError(
            "No clip could be described.", "at least one.", "the errors of the clips, `DescribedClip.error`."
        )
    columns = _columns(table)
    about = json.dumps({"descriptor": table.descriptor, "parameters": dict(table.parameters), "mien": mien.__version__})
    prefix = table.descriptor.replace("-", "_")
    names = [f"{prefix}_{i}" for i in range(table.features.shape[1])]
    if path.suffix.lower() == ".parquet":
        content: str | bytes = _parquet(columns, names, table.features, about)
    elif path.suffix.lower() == ".csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*columns, *names])
        for cells, vector in zip(zip(*columns.values(), strict=True), table.features, strict=True):
            writer.writerow([*("" if cell is None else cell for cell in cells), *vector])
        content = text.getvalue()
    else:
        buffer = io.BytesIO()
        texts = {name: np.array(["" if c is None else str(c) for c in cells]) for name, cells in columns.items()}
        np.savez(buffer, features=table.features, about=np.array(about), **texts)  # type: ignore[arg-type]
        content = buffer.getvalue()
    with writing(path, "`--out features.parquet`."):
        write_atomically(path, content)
    return path


def _columns(table: DescriptorTable) -> dict[str, list[str | int | None]]:
    lines: list[tuple[str | int | None, ...]] = []
    for row in table.done:
        clip, span = row.clip, row.interval
        times = (None, None, None) if span is None else (span.onset, span.apex, span.offset)
        lines.append(
            (clip.dataset, clip.subject, clip.name, clip.emotion, clip.action_units, *times, row.interval_source,
             " ".join(row.notes))
        )  # fmt: skip
    return {name: list(cells) for name, cells in zip(COLUMNS, zip(*lines, strict=True), strict=True)}


def _parquet(
    columns: Mapping[str, list[str | int | None]], names: Sequence[str], features: NDArray[np.float32], about: str
) -> bytes:
    import pyarrow
    from pyarrow import parquet

    whole = {"onset", "apex", "offset"}
    arrays: dict[str, pyarrow.Array] = {
        name: pyarrow.array(cells, pyarrow.int64() if name in whole else pyarrow.string())
        for name, cells in columns.items()
    }
    arrays |= {
        name: pyarrow.array(column) for name, column in zip(names, np.ascontiguousarray(features.T), strict=True)
    }
    made = pyarrow.table(arrays).replace_schema_metadata({"mien": about})
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(made, sink)
    return bytes(sink.getvalue().to_pybytes())
