"""STLBP-IP: spatiotemporal local binary patterns with integral projection, and a support vector machine.

Huang, Wang, Zhao, Pietikainen, "Facial micro-expression recognition using spatiotemporal local binary pattern with
integral projection", ICCVW 2015. As run in Tables II and III of Xia et al., IEEE TMM 2020 (STRCN): polynomial SVM.

Face       as LBP-TOP.
Descriptor sums of the difference from the first frame along rows and columns; 1-D patterns of width 9 for the look,
           patterns with R = 3, P = 8 for the motion: 630 values for each block (`mien.descriptors.stlbp_ip`).
Classifier as LBP-TOP.
"""

from __future__ import annotations

from math import prod

from mien.classifiers.base import Classifier
from mien.descriptors.base import Described, grey_steps
from mien.descriptors.integral_projection import block_size, stlbp_ip
from mien.descriptors.parameters import Radius, StlbpIpOptions
from mien.parameters import Preset
from mien.preprocessing import Recipe, Step
from mien.preprocessing.parameters import GreyFaces, PresetName
from mien.systems.base import System
from mien.systems.texture import SHARED_DEPARTURES, TextureClassifier, texture_classifier


class StlbpIpParameters(TextureClassifier, StlbpIpOptions, GreyFaces):
    """Parameters of STLBP-IP."""

    preset: PresetName = "paper"
    radius: Radius = 3.0


PRESETS = {
    "paper": Preset("The settings of STRCN's tables II and III."),
    "small": Preset(
        "A quarter of the size and 3x3 blocks, to try things out.",
        {"size": (75, 61), "blocks": (3, 3), "trees": 100},
    ),
}


def from_frames(p: StlbpIpParameters) -> Recipe:
    """Return the way from frames to the vector."""
    step = Step("stlbp-ip", Described(stlbp_ip), p.model_dump(include=set(StlbpIpOptions.model_fields)))
    n = prod(p.blocks) * block_size(p.mask, p.neighbours, p.mapping)
    return Recipe((*grey_steps(p), step), "D", (n,), (0.0, 1.0))


def build(n_classes: int, p: StlbpIpParameters) -> Classifier:
    """Return an untrained classifier of STLBP-IP vectors."""
    return texture_classifier(n_classes, p, prod(p.blocks), p.classifier)


STLBP_IP = System(
    name="stlbp-ip",
    title="STLBP-IP",
    paper="Huang, Wang, Zhao, Pietikainen, ICCV Workshops 2015; settings of Xia et al., IEEE TMM 2020, section IV-B",
    summary="local binary patterns of integral projections of difference frames, polynomial SVM",
    departures=(
        "Projections are sums of signed differences, as in an independent implementation; `--set absolute=true` "
        "sums absolute values.",
        "The paper's grid of blocks is not known to us; here it is 5x5.",
        "The radius of the motion patterns is STRCN's 3; the independent implementation has 1.",
        *SHARED_DEPARTURES,
    ),
    recipes={"frames": from_frames},
    parameters=StlbpIpParameters,
    presets=PRESETS,
    build=build,
)
