"""What a spotter is: a watcher of pictures that makes numbers, and a decision that makes intervals of them.

    film -> face_stream -> Watcher: a row of numbers per frame -> Spotter.decide: intervals

The first part is slow and has nothing to tune; the second is fast and holds every threshold. Both run along the film:
rows are decided part by part, so nothing grows with the film's length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.parameters import with_defaults
from mien.spotting.face_stream import Look

Kind = Literal["micro", "macro"]
KINDS: Final[tuple[Kind, ...]] = ("micro", "macro")
Rows = NDArray[np.floating[Any]]

MICRO_LONGEST: Final = 0.5
"""Seconds; what lasts longer, up to `MACRO_LONGEST`, is a macro-expression (Yan et al. 2013; MEGC 2020)."""

MACRO_LONGEST: Final = 4.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One expression, found or true; frames counted from 0, both ends included.

    Attributes:
        onset: First frame.
        apex: Frame of the strongest expression; None where it is not known.
        offset: Last frame.
        kind: "micro" or "macro".
        score: How far above the threshold, in the spotter's own unit; larger is surer. 1 for true ones.
        emotion: Its class, "" where not known.
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
    """Turns faces into rows of numbers. Holds a window of pictures, whatever the film's length."""

    def see(self, look: Look) -> list[Rows]:
        """The rows that this frame completes, in the order of the frames: one for each frame, possibly later."""
        ...

    def finish(self) -> list[Rows]:
        """The rows still owed at the end of the film."""
        ...


class Decide(Protocol):
    """Intervals from rows; a pure function."""

    def __call__(self, rows: Rows, fps: float, parameters: Mapping[str, Any], /) -> list[Spot]:
        """Intervals in (T, ...) rows, apexes given, in time order. NaN rows are frames without a face."""
        ...


class Model(Protocol):
    """A trained part between rows and decision."""

    def score(self, rows: Rows) -> Rows:
        """The rows that are decided on, from those that were watched."""
        ...


@dataclass(frozen=True, slots=True)
class Spotter:
    """One method.

    Attributes:
        name: Name on the command line.
        title: Name in print.
        paper: Citation.
        summary: What it does, in one sentence.
        departures: Each difference from the paper, with its reason.
        parameters: Every parameter with its default.
        tuned: Parameters that `benchmark --task spot` chooses on training subjects, by kind, with what it tries.
        watch: Makes a watcher from frames per second and parameters.
        decide: Rows to intervals.
        part: Seconds of rows decided at once.
        margin: Seconds of rows before and after a part that its decision also sees.
        train: Makes a model from (rows of each training video, their true expressions, frames per second, parameters,
            seed); None where nothing is trained.
        rate: Frames per second that are enough; of faster films every so manieth frame is watched. 0 watches all.
    """

    name: str
    title: str
    paper: str
    summary: str
    departures: tuple[str, ...]
    parameters: Mapping[str, Any]
    watch: Callable[[float, Mapping[str, Any]], Watcher]
    decide: Decide
    part: float
    margin: float
    tuned: Mapping[Kind, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)
    train: (
        Callable[[Sequence[Rows], Sequence[Sequence[Spot]], Sequence[float], Mapping[str, Any], int], Model] | None
    ) = None
    rate: float = 0.0

    def hop(self, fps: float) -> int:
        """Every so manieth frame is watched."""
        return max(1, round(fps / self.rate)) if self.rate else 1

    def with_parameters(self, given: Mapping[str, str | Any]) -> dict[str, Any]:
        """All parameters, those given replacing the defaults.

        Raises:
            MienError: An unknown parameter, or a value of the wrong kind.
        """
        return with_defaults(self.name, self.parameters, given)


class Along:
    """A spotter's decision along a film: rows in, intervals out, one part held.

    Args:
        spotter: Whose decision.
        fps: Frames per second.
        parameters: All parameters of the spotter.
        model: The trained part, where the spotter has one.
    """

    def __init__(self, spotter: Spotter, fps: float, parameters: Mapping[str, Any], model: Model | None = None) -> None:
        self._spotter, self._fps, self._parameters, self._model = spotter, fps, parameters, model
        self._part, self._margin = max(1, round(spotter.part * fps)), round(spotter.margin * fps)
        self._rows: list[Rows] = []
        self._first = 0  # index of the first row held
        self._next = 0  # index of the first frame not decided yet

    def add(self, rows: Sequence[Rows]) -> Iterator[Spot]:
        """Intervals that the next rows settle."""
        for row in rows:
            self._rows.append(row)
            if self._first + len(self._rows) >= self._next + self._part + self._margin:
                yield from self._settle(self._next + self._part)

    def finish(self) -> Iterator[Spot]:
        """Intervals in what is left."""
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
    """Intervals of a whole film whose rows are at hand, part by part as along the film."""
    along = Along(spotter, fps, parameters, model)
    return [*along.add(list(rows)), *along.finish()]
