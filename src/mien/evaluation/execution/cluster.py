"""What a run asks of other machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from mien.errors import MienError
from mien.evaluation.execution.folds import FoldDone
from mien.evaluation.planning import Plan
from mien.evaluation.preparing import Made
from mien.preprocessing import Recipe
from mien.preprocessing.cache import Cache
from mien.preprocessing.inputs import Inputs
from mien.progress import Slot
from mien.types import Clip, IntervalSource


class Cluster(Protocol):
    """Machines that prepare the clips of a run and train its folds; what they make is written by the process that asks.

    See `mien.evaluation.execution.ray_folds.connect`.
    """

    @property
    def places(self) -> int:
        """Folds that there is room for now."""
        ...

    def stop(self) -> None:
        """Ends what other threads have asked for."""
        ...

    def inputs(self, work: Sequence[tuple[Recipe, Clip, Cache, bool]]) -> Iterator[Made | MienError | None]:
        """What `prepare_input` gives, in order; of large inputs whatever `gather` takes; None for a clip that kills."""
        ...

    def gather(self, recipe: Recipe, large: Sequence[Any]) -> Inputs:
        """Large inputs, None for those that could not be prepared."""
        ...

    def folds(
        self,
        plan: Plan,
        out: Path,
        todo: Sequence[tuple[int, int]],
        inputs: Inputs,
        intervals: Sequence[IntervalSource],
        slot: Callable[[int], Slot],
    ) -> Iterator[tuple[int, int, FoldDone]]:
        """(seed, number of the fold, what to write), in the order in which they finish."""
        ...
