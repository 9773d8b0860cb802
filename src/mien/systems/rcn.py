"""RCN-A and its kin: recurrent convolutions with parameter-free parts (Xia, Peng, Khor, Feng, Zhao; IEEE TIP 2020).

Input    flow from onset to apex as a colour picture, 60x60, 0..1.
Network  a stem, one recurrent block whose 3x3 convolution is shared by all its steps, average pooling to a few bins,
         one linear layer; 51,139 weights with 64 maps and 5x5 bins (`mien.models.parameter_free_rcn`).
         Parameter-free parts: attention read from the linear layer (A), dense sums (S), a wide stem of dilated
         convolutions (W); found by search: P, C, F.
Training stochastic gradient descent, momentum 0.9, 5e-4, batches of 64, 100 epochs, cross-entropy; the last epoch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.parameters import OnlyIf, Preset, unit
from mien.preprocessing import Recipe
from mien.preprocessing.flow_channels import flow_at, ready_flow
from mien.preprocessing.parameters import PresetName
from mien.systems.base import System
from mien.systems.flow_networks import FlowNetwork, network
from mien.systems.schedule import BatchSize, Dropout, Epochs, LearningRate


class RcnParameters(FlowNetwork):
    """Parameters of the family of RCN-A."""

    preset: PresetName = "paper"
    variant: Annotated[
        Literal["a", "s", "w", "p", "c", "f"],
        Field(
            description=(
                "Variant of the network: a attention, s dense sums, w wide stem; p, c and f were found by search."
            )
        ),
    ] = "a"
    maps: Annotated[int, Field(ge=4, le=4096, description="Feature maps: how wide the network is.")] = 64
    size: Annotated[
        Literal[28, 60], Field(description="Side of the flow picture.", json_schema_extra=unit("pixels"))
    ] = 60
    side: Annotated[
        int,
        Field(
            ge=1,
            le=64,
            description="Side of the pooled features before the linear layer.",
            json_schema_extra=unit("bins"),
        ),
    ] = 7
    third_branch: Annotated[
        bool,
        Field(description="Use the third branch of the stem; the released code uses the second one twice."),
        OnlyIf(variant="f"),
    ] = True
    dropout: Dropout = 0.5
    loss: Annotated[
        Literal["cross_entropy", "balanced", "focal"],
        Field(description="Loss: cross-entropy, balanced by the class shares of each batch, or focal."),
    ] = "cross_entropy"
    epochs: Epochs = 100
    batch_size: BatchSize = 64
    lr: LearningRate = 5e-4


PRESETS = {
    "paper": Preset("60x60, 64 maps and 7x7 bins: the defaults of the released code."),
    "pictures": Preset("The pictures at their own 28x28, with 5x5 bins; a fifth of the work.", {"size": 28, "side": 5}),
    "meb": Preset(
        "The schedule of the benchmark MEB: 1e-4, weight decay 5e-4, batches of 32, 500 epochs, 5x5 bins.",
        {"side": 5, "lr": 1e-4, "weight_decay": 5e-4, "batch_size": 32, "epochs": 500},
    ),
}


def build(n_classes: int, p: RcnParameters) -> Classifier:
    """Return an untrained network."""
    from mien.models.parameter_free_rcn import ParameterFreeRCN

    return network(
        p,
        lambda _: ParameterFreeRCN(n_classes, p.variant, p.maps, p.side, p.dropout, p.third_branch),
        scale=(0.0, 1 / 255),
        optimiser="sgd",
        loss=p.loss,
    )


def _ready(p: RcnParameters) -> Recipe:
    return ready_flow(p.size)


RCN = System(
    name="rcn",
    title="RCN-A",
    paper="Xia, Peng, Khor, Feng, Zhao, Revealing the invisible with model and data shrinking for composite-database "
    "micro-expression recognition, IEEE TIP 29, 2020, arXiv 2006.09674 (abstract), and the released code",
    summary="one shared recurrent convolution with parameter-free attention; 51,139 weights",
    departures=(
        "P and F cannot be built from the released code, which refers to a wrong class; here they are built as it "
        "describes them.",
        "F: the released code uses the second branch of the stem twice, and never the third. Here the third is "
        "used; `--set third_branch=false` does as the code.",
        "Layers that the released code declares but never uses (a second 3x3 convolution of S, P and C) are left out.",
        "In the released code, the attention divides by zero if a map is constant; here such a map becomes 0.",
        "The released code creates a step schedule but never calls it, so the learning rate is constant; here, too.",
        "Ready pictures of 28x28 are used as they are with 5x5 bins (`preset=pictures`, their default), or enlarged "
        "to 60x60 (`preset=paper`).",
        "The published score is believed to be that of A; the released code states none.",
    ),
    recipes={"flow": _ready, "frames": lambda p: flow_at(p.size)},
    parameters=RcnParameters,
    presets=PRESETS,
    default_presets={"flow": "pictures"},
    build=build,
)
