"""What a descriptor is to the command line: a pure function, and how a clip is made into what it reads."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mien.errors import MienError
from mien.motion.clip_flow import flows_of_clip
from mien.parameters import with_defaults
from mien.preprocessing import CENTRED_FLOW_PICTURE, steps
from mien.preprocessing.base import Array, Context, Recipe, Step
from mien.types import Medium

Reads = Literal["grey", "colour", "flow", "flows", "clip"]

_FACE: Mapping[str, Any] = {"face": "lwm", "size": [300, 245], "alpha": 0.0}
CLIP_PARAMETERS: Mapping[Reads, Mapping[str, Any]] = {
    "grey": {**_FACE, "frames": 0, "time": "tim"},
    "colour": {**_FACE, "frames": 0, "time": "linear"},
    "flow": {**_FACE, "apex": "given", "flow": "tvl1"},
    "flows": {**_FACE, "size": [150, 122], "flow": "dis", "against": "previous"},
    "clip": {},
}
"""How a clip is made into what a descriptor reads, by kind; see `Descriptor.reads`."""


CHOICES: Mapping[str, tuple[str, ...]] = {
    "face": ("lwm", "crop", "none"),
    "apex": ("given", "found"),
    "against": ("first", "previous"),
}


@dataclass(frozen=True, slots=True)
class Described:
    """A descriptor as the function of a step: (array, context, **parameters)."""

    function: Callable[..., Array]

    def __call__(self, array: Array, context: Context, **parameters: Any) -> Array:
        """The vector, as 32-bit numbers; errors name the clip."""
        try:
            return np.asarray(self.function(array, **parameters), np.float32)
        except MienError as error:
            raise MienError(f"{context.clip.key}: {error.found}", error.expected, error.fix) from None


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A descriptor by name.

    Attributes:
        name: Name on the command line.
        summary: What it measures, in one sentence.
        source: Paper, section.
        function: Makes the vector. A step function (array, context, **parameters) where `reads` is "clip".
        reads: "grey": (T, H, W) faces; "colour": (T, H, W, 3) faces; "flow": (H, W, 2) from onset to apex; "flows":
            (T - 1, H, W, 2) for all frames; "clip": the clip itself.
        from_picture: Step function that makes the vector of a ready flow picture (3, H, W), u and v about zero motion;
            None where the descriptor needs frames.
    """

    name: str
    summary: str
    source: str
    function: Callable[..., Array]
    reads: Reads
    from_picture: Callable[..., Array] | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter with its default: how the clip is read, then the function's own."""
        own = {
            name: _plain(p.default)
            for name, p in inspect.signature(self.function).parameters.items()
            if p.kind is inspect.Parameter.KEYWORD_ONLY
        }
        return {**CLIP_PARAMETERS[self.reads], **own}

    def recipe(self, given: Mapping[str, str | Any] | None = None, medium: Medium = "frames") -> Recipe:
        """From a clip to the vector; parameters left out keep their defaults.

        Raises:
            MienError: An unknown parameter, a value of the wrong kind, or a ready flow picture where frames are needed.
        """
        p = with_defaults(f"The descriptor {self.name}", self.parameters, given or {})
        own = {k: v for k, v in p.items() if k not in CLIP_PARAMETERS[self.reads]}
        if medium == "frames":
            function = self.function if self.reads == "clip" else Described(self.function)
            made = (*steps_to(self.reads, p), Step(self.name, function, own))
        elif self.from_picture is not None:
            made = (*CENTRED_FLOW_PICTURE.steps, Step(f"{self.name} of a picture", self.from_picture, own))
        else:
            raise MienError(
                f"The descriptor {self.name} needs frames; these clips are ready flow pictures.",
                "a database with its frames.",
                "`--descriptor bi-woof`, which reads flow pictures too.",
            )
        return Recipe(made, "D", (None,), (float("-inf"), float("inf")))


def steps_to(reads: Reads, p: Mapping[str, Any]) -> tuple[Step, ...]:
    """The steps from a clip's frames to what a descriptor reads.

    Args:
        reads: See `Descriptor.reads`.
        p: `CLIP_PARAMETERS[reads]`: "face" ("lwm", "crop" or "none"), "size" of the face, "alpha" of the magnification
            (0: none), "frames" to which the clip is brought (0: as it is) by the method "time", "apex" ("given" or
            "found"), "flow" method, "against" which frame it is taken.

    Raises:
        MienError: A parameter is not one of its words.
    """
    if reads == "clip":
        return ()
    for key, allowed in CHOICES.items():
        if p.get(key, allowed[0]) not in allowed:
            raise MienError(f"{key} is {p[key]!r}.", f"one of {', '.join(allowed)}.", f"`--set {key}={allowed[0]}`.")
    made = [Step("aligned_face", steps.aligned_face, {"size": list(p["size"]), "transform": p["face"]}, version=2)]
    if p["alpha"]:
        settings = {"alpha": p["alpha"], "r1": 0.4, "r2": 0.05, "wavelength": 16.0}
        made.append(Step("magnify", steps.magnify, settings))
    if reads == "flow":
        made.append(Step("apex_and_onset", steps.apex_and_onset, {"apex": p["apex"]}))
        made.append(Step("flow_of_pair", steps.flow_of_pair, {"method": p["flow"]}))
        return tuple(made)
    if reads != "colour":
        made.append(Step("grey", steps.grey))
    if reads == "flows":
        made.append(Step("clip_flows", clip_flows, {"method": p["flow"], "against": p["against"]}))
    elif p["frames"]:
        made.append(Step("to_length", steps.to_length, {"n": p["frames"], "method": p["time"]}))
    return tuple(made)


def clip_flows(frames: Array, context: Context, *, method: str, against: Literal["first", "previous"]) -> Array:
    """Step: optical flow (T - 1, H, W, 2) through a clip (T, H, W)."""
    return flows_of_clip(frames, method, against)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
