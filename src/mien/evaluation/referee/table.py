"""Tables of other people's predictions: comma- or tab-separated text, JSON, lines of JSON, and Parquet."""

from __future__ import annotations

import csv
import gc
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError, install_extra, nearest_name

FORMATS: Final = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".parquet")
MOST_BYTES: Final = 1 << 31
"""Largest file that is read: 2 GiB."""
PEEK: Final = 1 << 14
"""Bytes that tell what a table holds."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as text.

    Attributes:
        path: Where it was read.
        columns: Values of each column, as text without spaces around it; "" where a row has none.
        header: False where the file has no line of names: the columns are then "1", "2", ...
    """

    path: Path
    columns: Mapping[str, Sequence[str]]
    header: bool = True

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def where(self, row: int) -> str:
        """Return where a row stands, for messages; rows count from 1."""
        return f"row {row + 1} of {self.path.name}"

    def first(self, names: Iterable[str]) -> str | None:
        """Return the first of some columns that the table has, whatever the case of its letters."""
        known = {plain(name): name for name in self.columns}
        return next((known[plain(name)] for name in names if plain(name) in known), None)

    def need(self, names: Sequence[str], what: str) -> Sequence[str]:
        """Return a column.

        Args:
            names: The names it may have.
            what: What it holds, for the message.

        Raises:
            MienError: There is no such column.
        """
        found = self.first(names)
        if found is None:
            near = nearest_name(names[0], self.columns)
            raise MienError(
                f"{str(self.path)!r} has no column for {what}: it has {', '.join(map(repr, self.columns)) or 'none'}.",
                f"a column {names[0]!r}" + (f" (or {', '.join(names[1:4])})." if names[1:] else "."),
                f"rename {near!r} to {names[0]!r}." if near else f"add a column {names[0]!r}.",
            )
        return self.columns[found]

    def numbers(self, names: Sequence[str], what: str) -> NDArray[np.float64]:
        """Return a column of numbers.

        Raises:
            MienError: There is no such column, or a value is no finite number.
        """
        texts = self.need(names, what)
        try:
            values = np.array(texts, np.float64) if len(texts) else np.zeros(0)
        except ValueError:
            values = np.array([_number(text) for text in texts])
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise MienError(
                f"{self.where(int(bad[0]))}: {what} is {texts[bad[0]]!r} ({len(bad)} such rows).",
                "a finite number in each row.",
                f"correct the column {self.first(names)!r} and run the same command.",
            )
        return values


def plain(name: str) -> str:
    """Return a column's name without case and punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def unreadable(path: Path, what: str) -> MienError:
    """Return the error for a file that is not what its name says."""
    return MienError(
        f"{str(path)!r} cannot be read: {what}.",
        f"a table as text in UTF-8, JSON or Parquet ({', '.join(FORMATS)}).",
        "save it again, for example as `CSV UTF-8`; docs/guide/score.md shows each form.",
    )


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        MienError: It does not exist, is too large, or is not UTF-8 text.
    """
    if not path.is_file():
        raise MienError(
            f"There is no file {str(path)!r}.",
            "a file of predictions, or a folder of such files.",
            "the right path; `ls` shows what is there.",
        )
    try:
        if path.stat().st_size > MOST_BYTES:
            raise unreadable(path, f"it has {path.stat().st_size / 2**30:.1f} GiB, more than 2")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise unreadable(path, f"it is not text in UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise unreadable(path, error.strerror or "it cannot be opened") from None
    if "\0" in text:
        raise unreadable(path, "it holds zero bytes, as binary files do")
    if not text.strip():
        raise MienError(f"{str(path)!r} is empty.", "at least one prediction.", "write the predictions again.")
    return text


def read_table(path: Path) -> Table:
    """Read a table; its form follows from the suffix, and for text from its first line.

    Raises:
        MienError: It cannot be read, or its rows have different lengths.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _read_parquet(path)
    text = read_text(path)
    if suffix in (".json", ".jsonl", ".ndjson") or text.lstrip()[:1] in ("{", "["):
        return _from_records(path, _records(path, text, lines=suffix != ".json"))
    return _separated(path, text)


def first_rows(path: Path) -> Table:
    """Return the beginning of a table, to tell what it holds; all of it where its form must be read whole.

    Raises:
        MienError: As `read_table`.
    """
    if path.suffix.lower() in (".parquet", ".json") or not path.is_file() or path.stat().st_size < PEEK:
        return read_table(path)
    with path.open("rb") as stream:
        begun = stream.read(PEEK).rpartition(b"\n")[0]
    try:
        text = begun.decode("utf-8-sig")
    except UnicodeDecodeError:
        return read_table(path)  # which says what is wrong
    if text.lstrip()[:1] in ("{", "["):
        return _from_records(path, _records(path, text, lines=True))
    return _separated(path, text)


def _read_parquet(path: Path) -> Table:
    if not path.is_file():
        read_text(path)  # which says so
    if find_spec("pyarrow") is None:
        raise MienError(
            "Parquet files need the package pyarrow, which is not installed.",
            "pyarrow, or the table in another form.",
            f"{install_extra('table')}, or save the table as CSV.",
        )
    import pyarrow.parquet

    try:
        found = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise unreadable(path, f"it is no Parquet file ({str(error).splitlines()[0][:80]})") from None
    columns = {str(name): ["" if v is None else str(v).strip() for v in found[name].to_pylist()] for name in
               found.column_names}  # fmt: skip
    return _filled(Table(path, columns))


def _records(path: Path, text: str, lines: bool) -> list[Any]:
    """Return the objects of JSON text."""
    try:
        if lines and not text.lstrip().startswith("["):
            found = []
            for number, line in enumerate(text.splitlines(), 1):
                if line.strip():
                    try:
                        found.append(json.loads(line))
                    except ValueError as error:
                        raise unreadable(path, f"line {number} is no JSON ({error})") from None
            return found
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise unreadable(path, f"it is no JSON ({error})") from None
    if isinstance(whole, dict):
        whole = next((value for value in whole.values() if isinstance(value, list)), [whole])
    return list(whole)


def _from_records(path: Path, records: Sequence[Any]) -> Table:
    columns: dict[str, list[str]] = {}
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise unreadable(path, f"entry {number} is {type(record).__name__}, not an object with names")
        for name in record.keys() - columns.keys():
            columns[str(name)] = [""] * (number - 1)
        for name, values in columns.items():
            value = record.get(name)
            if isinstance(value, dict | list):
                raise unreadable(path, f"entry {number} has a {type(value).__name__} as {name!r}, not one value")
            values.append("" if value is None else str(value).strip())
    return _filled(Table(path, columns))


def _separated(path: Path, text: str) -> Table:
    first = next(line for line in text.splitlines() if line.strip())
    mark = next((m for m in ("\t", ",", ";") if m in first), ",")
    collecting = gc.isenabled()
    gc.disable()  # a million small lists would be looked through again and again
    try:
        rows = [row for row in csv.reader(text.splitlines(), delimiter=mark) if row]
    except csv.Error as error:
        raise unreadable(path, str(error)) from None
    finally:
        if collecting:
            gc.enable()
    if len(set(map(len, rows))) > 1:
        rows = [row for row in rows if any(map(str.strip, row))]
    header = not any(_is_number(cell) for cell in rows[0])
    names = [cell.strip() for cell in rows[0]] if header else [str(n + 1) for n in range(len(rows[0]))]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise MienError(
            f"{str(path)!r} names the column {twice!r} twice.", "each column once.", "rename or remove one of them."
        )
    body = rows[1:] if header else rows
    number = next((n for n, row in enumerate(body, 1) if len(row) != len(names)), 0)
    if number:
        raise MienError(
            f"Row {number} of {str(path)!r} has {len(body[number - 1])} cells, the first line {len(names)}.",
            "as many cells in each row.",
            "quote cells that hold the separator, or save the table again.",
        )
    cells = list(zip(*body, strict=True)) or [()] * len(names)
    columns = {name: [cell.strip() for cell in column] for name, column in zip(names, cells, strict=True)}
    return _filled(Table(path, columns, header))


def _is_number(text: str) -> bool:
    return not np.isnan(_number(text)) or text.strip().lower() == "nan"


def _filled(table: Table) -> Table:
    if not len(table):
        raise MienError(f"{str(table.path)!r} has no rows.", "at least one prediction.", "write the predictions again.")
    return table
