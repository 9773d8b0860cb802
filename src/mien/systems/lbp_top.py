"""LBP-TOP: local binary patterns on three orthogonal planes, and a support vector machine.

Descriptor Zhao, Pietikainen, PAMI 2007; first used for micro-expressions by Pfister, Li, Zhao, Pietikainen, ICCV 2011.
As run in Tables II and III of Xia et al., IEEE TMM 2020 (STRCN), section IV-B: R = 3, P = 8, and an SVM with the
polynomial kernel (0.22 a.b + 0)^2.

Face       300x245, aligned as in STRCN, not magnified, every frame of the clip.
Descriptor 59 uniform patterns for each plane of each block of a 5x5 grid (`mien.descriptors.lbp_top`).
Classifier `--set classifier=svm`; Pfister et al. also tried `mkl` (a kernel for each block) and `forest`.

What LBP-TOP's relatives share with it, they import from here.
"""

from __future__ import annotations

from math import prod

from mien.classifiers.base import Classifier
from mien.descriptors.base import Described, grey_steps
from mien.descriptors.lbp import lbp_top, n_bins
from mien.descriptors.parameters import TopOptions
from mien.parameters import Preset
from mien.preprocessing import Recipe, Step
from mien.preprocessing.parameters import GreyFaces, PresetName
from mien.systems.base import System
from mien.systems.texture import SHARED_DEPARTURES, TextureClassifier, texture_classifier


class LbpTopParameters(TextureClassifier, TopOptions, GreyFaces):
    """Parameters of LBP-TOP."""

    preset: PresetName = "paper"


PRESETS = {
    "paper": Preset("The settings of STRCN's tables II and III."),
    "small": Preset(
        "A quarter of the size and 3x3 blocks, to try things out.",
        {"size": (75, 61), "blocks": (3, 3, 1), "trees": 100},
    ),
}


def from_frames(p: LbpTopParameters) -> Recipe:
    """Return the way from frames to the vector."""
    step = Step("lbp-top", Described(lbp_top), p.model_dump(include=set(TopOptions.model_fields)))
    n = prod(p.blocks) * 3 * n_bins(p.neighbours, p.mapping)
    return Recipe((*grey_steps(p), step), "D", (n,), (0.0, 1.0))


def build(n_classes: int, p: LbpTopParameters) -> Classifier:
    """Return an untrained classifier of LBP-TOP vectors."""
    return texture_classifier(n_classes, p, prod(p.blocks), p.classifier)


LBP_TOP = System(
    name="lbp-top",
    title="LBP-TOP",
    paper="Zhao, Pietikainen, PAMI 2007; Pfister et al., ICCV 2011; settings of Xia et al., IEEE TMM 2020, IV-B",
    summary="local binary patterns on three orthogonal planes, polynomial SVM",
    departures=(
        "STRCN does not state its grid of blocks; here it is 5x5x1, as in the CASME II baseline.",
        *SHARED_DEPARTURES,
    ),
    recipes={"frames": from_frames},
    parameters=LbpTopParameters,
    presets=PRESETS,
    build=build,
)
