"""What the readers of all official layouts share: sheet -> rows -> clips with their frames, never a pixel.

Known corrections that no table holds: the row numbers of CASME, CASME II, SAMM, 4DME, MMEW and CAS(ME)^3 that public
code mends are given there by position only, without the clip's name or the value printed, so they cannot be applied
safely to a sheet that may be sorted otherwise or be newer. Where such a mistake shows in the numbers themselves (an
apex or offset that is missing or out of order) the general rules of `read_interval` catch it, and `problems` tells it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mien.datasets.action_units import clean_action_units
from mien.datasets.base import Dataset
from mien.datasets.layout import Layout, correct, layout
from mien.datasets.sheet import Row, find_sheet, listing, read_cells, rows_by_position, rows_by_title, whole_number
from mien.errors import MienError
from mien.types import Clip, Interval, Problem

PICTURES = frozenset({".jpg", ".jpeg", ".bmp", ".png"})
_CANONICAL = frozenset({"subject", "clip", "onset", "apex", "offset", "emotion", "action_units", "kind"})

Frame = tuple[int, Path]


@dataclass(frozen=True, slots=True)
class Record:
    """A clip and what was odd about its row."""

    clip: Clip
    notes: tuple[str, ...] = ()


def pictures(folder: Path) -> tuple[Frame, ...]:
    """Frames of a folder by their own number, which is the last run of digits in the file name; () without a folder."""
    if not folder.is_dir():
        return ()
    found = []
    for path in folder.iterdir():
        digits = re.findall(r"\d+", path.stem)
        if path.suffix.lower() in PICTURES and digits and not path.name.startswith("."):
            found.append((int(digits[-1]), path))
    return tuple(sorted(found, key=lambda frame: (frame[0], frame[1].name)))


def read_interval(row: Mapping[str, str]) -> tuple[Interval | None, list[str]]:
    """Onset, apex and offset of a row; what the sheet does not give is None, never 0.

    A missing offset (blank, 0, or before the onset) is the apex mirrored, 2 * apex - onset, as published spotting
    work on CAS(ME)^2 does; an apex outside onset..offset counts as missing.

    Returns:
        The interval, or None where onset, or both apex and offset, are missing; and remarks.
    """
    onset, apex, offset = (whole_number(row.get(field, "")) for field in ("onset", "apex", "offset"))
    if onset is None or onset < 0:
        return None, [f"There is no onset ({row.get('onset', '')!r})."]
    notes: list[str] = []
    apex = apex if apex and apex > 0 else None
    if offset is None or offset <= 0 or offset < onset:
        if apex is None or apex < onset:
            return None, [f"There is no offset ({row.get('offset', '')!r}) and no apex to find it from."]
        notes.append(f"The offset {row.get('offset', '')!r} is not usable; 2 * apex - onset is used.")
        offset = 2 * apex - onset
    if apex is not None and not onset <= apex <= offset:
        notes.append(f"The apex {apex} lies outside {onset}..{offset} and counts as missing.")
        apex = None
    return Interval(onset, apex, offset), notes


class OfficialDataset(Dataset):
    """A database in its owners' layout, as its table tells it.

    A further database needs a table and a subclass with its `id`; the hooks below are for layouts that a table cannot
    tell.

    Args:
        root: Folder that holds the copy.

    Raises:
        MienError: The folder or the label sheet is missing.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.sheet = find_sheet(self.root, self.layout.sheets)
        if self.sheet is None and self.layout.required:
            raise MienError(
                f"{str(root)!r} holds no label sheet of {self.card.title} ({self.id}); it holds {listing(self.root)}.",
                f"{' or '.join(self.layout.sheets)}.",
                f"`{self.id}=FOLDER` with the folder that holds {self.layout.writes}.",
            )

    @property
    def layout(self) -> Layout:
        """Where this database keeps its labels and frames."""
        return layout(self.id)

    def clips(self) -> list[Clip]:
        """Micro-expression clips, in the order of the label sheet. Reads no pixels."""
        return [clip for clip in self.expressions() if clip.extra["kind"] == "micro"]

    def expressions(self) -> list[Clip]:
        """All labelled expressions, macro-expressions included, in the order of the label sheet."""
        return [record.clip for record in self._records]

    def problems(self) -> list[Problem]:
        """Oddities of the label sheet, corrections applied, clips named twice, frames that miss their interval."""
        found: list[Problem] = []
        seen: set[str] = set()
        for record in self._records:
            clip = record.clip
            found.extend(Problem(clip.key, note, "note") for note in record.notes)
            if clip.key in seen:
                found.append(Problem(clip.key, "The label sheet names this clip twice."))
            seen.add(clip.key)
            span = clip.interval
            if span and clip.frame_nos and not any(span.onset <= no <= span.offset for no in clip.frame_nos):
                numbers = f"{clip.frame_nos[0]}..{clip.frame_nos[-1]}"
                outside = f"Its frames {numbers} lie outside {span.onset}..{span.offset}."
                found.append(Problem(clip.key, outside, "note"))
        return found

    # Hooks

    def _rows(self) -> list[Row]:
        """Rows of the label sheet under canonical names."""
        assert self.sheet is not None
        cells = read_cells(self.sheet)
        if self.layout.positions:
            return rows_by_position(cells, self.layout.positions, self.sheet)
        return rows_by_title(cells, self.layout.columns, self.layout.optional, self.sheet)

    def _subject(self, row: Row) -> str:
        """The subject as the database prints it; a bare number is put into the form its folders use."""
        number = whole_number(row["subject"])
        return row["subject"] if number is None else self.layout.subject.format(number)

    def _fields(self, row: Row, subject: str) -> dict[str, str]:
        """What the folder and name formats may use."""
        return {**row, "subject": subject, "emotion": row.get("emotion", "").lower()}

    def _unnumbered(self, frames: tuple[Frame, ...]) -> Interval | None:
        """The interval of a clip whose row gives none that its frames know; None leaves the row's."""
        return None

    # Reading

    @cached_property
    def _printed(self) -> list[Row]:
        return self._rows()

    @cached_property
    def _records(self) -> list[Record]:
        records = [self._record(row) for row in self._joined(self._printed)]
        if not records:
            raise MienError(
                f"The label sheet {str(self.sheet)!r} has no row with a subject and a clip.",
                "one row per expression.",
                "the label sheet as its owners ship it.",
            )
        return records

    def _joined(self, rows: list[Row]) -> list[Row]:
        for join in self.layout.joins:
            path = find_sheet(self.root, join.sheets)
            if path is None:
                continue
            more = rows_by_title(read_cells(path), join.columns, {}, path)
            added = {(self._subject(row), row["clip"].lower()): row for row in more}
            rows = [{**added.get((self._subject(row), row["clip"].lower()), {}), **row} for row in rows]
        return rows

    def _record(self, printed: Row) -> Record:
        subject = self._subject(printed)
        row, applied = correct(printed, subject, self.layout.corrections)
        notes = [f"{c.field} {c.printed!r} is read as {c.to!r}: {c.reason} ({c.source})." for c in applied]
        fields = self._fields(row, subject)
        folder = self._folder(self.frame_root, fields)
        frames = self._listed(folder) if folder else ()
        interval, remarks = read_interval(row)
        within = tuple(f for f in frames if interval and interval.onset <= f[0] <= interval.offset)
        if frames and not within and (whole := self._unnumbered(frames)):
            interval, remarks, within = whole, [], frames
        chosen = within or frames
        units = clean_action_units(row.get("action_units", ""))
        clip = Clip(
            dataset=self.id,
            subject=subject,
            name=self.layout.name.format(**fields),
            interval=interval,
            emotion=row.get("emotion", "").lower(),
            action_units=units,
            frames=tuple(path for _, path in chosen),
            frame_nos=tuple(no for no, _ in chosen),
            fps=self.made.get("fps", self.card.fps),
            extra=self._extra(row, folder, units),
        )
        return Record(clip, (*notes, *remarks))

    def _extra(self, row: Row, folder: Path | None, units: str) -> dict[str, str]:
        printed = row.get("action_units", "")
        extra = {"kind": _kind(row.get("kind", ""))}
        extra.update({name: text for name, text in row.items() if name not in _CANONICAL and text})
        if re.sub(r"\s+", "", printed) != units:
            extra["action_units_printed"] = printed
        return extra

    @cached_property
    def frame_root(self) -> Path:
        """The folder that holds the frames: the first candidate in which a clip is found.

        Raises:
            MienError: No candidate exists.
        """
        candidates = [self.root / name for name in self.layout.roots if (self.root / name).is_dir()]
        fields = [self._fields(row, self._subject(row)) for row in self._printed]
        for candidate in candidates:
            if any(self._folder(candidate, f) for f in fields):
                return candidate
        below = [c for c in candidates if c.resolve() != self.root.resolve()]
        if below:
            return below[0]
        raise MienError(
            f"{str(self.root)!r} holds no frames of {self.card.title} ({self.id}); it holds {listing(self.root)}.",
            f"one of the folders {', '.join(self.layout.roots)}, with clips as {' or '.join(self.layout.folders)}.",
            f"unpack the frames beside the label sheet, as in `{self.root / self.layout.roots[0]}`.",
        )

    def _folder(self, root: Path, fields: Mapping[str, str]) -> Path | None:
        for pattern in self.layout.folders:
            relative = pattern.format(**fields)
            if "*" in relative:
                found = sorted(p for p in root.glob(relative) if p.is_dir())
                if found:
                    return found[0]
            elif (root / relative).is_dir():
                return root / relative
        return None

    @cached_property
    def _lists(self) -> dict[Path, tuple[Frame, ...]]:
        return {}

    def _listed(self, folder: Path) -> tuple[Frame, ...]:
        # A long video holds many clips; its folder is listed once.
        if folder not in self._lists:
            self._lists[folder] = pictures(folder)
        return self._lists[folder]

    def _whole(self, folders: Iterable[tuple[str, Path, str]]) -> Iterator[Clip]:
        """Whole videos from (subject, folder, kind)."""
        for subject, folder, kind in folders:
            frames = self._listed(folder)
            yield Clip(
                dataset=self.id,
                subject=subject,
                name=folder.name,
                interval=None,
                emotion="",
                frames=tuple(path for _, path in frames),
                frame_nos=tuple(no for no, _ in frames),
                fps=self.made.get("fps", self.card.fps),
                extra={"kind": kind},
            )


def natural(text: str) -> tuple[tuple[int, str], ...]:
    """A sort key under which s2 comes before s11."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text))


def folders(root: Path, pattern: str) -> list[Path]:
    """Folders below `root` that match a shell pattern, in natural order."""
    found = (p for p in root.glob(pattern) if p.is_dir() and not p.name.startswith("."))
    return sorted(found, key=lambda p: natural(str(p.relative_to(root))))


def _kind(text: str) -> str:
    plain = text.lower()
    return next((kind for kind in ("micro", "macro") if kind in plain), plain or "micro")
