"""Bi-WOOF: bi-weighted oriented optical flow at the apex (Liong, See, Wong, Phan; SPIC 2018, arXiv 1606.01721).

Input      optical flow from onset to apex; in each block a histogram of its directions, each vector counting its
           length; each histogram times the block's strain; all of unit length (section 3.2).
Classifier linear support vector machine (section 4).

`--set preset=strcn`, the default, is the baseline of STRCN's tables II and III: 8x8 blocks and the flow of STRCN-G, on
magnified clips. `preset=authors` is the paper's own: 5x5 blocks, TV-L1, clips as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from mien.classifiers.base import Classifier
from mien.descriptors.base import Described, steps_to
from mien.descriptors.bi_woof import bi_woof, mirror_bi_woof, picture_bi_woof
from mien.preprocessing import CENTRED_FLOW_PICTURE, Recipe, Step
from mien.systems.base import System

STRCN: Mapping[str, Any] = {
    "face": "lwm",
    "size": [300, 245],
    "alpha": 8.0,
    "apex": "found",
    "flow": "classic_nl_published",
    "blocks": [8, 8],
    "bins": 8,
    "local": True,
    "whole": True,
    "C": [0.1, 1.0, 10.0, 100.0, 1000.0],
    "inner_folds": 5,
    "inner_repeats": 3,
    "balanced": False,
    "mirror": False,
}
AUTHORS: Mapping[str, Any] = {"alpha": 0.0, "apex": "given", "flow": "tvl1", "blocks": [5, 5]}
SMALL: Mapping[str, Any] = {"size": [150, 122], "flow": "dis"}


def _settings(p: Mapping[str, Any]) -> dict[str, Any]:
    return {key: p[key] for key in ("blocks", "bins", "local", "whole")}


def _recipe(steps: tuple[Step, ...], p: Mapping[str, Any]) -> Recipe:
    return Recipe(steps, "D", (p["blocks"][0] * p["blocks"][1] * p["bins"],), (0.0, 1.0))


def from_frames(p: Mapping[str, Any]) -> Recipe:
    """Face, magnification, apex, flow, descriptor."""
    return _recipe((*steps_to("flow", p), Step("bi_woof", Described(bi_woof), _settings(p))), p)


def from_flow(p: Mapping[str, Any]) -> Recipe:
    """The descriptor of a ready flow picture about zero motion."""
    return _recipe((*CENTRED_FLOW_PICTURE.steps, Step("picture_bi_woof", picture_bi_woof, _settings(p))), p)


def build(n_classes: int, parameters: Mapping[str, Any]) -> Classifier:
    """An untrained machine."""
    from mien.classifiers.linear_svm import LinearSvm

    mirrored = partial(mirror_bi_woof, blocks=parameters["blocks"], bins=parameters["bins"])
    return LinearSvm(
        n_classes,
        costs=tuple(parameters["C"]),
        inner_folds=parameters["inner_folds"],
        inner_repeats=parameters["inner_repeats"],
        balanced=parameters["balanced"],
        mirror=mirrored if parameters["mirror"] else None,
    )


BI_WOOF = System(
    name="bi-woof",
    title="Bi-WOOF",
    paper="Liong et al., Less is more: micro-expression recognition from video using apex frame, Signal Processing: "
    "Image Communication 62, 2018; settings of Xia et al., IEEE TMM 2020, section IV",
    summary="block histograms of flow direction, weighted by magnitude and strain; linear SVM",
    departures=(
        "Blocks do not overlap, and a block's strain is its mean; the authors' code lets blocks share a line of pixels "
        "and sums. With blocks of one size the last normalisation makes mean and sum the same.",
        "The cost of the machine comes from inner folds by subject; the authors give one number.",
        "An apex that is not annotated is the frame that differs most from the onset; the authors use D&C-RoIs.",
        "Ready flow pictures: u and v are stretched one by one, so that directions are those of the stretched flow; "
        "the median is taken as zero motion. On 28x28 pixels a block has 9 to 16 of them.",
    ),
    recipes={"flow": from_flow, "frames": from_frames},
    parameters={"preset": "strcn", **STRCN},
    presets={"strcn": STRCN, "authors": AUTHORS, "small": SMALL},
    build=build,
)
