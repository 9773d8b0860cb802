"""SAMM and SAMM Long Videos: grey frames at 200 per second, label sheets that open with remarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mien.datasets.official import OfficialDataset, folders
from mien.types import Clip


class Samm(OfficialDataset):
    """SAMM (Davison et al. 2018)."""

    id = "samm"


class SammLongVideos(OfficialDataset):
    """SAMM Long Videos (Yap et al. 2020): micro- and macro-expressions by action units, without emotions."""

    id = "samm_lv"

    def videos(self) -> list[Clip]:
        """Return all long videos, those without an expression included."""
        found = [(p.name.split("_")[0], p, "video") for p in folders(self.frame_root, "*_*")]
        return list(self._whole(found))

    def _fields(self, row: Mapping[str, str], subject: str) -> dict[str, str]:
        # The expression 006_1_2 is the second of the video 006_1.
        return {**super()._fields(row, subject), "video": "_".join(row["clip"].split("_")[:2])}

    def _extra(self, row: Mapping[str, str], folder: Path | None, units: str) -> dict[str, str]:
        return {**super()._extra(row, folder, units), "video": self._fields(row, row["subject"])["video"]}
