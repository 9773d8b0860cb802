"""Label sheets (xlsx, xls, csv) as rows of text under canonical names: forgiving in spelling, strict on columns."""

from __future__ import annotations

import csv
import difflib
import fnmatch
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from python_calamine import CalamineWorkbook

from mien.errors import MienError

Row = dict[str, str]

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


def read_cells(path: Path, sheet: str | int = 0) -> list[list[str]]:
    """All cells of one sheet as text.

    Args:
        path: xlsx, xls or csv file.
        sheet: Number of the sheet from 0, or its name; ignored for csv.

    Raises:
        MienError: The file cannot be read or has no such sheet.
    """
    if path.suffix.lower() == ".csv":
        raw = path.read_bytes()
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode("gb18030", errors="replace")
        return [[cell_text(cell) for cell in line] for line in csv.reader(text.splitlines())]
    try:
        book = CalamineWorkbook.from_path(path)
    except Exception as error:
        raise MienError(
            f"The label sheet {str(path)!r} cannot be read ({error}).",
            "a spreadsheet (xlsx, xls) or a csv file.",
            "open it in a spreadsheet program and save it again as xlsx.",
        ) from None
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
    rows = book.get_sheet_by_index(wanted).to_python(skip_empty_area=False)
    return [[cell_text(cell) for cell in row] for row in rows]


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
    """The number a cell prints; None for a blank, a slash or anything else that is no whole number."""
    return int(float(text)) if re.fullmatch(r"-?\d+(\.0*)?", text) else None


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().lower()


def _place(header: Sequence[str], titles: Sequence[str]) -> int | None:
    for title in titles:
        if _plain(title) in header:
            return header.index(_plain(title))
    return None
