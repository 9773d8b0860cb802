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

from collections.abc import Mapping
from typing import Any

from mien.classifiers.base import Classifier
from mien.descriptors.base import Described, steps_to
from mien.descriptors.lbp import lbp_top, n_bins
from mien.preprocessing import Recipe, Step
from mien.systems.base import System, check_choices

FACE: Mapping[str, Any] = {"face": "lwm", "size": [300, 245], "alpha": 0.0, "frames": 0, "time": "tim"}
"""How a clip is made into grey faces; see `mien.descriptors.base.steps_to`."""

CLASSIFIER: Mapping[str, Any] = {
    "classifier": "svm",
    "kernel": "poly",
    "gamma": 0.22,
    "shift": 0.0,
    "degree": 2,
    "C": [1.0, 10.0, 100.0, 1000.0, 10000.0],
    "width": [0.3, 1.0, 3.0],
    "norm": 1.5,
    "trees": 500,
    "balanced": True,
    "inner_folds": 5,
    "inner_repeats": 1,
}
PATTERNS: Mapping[str, Any] = {
    "radius": [3, 3, 3],
    "neighbours": 8,
    "blocks": [5, 5, 1],
    "overlap": 0.0,
    "mapping": "uniform",
    "interpolation": "bilinear",
}
PAPER: Mapping[str, Any] = {**FACE, **PATTERNS, **CLASSIFIER}
SMALL: Mapping[str, Any] = {"size": [75, 61], "blocks": [3, 3, 1], "trees": 100}

CHOICES: Mapping[str, tuple[str, ...]] = {
    "classifier": ("svm", "mkl", "forest"),
    "kernel": ("poly", "linear", "hellinger", "chi2"),
    "time": ("tim", "linear", "nearest", "cubic"),
    "mapping": ("uniform", "full"),
    "interpolation": ("bilinear", "nearest"),
}

SHARED_DEPARTURES = (
    "The paper prints neither C nor class weights: C is chosen on inner folds by subject, classes are weighted by the "
    "inverse of their frequency.",
    "The paper does not say which frames are described: all from onset to offset, not interpolated; "
    "`--set frames=10` brings clips to ten frames by temporal interpolation, as much of the field does.",
    "Faces are aligned but not magnified; `--set alpha=8` magnifies as STRCN does.",
)


def n_blocks(p: Mapping[str, Any]) -> int:
    """Blocks of a grid."""
    total = 1
    for n in p["blocks"]:
        total *= int(n)
    return total


def from_frames(p: Mapping[str, Any]) -> Recipe:
    """From frames to the vector."""
    check_choices(p, CHOICES)
    step = Step("lbp-top", Described(lbp_top), {key: p[key] for key in PATTERNS})
    n = n_blocks(p) * 3 * n_bins(p["neighbours"], p["mapping"])
    return Recipe((*steps_to("grey", p), step), "D", (n,), (0.0, 1.0))


def classifier(n_classes: int, p: Mapping[str, Any], parts: int) -> Classifier:
    """The classifier that the parameters name.

    Args:
        n_classes: Classes C.
        p: All parameters.
        parts: Equal parts of the vector that get a kernel each under "mkl".
    """
    from mien.classifiers.texture_svm import Forest, KernelSvm, MultipleKernels

    check_choices(p, CHOICES)
    if p["classifier"] == "forest":
        return Forest(n_classes, trees=p["trees"], balanced=p["balanced"])
    shared = {key: p[key] for key in ("kernel", "gamma", "shift", "degree", "balanced", "inner_folds", "inner_repeats")}
    if p["classifier"] == "mkl":
        return MultipleKernels(n_classes, **shared, costs=tuple(p["C"]), parts=parts, norm=p["norm"])
    return KernelSvm(n_classes, **shared, costs=tuple(p["C"]), widths=tuple(p["width"]))


def build(n_classes: int, parameters: Mapping[str, Any]) -> Classifier:
    """An untrained classifier of LBP-TOP vectors."""
    return classifier(n_classes, parameters, n_blocks(parameters))


LBP_TOP = System(
    name="lbp-top",
    title="LBP-TOP",
    paper="Zhao, Pietikainen, PAMI 2007; Pfister et al., ICCV 2011; settings of Xia et al., IEEE TMM 2020, IV-B",
    summary="local binary patterns on three orthogonal planes, polynomial SVM",
    departures=("STRCN does not print its grid of blocks: 5x5x1, that of the CASME II baseline.", *SHARED_DEPARTURES),
    recipes={"frames": from_frames},
    parameters={"preset": "paper", **PAPER},
    presets={"paper": PAPER, "small": SMALL},
    build=build,
)
