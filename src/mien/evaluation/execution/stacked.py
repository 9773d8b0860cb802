"""The folds of a small network trained as one program, and the choice between that and other ways.

The networks of all folds become one whose layers hold them side by side: convolutions in groups, normalisation per
channel, dense layers as a batch of products. The network's own `forward` runs unchanged. Each fold keeps its own first
weights, its own random orders and dropped activations, and its own batches: where the last ones differ in size, the
missing rows are masked out of statistics and losses. What comes out is what training each fold alone gives, up to the
rounding of floating point.

This is for GPUs, where one small network cannot fill the device. On a CPU it loses to processes, several times over
for STSTNet (`benchmarks/results/stacked.md`), and is done only where it is asked for.
"""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.classifiers.base import Progress
from mien.classifiers.batches import CopyBatches
from mien.classifiers.net import IN_MEMORY, NetClassifier
from mien.classifiers.schedule import Schedule
from mien.classifiers.training import device_of, fit
from mien.errors import MienError
from mien.models.convolve import Conv1x1, Conv3x3
from mien.models.rcn import RCN
from mien.models.ststnet import FiltersLastDropout, STSTNet
from mien.preprocessing.inputs import Inputs

PROCESS_START: Final = 3.0
"""Seconds until worker processes have imported what a fold needs."""
MOST_ON_CPU: Final = 16
"""Folds of one stack on a CPU; a GPU takes all, and half of them where its memory is too small."""

NETWORKS: Final = (RCN, STSTNet)
"""Networks whose `forward` treats channels apart, so that folds can lie side by side along them."""


@dataclass
class Batch:
    """Which rows of the batch at hand are real, for every layer of a stack.

    Attributes:
        counts: Real rows of each fold; they come first.
        mask: (B, F), 1 where real; None where all are.
        device_counts: The counts as a tensor (F,).
        chance: A generator for each fold, on the stack's device.
    """

    chance: list[torch.Generator]
    counts: list[int] = field(default_factory=list)
    mask: Tensor | None = None
    device_counts: Tensor = field(default_factory=lambda: torch.empty(0))

    def of(self, counts: Sequence[int], like: Tensor) -> None:
        """Takes the sizes of a new batch; `like` gives device and precision."""
        self.counts = list(counts)
        self.device_counts = torch.tensor(self.counts, device=like.device, dtype=like.dtype)
        most = max(self.counts)
        rows = torch.arange(most, device=like.device)
        self.mask = None
        if min(self.counts) < most:
            self.mask = (rows[:, None] < self.device_counts).to(like.dtype)

    def per_channel(self, channels: int) -> tuple[Tensor, Tensor]:
        """Mask (B, channels, 1, 1) and counts (channels,), each fold's repeated for its channels."""
        assert self.mask is not None
        each = channels // len(self.counts)
        return self.mask.repeat_interleave(each, 1)[:, :, None, None], self.device_counts.repeat_interleave(each)


class StackedConv3x3(Conv3x3):
    """A convolution in groups, one for each fold; torch's own, whatever the device.

    Args:
        maps: Feature maps of one fold.
        folds: How many there are.
    """

    def __init__(self, maps: int, folds: int) -> None:
        nn.Conv2d.__init__(self, folds * maps, folds * maps, 3, padding=1, groups=folds, bias=False, device="meta")

    def ready(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """As its parent's."""
        return partial(nn.Conv2d.forward, self)


class StackedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation of all folds' channels; missing rows play no part in the statistics."""

    batch: Batch

    def forward(self, input: Tensor) -> Tensor:
        """(B, F * C, H, W) to the same shape."""
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
    """A dense layer for each fold: weights (F * out, in), biases (F * out,)."""

    folds: int

    def forward(self, input: Tensor) -> Tensor:
        """(B, F * in) to (B, F * out)."""
        x = input.view(len(input), self.folds, -1).transpose(0, 1)
        weight = self.weight.view(self.folds, -1, self.weight.shape[1]).transpose(1, 2)
        return torch.baddbmm(self.bias.view(self.folds, 1, -1), x, weight).transpose(0, 1).flatten(1)


class StackedDropout(FiltersLastDropout):
    """Drops in each fold what that fold alone would drop."""

    batch: Batch

    def kept(self, x: Tensor) -> Tensor:
        """As its parent's, for (B, H, W, F * C)."""
        filters = x.shape[-1] // len(self.batch.counts)
        parts = []
        for count, chance in zip(self.batch.counts, self.batch.chance, strict=True):
            part = self.draw(x[:count, ..., :filters], chance)
            parts.append(nn.functional.pad(part, (0, 0, 0, 0, 0, 0, 0, len(x) - count)))
        return torch.cat(parts, -1)


def why_not(classifier: NetClassifier, model: nn.Module, inputs: Inputs) -> str:
    """Why the folds of a classifier cannot be stacked; "" where they can.

    Args:
        classifier: An untrained one.
        model: One of its networks, untrained.
        inputs: Every clip's input.
    """
    rows = len(inputs) * inputs.copies * (1 if classifier.mirror is None else 2)
    if not isinstance(model, NETWORKS):
        return f"its network ({type(model).__name__}) is not one of {', '.join(n.__name__ for n in NETWORKS)}"
    if any(isinstance(m, nn.Dropout2d) for m in model.modules()):
        return "it drops whole maps (dropout)"
    if classifier.augment is not None:
        return "it changes its batches by chance (shift, strength or patch)"
    if classifier.pairs:
        return "it trains on pairs of copies"
    if classifier.schedule.min_change:
        return "each fold stops by itself (min_change)"
    if classifier.schedule.loss not in LOSSES:
        return f"its loss is {classifier.schedule.loss}"
    if rows * 4 * math.prod(inputs.shape) > IN_MEMORY:
        return "its training input is too large to be held at once"
    return ""


def stack(models: Sequence[nn.Module], batch: Batch) -> nn.Module:
    """One network that holds several of the same kind side by side."""
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
    """Puts the weights of a stack back into the networks it was made of."""
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
    """For each row how many real rows of its fold have its class (B, F), and how many classes each fold has (F,)."""
    hot = nn.functional.one_hot(y, int(y.max()) + 1).to(mask.dtype)
    totals = (hot * mask[..., None]).sum(0)
    return (hot * totals).sum(-1), (totals > 0).sum(1).to(mask.dtype)


LOSSES: Final[Mapping[str, Loss]] = {"cross_entropy": _cross_entropy, "balanced": _balanced, "focal": _focal}
"""Those of `mien.classifiers.losses.LOSSES` for all folds at once: log-probability of the true class (B, F),
classes (B, F), mask (B, F), counts (F,), to one loss per fold (F,)."""


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
    """Train networks in place, all at once; `mien.classifiers.training.fit` for several.

    Args:
        models: One network per fold, of one kind, on the device of `x`.
        x: (N, C, H, W), every input that some fold trains on.
        y: (N,) their classes.
        rows: For each fold the rows of `x` it trains on, in the order of its own table. All folds must have the same
            number of steps in a pass (`steps_of`).
        schedule: See `mien.classifiers.training.fit`.
        orders: For each fold the generator of its orders, on the CPU.
        drops: For each fold the generator of its dropped activations; on a CPU the same one.
        progress: Called after every pass with the share that is done.

    Returns:
        For each fold the mean loss of each pass.

    Raises:
        MienError: A loss is not a number any more.
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


def steps_of(n: int, batch_size: int) -> int:
    """Steps that `fit` takes in a pass over n rows: a last batch of a single row is left out."""
    whole, rest = divmod(n, batch_size)
    return whole + (rest > 1)


Finished = Callable[[Sequence[int], float], None]


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
    finished: Finished | None = None,
) -> None:
    """What `classifier.fit` does, for the classifiers of several folds at once.

    Args:
        classifiers: An untrained one per fold, all with the same settings.
        inputs: Every clip's input.
        y: Every clip's class.
        trains: For each fold its training clips.
        seeds: For each fold its seed.
        device: "cpu", "cuda", or "auto".
        most: Folds at once; None takes all on a GPU and `MOST_ON_CPU` on a CPU.
        progress: Called with some folds and the share of them that is done.
        finished: Called with the folds of a stack that is trained, and the seconds it took.

    Raises:
        MienError: The folds cannot be stacked; a loss is not a number any more.
    """
    first = classifiers[0]
    place = device_of(device)
    for classifier in classifiers:
        classifier.device = place
    reason = why_not(first, first._build(inputs[trains[0]], 0), inputs)
    if reason:
        raise cannot(reason)
    # Every input that some fold trains on, once, on the device; a fold is a list of rows.
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
                if finished is not None:
                    finished(part, time.perf_counter() - started)
                continue
            # Outside the handler, whose traceback holds the tensors that are in the way.
            torch.cuda.empty_cache()
            half = len(part) // 2
            waiting[:0] = [part[:half], part[half:]]
            warnings.warn(
                f"The GPU's memory is too small for {len(part)} folds at once: {half} are tried.", stacklevel=2
            )


def cannot(reason: str) -> MienError:
    """The error for folds that cannot be stacked."""
    return MienError(
        f"These folds cannot be trained as one program: {reason}.",
        "strcn-g on pictures, or ststnet, without chance in the input.",
        "`--folds auto`.",
    )


def _rows(clips: NDArray[np.int64], every: CopyBatches, mirrored: bool) -> NDArray[np.int64]:
    """The rows of `every` that batches over some of its clips alone would have, in their order."""
    copies = every.inputs.copies
    plain = (clips[:, None] * copies + np.arange(copies)).ravel()
    return np.concatenate([plain, plain + len(every.inputs) * copies]) if mirrored else plain


def _parts(sizes: Sequence[int], batch_size: int, most: int) -> list[list[int]]:
    """Folds that can be stacked: of as many steps in a pass, at most `most` together."""
    groups: dict[int, list[int]] = {}
    for fold, n in enumerate(sizes):
        groups.setdefault(steps_of(n, batch_size), []).append(fold)
    return [group[i : i + most] for group in groups.values() for i in range(0, len(group), most)]


@dataclass(frozen=True, slots=True)
class Costs:
    """What decides how folds are trained, in seconds.

    Attributes:
        step: One step of one fold, trained alone.
        stacked: One step of all folds, stacked; infinite where they cannot be, or should not.
        steps: Steps of one fold's whole training.
        folds: How many there are.
        jobs: Processes that may run at once.
    """

    step: float
    stacked: float
    steps: int
    folds: int
    jobs: int

    def estimates(self) -> dict[str, float]:
        """Seconds that each way would take."""
        alone = self.step * self.steps
        turns = math.ceil(self.folds / self.jobs)
        return {
            "sequential": alone * self.folds,
            "processes": PROCESS_START + alone * turns if self.jobs > 1 else math.inf,
            "stacked": self.stacked * self.steps,
        }

    def choice(self) -> str:
        """The fastest; of equals the one without processes."""
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
    """Times a step on this machine: alone where the classifier trains by itself, and on a GPU stacked, too.

    Args:
        classifier: An untrained one; it stays so.
        inputs: Every clip's input.
        y: Every clip's class.
        trains: For each fold its training clips.
        jobs: Processes that may run at once.
        device: Where a stack would be trained.
    """
    schedule = classifier.schedule
    copies = inputs.copies * (1 if classifier.mirror is None else 2)
    sizes = [len(train) * copies for train in trains]
    steps = int(np.median([steps_of(n, schedule.batch_size) for n in sizes])) * schedule.epochs * classifier.members
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
        # Never on a CPU: little could be gained, and the ledger would not be the same byte for byte.
        if place != "cpu" and not why_not(classifier, model, inputs):
            stacked = _seconds_stacked(model, *batch(place), len(trains), schedule, step)
    return Costs(step, stacked, steps, len(trains), jobs)


def _seconds_stacked(model: nn.Module, x: Tensor, y: Tensor, folds: int, schedule: Schedule, alone: float) -> float:
    """Seconds of a stack's step on a GPU; what a fold takes alone, where its memory is too small to tell."""
    models = [copy.deepcopy(model).to(x.device) for _ in range(folds)]
    orders, drops = [torch.Generator() for _ in models], [torch.Generator(x.device) for _ in models]
    rows = [np.arange(len(x)) for _ in models]
    try:
        return _seconds(lambda n: fit_stack(models, x, y, rows, _of(schedule, n), orders, drops))
    except torch.cuda.OutOfMemoryError:
        pass
    # Halved stacks are still fewer steps than folds one by one.
    torch.cuda.empty_cache()
    return alone


def _of(schedule: Schedule, epochs: int) -> Schedule:
    return replace(schedule, epochs=epochs, min_change=0.0)


def _seconds(train: Callable[[int], object]) -> float:
    """Seconds of one step: of several passes over one batch, less those of the first."""

    def timed(n: int) -> float:
        started = time.perf_counter()
        train(n)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - started

    first = timed(1)  # First calls choose algorithms and fill caches.
    return first if first > 1 else max(timed(4) - timed(1), 1e-6) / 3
