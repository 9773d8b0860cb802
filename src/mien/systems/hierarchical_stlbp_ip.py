"""Hierarchical STLBP-IP: STLBP-IP over several grids, and kernelised group sparse learning.

Zong, Huang, Zheng, Cui, Zhao, "Learning from hierarchical spatiotemporal descriptors for micro-expression recognition",
IEEE TMM 2018; quoted in Table II of Xia et al., IEEE TMM 2020 (STRCN).

Face       as LBP-TOP.
Descriptor STLBP-IP over 1x1, 2x2, 4x4 and 8x8 blocks: 85 groups (`mien.descriptors.hierarchical_stlbp_ip`).
Classifier group sparse learning with a kernel for each group (`mien.classifiers.group_sparse`); `--set classifier=mkl`
           or `svm` for LBP-TOP's.

A reconstruction: the paper's formulation is known to us at second hand (docs/hierarchical-stlbp-ip.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mien.classifiers.base import Classifier
from mien.descriptors.base import Described, steps_to
from mien.descriptors.integral_projection import block_size, hierarchical_stlbp_ip
from mien.preprocessing import Recipe, Step
from mien.systems import lbp_top
from mien.systems.base import System, check_choices
from mien.systems.lbp_top import CLASSIFIER, FACE, SHARED_DEPARTURES
from mien.systems.stlbp_ip import PATTERNS as BLOCK_PATTERNS

PATTERNS: Mapping[str, Any] = {
    **{k: v for k, v in BLOCK_PATTERNS.items() if k != "blocks"},
    "radius": 1.0,
    "grids": [[1, 1], [2, 2], [4, 4], [8, 8]],
}
PAPER: Mapping[str, Any] = {
    **FACE,
    **PATTERNS,
    **CLASSIFIER,
    "classifier": "group_sparse",
    "kernel": "hellinger",
    "ridge": [0.1, 1.0, 10.0],
    "sparsity": [0.01, 0.1],
}
SMALL: Mapping[str, Any] = {"size": [75, 61], "grids": [[1, 1], [2, 2], [4, 4]], "ridge": [1.0, 10.0], "trees": 100}
CHOICES: Mapping[str, tuple[str, ...]] = {
    **lbp_top.CHOICES,
    "classifier": ("group_sparse", *lbp_top.CHOICES["classifier"]),
}


def from_frames(p: Mapping[str, Any]) -> Recipe:
    """From frames to the vector."""
    check_choices(p, CHOICES)
    step = Step("hierarchical-stlbp-ip", Described(hierarchical_stlbp_ip), {key: p[key] for key in PATTERNS})
    n = n_groups(p) * block_size(p["mask"], p["neighbours"], p["mapping"])
    return Recipe((*steps_to("grey", p), step), "D", (n,), (0.0, 1.0))


def n_groups(p: Mapping[str, Any]) -> int:
    """Blocks of all grids."""
    return sum(int(down) * int(across) for down, across in p["grids"])


def build(n_classes: int, parameters: Mapping[str, Any]) -> Classifier:
    """An untrained classifier of hierarchical STLBP-IP vectors."""
    check_choices(parameters, CHOICES)
    if parameters["classifier"] != "group_sparse":
        return lbp_top.classifier(n_classes, parameters, n_groups(parameters))
    from mien.classifiers.group_sparse import KernelGroupSparse

    keys = ("kernel", "gamma", "shift", "degree", "balanced", "inner_folds", "inner_repeats")
    return KernelGroupSparse(
        n_classes,
        **{key: parameters[key] for key in keys},
        parts=n_groups(parameters),
        ridges=tuple(parameters["ridge"]),
        sparsities=tuple(parameters["sparsity"]),
    )


HIERARCHICAL_STLBP_IP = System(
    name="hierarchical-stlbp-ip",
    title="Hierarchical STLBP-IP",
    paper="Zong, Huang, Zheng, Cui, Zhao, Learning from Hierarchical Spatiotemporal Descriptors for Micro-Expression "
    "Recognition, IEEE TMM 2018",
    summary="STLBP-IP over four grids, kernelised group sparse learning picks the blocks; a reconstruction",
    departures=(
        "A reconstruction: the grids and the form of the objective are recalled, not read. Kernel (Hellinger), the "
        "norm on the projections and both weights are choices of ours; the weights come from inner folds by subject.",
        SHARED_DEPARTURES[1],
        SHARED_DEPARTURES[2],
    ),
    recipes={"frames": from_frames},
    parameters={"preset": "paper", **PAPER},
    presets={"paper": PAPER, "small": SMALL},
    build=build,
)
