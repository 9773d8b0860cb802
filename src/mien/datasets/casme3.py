"""CAS(ME)^3 parts A and C: label sheets of frame numbers over videos that hold several clips."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from mien.datasets.folders import folders
from mien.datasets.layout import layout_table
from mien.datasets.official import OfficialDataset
from mien.datasets.rows import Row, rows_by_title
from mien.datasets.sheet import find_sheet, read_pages
from mien.types import Clip


class Casme3A(OfficialDataset):
    """Part A of CAS(ME)^3 (Li et al. 2023), colour frames.

    One video (`Filename`) may hold several micro-expressions, so a clip's name is the video's and the onset. Where the
    long videos are there (`part_A/spNO.1/a/color`), they serve spotting, with the macro-expressions of a second sheet.
    """

    id = "casme3_a"

    def videos(self) -> list[Clip]:
        """Return all long videos, those without an expression included; none in a copy of cut-out clips."""
        if self._long_root is None:
            return []
        found = folders(self._long_root, layout_table(self.id)["videos"]["folders"])
        whole = self._whole((p.parents[1].name, p, "video") for p in found)
        return [
            Clip(
                dataset=clip.dataset,
                subject=self._subject({"subject": clip.subject}),
                name=path.parent.name,
                interval=None,
                emotion="",
                frames=clip.frames,
                frame_nos=clip.frame_nos,
                fps=clip.fps,
                extra=clip.extra,
            )
            for clip, path in zip(whole, found, strict=True)
        ]

    @cached_property
    def _long_root(self) -> Path | None:
        """The folder of the long videos; None in a copy of cut-out clips."""
        where = layout_table(self.id)["videos"]
        for name in where["roots"]:
            found = self._disk.find(self.root, name)
            if found is not None and folders(found, where["folders"]):
                return found
        return None

    def _rows(self) -> list[Row]:
        rows = super()._rows()
        macro = layout_table(self.id)["macro"]
        path = find_sheet(self.root, macro["files"])
        if path is None:
            return rows
        page = read_pages(path, self.layout.tabs)[0]
        needed = {name: self.layout.columns[name] for name in ("subject", "clip", "onset", "apex", "offset")}
        more = {name: titles for name, titles in self.layout.columns.items() if name not in needed}
        found = rows_by_title(page.cells, needed, {**more, **self.layout.optional}, page, self.layout.numbers)
        return [*rows, *(row.changed({"kind": "macro"}) for row in found)]

    def _extra(self, row: Mapping[str, str], folder: Path | None, units: str) -> dict[str, str]:
        extra = super()._extra(row, folder, units)
        return extra if self._long_root is None else {**extra, "video": row["clip"]}


class Casme3C(OfficialDataset):
    """Part C of CAS(ME)^3 (Li et al. 2023): a mock crime; no apex and no emotion is given."""

    id = "casme3_c"
