"""Steps, recipes, and the application of a recipe to a clip."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.types import Clip, Interval, IntervalSource

if TYPE_CHECKING:
    from mien.face.landmarks import FaceTrack

Array = NDArray[Any]


def frame_no(clip: Clip, row: int) -> int:
    """Return the number of a clip's frame: the database's own, or its index where the frames have no numbers."""
    return clip.frame_nos[row] if clip.frame_nos else row


@dataclass(slots=True)
class Context:
    """What a step can read and record besides the array.

    Attributes:
        clip: The clip, with its interval and frame rate.
        interval_source: "annotated" while onset and apex are those of the annotation, "detected" after a step had to
            detect one, "ready" for ready flow pictures. The ledger records it.
        interval: Onset, apex and offset that the steps used, in frame numbers; the apex is None if no step needs it.
        rows: For each row of the array, the index of the frame of the clip that it shows; None before frames are read.
        apex: Row of the array that holds the apex; None if it is not known.
        track: Landmarks in each row, in pixels of the clip's frames; None before a step locates them.
        notes: Remarks for the user about this clip, as sentences.

    Example:
        >>> from mien.preprocessing.prepare import video_clip
        >>> context = Context(video_clip("face.mkv"))
        >>> context.use_interval(0, 7, 13)
        >>> context.interval
        Interval(onset=0, apex=7, offset=13)
    """

    clip: Clip
    interval_source: IntervalSource = "annotated"
    interval: Interval | None = None
    rows: tuple[int, ...] | None = None
    apex: int | None = None
    track: FaceTrack | None = None
    notes: list[str] = field(default_factory=list)

    def use_interval(self, onset: int, apex: int | None, offset: int) -> None:
        """Record the onset, apex and offset that are used, given as indices of the clip's frames."""
        middle = None if apex is None else frame_no(self.clip, apex)
        self.interval = Interval(frame_no(self.clip, onset), middle, frame_no(self.clip, offset))

    def use_apex(self, row: int) -> None:
        """Record the apex that is used, given as a row of the array."""
        if self.interval is not None and self.rows is not None:
            self.interval = replace(self.interval, apex=frame_no(self.clip, self.rows[row]))


NOWHERE: Final = Context(Clip("none", "-", "-", None, ""))
"""For steps on an array that is no clip's: they read nothing of it."""


@dataclass(frozen=True, slots=True)
class Step:
    """A function from array to array, with a name and parameters.

    Attributes:
        name: Name in fingerprints and documentation.
        function: (array, context, **parameters) to array. The first step of a recipe is given an empty array.
        parameters: Keyword arguments, as JSON values.
        version: Increased when the same parameters give a different result, so that cached results are not used.

    Example:
        >>> def brighter(frames, context, by=10):
        ...     return frames + by
        >>> Step("brighter", brighter, {"by": 20}).parameters
        {'by': 20}
    """

    name: str
    function: Callable[..., Array]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True, slots=True)
class RecipeOutput:
    """The result of a recipe on one clip.

    Attributes:
        array: The input of a system, of the shape and type that the recipe declares.
        interval_source: Where onset and apex came from.
        notes: Remarks for the user, as sentences.
        interval: Onset, apex and offset that were used, in frame numbers; None for ready pictures and features.

    Example:
        >>> from mien.preprocessing import flow_from_frames
        >>> from mien.preprocessing.prepare import video_clip
        >>> output = flow_from_frames("dis").apply(video_clip("face.mkv"))
        >>> output.array.shape, output.interval_source
        ((3, 28, 28), 'detected')
    """

    array: Array
    interval_source: IntervalSource
    notes: tuple[str, ...] = ()
    interval: Interval | None = None


OnStep = Callable[[Step, Array, Context], None]
"""A function that is called after each step with the step, its result and the context."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """An ordered list of steps, and what its result looks like.

    Attributes:
        steps: The steps, in the order in which they run.
        axes: Axes of the result, one letter each ("CHW"). K counts copies of the clip; copy 0 is the one used for
            testing.
        shape: Shape of the result; None where it depends on the clip.
        range: Smallest and largest possible value of the result.
        dtype: Type of the result.

    Example:
        >>> import numpy as np
        >>> from mien.preprocessing import Recipe, Step
        >>> def mean_frame(frames, context):
        ...     return frames.mean(0)
        >>> recipe = Recipe((Step("mean_frame", mean_frame),), "HW", (64, 64), (0, 255))
        >>> len(recipe.fingerprint)
        12
    """

    steps: tuple[Step, ...]
    axes: str
    shape: tuple[int | None, ...]
    range: tuple[float, float]
    dtype: Literal["float32", "float16", "uint8"] = "float32"

    @property
    def fingerprint(self) -> str:
        """Return 12 hexadecimal digits that change when a step, its version, a parameter or the order changes.

        A method of optical flow that gives another result than it used to counts as another parameter.
        """
        from mien.motion.flow import REVISIONS  # OpenCV is not needed to describe a recipe

        steps = []
        for step in self.steps:
            named = [value for value in step.parameters.values() if isinstance(value, str)]
            revised = sorted(f"{name} {REVISIONS[name]}" for name in named if name in REVISIONS)
            steps.append([step.name, step.version, dict(step.parameters), *revised])
        text = json.dumps(steps, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def apply(self, clip: Clip, on_step: OnStep | None = None) -> RecipeOutput:
        """Run all steps on a clip.

        Args:
            clip: The clip.
            on_step: Called after each step with the step, its result and the context, to look at intermediate results.

        Returns:
            The input of a system for this clip.

        Raises:
            MienError: A frame is missing or cannot be read, no face is found, or the result does not have the declared
                shape.
        """
        context = Context(clip, "annotated" if clip.medium == "frames" else "ready")
        array: Array = np.empty(0)
        for step in self.steps:
            array = step.function(array, context, **step.parameters)
            if on_step is not None:
                on_step(step, array, context)
        has_shape = len(array.shape) == len(self.shape) and all(
            declared in (None, actual) for declared, actual in zip(self.shape, array.shape, strict=True)
        )
        if not has_shape:
            raise MienError(
                f"{clip.key} gives an input of shape {array.shape}.",
                f"{self.shape} ({self.axes}).",
                "a picture of that size, or another system (`mien systems`).",
            )
        return RecipeOutput(
            array.astype(self.dtype, copy=False), context.interval_source, tuple(context.notes), context.interval
        )

    def run(self, clip: Clip) -> tuple[NDArray[np.float32], IntervalSource]:
        """Run all steps as `apply` does, and return only the array and where onset and apex came from."""
        output = self.apply(clip)
        return output.array, output.interval_source
