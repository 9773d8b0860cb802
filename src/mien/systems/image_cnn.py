"""Image-based CNN: each frame alone, the frames vote (Takalkar and Xu, DICTA 2017; Xia et al., IEEE TMM 2020).

Input    frames of the aligned clip, evenly spread.
Network  VGG-Face (VGG-16) from a local weights file; without one, a small residual network from scratch.
Training every frame has the class of its clip; mirror images, small shifts and changes of light as copies.
Test     a clip gets the class of at least half its frames, else that of most.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mien.classifiers.base import Classifier
from mien.errors import MienError
from mien.preprocessing import Recipe, Step
from mien.preprocessing.inputs import Inputs
from mien.preprocessing.named import aligned_face_step
from mien.preprocessing.sampled import spread_frames
from mien.systems.base import System, check_choices
from mien.systems.strcn_g import schedule

if TYPE_CHECKING:
    from mien.models.image_cnn import ImageCNN

CPU: Mapping[str, Any] = {
    "backbone": "auto",
    "weights": "",
    "face": "lwm",
    "frames": 10,
    "size": [0, 0],
    "colour": True,
    "maps": 16,
    "dropout": 0.0,
    "epochs": 12,
    "min_change": 0.0,
    "batch_size": 16,
    "lr": 1e-2,
    "decay": "cosine",
    "weight_decay": 5e-4,
    "loss": "balanced",
    "mirror": True,
    "shift": 2,
    "strength": 0.1,
    "members": 1,
    "device": "auto",
}
VGG_FACE: Mapping[str, Any] = {"backbone": "vgg-face", "dropout": 0.5, "lr": 1e-3, "batch_size": 2, "shift": 6}
SMALL: Mapping[str, Any] = {"size": [48, 48], "frames": 6, "colour": False, "maps": 8, "shift": 1}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "backbone": ("auto", "small", "vgg-face"),
    "face": ("lwm", "crop", "none"),
    "loss": ("balanced", "cross_entropy", "focal"),
}


def backbone_of(p: Mapping[str, Any]) -> str:
    """The backbone that "auto" stands for: "vgg-face" where there is a weights file, else "small"."""
    return ("vgg-face" if p["weights"] else "small") if p["backbone"] == "auto" else str(p["backbone"])


def from_frames(p: Mapping[str, Any]) -> Recipe:
    """Frames evenly spread over a clip; 224x224 for VGG-Face and 64x64 for the small network unless `size` is given."""
    check_choices(p, CHOICES)
    if p["frames"] < 1:
        raise MienError(f"frames is {p['frames']}.", "one or more.", "`--set frames=10`.")
    side = 224 if backbone_of(p) == "vgg-face" else 64
    size = [n or side for n in p["size"]]
    frames = Step("spread_frames", spread_frames, {"n": p["frames"], "size": size, "colour": p["colour"]})
    shape = (p["frames"], *size, 3 if p["colour"] else 1)
    return Recipe((aligned_face_step(p["face"]), frames), "THWC", shape, (0, 255), "uint8")


def build(n_classes: int, parameters: Mapping[str, Any]) -> Classifier:
    """An untrained network, and which backbone it has in its `chosen`."""
    from mien.classifiers.augment import mirror_frames, vary_frames
    from mien.classifiers.net import NetClassifier
    from mien.models.image_cnn import ImageCNN
    from mien.models.weights import weights_file

    check_choices(parameters, CHOICES)
    backbone = backbone_of(parameters)

    def untrained(inputs: Inputs) -> ImageCNN:
        return ImageCNN(n_classes, inputs.shape[-1], backbone, parameters["maps"], parameters["dropout"])

    def make(inputs: Inputs) -> ImageCNN:
        if backbone == "vgg-face" and not parameters["weights"]:
            raise MienError(
                "VGG-Face was asked for without its weights.",
                "a local file; 134 million weights cannot be learned from a few hundred clips.",
                "`--set weights=vgg_face.safetensors`, or `--set backbone=small`.",
            )
        given = parameters["weights"] and weights_file(parameters["weights"])
        model = untrained(inputs)
        if given:
            model.load(given)
        return model

    return NetClassifier(
        make=make,
        remake=lambda inputs, _: untrained(inputs),
        schedule=schedule(parameters),
        mirror=mirror_frames if parameters["mirror"] else None,
        members=parameters["members"],
        augment=vary_frames(parameters["shift"], parameters["strength"]),
        device=parameters["device"],
        batch_size=8,
        chosen={"backbone": backbone, "from": "a local file" if parameters["weights"] else "scratch"},
    )


IMAGE_CNN = System(
    name="image-cnn",
    title="Image-based CNN",
    paper="Takalkar and Xu, Image Based Facial Micro-Expression Recognition Using Deep Learning on Small Datasets, "
    "DICTA 2017 (abstract), as Xia et al., IEEE TMM 2020, section IV ran it",
    summary="single frames and their votes; VGG-Face with a local weights file, else a SMALL network from scratch",
    departures=(
        "Without `--set weights=FILE` this is a small residual network from scratch: another, weaker baseline than "
        "VGG-Face fine-tuned. Each fold's log says which it was.",
        "10 frames of a clip, evenly spread, instead of all (`--set frames=N`).",
        "Where no class has half the frames, the class of most; among equals, the greatest mean "
        "probability. The papers do not say.",
        "Copies: mirror image, shifts, light. The first paper's synthetic images are not described in its abstract.",
        "Learning rate, passes and weight decay are ours; the papers do not print them.",
    ),
    recipes={"frames": from_frames},
    parameters={"preset": "cpu", **CPU},
    presets={"cpu": CPU, "vgg-face": VGG_FACE, "small": SMALL},
    build=build,
)
