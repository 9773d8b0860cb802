"""Schedule: how a network is trained."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a network is trained; each system's file states its numbers.

    Attributes:
        epochs: Epochs. The learning rate decays, and the stop rule compares losses, from one to the next.
        batch_size: Clips per step.
        optimiser: "sgd" or "adam".
        lr: Initial learning rate.
        decay: Factor on the learning rate after each epoch, or "cosine" for a half cosine down to zero.
        decay_every: Epochs after which the factor is applied.
        by_class: Without `shuffle`: clips are sorted by class, as code does that reads a folder for each class.
        momentum: Momentum of SGD.
        weight_decay: L2 penalty, as applied by torch's optimiser.
        shuffle: Whether clips are shuffled before each epoch; STSTNet's authors keep their order.
        loss: Name in `mien.classifiers.losses.LOSSES`.
        min_change: Stop when the epoch's mean loss changes by less than this; 0 never stops early.
        repeats: How often an epoch shows every training clip, or every copy of it. Training without copies and with as
            many repeats as there would be copies takes the same steps: they differ in nothing but the copies.
        steps: Steps after which training ends, whatever `epochs` and `min_change` say; 0 leaves it to these.
    """

    epochs: int
    batch_size: int
    optimiser: Literal["sgd", "adam"] = "sgd"
    lr: float = 1e-3
    decay: float | Literal["cosine"] = 1.0
    momentum: float = 0.9
    weight_decay: float = 0.0
    shuffle: bool = True
    loss: str = "cross_entropy"
    min_change: float = 0.0
    repeats: int = 1
    steps: int = 0
    decay_every: int = 1
    by_class: bool = False

    def for_rows(self, rows: int) -> Schedule:
        """Return the schedule of a training on some rows: with `steps`, the epochs they fill and no early stop."""
        if not self.steps:
            return self
        return replace(
            self, epochs=-(-self.steps // max(1, steps_of(rows * self.repeats, self.batch_size))), min_change=0.0
        )

    def optimiser_of(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return an optimiser of all weights of a network, at the initial learning rate."""
        weights = list(model.parameters())
        more: dict[str, Any] = {} if self.optimiser == "adam" else {"momentum": self.momentum}
        kind = _bare(torch.optim.Adam if self.optimiser == "adam" else torch.optim.SGD)
        return kind(weights, lr=self.lr, weight_decay=self.weight_decay, fused=True, **more)

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        if self.decay == "cosine":
            return self.lr * 0.5 * (1 + float(np.cos(np.pi * epoch / self.epochs)))
        return self.lr * float(self.decay) ** (epoch // self.decay_every)


@cache
def _bare(kind: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """An optimiser of torch without the wrappers that load torch's compiler: over a second and 80 MiB a process."""
    methods = {
        name: inspect.unwrap(getattr(kind, name))
        for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    }
    # One of the wrappers of `step` says that what it does is not to be differentiated.
    return type(kind.__name__, (kind,), {**methods, "step": torch.no_grad()(inspect.unwrap(kind.step))})


def steps_of(n: int, batch_size: int) -> int:
    """Return the steps of an epoch over n rows: a last batch of a single row is left out."""
    whole, rest = divmod(n, batch_size)
    return whole + (rest > 1)
