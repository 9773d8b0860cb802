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
    "The top edge of the crop lies 0.6 eye distances above the eyes, and its left edge 0.4 beside the left eye. "
    "With equation 1 as printed, the top edge would be at the height of the eyes.",
    "The paper states neither the reference face nor the number of neighbours for the alignment; here a neutral "
    "face and 12 neighbours are used.",
    "One local weighted mean transform is used for the whole clip, from its first frame. The paper aligns each "
    "frame, which adds the jitter of the landmarks to the motion: `--set per_frame=true`.",
    "The cut-offs [0.05, 0.4] Hz are read as the filter coefficients in the released code of the magnification "
    "method, which has the same numbers; a band below 0.4 Hz contains no micro-expression. `--set hertz=true` reads "
    "them as hertz.",
    "128 maps: the paper searches a grid and does not state the result; the released code has 512 (`--set "
    "maps=512`), with 16 times the arithmetic and weights.",
    "The balanced loss (equations 9 and 10) is weighted cross-entropy of a clip's own class, scaled to a mean weight "
    "of 1; the paper leaves the scale open. `--set loss=printed` adds -log(1 - p_c) of the other classes, as the label "
    "vector of equation 9 reads.",
    "Training stops when the mean loss of an epoch changes by less than 1e-3; an epoch is one traversal of all "
    "copies, after which the learning rate is multiplied by 0.8.",
    "Frames of the copies are removed at random for each clip and copy, except the first one; the released code "
    "removes one frame.",
)
"""What differs from the paper in the parts that STRCN-A and STRCN-G share, under `preset=paper`."""

OneVariant = Annotated[
    Variant, Field(description="Reading of the network: Table I of the paper, or the released code.")
]
Layers = Annotated[
    int,
    Field(
        ge=-1,
        le=4,
        description="Number of recurrent layers; -1 uses that of the variant: 4 in the paper, 3 in the code.",
    ),
]
Depth = Annotated[
    int,
    Field(
        ge=-1,
        le=4,
        description=(
            "Layers after the first convolution; those after the recurrent layers are plain 3x3 convolutions. -1: only "
            "recurrent layers."
        ),
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
