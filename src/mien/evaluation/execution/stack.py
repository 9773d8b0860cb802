"""One network made of the networks of several folds, and its training.

The layers of the stack hold the folds side by side: convolutions in groups, batch normalisation per channel, dense
layers as a batch of products. The `forward` of the network runs unchanged. Each fold keeps its own initial weights,
random orders, dropout and batches; where the last batches differ in size, missing rows are masked out of statistics
and losses. The result is that of training each fold alone, up to rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.classifiers.base import Progress
from mien.classifiers.schedule import Schedule, steps_of
from mien.errors import MienError
from mien.models.convolve import Conv1x1, Conv3x3
from mien.models.rcn import RCN
from mien.models.ststnet import FiltersLastDropout, STSTNet

NETWORKS: Final = (RCN, STSTNet)
"""Networks whose `forward` can have the channels of several folds side by side."""


@dataclass
class Batch:
    """Which rows of the current batch are real, for the layers of a stack.

    Attributes:
        counts: Real rows of each fold; they come first.
        mask: (B, F), 1 where real; None where all are.
        device_counts: The counts as a tensor (F,).
        chance: A random generator of each fold, on the device of the stack.
    """

    chance: list[torch.Generator]
    counts: list[int] = field(default_factory=list)
    mask: Tensor | None = None
    device_counts: Tensor = field(default_factory=lambda: torch.empty(0))

    def of(self, counts: Sequence[int], like: Tensor) -> None:
        """Set the sizes of a new batch, on the device and in the precision of `like`."""
        self.counts = list(counts)
        self.device_counts = torch.tensor(self.counts, device=like.device, dtype=like.dtype)
        most = max(self.counts)
        rows = torch.arange(most, device=like.device)
        self.mask = None
        if min(self.counts) < most:
            self.mask = (rows[:, None] < self.device_counts).to(like.dtype)

    def per_channel(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return the mask (B, channels, 1, 1) and the counts (channels,), those of a fold repeated for its channels."""
        assert self.mask is not None
        each = channels // len(self.counts)
        return self.mask.repeat_interleave(each, 1)[:, :, None, None], self.device_counts.repeat_interleave(each)


class StackedConv3x3(Conv3x3):
    """A grouped convolution, one group per fold.

    Args:
        maps: Feature maps of one fold.
        folds: Number of folds.
    """

    def __init__(self, maps: int, folds: int) -> None:
        nn.Conv2d.__init__(self, folds * maps, folds * maps, 3, padding=1, groups=folds, bias=False, device="meta")

    def ready(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """See `Conv3x3`."""
        return partial(nn.Conv2d.forward, self)


class StackedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation of the channels of all folds; missing rows are left out of the statistics."""

    batch: Batch

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, F * C, H, W)."""
        if self.batch.mask is None:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        mask, counts = self.batch.per_channel(input.shape[1])
        n = counts * (input.shape[2] * input.shape[3])
        mean = (input * mask).sum((0, 2, 3)) / n
        centred = input - mean[:, None, None]
        variance = (centred.square() * mask).sum((0, 2, 3)) / n
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * n / (n - 1), self.momentum)
            self.num_batches_tracked += 1
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return centred * scale[:, None, None] + self.bias[:, None, None]


class StackedLinear(nn.Linear):
    """A dense layer per fold, with weights (F * out, in) and biases (F * out,)."""

    folds: int

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, F * in) to (B, F * out)."""
        x = input.view(len(input), self.folds, -1).transpose(0, 1)
        weight = self.weight.view(self.folds, -1, self.weight.shape[1]).transpose(1, 2)
        return torch.baddbmm(self.bias.view(self.folds, 1, -1), x, weight).transpose(0, 1).flatten(1)


class StackedDropout(FiltersLastDropout):
    """Dropout that drops in each fold what would be dropped in that fold alone."""

    batch: Batch

    def kept(self, x: Tensor) -> Tensor:
        """See `FiltersLastDropout`; for (B, H, W, F * C)."""
        filters = x.shape[-1] // len(self.batch.counts)
        parts = []
        for count, chance in zip(self.batch.counts, self.batch.chance, strict=True):
            part = self.draw(x[:count, ..., :filters], chance)
            parts.append(nn.functional.pad(part, (0, 0, 0, 0, 0, 0, 0, len(x) - count)))
        return torch.cat(parts, -1)


def stack(models: Sequence[nn.Module], batch: Batch) -> nn.Module:
    """Return one network that holds networks of the same kind side by side."""
    stacked = copy.deepcopy(models[0])
    folds = len(models)
    for name, module in list(stacked.named_modules()):
        each = [m.get_submodule(name) for m in models]
        made: nn.Module
        if type(module) is Conv3x3:
            made = StackedConv3x3(module.in_channels, folds)
        elif isinstance(module, nn.Conv2d) and type(module) in (nn.Conv2d, Conv1x1):
            made = _in_groups(module, folds)
        elif type(module) is nn.BatchNorm2d:
            made = StackedBatchNorm2d(folds * module.num_features, module.eps, module.momentum)
            made.batch = batch
        elif type(module) is nn.Linear:
            made = StackedLinear(1, 1)
            made.folds = folds
        elif type(module) is FiltersLastDropout:
            made = StackedDropout(module.p)
            made.batch = batch
        elif any(True for _ in module.parameters(recurse=False)):
            raise TypeError(f"{type(module).__name__} cannot be stacked")
        else:
            continue
        made._parameters = {}
        for key, value in module.named_parameters(recurse=False):
            joined = torch.cat([m.get_parameter(key).detach() for m in each])
            if joined.dim() == 4 and not value.is_contiguous():
                joined = joined.contiguous(memory_format=torch.channels_last)
            made.register_parameter(key, nn.Parameter(joined))
        for key in ("weight", "bias"):
            if key in module._parameters and module._parameters[key] is None:
                made.register_parameter(key, None)
        for key, buffer in module.named_buffers(recurse=False):
            setattr(made, key, torch.cat([m.get_buffer(key) for m in each]) if buffer.dim() else buffer.clone())
        parent, _, last = name.rpartition(".")
        setattr(stacked.get_submodule(parent), last, made)
    return stacked


def _in_groups(module: nn.Conv2d, folds: int) -> nn.Conv2d:
    kernel, stride, padding, dilation = (
        cast("tuple[int, int]", n) for n in (module.kernel_size, module.stride, module.padding, module.dilation)
    )
    channels = folds * module.in_channels, folds * module.out_channels
    return nn.Conv2d(*channels, kernel, stride, padding, dilation, folds, module.bias is not None, device="meta")


def unstack(stacked: nn.Module, models: Sequence[nn.Module]) -> None:
    """Copy the weights of a stack back into the networks that it was made of."""
    for name, value in stacked.state_dict().items():
        parts = value.chunk(len(models)) if value.dim() else [value] * len(models)
        for model, part in zip(models, parts, strict=True):
            model.state_dict()[name].copy_(part)


Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def _cross_entropy(log_p: Tensor, y: Tensor, mask: Tensor, counts: Tensor) -> Tensor:
    return -(log_p * mask).sum(0) / counts


def _balanced(log_p: Tensor, y: Tensor, mask: Tensor, counts: Tensor) -> Tensor:
    of_class, present = _class_counts(y, mask)
    return -(log_p * mask / (of_class.clamp(min=1) * present)).sum(0)


def _focal(log_p: Tensor, y: Tensor, mask: Tensor, counts: Tensor) -> Tensor:
    share = _class_counts(y, mask)[0] / counts
    return ((share / 10 - 1) * (1 - log_p.exp()) ** 2 * log_p * mask).sum(0) / counts


def _class_counts(y: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many real rows of its fold share the class of each row, (B, F), and the classes of each fold, (F,)."""
    hot = nn.functional.one_hot(y, int(y.max()) + 1).to(mask.dtype)
    totals = (hot * mask[..., None]).sum(0)
    return (hot * totals).sum(-1), (totals > 0).sum(1).to(mask.dtype)


LOSSES: Final[Mapping[str, Loss]] = {"cross_entropy": _cross_entropy, "balanced": _balanced, "focal": _focal}
"""Losses of `mien.classifiers.losses.LOSSES` for all folds at once.

Each maps the log-probabilities of the true classes (B, F), the classes (B, F), the mask (B, F) and the counts (F,) to
one loss per fold (F,).
"""


def fit_stack(
    models: Sequence[nn.Module],
    x: Tensor,
    y: Tensor,
    rows: Sequence[NDArray[np.int64]],
    schedule: Schedule,
    orders: Sequence[torch.Generator],
    drops: Sequence[torch.Generator],
    progress: Progress | None = None,
) -> list[list[float]]:
    """Train networks in place, all at once; see `mien.classifiers.training.fit`.

    Args:
        models: One network per fold, of one kind, on the device of `x`.
        x: (N, C, H, W), the inputs that the folds train on.
        y: (N,) their classes.
        rows: The rows of `x` that each fold trains on, in the order of the fold. All folds must have the same number
            of steps per epoch (`mien.classifiers.schedule.steps_of`).
        schedule: See `mien.classifiers.training.fit`.
        orders: The random generator of the orders of each fold, on the CPU.
        drops: The random generator of the dropout of each fold; on a CPU the same as for the orders.
        progress: Called after each epoch with the share that is done.

    Returns:
        The mean loss of each epoch, for each fold.

    Raises:
        MienError: A loss is no longer finite.
    """
    sizes = [len(r) for r in rows]
    steps = {steps_of(n, schedule.batch_size) for n in sizes}
    if len(steps) != 1:
        raise ValueError(f"folds of {sorted(steps)} steps in one stack")
    batch = Batch(list(drops))
    stacked = stack(models, batch).to(x.device).train()
    optimiser = schedule.optimiser_of(stacked)
    loss_of = LOSSES[schedule.loss]
    curves: list[list[float]] = [[] for _ in models]
    table = torch.zeros(max(sizes), len(rows), dtype=torch.int64)
    for epoch in range(schedule.epochs):
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(epoch)
        for fold, (own, order) in enumerate(zip(rows, orders, strict=True)):
            turn = torch.randperm(len(own), generator=order) if schedule.shuffle else slice(None)
            table[: len(own), fold] = torch.from_numpy(own)[turn]
        now = table.to(x.device)
        total = torch.zeros(len(rows), dtype=torch.float64, device=x.device)
        for step in range(next(iter(steps))):
            start = step * schedule.batch_size
            stops = [min(start + schedule.batch_size, n) for n in sizes]
            batch.of([stop - start for stop in stops], x)
            index = now[start : max(stops)]
            target = y[index]
            optimiser.zero_grad(set_to_none=True)
            logits = stacked(x[index].flatten(1, 2)).view(*index.shape, -1)
            log_p = torch.log_softmax(logits, 2).gather(2, target[..., None])[..., 0]
            mask = torch.ones_like(log_p) if batch.mask is None else batch.mask
            losses = loss_of(log_p, target, mask, batch.device_counts)
            losses.sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += losses.detach() * batch.device_counts
        means = (total / torch.tensor(sizes, device=x.device)).tolist()
        for curve, mean in zip(curves, means, strict=True):
            curve.append(mean)
        if not np.isfinite(means).all():
            raise MienError(
                f"The loss is {max(means)} after epoch {epoch + 1}.",
                "a finite number.",
                f"a smaller learning rate than {schedule.lr:g} (`--set lr={schedule.lr / 10:g}`).",
            )
        if progress is not None:
            progress((epoch + 1) / schedule.epochs)
    unstack(stacked, models)
    return curves
