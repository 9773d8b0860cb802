"""CAS(ME)^2: long videos with micro- and macro-expressions, labelled under names that two further sheets explain."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from mien.datasets.layout import layout_table
from mien.datasets.official import OfficialDataset, folders
from mien.datasets.sheet import Row, read_cells
from mien.errors import MienError
from mien.types import Clip


class CasmeSq(OfficialDataset):
    """CAS(ME)^2 (Qu et al. 2018).

    The label sheet says subject 1 and clip "disgust1_2" where the frames lie in s15/15_0101disgustingteeth: the second
    sheet gives the folder of each subject, the third the code of each stimulus.
    """

    id = "casme_sq"

    def videos(self) -> list[Clip]:
        """All long videos, those without an expression included."""
        found = [(p.parent.name, p, "video") for p in folders(self.frame_root, "s*/*_*")]
        return list(self._whole(found))

    @cached_property
    def _naming(self) -> tuple[dict[str, str], dict[str, str]]:
        """Subject number -> folder, stimulus -> its four-digit code."""
        assert self.sheet is not None
        names = layout_table(self.id)["naming"]
        subjects = {row[2]: row[1] for row in read_cells(self.sheet, names["subjects"]) if len(row) > 2 and row[2]}
        codes = read_cells(self.sheet, names["stimuli"])
        # A spreadsheet program may have made the code 0101 the number 101.
        stimuli = {row[1]: row[0].zfill(4) for row in codes if len(row) > 1 and row[1]}
        return subjects, stimuli

    def _subject(self, row: Row) -> str:
        subjects = self._naming[0]
        if row["subject"] not in subjects:
            raise MienError(
                f"{str(self.sheet)!r} labels a subject {row['subject']} that its second sheet does not name.",
                f"one of {', '.join(subjects)}.",
                "the label sheet as its owners ship it, with all three sheets.",
            )
        return subjects[row["subject"]]

    def _fields(self, row: Row, subject: str) -> dict[str, str]:
        stimulus = row["clip"].rpartition("_")[0]
        code = self._naming[1].get(stimulus)
        if code is None:
            raise MienError(
                f"{str(self.sheet)!r} labels a clip {row['clip']!r}, whose video {stimulus!r} its third sheet lacks.",
                f"one of {', '.join(self._naming[1])}.",
                "the label sheet as its owners ship it, with all three sheets.",
            )
        return {**super()._fields(row, subject), "video": f"{subject.lstrip('s')}_{code}"}

    def _extra(self, row: Row, folder: Path | None, units: str) -> dict[str, str]:
        video = folder.name if folder else self._fields(row, self._subject(row))["video"]
        return {**super()._extra(row, folder, units), "video": video}
