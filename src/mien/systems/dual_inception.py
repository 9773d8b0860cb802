"""Dual-Inception (Zhou, Mao, Xue, "Dual-Inception network for cross-database micro-expression recognition", FG 2019).

Input    u and v as pictures of 28x28, 0..1, one stream each; flow from the onset to the middle frame.
Network  per stream two inception blocks of four branches with 6 and 16 maps each, max pool 2 after both; joined, dense
         1,024, ReLU, dense to the classes; 6,449,867 weights (`mien.models.dual_inception`).
Training Adam 1e-4, batches of 3, 40 epochs, cross-entropy.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.parameters import unit
from mien.preprocessing import FLOW_PICTURE
from mien.preprocessing.flow_channels import flow_at
from mien.systems.base import System
from mien.systems.flow_networks import FlowNetwork, network
from mien.systems.schedule import BatchSize, Epochs


class DualInceptionParameters(FlowNetwork):
    """Parameters of Dual-Inception."""

    channels: Annotated[
        Literal[1, 3],
        Field(
            description="Channels of a stream; 3 repeats its picture, because the authors read the files in colour.",
            json_schema_extra=unit("channels"),
        ),
    ] = 1
    epochs: Epochs = 40
    batch_size: BatchSize = 3


def build(n_classes: int, p: DualInceptionParameters) -> Classifier:
    """Return an untrained Dual-Inception."""
    from mien.models.dual_inception import DualInception

    return network(p, lambda _: DualInception(n_classes, p.channels), scale=(0.0, 1 / 255))


DUAL_INCEPTION = System(
    name="dual-inception",
    title="Dual-Inception",
    paper="Zhou, Mao, Xue, Dual-Inception network for cross-database micro-expression recognition, IEEE FG 2019, "
    "642-646 (abstract), and the authors' code for MEGC 2019",
    summary="two streams of inception blocks on horizontal and vertical flow",
    departures=(
        "The authors' code never trains on the database of the test subject: it trains on the other two, and its other "
        "subjects choose the epoch. Here every other subject trains, and the last epoch is used; "
        "`--set choose_epoch=inner` chooses on left-out training subjects. `--protocol cross_dataset` trains on the "
        "other databases, as the authors' code does, and takes the last epoch.",
        "The authors repeat the evaluation 100 times and store all results, but do not state which one is "
        "published. Here a result is that of the given seeds.",
        "Flow is computed from onset to apex, as in the ready pictures; the paper uses the middle frame and needs "
        "no apex.",
        "The code does not show how flow becomes a picture; here it is ready pictures, or TV-L1 flow scaled to 0..255.",
        "The authors' code defines a reduction of the learning rate and early stopping without using them; neither "
        "is used here. Its class weights are a text that Keras ignores.",
    ),
    recipes={"flow": lambda _: FLOW_PICTURE, "frames": lambda _: flow_at()},
    parameters=DualInceptionParameters,
    build=build,
)
