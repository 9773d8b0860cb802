"""Action units for clips that come without them, such as ready flow pictures: joined from the databases' own sheets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mien.datasets.action_units import clean_action_units
from mien.datasets.label_sheet import read_label_sheet
from mien.datasets.layout import layout
from mien.errors import MienError, unknown_name
from mien.types import Clip

SHEETS = ("casme2", "samm")
"""Databases of the flow pictures whose sheets name action units; SMIC codes none."""


def read_units(dataset_id: str, sheet: Path) -> dict[tuple[int, str], str]:
    """Read the action units of every row of a label sheet.

    Args:
        dataset_id: Whose sheet it is, one of `SHEETS`.
        sheet: The file.

    Returns:
        (number of the subject, name of the clip in lower case) to units, such as "4+L12".

    Raises:
        MienError: A database whose sheet has no units, a sheet that cannot be read, or one of another database.
    """
    if dataset_id not in SHEETS:
        raise unknown_name("database with a sheet of action units", dataset_id, SHEETS, "mien benchmark --help")
    if not sheet.is_file():
        raise MienError(
            f"There is no label sheet {str(sheet)!r}.",
            f"the sheet of {dataset_id} as its owners distribute it.",
            f"`--label-sheet {dataset_id}=FILE`.",
        )
    rows = read_label_sheet(sheet, layout(dataset_id), dataset_id).rows
    return {_key(row["subject"], row["clip"]): clean_action_units(row.get("action_units", "")) for row in rows}


def with_units(clips: Sequence[Clip], sheets: Mapping[str, Path]) -> list[Clip]:
    """Return clips with their action units from label sheets; clips of other databases stay as they are.

    Args:
        clips: Ready flow pictures, or other clips named as in their databases, with or without their subject in front.
        sheets: Dataset id to label sheet.

    Raises:
        MienError: As `read_units`; or a sheet holds not one of the clips of its database.
    """
    known = {name: read_units(name, Path(sheet)) for name, sheet in sheets.items()}
    joined = []
    matched = dict.fromkeys(known, 0)
    for clip in clips:
        units = known.get(clip.dataset, {}).get(_key(clip.subject, clip.name.removeprefix(f"{clip.subject}_")))
        if units is not None:
            matched[clip.dataset] += 1
            clip = replace(clip, action_units=units)
        joined.append(clip)
    for name, n in matched.items():
        here = [clip for clip in clips if clip.dataset == name]
        if not n:
            first = f"the first clip is {here[0].key}" if here else f"there is no clip of {name}"
            raise MienError(
                f"The label sheet {str(sheets[name])!r} holds none of the {len(here)} clips of {name}; {first}.",
                f"the label sheet of the videos that the pictures of {name} were made from.",
                f"`--label-sheet {name}=FILE`.",
            )
    return joined


def parse_label_sheets(texts: Sequence[str]) -> dict[str, Path]:
    """Read `NAME=FILE` texts.

    Raises:
        MienError: A text without "=", or one database twice.
    """
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, file = (part.strip() for part in text.partition("="))
        if not (name and equals and file):
            raise MienError(f"--label-sheet {text!r} has no '='.", "NAME=FILE.", "`--label-sheet casme2=FILE`.")
        if name in found:
            raise MienError(f"{name} has two label sheets.", "one for each database.", f"`--label-sheet {name}=FILE`.")
        found[name] = Path(file).expanduser()
    return found


def _key(subject: str, clip: str) -> tuple[int, str]:
    digits = re.search(r"\d+", subject)
    return int(digits[0]) if digits else -1, clip.strip().lower()
