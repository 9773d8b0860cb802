"""What the systems with STRCN's recurrent convolutional network share: its parameters and its paper."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from mien.parameters import OnlyIf, Parameters
from mien.systems.schedule import Maps

Variant = Literal["paper", "authors-code"]

PAPER = (
    "Xia et al., Spatiotemporal Recurrent Convolutional Networks for Recognizing Spontaneous Micro-expressions, "
    "IEEE TMM 2020, sections III-C to III-E, Table I"
)

PLACED = OnlyIf(medium="frames", face=("lwm", "crop"))
"""Of parameters that say how a face is brought into place."""

PAPER_DEPARTURES = (
    "Landmarks come from a face mesh (68 of its points) instead of the eye detector [50] and the active shape model "
    "[28], which are not public.",
    "The crop's top edge lies 0.6 eye distances above the eyes and its left edge 0.4 beside the left eye. As equation "
    "1 is printed, level eyes put the top edge at the eyes.",
    "The paper names no reference face and no number of neighbours for the alignment: a neutral face, 12 neighbours.",
    "One LWM transform for the clip, from its first frame; the paper aligns frame by frame, which adds the landmarks' "
    "jitter to the motion: `--set per_frame=true`.",
    "The cut-offs [0.05, 0.4] Hz are read as the filter coefficients of the magnification's released code, where the "
    "same digits stand; a band below 0.4 Hz holds no micro-expression. `--set hertz=true` reads them as hertz.",
    "128 maps: the paper searches a grid and does not print the value; the released code has 512 (`--set maps=512`), "
    "with 16 times the arithmetic and weights.",
    "The balanced loss (equations 9 and 10) is weighted cross-entropy of a clip's own class, scaled to a mean weight "
    "of 1; the paper leaves the scale open. `--set loss=printed` adds -log(1 - p_c) of the other classes, as the label "
    "vector of equation 9 reads.",
    "The stop at a change below 1e-3 is one of the mean loss of an epoch; an epoch is one traversal of all copies, "
    "after which the rate is multiplied by 0.8.",
    "Frames of the copies are removed by a draw for each clip and copy, the first frame never; the released code "
    "removes one frame.",
)
"""What differs from the paper in the parts that STRCN-A and STRCN-G share, under `preset=paper`."""

OneVariant = Annotated[
    Variant, Field(description="Which reading of the network: Table I of the paper, or the released code.")
]
Layers = Annotated[
    int,
    Field(ge=-1, le=4, description="Recurrent layers; -1 takes those of the variant: 4 in the paper, 3 in the code."),
]
Depth = Annotated[
    int,
    Field(
        ge=-1,
        le=4,
        description="Layers behind the first convolution, plain 3x3 convolutions after the recurrent ones; -1 has only "
        "recurrent layers.",
    ),
]
Tied = Annotated[
    Literal["variant", "yes", "no"],
    Field(description="Whether the steps of a recurrent layer share one kernel; variant takes the variant's own."),
]


class RecurrentNetwork(Parameters):
    """The shape of a recurrent convolutional network."""

    maps: Maps = 16
    layers: Layers = -1
    depth: Depth = -1
    tied: Tied = "variant"


def network(p: RecurrentNetwork, variant: Variant) -> dict[str, Any]:
    """Return the arguments of `RCN` that STRCN's systems share."""
    return {
        "maps": p.maps,
        "layers": None if p.layers < 0 else p.layers,
        "depth": None if p.depth < 0 else p.depth,
        "variant": variant,
        "tied": {"variant": None, "yes": True, "no": False}[p.tied],
    }
