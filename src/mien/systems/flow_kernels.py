"""flow-kernels: two kernels on flow pictures and ridge regression; of classes, or of action units.

Ours, not from one paper. No training loop and no chance in it: a whole leave-one-subject-out run takes seconds.

Input      flow pictures of u, v and strain, as they are; several of each clip are further kernels.
Features   u and v about their medians, to unit root mean square, smoothed; strain smoothed, mean 0 and deviation 1;
           derivatives of u and v.
Kernels    exp(-d) of the mean squared difference d to a clip plus the same to its mirror image: one of motion and
           strain, one of derivatives; their mean (`mien.classifiers.flow_kernels`). The same of the upper and of the
           lower half of the picture; of units, of the band in which the muscle moves the skin
           (`mien.classifiers.face_bands`).
Classifier ridge regression, each class or unit weighted by the inverse of its frequency. Class probabilities and the
           thresholds of units are set inside `fit`, on what each training subject would have got left out. With many
           training clips, `support` of them span the regression (Nystroem).
Start      weights for units, `start`: their answer for a unit counts as `start_clips` training clips that show it.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mien.errors import MienError
from mien.parameters import Parameters
from mien.preprocessing import FLOW_PICTURES, flow_from_frames
from mien.systems.base import System

if TYPE_CHECKING:
    from mien.classifiers.flow_kernels import FlowKernels

Smoothing = Annotated[float, Field(ge=0, le=10, json_schema_extra={"unit": "px"})]


class FlowKernelsParameters(Parameters):
    """Parameters of flow-kernels."""

    ridge: Annotated[
        float,
        Field(
            gt=0, le=1e6, description="Penalty of the regression; larger values fit the training clips less closely."
        ),
    ] = 1.0
    smoothing: Annotated[Smoothing, Field(description="Standard deviation of the Gaussian on motion and strain.")] = 1.0
    derivative_smoothing: Annotated[
        Smoothing, Field(description="Standard deviation of the Gaussian before derivatives are taken.")
    ] = 1.5
    strain_share: Annotated[
        float, Field(ge=0, le=1, description="Share of strain in the first kernel; the rest is motion.")
    ] = 0.33
    regions: Annotated[
        bool,
        Field(description="Use halves of the face besides the whole; for a unit, the band that its muscle moves."),
    ] = True
    support: Annotated[
        int,
        Field(
            ge=0,
            le=100_000,
            json_schema_extra={"unit": "clips"},
            description="Largest number of training clips that span the regression, evenly spaced; 0 uses all.",
        ),
    ] = 0
    start: Annotated[
        str,
        Field(
            max_length=4096,
            description="Weights of this system for the same units, whose predictions are mixed in; empty for none.",
            json_schema_extra={"expects": "a file that `mien train` wrote, shipped-units, or nothing"},
        ),
    ] = ""
    start_clips: Annotated[
        float,
        Field(
            gt=0,
            le=1e6,
            json_schema_extra={"unit": "clips"},
            description=(
                "Number of training clips that `start` counts as; with as many clips of a unit, both have equal weight."
            ),
        ),
    ] = 3.0


def build(n_classes: int, p: FlowKernelsParameters) -> FlowKernels:
    """Return an untrained machine."""
    from mien.classifiers.flow_kernels import FlowKernels

    return FlowKernels(
        n_classes,
        ridge=p.ridge,
        smoothing=p.smoothing,
        derivative_smoothing=p.derivative_smoothing,
        strain_share=p.strain_share,
        support=p.support,
        regions=p.regions,
        start=partial(_started, p) if p.start else None,
        start_clips=p.start_clips,
    )


def _started(p: FlowKernelsParameters) -> FlowKernels:
    """Return the machine of the weights to start from."""
    from safetensors import SafetensorError

    from mien.classifiers.checkpoint import UNITS, checkpoint_file, read_card

    card = read_card(p.start)
    own = {"smoothing": p.smoothing, "derivative_smoothing": p.derivative_smoothing, "strain_share": p.strain_share}
    differs = [name for name, value in own.items() if card.parameters.get(name, value) != value]
    if card.system != FLOW_KERNELS.name or card.task != UNITS or differs:
        what = f"with another {differs[0]}" if differs else f"of {card.system} for {card.task}"
        raise MienError(
            f"{p.start!r} holds weights {what}.",
            "weights of flow-kernels for action units, with the same smoothing and share of strain.",
            "`--set start=shipped-units`.",
        )
    try:
        file = checkpoint_file(p.start)
        return _loaded(file, file.stat().st_mtime_ns, card.classes, p.model_copy(update={"start": ""}))
    except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
        raise MienError(
            f"The weights in {p.start!r} do not fit flow-kernels: {(str(error) or 'damaged').splitlines()[0]}",
            "a file that `mien train` wrote.",
            "`--set start=shipped-units`.",
        ) from None


@lru_cache(maxsize=2)
def _loaded(file: Path, changed: int, units: tuple[str, ...], p: FlowKernelsParameters) -> FlowKernels:
    """Return the machine in a file; it is shared by all folds, and remembers what it has answered."""
    from mien.classifiers.checkpoint import read_arrays

    machine = build(len(units), p)
    machine.units = units
    machine.load_arrays(read_arrays(file))
    return machine


FLOW_KERNELS = System(
    name="flow-kernels",
    title="Flow kernels + ridge regression",
    paper="none: a method of this library, after the kernel machines on flow of Varanka et al., arXiv 2211.11425",
    summary="kernels of motion, strain and derivatives, mirror images included; ridge regression; classes or action "
    "units",
    departures=(),
    recipes={"flow": lambda _: FLOW_PICTURES, "frames": lambda _: flow_from_frames("tvl1")},
    parameters=FlowKernelsParameters,
    build=build,
)
