"""fit(): the only training loop of networks, and predict()."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from mien.classifiers.augment import Augmentation
from mien.classifiers.base import Progress
from mien.classifiers.batches import Batches
from mien.classifiers.losses import LOSSES, Loss
from mien.classifiers.schedule import Schedule, steps_of
from mien.classifiers.state import read_state, write_state
from mien.errors import MienError


@runtime_checkable
class RearrangesInput(Protocol):
    """A network that trains faster on a rearranged input, with the same result."""

    def rearrange(self, x: Tensor) -> Tensor:
        """Return the input (N, ...) of all training clips rearranged; clips stay along the first axis."""
        ...

    def forward_rearranged(self, batch: Tensor) -> Tensor:
        """Return the logits of some rows of a rearranged input."""
        ...


@runtime_checkable
class Objective(Protocol):
    """A network whose training loss depends on more than its logits."""

    def objective(self, batch: Tensor, y: Tensor, loss: Loss) -> Tensor:
        """Return the loss of a batch; `loss` is that of the schedule."""
        ...


@runtime_checkable
class StepsItself(Protocol):
    """A network whose large layers update their weights within the backward pass, by plain gradient descent."""

    def step_at(self, rate: float | None) -> None:
        """Set the learning rate of these updates; None leaves all weights to the optimiser."""
        ...


def fit(
    model: nn.Module,
    x: Tensor | Batches,
    y: Tensor,
    schedule: Schedule,
    *,
    augment: Augmentation | None = None,
    progress: Progress | None = None,
    state_file: Path | None = None,
    state_seconds: float = 60.0,
    on_epoch: Callable[[nn.Module, int], None] | None = None,
) -> list[float]:
    """Train a network in place.

    Random numbers come from torch's global generator: seed or fork it before the call.

    Args:
        model: Network from (B, ...) to logits (B, C). The input of one that is `RearrangesInput` is rearranged once.
        x: (N, ...) float32 training input, on the model's device; or `Batches` that are read when needed.
        y: (N,) class indices, on the model's device.
        schedule: Epochs, batch size, optimiser, loss.
        augment: Called on each batch of input; keeps its shape. The input is then not rearranged.
        progress: Called after each epoch with the share that is done.
        state_file: File for the state after an epoch. If it exists, training resumes from it and ends with the same
            weights as without the interruption. It stays at the end: `delete_states` when the result is written.
        state_seconds: Least seconds between two states.
        on_epoch: Called after each epoch with the network and the number of epochs done; leaves it in training mode.

    Returns:
        Mean loss of each epoch.

    Raises:
        MienError: The loss is no longer finite.
    """
    loss_of = LOSSES[schedule.loss]
    optimiser = schedule.optimiser_of(model)
    model.train()
    forward: Callable[[Tensor], Tensor] = model
    if augment is None and isinstance(x, Tensor) and isinstance(model, RearrangesInput):
        x, forward = model.rearrange(x), model.forward_rearranged
    n = len(y)
    if n < 2:
        raise MienError(f"There is {n} clip to train on.", "at least two.", "more clips, or another protocol.")
    schedule, rows = schedule.for_rows(n), n * schedule.repeats
    losses: list[float] = [] if state_file is None else read_state(state_file, model, optimiser)
    written_at = time.monotonic()
    for epoch in range(len(losses), schedule.epochs):
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(epoch)
        if isinstance(model, StepsItself):
            bare = schedule.optimiser == "sgd" and not schedule.momentum and not schedule.weight_decay
            model.step_at(schedule.rate(epoch) if bare else None)
        order = torch.randperm(rows) if schedule.shuffle else None
        if order is None and schedule.by_class:
            order = torch.argsort(y.cpu(), stable=True).repeat_interleave(schedule.repeats) * schedule.repeats
        if schedule.repeats > 1:
            # Repeats of a clip stand beside each other, as its copies do: identical copies train the same network.
            order = order // schedule.repeats if order is not None else torch.arange(rows) % n
        total, seen, steps = 0.0, 0, len(losses) * steps_of(rows, schedule.batch_size)
        for start in range(0, rows, schedule.batch_size):
            stop = min(start + schedule.batch_size, rows)
            if stop - start == 1:
                continue  # A single clip has no batch statistics; the next shuffle puts it elsewhere.
            if schedule.steps and steps == schedule.steps:
                break
            if order is None:
                batch, target = x[start:stop], y[start:stop]
            else:
                batch, target = x[order[start:stop]], y[order[start:stop]]
            if augment is not None:
                batch = augment(batch)
            optimiser.zero_grad(set_to_none=True)
            if isinstance(model, Objective):
                loss = model.objective(batch, target, loss_of)
            else:
                loss = loss_of(forward(batch), target)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += float(loss.detach()) * (stop - start)
            seen, steps = seen + stop - start, steps + 1
        # A row that is left out counts 0, as it always has; an epoch that `steps` cuts short has a mean of its own.
        losses.append(total / (seen if schedule.steps else rows))
        if not np.isfinite(losses[-1]):
            raise MienError(
                f"The loss is {losses[-1]} after epoch {epoch + 1}.",
                "a finite number.",
                f"a smaller learning rate than {schedule.lr:g} (`--set lr={schedule.lr / 10:g}`).",
            )
        if on_epoch is not None:
            on_epoch(model, epoch + 1)
        if progress is not None:
            progress((epoch + 1) / schedule.epochs)
        if schedule.min_change and epoch and abs(losses[-2] - losses[-1]) < schedule.min_change:
            break
        if state_file is not None and time.monotonic() - written_at >= state_seconds:
            with suppress(OSError):  # a convenience: where it cannot be written, training continues without
                write_state(state_file, model, optimiser, losses)
            written_at = time.monotonic()
    return losses


def predict(
    model: nn.Module, x: Tensor | Batches, n: int, batch_size: int = 512, several_labels: bool = False
) -> Tensor:
    """Return class probabilities (n, C) of a trained network; the batch is halved where a GPU's memory is too small.

    With `several_labels`, each output is the logit of a label of its own, and rows need not sum to 1.
    """
    finish = torch.sigmoid if several_labels else partial(torch.softmax, dim=1)
    model.eval()
    parts: list[Tensor] = []
    done = 0
    with torch.inference_mode():
        while done < n:
            try:
                parts.append(finish(model(x[slice(done, min(done + batch_size, n))])))
                done += len(parts[-1])
                continue
            except torch.cuda.OutOfMemoryError:
                if batch_size == 1:
                    raise
            torch.cuda.empty_cache()
            batch_size = (batch_size + 1) // 2
    return torch.cat(parts)


def device_of(name: str) -> str:
    """Return the device of a name: "cpu", "cuda", or "auto" for CUDA if available.

    Raises:
        MienError: Another name, or CUDA is asked for and not available.

    Example:
        >>> device_of("cpu")
        'cpu'
    """
    if name not in ("cpu", "cuda", "auto"):
        raise MienError(f"There is no device {name!r}.", "cpu, cuda or auto.", "`--set device=auto`.")
    if name != "cpu" and torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise MienError("CUDA was asked for and this machine has none.", "cpu or auto.", "`--set device=auto`.")
    return "cpu"
