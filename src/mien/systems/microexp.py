"""What MicroExpSTCNN and MicroExpFuseNet share: parameters of their training, and the classifier around the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mien.parameters import Parameters
from mien.preprocessing.inputs import Inputs
from mien.systems.schedule import BatchSize, Device, Dropout, Epochs, LearningRate, Maps, Members, Momentum

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mien.classifiers.net import NetClassifier
    from mien.models.microexp import MicroExpFuseNet, MicroExpSTCNN

PAPER = (
    "Reddy et al., Spontaneous Facial Micro-Expression Recognition using 3D Spatiotemporal Convolutional Neural "
    "Networks, IJCNN 2019"
)
FEW: Mapping[str, Any] = {
    "frames": 16,
    "kernel": (3, 3, 5),
    "maps": 8,
    "centre": "onset",
    "epochs": 40,
    "lr": 1e-3,
    "momentum": 0.9,
}
"""The small preset's part of what is shared."""

Width = Annotated[int, Field(ge=1, le=65_536)]


class MicroExpTraining(Parameters):
    """The network behind its kernel, and how it is trained."""

    centre: Annotated[
        Literal["set", "onset"],
        Field(
            description=(
                "What is subtracted from grey levels: the mean of the training clips, or the first frame of each clip."
            )
        ),
    ] = "set"
    maps: Maps = 32
    dropout: Dropout = 0.5
    epochs: Epochs = 100
    batch_size: BatchSize = 8
    lr: LearningRate = 0.01
    momentum: Momentum = 0.0
    members: Members = 1
    device: Device = "auto"


DEPARTURES = (
    "The frames from onset to offset are interpolated to T. The authors use the first 18 files of a SMIC clip in "
    "the order of the folder listing (`time=first` uses the first ones in order), and frames 72 to 167 of longer "
    "videos of CAS(ME)^2, which are mostly macro-expressions. Clips shorter than the temporal kernel are refused "
    "unless `stretch=true`.",
    "The mean and the largest value that scale the grey levels come from the training clips; the authors use all "
    "clips.",
    "No epoch is chosen on test clips: the last one counts.",
    "`preset=small` is for quick tests: fewer frames and maps, a smaller kernel, 32x32, momentum 0.9, and the first "
    "frame subtracted from each clip (`centre=onset`).",
)


def microexp_classifier(
    bare: Callable[[Inputs], MicroExpSTCNN | MicroExpFuseNet], p: MicroExpTraining
) -> NetClassifier:
    """Return an untrained classifier around one of the two networks, which learns its levels when it is fitted."""
    from mien.classifiers.net import NetClassifier
    from mien.classifiers.schedule import Schedule
    from mien.models.microexp import learn_levels

    def make(inputs: Inputs) -> nn.Module:
        model = bare(inputs)
        model.set_levels(*learn_levels(inputs, model.centre))
        return model

    def remake(inputs: Inputs, weights: Mapping[str, Tensor]) -> nn.Module:
        return bare(inputs)

    return NetClassifier(
        make=make,
        remake=remake,
        schedule=Schedule(epochs=p.epochs, batch_size=p.batch_size, lr=p.lr, momentum=p.momentum),
        members=p.members,
        device=p.device,
        batch_size=16,
    )
