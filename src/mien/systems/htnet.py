"""HTNet (Wang, Zhang, Luo, Sankaranarayana, "HTNet for micro-expression recognition", Neurocomputing 602, 2024).

Input    flow picture of 28x28, levels 0..255 in the order strain, v, u; four windows of 14x14 around eyes and mouth
         corners, put side by side (`mien.preprocessing.face_windows`).
Network  patches of 7x7, transformer layers on 16, 4 and 1 blocks, 2, 2 and 10 of them, with convolution and max pool
         between; 139,582,982 weights (`mien.models.htnet`).
Training Adam 5e-5, batches of 256, 800 epochs, cross-entropy.

That is `--set preset=paper`, for a GPU. The default, `narrow`, has a width of 64 in place of 256: 8,722,310 weights.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.parameters import Preset
from mien.preprocessing.face_windows import htnet_input
from mien.preprocessing.parameters import PresetName
from mien.systems.base import System
from mien.systems.flow_networks import Depths, FlowNetwork, TowerWidth, network
from mien.systems.schedule import BatchSize, Epochs, LearningRate


class HtnetParameters(FlowNetwork):
    """Parameters of HTNet."""

    preset: PresetName = "narrow"
    maps: TowerWidth = 64
    depths: Depths = (2, 2, 10)
    epochs: Epochs = 800
    batch_size: BatchSize = 256
    lr: LearningRate = 5e-5
    shuffle: Annotated[
        bool,
        Field(
            description=(
                "Shuffle the clips before each epoch; otherwise they are sorted by class, as in the public code."
            )
        ),
    ] = False


PRESETS = {
    "narrow": Preset("A width of 64, 8,722,310 weights: not the published network, but one that trains on a CPU."),
    "paper": Preset("The published width of 256, 139,582,982 weights; for a GPU.", {"maps": 256}),
    "small": Preset("A width of 8 and one layer at each level, to try things out.", {"maps": 8, "depths": (1, 1, 1)}),
}


def build(n_classes: int, p: HtnetParameters) -> Classifier:
    """Return an untrained HTNet."""
    from mien.models.htnet import HTNet

    return network(p, lambda _: HTNet(n_classes, p.maps, p.depths), by_class=not p.shuffle)


HTNET = System(
    name="htnet",
    title="HTNet",
    paper="Wang, Zhang, Luo, Sankaranarayana, HTNet for micro-expression recognition, Neurocomputing 602, 2024, "
    "128196, arXiv 2307.14637 (abstract), and the released code",
    summary="transformer layers on blocks of a flow picture around eyes and mouth",
    departures=(
        "The released code keeps, for each test subject, the epoch that is best on that subject. Here the last "
        "epoch is used; leak.json of `mien experiment leaderboard` shows what this choice is worth.",
        "The attention has no effect in the released network: every block contains a single token, over which the "
        "softmax is 1. Its queries and keys, 22,195,200 weights, never change. They are kept but not computed, with "
        "the same result.",
        "Windows are at the fixed points that the released code uses if it finds no face; otherwise it detects five "
        "points in the face of the apex frame.",
        "Batches are sorted by class, as in the released code, which never shuffles: with batches of 256 out of "
        "about 436 clips, the first batch contains almost only negative clips. `--set shuffle=true` shuffles.",
        "The default preset is a quarter as wide, so that it can be trained on a CPU; it is not the published network.",
    ),
    recipes={"flow": lambda _: htnet_input("flow"), "frames": lambda _: htnet_input("frames")},
    parameters=HtnetParameters,
    presets=PRESETS,
    build=build,
)
