"""CausalNet (Zhang, Tang, Chen, "Rethinking key-frame-based micro-expression recognition", ICCV 2025).

Input    four pictures of 28x28: flow from onset to apex and from apex to offset, and the direction of both as colours;
         windows and channels of each as HTNet's (`mien.preprocessing.face_windows`).
Network  a tower like HTNet's for the flows and one for the directions; nine layers of masked attention between the
         directions; a block that relates the flows forward and backward; 276,590,089 weights (`mien.models.causalnet`).
Training Adam 5e-5, all clips in one batch, 200 epochs, which are 200 steps; cross-entropy.

That is `--set preset=paper`, for a GPU. The default, `narrow`, has a width of 64 in place of 256: 18,477,961 weights.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.parameters import Preset
from mien.preprocessing.face_windows import OffsetFlow, causalnet_input
from mien.preprocessing.parameters import PresetName
from mien.systems.base import System
from mien.systems.flow_networks import Depths, FlowNetwork, Shuffle, TowerWidth, network
from mien.systems.schedule import BatchSize, LearningRate


class CausalnetParameters(FlowNetwork):
    """Parameters of CausalNet."""

    preset: PresetName = "narrow"
    offset_flow: Annotated[
        OffsetFlow,
        Field(description="Flow from apex to offset: a picture of its own, or that from onset to apex backwards."),
    ] = "picture"
    maps: TowerWidth = 64
    depths: Depths = (3, 3, 9)
    gamma: Annotated[float, Field(ge=0, le=100, description="Penalty of attention between distant tokens.")] = 0.5
    batch_size: BatchSize = 1024
    lr: LearningRate = 5e-5
    shuffle: Shuffle = False


PRESETS = {
    "narrow": Preset("A width of 64, 18,477,961 weights: not the published network, but one that trains on a CPU."),
    "paper": Preset("The published width of 256, 276,590,089 weights; for a GPU.", {"maps": 256}),
    "small": Preset("A width of 8 and one layer at each level, to try things out.", {"maps": 8, "depths": (1, 1, 1)}),
}


def build(n_classes: int, p: CausalnetParameters) -> Classifier:
    """Return an untrained CausalNet."""
    from mien.models.causalnet import CausalNet

    return network(p, lambda _: CausalNet(n_classes, p.maps, p.depths, p.gamma))


CAUSALNET = System(
    name="causalnet",
    title="CausalNet",
    paper="Zhang, Tang, Chen, Rethinking key-frame-based micro-expression recognition: a robust and accurate framework "
    "against key-frame errors, ICCV 2025, 12274-12283, arXiv 2508.06640 (abstract), and the released code",
    summary="two flows and their directions through two towers, masked attention and a causal block",
    departures=(
        "The released code keeps, for each test subject, the epoch that is best on that subject, stops when all its "
        "clips are right, and compares 36 settings on the same subjects. Here the last epoch is used.",
        "The released code leaves the clips of a subject without any correct prediction out of the score; here "
        "every clip counts.",
        "The attention in the towers has no effect, as in HTNet: 41,518,080 weights never change.",
        "The four tokens are groups of channels, because the towers have already merged all positions. The mask of "
        "distant tokens and gamma therefore have no spatial meaning. Kept as released.",
        "There is no activation between the two linear layers of the head, so together they are a single linear "
        "layer. Kept, because they train differently.",
        "Directions are computed from the flow pictures, like the published ones, which they match to 2 grey levels.",
        "Flow pictures without flow from apex to offset are refused; `--set offset_flow=reversed` uses the reversed "
        "first flow instead, which is not the paper's method.",
        "The default preset is a quarter as wide, so that it can be trained on a CPU; it is not the published network.",
    ),
    recipes={
        "flow": lambda p: causalnet_input("flow", p.offset_flow),
        "frames": lambda p: causalnet_input("frames", p.offset_flow),
    },
    parameters=CausalnetParameters,
    presets=PRESETS,
    build=build,
)
