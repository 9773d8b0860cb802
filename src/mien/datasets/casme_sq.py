"""CAS(ME)^2: long videos with micro- and macro-expressions, labelled under names that two further sheets explain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

from mien.datasets.label_sheet import read_label_sheet
from mien.datasets.layout import layout_table
from mien.datasets.official import OfficialDataset, folders
from mien.datasets.rows import Row
from mien.datasets.sheet import read_cells
from mien.errors import MienError
from mien.types import Clip

_PATH: Final = re.compile(r"(?:.*[/\\])?(s[0-9]+)[/\\]([0-9]+_[0-9]{4}[^/\\]*)[/\\]?", re.IGNORECASE)


class CasmeSq(OfficialDataset):
    """CAS(ME)^2 (Qu et al. 2018).

    The label sheet says subject 1 and clip "disgust1_2" where the frames lie in s15/15_0101disgustingteeth: the second
    sheet gives the folder of each subject, the third the code of each stimulus. A csv holds the first sheet alone; some
    have a column with the path of the video, and for the others the table knows the owners' naming.
    """

    id = "casme_sq"

    def videos(self) -> list[Clip]:
        """Return all long videos, those without an expression included."""
        found = [(p.parent.name, p, "video") for p in folders(self.frame_root, "s*/*_*")]
        return list(self._whole(found))

    def _rows(self) -> list[Row]:
        assert self.sheet is not None
        found = read_label_sheet(self.sheet, self.layout, self.id)
        width = len(self.layout.positions)
        rows = []
        for row in found.rows:
            line = found.page.cells[row.number - 1]
            match = next((m for cell in line[width:] if (m := _PATH.fullmatch(cell))), None)
            rows.append(row.changed({"path_subject": match[1].lower(), "path_video": match[2]}) if match else row)
        return rows

    @cached_property
    def _naming(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the folder of each subject number and the four-digit code of each stimulus."""
        assert self.sheet is not None
        names = layout_table(self.id)["naming"]
        if self.sheet.suffix.lower() in (".csv", ".tsv"):
            return names["known_subjects"], names["known_stimuli"]
        subjects = {row[2]: row[1] for row in read_cells(self.sheet, names["subjects"]) if len(row) > 2 and row[2]}
        codes = read_cells(self.sheet, names["stimuli"])
        # A spreadsheet program may have made the code 0101 the number 101.
        stimuli = {row[1]: row[0].zfill(4) for row in codes if len(row) > 1 and row[1]}
        return subjects, stimuli

    def _subject(self, row: Mapping[str, str]) -> str:
        if row.get("path_subject"):
            return row["path_subject"]
        subjects = self._naming[0]
        if row["subject"] not in subjects:
            raise MienError(
                f"{str(self.sheet)!r} labels a subject {row['subject']} that its second sheet does not name.",
                f"one of {', '.join(subjects)}.",
                "the label sheet as its owners distribute it, with all three sheets.",
            )
        return subjects[row["subject"]]

    def _fields(self, row: Mapping[str, str], subject: str) -> dict[str, str]:
        if row.get("path_video"):
            # Some copies spell what follows the code otherwise.
            return {**super()._fields(row, subject), "video": row["path_video"][: row["path_video"].index("_") + 5]}
        stimulus = row["clip"].rpartition("_")[0]
        code = self._naming[1].get(stimulus)
        if code is None:
            raise MienError(
                f"{str(self.sheet)!r} labels a clip {row['clip']!r}, whose video {stimulus!r} its third sheet lacks.",
                f"one of {', '.join(self._naming[1])}.",
                "the label sheet as its owners distribute it, with all three sheets.",
            )
        return {**super()._fields(row, subject), "video": f"{subject.lstrip('s')}_{code}"}

    def _extra(self, row: Mapping[str, str], folder: Path | None, units: str) -> dict[str, str]:
        video = folder.name if folder else row.get("path_video") or self._fields(row, self._subject(row))["video"]
        extra = {**super()._extra(row, folder, units), "video": video}
        return {name: text for name, text in extra.items() if not name.startswith("path_")}
