"""What the systems with STRCN's recurrent convolutional network share: its parameters and its paper."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from mien.parameters import Parameters
from mien.systems.schedule import Maps

Variant = Literal["paper", "authors-code"]

PAPER = (
    "Xia et al., Spatiotemporal Recurrent Convolutional Networks for Recognizing Spontaneous Micro-expressions, "
    "IEEE TMM 2020, sections III-C to III-E, Table I"
)

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
