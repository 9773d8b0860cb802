"""SSSNet (Varanka, Peng, Zhao, "Micro-expression recognition with noisy labels", IS&T Electronic Imaging 33, 2021).

Input    u, v and strain from onset to apex, 64x64, each channel stretched to 0..1 for each clip.
Network  convolution 5x5 to 32 maps, ReLU, max pool 3, batch normalisation, dropout of whole maps; the same with 3x3, 64
         maps and max pool 2; dense 256, ReLU, dropout; dense to the classes. 1,349,251 weights (`mien.models.sssnet`).
Training Adam 1e-4 with weight decay 1e-3, batches of 32, 200 epochs, cross-entropy; the last epoch is used.

The figure .739 of the public benchmark was made with a softmax in the network and cross-entropy, which has its own:
`--set softmax_twice=true`. The loss then cannot fall below ln((e + 2) / e) = .551 for three classes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.parameters import Preset, unit
from mien.preprocessing.flow_channels import flow_at, ready_flow
from mien.preprocessing.parameters import PresetName
from mien.systems.base import System
from mien.systems.flow_networks import FlowNetwork, SoftmaxTwice, network
from mien.systems.schedule import Dropout, WeightDecay

PictureSize = Annotated[
    Literal[28, 64],
    Field(description="Side of the flow picture; the published network takes 64.", json_schema_extra=unit("pixels")),
]


class SssnetParameters(FlowNetwork):
    """Parameters of SSSNet."""

    preset: PresetName = "paper"
    size: PictureSize = 64
    dropout: Dropout = 0.5
    softmax_twice: SoftmaxTwice = False
    weight_decay: WeightDecay = 1e-3


PRESETS = {
    "paper": Preset("64x64 and 200 epochs, as published."),
    "pictures": Preset("The pictures at their own 28x28: a seventh of the work, 169,603 weights.", {"size": 28}),
}


def build(n_classes: int, p: SssnetParameters) -> Classifier:
    """Return an untrained SSSNet."""
    from mien.models.sssnet import SSSNet

    return network(p, lambda _: SSSNet(n_classes, p.size, p.dropout, p.softmax_twice), scale=(0.0, 1 / 255))


SSSNET = System(
    name="sssnet",
    title="SSSNet",
    paper="Varanka, Peng, Zhao, Micro-expression recognition with noisy labels, IS&T Electronic Imaging 33, 2021; "
    "settings of the authors' public benchmark code (MEB)",
    summary="two convolutions and two dense layers on flow and strain",
    departures=(
        "The published run applies a softmax in the network before the cross-entropy; the default here is logits, "
        "as in the authors' class. `--set softmax_twice=true` follows the run.",
        "Ready pictures of 28x28 are enlarged to 64x64; `preset=pictures` uses them as they are, with a smaller "
        "dense layer.",
        "Flow from frames is OpenCV's TV-L1; the authors use MATLAB's classic+nl-fast, and a strain without the cross "
        "term and with axes swapped.",
    ),
    recipes={"flow": lambda p: ready_flow(p.size, stretched=True), "frames": lambda p: flow_at(p.size)},
    parameters=SssnetParameters,
    presets=PRESETS,
    build=build,
)
