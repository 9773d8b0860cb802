"""The label sheet of a copy: which file it is, and that it is this database's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.datasets.base import databases_with_tables
from mien.datasets.layout import Layout
from mien.datasets.layout import layout as known_layout
from mien.datasets.rows import HEADER_WITHIN, Row, plain_title, rows_by_position, rows_by_title
from mien.datasets.sheet import Page, find_sheets, read_pages
from mien.errors import MienError

_COMPARED: Final = ("subject", "clip", "onset", "apex", "offset", "emotion", "action_units", "kind")
_LEAST_OWN: Final = 0.5


@dataclass(frozen=True, slots=True)
class LabelSheet:
    """Rows of one label sheet.

    Attributes:
        page: The table of the file that holds them.
        rows: Its rows, under canonical names.
    """

    page: Page
    rows: list[Row]


def find_label_sheet(root: Path, layout: Layout, dataset_id: str) -> Path | None:
    """Return the label sheet of a copy; None where there is none.

    Several files may hold the same rows (a workbook and its csv); the first by kind is returned.

    Args:
        root: Folder of the copy.
        layout: Layout of the database.
        dataset_id: Its id, for errors.

    Raises:
        MienError: Two sheets with different rows lie side by side.
    """
    groups = find_sheets(root, layout.sheets)
    if not groups:
        return None
    depth = min(len(path.parts) for path in groups[0])
    found = list(dict.fromkeys(p for group in groups for p in group if len(p.parts) == depth)) or groups[0]
    order = (".xlsx", ".xlsm", ".xls", ".csv", ".tsv")
    found.sort(key=lambda path: order.index(path.suffix.lower()))
    if len(found) == 1:
        return found[0]
    read: list[tuple[Path, list[Row]]] = []
    problem: MienError | None = None
    for path in found:
        try:
            read.append((path, read_label_sheet(path, layout, dataset_id).rows))
        except MienError as error:
            problem = problem or error
    if not read:
        return found[0]  # reading it reports what is wrong
    first, rows = read[0]
    for other, more in read[1:]:
        if _content(rows) != _content(more):
            raise MienError(
                f"{str(root)!r} holds two label sheets that differ: {first.name} ({len(rows)} rows) and "
                f"{other.name} ({len(more)} rows).",
                "one label sheet, so that it is known which labels a score is of.",
                "keep one of them beside the frames and move the other into a folder elsewhere.",
            )
    return first


def read_label_sheet(path: Path, layout: Layout, dataset_id: str) -> LabelSheet:
    """Return the rows of a label sheet, from the table of the file that fits best.

    Args:
        path: The file.
        layout: Layout of the database.
        dataset_id: Its id, for errors.

    Raises:
        MienError: The file cannot be read, holds nothing, lacks a column, has a cell that cannot be read, or is the
            sheet of another database.
    """
    pages = read_pages(path, layout.tabs)
    if not pages:
        raise MienError(
            f"The label sheet {str(path)!r} is empty: it has no row with a subject and a clip.",
            "one row per expression.",
            "the label sheet as its owners distribute it.",
        )
    page = max(pages, key=lambda page: _fit(page, layout))  # of equals, the first
    if layout.positions:
        rows = rows_by_position(page.cells, layout.positions, page, layout.numbers)
    else:
        _require_columns(page, layout, dataset_id)
        rows = rows_by_title(page.cells, layout.columns, layout.optional, page, layout.numbers)
    _require_own(rows, page, layout, dataset_id)
    return LabelSheet(page, rows)


def _require_columns(page: Page, layout: Layout, dataset_id: str) -> None:
    """Refuses a sheet that lacks columns of this database and has all of another's."""
    if _fit(page, layout) >= len(layout.columns):
        return
    fitting = [
        other
        for other in databases_with_tables()
        if other != dataset_id and (theirs := known_layout(other)).columns and _fit(page, theirs) >= len(theirs.columns)
    ]
    # Several databases have the same titles; how the clips are named tells them apart.
    fitting.sort(key=lambda other: -_share_named_as(page, known_layout(other)))
    if fitting:
        raise MienError(
            f"{page} has the columns of {fitting[0]}, not those of {dataset_id}.",
            f"the label sheet of {dataset_id}, with the columns "
            f"{', '.join(titles[0] for titles in layout.columns.values())}.",
            f"`{fitting[0]}=FOLDER`, or the label sheet of {dataset_id} in its place.",
        )


def _share_named_as(page: Page, layout: Layout) -> float:
    """Return the share of rows whose clip name has the form of a database; 0 if the form is not known."""
    try:
        rows = rows_by_title(page.cells, layout.columns, {}, page)
    except MienError:
        return 0
    named = sum(bool(re.fullmatch(layout.clip_pattern, row["clip"], re.IGNORECASE)) for row in rows)
    return named / len(rows) if rows and layout.clip_pattern else 0


def _fit(page: Page, layout: Layout) -> int:
    """Return how many of the columns are in one line of a table; 0 for a sheet without a header."""
    if layout.positions:
        return 0
    wanted = {plain_title(t): name for name, titles in layout.columns.items() for t in titles}
    lines = ({wanted[cell] for cell in map(plain_title, row) if cell in wanted} for row in page.cells[:HEADER_WITHIN])
    return max((len(line) for line in lines), default=0)


def _require_own(rows: Sequence[Row], page: Page, layout: Layout, dataset_id: str) -> None:
    """Refuses a sheet whose clips are named as another database names them."""
    if not (layout.clip_pattern and rows):
        return
    own = [row for row in rows if re.fullmatch(layout.clip_pattern, row["clip"], re.IGNORECASE)]
    if len(own) < _LEAST_OWN * len(rows):
        odd = next(row for row in rows if not re.fullmatch(layout.clip_pattern, row["clip"], re.IGNORECASE))
        raise MienError(
            f"{page} is not the label sheet of {dataset_id}: {len(rows) - len(own)} of {len(rows)} clips are named "
            f"otherwise, such as {odd['clip']!r} of subject {odd['subject']!r} in row {odd.number}.",
            f"clips named as {dataset_id} names them ({layout.clip_pattern}).",
            "the label sheet as its owners distribute it, or the name of the database it is from before the `=`.",
        )


def _content(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    return sorted(tuple(row.get(name, "") for name in _COMPARED) for row in rows)
