"""flow-ensemble: the weights of the package for classes and for action units, asked together.

Ours, not from one paper. No real face has to be trained on: its three machines come with the package, trained on
synthetic flow pictures.

Input      flow picture of u, v and strain, 28x28, as it is.
Machines   STRCN-G (`shipped`), flow-kernels for classes (`shipped-classes`), flow-kernels for action units
           (`shipped-units`) with a logistic regression from their answers to classes: `mien.classifiers.flow_ensemble`.
Classifier geometric mean of their probabilities, times the root of the shares that the classes have in databases.
Training   the logistic regression alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mien.parameters import Parameters
from mien.preprocessing import FLOW_PICTURE, flow_from_frames
from mien.systems.base import System

if TYPE_CHECKING:
    from mien.classifiers.flow_ensemble import FlowEnsemble, Members

Share = Annotated[float, Field(gt=0, le=1e6)]


class FlowEnsembleParameters(Parameters):
    """Parameters of flow-ensemble."""

    class_shares: Annotated[
        tuple[Share, Share, Share],
        Field(
            description=(
                "Relative frequency of negative, positive and surprise in the data to predict. The default is that of "
                "the coded clips of DFME and CAS(ME)^3."
            )
        ),
    ] = (0.7, 0.1, 0.2)


def _members() -> Members:
    """Return the machines of the package, loaded once."""
    from mien.classifiers.flow_ensemble import Members
    from mien.classifiers.flow_kernels import FlowKernels
    from mien.systems.trained import packaged

    units = packaged("shipped-units")[0]
    assert isinstance(units, FlowKernels)
    return Members(packaged("shipped")[0], packaged("shipped-classes")[0], units)


def build(n_classes: int, p: FlowEnsembleParameters) -> FlowEnsemble:
    """Return an ensemble whose regression is untrained."""
    from mien.classifiers.flow_ensemble import FlowEnsemble

    return FlowEnsemble(n_classes, _members, p.class_shares)


FLOW_ENSEMBLE = System(
    name="flow-ensemble",
    title="Ensemble trained on synthetic flow",
    paper="none: a method of this library",
    summary="STRCN-G and flow-kernels for classes and for units, all trained on synthetic pictures; geometric mean",
    departures=(),
    recipes={"flow": lambda _: FLOW_PICTURE, "frames": lambda _: flow_from_frames("tvl1")},
    parameters=FlowEnsembleParameters,
    build=build,
)
