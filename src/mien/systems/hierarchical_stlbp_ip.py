"""Hierarchical STLBP-IP: STLBP-IP over several grids, and kernelised group sparse learning.

Zong, Huang, Zheng, Cui, Zhao, "Learning from hierarchical spatiotemporal descriptors for micro-expression recognition",
IEEE TMM 2018; quoted in Table II of Xia et al., IEEE TMM 2020 (STRCN).

Face       as LBP-TOP.
Descriptor STLBP-IP over 1x1, 2x2, 4x4 and 8x8 blocks: 85 groups (`mien.descriptors.hierarchical_stlbp_ip`).
Classifier group sparse learning with a kernel for each group (`mien.classifiers.group_sparse`); `--set classifier=mkl`
           or `svm` for LBP-TOP's.

A reconstruction: the paper's formulation is known to us at second hand (docs/methods/hierarchical-stlbp-ip.md).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.descriptors.base import Described, grey_steps
from mien.descriptors.integral_projection import block_size, hierarchical_stlbp_ip
from mien.descriptors.parameters import HierarchicalOptions
from mien.parameters import OnlyIf, Preset
from mien.preprocessing import Recipe, Step
from mien.preprocessing.parameters import GreyFaces, PresetName
from mien.systems.base import System
from mien.systems.support_vectors import Positive
from mien.systems.texture import SHARED_DEPARTURES, KernelName, TextureMachines, kernel_settings, texture_classifier

GROUP_SPARSE = OnlyIf(classifier="group_sparse")


class HierarchicalStlbpIpParameters(TextureMachines, HierarchicalOptions, GreyFaces):
    """Parameters of hierarchical STLBP-IP."""

    preset: PresetName = "paper"
    classifier: Annotated[
        Literal["group_sparse", "svm", "mkl", "forest"],
        Field(description="Group sparse learning, or one of LBP-TOP's: svm, mkl, random forest."),
    ] = "group_sparse"
    kernel: KernelName = "hellinger"
    ridge: Annotated[
        tuple[Positive, ...],
        Field(
            min_length=1,
            max_length=1000,
            description="Weights of the ridge to try; one is chosen on inner folds by subject.",
        ),
        GROUP_SPARSE,
    ] = (0.1, 1.0, 10.0)
    sparsity: Annotated[
        tuple[Annotated[float, Field(ge=0, le=1e9)], ...],
        Field(
            min_length=1,
            max_length=1000,
            description="Weights of the sparsity over blocks to try; one is chosen on inner folds by subject.",
        ),
        GROUP_SPARSE,
    ] = (0.01, 0.1)


PRESETS = {
    "paper": Preset("Four grids of 85 blocks, as far as the paper is known."),
    "small": Preset(
        "A quarter of the size and three grids, to try things out.",
        {"size": (75, 61), "grids": ((1, 1), (2, 2), (4, 4)), "ridge": (1.0, 10.0), "trees": 100},
    ),
}


def from_frames(p: HierarchicalStlbpIpParameters) -> Recipe:
    """Return the way from frames to the vector."""
    settings = p.model_dump(include=set(HierarchicalOptions.model_fields))
    step = Step("hierarchical-stlbp-ip", Described(hierarchical_stlbp_ip), settings)
    n = n_groups(p) * block_size(p.mask, p.neighbours, p.mapping)
    return Recipe((*grey_steps(p), step), "D", (n,), (0.0, 1.0))


def n_groups(p: HierarchicalOptions) -> int:
    """Return the number of blocks of all grids."""
    return sum(down * across for down, across in p.grids)


def build(n_classes: int, p: HierarchicalStlbpIpParameters) -> Classifier:
    """Return an untrained classifier of hierarchical STLBP-IP vectors."""
    if p.classifier != "group_sparse":
        return texture_classifier(n_classes, p, n_groups(p), p.classifier)
    from mien.classifiers.group_sparse import KernelGroupSparse

    return KernelGroupSparse(n_classes, **kernel_settings(p), parts=n_groups(p), ridges=p.ridge, sparsities=p.sparsity)


HIERARCHICAL_STLBP_IP = System(
    name="hierarchical-stlbp-ip",
    title="Hierarchical STLBP-IP",
    paper="Zong, Huang, Zheng, Cui, Zhao, Learning from Hierarchical Spatiotemporal Descriptors for Micro-Expression "
    "Recognition, IEEE TMM 2018",
    summary="STLBP-IP over four grids, kernelised group sparse learning picks the blocks; a reconstruction",
    departures=(
        "A reconstruction: the grids and the form of the objective are from memory. The kernel (Hellinger), the "
        "norm on the projections and both penalty weights are ours; the weights are chosen on inner folds by "
        "subject.",
        SHARED_DEPARTURES[1],
        SHARED_DEPARTURES[2],
    ),
    recipes={"frames": from_frames},
    parameters=HierarchicalStlbpIpParameters,
    presets=PRESETS,
    build=build,
)
