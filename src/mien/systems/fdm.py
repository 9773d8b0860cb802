"""FDM: facial dynamics map (Xu, Zhang, Wang; IEEE TAC 2017).

Input      optical flow from each frame to the next; each field shifted so that the most pixels are at rest; the clip
           cut into cuboids of time, rows and columns; the principal flow direction of each.
Classifier support vector machine.
"""

from __future__ import annotations

from functools import partial
from math import prod

from mien.classifiers.base import Classifier
from mien.descriptors.base import Described, flows_steps
from mien.descriptors.fdm import fdm, mirror_fdm
from mien.descriptors.parameters import FdmOptions
from mien.preprocessing import Recipe, Step
from mien.preprocessing.parameters import ClipFlows
from mien.systems.base import System
from mien.systems.support_vectors import SupportVectors


class FdmParameters(SupportVectors, FdmOptions, ClipFlows):
    """Parameters of FDM."""


def from_frames(p: FdmParameters) -> Recipe:
    """Return the way from frames: face, flow from frame to frame, map."""
    settings = {
        "cuboids": p.cuboids,
        "align": p.align,
        "tolerance": p.tolerance,
        "amplitude": p.amplitude,
        "still": p.still,
    }
    most = float("inf") if p.amplitude else 1.0
    return Recipe((*flows_steps(p), Step("fdm", Described(fdm), settings)), "D", (2 * prod(p.cuboids),), (-most, most))


def build(n_classes: int, p: FdmParameters) -> Classifier:
    """Return an untrained machine."""
    from mien.classifiers.linear_svm import LinearSvm

    return LinearSvm(
        n_classes,
        costs=p.C,
        inner_folds=p.inner_folds,
        inner_repeats=p.inner_repeats,
        balanced=p.balanced,
        mirror=partial(mirror_fdm, cuboids=p.cuboids) if p.mirror else None,
    )


FDM = System(
    name="fdm",
    title="FDM",
    paper="Xu, Zhang and Wang, Microexpression identification and categorization using a facial dynamics map, IEEE "
    "Transactions on Affective Computing 8(2), 2017",
    summary="principal flow direction of every cuboid of the clip; linear SVM",
    departures=(
        "Written from the abstract and from what later papers report (docs/methods/fdm.md): the sizes of the "
        "cuboids, the rule of the alignment and the classifier are ours.",
        "The cuboids are fractions of the clip, so that clips of any length give vectors of the same length.",
        "Faces are aligned as in the other systems of this library; the flow is DIS.",
    ),
    recipes={"frames": from_frames},
    parameters=FdmParameters,
    build=build,
)
