"""4DME: the grey micro-expression frames."""

from __future__ import annotations

from mien.datasets.official import OfficialDataset


class FourDme(OfficialDataset):
    """The grey-video part of 4DME (Li et al. 2023)."""

    id = "fourdme"
