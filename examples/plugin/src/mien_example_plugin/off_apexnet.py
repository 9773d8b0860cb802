"""OFF-ApexNet (Gan, Liong, Yau, Huang, Tan; Signal Processing: Image Communication 74, 2019).

Input   horizontal and vertical optical flow from onset to apex, 28x28, one stream each.
Network per stream: 5x5 convolution to 6 maps, ReLU, max pool 2; 5x5 convolution to 16 maps, ReLU, max pool 2. Joined to
        1,568 numbers; two dense layers of 1,024 with ReLU and dropout 0.5; one to the classes. 2,664,475 weights for
        three classes.
Training Adam 1e-4, batches of 64, cross-entropy, 3,000 epochs; the last epoch is used.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from mien.classifiers.base import Classifier
from mien.classifiers.net import NetClassifier
from mien.classifiers.schedule import Schedule
from mien.parameters import Parameters
from mien.preprocessing import FLOW_PICTURE, flow_from_frames
from mien.systems import System


def _stream() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
    )  # fmt: skip


class OffApexNet(nn.Module):
    """The network.

    Args:
        n_classes: Classes C.
        dropout: Share of the dense layers' inputs that is dropped, 0..1.
    """

    def __init__(self, n_classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.u, self.v = _stream(), _stream()
        self.dense = nn.Sequential(
            nn.Linear(1568, 1024), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(1024, 1024), nn.ReLU(), nn.Dropout(dropout), nn.Linear(1024, n_classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, C) of flow pictures (B, 3, 28, 28), each channel 0..255; the third, strain, is not used."""
        x = x / 255
        logits: Tensor = self.dense(torch.cat([self.u(x[:, :1]), self.v(x[:, 1:2])], 1))
        return logits


class OffApexNetParameters(Parameters):
    """Parameters of OFF-ApexNet."""

    epochs: Annotated[int, Field(ge=1, le=100_000, description="Epochs of training.")] = 3000
    batch_size: Annotated[int, Field(ge=1, le=4096, description="Clips in each step of the optimiser.")] = 64
    lr: Annotated[float, Field(gt=0, le=1, description="Learning rate of Adam.")] = 1e-4
    dropout: Annotated[float, Field(ge=0, lt=1, description="Share of the dense layers' inputs that is dropped.")] = 0.5


def build(n_classes: int, parameters: OffApexNetParameters) -> Classifier:
    """Return an untrained network with its schedule."""
    return NetClassifier(
        make=lambda _: OffApexNet(n_classes, parameters.dropout),
        schedule=Schedule(
            epochs=parameters.epochs, batch_size=parameters.batch_size, optimiser="adam", lr=parameters.lr
        ),
    )


OFF_APEXNET = System(
    name="off_apexnet_plugin",
    title="OFF-ApexNet",
    paper="Gan et al., OFF-ApexNet on micro-expression recognition system, "
    "Signal Processing: Image Communication 74, 2019",
    summary="two streams of convolutions on horizontal and vertical flow",
    departures=(
        "ReLU after each convolution: the text leaves it open, and public rebuilds differ.",
        "Each channel of the flow is stretched to 0..1 for each clip; the paper does not give the range.",
        "The paper reports 2.77 million weights and these layers have 2.66; the difference is not explained.",
    ),
    recipes={"flow": lambda _: FLOW_PICTURE, "frames": lambda _: flow_from_frames("tvl1")},
    parameters=OffApexNetParameters,
    build=build,
)
