"""MicroExpSTCNN: one 3-D convolution over the whole face (Reddy, Karri, Dubey, Mukherjee).

"Spontaneous Facial Micro-Expression Recognition using 3D Spatiotemporal Convolutional Neural Networks", IJCNN 2019,
arXiv 1904.01390.

Input    T grey frames of 64x64: 96 on CAS(ME)^2, 18 on SMIC (Table I).
Network  Table I: convolution of 32 maps, 3x3 pixels by 15 frames, ReLU, 3x3x3 max pool, dropout 0.5, dense 128, ReLU,
         dropout 0.5, dense to the classes (`mien.models.microexp`). 44,241,667 parameters for T = 96 and three classes.
Training cross-entropy, 100 passes, batches of 8, gradient descent at 0.01, the default of the released code's library.
Kernels  `--set kernel=[5,5,7]` and so on: Table IX.

The paper's scores are those of the best pass on the very clips that are tested, whose subjects are trained on too. Here
`fit` sees training clips only and the last pass counts; `mien experiment reddy-table5` puts both ways side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mien.classifiers.base import Classifier
from mien.preprocessing import Recipe
from mien.preprocessing.inputs import Inputs
from mien.preprocessing.regions import TIMES, whole_face
from mien.systems.base import System, check_choices

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mien.classifiers.net import NetClassifier
    from mien.models.microexp import MicroExpSTCNN

PAPER = (
    "Reddy et al., Spontaneous Facial Micro-Expression Recognition using 3D Spatiotemporal Convolutional Neural "
    "Networks, IJCNN 2019"
)
TRAINING: Mapping[str, Any] = {
    "frames": 18,
    "time": "linear",
    "stretch": False,
    "centre": "set",
    "kernel": [3, 3, 15],
    "maps": 32,
    "dropout": 0.5,
    "epochs": 100,
    "batch_size": 8,
    "lr": 0.01,
    "momentum": 0.0,
    "members": 1,
    "device": "auto",
}
"""What this network and MicroExpFuseNet share."""
SMIC: Mapping[str, Any] = {**TRAINING, "size": [64, 64], "face": "none", "dense": 128}
CASME_SQ: Mapping[str, Any] = {"frames": 96}
FEW: Mapping[str, Any] = {
    "frames": 16,
    "kernel": [3, 3, 5],
    "maps": 8,
    "centre": "onset",
    "epochs": 40,
    "lr": 1e-3,
    "momentum": 0.9,
}
"""The small preset's part of what is shared."""
SMALL: Mapping[str, Any] = {**FEW, "size": [32, 32], "dense": 32}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "face": ("none", "crop", "lwm"),
    "time": TIMES,
    "centre": ("set", "onset"),
}
DEPARTURES = (
    "The frames from onset to offset are interpolated to T; the authors take the first 18 files of a SMIC clip as a "
    "folder happens to list them (`time=first` takes the first in order), and frames 72 to 167 of longer videos of "
    "CAS(ME)^2, which are mostly macro-expressions. Clips shorter than the temporal kernel are refused unless "
    "`stretch=true`.",
    "The mean and the largest value by which grey levels are scaled come from the training clips; the authors take all "
    "clips.",
    "No pass is chosen on test clips: the last one counts.",
    "`preset=small` is for trying: fewer frames, maps and taps, 32x32, momentum 0.9, and the first frame taken off "
    "each clip (`centre=onset`).",
)


def from_frames(p: Mapping[str, Any]) -> Recipe:
    """Grey frames of the face, or of the whole picture."""
    check_choices(p, CHOICES)
    return whole_face(p)


def build(n_classes: int, parameters: Mapping[str, Any]) -> Classifier:
    """An untrained MicroExpSTCNN; by what grey levels are scaled is learned when it is fitted."""
    from mien.models.microexp import MicroExpSTCNN

    check_choices(parameters, CHOICES)

    def bare(inputs: Inputs) -> MicroExpSTCNN:
        keys = ("kernel", "maps", "dense", "dropout", "centre")
        return MicroExpSTCNN(n_classes, inputs.shape, **{key: parameters[key] for key in keys})

    return classifier(bare, parameters)


def classifier(bare: Any, parameters: Mapping[str, Any]) -> NetClassifier:
    """A classifier around one of the two networks, which learns its levels when it is fitted."""
    from mien.classifiers.net import NetClassifier
    from mien.classifiers.schedule import Schedule
    from mien.models.microexp import learn_levels

    def make(inputs: Inputs) -> nn.Module:
        model = bare(inputs)
        model.set_levels(*learn_levels(inputs, model.centre))
        return model  # type: ignore[no-any-return]

    def remake(inputs: Inputs, weights: Mapping[str, Tensor]) -> nn.Module:
        return bare(inputs)  # type: ignore[no-any-return]

    keys = ("epochs", "batch_size", "lr", "momentum")
    return NetClassifier(
        make=make,
        remake=remake,
        schedule=Schedule(**{key: parameters[key] for key in keys}),
        members=parameters["members"],
        device=parameters["device"],
        batch_size=16,
    )


MICROEXP_STCNN = System(
    name="microexp-stcnn",
    title="MicroExpSTCNN",
    paper=f"{PAPER}, Table I",
    summary="one 3-D convolution over 18 or 96 grey frames of the whole face, and a dense layer",
    departures=(
        "The whole frame is shrunk to 64x64, as in the released code; `face=crop` or `face=lwm` cuts it out first.",
        "Table I prints a dropout behind the last dense layer; the released code has none, nor have we.",
        "Default preset: the 18 frames of SMIC. `preset=casme-sq` has the 96 of CAS(ME)^2.",
        *DEPARTURES,
    ),
    recipes={"frames": from_frames},
    parameters={"preset": "smic", **SMIC},
    presets={"smic": SMIC, "casme-sq": CASME_SQ, "small": SMALL},
    build=build,
)
