"""MDMO: main directional mean optical flow (Liu, Zhang, Yan, Wang, Zhao, Fu; IEEE TAC 2016).

Input      optical flow from the first frame to every other one; the head's motion is taken out by an affine map; in
           each of 36 regions the mean of the most frequent direction, averaged over all frames: 72 numbers.
Classifier support vector machine on lengths and angles, with a weight between the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mien.classifiers.base import Classifier
from mien.descriptors.mdmo import mdmo_of_clip, mirror_mdmo
from mien.preprocessing import Recipe, Step
from mien.systems.base import System

_CLIP = ("size", "landmarker", "flow", "bins", "align", "still")


def from_frames(p: Mapping[str, Any]) -> Recipe:
    """Landmarks, a wide crop of the face, flow through the clip, descriptor."""
    step = Step("mdmo", mdmo_of_clip, {key: p[key] for key in _CLIP})
    return Recipe((step,), "D", (72,), (-3.1416, 3.1416))


def build(n_classes: int, parameters: Mapping[str, Any]) -> Classifier:
    """An untrained machine."""
    from mien.classifiers.linear_svm import LinearSvm, weigh_halves

    return LinearSvm(
        n_classes,
        costs=tuple(parameters["C"]),
        weigh=weigh_halves,
        weights=tuple(parameters["weight"]),
        inner_folds=parameters["inner_folds"],
        inner_repeats=parameters["inner_repeats"],
        balanced=parameters["balanced"],
        mirror=mirror_mdmo if parameters["mirror"] else None,
    )


MDMO = System(
    name="mdmo",
    title="MDMO",
    paper="Liu et al., A main directional mean optical flow feature for spontaneous micro-expression recognition, IEEE "
    "Transactions on Affective Computing 7(4), 2016",
    summary="mean flow along the main direction of 36 face regions, over all frames; linear SVM",
    departures=(
        "The 36 regions are drawn anew from 68 landmarks; the paper draws them from 66.",
        "Flow is DIS (Kroeger et al. 2016) and not Robust Local Optical Flow; `--set flow=` takes another.",
        "Vectors shorter than a thousandth of a pixel have no direction and do not vote.",
        "The machine is linear; its cost and the weight between lengths and angles come from inner folds by subject. "
        "The paper gives the weight per database.",
    ),
    recipes={"frames": from_frames},
    parameters={
        "size": [288, 248],
        "landmarker": "mesh",
        "flow": "dis",
        "bins": 8,
        "align": True,
        "still": 1e-3,
        "C": [0.1, 1.0, 10.0, 100.0, 1000.0],
        "weight": [0.1, 0.3, 0.5, 0.7, 0.9],
        "inner_folds": 5,
        "inner_repeats": 3,
        "balanced": False,
        "mirror": False,
    },
    build=build,
)
