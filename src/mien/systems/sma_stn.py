"""SMA-STN-style: dynamic segmented sparse images, attention in space and over segments, a deviation loss.

A RECONSTRUCTION. "SMA-STN: Segmented Movement-Attending Spatiotemporal Network for Micro-Expression Recognition" (Liu,
Zheng, Zong; arXiv 2010.09342) was available as an abstract only, and no code of its authors is public. What stands here
fits every word of the abstract and fills its gaps with the simplest known parts; its figures are ours, not theirs.

Input    DSSI: the aligned face from onset to offset, as one dynamic image for each of K segments, from n frames each,
         and one over the whole clip (`mien.motion.dssi`).
Network  one residual network for all images; STMA: a non-local block over the face, and weights for the segments
         (`mien.models.sma_stn`).
Training class-balanced cross-entropy, plus DE-Loss where it is asked for.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.errors import MienError
from mien.motion.dssi import Sampling, image_count, least_frames
from mien.parameters import Not, OnlyIf, Preset, unit
from mien.preprocessing import Recipe, Step
from mien.preprocessing.inputs import Inputs
from mien.preprocessing.named import aligned_face_step
from mien.preprocessing.parameters import FRAMES, Colour, Face, PresetName, Size
from mien.preprocessing.sampled import segmented_images
from mien.systems.base import System
from mien.systems.schedule import (
    BatchSize,
    EpochsOrSteps,
    LearningRate,
    Maps,
    Mirror,
    Shift,
    Strength,
    Training,
    schedule,
)

DEVIATION = Not("none")


class SmaStnParameters(Training):
    """Parameters of the SMA-STN-style system."""

    preset: PresetName = "cpu"
    sampling: Annotated[
        Sampling,
        Field(description="Which frames an image is made of: of a segment, with the first frame, or one of each."),
        FRAMES,
    ] = "local-global"
    segments: Annotated[
        int, Field(ge=1, le=1000, description="Equal parts of a clip.", json_schema_extra=unit("segments")), FRAMES
    ] = 3
    frames: Annotated[
        int, Field(ge=1, le=1000, description="Frames of each segment.", json_schema_extra=unit("frames")), FRAMES
    ] = 4
    whole: Annotated[bool, Field(description="Add an image of frames spread over the whole clip."), FRAMES] = True
    until: Annotated[
        Literal["offset", "apex"], Field(description="Where the clip ends: at its offset, or at a known apex."), FRAMES
    ] = "offset"
    fill: Annotated[
        Literal["none", "linear"],
        Field(description="Clips too short for their segments are refused (none), or filled by interpolation."),
        FRAMES,
    ] = "none"
    face: Face = "lwm"
    size: Annotated[Size, Field(description="Height and width of an image.")] = (64, 64)
    colour: Colour = False
    draws: Annotated[
        int, Field(ge=1, le=10_000, description="Random draws of a clip's frames that training sees."), FRAMES
    ] = 4
    backbone: Annotated[
        Literal["small", "resnet18"], Field(description="Residual network of an image: a small one, or ResNet-18.")
    ] = "small"
    weights: Annotated[
        str,
        Field(
            max_length=4096,
            description="Local file with weights of the residual network; empty trains from scratch.",
            json_schema_extra={"expects": "a .safetensors file, or nothing"},
        ),
    ] = ""
    maps: Maps = 16
    stma: Annotated[
        Literal["none", "spatial", "temporal", "both"],
        Field(description="Attention over the face (spatial), over segments (temporal), both or none."),
    ] = "both"
    de_loss: Annotated[
        Literal["none", "centres", "neutral", "draws"],
        Field(description="Deviation loss: to class centres, away from a clip without motion, between draws, or none."),
    ] = "neutral"
    de_weight: Annotated[
        float, Field(ge=0, le=1e6, description="Weight of the deviation loss."), OnlyIf(de_loss=DEVIATION)
    ] = 0.1
    margin: Annotated[
        float,
        Field(ge=0, le=1e6, description="Distance beyond which the deviation loss is zero."),
        OnlyIf(de_loss=("centres", "neutral")),
    ] = 1.0
    epochs: EpochsOrSteps = 24
    batch_size: BatchSize = 32
    lr: LearningRate = 3e-2
    mirror: Mirror = True
    shift: Shift = 2
    strength: Strength = 0.0


PRESETS = {
    "cpu": Preset("64x64 grey and a small residual network, so that a fold trains on a CPU."),
    "resnet18": Preset(
        "112x112 colour and ResNet-18; for a GPU.",
        {"size": (112, 112), "colour": True, "backbone": "resnet18", "maps": 64, "lr": 1e-2},
    ),
    "small": Preset(
        "48x48, two segments and 8 maps, to try things out.",
        {"size": (48, 48), "segments": 2, "draws": 2, "maps": 8, "shift": 1},
    ),
}


def from_frames(p: SmaStnParameters) -> Recipe:
    """Return every draw of a clip's dynamic images."""
    least_frames(p.sampling, p.segments)
    _check_draws(p)
    settings = {
        "size": p.size,
        "sampling": p.sampling,
        "segments": p.segments,
        "whole": p.whole,
        "draws": p.draws,
        "until": p.until,
        "colour": p.colour,
        "fill": p.fill,
        "n": p.frames,
    }
    images = Step("segmented_images", segmented_images, settings)
    count = image_count(p.sampling, p.segments, p.frames, p.whole)
    shape = (p.draws, count, *p.size, 3 if p.colour else 1)
    # The first axis names draws even where there is one, so that inputs are read from the cache.
    return Recipe((aligned_face_step(p.face), images), "KTHWC", shape, (-255.0, 255.0), "float16")


def build(n_classes: int, p: SmaStnParameters) -> Classifier:
    """Return an untrained network."""
    from mien.classifiers.augment import mirror_frames, vary_frames
    from mien.classifiers.net import NetClassifier
    from mien.models.sma_stn import SMASTN
    from mien.models.weights import weights_file

    _check_draws(p)

    def untrained(inputs: Inputs) -> SMASTN:
        return SMASTN(
            n_classes,
            inputs.shape[-1],
            p.backbone,
            p.maps,
            p.stma,
            p.de_loss,
            p.de_weight,
            p.margin,
            p.dropout,
        )

    def make(inputs: Inputs) -> SMASTN:
        given = weights_file(p.weights) if p.weights else None
        model = untrained(inputs)
        if given is not None:
            model.backbone.load(given)
        return model

    return NetClassifier(
        make=make,
        remake=lambda inputs, _: untrained(inputs),
        schedule=schedule(p),
        mirror=mirror_frames if p.mirror else None,
        members=p.members,
        augment=vary_frames(p.shift, p.strength),
        device=p.device,
        batch_size=32,
        pairs=p.de_loss == "draws",
    )


def _check_draws(p: SmaStnParameters) -> None:
    least = 2 if p.de_loss == "draws" else 1
    if p.draws < least:
        raise MienError(f"draws is {p.draws}.", f"{least} or more with this DE-Loss.", f"`--set draws={least}`.")


SMA_STN = System(
    name="sma-stn",
    title="SMA-STN-style (a reconstruction from the abstract)",
    paper="after Liu, Zheng, Zong, SMA-STN: Segmented Movement-Attending Spatiotemporal Network for Micro-Expression "
    "Recognition, arXiv 2010.09342; its full text and code were not available",
    summary="RECONSTRUCTION from an abstract: dynamic images of segments, attention over face and segments",
    departures=(
        "This is not the authors' system: only their abstract was available. Every number and equation is ours.",
        "DSSI: the abstract does not state which frames are used. Three samplings are available: `local`, "
        "`local-global` (default), `interleaved`.",
        "STMA: a non-local block with zero-initialised output, and a softmax over segments; the abstract states "
        "neither its position nor its equations.",
        "DE-Loss: its equation is not stated. `--set de_loss=` neutral (default), centres, draws, or none.",
        "The defaults contain every part that the abstract names; the form of each was chosen by cross-validation "
        "over the subjects of synthetic faces (docs/notebook/sma-stn.md; `studies/sma_stn_choices.py`).",
        "Trained from scratch unless `--set weights=FILE` gives a local file; the paper is said to pre-train on "
        "WIDER FACE.",
        "Default preset: 64x64 grey and a small residual network, so that a fold trains on a CPU. "
        "`preset=resnet18`: 112x112 colour, ResNet-18.",
    ),
    recipes={"frames": from_frames},
    parameters=SmaStnParameters,
    presets=PRESETS,
    build=build,
)
