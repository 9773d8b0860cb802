"""Label sheets (xlsx, xls, csv) as tables of text, each cell as the spreadsheet program shows it."""

from __future__ import annotations

import csv
import datetime
import fnmatch
import io
import json
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook

from mien.errors import MienError

_MOST_CELLS: Final = 2_000_000
_MOST_UNPACKED: Final = 64 << 20  # bytes; the largest released sheet has less than one
_MOST_PARTS: Final = 2000
_REFERENCE: Final = re.compile(rb"""\sr\s*=\s*["']\$?([A-Za-z]*)\$?([0-9]+)""")
_CELL: Final = re.compile(rb"<c[\s>]")

_SUFFIXES = (".xlsx", ".xlsm", ".xls", ".csv", ".tsv")
_ZIP: Final = b"PK"
_OLE: Final = bytes.fromhex("d0cf11e0a1b11ae1")  # an old xls, or an xlsx that a password protects
_ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")
_DECIMALS: Final = re.compile(r"(?:#,)?[#0]*0?(?:\.([0#]+))?")
_SHORTEST_LOOSE: Final = 8


@dataclass(frozen=True, slots=True)
class Page:
    """One table of a spreadsheet, or a csv file.

    Attributes:
        path: The file.
        tab: Name of the table in the file; "" for csv.
        cells: Cells as text, as the spreadsheet program shows them; row 1 of the file is `cells[0]`.
    """

    path: Path
    tab: str
    cells: list[list[str]]

    def __str__(self) -> str:
        """Name the file and the table, for messages."""
        return f"{str(self.path)!r}" + (f", sheet {self.tab!r}" if self.tab else "")


def listing(folder: Path, most: int = 12) -> str:
    """What a folder holds, for an error: names in order, cut after `most`."""
    names = sorted(p.name + ("/" if p.is_dir() else "") for p in folder.iterdir() if not p.name.startswith("."))
    if not names:
        return "nothing"
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def find_sheet(root: Path, patterns: Sequence[str]) -> Path | None:
    """Return the label sheet in a folder or one level below it; of several matches of one pattern, the last by name.

    Args:
        root: Folder of the database.
        patterns: File names or shell patterns, in order of preference; case and kind (xlsx, xls, csv) do not matter.
    """
    found = find_sheets(root, patterns)
    return max(found[0], key=lambda p: p.name.lower()) if found else None


def find_sheets(root: Path, patterns: Sequence[str]) -> list[list[Path]]:
    """Return all label sheets in a folder or one level below it, best first: one list of files for each pattern.

    Stores drop carets and write "_" for "-", so where no name fits as it is, spaces and punctuation do not count.

    Args:
        root: Folder of the database.
        patterns: File names or shell patterns, in order of preference; case and kind (xlsx, xls, csv) do not matter.
    """
    candidates = [p for p in [*sorted(root.glob("*")), *sorted(root.glob("*/*"))] if p.suffix.lower() in _SUFFIXES]
    # "~$" starts the lock file that a spreadsheet program leaves beside an open sheet.
    candidates = [p for p in candidates if not p.name.startswith(("~$", ".")) and p.is_file()]
    stems = [re.sub(r"\.(xlsx|xlsm|xls|csv|tsv)$", "", pattern.lower()) for pattern in patterns]
    exact = [[p for p in candidates if fnmatch.fnmatchcase(p.stem.lower(), _literal(stem))] for stem in stems]
    # A short name without its punctuation would fit the sheets of other databases.
    bare = [_bare(stem) if len(_bare(stem)) >= _SHORTEST_LOOSE else "" for stem in stems]
    loose = [[p for p in candidates if stem and fnmatch.fnmatchcase(_bare(p.stem), stem)] for stem in bare]
    for groups in (exact, loose):
        found = [[p for p in group if p.parent == root] or group for group in groups if group]
        if found:
            return found
    return []


def _literal(pattern: str) -> str:
    return pattern.replace("[", "[[]")


def _bare(text: str) -> str:
    return re.sub(r"[^a-z0-9*]+", "", text.lower())


def cell_text(value: object) -> str:
    """Return a cell as text: whole numbers without ".0", runs of white space as one space, no spaces at the ends."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time | datetime.timedelta):
        return f"date {value}"
    return re.sub(r"\s+", " ", str(value)).strip()


def shown(value: float, number_format: str) -> str:
    """Return a number as a spreadsheet program shows it under a number format.

    Args:
        value: The number that the cell holds.
        number_format: The cell's format, such as "0", "0.00", "#,##0" or "General". Other kinds of format (dates,
            fractions, powers) leave the number as it is.

    Example:
        >>> shown(566.4, "0"), shown(566.4, "General")
        ('566', '566.4')
    """
    plain = re.sub(r'\[[^\]]*\]|"[^"]*"|\\\\.|_.|\*.|[ ]', "", number_format.split(";")[0])
    match = _DECIMALS.fullmatch(plain)
    if not plain or match is None:
        return cell_text(value)
    try:
        step = Decimal(1).scaleb(-len(match[1] or ""))
        return str(Decimal(repr(value)).quantize(step, ROUND_HALF_UP))
    except InvalidOperation:
        return cell_text(value)


_UNREADABLE = OSError, ValueError, NotImplementedError, csv.Error, CalamineError, zipfile.BadZipFile, zlib.error


def read_cells(path: Path, sheet: str | int = 0) -> list[list[str]]:
    """Return all cells of one table as text, as the spreadsheet program shows them.

    Args:
        path: xlsx, xls or csv file.
        sheet: Number of the table from 0, or its name; ignored for csv.

    Raises:
        MienError: The file cannot be read or has no such table.
    """
    return _read(path, [sheet])[0].cells


def read_pages(path: Path, preferred: Sequence[str] = ()) -> list[Page]:
    """Return all tables of a file that hold anything, those with a preferred name first.

    Args:
        path: xlsx, xls or csv file.
        preferred: Names of tables, best first; case does not matter.

    Raises:
        MienError: The file cannot be read.
    """
    pages = [page for page in _read(path, None) if any(any(row) for row in page.cells)]
    order = {_plain(name): place for place, name in enumerate(preferred)}
    return sorted(pages, key=lambda page: order.get(_plain(page.tab), len(order)))


def _read(path: Path, sheets: Sequence[str | int] | None) -> list[Page]:
    try:
        with path.open("rb") as file:
            start = file.read(8)
        if start == _OLE:
            if path.suffix.lower() != ".xls" and _ENCRYPTED in path.read_bytes():
                raise _protected(path)
            found = _cells_apart(path, sheets)
        elif start.startswith(_ZIP):
            found = _book_cells(path, sheets)
        elif path.suffix.lower() in (".csv", ".tsv"):
            return [Page(path, "", _csv_cells(path.read_bytes()))]
        else:
            raise ValueError("it is neither a zip archive, as xlsx is, nor an old xls" if start else "it is empty")
    except _UNREADABLE as error:
        if "password" in str(error).lower():
            raise _protected(path) from None
        raise MienError(
            f"The label sheet {str(path)!r} cannot be read ({error}).",
            "a spreadsheet (xlsx, xls) or a csv file.",
            "open it in a spreadsheet program and save it again as xlsx.",
        ) from None
    return [Page(path, tab, cells) for tab, cells in found]


def _protected(path: Path) -> MienError:
    return MienError(
        f"The label sheet {str(path)!r} is protected by a password.",
        "a spreadsheet that opens without one.",
        "open it in a spreadsheet program with the password and save it again as xlsx without one.",
    )


def _csv_cells(raw: bytes) -> list[list[str]]:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = raw.decode("utf-16", errors="replace")
    else:
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode("gb18030", errors="replace")
    # Where the comma is the decimal sign, spreadsheet programs write semicolons between the cells.
    head = text[:4000]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [[cell_text(cell) for cell in line] for line in reader]


def _book_cells(path: Path, sheets: Sequence[str | int] | None) -> list[tuple[str, list[list[str]]]]:
    """Tables of a spreadsheet by name. Raises ValueError and CalamineError."""
    is_zip = zipfile.is_zipfile(path)
    odd = _require_bounded(path) if is_zip else False
    try:
        book = CalamineWorkbook.from_path(path)
    except BaseException as error:
        # What the reader takes for a fault of its own is no Exception.
        if type(error).__name__ == "PanicException":
            raise ValueError("the reader failed over it") from None
        raise
    names = book.sheet_names
    wanted = range(len(names)) if sheets is None else [_number_of(path, names, sheet) for sheet in sheets]
    tables = []
    for place in wanted:
        try:
            found = book.get_sheet_by_index(place)
        except BaseException as error:
            if type(error).__name__ == "PanicException":
                raise ValueError("the reader failed over it") from None
            if sheets is None:
                continue  # a chart has no cells
            raise
        tables.append((names[place], _table(found)))
    fractions = any(isinstance(value, float) for _, values in tables for row in values for value in row)
    if is_zip and (odd or fractions):
        _as_shown(path, tables)
    return [(name, [[cell_text(value) for value in row] for row in values]) for name, values in tables]


def _number_of(path: Path, names: Sequence[str], sheet: str | int) -> int:
    if isinstance(sheet, str):
        wanted = next((i for i, name in enumerate(names) if _plain(name) == _plain(sheet)), None)
    else:
        wanted = sheet if sheet < len(names) else None
    if wanted is None:
        raise MienError(
            f"{str(path)!r} has the sheets {', '.join(names)}.",
            f"a sheet {sheet!r}.",
            "the file as its owners distribute it.",
        )
    return wanted


def _table(found: CalamineSheet) -> list[list[object]]:
    """Cells of one table; whole numbers as int, and what is merged over several rows in each of them."""
    if found.total_height * found.total_width > _MOST_CELLS:
        raise ValueError(f"{found.total_height} rows of {found.total_width} cells")
    values: list[list[object]] = [
        [int(value) if isinstance(value, float) and value.is_integer() else value for value in row]
        for row in found.to_python(skip_empty_area=False)
    ]
    for (top, left), (bottom, right) in found.merged_cell_ranges or ():
        if left == right and top < len(values) and left < len(values[top]):
            for row in values[top + 1 : bottom + 1]:
                row[left] = values[top][left]
    return values


def _as_shown(path: Path, tables: Iterable[tuple[str, list[list[object]]]]) -> None:
    """Puts in place what the quick reader loses: rounded numbers, errors, and formulas without a stored result."""
    # Only odd sheets need this slower reader.
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, data_only=True)
        formulas = load_workbook(path)
    except Exception:  # whatever it cannot read stays as the quick reader gave it
        return
    for name, values in tables:
        if name not in book.sheetnames:
            continue
        for cells in formulas[name].iter_rows():
            for cell in cells:
                if cell.value is None or cell.row > len(values) or cell.column > len(values[cell.row - 1]):
                    continue
                row, place = values[cell.row - 1], cell.column - 1
                result = book[name].cell(cell.row, cell.column).value
                if row[place] == "" and cell.data_type in ("f", "e"):
                    row[place] = str(result) if result is not None else f"formula {cell.value}"
                elif isinstance(row[place], float):
                    row[place] = shown(float(str(row[place])), str(cell.number_format))


def _require_bounded(path: Path) -> bool:
    """Refuses an xlsx that unpacks to more than any label sheet, or has a cell so far out that the table fills memory.

    What the archive says of its sizes is not believed. Raises ValueError, OSError,
    NotImplementedError, BadZipFile and zlib.error. Returns whether some cell holds a formula or an error.
    """
    odd = False
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
            odd = odd or b"<f>" in content or b"<f " in content or b't="e"' in content
    return odd


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


def _cells_apart(path: Path, sheets: Sequence[str | int] | None) -> list[tuple[str, list[list[str]]]]:
    """Cells of an xls, read in a process of its own: one forged cell makes the reader ask for all memory and abort.

    Raises ValueError and OSError.
    """
    words = [sys.executable, "-c", _APART, str(path.absolute()), json.dumps(sheets)]
    try:
        finished = subprocess.run(words, capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        raise ValueError("it takes longer than a minute") from None
    if finished.returncode:
        raise ValueError("the reader failed over it")
    answer = json.loads(finished.stdout)
    if "error" in answer:
        if len(answer["error"]) == 3:
            raise MienError(*answer["error"])
        raise ValueError(answer["error"][0])
    return [(tab, cells) for tab, cells in answer["pages"]]


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
    answer = {"pages": _book_cells(Path(sys.argv[1]), json.loads(sys.argv[2]))}
except MienError as error:
    answer = {"error": [error.found, error.expected, error.fix]}
except Exception as error:
    answer = {"error": [str(error)]}
sys.stdout.write(json.dumps(answer))
"""


def _plain(text: str) -> str:
    return re.sub(r"[\s_.]+", "", text).lower()
