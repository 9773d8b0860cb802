"""STRCN-G: the geometric spatiotemporal recurrent convolutional network (Xia, Hong, Gao, Feng, Zhao).

IEEE Transactions on Multimedia 2020, arXiv 1901.04656.

Input    optical flow from onset to apex of the magnified clip, 300x245x2 (section III-C.2).
Copies   magnified by 5 to 14, with 100 to 60 % of the frames: 50 of each training clip (section III-E).
Network  Table I: 5x5 convolution, four recurrent convolutional layers, global average, softmax (`mien.models.rcn`).
Training section III-E and IV-A: stochastic gradient descent with momentum 0.9, weight decay 5e-4, batches of 20,
         loss balanced by the class shares of the batch, learning rate 1e-3 times 0.8 per pass.

That is `--set preset=paper`. The default preset reads the 28x28 pictures in which the field hands its flow around, and
trains in seconds a fold. `--set variant=authors-code` takes the released network instead of Table I's.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from mien.classifiers.base import Classifier
from mien.errors import MienError
from mien.preprocessing import CENTRED_FLOW_PICTURE, Recipe, Step, flow_from_frames
from mien.preprocessing.copies import ALPHAS, SHARES, geometry_copies
from mien.preprocessing.inputs import Inputs
from mien.preprocessing.named import aligned_face_step
from mien.systems.base import System, check_choices

if TYPE_CHECKING:
    from mien.classifiers.schedule import Schedule

PICTURES: Mapping[str, Any] = {
    "input": "picture",
    "variant": "paper",
    "maps": 24,
    "layers": -1,
    "tied": "variant",
    "dropout": 0.0,
    "epochs": 20,
    "min_change": 0.0,
    "batch_size": 20,
    "lr": 3e-2,
    "decay": "cosine",
    "weight_decay": 5e-3,
    "loss": "balanced",
    "mirror": True,
    "shift": 0,
    "strength": 0.0,
    "patch": 0,
    "test_shift": 0,
    "members": 1,
    "device": "auto",
    "start": "",
    "flow": "tvl1",
    "face": "lwm",
    "apex": "given",
    "size": [300, 245],
    "alphas": [8.0],
    "shares": [1.0],
}
PAPER: Mapping[str, Any] = {
    "input": "face",
    "flow": "classic_nl_published",
    "apex": "found",
    "alphas": list(ALPHAS),
    "shares": list(SHARES),
    "maps": 128,
    "epochs": 40,
    "min_change": 1e-3,
    "lr": 1e-3,
    "decay": "0.8",
    "weight_decay": 5e-4,
    "mirror": False,
}
COMMITTEE: Mapping[str, Any] = {
    "variant": "both",
    "members": 2,
    "strength": 0.3,
    "patch": 8,
    "test_shift": 1,
}
SMALL: Mapping[str, Any] = {
    "input": "face",
    "flow": "dis",
    "size": [75, 61],
    "alphas": [8.0, 5.0, 11.0],
    "shares": [1.0, 0.8],
    "maps": 8,
    "epochs": 8,
}


def from_frames(p: Mapping[str, Any]) -> Recipe:
    """The input from frames: the 28x28 picture, or every copy of the paper's flow."""
    check_choices(p, CHOICES)
    if p["input"] == "picture":
        return flow_from_frames(p["flow"], centred=True)
    settings = {k: p[k] for k in ("alphas", "shares", "apex", "size")}
    copies = Step("geometry_copies", geometry_copies, {**settings, "method": p["flow"]})
    shape = (len(p["alphas"]) * len(p["shares"]), 2, *p["size"])
    return Recipe((aligned_face_step(p["face"]), copies), "KCHW", shape, (-300.0, 300.0), "float16")


def build(n_classes: int, parameters: Mapping[str, Any]) -> Classifier:
    """An untrained STRCN-G."""
    from mien.classifiers.augment import (
        in_turn,
        mirror_flow,
        random_patch,
        random_shift,
        random_strength,
        shifted_views,
    )
    from mien.classifiers.checkpoint import start_from
    from mien.classifiers.net import NetClassifier
    from mien.models.rcn import RCN

    check_choices(parameters, CHOICES)

    def make(inputs: Inputs, variant: str) -> RCN:
        channels, height, width = inputs.shape
        shape = {**network(parameters), "variant": variant}
        return RCN(n_classes, channels, (height, width), dropout=parameters["dropout"], **shape)

    both = ("paper", "authors-code")
    first, *others = both if parameters["variant"] == "both" else (parameters["variant"],)
    return NetClassifier(
        make=partial(make, variant=first),
        others=[partial(make, variant=other) for other in others],
        schedule=schedule(parameters),
        mirror=mirror_flow if parameters["mirror"] else None,
        members=parameters["members"],
        views=shifted_views(parameters["test_shift"]),
        augment=in_turn(
            *([random_shift(parameters["shift"])] if parameters["shift"] else []),
            *([random_strength(parameters["strength"])] if parameters["strength"] else []),
            *([random_patch(parameters["patch"])] if parameters["patch"] else []),
        ),
        device=parameters["device"],
        start=start_from(parameters["start"], "strcn-g"),
        batch_size=512 if parameters["input"] == "picture" else 32,
    )


def network(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `RCN` that STRCN's systems share."""
    return {
        "maps": parameters["maps"],
        "layers": None if parameters["layers"] < 0 else parameters["layers"],
        "variant": parameters["variant"],
        "tied": {"variant": None, "yes": True, "no": False}[parameters["tied"]],
    }


def schedule(parameters: Mapping[str, Any]) -> Schedule:
    """How STRCN's systems are trained.

    Raises:
        MienError: `decay` is neither "cosine" nor a number.
    """
    from mien.classifiers.schedule import Schedule

    given = parameters["decay"]
    try:
        decay = given if given == "cosine" else float(given)
    except ValueError:
        raise MienError(f"decay is {given!r}.", "a number, or cosine.", "`--set decay=0.8`.") from None
    keys = ("epochs", "batch_size", "lr", "weight_decay", "loss", "min_change")
    return Schedule(decay=decay, **{key: parameters[key] for key in keys})


CHOICES: Mapping[str, tuple[str, ...]] = {
    "input": ("picture", "face"),
    "variant": ("paper", "authors-code", "both"),
    "tied": ("variant", "yes", "no"),
    "loss": ("balanced", "cross_entropy", "focal"),
    "face": ("lwm", "crop", "none"),
    "apex": ("given", "found"),
}

STRCN_G = System(
    name="strcn-g",
    title="STRCN-G",
    paper="Xia et al., Spatiotemporal Recurrent Convolutional Networks for Recognizing Spontaneous Micro-expressions, "
    "IEEE TMM 2020, sections III-C to III-E, Table I",
    summary="recurrent convolutional network on optical flow from onset to apex",
    departures=(
        "Default preset: input 28x28 with optical strain as a third channel instead of 300x245 without: the form in "
        "which the composite is handed around. The pools shrink with it (`fit_pools`). `preset=paper` has 300x245x2.",
        "Default preset: pictures are taken about zero motion and to unit root mean square (`centre_and_scale`): their "
        "stretching to 0..255 hid both.",
        "Default preset: 24 maps (the paper searches a grid and does not print the value; the released code has 512), "
        "20 passes with a half cosine from 3e-2, weight decay 5e-3: chosen on inner splits by subject "
        "(docs/strcn-g.md). The paper's 1e-3 times 0.8 per pass belongs to passes over 50 copies of each clip.",
        "Default preset: the mirror image is the only copy; ready pictures cannot be magnified or lose frames. "
        "Predictions average a clip and its mirror image.",
        "`preset=committee`: one network of each reading of the paper (Table I and the released code), trained with "
        "motion made stronger or weaker by chance and a hidden square; answers are averaged over both networks and "
        "over shifts by a pixel.",
        "`preset=paper` has 128 maps: the least that the authors tried.",
        "The balanced loss is scaled to a mean weight of 1; the paper leaves the scale open.",
        "`preset=paper` reads the stop at a change below 1e-3 as one of the mean loss of a pass.",
    ),
    recipes={"flow": lambda _: CENTRED_FLOW_PICTURE, "frames": from_frames},
    parameters={"preset": "pictures", **PICTURES},
    presets={"pictures": PICTURES, "committee": COMMITTEE, "paper": PAPER, "small": SMALL},
    build=build,
)
