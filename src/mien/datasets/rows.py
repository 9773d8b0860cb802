"""Rows of a label sheet under canonical names: forgiving in spelling, strict on columns and on numbers."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from mien.datasets.sheet import Page
from mien.errors import MienError

HEADER_WITHIN: Final = 40
"""Lines in which the header is looked for; SAMM prints 13 lines of remarks before it."""

_ABSENT: Final = frozenset({"", "/", "\\", "-", "--", "\u2013", "\u2014", "?", "x", "na", "n/a", "nan", "null", "none"})
_WHOLE: Final = re.compile(r"([+-]?[0-9]{1,15})(?:\.0*)?\??")
_THOUSANDS: Final = re.compile(r"[0-9]{1,3}(?:[, ][0-9]{3})+")
_MONTH: Final = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DATE: Final = re.compile(
    rf"[0-9]{{1,2}}-(?:{_MONTH})(?:-[0-9]+)?|(?:{_MONTH})-[0-9]{{1,4}}|[0-9]{{4}}[-/][0-9]{{1,2}}[-/][0-9]{{1,2}}.*|"
    r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}",
    re.IGNORECASE,
)
_SHOWN: Final = 6
SECOND: Final = re.compile(r"(onset|apex|offset)_([0-9]+)")
"""Canonical name of the columns of a second or later interval of one row: `onset_2`."""


class Row(dict[str, str]):
    """One row of a label sheet: canonical name of the column -> text.

    Args:
        cells: The cells.
        number: Number of the row in the sheet, from 1; 0 where it is from no sheet.
    """

    def __init__(self, cells: Mapping[str, str] | Iterable[tuple[str, str]] = (), number: int = 0) -> None:
        super().__init__(cells)
        self.number = number

    def changed(self, cells: Mapping[str, str]) -> Row:
        """Return the row with some cells replaced or added."""
        return Row({**self, **cells}, self.number)


def rows_by_title(
    cells: Sequence[Sequence[str]],
    columns: Mapping[str, Sequence[str]],
    optional: Mapping[str, Sequence[str]],
    where: Path | Page,
    numbers: Collection[str] = (),
) -> list[Row]:
    """Return the rows below the header line, under canonical names.

    Args:
        cells: Cells as text.
        columns: Canonical name -> the titles it may have in the sheet. All must be there.
        optional: The same for columns that some versions of the sheet lack.
        where: The file or the table in it, for errors.
        numbers: Canonical names of the columns that hold frame numbers.

    Returns:
        One mapping per row that names a subject and a clip; blank lines and closing remarks are dropped. A frame number
        is digits alone, "" where the sheet gives none.

    Raises:
        MienError: A column is missing (the nearest title is suggested), or a cell holds no frame number.
    """
    wanted = {plain_title(title): name for name, titles in columns.items() for title in titles}
    lines = [[plain_title(cell) for cell in row] for row in cells[:HEADER_WITHIN]]
    scores = [len({wanted[cell] for cell in line if cell in wanted}) for line in lines]
    best = max(scores, default=0)
    at = scores.index(best) if best else 0
    header = lines[at] if lines else []
    place = {name: _place(header, titles) for name, titles in {**optional, **columns}.items()}
    missing = [columns[name][0] for name in columns if place[name] is None]
    if missing:
        known = {plain_title(title) for titles in columns.values() for title in titles}
        found = [cell for cell in (cells[at] if cells else []) if cell]
        spare = [cell for cell in found if plain_title(cell) not in known]
        fixes = []
        for title in missing:
            near = difflib.get_close_matches(title, spare, n=1, cutoff=0.4)
            if near:
                fixes.append(f"rename {near[0]!r} to {title!r}")
                spare.remove(near[0])
        raise MienError(
            f"{_named(where)} has no column {', '.join(map(repr, missing))}; it has {_cut(found) or 'none'}.",
            f"the columns {', '.join(titles[0] for titles in columns.values())}.",
            (" and ".join(fixes) if fixes else "the label sheet as its owners distribute it") + ".",
        )
    titles = {name: (i, cells[at][i]) for name, i in place.items() if i is not None}
    body = [
        Row({name: line[i] if i < len(line) else "" for name, (i, _) in titles.items()}, number)
        for number, line in enumerate(cells[at + 1 :], at + 2)
        if [plain_title(cell) for cell in line] != header
    ]
    return _checked(body, titles, where, numbers)


def rows_by_position(
    cells: Sequence[Sequence[str]], positions: Sequence[str], where: Path | Page, numbers: Collection[str] = ()
) -> list[Row]:
    """Return the rows of a sheet without a header, by the place of each column.

    Raises:
        MienError: The sheet is narrower than expected, or a cell holds no frame number.
    """
    width = max((len([cell for cell in line if cell]) for line in cells), default=0)
    needed = len(positions) - 1  # the last column may be blank throughout
    if width < needed:
        raise MienError(
            f"The first sheet of {_named(where)} has {width} columns.",
            f"{len(positions)} columns: {', '.join(positions)}.",
            "the label sheet as its owners distribute it.",
        )
    body = [
        Row(zip(positions, [*line, *[""] * len(positions)], strict=False), number)
        for number, line in enumerate(cells, 1)
    ]
    counted = numbers or ("onset", "apex", "offset")
    # A header or a title, where somebody added one, has no number at all in these columns.
    first = next((i for i, row in enumerate(body) if any(_is_number(row[name]) for name in counted)), len(body))
    titles = {name: (i, name) for i, name in enumerate(positions)}
    return _checked(body[first:], titles, where, counted)


def frame_number(text: str, *, strict: bool = True) -> int | None:
    """Return the number a cell prints.

    Args:
        text: The cell, as the spreadsheet program shows it. "41", "41.0" and "1,041" are numbers; "274 ?" is one that
            the coder doubted.
        strict: Whether text that is neither a number nor a mark for a missing one ("", "/", "?", "NULL") is an error.

    Returns:
        The number; None for a mark for a missing one.

    Raises:
        ValueError: It is something else.

    Example:
        >>> frame_number("41.0"), frame_number("/")
        (41, None)
    """
    plain = unicodedata.normalize("NFKC", text).strip().lstrip("'").strip()
    if plain.lower() in _ABSENT:
        return None
    if _THOUSANDS.fullmatch(plain):
        plain = re.sub("[, ]", "", plain)
    match = _WHOLE.fullmatch(plain.replace(" ?", "?"))
    if match:
        return int(match[1])
    if strict:
        raise ValueError(text)
    return None


def _is_number(text: str) -> bool:
    return frame_number(text, strict=False) is not None


def whole_number(text: str) -> int | None:
    """Return the number a cell prints; None for a blank, a slash or anything else that is no whole number."""
    return int(float(text)) if re.fullmatch(r"-?[0-9]{1,15}(\.0*)?", text) else None


def letter(column: int) -> str:
    """Return the letter of a column that is counted from 0.

    Example:
        >>> letter(0), letter(27)
        ('A', 'AB')
    """
    text = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        text = chr(65 + rest) + text
    return text


def _checked(
    rows: Sequence[Row], titles: Mapping[str, tuple[int, str]], where: Path | Page, numbers: Collection[str]
) -> list[Row]:
    """The rows that label something, with frame numbers as digits.

    Raises MienError where a cell holds no frame number, or a row has numbers but no subject or clip.
    """
    wrong: list[str] = []

    def report(row: Row, name: str, what: str) -> None:
        place, title = titles[name]
        wrong.append(f"row {row.number}, column {letter(place)} ({title}): {what}")

    kept = []
    for row in rows:
        counted = [name for name in numbers if name in row]
        named = bool(row["subject"] and row["clip"])
        if not named:
            # Blank lines and closing remarks have no frame number either.
            if counted and _is_number(row.get("onset", "")):
                report(row, "clip" if row["subject"] else "subject", "nothing, in a row that has an onset")
            continue
        read = {}
        for name in counted:
            try:
                number = frame_number(row[name])
                read[name] = "" if number is None else str(number)
            except ValueError:
                report(row, name, _meaning(row[name]))
        for name in ("subject", "clip", "action_units"):
            if row.get(name, "").startswith(("formula =", "date ")):
                report(row, name, _meaning(row[name]))
        if _DATE.fullmatch(row.get("action_units", "")):
            report(row, "action_units", _meaning(f"date {row['action_units']}"))
        kept.append(row.changed(read))
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise MienError(
            f"{_named(where)} has {len(wrong)} cell(s) that cannot be read: {'; '.join(wrong[:_SHOWN])}{more}.",
            "whole frame numbers, as the spreadsheet shows them, or an empty cell where none is annotated.",
            "mend these cells in a spreadsheet program and save the sheet again as xlsx.",
        )
    return kept


def _meaning(text: str) -> str:
    if text.startswith("formula "):
        return f"the formula {text.removeprefix('formula ')} without a stored result; open and save it once"
    if text.startswith("date "):
        return f"the {text}; a spreadsheet program took the text for a date"
    if text.startswith("#"):
        return f"the error {text}"
    return f"{text!r}"


def _named(where: Path | Page) -> str:
    return str(where) if isinstance(where, Page) else repr(str(where))


def _cut(found: Sequence[str], most: int = 20) -> str:
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(text[:60] for text in found[:most]) + more


def plain_title(text: str) -> str:
    """Return a title without spaces, dots, underscores and case, by which titles are compared."""
    return re.sub(r"[\s_.]+", "", text).lower()


def _place(header: Sequence[str], titles: Sequence[str]) -> int | None:
    for title in titles:
        if plain_title(title) in header:
            return header.index(plain_title(title))
    return None
