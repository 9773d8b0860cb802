"""Off-TANet: a light network on optical flow with triplet attention (PRICAI 2021).

Input    u, v in pixels and strain from onset to apex, 112x112.
Network  7x7 convolution of stride 2, two residual blocks, one with a channel gate, a spatial gate and self-attention,
         three dense layers; 59,403 weights (`mien.models.off_tanet`).
Training Adam 1e-3, times 0.3 every 60 epochs, batches of 64, 201 epochs, cross-entropy.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.preprocessing.flow_channels import centred_flow_at, raw_flow_at
from mien.systems.base import System
from mien.systems.flow_networks import FlowNetwork, network
from mien.systems.schedule import BatchSize, Dropout, Epochs, LearningRate


class OffTanetParameters(FlowNetwork):
    """Parameters of Off-TANet."""

    attention: Annotated[
        Literal["triplet", "gates", "none"],
        Field(description="Triplet: channel gate, spatial gate and self-attention; the two gates; or none."),
    ] = "triplet"
    dropout: Dropout = 0.5
    epochs: Epochs = 201
    batch_size: BatchSize = 64
    lr: LearningRate = 1e-3


def build(n_classes: int, p: OffTanetParameters) -> Classifier:
    """Return an untrained Off-TANet."""
    from mien.models.off_tanet import OffTANet

    return network(p, lambda _: OffTANet(n_classes, p.attention, p.dropout), decay=0.3, decay_every=60)


OFF_TANET = System(
    name="off-tanet",
    title="Off-TANet",
    paper="Zhang, Liu, Zhou, Off-TANet: a lightweight neural micro-expression recognizer with optical flow features "
    "and integrated attention mechanism, PRICAI 2021 (abstract), and the released code",
    summary="residual blocks with channel, spatial and self-attention on flow and strain of 112x112",
    departures=(
        "The released code tests every 20 epochs and prints the epoch with the best test UAR, one for all subjects. "
        "Here the last epoch is used.",
        "The published scores are means of macro scores of single subjects, on other clips (CASME, CASME II, "
        "CAS(ME)^2), so they cannot be compared with a UF1 pooled over subjects.",
        "Ready pictures of 28x28 with levels 0..255 are enlarged to 112x112 and centred as (level - 128) / 128, "
        "because the released code uses flow centred at zero.",
        "The strain in the released code contains du/dy squared where it should be dv/dy; here the strain is that "
        "of the other systems.",
        "Flow from frames is computed on whole frames of 112x112; the released code crops faces first.",
    ),
    recipes={"flow": lambda _: centred_flow_at(112), "frames": lambda _: raw_flow_at(112)},
    parameters=OffTanetParameters,
    build=build,
)
