"""LocalExecutor: the folds of a run on this machine, in the way that is fastest or that the user asks for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.errors import MienError, unknown_name
from mien.evaluation.execution.base import ClipInput, Executor, FoldResult, InputTask, RunInputs
from mien.evaluation.execution.processes import Processes
from mien.evaluation.planning import Plan
from mien.io.atomic import write_atomically
from mien.preprocessing.inputs import Inputs
from mien.progress import Slot

WAYS = ("auto", "stacked", "processes", "sequential")
"""How the folds of a run can be trained on one machine."""


@dataclass(frozen=True)
class LocalExecutor(Executor):
    """Trains folds one after another, in processes, or stacked as one program.

    Attributes:
        jobs: Clips and folds at once.
        way: One of `WAYS`; "auto" estimates which is fastest. `log/folds.json` of the run records the choice.
    """

    jobs: int = 1
    way: str = "auto"

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise unknown_name("way to train folds", self.way, WAYS, "mien benchmark --help")

    def inputs(self, tasks: Sequence[InputTask]) -> Iterator[ClipInput | MienError | None]:
        """Prepare clips in processes."""
        return Processes(self.jobs).inputs(tasks)

    def gather(self, tasks: Sequence[InputTask], made: Sequence[ClipInput]) -> Inputs:
        """Return the inputs from the cache."""
        return Processes(self.jobs).gather(tasks, made)

    def folds(
        self, plan: Plan, inputs: RunInputs, todo: Sequence[tuple[int, int]], out: Path, slot: Callable[[int], Slot]
    ) -> Iterator[FoldResult]:
        """See `Executor`."""
        jobs = max(1, min(self.jobs, len(todo)))
        way, seconds = choose(plan, inputs, todo, jobs) if self.way == "auto" else (self.way, {})
        write_atomically(out / "log" / "folds.json", json.dumps({"folds": way, "asked": self.way, "seconds": seconds}))
        executor: Executor = Processes(jobs if way == "processes" else 1)
        if way == "stacked":
            from mien.evaluation.execution.stacked import Stacked

            executor = Stacked()
        yield from executor.folds(plan, inputs, todo, out, slot)


def choose(plan: Plan, inputs: RunInputs, todo: Sequence[tuple[int, int]], jobs: int) -> tuple[str, dict[str, float]]:
    """Return the fastest way to train folds, and the estimated seconds of each way, where they were measured."""
    # Only networks have epochs; torch need not be loaded for other systems.
    if not hasattr(plan.parameters, "epochs") or len(todo) == 1:
        return "processes", {}
    from mien.classifiers.net import NetClassifier
    from mien.classifiers.training import device_of
    from mien.evaluation.execution.costs import measure

    device = getattr(plan.parameters, "device", "auto")
    if jobs == 1 and device_of(device) == "cpu":
        return "sequential", {}
    classifier = plan.system.build(len(plan.classes), plan.parameters)
    trains = [inputs.usable(plan.folds[number].train) for _, number in todo]
    if not isinstance(classifier, NetClassifier) or min(len(train) for train in trains) < 2:
        return "processes", {}
    y = np.array([s.label for s in plan.samples], dtype=np.int64)
    costs = measure(classifier, inputs.inputs, y, trains, jobs, device)
    return costs.choice(), {way: round(s, 1) for way, s in costs.estimates().items() if math.isfinite(s)}
