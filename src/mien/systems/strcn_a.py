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

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.classifiers.base import Classifier
from mien.preprocessing import Recipe, Step
from mien.preprocessing.copies import ALPHAS, SHARES, appearance_copies, magnified_small
from mien.preprocessing.inputs import Inputs
from mien.preprocessing.named import aligned_face_step
from mien.systems.base import System, check_choices
from mien.systems.strcn_g import network, schedule

CPU: Mapping[str, Any] = {
    "variant": "paper",
    "maps": 16,
    "layers": -1,
    "tied": "variant",
    "dropout": 0.0,
    "epochs": 10,
    "min_change": 0.0,
    "batch_size": 20,
    "lr": 1e-2,
    "decay": "cosine",
    "weight_decay": 5e-4,
    "loss": "balanced",
    "members": 1,
    "device": "auto",
    "face": "lwm",
    "size": [64, 48],
    "frames": 30,
    "time": "linear",
    "alphas": [8.0, 5.0, 11.0, 14.0],
    "shares": [1.0, 0.8],
    "mask": 0.30,
    "mask_per_clip": False,
    "mask_opening": 0,
}
PAPER: Mapping[str, Any] = {
    "alphas": list(ALPHAS),
    "shares": list(SHARES),
    "maps": 128,
    "epochs": 40,
    "min_change": 1e-3,
    "lr": 1e-3,
    "decay": "0.8",
}
SMALL: Mapping[str, Any] = {
    "size": [32, 24],
    "frames": 12,
    "alphas": [8.0, 11.0],
    "shares": [1.0, 0.8],
    "maps": 8,
    "epochs": 8,
}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "variant": ("paper", "authors-code"),
    "tied": ("variant", "yes", "no"),
    "loss": ("balanced", "cross_entropy", "focal"),
    "face": ("lwm", "crop", "none"),
    "time": ("linear", "tim"),
}


def from_frames(p: Mapping[str, Any]) -> Recipe:
    """Every copy of a clip, before the mask: the mask is learned from training clips."""
    check_choices(p, CHOICES)
    steps = (
        aligned_face_step(p["face"]),
        Step("magnified_small", magnified_small, {"alphas": p["alphas"], "size": p["size"]}),
        Step("appearance_copies", appearance_copies, {"shares": p["shares"], "n": p["frames"], "method": p["time"]}),
    )
    shape = (len(p["alphas"]) * len(p["shares"]), p["frames"], *p["size"], 3)
    return Recipe(steps, "KTHWC", shape, (0, 255), "uint8")


def build(n_classes: int, parameters: Mapping[str, Any]) -> Classifier:
    """An untrained STRCN-A; its mask is learned when it is fitted."""
    from mien.classifiers.net import NetClassifier
    from mien.models.masked import MaskedRCN, learn_mask, untrained

    check_choices(parameters, CHOICES)

    def with_mask(inputs: Inputs, mask: NDArray[np.bool_]) -> MaskedRCN:
        return untrained(inputs, n_classes, mask, dropout=parameters["dropout"], **network(parameters))

    def make(inputs: Inputs) -> MaskedRCN:
        share, per_clip, opening = (parameters[k] for k in ("mask", "mask_per_clip", "mask_opening"))
        return with_mask(inputs, learn_mask(inputs, share, per_clip, opening))

    return NetClassifier(
        make=make,
        remake=lambda inputs, weights: with_mask(inputs, weights["mask"].numpy()),
        schedule=schedule(parameters),
        members=parameters["members"],
        device=parameters["device"],
        batch_size=32,
    )


STRCN_A = System(
    name="strcn-a",
    title="STRCN-A",
    paper="Xia et al., Spatiotemporal Recurrent Convolutional Networks for Recognizing Spontaneous Micro-expressions, "
    "IEEE TMM 2020, sections III-C to III-E, Table I",
    summary="recurrent convolutional network on the moving pixels of 30 magnified frames",
    departures=(
        "The mask is learned from the training clips of each fold; the paper takes the entire data sets, test clips "
        "included, for it.",
        "Differences are summed over the 30 frames of the input, not over the clip's own, so long clips do not count "
        "more.",
        "Default preset: 16 maps, 8 copies, 10 passes with a half cosine from 1e-2, so that a fold trains on a CPU. "
        "`preset=paper`: 128 maps, the least that the authors tried, and 50 copies.",
        "The balanced loss is scaled to a mean weight of 1; the paper leaves the scale open.",
        "`preset=paper` reads the stop at a change below 1e-3 as one of the mean loss of a pass.",
        "Grey levels reach the network as -1..1.",
    ),
    recipes={"frames": from_frames},
    parameters={"preset": "cpu", **CPU},
    presets={"cpu": CPU, "paper": PAPER, "small": SMALL},
    build=build,
)
