"""STLBP-IP: spatiotemporal local binary patterns with integral projection, and a support vector machine.

Huang, Wang, Zhao, Pietikainen, "Facial micro-expression recognition using spatiotemporal local binary pattern with
integral projection", ICCVW 2015. As run in Tables II and III of Xia et al., IEEE TMM 2020 (STRCN): polynomial SVM.

Face       as LBP-TOP.
Descriptor sums of the difference from the first frame along rows and columns; 1-D patterns of width 9 for the look,
           patterns with R = 3, P = 8 for the motion: 630 values for each block (`mien.descriptors.stlbp_ip`).
Classifier as LBP-TOP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mien.classifiers.base import Classifier
from mien.descriptors.base import Described, steps_to
from mien.descriptors.integral_projection import block_size, stlbp_ip
from mien.preprocessing import Recipe, Step
from mien.systems.base import System, check_choices
from mien.systems.lbp_top import CHOICES, CLASSIFIER, FACE, SHARED_DEPARTURES, classifier, n_blocks

PATTERNS: Mapping[str, Any] = {
    "mask": 9,
    "radius": 3.0,
    "neighbours": 8,
    "blocks": [5, 5],
    "mapping": "uniform",
    "interpolation": "bilinear",
    "absolute": False,
}
PAPER: Mapping[str, Any] = {**FACE, **PATTERNS, **CLASSIFIER}
SMALL: Mapping[str, Any] = {"size": [75, 61], "blocks": [3, 3], "trees": 100}


def from_frames(p: Mapping[str, Any]) -> Recipe:
    """From frames to the vector."""
    check_choices(p, CHOICES)
    step = Step("stlbp-ip", Described(stlbp_ip), {key: p[key] for key in PATTERNS})
    n = n_blocks(p) * block_size(p["mask"], p["neighbours"], p["mapping"])
    return Recipe((*steps_to("grey", p), step), "D", (n,), (0.0, 1.0))


def build(n_classes: int, parameters: Mapping[str, Any]) -> Classifier:
    """An untrained classifier of STLBP-IP vectors."""
    return classifier(n_classes, parameters, n_blocks(parameters))


STLBP_IP = System(
    name="stlbp-ip",
    title="STLBP-IP",
    paper="Huang, Wang, Zhao, Pietikainen, ICCV Workshops 2015; settings of Xia et al., IEEE TMM 2020, section IV-B",
    summary="local binary patterns of integral projections of difference frames, polynomial SVM",
    departures=(
        "Projections are sums of signed differences, as in an independent implementation; `--set absolute=true` sums "
        "their sizes.",
        "The paper's grid of blocks is not known to us: 5x5.",
        "The radius of the motion patterns is STRCN's 3; the independent implementation has 1.",
        *SHARED_DEPARTURES,
    ),
    recipes={"frames": from_frames},
    parameters={"preset": "paper", **PAPER},
    presets={"paper": PAPER, "small": SMALL},
    build=build,
)
