"""LBP-SIP: local binary patterns with six intersection points, and a support vector machine.

Wang, See, Phan, Oh, "LBP with six intersection points: reducing redundant information in LBP-TOP for micro-expression
recognition", ACCV 2014. As run in Tables II and III of Xia et al., IEEE TMM 2020 (STRCN): R = 3, polynomial SVM.

Face       as LBP-TOP.
Descriptor four bits in space and two in time: 20 values for each block (`mien.descriptors.lbp_sip`).
Classifier as LBP-TOP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mien.classifiers.base import Classifier
from mien.descriptors.base import Described, steps_to
from mien.descriptors.lbp import lbp_sip
from mien.preprocessing import Recipe, Step
from mien.systems.base import System, check_choices
from mien.systems.lbp_top import CHOICES, CLASSIFIER, FACE, SHARED_DEPARTURES, classifier, n_blocks

PATTERNS: Mapping[str, Any] = {"radius": [3, 3, 3], "blocks": [5, 5, 1], "overlap": 0.0, "joint": False}
PAPER: Mapping[str, Any] = {**FACE, **PATTERNS, **CLASSIFIER}
SMALL: Mapping[str, Any] = {"size": [75, 61], "blocks": [3, 3, 1], "trees": 100}


def from_frames(p: Mapping[str, Any]) -> Recipe:
    """From frames to the vector."""
    check_choices(p, CHOICES)
    step = Step("lbp-sip", Described(lbp_sip), {key: p[key] for key in PATTERNS})
    return Recipe((*steps_to("grey", p), step), "D", (n_blocks(p) * (64 if p["joint"] else 20),), (0.0, 1.0))


def build(n_classes: int, parameters: Mapping[str, Any]) -> Classifier:
    """An untrained classifier of LBP-SIP vectors."""
    return classifier(n_classes, parameters, n_blocks(parameters))


LBP_SIP = System(
    name="lbp-sip",
    title="LBP-SIP",
    paper="Wang, See, Phan, Oh, LBP with Six Intersection Points, ACCV 2014; settings of Xia et al., IEEE TMM 2020, "
    "section IV-B",
    summary="local binary patterns of the six points in which three planes meet, polynomial SVM",
    departures=(
        "Only the size of the vector is known to us (20 values a block): four bits in space and two in time follow "
        "from it. `--set joint=true` counts all six together.",
        "P = 8 of STRCN's settings means nothing here: there are six points.",
        "The paper's optional Wiener filter and pyramid are left out.",
        "The grid of blocks is that of LBP-TOP.",
        *SHARED_DEPARTURES,
    ),
    recipes={"frames": from_frames},
    parameters={"preset": "paper", **PAPER},
    presets={"paper": PAPER, "small": SMALL},
    build=build,
)
