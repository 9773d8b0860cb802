"""The ledger: one row per seed and clip of a run. Only the ledger is stored; all scores are computed from it.

A run is a folder::

    RUN/run.json                 settings: system, parameters, protocol, data, label map, versions
    RUN/clips.csv                the clip table the folds index: key, label, origin
    RUN/ledger/s0-f003.csv       rows of seed 0, fold 3; written whole by atomic rename
    RUN/log/s0-f003.json         loss curves and seconds of that fold: they differ from run to run, the ledger does not
    RUN/failed.json              clips that could not be prepared, and why; not there when all could
    RUN/notes.json               what the recipe wants known of clips: filled up, interpolated; not there when nothing

A clip that could not be prepared has its rows all the same: `interval` is "failed", and there is no answer. It counts
as wrong, so that leaving clips out cannot raise a score.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.evaluation.metrics import NO_ANSWER
from mien.evaluation.units import UNITS_TASK, unit_answer_problem, units_from_text
from mien.io.atomic import LOCK, UNFINISHED, require_writable_folder, write_atomically
from mien.types import Clip, IntervalSource, read_interval_source

FAILED: Final[IntervalSource] = "failed"
"""`interval_source` of a clip that could not be prepared: it has no answer, and counts as wrong."""

FIXED = ("dataset", "subject", "clip", "fold", "seed", "interval_source", "y_true", "y_pred")
"""Columns of every ledger; one column of probabilities per class follows."""

FORMER = tuple("interval" if name == "interval_source" else name for name in FIXED)
"""The same columns in ledgers of earlier versions, which are still read and resumed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One prediction.

    Attributes:
        dataset: Dataset id.
        subject: Subject as the database prints it.
        clip: Clip name.
        fold: Fold name.
        seed: Training seed.
        interval_source: Where onset and apex came from: "annotated", "detected", "ready" (a ready flow picture), or
            "failed" where the clip could not be prepared.
        y_true: True class, by name.
        y_pred: Predicted class, by name; "" where the clip could not be prepared.
        probabilities: One per class, in the order of the run's classes; sums to 1. () where there is no answer.
    """

    dataset: str
    subject: str
    clip: str
    fold: str
    seed: int
    interval_source: IntervalSource
    y_true: str
    y_pred: str
    probabilities: tuple[float, ...]

    @property
    def key(self) -> str:
        """Return the identity of the clip: `dataset/subject/clip`."""
        return f"{self.dataset}/{self.subject}/{self.clip}"


@dataclass(frozen=True, slots=True)
class Ledger:
    """All rows of one run, with its settings.

    Attributes:
        settings: The content of run.json.
        classes: Class names, in the order of the probabilities.
        rows: Rows ordered by seed, then by fold, then by place in the clip table.
        complete: Whether all folds of all seeds are finished.
        failures: Clips that could not be prepared, by key, and why.
    """

    settings: Mapping[str, Any]
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    complete: bool
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def units(self) -> bool:
        """Whether the run is about action units, of which a clip may show several."""
        return self.settings.get("task") == UNITS_TASK

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds that have rows, ascending."""
        return tuple(sorted({row.seed for row in self.rows}))

    def of_seed(self, seed: int) -> tuple[Row, ...]:
        """Return the rows of one seed; one per clip where the protocol tests each clip once."""
        return tuple(row for row in self.rows if row.seed == seed)

    def labels(self, rows: Sequence[Row]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (y_true, y_pred) of rows as class indices; `NO_ANSWER` for a clip that could not be prepared."""
        index = {name: i for i, name in enumerate(self.classes)} | {"": NO_ANSWER}
        return (
            np.array([index[row.y_true] for row in rows], dtype=np.int64),
            np.array([index[row.y_pred] for row in rows], dtype=np.int64),
        )


def rows_as_csv(rows: Iterable[Row], classes: Sequence[str]) -> str:
    """Return rows as CSV text with a header; probabilities have nine significant digits, exact for float32."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*FIXED, *(f"p_{name}" for name in classes)])
    for row in rows:
        fixed = (getattr(row, name) for name in FIXED)
        shares = [f"{p:.9g}" for p in row.probabilities] or [""] * len(classes)
        writer.writerow([*fixed, *shares])
    return out.getvalue()


def _rows_from(path: Path, classes: Sequence[str], seed: int, units: bool) -> list[Row]:
    """Read the rows of one fold.

    Raises:
        MienError: They are not as `rows_as_csv` wrote them.
    """
    shares = [f"p_{name}" for name in classes]
    expected = [*FIXED, *shares]
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if reader.fieldnames == [*FORMER, *shares]:
                reader.fieldnames = expected
            if reader.fieldnames != expected:
                raise ValueError(f"it has the columns {', '.join(reader.fieldnames or ()) or 'none'}")
            return [_row(entry, classes, seed, units) for entry in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise MienError(
            f"{path} is not as it was written ({error}).",
            f"rows with the columns {', '.join(expected)}.",
            "move the file away and run `mien benchmark` again: only that fold is trained again.",
        ) from None


def _row(entry: Mapping[str | None, Any], classes: Sequence[str], seed: int, units: bool) -> Row:
    """Return one row; raise ValueError where `rows_as_csv` cannot have written it."""
    if None in entry or None in entry.values():
        raise ValueError("a line has another number of cells than the first")
    if entry["seed"] != str(seed):
        raise ValueError(f"a row of seed {entry['seed']}")
    source = read_interval_source(entry["interval_source"])
    cells = [entry[f"p_{name}"] for name in classes]
    shares = () if source == FAILED and not any(cells) else tuple(float(cell) for cell in cells)
    texts = {name: str(entry[name]) for name in FIXED if name not in ("seed", "interval_source")}
    row = Row(seed=seed, interval_source=source, probabilities=shares, **texts)
    wrong = answer_problem(row, classes, units)
    if units:
        units_from_text(row.y_true, classes)
    elif row.y_true not in classes:
        wrong = f"has the true class {row.y_true!r}; classes: {', '.join(classes)}"
    if wrong:
        raise ValueError(f"{row.key} {wrong}")
    return row


def answer_problem(row: Row, classes: Sequence[str], units: bool = False) -> str:
    """Return what is wrong with the probabilities and the predicted class of a row; "" where nothing is."""
    if row.interval_source == FAILED:
        return f"could not be prepared, yet predicts {row.y_pred!r}" if row.y_pred or row.probabilities else ""
    if units:
        return unit_answer_problem(row.y_pred, row.probabilities, classes)
    p = row.probabilities
    if len(p) != len(classes) or row.y_pred not in classes:
        return f"has {len(p)} probabilities and predicts {row.y_pred}; classes: {', '.join(classes)}"
    if not all(0 <= share < math.inf for share in p):
        return "has a probability that is negative or no number"
    if abs(sum(p) - 1) > 1e-3:
        return f"has probabilities that sum to {sum(p):.3f}"
    # The ledger keeps nine digits: classes that differ by less are both the most probable one.
    if p[classes.index(row.y_pred)] < max(p) - 1e-8:
        return f"predicts {row.y_pred}, which is not its most probable class"
    return ""


def fold_file(run: Path, seed: int, number: int) -> Path:
    """Return the path of the rows of one fold."""
    return run / "ledger" / f"s{seed}-f{number:04d}.csv"


def read_settings(run: Path) -> dict[str, Any]:
    """Read the settings of a run.

    Raises:
        MienError: The folder is not a run.
    """
    path = Path(run) / "run.json"
    if not path.is_file():
        raise MienError(
            f"{str(run)!r} is not a run: it has no run.json.",
            "a folder that `mien benchmark ... --out RUN` made.",
            f"`mien benchmark NAME=FOLDER --system ststnet --out {run}`.",
        )
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MienError(
            f"{path} is not JSON ({error}).", "the file as it was written.", "a new --out folder."
        ) from None
    checked: dict[str, Any] = settings if isinstance(settings, dict) else {}
    if "drawn" in checked:  # what earlier versions wrote
        checked["synthetic"] = checked.pop("drawn")
    wrong = [key for key, right in _SETTINGS.items() if key in checked and not right(checked[key])]
    wrong += [key for key in ("seeds", "n_folds") if key not in checked]
    if wrong:
        held = repr(checked.get(wrong[0], "nothing"))
        raise MienError(
            f"{path} is not as it was written: {wrong[0]} is {held[:60]}.",
            "settings as `mien benchmark` writes them.",
            "a new --out folder; or run.json from a run with the same settings.",
        )
    return checked


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


_SETTINGS: Final[Mapping[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(
        ("version", "system", "system_title", "protocol", "labels", "task"), lambda value: isinstance(value, str)
    ),
    **dict.fromkeys(("parameters", "recipes"), lambda value: isinstance(value, dict)),
    **dict.fromkeys(
        ("shares_subjects", "shuffle_labels", "synthetic", "partly_synthetic"), lambda value: isinstance(value, bool)
    ),
    **dict.fromkeys(("n_clips", "n_folds", "n_videos"), lambda value: type(value) is int and value >= 0),
    "protocol_parameters": lambda value: value is None or isinstance(value, dict),
    "protocol_warning": lambda value: value is None or isinstance(value, str),
    "classes": lambda value: _texts(value) and len(set(value)) == len(value) > 0 and "" not in value,
    "datasets": _texts,
    "runs": _texts,
    "given": _texts,
    "data": lambda value: (
        isinstance(value, list)
        and all(isinstance(each, dict) and _texts([each.get("name"), each.get("root")]) for each in value)
    ),
    "seeds": lambda value: (
        isinstance(value, list)
        and all(type(seed) is int and seed >= 0 for seed in value)
        and len(set(value)) == len(value) > 0
    ),
    "left_out": lambda value: isinstance(value, dict) and all(type(n) is int for n in value.values()),
    "remarks": _texts,
    "lacking": lambda value: isinstance(value, dict) and all(_texts(each) for each in value.values()),
    "members": lambda value: isinstance(value, list) and all(isinstance(each, dict) for each in value),
}
"""Checks of the settings of a run."""


def finished_folds(run: Path, settings: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return (seed, number) of each finished fold, in the order of the ledger."""
    folder = run / "ledger"
    there = {path.name for path in folder.iterdir() if path.is_file()} if folder.is_dir() else set()
    found = {}
    for name in there:
        match = re.fullmatch(r"s(\d{1,18})-f(\d{4,18})\.csv", name)
        if match and fold_file(run, int(match[1]), int(match[2])).name == name:
            found[int(match[1]), int(match[2])] = name
    return sorted((seed, n) for seed, n in found if seed in settings["seeds"] and n < settings["n_folds"])


def read_ledger(run: Path) -> Ledger:
    """Read all that a run has predicted so far.

    Raises:
        MienError: The folder is not a run, or a file in it was changed by hand.
    """
    run = Path(run)
    settings = read_settings(run)
    if "classes" not in settings:
        raise MienError(
            f"{run / 'run.json'} names no classes.",
            "a run that `mien benchmark` made.",
            "`mien report` on another run.",
        )
    classes = settings["classes"]
    _require_clip_table(run, settings)
    folds = finished_folds(run, settings)
    rows: list[Row] = []
    seen: set[tuple[int, str]] = set()
    for seed, number in folds:
        path = fold_file(run, seed, number)
        for row in _rows_from(path, classes, seed, settings.get("task") == UNITS_TASK):
            if (seed, row.key) in seen:
                raise MienError(
                    f"{path} tests {row.key} a second time for seed {seed}.",
                    "each clip once.",
                    "move the file away and run `mien benchmark` again: only that fold is trained again.",
                )
            seen.add((seed, row.key))
            rows.append(row)
    complete = len(folds) == len(settings["seeds"]) * settings["n_folds"]
    failures = {error["clip"]: error["found"] for error in read_failures(run)}
    return Ledger(settings, tuple(classes), tuple(rows), complete, failures)


def _require_clip_table(run: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a run whose table of clips is not the one that it began with."""
    path, digest = run / "clips.csv", settings.get("clip_table")
    if digest and path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest()[:16] != digest:
        raise MienError(
            f"{path} was cut or changed.",
            "the table of clips as `mien benchmark` wrote it.",
            f"`rm {shlex.quote(str(path))}`; every fold names its clips itself.",
        )


# Clips that could not be prepared


def notes_file(run: Path) -> Path:
    """Return the path of the notes of a recipe about the clips of a run."""
    return run / "notes.json"


def failures_file(run: Path) -> Path:
    """Return the path of the list of clips that a run could not prepare."""
    return run / "failed.json"


def read_failures(run: Path) -> list[dict[str, str]]:
    """Read the clips that a run could not prepare, each with `clip`, `found`, `expected` and `fix`.

    Raises:
        MienError: The file was changed by hand.
    """
    path = failures_file(run)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [{key: str(entry[key]) for key in ("clip", "found", "expected", "fix")} for entry in found]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise MienError(
            f"{path} is not as it was written ({type(error).__name__}).",
            "a list of clips and why they could not be prepared.",
            f"`rm {shlex.quote(str(path))}`, and `mien benchmark` again; the rows name these clips.",
        ) from None


@contextmanager
def machine_errors(out: Path) -> Iterator[None]:
    """Turn failures of the machine into a `MienError`: a full disk, missing permissions, a process that was killed.

    Raises:
        MienError: Instead of OSError and of joblib's error for a process that died.
    """
    try:
        yield
    except OSError as error:
        raise MienError(
            f"{str(error.filename or out)!r} cannot be written or read ({error.strerror or error}).",
            "room on the disk, and the right to write.",
            f"`df -h {out}` and `ls -ld {out}`; then the same command, which resumes where it stopped.",
        ) from None
    except BrokenProcessPool:
        raise MienError(
            "A process that trained a fold died: it was killed, or the memory ran out.",
            "room in memory for as many folds at once as --jobs says.",
            "the same command, which resumes where it stopped, with `--jobs 1`.",
        ) from None


def require_place(out: str | Path) -> None:
    """Refuse, before any work, a folder in which no new run could be written; a run that is there may be read-only.

    Raises:
        MienError: It is a file, may not be written to, or has no room.
    """
    if not (Path(out) / "run.json").is_file():
        require_writable_folder(out, f"`df -h {out}` and `ls -ld {out}`; or another --out.")


def require_source(clip: Clip) -> None:
    """Stop where the folder of a clip is gone with all around it: a disk was taken away, and no clip is to blame.

    Raises:
        MienError: It is gone.
    """
    place = clip.video or (clip.frames[0].parent if clip.frames else None)
    if place is not None and not place.exists() and not place.parent.exists():
        raise MienError(
            f"{str(place.parent)!r} no longer exists; {clip.key} was in it when this run began.",
            "the data where they were.",
            "the same command when they are back; it resumes where it stopped.",
        )


def _barely_begun(out: Path, name: str, table: str) -> bool:
    """Return whether a folder is empty, or holds only what a run leaves that was killed before run.json was written."""
    if not out.is_dir():
        return False
    left = [path for path in out.iterdir() if path.name != LOCK and path.suffix != UNFINISHED]
    return not left or ([path.name for path in left] == [name] and left[0].read_bytes() == table.encode())


def require_same_folder(
    out: Path,
    settings: Mapping[str, Any],
    differences: Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]],
) -> dict[str, Any] | None:
    """Return the settings of the run in a folder, or None where there is none; see `open_folder`.

    Raises:
        MienError: The folder holds another run.
    """
    if not (out / "run.json").is_file():
        return None
    there = read_settings(out)
    changed = differences(there, settings)
    if changed:
        raise MienError(
            f"{str(out)!r} holds a run with other settings: {'; '.join(changed[:3])}"
            + (f"; and {len(changed) - 3} more." if len(changed) > 3 else "."),
            "the same settings, to resume that run.",
            f"`--out {out}-2`; nothing was changed.",
        )
    return there


def open_folder(
    out: Path,
    settings: Mapping[str, Any],
    name: str,
    table: str,
    differences: Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]],
) -> dict[str, Any]:
    """Create the folder of a run of any kind, or check that it holds the same run.

    Args:
        out: The folder.
        settings: The content of run.json; seeds may be added.
        name: File name of the table of what is tested.
        table: Its content.
        differences: Returns a sentence about each setting that differs, of the settings there and the wanted ones.

    Returns:
        The settings of the run.

    Raises:
        MienError: The folder holds another run, or is not a run.
    """
    wanted = dict(settings)
    there = require_same_folder(out, wanted, differences)
    if there is not None:
        wanted["seeds"] = sorted({*there["seeds"], *wanted["seeds"]})
        if wanted["seeds"] == there["seeds"]:
            return there
    elif out.exists() and not _barely_begun(out, name, table):
        raise MienError(
            f"{str(out)!r} exists and is not a run.",
            "a new folder, or one made by `mien benchmark`.",
            f"`--out {out}-run`.",
        )
    write_atomically(out / name, table)
    write_atomically(out / "run.json", json.dumps(wanted, indent=2) + "\n")
    return wanted
