"""Step, Recipe and the running of one on a clip."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.types import Clip, IntervalSource

if TYPE_CHECKING:
    from mien.face.landmarks import FaceTrack

Array = NDArray[Any]


@dataclass(slots=True)
class Context:
    """What a step may know besides the array.

    Attributes:
        clip: The clip; its interval and frame rate are here.
        interval_source: "annotated" while onset and apex come from the annotation, "detected" once a step had to detect
            one, "ready" for ready flow pictures. The ledger records it.
        rows: For each row of the array, the index in the clip's frames that it shows; None before frames are read.
        apex: Row of the array that holds the apex; None while it is not known.
        track: Landmarks through the rows, in pixels of the clip's own frames; None before a step finds them.
        notes: What the reader should know about this clip, in sentences.
    """

    clip: Clip
    interval_source: IntervalSource = "annotated"
    rows: tuple[int, ...] | None = None
    apex: int | None = None
    track: FaceTrack | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Step:
    """One named step with its parameters.

    Attributes:
        name: Name in fingerprints and documentation.
        function: (array, context, **parameters) to array. The first step of a recipe gets an empty array.
        parameters: Keyword arguments; JSON values only.
        version: Raised when the same parameters come to give another result, so that stored results are made anew.
    """

    name: str
    function: Callable[..., Array]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a recipe makes of one clip.

    Attributes:
        array: The input, of the recipe's declared shape and type.
        interval_source: Where onset and apex came from.
        notes: What the reader should know, in sentences.
    """

    array: Array
    interval_source: IntervalSource
    notes: tuple[str, ...] = ()


Watch = Callable[[Step, Array, Context], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """An ordered list of steps and what comes out.

    Attributes:
        steps: In the order they run.
        axes: Axes of the output, one letter each ("CHW"); K counts copies of the clip, of which copy 0 is tested.
        shape: Its shape; None where the clip decides.
        range: Its least and greatest possible value.
        dtype: Type of its numbers, as they are kept.
    """

    steps: tuple[Step, ...]
    axes: str
    shape: tuple[int | None, ...]
    range: tuple[float, float]
    dtype: Literal["float32", "float16", "uint8"] = "float32"

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that change when a step, its version, a parameter or the order changes."""
        text = json.dumps([[s.name, s.version, dict(s.parameters)] for s in self.steps], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def prepare(self, clip: Clip, watch: Watch | None = None) -> Prepared:
        """The system's input for one clip.

        Args:
            clip: The clip.
            watch: Called after every step with the step, its result and the context, to look at what happens.

        Raises:
            MienError: A frame is missing or unreadable, no face is there, or the output is not of the declared shape.
        """
        context = Context(clip, "ready" if clip.medium == "flow" else "annotated")
        array: Array = np.empty(0)
        for step in self.steps:
            array = step.function(array, context, **step.parameters)
            if watch is not None:
                watch(step, array, context)
        fits = len(array.shape) == len(self.shape) and all(
            wanted in (None, got) for wanted, got in zip(self.shape, array.shape, strict=True)
        )
        if not fits:
            raise MienError(
                f"{clip.key} gives an input of shape {array.shape}.",
                f"{self.shape} ({self.axes}).",
                "a picture of that size, or another system (`mien systems`).",
            )
        return Prepared(array.astype(self.dtype, copy=False), context.interval_source, tuple(context.notes))

    def run(self, clip: Clip) -> tuple[NDArray[np.float32], IntervalSource]:
        """The input alone and where onset and apex came from; errors as `prepare`."""
        prepared = self.prepare(clip)
        return prepared.array, prepared.interval_source
