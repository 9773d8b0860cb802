"""Processes: folds in processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.errors import MienError
from mien.evaluation.execution.base import ClipInput, Executor, FoldResult, InputTask, RunInputs
from mien.evaluation.execution.folds import state_file, train_fold
from mien.evaluation.execution.inputs import prepare_input
from mien.evaluation.planning import Plan
from mien.preprocessing.inputs import Inputs, cached_inputs
from mien.preprocessing.prepare import run_parallel
from mien.preprocessing.threads import in_processes
from mien.progress import Slot


@dataclass(frozen=True)
class Processes(Executor):
    """Trains each fold by itself, several at once in processes of joblib.

    Attributes:
        jobs: Folds at once; 1 trains in the process that asks.
    """

    jobs: int = 1

    def inputs(self, tasks: Sequence[InputTask]) -> Iterator[ClipInput | MienError | None]:
        """See `Executor`."""
        from joblib import delayed

        yield from run_parallel([delayed(prepare_input)(task) for task in tasks], max(1, min(self.jobs, len(tasks))))

    def gather(self, tasks: Sequence[InputTask], made: Sequence[ClipInput]) -> Inputs:
        """Return the inputs from the cache."""
        digests = [one.digest for one in made]
        return cached_inputs([task.clip for task in tasks], tasks[0].recipe, tasks[0].cache, digests)

    def folds(
        self, plan: Plan, inputs: RunInputs, todo: Sequence[tuple[int, int]], out: Path, slot: Callable[[int], Slot]
    ) -> Iterator[FoldResult]:
        """See `Executor`."""
        from joblib import delayed

        jobs = max(1, min(self.jobs, len(todo)))
        work = (
            delayed(train_fold)(plan, inputs, seed, number, slot(place), state_file(out, seed, number))
            for place, (seed, number) in enumerate(todo)
        )
        yield from in_processes(work, jobs, order="generator_unordered", ahead=jobs + 1)
