"""The predecessor of STRCN: Xia, Feng, Hong, Zhao, "Spontaneous facial micro-expression recognition via deep
convolutional network", IPTA 2018.

A reconstruction. Only its abstract is known: an end-to-end recurrent convolutional network on micro-expression
sequences, whose samples are multiplied by temporal jittering; SMIC, CASME and CASME II. What is taken from scripts that
the authors' later repository keeps: grey faces under a mask, 30 columns, frames taken out by up to 55 % in steps of
5 %, several ways to interpolate. Everything else follows STRCN-A, without magnification.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mien.parameters import Preset
from mien.preprocessing import Recipe, Step
from mien.preprocessing.copies import jitter_copies
from mien.preprocessing.named import aligned_face_step
from mien.preprocessing.parameters import FRAMES
from mien.systems import strcn_a
from mien.systems.base import System
from mien.systems.strcn import OneVariant


class Strcn2018Parameters(strcn_a.MaskedNetwork):
    """Parameters of the recurrent convolutional network of 2018."""

    variant: OneVariant = "authors-code"
    copies: Annotated[
        int, Field(ge=1, le=10_000, description="Training copies of each clip: itself and jittered ones."), FRAMES
    ] = 8


PRESETS = {
    "cpu": Preset("8 copies and 16 maps, so that a fold trains on a CPU."),
    "paper": Preset(
        "96 copies, as the authors' scripts make, and 128 maps; for a GPU.",
        {"copies": 96, "maps": 128, "epochs": 15, "lr": 1e-3, "decay": "1.0", "weight_decay": 1e-4},
    ),
    "small": Preset(
        "A quarter of the pixels and 12 frames, to try things out.",
        {"size": (32, 24), "frames": 12, "copies": 4, "maps": 8, "epochs": 8},
    ),
}


def from_frames(p: Strcn2018Parameters) -> Recipe:
    """Return the clip and its jittered copies, before the mask."""
    steps = (
        aligned_face_step(p.face),
        Step("jitter_copies", jitter_copies, {"size": p.size, "copies": p.copies, "n": p.frames}, version=2),
    )
    return Recipe(steps, "KTHWC", (p.copies, p.frames, *p.size, 1), (0, 255), "uint8")


STRCN_2018 = System(
    name="strcn-2018",
    title="Recurrent convolutional network (IPTA 2018)",
    paper="Xia, Feng, Hong, Zhao, Spontaneous facial micro-expression recognition via deep convolutional network, "
    "IPTA 2018 (abstract)",
    summary="recurrent convolutional network on grey frames, multiplied by temporal jittering; a reconstruction",
    departures=(
        "A reconstruction: only the abstract, and scripts in the authors' later repository, were available.",
        "The network is that of the authors' released code with STRCN-A's pools.",
        "The mask is learned from the training clips of each fold.",
        "Default preset: 16 maps, 8 copies, so that a fold trains on a CPU. `preset=paper`: 96 copies, as the scripts "
        "make, and 128 maps.",
    ),
    recipes={"frames": from_frames},
    parameters=Strcn2018Parameters,
    presets=PRESETS,
    build=strcn_a.build,
)
