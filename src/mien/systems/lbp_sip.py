"""LBP-SIP: local binary patterns with six intersection points, and a support vector machine.

Wang, See, Phan, Oh, "LBP with six intersection points: reducing redundant information in LBP-TOP for micro-expression
recognition", ACCV 2014. As run in Tables II and III of Xia et al., IEEE TMM 2020 (STRCN): R = 3, polynomial SVM.

Face       as LBP-TOP.
Descriptor four bits in space and two in time: 20 values for each block (`mien.descriptors.lbp_sip`).
Classifier as LBP-TOP.
"""

from __future__ import annotations

from math import prod

from mien.classifiers.base import Classifier
from mien.descriptors.base import Described, grey_steps
from mien.descriptors.lbp import lbp_sip
from mien.descriptors.parameters import SipOptions
from mien.parameters import Preset
from mien.preprocessing import Recipe, Step
from mien.preprocessing.parameters import GreyFaces, PresetName
from mien.systems.base import System
from mien.systems.texture import SHARED_DEPARTURES, TextureClassifier, texture_classifier


class LbpSipParameters(TextureClassifier, SipOptions, GreyFaces):
    """Parameters of LBP-SIP."""

    preset: PresetName = "paper"


PRESETS = {
    "paper": Preset("The settings of STRCN's tables II and III."),
    "small": Preset(
        "A quarter of the size and 3x3 blocks, to try things out.",
        {"size": (75, 61), "blocks": (3, 3, 1), "trees": 100},
    ),
}


def from_frames(p: LbpSipParameters) -> Recipe:
    """Return the way from frames to the vector."""
    step = Step("lbp-sip", Described(lbp_sip), p.model_dump(include=set(SipOptions.model_fields)))
    return Recipe((*grey_steps(p), step), "D", (prod(p.blocks) * (64 if p.joint else 20),), (0.0, 1.0))


def build(n_classes: int, p: LbpSipParameters) -> Classifier:
    """Return an untrained classifier of LBP-SIP vectors."""
    return texture_classifier(n_classes, p, prod(p.blocks), p.classifier)


LBP_SIP = System(
    name="lbp-sip",
    title="LBP-SIP",
    paper="Wang, See, Phan, Oh, LBP with Six Intersection Points, ACCV 2014; settings of Xia et al., IEEE TMM 2020, "
    "section IV-B",
    summary="local binary patterns of the six points in which three planes meet, polynomial SVM",
    departures=(
        "Only the size of the vector is known to us (20 values per block), from which four bits in space and two in "
        "time follow. `--set joint=true` counts all six together.",
        "STRCN's setting P = 8 has no meaning here, because there are six points.",
        "The paper's optional Wiener filter and pyramid are left out.",
        "The grid of blocks is that of LBP-TOP.",
        *SHARED_DEPARTURES,
    ),
    recipes={"frames": from_frames},
    parameters=LbpSipParameters,
    presets=PRESETS,
    build=build,
)
