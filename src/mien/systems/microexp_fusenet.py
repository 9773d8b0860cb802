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

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from mien.classifiers.base import Classifier
from mien.preprocessing import Recipe
from mien.preprocessing.inputs import Inputs
from mien.preprocessing.regions import eyes_mouth
from mien.systems.base import System, check_choices
from mien.systems.microexp_stcnn import CASME_SQ, CHOICES, DEPARTURES, FEW, PAPER, TRAINING, classifier

if TYPE_CHECKING:
    from mien.models.microexp import MicroExpFuseNet

SMIC: Mapping[str, Any] = {**TRAINING, "size": [32, 32], "per_frame": False, "dense": [1024, 128]}
SMALL: Mapping[str, Any] = {**FEW, "size": [20, 20], "dense": [32, 16]}


def from_frames(p: Mapping[str, Any]) -> Recipe:
    """Grey frames of eyes and mouth."""
    check_choices(p, {key: CHOICES[key] for key in ("time", "centre")})
    return eyes_mouth(p)


def _system(fusion: Literal["intermediate", "late"], table: str, summary: str) -> System:
    def build(n_classes: int, parameters: Mapping[str, Any]) -> Classifier:
        from mien.models.microexp import MicroExpFuseNet

        def bare(inputs: Inputs) -> MicroExpFuseNet:
            keys = ("kernel", "maps", "dense", "dropout", "centre")
            settings = {key: parameters[key] for key in keys}
            return MicroExpFuseNet(n_classes, inputs.shape, fusion=fusion, **settings)

        return classifier(bare, parameters)

    return System(
        name=f"microexp-fusenet-{fusion}",
        title=f"MicroExpFuseNet {fusion}",
        paper=f"{PAPER}, {table}",
        summary=summary,
        departures=(
            "Both crops stay where the median landmarks of the clip put them; the authors cut anew in each frame, so "
            "that landmark jitter moves their picture: `per_frame=true`.",
            "Landmarks are those of the face mesh at the 68 points of iBUG 300-W; the authors use dlib's.",
            "The hidden layers are linear, as in the released code; the paper does not say.",
            "The table's sizes behind the join (86,400) and of the late dropout (20x20x27) are slips for 172,800 and "
            "10x10x27."
            if fusion == "intermediate"
            else "The table's dropout of 20x20x27 is a slip for 10x10x27.",
            "Default preset: the 18 frames of SMIC. `preset=casme-sq` has the 96 of CAS(ME)^2.",
            *DEPARTURES,
        ),
        recipes={"frames": from_frames},
        parameters={"preset": "smic", **SMIC},
        presets={"smic": SMIC, "casme-sq": CASME_SQ, "small": SMALL},
        build=build,
    )


INTERMEDIATE = _system(
    "intermediate", "Table II", "3-D convolutions over the eyes and over nose and mouth, joined before the dense layers"
)
LATE = _system(
    "late", "Table III", "3-D convolutions over the eyes and over nose and mouth, joined behind the dense layers"
)
