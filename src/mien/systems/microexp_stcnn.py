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

from typing import Annotated

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.parameters import Preset
from mien.preprocessing import Recipe
from mien.preprocessing.inputs import Inputs
from mien.preprocessing.parameters import PresetName, WholeFace
from mien.preprocessing.regions import whole_face
from mien.systems.base import System
from mien.systems.microexp import DEPARTURES, FEW, PAPER, MicroExpTraining, Width, microexp_classifier


class MicroExpStcnnParameters(MicroExpTraining, WholeFace):
    """Parameters of MicroExpSTCNN."""

    preset: PresetName = "smic"
    dense: Annotated[Width, Field(description="Values of the dense layer.")] = 128


PRESETS = {
    "smic": Preset("The 18 frames that the paper takes of SMIC's clips."),
    "casme-sq": Preset("The 96 frames that the paper takes of CAS(ME)^2.", {"frames": 96}),
    "small": Preset("Fewer frames and maps, 32x32 pixels, to try things out.", {**FEW, "size": (32, 32), "dense": 32}),
}


def from_frames(p: MicroExpStcnnParameters) -> Recipe:
    """Return grey frames of the face, or of the whole picture."""
    return whole_face(p)


def build(n_classes: int, p: MicroExpStcnnParameters) -> Classifier:
    """Return an untrained MicroExpSTCNN; by what grey levels are scaled is learned when it is fitted."""
    from mien.models.microexp import MicroExpSTCNN

    def bare(inputs: Inputs) -> MicroExpSTCNN:
        return MicroExpSTCNN(
            n_classes,
            inputs.shape,
            kernel=p.kernel,
            maps=p.maps,
            dense=p.dense,
            dropout=p.dropout,
            centre=p.centre,
        )

    return microexp_classifier(bare, p)


MICROEXP_STCNN = System(
    name="microexp-stcnn",
    title="MicroExpSTCNN",
    paper=f"{PAPER}, Table I",
    summary="one 3-D convolution over 18 or 96 grey frames of the whole face, and a dense layer",
    departures=(
        "The whole frame is reduced to 64x64, as in the released code; `face=crop` or `face=lwm` crops or aligns "
        "the face first.",
        "Table I has dropout after the last dense layer; the released code has none, and neither has this network.",
        "Default preset: the 18 frames of SMIC. `preset=casme-sq` has the 96 of CAS(ME)^2.",
        *DEPARTURES,
    ),
    recipes={"frames": from_frames},
    parameters=MicroExpStcnnParameters,
    presets=PRESETS,
    build=build,
)
