"""Stacked: the folds of a small network trained as one program.

This is for GPUs, which one small network cannot fill. On a CPU it loses to processes, several times over for STSTNet
(`benchmarks/results/stacked.md`), and is used only when asked for.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mien.classifiers.batches import CopyBatches
from mien.classifiers.net import IN_MEMORY, NetClassifier
from mien.classifiers.schedule import steps_of
from mien.classifiers.training import device_of
from mien.errors import MienError
from mien.evaluation.execution.base import FoldResult, RunInputs
from mien.evaluation.execution.folds import fold_result, fold_seed, predict_fold, require_training, state_file
from mien.evaluation.execution.processes import Processes
from mien.evaluation.execution.stack import LOSSES, NETWORKS, fit_stack
from mien.evaluation.planning import Plan
from mien.preprocessing.inputs import Inputs
from mien.progress import Slot

MOST_ON_CPU: Final = 16
"""Folds of one stack on a CPU. A GPU takes all of them, or half where its memory is too small."""


@dataclass(frozen=True)
class Stacked(Processes):
    """Trains the folds of a run as one program; clips are prepared in processes."""

    def folds(
        self, plan: Plan, inputs: RunInputs, todo: Sequence[tuple[int, int]], out: Path, slot: Callable[[int], Slot]
    ) -> Iterator[FoldResult]:
        """See `Executor`; folds of a stack finish together.

        Raises:
            MienError: The folds cannot be stacked.
        """
        nets: list[NetClassifier] = []
        for _, number in todo:
            classifier = plan.system.build(len(plan.classes), plan.parameters)
            if not isinstance(classifier, NetClassifier):
                raise cannot(f"{plan.system.name} has no network")
            require_training(plan.folds[number], inputs)
            nets.append(classifier)
        slots = [slot(place) for place in range(len(todo))]

        def share(part: Sequence[int], value: float) -> None:
            for place in part:
                slots[place](value)

        stacks = fit_folds(
            nets,
            inputs.inputs,
            np.array([s.label for s in plan.samples], dtype=np.int64),
            [inputs.usable(plan.folds[number].train) for _, number in todo],
            [fold_seed(seed, number) for seed, number in todo],
            device=getattr(plan.parameters, "device", "auto"),
            progress=share,
        )
        for part, seconds in stacks:
            for place in part:
                seed, number = todo[place]
                started = time.perf_counter()
                answers = predict_fold(plan.folds[number], nets[place], inputs)
                taken = seconds / len(part) + time.perf_counter() - started
                more = {"stacked": len(part), "device": nets[place].device}
                yield fold_result(plan, seed, number, nets[place], inputs, answers, taken, more)
                state = state_file(out, seed, number)
                for left in state.parent.glob(f"{state.name}-*"):  # of an earlier attempt to train this fold alone
                    left.unlink(missing_ok=True)
                nets[place].models = []


def why_not(classifier: NetClassifier, model: nn.Module, inputs: Inputs) -> str:
    """Return why the folds of a classifier cannot be stacked; "" where they can.

    Args:
        classifier: An untrained one.
        model: One of its networks, untrained.
        inputs: The inputs of all clips.
    """
    rows = len(inputs) * inputs.copies * (1 if classifier.mirror is None else 2)
    if not isinstance(model, NETWORKS):
        return f"its network ({type(model).__name__}) is not one of {', '.join(n.__name__ for n in NETWORKS)}"
    if any(isinstance(m, nn.Dropout2d) for m in model.modules()):
        return "it drops whole feature maps (dropout)"
    if classifier.augment is not None:
        return "its batches are changed at random (shift, strength or patch)"
    if classifier.pairs:
        return "it trains on pairs of copies"
    if classifier.schedule.repeats > 1 or classifier.schedule.steps:
        return "its steps are counted (repeats, steps)"
    if classifier.schedule.min_change:
        return "each fold stops by itself (min_change)"
    if classifier.schedule.loss not in LOSSES:
        return f"its loss is {classifier.schedule.loss}"
    if rows * 4 * math.prod(inputs.shape) > IN_MEMORY:
        return "its training input does not fit in memory at once"
    return ""


def fit_folds(
    classifiers: Sequence[NetClassifier],
    inputs: Inputs,
    y: NDArray[np.int64],
    trains: Sequence[NDArray[np.int64]],
    seeds: Sequence[int],
    *,
    device: str = "auto",
    most: int | None = None,
    progress: Callable[[Sequence[int], float], None] | None = None,
) -> Iterator[tuple[list[int], float]]:
    """Fit the classifiers of several folds at once, with the result of `classifier.fit` for each.

    Args:
        classifiers: An untrained one per fold, all with the same settings.
        inputs: The inputs of all clips.
        y: (N,) their classes.
        trains: The training clips of each fold.
        seeds: The seed of each fold.
        device: "cpu", "cuda", or "auto".
        most: Folds at once; None takes all on a GPU and `MOST_ON_CPU` on a CPU.
        progress: Called with some folds and the share of them that is done.

    Yields:
        The folds of each stack that is trained, and the seconds it took.

    Raises:
        MienError: The folds cannot be stacked, or a loss is no longer finite.
    """
    first = classifiers[0]
    place = device_of(device)
    for classifier in classifiers:
        classifier.device = place
    reason = why_not(first, first._build(inputs[trains[0]], 0), inputs)
    if reason:
        raise cannot(reason)
    # Each input that a fold trains on is on the device once; a fold is a list of rows.
    used, where = np.unique(np.concatenate(trains), return_inverse=True)
    every = CopyBatches(inputs[used], first._finish, first.mirror)
    x = every[slice(None)]
    classes = every.labels(torch.from_numpy(np.asarray(y, np.int64)[used])).to(place)
    places = np.split(where, np.cumsum([len(train) for train in trains])[:-1])
    rows = [_rows(own, every, first.mirror is not None) for own in places]

    def train(part: Sequence[int]) -> None:
        for fold in part:
            classifiers[fold].models, classifiers[fold].curves = [], []
        for member in range(first.members):
            models, orders, drops = [], [], []
            for fold in part:
                seed = int(np.random.SeedSequence([seeds[fold], member]).generate_state(1)[0])
                torch.manual_seed(seed)
                model = first._build(inputs[trains[fold]], member)
                if first.start is not None:
                    first.start(model)
                orders.append(torch.Generator().set_state(torch.get_rng_state()))
                drops.append(orders[-1] if place == "cpu" else torch.Generator(place).manual_seed(seed))
                models.append(model.to(place))

            def share(value: float, member: int = member) -> None:
                if progress is not None:
                    progress(part, (member + value) / first.members)

            curves = fit_stack(models, x, classes, [rows[f] for f in part], first.schedule, orders, drops, share)
            for fold, model, curve in zip(part, models, curves, strict=True):
                classifiers[fold].models.append(model)
                classifiers[fold].curves.append(curve)

    most = most or (MOST_ON_CPU if place == "cpu" else len(classifiers))
    waiting = _parts([len(r) for r in rows], first.schedule.batch_size, most)
    with torch.random.fork_rng(devices=[] if place == "cpu" else None):
        while waiting:
            part = waiting.pop(0)
            started = time.perf_counter()
            try:
                train(part)
            except torch.cuda.OutOfMemoryError:
                if len(part) == 1:
                    raise
            else:
                yield part, time.perf_counter() - started
                continue
            # Outside the handler: its traceback holds on to tensors.
            torch.cuda.empty_cache()
            half = len(part) // 2
            waiting[:0] = [part[:half], part[half:]]
            warnings.warn(
                f"The GPU's memory is too small for {len(part)} folds at once: {half} are tried.", stacklevel=2
            )


def cannot(reason: str) -> MienError:
    """Return the error for folds that cannot be stacked."""
    return MienError(
        f"These folds cannot be trained as one program: {reason}.",
        "strcn-g on pictures, or ststnet, without random changes of the input.",
        "`--folds auto`.",
    )


def _rows(clips: NDArray[np.int64], every: CopyBatches, mirrored: bool) -> NDArray[np.int64]:
    """Return the rows of `every` that belong to some clips, in the order of batches over these clips alone."""
    copies = every.inputs.copies
    plain = (clips[:, None] * copies + np.arange(copies)).ravel()
    return np.concatenate([plain, plain + len(every.inputs) * copies]) if mirrored else plain


def _parts(sizes: Sequence[int], batch_size: int, most: int) -> list[list[int]]:
    """Return the folds of each stack: with equal steps per epoch, at most `most` together."""
    groups: dict[int, list[int]] = {}
    for fold, n in enumerate(sizes):
        groups.setdefault(steps_of(n, batch_size), []).append(fold)
    return [group[i : i + most] for group in groups.values() for i in range(0, len(group), most)]
