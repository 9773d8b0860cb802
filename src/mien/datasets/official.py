"""What the readers of all official layouts share: sheet -> rows -> clips with their frames, never a pixel.

Known corrections that no table holds: the row numbers of CASME, CASME II, SAMM, 4DME, MMEW and CAS(ME)^3 that public
code mends are given there by position only, without the clip's name or the value printed, so they cannot be applied
safely to a sheet that may be sorted otherwise or be newer. Where such a mistake shows in the numbers themselves (an
apex or offset that is missing or out of order) the general rules of `read_interval` catch it, and `problems` says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from mien.datasets.action_units import clean_action_units
from mien.datasets.base import Dataset
from mien.datasets.folders import Folders, Frame, folders, natural, pictures
from mien.datasets.intervals import read_interval
from mien.datasets.label_sheet import find_label_sheet, read_label_sheet
from mien.datasets.layout import Layout, correct, layout
from mien.datasets.rows import SECOND, Row, rows_by_title, whole_number
from mien.datasets.sheet import find_sheet, listing, read_pages
from mien.errors import MienError
from mien.types import Clip, Interval, Problem

__all__ = ["OfficialDataset", "folders", "natural", "pictures", "read_interval"]

_CANONICAL = frozenset({"subject", "clip", "onset", "apex", "offset", "emotion", "action_units", "kind", "fps"})
_DEEPEST: Final = 3


@dataclass(frozen=True, slots=True)
class Record:
    """A clip and what was odd about its row.

    Attributes:
        clip: The clip.
        row: Number of its row in the sheet; 0 where folders alone name the clip.
        notes: Remarks on the row.
        places: Folders that were looked for below the frames' root.
    """

    clip: Clip
    row: int = 0
    notes: tuple[str, ...] = ()
    places: tuple[str, ...] = ()


class OfficialDataset(Dataset):
    """A database in its owners' layout, as its table has it.

    A further database needs a table and, where the table cannot say all, a subclass with its `id` and the hooks below.

    Args:
        root: Folder that holds the copy.

    Raises:
        MienError: The folder or the label sheet is missing, or two different label sheets are there.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.sheet = find_label_sheet(self.root, self.layout, self.id)
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
        """Return the micro-expression clips, one for each row, in the order of the label sheet. Reads no pixels."""
        return [c for c in self.expressions() if c.extra["kind"] == "micro" and "interval" not in c.extra]

    def expressions(self) -> list[Clip]:
        """Return all labelled expressions, in the order of the label sheet.

        Macro-expressions are among them, and the second and third interval of one row.
        """
        return [record.clip for record in self._records]

    def problems(self) -> list[Problem]:
        """Return oddities of the label sheet, corrections applied, clips named twice, frames outside their interval."""
        seen: set[str] = set()
        records = self._records
        found: list[Problem] = [*self._unjoined]
        for record in records:
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

    def expected_at(self, clip: Clip) -> str:
        """Return where the frames of a clip were looked for, as one path; "" for a clip that is not this copy's."""
        places = next((r.places for r in self._records if r.clip.key == clip.key), ())
        return f"{self.frame_root}: {' or '.join(places)}" if places else ""

    # Hooks

    def _rows(self) -> list[Row]:
        """Rows of the label sheet under canonical names."""
        assert self.sheet is not None
        return read_label_sheet(self.sheet, self.layout, self.id).rows

    def _subject(self, row: Mapping[str, str]) -> str:
        """The subject as the database prints it; a bare number is put into the form its folders use."""
        number = whole_number(row["subject"])
        if number is None and self.layout.subject_pattern:
            match = re.fullmatch(self.layout.subject_pattern, row["subject"], re.IGNORECASE)
            number = int(match[1]) if match else None
        return row["subject"] if number is None else self.layout.subject.format(number)

    def _fields(self, row: Mapping[str, str], subject: str) -> dict[str, str]:
        """What the folder and name formats may use."""
        return {**row, "subject": subject, "emotion": row.get("emotion", "").lower()}

    def _unnumbered(self, frames: tuple[Frame, ...]) -> Interval | None:
        """The interval of a clip whose row gives none that its frames know; None leaves the row's."""
        return None

    @property
    def _cut_out(self) -> bool:
        """Whether the copy holds short clips of one interval each, where the sheet may name several."""
        return False

    # Reading

    @cached_property
    def _printed(self) -> list[Row]:
        return self._rows()

    @cached_property
    def _records(self) -> list[Record]:
        records = [record for row in self._joined(self._printed) for record in self._records_of(row)]
        if not records:
            raise MienError(
                f"The label sheet {str(self.sheet)!r} has no row with a subject and a clip.",
                "one row per expression.",
                "the label sheet as its owners distribute it.",
            )
        return self._with_own_keys(records)

    def _joined(self, rows: list[Row]) -> list[Row]:
        for join in self.layout.joins:
            path = find_sheet(self.root, join.sheets)
            if path is None:
                continue
            page = read_pages(path)[0]
            more = rows_by_title(page.cells, join.columns, {}, page)
            added = {(self._subject(row), row["clip"].lower()): row for row in more}
            absent = [row for row in rows if (self._subject(row), row["clip"].lower()) not in added]
            if absent:
                some = ", ".join(f"{self._subject(row)}/{row['clip']}" for row in absent[:3])
                text = f"{len(absent)} of {len(rows)} clips of the label sheet are not in it, such as {some}."
                self._unjoined.append(Problem(str(path), text, "note"))
            rows = [
                row.changed(
                    {
                        name: text
                        for name, text in added.get((self._subject(row), row["clip"].lower()), Row()).items()
                        if not row.get(name)
                    }
                )
                for row in rows
            ]
        return rows

    def _records_of(self, printed: Row) -> Iterator[Record]:
        """One record for a row, and one for each further interval that it names."""
        record = self._record(printed)
        yield record
        further = sorted({match[2] for name in printed if (match := SECOND.fullmatch(name)) and printed[name]})
        frames = record.clip.frames
        for number in further:
            times = {field: printed.get(f"{field}_{number}", "") for field in ("onset", "apex", "offset")}
            again = self._record(printed.changed(times))
            clip = again.clip
            if self._cut_out and frames:
                continue  # a short clip holds the first interval alone
            extra = {**clip.extra, "interval": number}
            extra.setdefault("video", record.clip.name)
            yield replace(again, clip=replace(clip, name=f"{clip.name}_{number}", extra=extra))

    def _with_own_keys(self, records: Sequence[Record]) -> list[Record]:
        """Records under different keys where one name stands for a micro- and a macro-expression.

        Raises MienError where one clip has two labels over the same frames.
        """
        kept: list[Record] = []
        first: dict[str, Record] = {}
        for record in records:
            clip, before = record.clip, first.get(record.clip.key)
            if before is not None and before.clip.extra["kind"] != clip.extra["kind"]:
                kind = clip.extra["kind"]
                note = f"The sheet names {clip.name} twice, once as {before.clip.extra['kind']} and once as {kind}."
                extra = {"video": clip.name, **clip.extra}
                named = replace(clip, name=f"{clip.name}_{kind}", extra=extra)
                record = replace(record, clip=named, notes=(f"{note} Both are kept.", *record.notes))
            elif before is not None and before.clip.interval == clip.interval:
                words = [
                    f"{name} {a!r} and {b!r}"
                    for name, a, b in (
                        ("emotion", before.clip.emotion, clip.emotion),
                        ("action units", before.clip.action_units, clip.action_units),
                    )
                    if a != b
                ]
                if words:
                    raise MienError(
                        f"{str(self.sheet)!r} labels {clip.key} twice, in rows {before.row} and {record.row}: "
                        f"{', '.join(words)}.",
                        "one label for each clip.",
                        "delete the wrong row, or read the sheet as its owners distribute it.",
                    )
            first.setdefault(record.clip.key, record)
            kept.append(record)
        return kept

    def _record(self, printed: Row) -> Record:
        subject = self._subject(printed)
        row, applied = correct(printed, subject, self.layout.corrections)
        notes = [f"{c.field} {c.printed!r} is read as {c.to!r}: {c.reason} ({c.source})." for c in applied]
        fields = self._fields(row, subject)
        folder, places = self._folder(self.frame_root, fields)
        if folder is None and applied:
            # Folders may be named after the value that was printed.
            folder, _ = self._folder(self.frame_root, self._fields(printed, subject))
        frames = self._disk.frames(folder) if folder else ()
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
            fps=self._fps(row),
            extra=self._extra(row, folder, units),
        )
        return Record(clip, printed.number, (*notes, *remarks), places)

    def _fps(self, row: Mapping[str, str]) -> float | None:
        if "fps" in self.manifest:
            return float(self.manifest["fps"])
        own = row.get("fps", "")
        return float(own) if re.fullmatch(r"[0-9]{1,5}(\.[0-9]+)?", own) and float(own) > 0 else self.card.fps

    def _extra(self, row: Mapping[str, str], folder: Path | None, units: str) -> dict[str, str]:
        printed = row.get("action_units", "")
        extra = {"kind": _kind(row.get("kind", ""))}
        extra.update(
            {name: text for name, text in row.items() if name not in _CANONICAL and text and not SECOND.fullmatch(name)}
        )
        if re.sub(r"\s+", "", printed) != units and printed:
            extra["action_units_printed"] = printed
        return extra

    @cached_property
    def frame_root(self) -> Path:
        """The folder that holds the frames: the first candidate in which a clip is found.

        Stores pack a folder into one of the same name, so that is looked for too, and where no candidate holds a clip,
        the folders a few levels below the root are tried.

        Raises:
            MienError: No candidate exists.
        """
        candidates = self._candidates()
        fields = [self._fields(row, self._subject(row)) for row in self._printed]
        for candidate in candidates:
            if any(self._folder(candidate, f)[0] for f in fields):
                return candidate
        few = [*fields[:2], *fields[-2:]]
        for folder in self._disk.below(self.root, _DEEPEST):
            if any(self._folder(folder, f)[0] for f in few):
                return folder
        below = [c for c in candidates if c.resolve() != self.root.resolve()]
        if below:
            return below[0]
        raise MienError(
            f"{str(self.root)!r} holds no frames of {self.card.title} ({self.id}); it holds {listing(self.root)}.",
            f"one of the folders {', '.join(self.layout.roots)}, with clips as {' or '.join(self.layout.folders)}.",
            f"unpack the frames beside the label sheet, as in `{self.root / self.layout.roots[0]}`.",
        )

    def _candidates(self) -> list[Path]:
        """Folders that may hold the frames, in order of preference; a doubled one after its single."""
        found = []
        for name in self.layout.roots:
            last = name.rsplit("/", 1)[-1]
            for relative in (name, f"{name}/{last}") if last != "." else (name,):
                folder = self._disk.find(self.root, relative)
                if folder is not None and folder not in found:
                    found.append(folder)
        return found

    def _folder(self, root: Path, fields: Mapping[str, str]) -> tuple[Path | None, tuple[str, ...]]:
        """The folder of a clip below `root`, and the places that were tried."""
        places = tuple(dict.fromkeys(pattern.format(**fields) for pattern in self.layout.folders))
        return next((found for place in places if (found := self._disk.find(root, place))), None), places

    @cached_property
    def _unjoined(self) -> list[Problem]:
        return []

    @cached_property
    def _disk(self) -> Folders:
        return Folders()

    def _whole(self, folders: Iterable[tuple[str, Path, str]]) -> Iterator[Clip]:
        """Whole videos from (subject, folder, kind)."""
        for subject, folder, kind in folders:
            frames = self._disk.frames(folder)
            yield Clip(
                dataset=self.id,
                subject=subject,
                name=folder.name,
                interval=None,
                emotion="",
                frames=tuple(path for _, path in frames),
                frame_nos=tuple(no for no, _ in frames),
                fps=self.manifest.get("fps", self.card.fps),
                extra={"kind": kind},
            )


def _kind(text: str) -> str:
    plain = text.lower()
    return next((kind for kind in ("micro", "macro") if kind in plain), plain or "micro")
