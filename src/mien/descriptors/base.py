"""What a descriptor is to the command line: a pure function, and how a clip is made into what it reads."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from pydantic import create_model

from mien.errors import MienError
from mien.motion.clip_flow import flows_of_clip
from mien.parameters import Parameters
from mien.preprocessing import CENTRED_FLOW_PICTURE, steps
from mien.preprocessing.base import Array, Context, Recipe, Step
from mien.preprocessing.parameters import ApexFlow, ClipFlows, ColourFaces, FaceParameters, GreyFaces
from mien.types import Medium

Reads = Literal["grey", "colour", "flow", "flows", "clip"]

READING: Mapping[Reads, type[Parameters]] = {
    "grey": GreyFaces,
    "colour": ColourFaces,
    "flow": ApexFlow,
    "flows": ClipFlows,
    "clip": Parameters,
}
"""How a clip is made into what a descriptor reads, by kind; see `Descriptor.reads`."""


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
        model: Its parameters: how the clip is read (`READING`), then those of the function. None takes the keyword
            arguments of the function with the types of their defaults.

    Example:
        >>> from mien.descriptors import lbp_top
        >>> own = Descriptor("own-lbp", "LBP-TOP on one block", "-", lbp_top, "grey")
        >>> own.with_parameters({"radius": 3}).radius
        3
    """

    name: str
    summary: str
    source: str
    function: Callable[..., Array]
    reads: Reads
    from_picture: Callable[..., Array] | None = None
    model: type[Parameters] | None = None

    @property
    def parameters(self) -> type[Parameters]:
        """The model of its parameters."""
        return self.model or _model_of(self.function, READING[self.reads])

    def with_parameters(self, given: Mapping[str, Any] | None = None) -> Parameters:
        """Return all parameters; those left out keep their defaults.

        Raises:
            MienError: An unknown parameter, a value of the wrong kind, or one out of range.
        """
        return self.parameters.read(given or {}, f"The descriptor {self.name}")

    def recipe(self, given: Mapping[str, Any] | Parameters | None = None, medium: Medium = "frames") -> Recipe:
        """From a clip to the vector; parameters left out keep their defaults.

        Raises:
            MienError: As `with_parameters`; or a ready flow picture where frames are needed.
        """
        p = given if isinstance(given, Parameters) else self.with_parameters(given)
        own = {k: v for k, v in p.model_dump().items() if k not in READING[self.reads].model_fields}
        if medium == "frames":
            function = self.function if self.reads == "clip" else Described(self.function)
            made = (*_steps_to(p), Step(self.name, function, own))
        elif self.from_picture is not None:
            made = (*CENTRED_FLOW_PICTURE.steps, Step(f"{self.name} of a picture", self.from_picture, own))
        else:
            raise MienError(
                f"The descriptor {self.name} needs frames; these clips are ready flow pictures.",
                "a database with its frames.",
                "`--descriptor bi-woof`, which reads flow pictures too.",
            )
        return Recipe(made, "D", (None,), (float("-inf"), float("inf")))


@cache
def _model_of(function: Callable[..., Array], reading: type[Parameters]) -> type[Parameters]:
    """Parameters of a function that has no model: its keyword arguments, with the types of their defaults."""
    own: dict[str, Any] = {
        name: (_type_of(p.default), p.default)
        for name, p in inspect.signature(function).parameters.items()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return create_model(function.__name__, __base__=reading, **own)


def _type_of(default: Any) -> Any:
    if isinstance(default, tuple | list):
        return tuple[Any, ...]
    return type(default) if isinstance(default, bool | int | float | str) else Any


def face_steps(p: FaceParameters, exaggeration: float = 2.0) -> tuple[Step, ...]:
    """Return the steps from a clip's frames to its aligned face, magnified unless alpha is 0.

    Args:
        p: The parameters of the face.
        exaggeration: See `mien.motion.magnify.level_gains`.
    """
    aligned = Step("aligned_face", steps.aligned_face, {"size": p.size, "transform": p.face}, version=2)
    if not p.alpha:
        return (aligned,)
    settings = {"alpha": p.alpha, "r1": 0.4, "r2": 0.05, "wavelength": 16.0}
    if exaggeration != 2.0:
        settings["exaggeration"] = exaggeration
    return aligned, Step("magnify", steps.magnify, settings)


def _length_steps(frames: int, time: str) -> tuple[Step, ...]:
    return (Step("to_length", steps.to_length, {"n": frames, "method": time}),) if frames else ()


def grey_steps(p: GreyFaces) -> tuple[Step, ...]:
    """Return the steps to grey faces (T, H, W)."""
    return (*face_steps(p), Step("grey", steps.grey), *_length_steps(p.frames, p.time))


def colour_steps(p: ColourFaces) -> tuple[Step, ...]:
    """Return the steps to faces in colour (T, H, W, 3)."""
    return (*face_steps(p), *_length_steps(p.frames, p.time))


def flow_steps(p: ApexFlow, exaggeration: float = 2.0) -> tuple[Step, ...]:
    """Return the steps to the flow from onset to apex (H, W, 2); see `face_steps`."""
    return (
        *face_steps(p, exaggeration),
        Step("apex_and_onset", steps.apex_and_onset, {"apex": p.apex}),
        Step("flow_of_pair", steps.flow_of_pair, {"method": p.flow}),
    )


def flows_steps(p: ClipFlows) -> tuple[Step, ...]:
    """Return the steps to the flow of every frame (T - 1, H, W, 2)."""
    through = Step("clip_flows", clip_flows, {"method": p.flow, "against": p.against})
    return (*face_steps(p), Step("grey", steps.grey), through)


def _steps_to(p: Parameters) -> tuple[Step, ...]:
    if isinstance(p, GreyFaces):
        return grey_steps(p)
    if isinstance(p, ColourFaces):
        return colour_steps(p)
    if isinstance(p, ApexFlow):
        return flow_steps(p)
    return flows_steps(p) if isinstance(p, ClipFlows) else ()


def clip_flows(frames: Array, context: Context, *, method: str, against: Literal["first", "previous"]) -> Array:
    """Step: optical flow (T - 1, H, W, 2) through a clip (T, H, W)."""
    return flows_of_clip(frames, method, against)
