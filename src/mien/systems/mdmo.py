"""MDMO: main directional mean optical flow (Liu, Zhang, Yan, Wang, Zhao, Fu; IEEE TAC 2016).

Input      optical flow from the first frame to every other one; the head's motion is taken out by an affine map; in
           each of 36 regions the mean of the most frequent direction, averaged over all frames: 72 numbers.
Classifier support vector machine on lengths and angles, with a weight between the two.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.descriptors.mdmo import mdmo_of_clip, mirror_mdmo
from mien.descriptors.parameters import MdmoOptions
from mien.preprocessing import Recipe, Step
from mien.systems.base import System
from mien.systems.support_vectors import SupportVectors


class MdmoParameters(SupportVectors, MdmoOptions):
    """Parameters of MDMO."""

    weight: Annotated[
        tuple[Annotated[float, Field(ge=0, le=1)], ...],
        Field(
            min_length=1,
            max_length=1000,
            description="Weights of lengths against angles to try; one is chosen on inner folds by subject.",
        ),
    ] = (0.1, 0.3, 0.5, 0.7, 0.9)


def from_frames(p: MdmoParameters) -> Recipe:
    """Return the way from frames: landmarks, a wide crop of the face, flow through the clip, descriptor."""
    settings = {
        "size": p.size,
        "landmarker": p.landmarker,
        "flow": p.flow,
        "bins": p.bins,
        "align": p.align,
        "still": p.still,
    }
    return Recipe((Step("mdmo", mdmo_of_clip, settings),), "D", (72,), (-3.1416, 3.1416))


def build(n_classes: int, p: MdmoParameters) -> Classifier:
    """Return an untrained machine."""
    from mien.classifiers.linear_svm import LinearSvm, weigh_halves

    return LinearSvm(
        n_classes,
        costs=p.C,
        weigh=weigh_halves,
        weights=p.weight,
        inner_folds=p.inner_folds,
        inner_repeats=p.inner_repeats,
        balanced=p.balanced,
        mirror=mirror_mdmo if p.mirror else None,
    )


MDMO = System(
    name="mdmo",
    title="MDMO",
    paper="Liu et al., A main directional mean optical flow feature for spontaneous micro-expression recognition, IEEE "
    "Transactions on Affective Computing 7(4), 2016",
    summary="mean flow along the main direction of 36 face regions, over all frames; linear SVM",
    departures=(
        "The 36 regions are redefined from 68 landmarks; the paper defines them from 66.",
        "Flow is DIS (Kroeger et al. 2016) instead of Robust Local Optical Flow; `--set flow=` selects another method.",
        "Vectors shorter than a thousandth of a pixel are ignored when the main direction is chosen.",
        "The classifier is a linear SVM; its cost and the weight between lengths and angles are chosen on inner "
        "folds by subject. The paper states the weight for each database.",
    ),
    recipes={"frames": from_frames},
    parameters=MdmoParameters,
    build=build,
)
