"""Estimates of how long the folds of a run take, one after another, in processes, and stacked."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.classifiers.batches import CopyBatches
from mien.classifiers.net import NetClassifier
from mien.classifiers.schedule import Schedule, steps_of
from mien.classifiers.training import device_of, fit
from mien.evaluation.execution.stack import fit_stack
from mien.evaluation.execution.stacked import why_not
from mien.preprocessing.inputs import Inputs

PROCESS_START: Final = 3.0
"""Seconds until worker processes have imported what a fold needs."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What the estimates are made of, in seconds.

    Attributes:
        step: One training step of one fold.
        stacked: One step of all folds stacked; infinite where they cannot or should not be stacked.
        steps: Training steps of one fold.
        folds: Number of folds.
        jobs: Processes at once.
    """

    step: float
    stacked: float
    steps: int
    folds: int
    jobs: int

    def estimates(self) -> dict[str, float]:
        """Return the seconds that each way takes."""
        alone = self.step * self.steps
        turns = math.ceil(self.folds / self.jobs)
        return {
            "sequential": alone * self.folds,
            "processes": PROCESS_START + alone * turns if self.jobs > 1 else math.inf,
            "stacked": self.stacked * self.steps,
        }

    def choice(self) -> str:
        """Return the fastest way; of equals, the one without processes."""
        seconds = self.estimates()
        return min(("sequential", "processes", "stacked"), key=lambda way: seconds[way])


def measure(
    classifier: NetClassifier,
    inputs: Inputs,
    y: NDArray[np.int64],
    trains: Sequence[NDArray[np.int64]],
    jobs: int,
    device: str = "auto",
) -> Costs:
    """Time a training step on this machine: of one fold, and on a GPU also of a stack.

    Args:
        classifier: An untrained classifier; it is not changed.
        inputs: The inputs of all clips.
        y: (N,) their classes.
        trains: The training clips of each fold.
        jobs: Processes at once.
        device: Where a stack would be trained.
    """
    schedule = classifier.schedule
    copies = inputs.copies * (1 if classifier.mirror is None else 2)
    sizes = [len(train) * copies for train in trains]
    of_fold = [steps_of(n * schedule.repeats, schedule.batch_size) * schedule.epochs for n in sizes]
    steps = (schedule.steps or int(np.median(of_fold))) * classifier.members
    some = np.asarray(trains[0])[: max(2, -(-schedule.batch_size // copies))]
    own, place = device_of(classifier.device), device_of(device)
    probe = copy.copy(classifier)
    batches = CopyBatches(inputs[some], probe._finish, classifier.mirror, classifier.pairs)
    classes = batches.labels(torch.from_numpy(np.asarray(y, np.int64)[some]))

    def batch(device: str) -> tuple[Tensor, Tensor]:
        probe.device = device
        x = batches[slice(0, schedule.batch_size)]
        return x, classes[: len(x)].to(device)

    with torch.random.fork_rng(devices=[] if "cuda" not in (own, place) else None):
        torch.manual_seed(0)
        model = classifier._build(inputs[some], 0).to(own)
        x, targets = batch(own)
        step = _seconds(lambda n: fit(model, x, targets, _of(schedule, n), augment=classifier.augment))
        stacked = math.inf
        # Never on a CPU: there is little to gain, and the ledger would differ by rounding.
        if place != "cpu" and not why_not(classifier, model, inputs):
            stacked = _seconds_stacked(model, *batch(place), len(trains), schedule, step)
    return Costs(step, stacked, steps, len(trains), jobs)


def _seconds_stacked(model: nn.Module, x: Tensor, y: Tensor, folds: int, schedule: Schedule, alone: float) -> float:
    """Return the seconds of a step of a stack on a GPU; `alone` where its memory is too small to measure."""
    models = [copy.deepcopy(model).to(x.device) for _ in range(folds)]
    orders, drops = [torch.Generator() for _ in models], [torch.Generator(x.device) for _ in models]
    rows = [np.arange(len(x)) for _ in models]
    try:
        return _seconds(lambda n: fit_stack(models, x, y, rows, _of(schedule, n), orders, drops))
    except torch.cuda.OutOfMemoryError:
        pass
    # Halved stacks still take fewer steps than folds one by one.
    torch.cuda.empty_cache()
    return alone


def _of(schedule: Schedule, epochs: int) -> Schedule:
    return replace(schedule, epochs=epochs, min_change=0.0, repeats=1, steps=0)


def _seconds(train: Callable[[int], object]) -> float:
    """Return the seconds of one step, from several epochs over one batch, less those of one epoch."""

    def timed(n: int) -> float:
        started = time.perf_counter()
        train(n)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - started

    first = timed(1)  # First calls choose algorithms and fill caches.
    return first if first > 1 else max(timed(4) - timed(1), 1e-6) / 3
