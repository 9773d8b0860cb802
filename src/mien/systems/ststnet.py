"""STSTNet: shallow triple stream three-dimensional CNN (Liong, Gan, See, Khor, Huang; IEEE FG 2019).

Input   optical flow from onset to apex as a picture of three channels, 28x28: u, v, optical strain, each 0..255.
Network three streams (3, 5 and 8 filters of 3x3), ReLU, batch normalisation, max pool 3, dropout 0.5; concatenated,
        average pool 2, one dense layer to the classes. 1,683 parameters (the authors' PyTorch file).
Training Adam 5e-5, 800 epochs, batches of 256 in the order of the clip table, cross-entropy; the last epoch is used.
"""

from __future__ import annotations

from mien.classifiers.base import Classifier
from mien.preprocessing import FLOW_PICTURE, flow_from_frames
from mien.systems.base import System
from mien.systems.flow_networks import FlowNetwork, Shuffle, network
from mien.systems.schedule import BatchSize, Dropout, Epochs, LearningRate


class StstnetParameters(FlowNetwork):
    """Parameters of STSTNet."""

    epochs: Epochs = 800
    batch_size: BatchSize = 256
    lr: LearningRate = 5e-5
    dropout: Dropout = 0.5
    shuffle: Shuffle = False


def build(n_classes: int, p: StstnetParameters) -> Classifier:
    """Return an untrained STSTNet under the authors' settings."""
    from mien.models.ststnet import STSTNet

    return network(p, lambda _: STSTNet(n_classes, dropout=p.dropout))


STSTNET = System(
    name="ststnet",
    title="STSTNet",
    paper="Liong et al., Shallow Triple Stream Three-dimensional CNN (STSTNet) for Micro-expression Recognition, "
    "IEEE FG 2019, sections III-IV; settings of the authors' PyTorch file",
    summary="three shallow convolution streams on 28x28 flow and strain; the cheapest strong network",
    departures=(
        "Batches follow the order of the clips without shuffling, as in the authors' PyTorch file; `--set "
        "shuffle=true` shuffles.",
        "Flow from frames is OpenCV's TV-L1 on the frames as given. The authors crop faces first and detect the "
        "apex of SMIC with D&C-RoIs; here it is the frame that differs most from the onset.",
    ),
    recipes={"flow": lambda _: FLOW_PICTURE, "frames": lambda _: flow_from_frames("tvl1")},
    parameters=StstnetParameters,
    build=build,
)
