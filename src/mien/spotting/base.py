"""The interface of a spotter: a watcher turns each frame into a row of numbers, a decision finds intervals in the rows.

    video -> face_stream -> Watcher: one row of numbers per frame -> Spotter.decide: intervals

The watcher is slow and has no thresholds; the decision is fast and has all of them. Both work on the video as it runs:
rows are searched in parts, so memory does not grow with the length of the video.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mien.parameters import Parameters, unit
from mien.spotting.face_stream import Look

Kind = Literal["micro", "macro"]
KINDS: Final[tuple[Kind, ...]] = ("micro", "macro")
Rows = NDArray[np.floating[Any]]

MICRO_LONGEST: Final = 0.5
"""Longest micro-expression in seconds; longer ones, up to `MACRO_LONGEST`, are macro-expressions (Yan et al. 2013;
MEGC 2020)."""

MACRO_LONGEST: Final = 4.0
"""Longest macro-expression in seconds."""


@dataclass(frozen=True, slots=True)
class Spot:
    """The interval of one expression, found or true. Frames are counted from 0; both ends are included.

    Attributes:
        onset: First frame.
        apex: Frame of the strongest expression; None if not known.
        offset: Last frame.
        kind: "micro" or "macro".
        score: How far the signal exceeds the threshold, in the unit of the spotter; larger is more certain. 1 for true
            intervals.
        emotion: Class of the expression; "" if not known.

    Example:
        >>> Spot(10, 14, 19, "micro").n_frames
        10
    """

    onset: int
    apex: int | None
    offset: int
    kind: Kind
    score: float = 1.0
    emotion: str = ""

    @property
    def n_frames(self) -> int:
        """Length in frames."""
        return self.offset - self.onset + 1


class Watcher(Protocol):
    """Turns face pictures into rows of numbers. Keeps a window of pictures only, whatever the length of the video."""

    def see(self, look: Look) -> list[Rows]:
        """Return the rows that this frame completes. Each frame gets one row, in order, but possibly later."""
        ...

    def finish(self) -> list[Rows]:
        """Return the rows of the last frames, at the end of the video."""
        ...


@runtime_checkable
class Between(Protocol):
    """A watcher that can also return the row of a single earlier picture."""

    def between(self, look: Look) -> Rows:
        """Return the row of a frame between the last two, in the rectangle of the last; nothing else changes."""
        ...

    def moved(self, before: Rows, now: Rows) -> float:
        """Return how much the face has moved between two rows, as a multiple of what matters at all."""
        ...


class Decide(Protocol):
    """Finds intervals in rows; a pure function."""

    def __call__(self, rows: Rows, fps: float, parameters: Mapping[str, Any], /) -> list[Spot]:
        """Return the intervals, with apexes, in (T, ...) rows, in time order. Rows of NaN are frames without a face."""
        ...


class Model(Protocol):
    """The trained part of a spotter, between the watcher and the decision."""

    def score(self, rows: Rows) -> Rows:
        """Return the rows for the decision, from the rows of the watcher."""
        ...


Seconds = Annotated[
    float,
    Field(gt=0, le=60, description="Length of the window for expressions of this kind.", json_schema_extra=unit("s")),
]
Threshold = Annotated[
    float, Field(ge=0, le=1, description="Position of the threshold between mean (0) and maximum (1) of the curve.")
]


@dataclass(frozen=True, slots=True)
class Spotter:
    """One spotting method.

    Attributes:
        name: Name on the command line.
        title: Name in print.
        paper: Citation.
        summary: What the method does, in one sentence.
        departures: Each difference from the paper, with its reason.
        tuned: Parameters that `benchmark --task spot` chooses on training subjects, by kind, with the values to try.
        watch: Makes a watcher from frames per second and parameters.
        decide: Finds intervals in rows.
        part: Seconds of rows that are searched at a time.
        margin: Seconds of rows before and after such a part that the decision also sees.
        train: Makes a model from (rows of each training video, their true expressions, frames per second, parameters,
            seed); None if nothing is trained.
        model: The model of its parameters; a spotter without any leaves this out.
        enough: Frames per second whose rows can be interpolated to those of a faster video, where speed matters more
            than the last digit; see `mien.recognition`. While the face is still, half of them are enough, if the
            watcher is also a `Between`. 0 where rows cannot be interpolated.
        rate: Sufficient frames per second: of faster videos only every `step`-th frame is used, see `hop`. 0 uses all.

    Example:
        >>> spotter = mien.spotters()["flow-peaks"]
        >>> spotter.title, sorted(spotter.tuned["micro"])
        ('...', ['micro_height'])
    """

    name: str
    title: str
    paper: str
    summary: str
    departures: tuple[str, ...]
    watch: Callable[[float, Mapping[str, Any]], Watcher]
    decide: Decide
    part: float
    margin: float
    tuned: Mapping[Kind, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)
    train: (
        Callable[[Sequence[Rows], Sequence[Sequence[Spot]], Sequence[float], Mapping[str, Any], int], Model] | None
    ) = None
    rate: float = 0.0
    enough: float = 0.0
    model: type[Parameters] = Parameters

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter with its default."""
        return self.model.defaults()

    def hop(self, fps: float) -> int:
        """Return the step between the frames that are used, at a frame rate."""
        return max(1, round(fps / self.rate)) if self.rate else 1

    def with_parameters(self, given: Mapping[str, str | Any]) -> dict[str, Any]:
        """Return all parameters: the given values, and the defaults for the others.

        Raises:
            MienError: A parameter is unknown, or a value has the wrong type or is out of range.
        """
        return self.model.read(given, self.name).model_dump()


class Along:
    """Applies the decision of a spotter to a running video, part by part; only one part is kept in memory.

    Args:
        spotter: The spotter.
        fps: Frames per second.
        parameters: All parameters of the spotter.
        model: The trained part, if the spotter has one.
    """

    def __init__(self, spotter: Spotter, fps: float, parameters: Mapping[str, Any], model: Model | None = None) -> None:
        self._spotter, self._fps, self._parameters, self._model = spotter, fps, parameters, model
        self._part, self._margin = max(1, round(spotter.part * fps)), round(spotter.margin * fps)
        self._rows: list[Rows] = []
        self._first = 0  # index of the first row kept
        self._next = 0  # index of the first frame that has not been searched

    def add(self, rows: Sequence[Rows]) -> Iterator[Spot]:
        """Add the next rows, and yield the intervals that are now final."""
        for row in rows:
            self._rows.append(row)
            if self._first + len(self._rows) >= self._next + self._part + self._margin:
                yield from self._settle(self._next + self._part)

    def finish(self) -> Iterator[Spot]:
        """Yield the intervals in the remaining rows."""
        if self._rows:
            yield from self._settle(self._first + len(self._rows))

    def _settle(self, stop: int) -> Iterator[Spot]:
        rows = np.stack(self._rows)
        scored = rows if self._model is None else self._model.score(rows)
        for spot in self._spotter.decide(scored, self._fps, self._parameters):
            assert spot.apex is not None
            if self._next <= spot.apex + self._first < stop:
                yield replace(
                    spot,
                    onset=spot.onset + self._first,
                    apex=spot.apex + self._first,
                    offset=spot.offset + self._first,
                )
        self._next = stop
        drop = max(0, stop - self._margin - self._first)
        del self._rows[:drop]
        self._first += drop


def decide_all(
    spotter: Spotter, rows: Rows, fps: float, parameters: Mapping[str, Any], model: Model | None = None
) -> list[Spot]:
    """Return the intervals of a whole video from all its rows, searched in the same parts as a running video.

    Args:
        spotter: The spotter.
        rows: (T, ...) rows of its watcher.
        fps: Frames per second.
        parameters: All parameters of the spotter.
        model: The trained part, if the spotter has one.

    Example:
        >>> from mien.spotting import spotter
        >>> chosen = spotter("lbp-chi2")
        >>> decide_all(chosen, np.zeros((100, 2), np.float32), 100, chosen.with_parameters({}))
        []
    """
    along = Along(spotter, fps, parameters, model)
    return [*along.add(list(rows)), *along.finish()]
