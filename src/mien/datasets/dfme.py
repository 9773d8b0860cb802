"""DFME: one folder per clip, at 200, 300 or 500 frames per second."""

from __future__ import annotations

from mien.datasets.official import OfficialDataset


class Dfme(OfficialDataset):
    """DFME (Zhao et al. 2024); the sheet gives the frame rate of each clip."""

    id = "dfme"
