"""Executor: where the clips of a run are prepared and its folds are trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.evaluation.ledger import FAILED
from mien.evaluation.planning import Plan
from mien.preprocessing import Recipe
from mien.preprocessing.cache import Cache
from mien.preprocessing.inputs import Inputs
from mien.progress import Slot
from mien.types import Clip, IntervalSource


@dataclass(frozen=True, slots=True)
class InputTask:
    """A clip whose input is needed.

    Attributes:
        recipe: How the input is made.
        clip: The clip.
        cache: Where inputs are stored.
        large: Whether the inputs of the run do not fit in memory together: they stay in the cache then.
    """

    recipe: Recipe
    clip: Clip
    cache: Cache
    large: bool


@dataclass(frozen=True, slots=True)
class ClipInput:
    """The input of one clip.

    Attributes:
        array: The input; for a large one, None or a reference that `Executor.gather` understands.
        interval_source: Where onset and apex came from.
        digest: `mien.preprocessing.cache.source_digest` of the clip; "" where the cache is not used.
        notes: What the recipe reports about the clip.
    """

    array: Any
    interval_source: IntervalSource
    digest: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunInputs:
    """The inputs of all clips of a plan, in its order.

    Attributes:
        inputs: The inputs; those of failed clips are never read.
        interval_sources: Where onset and apex of each clip came from; `FAILED` for clips that could not be prepared.
    """

    inputs: Inputs
    interval_sources: tuple[IntervalSource, ...]

    def usable(self, clips: Sequence[int]) -> NDArray[np.int64]:
        """Return those of some clips, by index, that could be prepared."""
        return np.array([i for i in clips if self.interval_sources[i] != FAILED], np.int64)


@dataclass(frozen=True, slots=True)
class FoldResult:
    """A trained and tested fold.

    Attributes:
        seed: Training seed.
        number: Number of the fold.
        rows: Its ledger rows, as the text of its file.
        log: Seconds, losses and chosen settings, as JSON.
    """

    seed: int
    number: int
    rows: str
    log: str


class Executor(ABC):
    """Prepares the clips of a run and trains its folds; only the process that asks writes the run's ledger.

    The ledger does not depend on the executor.
    """

    @property
    def places(self) -> int:
        """Number of runs that this executor needs at once to be busy; 1 where the folds of one run suffice."""
        return 1

    def stop(self) -> None:  # noqa: B027
        """End the work that other threads have asked for."""

    @abstractmethod
    def inputs(self, tasks: Sequence[InputTask]) -> Iterator[ClipInput | MienError | None]:
        """Prepare clips, in order.

        Yields:
            The input of each clip; or why the clip cannot be prepared; or None where it killed its process.
        """

    @abstractmethod
    def gather(self, tasks: Sequence[InputTask], made: Sequence[ClipInput]) -> Inputs:
        """Return the large inputs of clips, given what `inputs` yielded; failed clips have no array."""

    @abstractmethod
    def folds(
        self,
        plan: Plan,
        inputs: RunInputs,
        todo: Sequence[tuple[int, int]],
        out: Path,
        slot: Callable[[int], Slot],
    ) -> Iterator[FoldResult]:
        """Train and test folds.

        Args:
            plan: The run.
            inputs: The inputs of its clips.
            todo: (seed, number) of each fold.
            out: Folder of the run, for the states of unfinished folds.
            slot: Returns the progress of the fold at a place in `todo`.

        Yields:
            Each fold as it finishes, in any order.

        Raises:
            MienError: What a fold raises.
        """
