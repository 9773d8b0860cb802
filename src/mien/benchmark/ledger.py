"""The ledger: one row per (run, seed, clip). It is the only result that is ever stored; scores are views of it.

A run is a folder::

    RUN/run.json                 settings: system, parameters, protocol, data, label map, versions
    RUN/clips.csv                the clip table the folds index: key, label, origin
    RUN/ledger/s0-f003.csv       rows of seed 0, fold 3; written whole by atomic rename
    RUN/log/s0-f003.json         loss curves and seconds of that fold: they differ from run to run, the ledger does not
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.files import write_atomically

FIXED = ("dataset", "subject", "clip", "fold", "seed", "interval", "y_true", "y_pred")


@dataclass(frozen=True, slots=True)
class Row:
    """One prediction.

    Attributes:
        dataset: Dataset id.
        subject: Subject as the database prints it.
        clip: Clip name.
        fold: Fold name.
        seed: Training seed.
        interval: "given" when onset and apex came from the annotation, "found" when a spotter found them,
            "ready" when the input was a ready flow picture.
        y_true: True class, by name.
        y_pred: Predicted class, by name.
        probabilities: One per class, in the order of the run's classes; sums to 1.
    """

    dataset: str
    subject: str
    clip: str
    fold: str
    seed: int
    interval: str
    y_true: str
    y_pred: str
    probabilities: tuple[float, ...]

    @property
    def key(self) -> str:
        """Identity of the clip: `dataset/subject/clip`."""
        return f"{self.dataset}/{self.subject}/{self.clip}"


@dataclass(frozen=True, slots=True)
class Ledger:
    """All rows of one run, with the settings they were made under.

    Attributes:
        settings: The content of run.json.
        classes: Class names, in the order of the probabilities.
        rows: Rows ordered by seed, then by fold, then by place in the clip table.
        complete: True when every fold of every seed is there.
    """

    settings: Mapping[str, Any]
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    complete: bool

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that have rows, ascending."""
        return tuple(sorted({row.seed for row in self.rows}))

    def of_seed(self, seed: int) -> tuple[Row, ...]:
        """Rows of one seed: one per clip in a complete run of a protocol that tests each clip once."""
        return tuple(row for row in self.rows if row.seed == seed)

    def labels(self, rows: Sequence[Row]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(y_true, y_pred) of some rows as class indices."""
        index = {name: i for i, name in enumerate(self.classes)}
        return (
            np.array([index[row.y_true] for row in rows], dtype=np.int64),
            np.array([index[row.y_pred] for row in rows], dtype=np.int64),
        )


def rows_as_csv(rows: Iterable[Row], classes: Sequence[str]) -> str:
    """Rows as CSV text with a header; probabilities with nine significant digits (exact for float32)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*FIXED, *(f"p_{name}" for name in classes)])
    for row in rows:
        fixed = (getattr(row, name) for name in FIXED)
        writer.writerow([*fixed, *(f"{p:.9g}" for p in row.probabilities)])
    return out.getvalue()


def _rows_from(path: Path, classes: Sequence[str]) -> Iterator[Row]:
    expected = [*FIXED, *(f"p_{name}" for name in classes)]
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        if reader.fieldnames != expected:
            raise MienError(
                f"{path} has the columns {reader.fieldnames}.",
                f"{expected}.",
                "move the file away and run `mien benchmark` again: only that fold is redone.",
            )
        for entry in reader:
            yield Row(
                dataset=entry["dataset"],
                subject=entry["subject"],
                clip=entry["clip"],
                fold=entry["fold"],
                seed=int(entry["seed"]),
                interval=entry["interval"],
                y_true=entry["y_true"],
                y_pred=entry["y_pred"],
                probabilities=tuple(float(entry[f"p_{name}"]) for name in classes),
            )


def fold_file(run: Path, seed: int, number: int) -> Path:
    """Where the rows of one fold live."""
    return run / "ledger" / f"s{seed}-f{number:04d}.csv"


def read_settings(run: Path) -> dict[str, Any]:
    """The settings of a run.

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
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise MienError(
            f"{path} is not JSON ({error}).", "the file as it was written.", "a new --out folder."
        ) from None
    return settings


def read_ledger(run: Path) -> Ledger:
    """Everything a run has predicted so far.

    Raises:
        MienError: The folder is not a run, or a file in it was changed by hand.
    """
    settings = read_settings(run)
    classes = tuple(settings["classes"])
    rows: list[Row] = []
    complete = True
    for seed in sorted(settings["seeds"]):
        for number in range(settings["n_folds"]):
            path = fold_file(Path(run), seed, number)
            if path.is_file():
                rows.extend(_rows_from(path, classes))
            else:
                complete = False
    return Ledger(settings, classes, tuple(rows), complete)


def open_folder(
    out: Path,
    settings: Mapping[str, Any],
    name: str,
    table: str,
    differences: Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]],
) -> dict[str, Any]:
    """Create the folder of a run of any kind, or check that the one that is there is the same run.

    Args:
        out: The folder.
        settings: What run.json holds; seeds may be added to those that are there.
        name: File of the table of what is tested.
        table: Its content.
        differences: Of the settings there and the wanted ones, told for people.

    Returns:
        The settings that hold from now on.

    Raises:
        MienError: Another run is there, or something that is no run.
    """
    wanted = dict(settings)
    if (out / "run.json").is_file():
        there = read_settings(out)
        changed = differences(there, wanted)
        if changed:
            raise MienError(
                f"{str(out)!r} holds a run with other settings: {'; '.join(changed[:3])}"
                + (f"; and {len(changed) - 3} more." if len(changed) > 3 else "."),
                "the same settings, to go on with that run.",
                f"`--out {out}-2`; nothing was changed.",
            )
        wanted["seeds"] = sorted({*there["seeds"], *wanted["seeds"]})
        if wanted["seeds"] == there["seeds"]:
            return there
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise MienError(
            f"{str(out)!r} exists and is not a run.",
            "a new folder, or one made by `mien benchmark`.",
            f"`--out {out}-run`.",
        )
    write_atomically(out / name, table)
    write_atomically(out / "run.json", json.dumps(wanted, indent=2) + "\n")
    return wanted
