"""fit(): the only training loop, and the classifier every deep system uses.

A classifier sees training clips only: there is no argument through which a test clip could arrive. Whatever is chosen
while fitting (number of epochs, scale, class weights) is chosen on an inner split by subject.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.classifiers.base import Classifier, Clips, Progress
from mien.errors import MienError
from mien.io.atomic import write_atomically
from mien.preprocessing.inputs import Inputs, as_inputs

HELD = 1 << 29
"""Bytes of training input that are held in memory; more is read batch by batch."""

Mirror = Callable[[Tensor], Tensor]


def mirror_flow(x: Tensor) -> Tensor:
    """A flow picture of the mirrored face: columns reversed, horizontal motion negated, strain kept.

    Args:
        x: (..., C, H, W), channels u, v[, strain], no motion being 0.

    Returns:
        The same shape and range; applying it twice gives the input back.
    """
    flipped = x.flip(-1).clone()
    flipped[..., 0, :, :] *= -1
    return flipped


def random_shift(most: int) -> Callable[[Tensor], Tensor]:
    """An augmentation that moves each clip of a batch by up to `most` pixels along both axes, edges repeated.

    Args:
        most: Largest shift in whole pixels; each one from -most to most is as likely.
    """

    def shifted(x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        padded = nn.functional.pad(x, (most, most, most, most), mode="replicate")
        corners = torch.randint(0, 2 * most + 1, (len(x), 2)).tolist()
        return torch.stack([p[:, r : r + height, c : c + width] for p, (r, c) in zip(padded, corners, strict=True)])

    return shifted


def shifted_views(most: int) -> list[Mirror]:
    """Ways to look at a clip: as it is, and moved by up to `most` pixels along one axis, edges repeated.

    Args:
        most: Largest shift in whole pixels; 0 gives no view but the clip itself.
    """

    def moved(x: Tensor, down: int, right: int) -> Tensor:
        height, width = x.shape[-2:]
        padded = nn.functional.pad(x, (most, most, most, most), mode="replicate")
        return padded[..., most - down : most - down + height, most - right : most - right + width]

    by = [0, *(sign * n for n in range(1, most + 1) for sign in (1, -1))]
    places = [(0, 0), *((n, 0) for n in by[1:]), *((0, n) for n in by[1:])]
    return [partial(moved, down=down, right=right) for down, right in places] if most else []


def mirror_frames(x: Tensor) -> Tensor:
    """Pictures with their channels last, (..., H, W, C), with the columns reversed: frames of the mirrored face."""
    return x.flip(-2)


def shift_frames(most: int) -> Callable[[Tensor], Tensor]:
    """As `random_shift` for pictures with their channels last, (B, ..., H, W, C); all those of a clip move alike."""

    def shifted(x: Tensor) -> Tensor:
        height, width = x.shape[-3:-1]
        out = torch.empty_like(x)
        moves = torch.randint(-most, most + 1, (len(x), 2)).to(x.device)
        rows = (torch.arange(height, device=x.device) + moves[:, :1]).clamp_(0, height - 1)
        columns = (torch.arange(width, device=x.device) + moves[:, 1:]).clamp_(0, width - 1)
        for clip, moved, r, c in zip(x, out, rows, columns, strict=True):
            moved.copy_(clip.index_select(-3, r).index_select(-2, c))
        return out

    return shifted


def random_strength(spread: float) -> Callable[[Tensor], Tensor]:
    """An augmentation that makes all motion of each clip of a batch stronger or weaker by one factor.

    Args:
        spread: Standard deviation of the factor's natural logarithm.
    """

    def stronger(x: Tensor) -> Tensor:
        factor = torch.exp(spread * torch.randn(len(x), *[1] * (x.dim() - 1)))
        return x * factor.to(x.device)

    return stronger


def random_patch(side: int) -> Callable[[Tensor], Tensor]:
    """An augmentation that sets a square of each clip of a batch to no motion, anywhere, possibly in part outside.

    Args:
        side: Pixels of the square.
    """

    def patched(x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        corners = torch.stack([torch.randint(-side + 1, n, (len(x), 1)) for n in (height, width)])
        rows, columns = ((torch.arange(n) - c) for n, c in zip((height, width), corners, strict=True))
        hidden = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
        return x.masked_fill(hidden[:, None].to(x.device), 0)

    return patched


def in_turn(*steps: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor] | None:
    """Augmentations one after another; None when there is none."""
    if not steps:
        return None

    def all_of_them(x: Tensor) -> Tensor:
        for step in steps:
            x = step(x)
        return x

    return all_of_them


def vary_frames(shift: int, strength: float) -> Callable[[Tensor], Tensor] | None:
    """`shift_frames` and `random_strength`, each unless it is 0."""
    return in_turn(*([shift_frames(shift)] if shift else []), *([random_strength(strength)] if strength else []))


def balanced_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy weighted by the inverse of each class's share in the batch, so that every class counts the same.

    Args:
        logits: (B, C).
        y: (B,) class indices.

    Returns:
        Scalar: mean over the batch of w_y * -log p_y with weights of mean 1.

    Source: STRCN, section III-E, the class share being taken in the batch. The paper leaves the scale open; ours keeps
    the mean weight at 1, so the learning rate means the same as without balancing.
    """
    counts = torch.bincount(y, minlength=logits.shape[1]).to(logits.dtype)
    weight = y.numel() / (counts[y] * (counts > 0).sum())
    return (weight * nn.functional.cross_entropy(logits, y, reduction="none")).mean()


def focal_loss(logits: Tensor, y: Tensor) -> Tensor:
    """The balanced loss of the STRCN authors' later code: focal, with weights that hardly differ between classes.

    Args:
        logits: (B, C).
        y: (B,) class indices.

    Returns:
        Scalar: mean over the batch of -(1 - n_y / (10 B)) (1 - p_y)^2 log p_y, n_y the clips of class y in the batch.

    Source: `BalancedLoss` in the authors' repository of parameter-free recurrent networks (IEEE TIP 2020).
    """
    log_p = torch.log_softmax(logits, 1).gather(1, y[:, None])[:, 0]
    share = torch.bincount(y, minlength=logits.shape[1]).to(logits.dtype)[y] / len(y)
    return ((share / 10 - 1) * (1 - log_p.exp()) ** 2 * log_p).mean()


def squared_loss(scores: Tensor, y: Tensor) -> Tensor:
    """Mean squared difference between scores (B, 1) and numbers (B,), for networks that say how much, not which."""
    return nn.functional.mse_loss(scores[:, 0], y)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": nn.functional.cross_entropy,
    "balanced": balanced_loss,
    "focal": focal_loss,
    "squared": squared_loss,
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a network is trained; every number stands in the system's own file.

    Attributes:
        epochs: Passes over the training clips.
        batch_size: Clips per step.
        optimiser: "sgd" or "adam".
        lr: First learning rate.
        decay: Factor on the learning rate after each epoch, or "cosine" for a half cosine down to zero.
        momentum: Of SGD.
        weight_decay: L2 penalty as the optimiser applies it.
        shuffle: False keeps the order of the clip table, as STSTNet's authors do.
        loss: Name in `LOSSES`.
        min_change: Stop when the epoch's mean loss changes by less than this; 0 never stops early.
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

    def optimiser_of(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of all weights of a network, at the first learning rate."""
        weights = list(model.parameters())
        if self.optimiser == "adam":
            return torch.optim.Adam(weights, self.lr, weight_decay=self.weight_decay, fused=True)
        return torch.optim.SGD(weights, self.lr, momentum=self.momentum, weight_decay=self.weight_decay, fused=True)

    def rate(self, epoch: int) -> float:
        """Learning rate of one epoch, counted from 0."""
        if self.decay == "cosine":
            return self.lr * 0.5 * (1 + float(np.cos(np.pi * epoch / self.epochs)))
        return self.lr * float(self.decay) ** epoch


@runtime_checkable
class Prepared(Protocol):
    """A network that trains faster from its input in another arrangement, with the same result."""

    def prepare(self, x: Tensor) -> Tensor:
        """The input of all training clips, (N, ...), rearranged once; clips stay along the first axis."""
        ...

    def forward_prepared(self, batch: Tensor) -> Tensor:
        """Some rows of what `prepare` gave, to logits."""
        ...


@runtime_checkable
class Objective(Protocol):
    """A network whose training loss sees more than its logits."""

    def objective(self, batch: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The loss of a batch; `loss` is that of the schedule, of logits and classes."""
        ...


@runtime_checkable
class StepsItself(Protocol):
    """A network whose large layers take steps of plain gradient descent within the backward pass."""

    def step_at(self, rate: float | None) -> None:
        """The learning rate of those steps; None leaves every weight to the optimiser."""
        ...


class Batches(Protocol):
    """Training input that is read batch by batch."""

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        """The input of some rows, on the model's device."""
        ...


@dataclass(frozen=True)
class CopyBatches:
    """Rows are copies of clips: row r is clip r // copies, copy r % copies; with a mirror, as many rows again mirrored.

    Attributes:
        inputs: The clips.
        finish: Makes the network's input of what is read: scale and device.
        mirror: As in `NetClassifier`.
        pairs: As in `NetClassifier`.
    """

    inputs: Inputs
    finish: Callable[[NDArray[np.float32]], Tensor]
    mirror: Mirror | None = None
    pairs: bool = False

    def __len__(self) -> int:
        return len(self.inputs) * self.inputs.copies * (1 if self.mirror is None else 2)

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        index = np.arange(len(self))[rows] if isinstance(rows, slice) else rows.numpy()
        plain = len(self.inputs) * self.inputs.copies
        clips, copies = np.divmod(index % plain, self.inputs.copies)
        batch = self.finish(self.inputs.take(clips, copies))
        if self.pairs:
            partner = self.finish(self.inputs.take(clips, (copies + 1) % self.inputs.copies))
            batch = torch.stack([batch, partner], 1)
        if self.mirror is not None:
            turned = torch.from_numpy(index >= plain)
            if turned.any():
                batch[turned] = self.mirror(batch[turned])
        return batch

    def labels(self, y: Tensor) -> Tensor:
        """The class of every row, from that of every clip."""
        full = y.repeat_interleave(self.inputs.copies)
        return full if self.mirror is None else torch.cat([full, full])


def fit(
    model: nn.Module,
    x: Tensor | Batches,
    y: Tensor,
    schedule: Schedule,
    *,
    augment: Callable[[Tensor], Tensor] | None = None,
    progress: Progress | None = None,
    keep: Path | None = None,
    keep_seconds: float = 60.0,
) -> list[float]:
    """Train a network in place; the only training loop there is.

    Randomness comes from torch's global generator: seed it (or fork it) around the call.

    Args:
        model: Network from (B, ...) to logits (B, C). One that is `Prepared` has its input rearranged
            once, before the first epoch.
        x: (N, ...) float32 training input, on the model's device; or what gives it batch by batch.
        y: (N,) class indices, on the model's device.
        schedule: Epochs, batch size, optimiser.
        augment: Called on each batch of input; must keep the shape. Turns `Prepared` off.
        progress: Called after every epoch with the share that is done.
        keep: File for the state after an epoch. Where it is there, training goes on from it and ends with the same
            weights as without a stop; it is deleted at the end.
        keep_seconds: Least time between two such states.

    Returns:
        Mean loss of each epoch that was run.

    Raises:
        MienError: The loss is not a number any more.
    """
    loss_of = LOSSES[schedule.loss]
    optimiser = schedule.optimiser_of(model)
    model.train()
    forward: Callable[[Tensor], Tensor] = model
    if augment is None and isinstance(x, Tensor) and isinstance(model, Prepared):
        x, forward = model.prepare(x), model.forward_prepared
    n = len(y)
    if n < 2:
        raise MienError(f"There is {n} clip to train on.", "at least two.", "more clips, or another protocol.")
    losses: list[float] = [] if keep is None else read_state(keep, model, optimiser)
    kept_at = time.monotonic()
    for epoch in range(len(losses), schedule.epochs):
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(epoch)
        if isinstance(model, StepsItself):
            bare = schedule.optimiser == "sgd" and not schedule.momentum and not schedule.weight_decay
            model.step_at(schedule.rate(epoch) if bare else None)
        order = torch.randperm(n) if schedule.shuffle else None
        total = 0.0
        for start in range(0, n, schedule.batch_size):
            stop = min(start + schedule.batch_size, n)
            if stop - start == 1 and n > 1:
                continue  # Batch statistics of a single clip are empty; it comes back in the next shuffle.
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
        losses.append(total / n)
        if not np.isfinite(losses[-1]):
            raise MienError(
                f"The loss is {losses[-1]} after epoch {epoch + 1}.",
                "a finite number.",
                f"a smaller learning rate than {schedule.lr:g} (`--set lr={schedule.lr / 10:g}`).",
            )
        if progress is not None:
            progress((epoch + 1) / schedule.epochs)
        if schedule.min_change and epoch and abs(losses[-2] - losses[-1]) < schedule.min_change:
            break
        if keep is not None and time.monotonic() - kept_at >= keep_seconds:
            with suppress(OSError):  # a help, not a result: where it cannot be kept, training goes on without
                write_state(keep, model, optimiser, losses)
            kept_at = time.monotonic()
    if keep is not None:
        keep.unlink(missing_ok=True)
    return losses


def write_state(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, losses: Sequence[float]) -> None:
    """Writes everything that the rest of a training depends on: weights, momenta, chance, losses so far."""
    from safetensors.torch import save

    tensors = {f"model.{k}": v.contiguous() for k, v in model.state_dict().items()}
    for place, state in optimiser.state_dict()["state"].items():
        tensors.update({f"optimiser.{place}.{k}": v.contiguous() for k, v in state.items() if isinstance(v, Tensor)})
    tensors["chance"] = torch.get_rng_state()
    write_atomically(path, save(tensors, metadata={"losses": json.dumps(list(losses))}))


def read_state(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> list[float]:
    """Puts back what `write_state` wrote and gives the losses so far; () and nothing changed where there is no state.

    A state that is damaged, or of another network, counts as none.
    """
    from safetensors import SafetensorError, safe_open

    current = model.state_dict()
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    weights: dict[str, Tensor] = {}
    states: dict[int, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            losses = [float(loss) for loss in json.loads(file.metadata()["losses"])]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        chance = tensors.pop("chance")
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "model":
                weights[rest] = tensor
                continue
            place, _, key = rest.partition(".")
            own = parameters[int(place)]
            if tensor.dim():
                # A file holds rows one after another; a fused step pairs numbers by their place in memory.
                tensor = torch.empty_like(own).copy_(tensor.reshape(own.shape))
            states.setdefault(int(place), {})[key] = tensor
        same = {k: (v.shape, v.dtype) for k, v in weights.items()} == {
            k: (v.shape, v.dtype) for k, v in current.items()
        }
        known = torch.get_rng_state()
        if not same or (chance.shape, chance.dtype) != (known.shape, known.dtype):
            return []
        torch.Generator().set_state(chance)  # refuses numbers that no generator can be in
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, RuntimeError, RecursionError):
        return []
    model.load_state_dict(weights)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": states})
    torch.set_rng_state(chance)
    return losses


def predict(model: nn.Module, x: Tensor | Batches, n: int, batch_size: int = 512) -> Tensor:
    """Class probabilities (n, C) of a trained network, in evaluation mode; fewer at once where a GPU is too small."""
    model.eval()
    parts: list[Tensor] = []
    done = 0
    with torch.inference_mode():
        while done < n:
            try:
                parts.append(torch.softmax(model(x[slice(done, min(done + batch_size, n))]), 1))
                done += len(parts[-1])
                continue
            except torch.cuda.OutOfMemoryError:
                if batch_size == 1:
                    raise
            torch.cuda.empty_cache()
            batch_size = (batch_size + 1) // 2
    return torch.cat(parts)


def device_of(name: str) -> str:
    """A device by name: "cpu", "cuda", or "auto" for CUDA where there is one.

    Raises:
        MienError: Another name, or CUDA is asked for and absent.
    """
    if name not in ("cpu", "cuda", "auto"):
        raise MienError(f"There is no device {name!r}.", "cpu, cuda or auto.", "`--set device=auto`.")
    if name != "cpu" and torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise MienError("CUDA was asked for and this machine has none.", "cpu or auto.", "`--set device=auto`.")
    return "cpu"


def _require_fit(build: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> None:
    """Refuses weights of another shape before the network is made, which a forged file may ask to be of any size.

    Raises:
        RuntimeError: They are of another network.
    """
    try:
        with torch.device("meta"):
            wanted = {name: tensor.shape for name, tensor in build().state_dict().items()}
    except (RuntimeError, TypeError, ValueError):
        return  # It is not made of shapes alone: `load_state_dict` will tell.
    for name in wanted.keys() | weights.keys():
        if name not in wanted or name not in weights or wanted[name] != weights[name].shape:
            raise RuntimeError(f"{name} differs")


@dataclass
class NetClassifier(Classifier):
    """A network with the scikit-learn manners every system has: `fit`, then `predict_proba`.

    Args:
        make: Builds the untrained network for some inputs; may learn from them, as they are training clips only.
        schedule: How it is trained.
        scale: (offset, factor): the network sees (x - offset) * factor.
        mirror: Add a mirrored copy of every training clip, and average each prediction with that of its mirror image.
        members: Networks trained from different seeds whose probabilities are averaged.
        augment: Changes each batch of training input; keeps its shape.
        device: "cpu", "cuda", or "auto".
        batch_size: Clips at once when predicting.
        state_file: Where states of an unfinished training go, less the member's number; None keeps none.
        remake: Builds the network that some weights belong to, where `make` learns from its inputs.
        pairs: Training rows hold two copies of their clip, (2, *shape), the second being the next copy.
        chosen: What else the log of a fold records about the network, such as which of several it is.
        start: Puts weights into an untrained network, to train on from them.
        views: Ways to look at a clip when predicting, the clip itself among them; the answers are averaged.
        others: Further ways to build the network: a committee's members are built by `make` and by these in turn.

    Attributes:
        curves: Mean loss per epoch of the last fit, one list per member.
        smaller_batch: Batch size of the last fit where a GPU's memory was too small for that of the schedule.
    """

    make: Callable[[Inputs], nn.Module]
    schedule: Schedule
    scale: tuple[float, float] = (0.0, 1.0)
    mirror: Mirror | None = None
    members: int = 1
    augment: Callable[[Tensor], Tensor] | None = None
    device: str = "cpu"
    batch_size: int = 512
    state_file: Path | None = None
    remake: Callable[[Inputs, Mapping[str, Tensor]], nn.Module] | None = None
    start: Callable[[nn.Module], None] | None = None
    others: Sequence[Callable[[Inputs], nn.Module]] = ()
    views: Sequence[Mirror] = ()
    pairs: bool = False
    chosen: Mapping[str, Any] | None = None
    curves: list[list[float]] = field(default_factory=list, init=False)
    models: list[nn.Module] = field(default_factory=list, init=False)
    smaller_batch: int | None = field(default=None, init=False)

    def _build(self, inputs: Inputs, member: int) -> nn.Module:
        return (self.make, *self.others)[member % (1 + len(self.others))](inputs)

    def restore(self, inputs: Inputs, weights: Mapping[str, Tensor], member: int = 0) -> nn.Module:
        """A network with weights from a file, for inputs of some shape.

        Raises:
            RuntimeError: The weights are of another network.
        """
        self.device = device_of(self.device)
        if self.remake is None:
            _require_fit(lambda: self._build(inputs, member), weights)
        model = self._build(inputs, member) if self.remake is None else self.remake(inputs, weights)
        model.load_state_dict(dict(weights))
        return model.to(self.device)

    def _finish(self, x: NDArray[np.float32]) -> Tensor:
        offset, factor = self.scale
        return ((torch.from_numpy(np.ascontiguousarray(x)).float() - offset) * factor).to(self.device)

    def fit(
        self,
        x: Clips,
        y: NDArray[np.int64],
        groups: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """Train on some clips.

        Args:
            x: Input of the system's recipe, an array (N, ...) or `Inputs`, all copies of which are trained on.
            y: (N,) class indices.
            groups: (dataset, subject) of each clip; here unused, other classifiers split by it.
            seed: Same seed, same machine, same result.
            progress: Called with the share that is done.
        """
        self.device = device_of(self.device)
        inputs = as_inputs(x)
        rows = CopyBatches(inputs, self._finish, self.mirror, self.pairs)
        targets = rows.labels(torch.from_numpy(np.asarray(y, dtype=np.int64))).to(self.device)
        # What fits is kept in memory; a slice is the whole of it, in the order of the rows.
        small = len(rows) * 4 * math.prod(inputs.shape) * (2 if self.pairs else 1) <= HELD
        source: Tensor | Batches = rows[slice(None)] if small else rows
        self.models, self.curves, self.smaller_batch = [], [], None
        with torch.random.fork_rng(devices=[] if self.device == "cpu" else None):
            for member in range(self.members):

                def share(done: float, member: int = member) -> None:
                    if progress is not None:
                        progress((member + done) / self.members)

                model, losses = self._fit_member(member, inputs, source, targets, seed, share)
                self.curves.append(losses)
                self.models.append(model)
        return self

    def fit_log(self) -> dict[str, Any]:
        """Return the mean loss of each epoch over the members, `chosen`, and `smaller_batch`, where there are any."""
        record: dict[str, Any] = {}
        if self.curves:
            shortest = min(len(curve) for curve in self.curves)
            record["loss"] = np.mean([curve[:shortest] for curve in self.curves], axis=0).round(6).tolist()
        if self.chosen is not None:
            record["chosen"] = self.chosen
        if self.smaller_batch is not None:
            record["smaller_batch"] = self.smaller_batch
        return record

    def _fit_member(
        self, member: int, inputs: Inputs, source: Tensor | Batches, targets: Tensor, seed: int, progress: Progress
    ) -> tuple[nn.Module, list[float]]:
        """One member and its losses; where the GPU's memory is too small, from the start again with half the batch."""
        while True:
            schedule = replace(self.schedule, batch_size=self.smaller_batch or self.schedule.batch_size)
            torch.manual_seed(int(np.random.SeedSequence([seed, member]).generate_state(1)[0]))
            model = self._build(inputs, member)
            if self.start is not None:
                self.start(model)
            # A state belongs to one batch size: two mixed would be neither.
            size = f"-b{self.smaller_batch}" if self.smaller_batch else ""
            state = self.state_file and self.state_file.with_name(f"{self.state_file.name}-{member}{size}.safetensors")
            try:
                model = model.to(self.device)
                losses = fit(model, source, targets, schedule, augment=self.augment, progress=progress, keep=state)
                return model, losses
            except torch.cuda.OutOfMemoryError:
                if state:
                    state.unlink(missing_ok=True)
            # Outside the handler, whose traceback holds the tensors that are in the way.
            del model
            torch.cuda.empty_cache()
            self.smaller_batch = min(schedule.batch_size, len(targets)) // 2
            if self.smaller_batch < 2:
                raise MienError(
                    "The GPU's memory is too small even for batches of two clips.",
                    "room for the network and a batch.",
                    "`--set device=cpu`; fewer folds on one GPU (a larger --gpus-per-fold, or fewer --jobs); "
                    "or a smaller preset.",
                )
            warnings.warn(
                f"The GPU's memory is too small for batches of {schedule.batch_size} clips: training starts again "
                f"with {self.smaller_batch}, which is another setting than the one asked for.",
                stacklevel=3,
            )

    def predict_proba(self, x: Clips) -> NDArray[np.float32]:
        """Class probabilities (N, C), float32, rows summing to 1; of copy 0 where there are several."""
        inputs = as_inputs(x)
        n = len(inputs)
        mirrors = [] if self.mirror is None else [self.mirror]
        looks: list[tuple[Mirror, ...]] = [(view,) for view in self.views] or [()]
        looks += [(mirror, *look) for mirror in mirrors for look in looks]
        views: list[Batches] = [_FirstCopies(inputs, self._finish, look) for look in looks]
        total = sum(predict(model, view, n, self.batch_size) for model in self.models for view in views)
        assert isinstance(total, Tensor)
        return (total / (len(self.models) * len(views))).cpu().numpy()


@dataclass(frozen=True)
class _FirstCopies:
    """Rows are clips, copy 0 of each, all looked at in the same way."""

    inputs: Inputs
    finish: Callable[[NDArray[np.float32]], Tensor]
    steps: tuple[Mirror, ...]

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        index = np.arange(len(self.inputs))[rows] if isinstance(rows, slice) else rows.numpy()
        batch = self.finish(self.inputs.take(index))
        for step in self.steps:
            batch = step(batch)
        return batch
