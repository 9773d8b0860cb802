"""SMIC: three cameras, one layout. The folders give subject, emotion and clip; a sheet may add frame numbers."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from mien.datasets.official import Frame, OfficialDataset, folders
from mien.datasets.sheet import Row, listing, read_cells, rows_by_title, whole_number
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
        """Micro-expression and non-micro sequences, each whole; `extra["kind"]` tells them apart."""
        if self._in_folders:
            micro = [(p.parents[2].name, p, "micro") for p in folders(self.frame_root, "s*/micro/*/*")]
            rest = [(p.parents[1].name, p, "non_micro") for p in folders(self.frame_root, "s*/non_micro/*")]
            return list(self._whole([*micro, *rest]))
        # s01 there is s1 of the base release.
        long = [(p.name.split("_")[0], p, "micro") for p in folders(self.frame_root, "s*/s*_*")]
        return list(self._whole((f"s{name.lstrip('s').lstrip('0')}", p, kind) for name, p, kind in long))

    @cached_property
    def frame_root(self) -> Path:
        """The folder that holds the subjects."""
        existing = [self.root / name for name in self.layout.roots if (self.root / name).is_dir()]
        for candidate in existing:
            if folders(candidate, "s*/micro/*") or folders(candidate, "s*/s*_*_*"):
                return candidate
        raise MienError(
            f"{str(self.root)!r} holds no {self.card.title} ({self.id}); it holds {listing(self.root)}.",
            f"one of the folders {', '.join(self.layout.roots)}, with clips as {self.layout.folders[0]}.",
            f"`{self.id}=FOLDER` with the folder that holds {self.layout.roots[0]}.",
        )

    @cached_property
    def _in_folders(self) -> list[Row]:
        return [
            {"subject": p.parents[2].name, "clip": p.name, "emotion": p.parent.name}
            for p in folders(self.frame_root, "s*/micro/*/*")
        ]

    def _rows(self) -> list[Row]:
        numbered: dict[str, Row] = {}
        if self.sheet is not None:
            found = rows_by_title(read_cells(self.sheet), self.layout.columns, self.layout.optional, self.sheet)
            numbered = {row["clip"]: row for row in found if whole_number(row["onset"]) is not None}
        if not self._in_folders:
            return list(numbered.values())
        numbers = ("onset", "offset")
        there = [
            {**row, **{n: numbered[row["clip"]][n] for n in numbers if row["clip"] in numbered}}
            for row in self._in_folders
        ]
        # A clip that the sheet names and no folder holds is a clip without frames, for `mien check` to report.
        names = {row["clip"] for row in there}
        return [*there, *(row for name, row in numbered.items() if name not in names)]

    def _fields(self, row: Row, subject: str) -> dict[str, str]:
        return {**super()._fields(row, subject), "padded": f"s{subject.lstrip('s').zfill(2)}"}

    def _unnumbered(self, frames: tuple[Frame, ...]) -> Interval | None:
        return Interval(frames[0][0], None, frames[-1][0])


class SmicHs(Smic):
    """SMIC, high-speed camera."""

    id = "smic_hs"


class SmicVis(Smic):
    """SMIC, normal visual camera."""

    id = "smic_vis"


class SmicNir(Smic):
    """SMIC, near-infrared camera."""

    id = "smic_nir"
