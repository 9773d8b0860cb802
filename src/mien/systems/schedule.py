"""How a network is trained, as parameters that the deep systems share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from mien.errors import MienError
from mien.parameters import OnlyIf, Parameters, unit

if TYPE_CHECKING:
    from mien.classifiers.schedule import Schedule


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _require_decay(text: str) -> str:
    if text == "cosine":
        return text
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 0 < factor <= 1:
        raise MienError(f"decay is {text!r}.", "a number above 0 to 1, or cosine.", "`--set decay=0.8`.")
    return text


Epochs = Annotated[
    int,
    Field(
        ge=1,
        le=1_000_000,
        description="Number of epochs: how often training sees each clip.",
        json_schema_extra=unit("epochs"),
    ),
]
_BY_EPOCHS = OnlyIf(steps=0)
EpochsOrSteps = Annotated[Epochs, _BY_EPOCHS]
Repeats = Annotated[
    int,
    Field(
        ge=1,
        le=1_000_000,
        description=(
            "How often an epoch shows each clip, or each of its copies; without copies, their number gives the same "
            "number of steps as with them."
        ),
    ),
]
Steps = Annotated[
    int,
    Field(
        ge=0,
        le=1_000_000_000,
        description="Steps of gradient descent after which training ends; 0 ends it by epochs and min_change.",
        json_schema_extra=unit("steps"),
    ),
]
BatchSize = Annotated[
    int, Field(ge=1, le=1_000_000, description="Clips in each training step.", json_schema_extra=unit("clips"))
]
LearningRate = Annotated[float, Field(ge=0, le=100, description="Learning rate of the first epoch.")]
Momentum = Annotated[float, Field(ge=0, lt=1, description="Momentum of gradient descent.")]
Decay = Annotated[
    str,
    Field(
        description="Factor on the learning rate after each epoch, or cosine: half a cosine down to zero.",
        max_length=32,
        json_schema_extra={"expects": "cosine, or a number above 0 to 1"},
    ),
    BeforeValidator(_as_text),
    AfterValidator(_require_decay),
]
WeightDecay = Annotated[float, Field(ge=0, le=100, description="L2 penalty on all weights.")]
MinChange = Annotated[
    float,
    Field(
        ge=0, le=1000, description="Training stops when the mean loss of an epoch changes by less; 0 never stops it."
    ),
    _BY_EPOCHS,
]
Loss = Annotated[
    Literal["balanced", "cross_entropy", "focal", "printed", "printed_unweighted"],
    Field(
        description="Loss: cross-entropy balanced by the class shares of each batch, plain, or focal; or STRCN's "
        "equation 9 as printed, balanced or not."
    ),
]
Dropout = Annotated[float, Field(ge=0, lt=1, description="Share of the features that are dropped in training.")]
Maps = Annotated[int, Field(ge=1, le=4096, description="Feature maps: how wide the network is.")]
Members = Annotated[
    int, Field(ge=1, le=1000, description="Networks trained from different seeds; their probabilities are averaged.")
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], Field(description="Device of the networks; auto uses CUDA if it is available.")
]
Mirror = Annotated[
    bool, Field(description="Train on mirror images too, and average each prediction with that of the mirror image.")
]
Shift = Annotated[
    int,
    Field(
        ge=0,
        le=256,
        description="Training clips are shifted at random by up to this much.",
        json_schema_extra=unit("pixels"),
    ),
]
Strength = Annotated[
    float,
    Field(
        ge=0,
        le=10,
        description="Training input is multiplied by a random factor; the spread of its natural logarithm.",
    ),
]


class Training(Parameters):
    """How the networks of STRCN, of the image-based CNN and of SMA-STN are trained."""

    dropout: Dropout = 0.0
    epochs: EpochsOrSteps = 20
    min_change: MinChange = 0.0
    repeats: Repeats = 1
    steps: Steps = 0
    batch_size: BatchSize = 20
    lr: LearningRate = 1e-2
    decay: Decay = "cosine"
    weight_decay: WeightDecay = 5e-4
    loss: Loss = "balanced"
    members: Members = 1
    device: Device = "auto"


def schedule(p: Training) -> Schedule:
    """Return the schedule of these parameters: stochastic gradient descent with momentum 0.9."""
    from mien.classifiers.schedule import Schedule

    return Schedule(
        epochs=p.epochs,
        batch_size=p.batch_size,
        lr=p.lr,
        decay="cosine" if p.decay == "cosine" else float(p.decay),
        weight_decay=p.weight_decay,
        loss=p.loss,
        min_change=p.min_change,
        repeats=p.repeats,
        steps=p.steps,
    )
