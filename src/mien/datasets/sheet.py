"""Label sheets (xlsx, xls, csv) as rows of text under canonical names: forgiving in spelling, strict on columns."""

from __future__ import annotations

import csv
import difflib
import fnmatch
import json
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from python_calamine import CalamineError, CalamineWorkbook

from mien.errors import MienError

Row = dict[str, str]

_MOST_CELLS: Final = 2_000_000
_MOST_UNPACKED: Final = 64 << 20  # bytes; the largest released sheet has less than one
_MOST_PARTS: Final = 2000
_REFERENCE: Final = re.compile(rb"""\sr\s*=\s*["']\$?([A-Za-z]*)\$?([0-9]+)""")
_CELL: Final = re.compile(rb"<c[\s>]")

_SUFFIXES = (".xlsx", ".xls", ".csv")
_HEADER_WITHIN = 40  # SAMM prints 13 lines of remarks before its header


def listing(folder: Path, most: int = 12) -> str:
    """What a folder holds, for an error: names in order, cut after `most`."""
    names = sorted(p.name + ("/" if p.is_dir() else "") for p in folder.iterdir() if not p.name.startswith("."))
    if not names:
        return "nothing"
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def find_sheet(root: Path, patterns: Sequence[str]) -> Path | None:
    """The label sheet in a folder or one level below it; of several matches of one pattern, the last by name.

    Args:
        root: Folder of the database.
        patterns: File names or shell patterns, in order of preference; case and kind (xlsx, xls, csv) do not matter.
    """
    candidates = [p for p in [*sorted(root.glob("*")), *sorted(root.glob("*/*"))] if p.suffix.lower() in _SUFFIXES]
    # "~$" starts the lock file that a spreadsheet program leaves beside an open sheet.
    candidates = [p for p in candidates if not p.name.startswith(("~$", "."))]
    for pattern in patterns:
        stem = re.sub(r"\.(xlsx|xls|csv)$", "", pattern.lower())
        found = [p for p in candidates if fnmatch.fnmatchcase(p.stem.lower(), stem)]
        shallow = [p for p in found if p.parent == root] or found
        if shallow:
            return max(shallow, key=lambda p: p.name.lower())
    return None


def cell_text(value: object) -> str:
    """A cell as text: whole numbers without ".0", runs of white space as one space, no spaces at the ends."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return re.sub(r"\s+", " ", str(value)).strip()


_UNREADABLE = OSError, ValueError, NotImplementedError, csv.Error, CalamineError, zipfile.BadZipFile, zlib.error


def read_cells(path: Path, sheet: str | int = 0) -> list[list[str]]:
    """All cells of one sheet as text.

    Args:
        path: xlsx, xls or csv file.
        sheet: Number of the sheet from 0, or its name; ignored for csv.

    Raises:
        MienError: The file cannot be read or has no such sheet.
    """
    try:
        if path.suffix.lower() == ".csv":
            return _csv_cells(path.read_bytes())
        if path.suffix.lower() == ".xls":
            return _cells_apart(path, sheet)
        _require_bounded(path)
        return _book_cells(path, sheet)
    except _UNREADABLE as error:
        raise MienError(
            f"The label sheet {str(path)!r} cannot be read ({error}).",
            "a spreadsheet (xlsx, xls) or a csv file.",
            "open it in a spreadsheet program and save it again as xlsx.",
        ) from None


def _csv_cells(raw: bytes) -> list[list[str]]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("gb18030", errors="replace")
    return [[cell_text(cell) for cell in line] for line in csv.reader(text.splitlines())]


def _book_cells(path: Path, sheet: str | int) -> list[list[str]]:
    """Cells of a spreadsheet. Raises ValueError and CalamineError."""
    try:
        book = CalamineWorkbook.from_path(path)
    except BaseException as error:
        # What the reader takes for a fault of its own is no Exception.
        if type(error).__name__ == "PanicException":
            raise ValueError("the reader failed over it") from None
        raise
    names = book.sheet_names
    if isinstance(sheet, str):
        wanted = next((i for i, name in enumerate(names) if _plain(name) == _plain(sheet)), None)
    else:
        wanted = sheet if sheet < len(names) else None
    if wanted is None:
        raise MienError(
            f"{str(path)!r} has the sheets {', '.join(names)}.",
            f"a sheet {sheet!r}.",
            "the file as its owners ship it.",
        )
    try:
        found = book.get_sheet_by_index(wanted)
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise ValueError("the reader failed over it") from None
        raise
    if found.total_height * found.total_width > _MOST_CELLS:
        raise ValueError(f"{found.total_height} rows of {found.total_width} cells")
    return [[cell_text(cell) for cell in row] for row in found.to_python(skip_empty_area=False)]


def _require_bounded(path: Path) -> None:
    """Refuses an xlsx that unpacks to more than any label sheet, or has a cell so far out that the table fills memory.

    What the archive says of its sizes is not believed. Raises ValueError, OSError,
    NotImplementedError, BadZipFile and zlib.error.
    """
    left = _MOST_UNPACKED
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        if len(archive.infolist()) > _MOST_PARTS:
            raise ValueError(f"{len(archive.infolist())} files in it")
        for part in archive.infolist():
            file.seek(part.header_offset)
            head = file.read(30)
            if len(head) < 30:
                raise zipfile.BadZipFile("it ends too early")
            file.seek(int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little"), 1)
            unpack = zlib.decompressobj(-15) if part.compress_type == zipfile.ZIP_DEFLATED else None
            content = bytearray()
            while packed := file.read(1 << 16):
                while packed:
                    plain = packed if unpack is None else unpack.decompress(packed, 1 << 20)
                    packed = b"" if unpack is None else unpack.unconsumed_tail
                    content += plain
                    left -= len(plain)
                    if left < 0:
                        raise ValueError(f"it unpacks to more than {_MOST_UNPACKED >> 20} MiB")
                if unpack is None or unpack.eof:
                    break  # what follows is the next part
            rows, columns = _extent(bytes(content))
            if rows * columns > _MOST_CELLS:
                raise ValueError(f"a cell in row {rows}, column {columns}")


def _extent(content: bytes) -> tuple[int, int]:
    """Rows and columns that a table in XML takes: the furthest that is named, or the longest row without names."""
    rows = columns = 0
    for letters, digits in _REFERENCE.findall(content):
        rows = max(rows, int(digits[:12]))
        columns = max(columns, _column_number(letters[:8]))
    lines = content.split(b"<row")
    longest = max(len(_CELL.findall(line)) for line in lines)
    return max(rows, len(lines)), columns + longest


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = 26 * number + letter - 64
    return number


def _cells_apart(path: Path, sheet: str | int) -> list[list[str]]:
    """Cells of an xls, read in a process of its own: one forged cell makes the reader ask for all memory and abort.

    Raises ValueError and OSError.
    """
    words = [sys.executable, "-c", _APART, str(path.absolute()), json.dumps(sheet)]
    try:
        told = subprocess.run(words, capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        raise ValueError("it takes longer than a minute") from None
    if told.returncode:
        raise ValueError("the reader failed over it")
    answer = json.loads(told.stdout)
    if "error" in answer:
        if len(answer["error"]) == 3:
            raise MienError(*answer["error"])
        raise ValueError(answer["error"][0])
    cells: list[list[str]] = answer["cells"]
    return cells


_APART: Final = """
import json, sys
from pathlib import Path
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, ValueError, OSError):
    pass
from mien.datasets.sheet import _book_cells
from mien.errors import MienError
try:
    told = {"cells": _book_cells(Path(sys.argv[1]), json.loads(sys.argv[2]))}
except MienError as error:
    told = {"error": [error.found, error.expected, error.fix]}
except Exception as error:
    told = {"error": [str(error)]}
sys.stdout.write(json.dumps(told))
"""


def rows_by_title(
    cells: Sequence[Sequence[str]],
    columns: Mapping[str, Sequence[str]],
    optional: Mapping[str, Sequence[str]],
    where: Path,
) -> list[Row]:
    """Rows below the header line, under canonical names.

    Args:
        cells: Cells as text.
        columns: Canonical name -> the titles it may have in the sheet. All must be there.
        optional: The same for columns that some versions of the sheet lack.
        where: The file, for errors.

    Returns:
        One mapping per row that names a subject and a clip; blank lines and closing remarks are dropped.

    Raises:
        MienError: A column is missing; tells the nearest title found.
    """
    wanted = {_plain(title): name for name, titles in columns.items() for title in titles}
    lines = [[_plain(cell) for cell in row] for row in cells[:_HEADER_WITHIN]]
    scores = [len({wanted[cell] for cell in line if cell in wanted}) for line in lines]
    best = max(scores, default=0)
    at = scores.index(best) if best else 0
    header = lines[at] if lines else []
    place = {name: _place(header, titles) for name, titles in {**optional, **columns}.items()}
    missing = [columns[name][0] for name in columns if place[name] is None]
    if missing:
        known = {_plain(title) for titles in columns.values() for title in titles}
        found = [cell for cell in (cells[at] if cells else []) if cell]
        spare = [cell for cell in found if _plain(cell) not in known]
        near = {title: difflib.get_close_matches(title, spare, n=1, cutoff=0.4) for title in missing}
        fixes = [f"rename {guess[0]!r} to {title!r}" for title, guess in near.items() if guess]
        raise MienError(
            f"{str(where)!r} has no column {', '.join(map(repr, missing))}; it has {', '.join(found) or 'none'}.",
            f"the columns {', '.join(titles[0] for titles in columns.values())}.",
            (" and ".join(fixes) if fixes else "the label sheet as its owners ship it") + ".",
        )
    rows = []
    for line in cells[at + 1 :]:
        row = {name: line[i] if i < len(line) else "" for name, i in place.items() if i is not None}
        if row["subject"] and row["clip"]:
            rows.append(row)
    return rows


def rows_by_position(cells: Sequence[Sequence[str]], positions: Sequence[str], where: Path) -> list[Row]:
    """Rows of a sheet without a header, by the place of each column.

    Raises:
        MienError: The sheet is narrower than expected.
    """
    width = max((len([cell for cell in line if cell]) for line in cells), default=0)
    needed = len(positions) - 1  # the last column may be blank throughout
    if width < needed:
        raise MienError(
            f"The first sheet of {str(where)!r} has {width} columns.",
            f"{len(positions)} columns: {', '.join(positions)}.",
            "the label sheet as its owners ship it.",
        )
    rows = [dict(zip(positions, [*line, *[""] * len(positions)], strict=False)) for line in cells]
    # A header, where somebody added one, has no number as its onset.
    return [row for row in rows if row["subject"] and row["clip"] and whole_number(row["onset"]) is not None]


def whole_number(text: str) -> int | None:
    """The number a cell prints; None for a blank, a slash or anything else that is no whole number of a frame."""
    return int(float(text)) if re.fullmatch(r"-?[0-9]{1,15}(\.0*)?", text) else None


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().lower()


def _place(header: Sequence[str], titles: Sequence[str]) -> int | None:
    for title in titles:
        if _plain(title) in header:
            return header.index(_plain(title))
    return None
