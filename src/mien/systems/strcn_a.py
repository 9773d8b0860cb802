"""STRCN-A: the appearance-based spatiotemporal recurrent convolutional network (Xia, Hong, Gao, Feng, Zhao).

IEEE Transactions on Multimedia 2020, arXiv 1901.04656.

Input    30 frames of the aligned, magnified clip, 64x48, three colours; the 30 % of pixels that move most, as rows of a
         matrix whose columns are the frames (section III-C.1).
Copies   magnified by 5 to 14, with 100 to 60 % of the frames: 50 of each training clip (section III-E).
Network  Table I with pools 4x1, 4x1, 4x4, 2x2 (`mien.models.rcn`, `mien.models.masked`).
Training as STRCN-G.

That is `--set preset=paper`. The default preset has fewer copies and maps, so that a fold trains on a CPU.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mien.classifiers.base import Classifier
from mien.parameters import Preset, unit
from mien.preprocessing import Recipe, Step
from mien.preprocessing.copies import ALPHAS, SHARES, appearance_copies, magnified_small
from mien.preprocessing.inputs import Inputs
from mien.preprocessing.named import aligned_face_step
from mien.preprocessing.parameters import (
    FRAMES,
    Alphas,
    Exaggeration,
    Face,
    Hertz,
    Length,
    PerFrame,
    PresetName,
    Shares,
    Size,
)
from mien.systems.base import System
from mien.systems.schedule import EpochsOrSteps, LearningRate, Training, schedule
from mien.systems.strcn import PAPER, PAPER_DEPARTURES, PLACED, OneVariant, RecurrentNetwork, network


class MaskedNetwork(RecurrentNetwork, Training):
    """A recurrent network on the pixels of a face that move most; its mask is learned from training clips."""

    preset: PresetName = "cpu"
    variant: OneVariant = "paper"
    epochs: EpochsOrSteps = 10
    lr: LearningRate = 1e-2
    face: Face = "lwm"
    size: Size = (64, 48)
    frames: Length = 30
    mask: Annotated[
        float, Field(gt=0, le=1, description="Fraction of the pixels that are kept: those that change most.")
    ] = 0.30
    mask_per_clip: Annotated[
        bool, Field(description="Divide the motion of each clip by its largest value before clips are averaged.")
    ] = False
    mask_opening: Annotated[
        int,
        Field(
            ge=0,
            le=64,
            description="Radius of a morphological opening of the mask; 0 leaves it as it is.",
            json_schema_extra=unit("pixels"),
        ),
    ] = 0


class StrcnAParameters(MaskedNetwork):
    """Parameters of STRCN-A."""

    time: Annotated[
        Literal["linear", "tim"],
        Field(description="Method by which a clip is resampled: linear, or the temporal interpolation model."),
        FRAMES,
    ] = "linear"
    alphas: Alphas = (8.0, 5.0, 11.0, 14.0)
    shares: Shares = (1.0, 0.8)
    exaggeration: Exaggeration = 2.0
    hertz: Hertz = False
    per_frame: Annotated[PerFrame, PLACED] = False


PRESETS = {
    "cpu": Preset("8 copies and 16 maps, so that a fold trains on a CPU."),
    "paper": Preset(
        "The paper's: 50 copies of each clip and 128 maps; for a GPU.",
        {
            "alphas": ALPHAS,
            "shares": SHARES,
            "exaggeration": 1.0,
            "maps": 128,
            "epochs": 40,
            "min_change": 1e-3,
            "lr": 1e-3,
            "decay": "0.8",
        },
    ),
    "small": Preset(
        "A quarter of the pixels and 12 frames, to try things out.",
        {
            "size": (32, 24),
            "frames": 12,
            "alphas": (8.0, 11.0),
            "shares": (1.0, 0.8),
            "maps": 8,
            "epochs": 8,
        },
    ),
}


def from_frames(p: StrcnAParameters) -> Recipe:
    """Return every copy of a clip, before the mask: the mask is learned from training clips."""
    magnified = {"alphas": p.alphas, "size": p.size, "exaggeration": p.exaggeration, "hertz": p.hertz}
    copies = {"shares": p.shares, "n": p.frames, "method": p.time}
    steps = (
        aligned_face_step(p.face, p.per_frame),
        Step("magnified_small", magnified_small, magnified),
        Step("appearance_copies", appearance_copies, copies, version=2),
    )
    shape = (len(p.alphas) * len(p.shares), p.frames, *p.size, 3)
    return Recipe(steps, "KTHWC", shape, (0, 255), "uint8")


def build(n_classes: int, p: MaskedNetwork) -> Classifier:
    """Return an untrained STRCN-A; its mask is learned when it is fitted."""
    from mien.classifiers.unit_net import UnitNetClassifier
    from mien.models.masked import MaskedRCN, learn_mask, untrained

    def with_mask(inputs: Inputs, mask: NDArray[np.bool_]) -> MaskedRCN:
        return untrained(inputs, n_classes, mask, dropout=p.dropout, **network(p, p.variant))

    def make(inputs: Inputs) -> MaskedRCN:
        return with_mask(inputs, learn_mask(inputs, p.mask, p.mask_per_clip, p.mask_opening))

    return UnitNetClassifier(
        make=make,
        remake=lambda inputs, weights: with_mask(inputs, weights["mask"].numpy()),
        schedule=schedule(p),
        members=p.members,
        device=p.device,
        batch_size=32,
    )


STRCN_A = System(
    name="strcn-a",
    title="STRCN-A",
    paper=PAPER,
    summary="recurrent convolutional network on the moving pixels of 30 magnified frames",
    departures=(
        "The mask is learned from the training clips of each fold; the paper uses the entire data sets, including "
        "test clips.",
        "Differences are summed over the 30 frames of the input instead of all frames of the clip, so that long "
        "clips do not have more weight.",
        "Grey levels are scaled to -1..1.",
        *PAPER_DEPARTURES,
        "Default preset, so that a fold trains on a CPU: 16 maps, 8 copies, 10 epochs with a half cosine from 1e-2, "
        "and the limit on magnified detail of the magnification's code (`exaggeration=2`). `preset=paper` has 50 "
        "copies, 1e-3 times 0.8 per epoch, and the paper's limit.",
    ),
    recipes={"frames": from_frames},
    parameters=StrcnAParameters,
    presets=PRESETS,
    build=build,
)
