"""LBP-TICS: LBP-TOP in tensor independent colour space, and a support vector machine.

Wang, Yan, Li, Zhao, Zhou, Fu, Yang, Tao, "Micro-expression recognition using color spaces", TIP 2015 (and ICPR 2014).
As run in Tables II and III of Xia et al., IEEE TMM 2020 (STRCN): R = 3, P = 8, polynomial SVM.

Face       colour, 150x122, aligned as in STRCN, 30 frames.
Space      3x3 transform with channels as independent as possible, learned from the training clips of each fold.
Descriptor LBP-TOP of the three channels (`mien.descriptors.lbp_tics`).
Classifier as LBP-TOP.
"""

from __future__ import annotations

from math import prod
from typing import Annotated

import numpy as np
from pydantic import Field

from mien.classifiers.base import Classifier
from mien.descriptors.base import colour_steps
from mien.descriptors.parameters import TopOptions
from mien.parameters import Preset, unit
from mien.preprocessing import Context, Recipe, Step
from mien.preprocessing.base import Array
from mien.preprocessing.parameters import FRAMES, ColourFaces, PresetName, Size
from mien.systems.base import System
from mien.systems.texture import SHARED_DEPARTURES, TextureClassifier, texture_classifier


class LbpTicsParameters(TextureClassifier, TopOptions, ColourFaces):
    """Parameters of LBP-TICS."""

    preset: PresetName = "paper"
    size: Size = (150, 122)
    frames: Annotated[
        int,
        Field(
            ge=2,
            le=10_000,
            description=(
                "Number of frames to which clips are resampled; all need the same length, as they are described in "
                "`fit`."
            ),
            json_schema_extra=unit("frames"),
        ),
        FRAMES,
    ] = 30
    pixels: Annotated[
        int,
        Field(
            ge=10,
            le=100_000_000,
            description="Pixels of the training clips from whose colours the space is learned.",
            json_schema_extra=unit("pixels"),
        ),
    ] = 30_000


PRESETS = {
    "paper": Preset("The settings of STRCN's tables II and III."),
    "small": Preset(
        "Half the size, 12 frames and 3x3 blocks, to try things out.",
        {"size": (75, 61), "frames": 12, "blocks": (3, 3, 1), "trees": 100},
    ),
}


def to_bytes(frames: Array, context: Context) -> Array:
    """Step: levels rounded to bytes; colour clips are kept whole, so their size counts."""
    return np.clip(np.round(frames), 0, 255).astype(np.uint8)


def from_frames(p: LbpTicsParameters) -> Recipe:
    """Return the way from frames to a small colour clip; what comes after is learned."""
    shape = (p.frames, *p.size, 3)
    return Recipe((*colour_steps(p), Step("to_bytes", to_bytes)), "THWC", shape, (0, 255), "uint8")


def build(n_classes: int, p: LbpTicsParameters) -> Classifier:
    """Return an untrained classifier of colour clips."""
    from mien.classifiers.colour_texture import ColourTexture

    return ColourTexture(
        lambda: texture_classifier(n_classes, p, 3 * prod(p.blocks), p.classifier),
        p.model_dump(include=set(TopOptions.model_fields)),
        pixels=p.pixels,
    )


LBP_TICS = System(
    name="lbp-tics",
    title="LBP-TICS",
    paper="Wang et al., Micro-Expression Recognition Using Color Spaces, IEEE TIP 2015; settings of Xia et al., IEEE "
    "TMM 2020, section IV-B",
    summary="LBP-TOP of the channels of a colour space learned to be independent, polynomial SVM",
    departures=(
        "The paper's optimiser over the colour mode of a tensor is not known to us; FastICA on the colours of "
        "30,000 pixels of the training clips is used instead.",
        "The transform is learned from the training clips of each fold.",
        "Blocks are those of LBP-TOP's grid instead of regions around action units.",
        "Clips are 150x122 pixels and interpolated to 30 frames, so that one array can hold them.",
        "The method needs colour: SAMM is greyscale and is refused, although STRCN reports a score for it.",
        SHARED_DEPARTURES[0],
        SHARED_DEPARTURES[2],
    ),
    recipes={"frames": from_frames},
    parameters=LbpTicsParameters,
    presets=PRESETS,
    build=build,
)
