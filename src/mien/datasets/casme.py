"""CASME and CASME II: one folder per subject and clip, one label sheet."""

from __future__ import annotations

from mien.datasets.official import OfficialDataset


class Casme(OfficialDataset):
    """CASME (Yan et al. 2013): 60 frames per second, two annotated apexes, of which the first is used."""

    id = "casme"


class Casme2(OfficialDataset):
    """CASME II (Yan et al. 2014): 200 frames per second; objective classes come in a sheet of their own."""

    id = "casme2"
