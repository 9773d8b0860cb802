"""Image-based CNN: each frame alone, the frames vote (Takalkar and Xu, DICTA 2017; Xia et al., IEEE TMM 2020).

Input    frames of the aligned clip, evenly spread.
Network  VGG-Face (VGG-16) from a local weights file; without one, a small residual network from scratch.
Training every frame has the class of its clip; mirror images, small shifts and changes of light as copies.
Test     a clip gets the class of at least half its frames, else that of most.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.errors import MienError
from mien.parameters import OnlyIf, Preset, unit
from mien.preprocessing import Recipe, Step
from mien.preprocessing.inputs import Inputs
from mien.preprocessing.named import aligned_face_step
from mien.preprocessing.parameters import FRAMES, Colour, Face, PresetName
from mien.preprocessing.sampled import spread_frames
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

AutoSide = Annotated[int, Field(ge=0, le=4096)]


class ImageCnnParameters(Training):
    """Parameters of the image-based CNN."""

    preset: PresetName = "cpu"
    backbone: Annotated[
        Literal["auto", "small", "vgg-face"],
        Field(description="Network for a frame; auto uses vgg-face if weights are given, otherwise the small one."),
    ] = "auto"
    weights: Annotated[
        str,
        Field(
            max_length=4096,
            description="Local file with initial weights; empty trains from scratch.",
            json_schema_extra={"expects": "a .safetensors file, or nothing"},
        ),
    ] = ""
    face: Face = "lwm"
    frames: Annotated[
        int,
        Field(
            ge=1,
            le=10_000,
            description="Number of evenly spaced frames of a clip that are used.",
            json_schema_extra=unit("frames"),
        ),
        FRAMES,
    ] = 10
    size: Annotated[
        tuple[AutoSide, AutoSide],
        Field(
            description="Height and width of a frame; 0 takes 224 for VGG-Face and 64 for the small network.",
            json_schema_extra=unit("pixels"),
        ),
        FRAMES,
    ] = (0, 0)
    colour: Colour = True
    maps: Annotated[Maps, OnlyIf(backbone=("auto", "small"))] = 16
    epochs: EpochsOrSteps = 12
    batch_size: BatchSize = 16
    lr: LearningRate = 1e-2
    mirror: Mirror = True
    shift: Shift = 2
    strength: Strength = 0.1


PRESETS = {
    "cpu": Preset("A small network from scratch, so that a fold trains on a CPU."),
    "vgg-face": Preset(
        "VGG-Face from a local weights file, as the papers did; for a GPU.",
        {"backbone": "vgg-face", "dropout": 0.5, "lr": 1e-3, "batch_size": 2, "shift": 6},
    ),
    "small": Preset(
        "Grey frames of 48x48 pixels and 8 maps, to try things out.",
        {"size": (48, 48), "frames": 6, "colour": False, "maps": 8, "shift": 1},
    ),
}


def backbone_of(p: ImageCnnParameters) -> Literal["small", "vgg-face"]:
    """Return the backbone that "auto" stands for: "vgg-face" where there is a weights file, else "small"."""
    if p.backbone == "auto":
        return "vgg-face" if p.weights else "small"
    return p.backbone


def from_frames(p: ImageCnnParameters) -> Recipe:
    """Return frames evenly spread over a clip; 224x224 for VGG-Face and 64x64 for the small network by default."""
    side = 224 if backbone_of(p) == "vgg-face" else 64
    size = [n or side for n in p.size]
    frames = Step("spread_frames", spread_frames, {"n": p.frames, "size": size, "colour": p.colour})
    shape = (p.frames, *size, 3 if p.colour else 1)
    return Recipe((aligned_face_step(p.face), frames), "THWC", shape, (0, 255), "uint8")


def build(n_classes: int, p: ImageCnnParameters) -> Classifier:
    """Return an untrained network; its `chosen` says which backbone it has."""
    from mien.classifiers.augment import mirror_frames, vary_frames
    from mien.classifiers.net import NetClassifier
    from mien.models.image_cnn import ImageCNN
    from mien.models.weights import weights_file

    backbone = backbone_of(p)

    def untrained(inputs: Inputs) -> ImageCNN:
        return ImageCNN(n_classes, inputs.shape[-1], backbone, p.maps, p.dropout)

    def make(inputs: Inputs) -> ImageCNN:
        if backbone == "vgg-face" and not p.weights:
            raise MienError(
                "VGG-Face was asked for without its weights.",
                "a local file; 134 million weights cannot be learned from a few hundred clips.",
                "`--set weights=vgg_face.safetensors`, or `--set backbone=small`.",
            )
        given = weights_file(p.weights) if p.weights else None
        model = untrained(inputs)
        if given is not None:
            model.load(given)
        return model

    return NetClassifier(
        make=make,
        remake=lambda inputs, _: untrained(inputs),
        schedule=schedule(p),
        mirror=mirror_frames if p.mirror else None,
        members=p.members,
        augment=vary_frames(p.shift, p.strength),
        device=p.device,
        batch_size=8,
        chosen={"backbone": backbone, "from": "a local file" if p.weights else "scratch"},
    )


IMAGE_CNN = System(
    name="image-cnn",
    title="Image-based CNN",
    paper="Takalkar and Xu, Image Based Facial Micro-Expression Recognition Using Deep Learning on Small Datasets, "
    "DICTA 2017 (abstract), as Xia et al., IEEE TMM 2020, section IV ran it",
    summary="single frames and their votes; VGG-Face with a local weights file, else a SMALL network from scratch",
    departures=(
        "Without `--set weights=FILE`, this is a small residual network trained from scratch, a different and "
        "weaker baseline than fine-tuned VGG-Face. The log of each fold says which network was used.",
        "10 evenly spaced frames of a clip instead of all (`--set frames=N`).",
        "If no class has half of the frames, the most frequent class is used, and in a tie the one with the highest "
        "mean probability; the papers do not state a rule.",
        "Augmentation: mirror image, shifts, brightness. The synthetic images of the first paper are not described "
        "in its abstract.",
        "Learning rate, epochs and weight decay are ours; the papers do not state them.",
    ),
    recipes={"frames": from_frames},
    parameters=ImageCnnParameters,
    presets=PRESETS,
    build=build,
)
