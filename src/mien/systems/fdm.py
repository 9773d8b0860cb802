"""FDM: facial dynamics map (Xu, Zhang, Wang; IEEE TAC 2017).

Input      optical flow from each frame to the next; each field shifted so that the most pixels are at rest; the clip
           cut into cuboids of time, rows and columns; the principal flow direction of each.
Classifier support vector machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import prod
from typing import Any

from mien.classifiers.base import Classifier
from mien.descriptors.base import Described, steps_to
from mien.descriptors.fdm import fdm, mirror_fdm
from mien.preprocessing import Recipe, Step
from mien.systems.base import System


def from_frames(p: Mapping[str, Any]) -> Recipe:
    """Face, flow from frame to frame, map."""
    settings = {key: p[key] for key in ("cuboids", "align", "tolerance", "amplitude", "still")}
    most = float("inf") if p["amplitude"] else 1.0
    return Recipe(
        (*steps_to("flows", p), Step("fdm", Described(fdm), settings)), "D", (2 * prod(p["cuboids"]),), (-most, most)
    )


def build(n_classes: int, parameters: Mapping[str, Any]) -> Classifier:
    """An untrained machine."""
    from mien.classifiers.linear_svm import LinearSvm

    return LinearSvm(
        n_classes,
        costs=tuple(parameters["C"]),
        inner_folds=parameters["inner_folds"],
        inner_repeats=parameters["inner_repeats"],
        balanced=parameters["balanced"],
        mirror=partial(mirror_fdm, cuboids=parameters["cuboids"]) if parameters["mirror"] else None,
    )


FDM = System(
    name="fdm",
    title="FDM",
    paper="Xu, Zhang and Wang, Microexpression identification and categorization using a facial dynamics map, IEEE "
    "Transactions on Affective Computing 8(2), 2017",
    summary="principal flow direction of every cuboid of the clip; linear SVM",
    departures=(
        "Written from the abstract and from what later papers report (docs/fdm.md): sizes of the cuboids, the rule of "
        "the alignment and the machine are ours.",
        "The cuboids are shares of the clip, so that clips of any length give vectors of one length.",
        "Faces are aligned as all of this library's; the flow is DIS.",
    ),
    recipes={"frames": from_frames},
    parameters={
        "face": "lwm",
        "size": [150, 122],
        "alpha": 0.0,
        "flow": "dis",
        "against": "previous",
        "cuboids": [4, 8, 8],
        "align": True,
        "tolerance": 0.05,
        "amplitude": False,
        "still": 1e-3,
        "C": [0.1, 1.0, 10.0, 100.0, 1000.0],
        "inner_folds": 5,
        "inner_repeats": 3,
        "balanced": False,
        "mirror": False,
    },
    build=build,
)
