"""MMEW: one folder per emotion and clip."""

from __future__ import annotations

from mien.datasets.official import OfficialDataset


class Mmew(OfficialDataset):
    """The micro-expression part of MMEW (Ben et al. 2022)."""

    id = "mmew"
