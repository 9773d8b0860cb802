"""Schedule: how a network is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

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
        if self.optimiser == "adam":
            return torch.optim.Adam(weights, self.lr, weight_decay=self.weight_decay, fused=True)
        return torch.optim.SGD(weights, self.lr, momentum=self.momentum, weight_decay=self.weight_decay, fused=True)

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        if self.decay == "cosine":
            return self.lr * 0.5 * (1 + float(np.cos(np.pi * epoch / self.epochs)))
        return self.lr * float(self.decay) ** (epoch // self.decay_every)


def steps_of(n: int, batch_size: int) -> int:
    """Return the steps of an epoch over n rows: a last batch of a single row is left out."""
    whole, rest = divmod(n, batch_size)
    return whole + (rest > 1)
