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

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mien.classifiers.base import Classifier
from mien.errors import MienError
from mien.motion.dssi import SAMPLINGS, image_count, least_frames
from mien.preprocessing import Recipe, Step
from mien.preprocessing.inputs import Inputs
from mien.preprocessing.named import aligned_face_step
from mien.preprocessing.sampled import segmented_images
from mien.systems.base import System, check_choices
from mien.systems.strcn_g import schedule

if TYPE_CHECKING:
    from mien.models.sma_stn import SMASTN

CPU: Mapping[str, Any] = {
    "sampling": "local-global",
    "segments": 3,
    "frames": 4,
    "whole": True,
    "until": "offset",
    "fill": "none",
    "face": "lwm",
    "size": [64, 64],
    "colour": False,
    "draws": 4,
    "backbone": "small",
    "weights": "",
    "maps": 16,
    "stma": "both",
    "de_loss": "neutral",
    "de_weight": 0.1,
    "margin": 1.0,
    "dropout": 0.0,
    "epochs": 24,
    "min_change": 0.0,
    "batch_size": 32,
    "lr": 3e-2,
    "decay": "cosine",
    "weight_decay": 5e-4,
    "loss": "balanced",
    "mirror": True,
    "shift": 2,
    "strength": 0.0,
    "members": 1,
    "device": "auto",
}
RESNET18: Mapping[str, Any] = {"size": [112, 112], "colour": True, "backbone": "resnet18", "maps": 64, "lr": 1e-2}
SMALL: Mapping[str, Any] = {"size": [48, 48], "segments": 2, "draws": 2, "maps": 8, "shift": 1}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "sampling": SAMPLINGS,
    "until": ("offset", "apex"),
    "fill": ("none", "linear"),
    "face": ("lwm", "crop", "none"),
    "backbone": ("small", "resnet18"),
    "stma": ("none", "spatial", "temporal", "both"),
    "de_loss": ("none", "centres", "neutral", "draws"),
    "loss": ("balanced", "cross_entropy", "focal"),
}


def from_frames(p: Mapping[str, Any]) -> Recipe:
    """Every draw of a clip's dynamic images."""
    check_choices(p, CHOICES)
    least_frames(p["sampling"], p["segments"])
    _check_draws(p)
    keys = ("size", "sampling", "segments", "whole", "draws", "until", "colour", "fill")
    images = Step("segmented_images", segmented_images, {**{k: p[k] for k in keys}, "n": p["frames"]})
    count = image_count(p["sampling"], p["segments"], p["frames"], p["whole"])
    shape = (p["draws"], count, *p["size"], 3 if p["colour"] else 1)
    # The first axis names draws even where there is one, so that inputs are read from the cache.
    return Recipe((aligned_face_step(p["face"]), images), "KTHWC", shape, (-255.0, 255.0), "float16")


def build(n_classes: int, parameters: Mapping[str, Any]) -> Classifier:
    """An untrained network."""
    from mien.classifiers.augment import mirror_frames, vary_frames
    from mien.classifiers.net import NetClassifier
    from mien.models.sma_stn import SMASTN
    from mien.models.weights import weights_file

    check_choices(parameters, CHOICES)
    _check_draws(parameters)

    def untrained(inputs: Inputs) -> SMASTN:
        return SMASTN(
            n_classes,
            inputs.shape[-1],
            parameters["backbone"],
            parameters["maps"],
            parameters["stma"],
            parameters["de_loss"],
            parameters["de_weight"],
            parameters["margin"],
            parameters["dropout"],
        )

    def make(inputs: Inputs) -> SMASTN:
        given = parameters["weights"] and weights_file(parameters["weights"])
        model = untrained(inputs)
        if given:
            model.backbone.load(given)
        return model

    return NetClassifier(
        make=make,
        remake=lambda inputs, _: untrained(inputs),
        schedule=schedule(parameters),
        mirror=mirror_frames if parameters["mirror"] else None,
        members=parameters["members"],
        augment=vary_frames(parameters["shift"], parameters["strength"]),
        device=parameters["device"],
        batch_size=32,
        pairs=parameters["de_loss"] == "draws",
    )


def _check_draws(p: Mapping[str, Any]) -> None:
    least = 2 if p["de_loss"] == "draws" else 1
    if p["draws"] < least:
        raise MienError(f"draws is {p['draws']}.", f"{least} or more with this DE-Loss.", f"`--set draws={least}`.")


SMA_STN = System(
    name="sma-stn",
    title="SMA-STN-style (a reconstruction from the abstract)",
    paper="after Liu, Zheng, Zong, SMA-STN: Segmented Movement-Attending Spatiotemporal Network for Micro-Expression "
    "Recognition, arXiv 2010.09342; its full text and code were not available",
    summary="RECONSTRUCTION from an abstract: dynamic images of segments, attention over face and segments",
    departures=(
        "This is not the authors' system: only their abstract was available. Every number and equation is ours.",
        "DSSI: which frames are taken is open. Three samplings: `local`, `local-global` (default), `interleaved`.",
        "STMA: a non-local block with zero-initialised output, and a softmax over segments; where it stands and its "
        "equations are open.",
        "DE-Loss: its equation is open. `--set de_loss=` neutral (default), centres, draws, or none.",
        "Defaults have every part that the abstract names; which form of each was chosen by cross-validation over the "
        "subjects of drawn faces (docs/sma-stn.md; `studies/sma_stn_choices.py`).",
        "Trained from scratch unless `--set weights=FILE` gives a local file; the paper is said to pre-train on "
        "WIDER FACE.",
        "Default preset: 64x64 grey and a small residual network, so that a fold trains on a CPU. "
        "`preset=resnet18`: 112x112 colour, ResNet-18.",
    ),
    recipes={"frames": from_frames},
    parameters={"preset": "cpu", **CPU},
    presets={"cpu": CPU, "resnet18": RESNET18, "small": SMALL},
    build=build,
)
