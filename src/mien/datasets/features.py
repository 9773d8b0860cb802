"""Ready features: one vector per clip, with the clip table that says whose they are.

A copy is a file or a folder. One table can hold both, a row per clip: columns that name the clip and the others its
features, as `mien describe` writes it (CSV, Parquet, npz). Or a table of numbers alone (CSV, npz, MATLAB) stands in the
order of another: `clips.csv` in the same folder, or the label sheet of a database.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.datasets.base import Dataset
from mien.datasets.label_sheet import read_label_sheet
from mien.datasets.layout import layout
from mien.errors import MienError, install_extra, unknown_name
from mien.types import Clip, Problem

Array = NDArray[np.float32]

SUFFIXES: Final = (".parquet", ".npz", ".csv", ".mat")
"""Forms of features, the first that a folder holds is read."""

TABLE: Final = "clips.csv"
SHEETS: Final = ("casme2", "samm", "casme", "smic_hs", "mmew")
"""Databases whose label sheet can stand for the clip table."""

KNOWN: Final = (
    "dataset", "subject", "clip", "emotion", "action_units", "onset", "apex", "offset", "interval_source", "notes",
)  # fmt: skip
"""Columns that are no features."""

ARRAYS: Final = ("features", "feature", "x")


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """Features, and the columns beside them.

    Attributes:
        values: (N, D).
        columns: Text columns, N values each; empty where the file holds numbers alone.
    """

    values: Array
    columns: Mapping[str, Sequence[str]]


def _unreadable(path: Path, what: str) -> MienError:
    return MienError(
        f"{str(path)!r} cannot be read as features: {what}.",
        "a table of one row per clip (CSV, Parquet, npz), or a MATLAB file with one matrix.",
        "`mien describe NAME=FOLDER --out features.csv` writes such a table.",
    )


@lru_cache(maxsize=4)
def read_features(path: Path) -> FeatureTable:
    """Read a file of features; a matrix of numbers alone is returned as it lies in the file.

    Raises:
        MienError: It is none, or a feature is no finite number.
    """
    if not path.is_file():
        raise _unreadable(path, "there is no such file")
    try:
        found = {".csv": _read_csv, ".npz": _read_npz, ".mat": _read_mat, ".parquet": _read_parquet}[
            path.suffix.lower()
        ](path)
    except MienError:
        raise
    except KeyError:
        raise _unreadable(path, f"files {path.suffix or 'without a suffix'} are not known") from None
    except Exception as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}") from None
    bad = np.argwhere(~np.isfinite(found.values))
    if len(bad):
        row, column = bad[0]
        raise MienError(
            f"{str(path)!r} has {len(bad)} value(s) that are no finite number, the first in row {row + 1}, column "
            f"{column + 1}.",
            "a finite number for each feature of each clip.",
            "compute these clips again, or remove their rows.",
        )
    if not found.values.size:
        raise _unreadable(path, "it holds no number")
    return found


def _split(names: Sequence[str], rows: Sequence[Sequence[Any]], path: Path) -> FeatureTable:
    """Divide the columns of a table into those that name the clip and those that are features."""
    beside = [n for n, name in enumerate(names) if name in KNOWN]
    others = [n for n in range(len(names)) if n not in beside]
    try:
        values = np.array([[float(row[n]) for n in others] for row in rows], np.float32)
    except (TypeError, ValueError):
        odd = next(n for n in others if any(not _is_number(row[n]) for row in rows))
        raise _unreadable(
            path, f"the column {names[odd]!r} holds text; columns of text are {', '.join(KNOWN)}"
        ) from None
    columns = {names[n]: ["" if row[n] is None else str(row[n]).strip() for row in rows] for n in beside}
    return FeatureTable(values.reshape(len(rows), len(others)), columns)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _read_csv(path: Path) -> FeatureTable:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = [row for row in csv.reader(stream) if row]
    header = bool(rows) and not all(map(_is_number, rows[0]))
    names = [cell.strip() for cell in rows[0]] if header else [str(n) for n in range(len(rows[0]))]
    body = rows[1:] if header else rows
    wrong = next((n for n, row in enumerate(body, 1) if len(row) != len(names)), 0)
    if wrong:
        raise _unreadable(path, f"row {wrong} has {len(body[wrong - 1])} cells, the first line {len(names)}")
    return _split(names, body, path)


def _read_parquet(path: Path) -> FeatureTable:
    if find_spec("pyarrow") is None:
        raise MienError(
            "Parquet files need the package pyarrow, which is not installed.",
            "pyarrow, or the table as CSV.",
            f"{install_extra('table')}.",
        )
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    columns = [table[name].to_pylist() for name in table.column_names]
    return _split(table.column_names, list(zip(*columns, strict=True)), path)


def _read_npz(path: Path) -> FeatureTable:
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    values = _matrix(arrays, path)
    columns = {
        name: [str(v) for v in array]
        for name, array in arrays.items()
        if name in KNOWN and array.shape == (len(values),)
    }
    return FeatureTable(values, columns)


def _read_mat(path: Path) -> FeatureTable:
    from scipy.io import loadmat

    return FeatureTable(_matrix({k: v for k, v in loadmat(path).items() if not k.startswith("__")}, path), {})


def _matrix(arrays: Mapping[str, Any], path: Path) -> Array:
    """Return the one matrix of numbers among arrays."""
    found = {k: v for k, v in arrays.items() if getattr(v, "ndim", 0) == 2 and np.issubdtype(v.dtype, np.number)}
    named: list[str] = [name for name in ARRAYS if name in found] or (list(found) if len(found) == 1 else [])
    if not named:
        raise _unreadable(path, f"it holds {len(found)} matrices of numbers ({', '.join(arrays) or 'nothing at all'})")
    return np.asarray(found[named[0]], np.float32)


class Features(Dataset):
    """Ready features of clips.

    Args:
        root: A file of features, or a folder that holds one, and perhaps `clips.csv`.
        label_sheets: Label sheet of the database in whose order the features stand, where no table names the clips.

    Raises:
        MienError: There is no file of features.

    Example:
        >>> _ = Path("mine.csv").write_text("subject,clip,emotion,f0,f1\\n1,a,happy,0.5,2\\n2,b,sad,1.5,3\\n")
        >>> Features(Path("mine.csv")).clips()[1].emotion
        'sad'
    """

    id = "features"

    def __init__(self, root: Path, *, label_sheets: Mapping[str, Path] | None = None) -> None:
        root = Path(root)
        if root.is_dir():
            super().__init__(root)
        elif root.is_file():
            self.root = root
        else:
            super().__init__(root)  # which says what is missing
        self.label_sheets = dict(label_sheets or {})
        _ = self.file

    @property
    def is_synthetic(self) -> bool:
        """Whether a note beside the features says that their faces are synthetic."""
        folder = self.root if self.root.is_dir() else self.root.parent
        return (folder / "SYNTHETIC.txt").is_file()

    @cached_property
    def file(self) -> Path:
        """The file of features."""
        if self.root.is_file():
            return self.root
        found = [p for p in sorted(self.root.iterdir()) if p.suffix.lower() in SUFFIXES and p.name != TABLE]
        if len(found) != 1:
            named = ", ".join(p.name for p in found[:5]) or "none"
            raise MienError(
                f"{str(self.root)!r} holds {len(found)} files of features ({named}).",
                f"one ({', '.join(SUFFIXES)}), and {TABLE} where it names no clips.",
                f"`features={found[0] if 0 < len(found) < 4 else self.root / 'features.csv'}`: the file itself.",
            )
        return found[0]

    def clips(self) -> list[Clip]:
        """Return a clip for each row, in the order of the table.

        Raises:
            MienError: Nothing names the clips, or the numbers of rows differ.
        """
        table = read_features(self.file)
        rows, source = self._rows(table)
        feature_axis(table, len(rows), self.file, source)
        return [
            Clip(
                row["dataset"], row["subject"], row["clip"], None, row["emotion"].lower(), row["action_units"],
                medium="features", extra={"file": str(self.file), "row": str(n), "rows": str(len(rows))},
            )
            for n, row in enumerate(rows)
        ]  # fmt: skip

    def _rows(self, table: FeatureTable) -> tuple[list[dict[str, str]], str]:
        """Return dataset, subject, clip, emotion and action units of each row, and where they were read."""
        if self.label_sheets:
            if len(self.label_sheets) > 1:
                raise MienError(
                    f"{len(self.label_sheets)} label sheets for one file of features.",
                    "one, in whose order the rows are.",
                    "`--label-sheet casme2=FILE`.",
                )
            name, sheet = next(iter(self.label_sheets.items()))
            if name not in SHEETS:
                raise unknown_name("database whose sheet orders features", name, SHEETS, "mien benchmark --help")
            if not Path(sheet).is_file():
                raise MienError(
                    f"There is no label sheet {str(sheet)!r}.", f"the sheet of {name}.", f"`--label-sheet {name}=FILE`."
                )
            read = read_label_sheet(Path(sheet), layout(name), name).rows
            return [_row({**row, "dataset": name}) for row in read], Path(sheet).name
        columns, source = table.columns, self.file.name
        beside = (self.root if self.root.is_dir() else self.root.parent) / TABLE
        if "clip" not in columns and beside.is_file() and beside != self.file:
            columns, source = _clip_columns(beside), beside.name
        missing = [name for name in ("subject", "clip") if name not in columns]
        if missing:
            raise MienError(
                f"{source} has no column {missing[0]!r}: whose clips the features are is not known.",
                f"the columns subject, clip and emotion in it, or in {TABLE} beside it.",
                "`--label-sheet casme2=FILE`, if the rows stand in the order of that sheet.",
            )
        n = len(columns["clip"])
        return [_row({name: values[i] for name, values in columns.items()}) for i in range(n)], source

    def problems(self) -> list[Problem]:
        """Return rows that are equal: one clip under two names, or features that were filled in."""
        table, found = read_features(self.file), []
        rows, source = self._rows(table)
        values = table.values if feature_axis(table, len(rows), self.file, source) == 0 else table.values.T
        seen: dict[bytes, int] = {}
        for n, row in enumerate(values):
            first = seen.setdefault(row.tobytes(), n)
            if first != n:
                found.append(Problem(f"row {n + 1}", f"has the same features as row {first + 1}", "note"))
        return found


def _row(entry: Mapping[str, str]) -> dict[str, str]:
    plain = {name: entry.get(name) or "" for name in ("dataset", "subject", "clip", "emotion", "action_units")}
    return {**plain, "dataset": plain["dataset"] or "features"}


def _clip_columns(path: Path) -> dict[str, list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
    return {name: [(row[name] or "").strip() for row in rows] for name in reader.fieldnames or ()}


def feature_axis(table: FeatureTable, n_clips: int, file: Path, source: str) -> int:
    """Return the axis of a matrix along which the clips stand; rows where the same file names the clips.

    Raises:
        MienError: Neither axis, or both, have as many entries as there are clips.
    """
    shape = table.values.shape
    axes = [
        axis for axis, length in enumerate(shape) if length == n_clips and (axis == 0 or "clip" not in table.columns)
    ]
    if len(axes) != 1:
        raise MienError(
            f"{file.name} is {shape[0]}x{shape[1]}, and {source} has {n_clips} clips.",
            "one row (or one column) of features for each clip.",
            "the clip table of these features, in their order.",
        )
    return axes[0]


def features_of(clip: Clip) -> Array:
    """Return the features of one clip of a `Features` dataset, (D,).

    Raises:
        MienError: The file changed since the clip was listed.
    """
    file, n = Path(clip.extra["file"]), int(clip.extra["rows"])
    table = read_features(file)
    values = table.values
    axis = feature_axis(table, n, file, "the clip table")
    row = int(clip.extra["row"])
    return values[row] if axis == 0 else values[:, row]
