"""Label sheets in any legal dress, for every database: read back equal, or refused with row and column."""

from __future__ import annotations

import csv
import io
import random
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from mien.datasets import open_dataset
from mien.datasets.layout import layout
from mien.datasets.official import OfficialDataset
from mien.errors import MienError
from mien.synthesis.writer import OFFICIAL, write_corpus
from mien.types import Clip

Lines = list[list[Any]]

FORMULA = "formula"
"""In place of a number format: the cell holds a formula with its stored result."""


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[Clip]]]:
    found = {}
    for name in OFFICIAL:
        root = tmp_path_factory.mktemp(name)
        write_corpus(name, root, subjects=2, clips_per_subject=3, size=16, frames=6)
        dataset = open_dataset(name, root)
        assert isinstance(dataset, OfficialDataset)
        found[name] = (root, dataset.expressions())
    return found


def lines_of(path: Path) -> dict[str, Lines]:
    """Cells of every table of a workbook."""
    return {s.title: [list(r) for r in s.iter_rows(values_only=True)] for s in openpyxl.load_workbook(path)}


def columns_of(name: str) -> set[str]:
    """Titles of the columns that hold frame numbers."""
    known = layout(name).columns
    return {titles[0] for column, titles in known.items() if column in ("onset", "apex", "offset")}


def places_of(name: str, lines: Lines) -> tuple[int, list[int]]:
    """First row of the labels, from 0, and the columns that hold frame numbers."""
    if layout(name).positions:
        return 0, [2, 3, 4]
    titles = columns_of(name)
    at = next(i for i, line in enumerate(lines) if titles <= set(line))
    return at + 1, [i for i, title in enumerate(lines[at]) if title in titles]


def dressed(name: str, lines: Lines, rng: random.Random) -> tuple[Lines, dict[tuple[int, int], str]]:
    """The same labels in another dress, and number formats by (row, column) from 1."""
    first, counted = places_of(name, lines)
    head, body = lines[:first], [list(line) for line in lines[first:]]
    width = max(len(line) for line in [*head, *body])
    order = list(range(width))
    if not layout(name).positions and rng.random() < 0.7:
        rng.shuffle(order)
    formats = {}
    made: Lines = []
    if head:
        titles = [str(t or "") for t in [*head[-1], *[None] * width][:width]]
        spellings: list[Callable[[str], str]] = [
            str,
            str.upper,
            str.lower,
            lambda t: f"  {t} ",
            lambda t: t.replace(" ", "  "),
        ]
        case = rng.choice(spellings)
        made += [[None] * width for _ in range(rng.randrange(3))]
        if rng.random() < 0.5:
            made.append(["Labels of a database", *[None] * (width - 1)])
        made.append([case(titles[i]) or None for i in order])
    for line in body:
        if rng.random() < 0.3:
            made.append([None] * width)
        row: list[Any] = [*line, *[None] * (width - len(line))]
        for place in counted:
            if not isinstance(row[place], int):
                continue
            way = rng.randrange(5)
            column = order.index(place) + 1
            if way == 0:
                row[place] = str(row[place])
            elif way == 1:
                row[place] = f"{row[place]}.0"
            elif way == 2:
                row[place] += rng.choice([0.4000000000001, -0.3, 0.2])
                formats[len(made) + 1, column] = rng.choice(["0", "#,##0", "0_ ", "0;[Red]-0"])
            elif way == 3:
                row[place] = float(row[place])
            else:
                formats[len(made) + 1, column] = FORMULA
        for place, value in enumerate(row):
            if isinstance(value, str) and place not in counted and rng.random() < 0.2:
                row[place] = f" {value} "
        made.append([row[i] for i in order])
    made += [[None] * width for _ in range(rng.randrange(3))]
    return made, formats


@contextmanager
def copy_of(root: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / root.name
        target.mkdir()
        for path in root.iterdir():
            if path.is_dir():
                (target / path.name).symlink_to(path, target_is_directory=True)
            else:
                shutil.copy(path, target / path.name)
        yield target


def write_book(path: Path, tables: dict[str, Lines], formats: dict[tuple[int, int], str], merge: bool) -> None:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for number, (title, lines) in enumerate(tables.items()):
        sheet = book.create_sheet(title)
        for line in lines:
            sheet.append(line)
        if number == 0:
            for (row, column), number_format in formats.items():
                if number_format != FORMULA:
                    sheet.cell(row, column).number_format = number_format
            if merge:
                _merge_titles(sheet)
    book.save(path)
    store_formulas(path, [place for place, kind in formats.items() if kind == FORMULA])


def store_formulas(path: Path, places: Sequence[tuple[int, int]]) -> None:
    """Turn numbers of the first table into formulas with a stored result, which openpyxl cannot write."""
    with zipfile.ZipFile(path) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    text = parts["xl/worksheets/sheet1.xml"].decode()
    for row, column in places:
        cell = f"{get_column_letter(column)}{row}"
        text, n = re.subn(rf'(<c r="{cell}"[^>]*>)<v>([0-9]+)</v>', r"\1<f>0+\2</f><v>\2</v>", text)
        assert n == 1
    parts["xl/worksheets/sheet1.xml"] = text.encode()
    with zipfile.ZipFile(path, "w") as book:
        for name, content_ in parts.items():
            book.writestr(name, content_)


def _merge_titles(sheet: Worksheet) -> None:
    for row in range(1, 6):
        if sheet.cell(row, 1).value == "Labels of a database":
            sheet.merge_cells(start_row=row, start_column=1, end_row=row, end_column=4)


def shown(lines: Sequence[Sequence[Any]], formats: dict[tuple[int, int], str], delimiter: str) -> str:
    """What a spreadsheet program writes into a csv: numbers as they are shown."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    for r, line in enumerate(lines, 1):
        writer.writerow(
            [round(v) if (r, c) in formats else int(v) if isinstance(v, float) else v for c, v in enumerate(line, 1)]
        )
    return text.getvalue()


def content(clips: Sequence[Clip], root: Path) -> list[tuple[Any, ...]]:
    return [
        (c.key, c.interval, c.emotion, c.action_units, c.frame_nos, dict(c.extra), [str(p.name) for p in c.frames])
        for c in clips
    ]


@pytest.mark.parametrize("name", OFFICIAL)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["xlsx", "csv", "csv;", "csv\t"]), bom=st.booleans())
def test_any_legal_dress_is_read_back_equal(
    name: str, seed: int, kind: str, bom: bool, corpora: dict[str, tuple[Path, list[Clip]]]
) -> None:
    root, expected = corpora[name]
    rng = random.Random(seed)
    with copy_of(root) as copy:
        sheet = copy / layout(name).writes
        tables = lines_of(sheet)
        title = next(iter(tables))
        tables[title], formats = dressed(name, tables[title], rng)
        if kind == "xlsx":
            write_book(sheet, tables, formats, merge=rng.random() < 0.5)
        else:
            sheet.unlink()
            text = shown(tables[title], formats, kind[3:] or ",")
            sheet.with_suffix(".csv").write_text(text, encoding="utf-8-sig" if bom else "utf-8")
        dataset = open_dataset(name, copy)
        assert isinstance(dataset, OfficialDataset)
        assert content(dataset.expressions(), copy) == content(expected, root)


@pytest.mark.parametrize("name", OFFICIAL)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), wrong=st.sampled_from(["12.5", "twelve", "=1+2", "12 to 20", "1e3", "#REF!"]))
def test_a_number_that_is_none_is_refused_with_row_and_column(
    name: str, seed: int, wrong: str, corpora: dict[str, tuple[Path, list[Clip]]]
) -> None:
    root, _ = corpora[name]
    rng = random.Random(seed)
    with copy_of(root) as copy:
        sheet = copy / layout(name).writes
        tables = lines_of(sheet)
        title = next(iter(tables))
        first, counted = places_of(name, tables[title])
        row = rng.randrange(first, len(tables[title]))
        place = rng.choice(counted)
        tables[title][row][place] = float(wrong) if wrong == "12.5" else wrong
        write_book(sheet, tables, {}, merge=False)
        dataset = open_dataset(name, copy)
        assert isinstance(dataset, OfficialDataset)
        with pytest.raises(MienError) as caught:
            dataset.expressions()
        letter = get_column_letter(place + 1)
        assert f"row {row + 1}, column {letter} (" in caught.value.found
