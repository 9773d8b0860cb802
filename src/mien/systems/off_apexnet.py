"""OFF-ApexNet (Gan, Liong, Yau, Huang, Tan; Signal Processing: Image Communication 74, 2019; arXiv 1805.08699).

Input    u and v from onset to apex, 28x28, one stream each, stretched to 0..1 for each clip.
Network  per stream: convolution 5x5 to 6 maps, ReLU, max pool 2; the same to 16 maps. Joined to 1,568
         numbers; two dense layers of 1,024 with ReLU and dropout; one to the classes. 2,664,475 weights
         (`mien.models.off_apexnet`).
Training Adam 1e-4, batches of 64, 3,000 epochs, cross-entropy; the last epoch is used.

No code of its authors is public. `--set preset=meb` is the network that the benchmark MEB runs under this name: one
stream, 3x3 convolutions, one hidden dense layer, weight decay.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.parameters import OnlyIf, Preset
from mien.preprocessing.flow_channels import flow_at, ready_flow
from mien.preprocessing.parameters import PresetName
from mien.systems.base import System
from mien.systems.flow_networks import FlowNetwork, network
from mien.systems.schedule import BatchSize, Dropout, Epochs


class OffApexnetParameters(FlowNetwork):
    """Parameters of OFF-ApexNet."""

    preset: PresetName = "paper"
    form: Annotated[
        Literal["two-stream", "one-stream"],
        Field(description="Separate streams for u and v, as in the paper, or one for both, as in the benchmark MEB."),
    ] = "two-stream"
    activation: Annotated[
        bool,
        Field(
            description="ReLU after each convolution; the reimplementation of the ECNU-Cross-Innovation-Lab has none."
        ),
        OnlyIf(form="two-stream"),
    ] = True
    dropout: Dropout = 0.5
    epochs: Epochs = 3000
    batch_size: BatchSize = 64


PRESETS = {
    "paper": Preset("Two streams, 3,000 epochs, batches of 64."),
    "meb": Preset(
        "The network and schedule of the benchmark MEB: one stream, batches of 32, weight decay 1e-3.",
        {"form": "one-stream", "batch_size": 32, "weight_decay": 1e-3},
    ),
}


def build(n_classes: int, p: OffApexnetParameters) -> Classifier:
    """Return an untrained OFF-ApexNet."""
    from mien.models.off_apexnet import OffApexNet, OneStream

    if p.form == "one-stream":
        return network(p, lambda _: OneStream(n_classes, p.dropout), scale=(0.0, 1 / 255))
    return network(p, lambda _: OffApexNet(n_classes, p.dropout, p.activation), scale=(0.0, 1 / 255))


OFF_APEXNET = System(
    name="off-apexnet",
    title="OFF-ApexNet",
    paper="Gan, Liong, Yau, Huang, Tan, OFF-ApexNet on micro-expression recognition system, Signal Processing: Image "
    "Communication 74, 2019, 129-139 (abstract, and the table of STSTNet); layers as public rebuilds have them",
    summary="two streams of convolutions on horizontal and vertical flow",
    departures=(
        "ReLU after each convolution is assumed; `--set activation=false` removes it, as in a public reimplementation.",
        "The paper states 2.77 million weights, but these layers have 2.66 million; the difference is not explained.",
        "Each channel of a clip is scaled to 0..1; the paper's range is not known.",
        "How the paper chose its epoch is not known; here it is the last. In the benchmark MEB, the best test epoch "
        "of each subject raises UF1 by .14 over the last epoch.",
        "The paper detects the apex of SMIC with D&C-RoIs; here flow from frames uses the frame that differs most "
        "from the onset.",
    ),
    recipes={"flow": lambda _: ready_flow(stretched=True), "frames": lambda _: flow_at()},
    parameters=OffApexnetParameters,
    presets=PRESETS,
    build=build,
)
