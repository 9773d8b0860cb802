"""Reads the figures of the pages of results, so that what is told of them is never copied by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
FOLDERS = (RESULTS, RESULTS.parents[1] / "studies" / "results")
"""Where pages are, in the order in which they are looked for."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a page.

    Attributes:
        head: Titles of the columns; one that occurs again has "#2", "#3" behind it.
        rows: Cells as they are printed, less bold.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("**", "") for cell in line.strip().strip("|").split("|")]


def _numbered(titles: list[str]) -> tuple[str, ...]:
    return tuple(
        title if n == titles.index(title) else f"{title}#{titles[: n + 1].count(title)}"
        for n, title in enumerate(titles)
    )


def tables(text: str) -> list[Table]:
    """Every table of a page, in order."""
    found: list[Table] = []
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        lines = block.splitlines()
        if len(lines) > 1 and re.fullmatch(r"[|:\- ]+", lines[1]):
            found.append(Table(_numbered(_cells(lines[0])), tuple(tuple(_cells(line)) for line in lines[2:])))
    return found


@cache
def _page(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def page(name: str) -> str:
    """Text of a page; "" where that part was never measured."""
    path = path_of(name)
    return _page(path) if path.is_file() else ""


def path_of(name: str) -> Path:
    """Where a page is, or would be."""
    paths = [folder / f"{name}.md" for folder in FOLDERS]
    return next((path for path in paths if path.is_file()), paths[0])


def find(name: str, row: str, column: str, beside: str = "") -> str:
    """One cell of a page.

    Args:
        name: The page, less its ending.
        row: The row's first cells, joined by " / ", as many as tell it from others; the last may end in "*".
        column: Title of the column.
        beside: Title of another column that the table must have.

    Raises:
        LookupError: There is no such cell, or more than one.
    """
    *wanted, last = row.split(" / ")
    n = len(wanted)
    fits = re.compile(re.escape(last).replace(r"\*", ".*") if last.endswith("*") else re.escape(last))
    cells = [
        line[table.head.index(column)]
        for table in tables(page(name))
        if column in table.head and (not beside or beside in table.head)
        for line in table.rows
        if len(line) > n and list(line[:n]) == wanted and fits.fullmatch(line[n])
    ]
    if len(cells) != 1:
        raise LookupError(f"results/{name}.md has {len(cells)} cells in row {row!r}, column {column!r}, not one.")
    return cells[0]


def search(name: str, pattern: str) -> str:
    """The one group of a pattern, in the text of a page.

    Raises:
        LookupError: It is not there.
    """
    found = re.search(pattern, page(name))
    if not found:
        raise LookupError(f"results/{name}.md has nothing like {pattern!r}.")
    return found.group(1)


def number(text: str) -> float:
    """The first number of a cell: "1,250.5 (3-4)" is 1250.5, "12%" is 12.

    Raises:
        LookupError: There is none.
    """
    found = re.search(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?", text)
    if not found:
        raise LookupError(f"{text!r} holds no number.")
    return float(found.group().replace(",", ""))
