"""Bi-WOOF: bi-weighted oriented optical flow at the apex (Liong, See, Wong, Phan; SPIC 2018, arXiv 1606.01721).

Input      optical flow from onset to apex; in each block a histogram of its directions, each vector counting its
           length; each histogram times the block's strain; all of unit length (section 3.2).
Classifier linear support vector machine (section 4).

`--set preset=strcn`, the default on frames, is the baseline of STRCN's tables II and III: 8x8 blocks, the flow of
STRCN-G on magnified clips, and the machine of its LBP rows, (0.22 a.b)^2. `preset=authors` is the paper's own: 5x5
blocks, TV-L1, clips as they are, a linear machine. `preset=pictures`, the default on ready flow pictures, has 8x8
blocks and a linear machine.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.descriptors.base import Described, flow_steps
from mien.descriptors.bi_woof import bi_woof, mirror_bi_woof, picture_bi_woof
from mien.descriptors.parameters import BiWoofOptions
from mien.parameters import OnlyIf, Preset
from mien.preprocessing import CENTRED_FLOW_PICTURE, Recipe, Step
from mien.preprocessing.parameters import Alpha, Apex, ApexFlow, Exaggeration, Flow, PresetName
from mien.systems.base import System
from mien.systems.schedule import Mirror
from mien.systems.support_vectors import Balanced, Costs, Degree, Gamma, KernelShift, SupportVectors

POLYNOMIAL = OnlyIf(kernel="poly")


class BiWoofParameters(SupportVectors, BiWoofOptions, ApexFlow):
    """Parameters of Bi-WOOF."""

    preset: PresetName = "strcn"
    alpha: Alpha = 8.0
    apex: Apex = "found"
    flow: Flow = "classic_nl_published"
    exaggeration: Exaggeration = 1.0
    kernel: Annotated[
        Literal["poly", "linear"], Field(description="Kernel of the machine: (gamma a.b + shift)^degree, or a.b.")
    ] = "poly"
    gamma: Annotated[Gamma, POLYNOMIAL] = 0.22
    shift: Annotated[KernelShift, POLYNOMIAL] = 0.0
    degree: Annotated[Degree, POLYNOMIAL] = 2
    C: Costs = (1.0, 10.0, 100.0, 1000.0, 10000.0)
    balanced: Balanced = True
    mirror: Annotated[Mirror, OnlyIf(kernel="linear")] = False


LINEAR = {"kernel": "linear", "C": (0.1, 1.0, 10.0, 100.0, 1000.0), "balanced": False}

PRESETS = {
    "strcn": Preset(
        "The baseline of STRCN's tables II and III: 8x8 blocks, magnified clips, the flow of STRCN-G, the machine of "
        "its LBP rows."
    ),
    "pictures": Preset("Ready flow pictures: 8x8 blocks and a linear machine.", {**LINEAR, "exaggeration": 2.0}),
    "authors": Preset(
        "The paper's own: 5x5 blocks, TV-L1 flow, clips as they are.",
        {"alpha": 0.0, "apex": "given", "flow": "tvl1", "blocks": (5, 5), **LINEAR},
    ),
    "small": Preset("Half the size and a fast flow, to try things out.", {"size": (150, 122), "flow": "dis"}),
}


def _settings(p: BiWoofOptions) -> dict[str, Any]:
    return {"blocks": p.blocks, "bins": p.bins, "local": p.local, "whole": p.whole}


def _recipe(steps: tuple[Step, ...], p: BiWoofOptions) -> Recipe:
    return Recipe(steps, "D", (p.blocks[0] * p.blocks[1] * p.bins,), (0.0, 1.0))


def from_frames(p: BiWoofParameters) -> Recipe:
    """Return the way from frames: face, magnification, apex, flow, descriptor."""
    return _recipe((*flow_steps(p, p.exaggeration), Step("bi_woof", Described(bi_woof), _settings(p))), p)


def from_flow(p: BiWoofParameters) -> Recipe:
    """Return the descriptor of a ready flow picture about zero motion."""
    return _recipe((*CENTRED_FLOW_PICTURE.steps, Step("picture_bi_woof", picture_bi_woof, _settings(p))), p)


def build(n_classes: int, p: BiWoofParameters) -> Classifier:
    """Return an untrained machine."""
    from mien.classifiers.linear_svm import LinearSvm
    from mien.classifiers.texture_svm import KernelSvm

    if p.kernel == "poly":
        return KernelSvm(
            n_classes,
            kernel="poly",
            gamma=p.gamma,
            shift=p.shift,
            degree=p.degree,
            costs=p.C,
            inner_folds=p.inner_folds,
            inner_repeats=p.inner_repeats,
            balanced=p.balanced,
        )
    return LinearSvm(
        n_classes,
        costs=p.C,
        inner_folds=p.inner_folds,
        inner_repeats=p.inner_repeats,
        balanced=p.balanced,
        mirror=partial(mirror_bi_woof, blocks=p.blocks, bins=p.bins) if p.mirror else None,
    )


BI_WOOF = System(
    name="bi-woof",
    title="Bi-WOOF",
    paper="Liong et al., Less is more: micro-expression recognition from video using apex frame, Signal Processing: "
    "Image Communication 62, 2018; settings of Xia et al., IEEE TMM 2020, section IV",
    summary="block histograms of flow direction, weighted by magnitude and strain; support vector machine",
    departures=(
        "Blocks do not overlap, and the strain of a block is its mean; in the authors' code, neighbouring blocks "
        "share a line of pixels, and strain is summed. With blocks of one size, the last normalisation makes mean "
        "and sum equal.",
        "The cost of the support vector machine is chosen on inner folds by subject; the authors state one number. "
        "`preset=strcn` weights classes by their inverse frequency, like the LBP methods here; STRCN states "
        "neither.",
        "`preset=strcn`: STRCN does not state whether these clips were magnified. We use the flow of STRCN-G, of "
        "magnified clips; `--set alpha=0` turns magnification off.",
        "Without an annotated apex, the frame that differs most from the onset is used; the authors use D&C-RoIs.",
        "Ready flow pictures: u and v are scaled separately, so directions are those of the scaled flow, and the "
        "median is taken as zero motion. On 28x28 pixels, a block has 9 to 16 pixels.",
    ),
    recipes={"flow": from_flow, "frames": from_frames},
    parameters=BiWoofParameters,
    presets=PRESETS,
    default_presets={"flow": "pictures"},
    build=build,
)
