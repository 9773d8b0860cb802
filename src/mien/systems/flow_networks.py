"""How published networks on flow pictures are trained, as parameters that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mien.parameters import OnlyIf, Parameters, unit
from mien.systems.schedule import BatchSize, Device, Epochs, LearningRate, WeightDecay

if TYPE_CHECKING:
    from torch import nn

    from mien.classifiers.net import NetClassifier

Shuffle = Annotated[
    bool, Field(description="Shuffle the clips before each epoch; otherwise they keep the order of the clip table.")
]
ChooseEpoch = Annotated[
    Literal["last", "inner"],
    Field(description="Which epoch is used: the last, or the best on subjects left out of the training clips."),
]
InnerFolds = Annotated[
    int,
    Field(
        ge=2,
        le=100,
        description="Number of random parts of the training subjects for the choice of the epoch.",
        json_schema_extra=unit("folds"),
    ),
    OnlyIf(choose_epoch="inner"),
]
InnerSplits = Annotated[
    int,
    Field(
        ge=0,
        le=100,
        description="How many of these parts are left out in turn; 0 uses all of them. One is the cheapest.",
    ),
    OnlyIf(choose_epoch="inner"),
]
Depth = Annotated[int, Field(ge=1, le=100)]
Depths = Annotated[
    tuple[Depth, Depth, Depth],
    Field(description="Transformer layers at each of the three levels.", json_schema_extra=unit("layers")),
]
TowerWidth = Annotated[
    int,
    Field(
        ge=4,
        le=1024,
        description="Channels of the first level; each further level has twice as many.",
        json_schema_extra=unit("channels"),
    ),
]
SoftmaxTwice = Annotated[
    bool,
    Field(
        description=(
            "Train with a softmax in the network before the cross-entropy, which contains another one, as the public "
            "code."
        )
    ),
]


class FlowNetwork(Parameters):
    """How a network on flow pictures is trained."""

    epochs: Epochs = 200
    batch_size: BatchSize = 32
    lr: LearningRate = 1e-4
    weight_decay: WeightDecay = 0.0
    shuffle: Shuffle = True
    choose_epoch: ChooseEpoch = "last"
    inner_folds: InnerFolds = 3
    inner_splits: InnerSplits = 0
    device: Device = "auto"


def network(
    p: FlowNetwork, make: Callable[[Any], nn.Module], *, scale: tuple[float, float] = (0.0, 1.0), **schedule: Any
) -> NetClassifier:
    """Return an untrained network, trained with Adam unless the schedule says otherwise.

    Args:
        p: Parameters.
        make: Builds the network.
        scale: (offset, factor) of its input, as in `NetClassifier`.
        **schedule: Further values of `mien.classifiers.schedule.Schedule`.
    """
    from mien.classifiers.inner_epoch import InnerEpoch
    from mien.classifiers.net import NetClassifier
    from mien.classifiers.schedule import Schedule

    own: dict[str, Any] = {
        "epochs": p.epochs,
        "batch_size": p.batch_size,
        "optimiser": "adam",
        "lr": p.lr,
        "weight_decay": p.weight_decay,
        "shuffle": p.shuffle,
    }
    made = Schedule(**{**own, **schedule})
    if p.choose_epoch == "inner":
        return InnerEpoch(make, made, scale=scale, device=p.device, inner_folds=p.inner_folds, splits=p.inner_splits)
    return NetClassifier(make, made, scale=scale, device=p.device)
