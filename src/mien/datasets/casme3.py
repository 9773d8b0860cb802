"""CAS(ME)^3 part A: a label sheet of frame numbers over videos that hold several clips."""

from __future__ import annotations

from mien.datasets.official import OfficialDataset


class Casme3A(OfficialDataset):
    """Part A of CAS(ME)^3 (Li et al. 2023), colour frames.

    One video (`Filename`) may hold several micro-expressions, so a clip's name is the video's and the onset.
    """

    id = "casme3_a"
