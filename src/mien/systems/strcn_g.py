"""STRCN-G: the geometric spatiotemporal recurrent convolutional network (Xia, Hong, Gao, Feng, Zhao).

IEEE Transactions on Multimedia 2020, arXiv 1901.04656.

Input    optical flow from onset to apex of the magnified clip, 300x245x2 (section III-C.2).
         The way there: crop, alignment by a local weighted mean, magnification, apex by equation 5, flow.
Copies   magnified by 5 to 14, with 100 to 60 % of the frames: 50 of each training clip (section III-E).
Network  Table I: 5x5 convolution, four recurrent convolutional layers, global average, softmax (`mien.models.rcn`).
Training section III-E and IV-A: stochastic gradient descent with momentum 0.9, weight decay 5e-4, batches of 20,
         loss balanced by the class shares of the batch, learning rate 1e-3 times 0.8 per epoch.

That is `--set preset=paper`. The default preset depends on the clips: of frames, `cpu` takes the same steps in the same
order and makes the result a quarter as large and the network small; of ready flow pictures, `pictures` reads the 28x28
pictures in which the field hands its flow around, and trains in seconds a fold. `--set variant=authors-code` takes the
released network instead of Table I's.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.parameters import OnlyIf, Preset, unit
from mien.preprocessing import CENTRED_FLOW_PICTURE, Recipe, Step, flow_from_frames
from mien.preprocessing.copies import ALPHAS, SHARES, geometry_copies
from mien.preprocessing.inputs import Inputs
from mien.preprocessing.named import aligned_face_step
from mien.preprocessing.parameters import (
    Alphas,
    Apex,
    Exaggeration,
    Face,
    Flow,
    Hertz,
    PerFrame,
    PresetName,
    Shares,
    Size,
)
from mien.systems.base import System
from mien.systems.schedule import (
    Decay,
    EpochsOrSteps,
    LearningRate,
    Maps,
    Mirror,
    Shift,
    Strength,
    Training,
    WeightDecay,
    schedule,
)
from mien.systems.strcn import PAPER, PAPER_DEPARTURES, RecurrentNetwork, Variant, network

FACE = OnlyIf(medium="frames", input="face")


class StrcnGParameters(RecurrentNetwork, Training):
    """Parameters of STRCN-G."""

    preset: PresetName = "pictures"
    input: Annotated[
        Literal["picture", "face"],
        Field(description="28x28 flow picture of the frames as they are, or the paper's flow of the magnified face."),
        OnlyIf(medium="frames"),
    ] = "picture"
    variant: Annotated[
        Literal["paper", "authors-code", "both"],
        Field(description="Reading of the network: Table I of the paper, the released code, or one of each."),
    ] = "paper"
    maps: Maps = 24
    epochs: EpochsOrSteps = 20
    lr: LearningRate = 3e-2
    decay: Decay = "cosine"
    weight_decay: WeightDecay = 5e-3
    mirror: Mirror = True
    shift: Shift = 0
    strength: Strength = 0.0
    patch: Annotated[
        int,
        Field(
            ge=0,
            le=256,
            description="Side of a square that is hidden at a random position of each training clip; 0 hides none.",
            json_schema_extra=unit("pixels"),
        ),
    ] = 0
    test_shift: Annotated[
        int,
        Field(
            ge=0,
            le=8,
            description=(
                "Predictions are averaged over shifts of the clip by up to this much; 0 uses only the clip itself."
            ),
            json_schema_extra=unit("pixels"),
        ),
    ] = 0
    start: Annotated[
        str,
        Field(
            max_length=4096,
            description="Weights to start training from: a checkpoint of this system, shipped, or empty for none.",
            json_schema_extra={"expects": "a file that `mien train` wrote, shipped, or nothing"},
        ),
    ] = ""
    flow: Flow = "tvl1"
    face: Annotated[Face, FACE] = "lwm"
    apex: Annotated[Apex, FACE] = "given"
    size: Annotated[Size, FACE] = (300, 245)
    alphas: Annotated[Alphas, FACE] = (8.0,)
    shares: Annotated[Shares, FACE] = (1.0,)
    exaggeration: Annotated[Exaggeration, FACE] = 2.0
    hertz: Annotated[Hertz, FACE] = False
    per_frame: Annotated[PerFrame, OnlyIf(medium="frames", input="face", face=("lwm", "crop"))] = False


PRESETS = {
    "pictures": Preset("28x28 flow pictures, as MEGC's composite is handed around; seconds a fold on a CPU."),
    "cpu": Preset(
        "The paper's steps on frames in the paper's order, then a quarter of the size: 6 copies, 16 maps; minutes a "
        "fold on a CPU.",
        {
            "input": "face",
            "flow": "classic_nl_published",
            "apex": "found",
            "size": (75, 61),
            "alphas": (8.0, 5.0, 11.0),
            "shares": (1.0, 0.8),
            "exaggeration": 1.0,
            "maps": 16,
            "epochs": 12,
            "lr": 1e-2,
            "weight_decay": 5e-4,
            "mirror": False,
        },
    ),
    "committee": Preset(
        "Most accurate on flow pictures: both readings of the network, with motion varied in training.",
        {"variant": "both", "members": 2, "strength": 0.3, "patch": 8, "test_shift": 1},
    ),
    "paper": Preset(
        "The paper's own pipeline on frames: 300x245, 50 copies of each clip, 128 maps; hours a fold.",
        {
            "input": "face",
            "flow": "classic_nl_published",
            "apex": "found",
            "alphas": ALPHAS,
            "shares": SHARES,
            "exaggeration": 1.0,
            "maps": 128,
            "epochs": 40,
            "min_change": 1e-3,
            "lr": 1e-3,
            "decay": "0.8",
            "weight_decay": 5e-4,
            "mirror": False,
        },
    ),
    "small": Preset(
        "The paper's steps on frames at a quarter of the size, to try things out on a CPU.",
        {
            "input": "face",
            "flow": "dis",
            "size": (75, 61),
            "alphas": (8.0, 5.0, 11.0),
            "shares": (1.0, 0.8),
            "maps": 8,
            "epochs": 8,
        },
    ),
}


def from_frames(p: StrcnGParameters) -> Recipe:
    """Return the input from frames: the 28x28 picture, or every copy of the paper's flow."""
    if p.input == "picture":
        return flow_from_frames(p.flow, centred=True)
    settings = {
        "alphas": p.alphas,
        "shares": p.shares,
        "apex": p.apex,
        "size": p.size,
        "method": p.flow,
        "exaggeration": p.exaggeration,
        "hertz": p.hertz,
    }
    copies = Step("geometry_copies", geometry_copies, settings, version=2)
    shape = (len(p.alphas) * len(p.shares), 2, *p.size)
    return Recipe((aligned_face_step(p.face, p.per_frame), copies), "KCHW", shape, (-300.0, 300.0), "float16")


def build(n_classes: int, p: StrcnGParameters) -> Classifier:
    """Return an untrained STRCN-G."""
    from mien.classifiers.augment import (
        in_turn,
        mirror_flow,
        random_patch,
        random_shift,
        random_strength,
        shifted_views,
    )
    from mien.classifiers.checkpoint import start_from
    from mien.classifiers.unit_net import UnitNetClassifier
    from mien.models.rcn import RCN

    def make(inputs: Inputs, variant: Variant) -> RCN:
        channels, height, width = inputs.shape
        return RCN(n_classes, channels, (height, width), dropout=p.dropout, **network(p, variant))

    variants: tuple[Variant, ...] = ("paper", "authors-code") if p.variant == "both" else (p.variant,)
    first, *others = variants
    return UnitNetClassifier(
        make=partial(make, variant=first),
        others=[partial(make, variant=other) for other in others],
        schedule=schedule(p),
        mirror=mirror_flow if p.mirror else None,
        members=p.members,
        views=shifted_views(p.test_shift),
        augment=in_turn(
            *([random_shift(p.shift)] if p.shift else []),
            *([random_strength(p.strength)] if p.strength else []),
            *([random_patch(p.patch)] if p.patch else []),
        ),
        device=p.device,
        start=start_from(p.start, "strcn-g"),
        batch_size=512 if p.input == "picture" else 32,
    )


STRCN_G = System(
    name="strcn-g",
    title="STRCN-G",
    paper=PAPER,
    summary="recurrent convolutional network on optical flow from onset to apex",
    departures=(
        *PAPER_DEPARTURES,
        "Flow is Classic+NL-fast, as in the authors' released code (`classic_nl_published`), on grey pictures; the "
        "text describes a Lorentzian penalty: `--set flow=classic_l`.",
        "The apex is searched in the whole clip, according to equation 5; the released code searches from 20 to 70 %.",
        "`preset=cpu`, the default on frames: after the paper's steps flow is reduced to 75x61 (the pools shrink with "
        "it, `fit_pools`), 6 copies, 16 maps, 12 epochs with a half cosine from 1e-2.",
        "`preset=pictures`, the default on ready flow pictures: 28x28 with optical strain as a third channel, the form "
        "in which the composite is handed around. On frames it takes no step of the paper's pipeline: flow of the "
        "frames as they are.",
        "`preset=pictures`: pictures are centred at zero motion and scaled to unit root mean square "
        "(`centre_and_scale`), because their scaling to 0..255 hides both.",
        "`preset=pictures`: 24 maps, 20 epochs with a half cosine from 3e-2, weight decay 5e-3: chosen on inner splits "
        "by subject (docs/methods/strcn-g.md). The paper's 1e-3 times 0.8 belongs to epochs over 50 copies of each "
        "clip.",
        "`preset=pictures`: the mirror image is the only copy; ready pictures cannot be magnified or lose frames. "
        "Predictions average a clip and its mirror image.",
        "`preset=committee`: one network for each reading of the paper (Table I and the released code), trained "
        "with randomly scaled motion and a hidden square; predictions are averaged over both networks and over "
        "shifts by a pixel.",
    ),
    recipes={"flow": lambda _: CENTRED_FLOW_PICTURE, "frames": from_frames},
    parameters=StrcnGParameters,
    presets=PRESETS,
    default_presets={"frames": "cpu"},
    build=build,
)
