"""Layout of a database, as its table `tables/<id>.toml` has it: sheet, columns, folders, corrections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from mien.datasets.base import clears_with_tables, table, table_file
from mien.datasets.rows import SECOND, Row
from mien.errors import MienError


@dataclass(frozen=True, slots=True)
class Correction:
    """One known mistake of a label sheet, found by subject and clip, never by row.

    Attributes:
        subject: Subject as the reader prints it.
        clip: Clip as the sheet prints it.
        field: Canonical column.
        printed: The wrong value; where the sheet says something else, nothing is corrected.
        to: The right value.
        reason: Why it is wrong.
        source: Who says so.
    """

    subject: str
    clip: str
    field: str
    printed: str
    to: str
    reason: str
    source: str


@dataclass(frozen=True, slots=True)
class Join:
    """A second sheet that adds columns, matched by subject and clip.

    Attributes:
        sheets: File names or patterns.
        writes: File name the writer uses.
        columns: Canonical name -> titles, subject and clip among them.
    """

    sheets: tuple[str, ...]
    writes: str
    columns: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one database keeps its labels and its frames.

    Attributes:
        sheets: File names or patterns of the label sheet, in order of preference.
        writes: File name the writer uses.
        required: False where the folders alone give the labels.
        preamble: Lines before the header in the released sheet; only the writer needs it.
        header: Titles in the order of the released sheet; empty where it has no header.
        positions: Canonical names by position, for a sheet without a header.
        columns: Canonical name -> titles it may have.
        optional: The same for columns that may be missing; they end in `Clip.extra`.
        joins: Further sheets.
        tabs: Names of the table in the file that holds the labels, in order of preference; the first that fits else.
        subject: Format of a subject that the sheet prints as a number.
        subject_pattern: How else a subject may be printed; its one group is the number. "" for no other way.
        clip_pattern: How the database prints its clips, to tell a sheet of another database; "" where not known.
        name: Format of the clip's name.
        roots: Folders that may hold the frames, in order of preference.
        folders: Formats of a clip's folder below the root, tried in order; may hold "*".
        picture: Format of a frame's file name; only the writer needs it.
        corrections: Known mistakes.
    """

    sheets: tuple[str, ...]
    writes: str
    required: bool
    preamble: int
    header: tuple[str, ...]
    positions: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    optional: Mapping[str, tuple[str, ...]]
    joins: tuple[Join, ...]
    tabs: tuple[str, ...]
    subject: str
    subject_pattern: str
    clip_pattern: str
    name: str
    roots: tuple[str, ...]
    folders: tuple[str, ...]
    picture: str
    corrections: tuple[Correction, ...]

    @property
    def numbers(self) -> tuple[str, ...]:
        """Canonical names of the columns that hold frame numbers."""
        names = [*self.columns, *self.optional, *self.positions]
        return tuple(n for n in names if n in ("onset", "apex", "offset") or SECOND.fullmatch(n))


@clears_with_tables
@cache
def layout_table(dataset_id: str) -> Mapping[str, Any]:
    """Return the table of a dataset, with that of the family it `shares` below it and its own `values` filled in."""
    own = table(dataset_id)
    if "shares" not in own:
        return own
    merged: Mapping[str, Any] = _filled({**table(own["shares"]), **own}, own["values"])
    return merged


@clears_with_tables
@cache
def layout(dataset_id: str) -> Layout:
    """Return the layout of one dataset.

    Raises:
        MienError: Its table lacks a part.
    """
    try:
        return _layout(layout_table(dataset_id))
    except (KeyError, TypeError, AttributeError) as error:
        raise MienError(
            f"The table {str(table_file(dataset_id))!r} is not complete ({type(error).__name__}: {error}).",
            "[sheet] with files, [columns], and [frames] with roots and folders.",
            "compare it with a table in `mien/datasets/tables`, such as casme2.toml.",
        ) from None


def _layout(entry: Mapping[str, Any]) -> Layout:
    sheet, frames = entry["sheet"], entry["frames"]
    subject = entry.get("subject", {})
    return Layout(
        sheets=tuple(sheet["files"]),
        writes=sheet.get("writes", sheet["files"][0]),
        required=sheet.get("required", True),
        preamble=sheet.get("preamble", 0),
        header=tuple(sheet.get("header", ())),
        positions=tuple(sheet.get("positions", ())),
        columns=_titles(entry.get("columns", {})),
        optional=_titles(entry.get("optional", {})),
        joins=tuple(
            Join(tuple(j["files"]), j.get("writes", j["files"][0]), _titles(j["columns"]))
            for j in entry.get("join", ())
        ),
        tabs=tuple(sheet.get("tabs", ())),
        subject=subject.get("number", "{}"),
        subject_pattern=subject.get("pattern", ""),
        clip_pattern=sheet.get("clips", ""),
        name=entry.get("name", "{clip}"),
        roots=tuple(frames["roots"]),
        folders=tuple(frames["folders"]),
        picture=frames.get("picture", "{no}.jpg"),
        corrections=tuple(
            Correction(**{("printed" if k == "from" else k): str(v) for k, v in c.items()})
            for c in entry.get("corrections", ())
        ),
    )


def correct(row: Mapping[str, str], subject: str, corrections: Sequence[Correction]) -> tuple[Row, list[Correction]]:
    """Return a row with its known mistakes mended, and the corrections that did it.

    A correction applies only where the sheet prints the very value it names, so a newer sheet, in which the owners
    have mended the mistake themselves, stays as it is.
    """
    mended, applied = Row(row, getattr(row, "number", 0)), []
    for c in corrections:
        if (c.subject, c.clip) == (subject, row["clip"]) and row.get(c.field) == c.printed:
            mended[c.field] = c.to
            applied.append(c)
    return mended, applied


def _titles(columns: Mapping[str, str | list[str]]) -> dict[str, tuple[str, ...]]:
    return {name: (titles,) if isinstance(titles, str) else tuple(titles) for name, titles in columns.items()}


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    """Every text with `<key>` replaced; format fields in braces stay for the reader."""
    if isinstance(value, str):
        for key, text in values.items():
            value = value.replace(f"<{key}>", text)
        return value
    if isinstance(value, Mapping):
        return {k: _filled(v, values) for k, v in value.items()}
    return [_filled(v, values) for v in value] if isinstance(value, list) else value
