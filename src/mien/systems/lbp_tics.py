"""LBP-TICS: LBP-TOP in tensor independent colour space, and a support vector machine.

Wang, Yan, Li, Zhao, Zhou, Fu, Yang, Tao, "Micro-expression recognition using color spaces", TIP 2015 (and ICPR 2014).
As run in Tables II and III of Xia et al., IEEE TMM 2020 (STRCN): R = 3, P = 8, polynomial SVM.

Face       colour, 150x122, aligned as in STRCN, 30 frames.
Space      3x3 transform with channels as independent as possible, learned from the training clips of each fold.
Descriptor LBP-TOP of the three channels (`mien.descriptors.lbp_tics`).
Classifier as LBP-TOP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mien.classifiers.base import Classifier
from mien.descriptors.base import steps_to
from mien.errors import MienError
from mien.preprocessing import Context, Recipe, Step
from mien.preprocessing.base import Array
from mien.systems.base import System, check_choices
from mien.systems.lbp_top import CHOICES, CLASSIFIER, FACE, PATTERNS, SHARED_DEPARTURES, classifier, n_blocks

PAPER: Mapping[str, Any] = {
    **FACE,
    "size": [150, 122],
    "frames": 30,
    "time": "linear",
    **PATTERNS,
    "pixels": 30_000,
    **CLASSIFIER,
}
SMALL: Mapping[str, Any] = {"size": [75, 61], "frames": 12, "blocks": [3, 3, 1], "trees": 100}


def to_bytes(frames: Array, context: Context) -> Array:
    """Step: levels rounded to bytes; colour clips are kept whole, so their size counts."""
    return np.clip(np.round(frames), 0, 255).astype(np.uint8)


def from_frames(p: Mapping[str, Any]) -> Recipe:
    """From frames to a small colour clip; what comes after is learned."""
    check_choices(p, CHOICES)
    if p["frames"] < 2:
        raise MienError(
            f"frames is {p['frames']}.",
            "one length for all clips, from 2: they are described in `fit`.",
            "`--set frames=30`.",
        )
    shape = (p["frames"], *p["size"], 3)
    return Recipe((*steps_to("colour", p), Step("to_bytes", to_bytes)), "THWC", shape, (0, 255), "uint8")


def build(n_classes: int, parameters: Mapping[str, Any]) -> Classifier:
    """An untrained classifier of colour clips."""
    from mien.classifiers.colour_texture import ColourTexture

    p = parameters
    check_choices(p, CHOICES)
    return ColourTexture(
        lambda: classifier(n_classes, p, 3 * n_blocks(p)), {key: p[key] for key in PATTERNS}, pixels=p["pixels"]
    )


LBP_TICS = System(
    name="lbp-tics",
    title="LBP-TICS",
    paper="Wang et al., Micro-Expression Recognition Using Color Spaces, IEEE TIP 2015; settings of Xia et al., IEEE "
    "TMM 2020, section IV-B",
    summary="LBP-TOP of the channels of a colour space learned to be independent, polynomial SVM",
    departures=(
        "The paper's optimiser over the colour mode of a tensor is not known to us: FastICA on the colours of 30,000 "
        "pixels of the training clips stands for it.",
        "The transform is learned from the training clips of each fold.",
        "Blocks of LBP-TOP's grid instead of regions drawn around action units.",
        "Clips are 150x122 and brought to 30 frames, so that one array holds them.",
        "Needs colour: SAMM is grey and is refused, though STRCN prints a figure for it.",
        SHARED_DEPARTURES[0],
        SHARED_DEPARTURES[2],
    ),
    recipes={"frames": from_frames},
    parameters={"preset": "paper", **PAPER},
    presets={"paper": PAPER, "small": SMALL},
    build=build,
)
