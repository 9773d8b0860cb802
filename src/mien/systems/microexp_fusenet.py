"""MicroExpFuseNet, intermediate and late: eyes and mouth in two streams (Reddy, Karri, Dubey, Mukherjee).

IJCNN 2019, arXiv 1904.01390.

Input    T grey frames of both eyes, and of nose and mouth, 32x32 each, cut out by landmarks (section III-B).
Network  per stream a convolution of 32 maps, 3x3 pixels by 15 frames, ReLU, 3x3x3 max pool, dropout 0.5.
         Intermediate (Table II): both joined, dense 1024, dropout, dense 128, dropout, dense to the classes.
         Late (Table III): dense 1024, dropout, dense 128, dropout in each stream; both joined, dense to the classes.
         177,088,515 and 177,221,123 parameters for T = 96 and three classes (`mien.models.microexp`).
Training as MicroExpSTCNN.

None of the paper's figures for these networks is held out: each is a share of all clips, training clips included.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.parameters import Preset
from mien.preprocessing import Recipe
from mien.preprocessing.inputs import Inputs
from mien.preprocessing.parameters import EyesMouth, PresetName
from mien.preprocessing.regions import eyes_mouth
from mien.systems.base import System
from mien.systems.microexp import DEPARTURES, FEW, PAPER, MicroExpTraining, Width, microexp_classifier


class MicroExpFuseNetParameters(MicroExpTraining, EyesMouth):
    """Parameters of both MicroExpFuseNets."""

    preset: PresetName = "smic"
    dense: Annotated[tuple[Width, Width], Field(description="Values of the two dense layers.")] = (1024, 128)


PRESETS = {
    "smic": Preset("The 18 frames that the paper takes of SMIC's clips."),
    "casme-sq": Preset("The 96 frames that the paper takes of CAS(ME)^2.", {"frames": 96}),
    "small": Preset(
        "Fewer frames and maps, 20x20 pixels, to try things out.", {**FEW, "size": (20, 20), "dense": (32, 16)}
    ),
}


def from_frames(p: MicroExpFuseNetParameters) -> Recipe:
    """Return grey frames of eyes and mouth."""
    return eyes_mouth(p)


def _system(fusion: Literal["intermediate", "late"], table: str, summary: str) -> System[MicroExpFuseNetParameters]:
    def build(n_classes: int, p: MicroExpFuseNetParameters) -> Classifier:
        from mien.models.microexp import MicroExpFuseNet

        def bare(inputs: Inputs) -> MicroExpFuseNet:
            return MicroExpFuseNet(
                n_classes,
                inputs.shape,
                fusion=fusion,
                kernel=p.kernel,
                maps=p.maps,
                dense=p.dense,
                dropout=p.dropout,
                centre=p.centre,
            )

        return microexp_classifier(bare, p)

    return System(
        name=f"microexp-fusenet-{fusion}",
        title=f"MicroExpFuseNet {fusion}",
        paper=f"{PAPER}, {table}",
        summary=summary,
        departures=(
            "Both crops are fixed at the median landmarks of the clip. The authors crop each frame separately, so "
            "that the crop jitters with the landmarks: `per_frame=true`.",
            "Landmarks are those of the face mesh at the 68 points of iBUG 300-W; the authors use dlib's.",
            "The hidden layers are linear, as in the released code; the paper does not state this.",
            "Two sizes in the paper's table are wrong: after the streams are joined (86,400 instead of 172,800), "
            "and of the late dropout (20x20x27 instead of 10x10x27)."
            if fusion == "intermediate"
            else "The dropout of 20x20x27 in the paper's table should be 10x10x27.",
            "Default preset: the 18 frames of SMIC. `preset=casme-sq` has the 96 of CAS(ME)^2.",
            *DEPARTURES,
        ),
        recipes={"frames": from_frames},
        parameters=MicroExpFuseNetParameters,
        presets=PRESETS,
        build=build,
    )


INTERMEDIATE = _system(
    "intermediate", "Table II", "3-D convolutions over the eyes and over nose and mouth, joined before the dense layers"
)
LATE = _system(
    "late", "Table III", "3-D convolutions over the eyes and over nose and mouth, joined behind the dense layers"
)
