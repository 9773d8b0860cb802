"""SMIC: three cameras, one layout. Folders give subject, emotion and clip; a sheet may add frame numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from mien.datasets.folders import Frame
from mien.datasets.label_sheet import read_label_sheet
from mien.datasets.official import OfficialDataset, folders
from mien.datasets.rows import Row
from mien.datasets.sheet import listing
from mien.errors import MienError
from mien.types import Clip, Interval


class Smic(OfficialDataset):
    """One camera of SMIC (Li et al. 2013). No apex is annotated, so none is given.

    A clip of the base release runs from onset to offset. Where the sheet of the extended release (SMIC-E) is there and
    its frame numbers fit, it says the interval; else the clip's first and last frame do. With the long videos of SMIC-E
    alone, the sheet names the clips.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        # Without a sheet to look for, the folders alone tell whether this is SMIC.
        _ = self.frame_root

    def videos(self) -> list[Clip]:
        """Return micro-expression and non-micro sequences, each whole; `extra["kind"]` tells them apart."""
        if self._in_folders:
            micro = [(p.parents[2].name, p, "micro") for p in folders(self.frame_root, "s*/micro/*/*")]
            rest = [(p.parents[1].name, p, "non_micro") for p in folders(self.frame_root, "s*/non_micro/*")]
            return list(self._whole([*micro, *rest]))
        # s01 there is s1 of the base release.
        long = [(p.name.split("_")[0], p, "micro") for p in folders(self.frame_root, "s*/s*_*")]
        return list(self._whole((_short(name), p, kind) for name, p, kind in long))

    @cached_property
    def frame_root(self) -> Path:
        """The folder that holds the subjects."""
        for candidate in [*self._candidates(), *self._disk.below(self.root, 3)]:
            if self._holds_clips(candidate):
                return candidate
        raise MienError(
            f"{str(self.root)!r} holds no {self.card.title} ({self.id}); it holds {listing(self.root)}.",
            f"one of the folders {', '.join(self.layout.roots)}, with clips as {self.layout.folders[0]}.",
            f"`{self.id}=FOLDER` with the folder that holds {self.layout.roots[0]}.",
        )

    @staticmethod
    def _holds_clips(folder: Path) -> bool:
        return bool(folders(folder, "s*/micro/*") or folders(folder, "s*/s*_*_*"))

    @cached_property
    def _in_folders(self) -> list[Row]:
        return [
            Row({"subject": p.parents[2].name, "clip": p.name, "emotion": p.parent.name})
            for p in folders(self.frame_root, "s*/micro/*/*")
        ]

    def _rows(self) -> list[Row]:
        found: list[Row] = []
        if self.sheet is not None:
            found = read_label_sheet(self.sheet, self.layout, self.id).rows
        if not self._in_folders:
            return found
        numbered = {_short(row["clip"]): row for row in found}
        there = []
        for row in self._in_folders:
            more = numbered.get(_short(row["clip"]), Row())
            numbers = {n: text for n, text in more.items() if n in self.layout.numbers}
            there.append(Row({**row, **numbers}, more.number))
        # A clip that the sheet names and no folder holds is a clip without frames, for `mien check` to report.
        names = {_short(row["clip"]) for row in there}
        return [*there, *(row for name, row in numbered.items() if name not in names)]

    def _fields(self, row: Mapping[str, str], subject: str) -> dict[str, str]:
        number = subject.lstrip("s")
        padded = f"s{number.zfill(2)}"
        rest = row["clip"].partition("_")[2]
        spelt = {"padded": padded, "clip_padded": f"{padded}_{rest}", "clip_short": f"{_short(subject)}_{rest}"}
        return {**super()._fields(row, subject), **spelt}

    def _extra(self, row: Mapping[str, str], folder: Path | None, units: str) -> dict[str, str]:
        extra = super()._extra(row, folder, units)
        # The list of 442 and the folders spell one clip s1_ne_02 and s01_ne_02.
        return {**extra, "video": folder.name} if folder and folder.name != row["clip"] else extra

    @property
    def _cut_out(self) -> bool:
        return bool(self._in_folders)

    def _unnumbered(self, frames: tuple[Frame, ...]) -> Interval | None:
        if not self._cut_out:
            return None  # a long video is no expression
        return Interval(frames[0][0], None, frames[-1][0])


def _short(name: str) -> str:
    """A subject or clip without the zeros that some copies put before the subject's number."""
    return re.sub(r"^s0*(?=[0-9])", "s", name.lower())


class SmicHs(Smic):
    """SMIC, high-speed camera."""

    id = "smic_hs"


class SmicVis(Smic):
    """SMIC, normal visual camera."""

    id = "smic_vis"


class SmicNir(Smic):
    """SMIC, near-infrared camera."""

    id = "smic_nir"
