"""Where in a film expressions are: spotters, how they run along a film, and how well their intervals meet true ones."""

from __future__ import annotations

from mien.errors import unknown_name
from mien.spotting.base import Spot, Spotter
from mien.spotting.flow_peaks import FLOW_PEAKS
from mien.spotting.lbp_chi2 import LBP_CHI2
from mien.spotting.mdmd import MDMD
from mien.spotting.softnet import SOFTNET

__all__ = ["DEFAULT", "SPOTTERS", "Spot", "Spotter", "spotter"]

SPOTTERS: dict[str, Spotter] = {each.name: each for each in (FLOW_PEAKS, LBP_CHI2, MDMD, SOFTNET)}
"""Every spotter, by name."""

DEFAULT = FLOW_PEAKS.name
"""The one that is used when none is named."""


def spotter(name: str) -> Spotter:
    """The spotter of a name.

    Raises:
        MienError: There is none.
    """
    if name not in SPOTTERS:
        raise unknown_name("spotter", name, SPOTTERS, "mien spotters")
    return SPOTTERS[name]
