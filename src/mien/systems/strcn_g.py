"""STRCN-G: the geometric spatiotemporal recurrent convolutional network (Xia, Hong, Gao, Feng, Zhao).

IEEE Transactions on Multimedia 2020, arXiv 1901.04656.

Input    optical flow from onset to apex (section III-C). Here a 28x28 picture of u, v and optical strain.
Network  Table I: 5x5 convolution, four recurrent convolutional layers, global average, softmax (`mien.models.rcn`).
Training section III-E and IV-A: stochastic gradient descent with momentum 0.9, weight decay 5e-4, batches of 20,
         loss balanced by the class shares of the batch.

`--set variant=authors-code` takes the released network instead of Table I's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mien.errors import MienError
from mien.recipe import CENTRED_FLOW_PICTURE, flow_from_frames
from mien.systems.base import Classifier, System


def build(n_classes: int, parameters: Mapping[str, Any]) -> Classifier:
    """An untrained STRCN-G."""
    from mien.models.rcn import RCN
    from mien.training import LOSSES, NetClassifier, Schedule, mirror_flow

    for key, allowed in (("variant", ("paper", "authors-code")), ("loss", tuple(LOSSES))):
        if parameters[key] not in allowed:
            raise MienError(
                f"{key} is {parameters[key]!r}.", f"one of {', '.join(allowed)}.", f"`--set {key}={allowed[0]}`."
            )
    return NetClassifier(
        make=lambda: RCN(
            n_classes,
            in_channels=3,
            size=(28, 28),
            maps=parameters["maps"],
            layers=None if parameters["layers"] < 0 else parameters["layers"],
            variant=parameters["variant"],
            tied={"variant": None, "yes": True, "no": False}[parameters["tied"]],
            dropout=parameters["dropout"],
        ),
        schedule=Schedule(
            epochs=parameters["epochs"],
            batch_size=parameters["batch_size"],
            lr=parameters["lr"],
            decay="cosine",
            weight_decay=parameters["weight_decay"],
            loss=parameters["loss"],
        ),
        mirror=mirror_flow if parameters["mirror"] else None,
        members=parameters["members"],
        shift=parameters["shift"],
    )


STRCN_G = System(
    name="strcn-g",
    title="STRCN-G",
    paper="Xia et al., Spatiotemporal Recurrent Convolutional Networks for Recognizing Spontaneous Micro-expressions, "
    "IEEE TMM 2020, sections III-C to III-E, Table I",
    summary="recurrent convolutional network on optical flow from onset to apex",
    departures=(
        "Input 28x28 with optical strain as a third channel instead of 300x245 without: the form in which the "
        "composite is handed around. The pools shrink with it (`fit_pools`).",
        "The pictures are taken about zero motion and to unit root mean square (`centre_and_scale`): their stretching "
        "to 0..255 hid both.",
        "24 maps (the paper searches a grid and does not print the value; the released code has 512), 20 passes with a "
        "half cosine from 3e-2, weight decay 5e-3: chosen on inner splits by subject (docs/strcn-g.md). The paper's "
        "1e-3 times 0.8 per pass belongs to passes over 50 copies of each clip.",
        "Copies: the mirror image only; ready pictures cannot be magnified or lose frames. Predictions average a clip "
        "and its mirror image.",
        "The balanced loss is scaled to a mean weight of 1; the paper leaves the scale open.",
        "No early stop: the paper's criterion of 1e-3 does not say of what.",
    ),
    recipes={"flow": CENTRED_FLOW_PICTURE, "frames": flow_from_frames("tvl1", centred=True)},
    parameters={
        "variant": "paper",
        "maps": 24,
        "layers": -1,
        "tied": "variant",
        "dropout": 0.0,
        "epochs": 20,
        "batch_size": 20,
        "lr": 3e-2,
        "weight_decay": 5e-3,
        "loss": "balanced",
        "mirror": True,
        "shift": 0,
        "members": 1,
    },
    build=build,
)
