"""fit(): the only training loop, and the classifier every deep system uses.

A classifier sees training clips only: there is no argument through which a test clip could arrive. Whatever is chosen
while fitting (number of epochs, scale, class weights) is chosen on an inner split by subject.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.errors import MienError

Progress = Callable[[float], None]
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


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": nn.functional.cross_entropy,
    "balanced": balanced_loss,
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


def fit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    schedule: Schedule,
    *,
    augment: Callable[[Tensor], Tensor] | None = None,
    progress: Progress | None = None,
) -> list[float]:
    """Train a network in place; the only training loop there is.

    Randomness comes from torch's global generator: seed it (or fork it) around the call.

    Args:
        model: Network from (B, ...) to logits (B, C). One that is `Prepared` has its input rearranged
            once, before the first epoch.
        x: (N, ...) float32 training input, on the model's device.
        y: (N,) class indices.
        schedule: Epochs, batch size, optimiser.
        augment: Called on each batch of input; must keep the shape. Turns `Prepared` off.
        progress: Called after every epoch with the share that is done.

    Returns:
        Mean loss of each epoch that was run.

    Raises:
        MienError: The loss is not a number any more.
    """
    loss_of = LOSSES[schedule.loss]
    parameters = list(model.parameters())
    optimiser: torch.optim.Optimizer
    if schedule.optimiser == "adam":
        optimiser = torch.optim.Adam(parameters, schedule.lr, weight_decay=schedule.weight_decay, fused=True)
    else:
        optimiser = torch.optim.SGD(
            parameters, schedule.lr, momentum=schedule.momentum, weight_decay=schedule.weight_decay, fused=True
        )
    model.train()
    forward: Callable[[Tensor], Tensor] = model
    if augment is None and isinstance(model, Prepared):
        x, forward = model.prepare(x), model.forward_prepared
    n = len(y)
    losses: list[float] = []
    for epoch in range(schedule.epochs):
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(epoch)
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
    return losses


def predict(model: nn.Module, x: Tensor, batch_size: int = 512) -> Tensor:
    """Class probabilities (N, C) of a trained network, in evaluation mode."""
    model.eval()
    with torch.inference_mode():
        parts = [torch.softmax(model(x[i : i + batch_size]), 1) for i in range(0, len(x), batch_size)]
    return torch.cat(parts)


@dataclass
class NetClassifier:
    """A network with the scikit-learn manners every system has: `fit`, then `predict_proba`.

    Args:
        make: Builds the untrained network.
        schedule: How it is trained.
        scale: (offset, factor): the network sees (x - offset) * factor.
        mirror: Add a mirrored copy of every training clip, and average each prediction with that of its mirror image.
        members: Networks trained from different seeds whose probabilities are averaged.
        shift: Each time a clip is trained on it is moved by up to this many pixels.
        device: "cpu" or "cuda".

    Attributes:
        curves: Mean loss per epoch of the last fit, one list per member.
    """

    make: Callable[[], nn.Module]
    schedule: Schedule
    scale: tuple[float, float] = (0.0, 1.0)
    mirror: Mirror | None = None
    members: int = 1
    shift: int = 0
    device: str = "cpu"
    curves: list[list[float]] = field(default_factory=list, init=False)
    models: list[nn.Module] = field(default_factory=list, init=False)

    def _tensor(self, x: NDArray[np.float32]) -> Tensor:
        offset, factor = self.scale
        return ((torch.from_numpy(np.ascontiguousarray(x)).float() - offset) * factor).to(self.device)

    def fit(
        self,
        x: NDArray[np.float32],
        y: NDArray[np.int64],
        groups: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """Train on some clips.

        Args:
            x: (N, C, H, W) input of the system's recipe.
            y: (N,) class indices.
            groups: (dataset, subject) of each clip; here unused, other classifiers split by it.
            seed: Same seed, same machine, same result.
            progress: Called with the share that is done.
        """
        inputs, targets = self._tensor(x), torch.from_numpy(np.asarray(y, dtype=np.int64)).to(self.device)
        if self.mirror is not None:
            inputs, targets = torch.cat([inputs, self.mirror(inputs)]), torch.cat([targets, targets])
        self.models, self.curves = [], []
        with torch.random.fork_rng(devices=[] if self.device == "cpu" else None):
            for member in range(self.members):
                torch.manual_seed(int(np.random.SeedSequence([seed, member]).generate_state(1)[0]))
                model = self.make().to(self.device)

                def share(done: float, member: int = member) -> None:
                    if progress is not None:
                        progress((member + done) / self.members)

                augment = random_shift(self.shift) if self.shift else None
                self.curves.append(fit(model, inputs, targets, self.schedule, augment=augment, progress=share))
                self.models.append(model)
        return self

    def predict_proba(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities (N, C), float32, rows summing to 1."""
        inputs = self._tensor(x)
        views = [inputs] if self.mirror is None else [inputs, self.mirror(inputs)]
        total = sum(predict(model, view) for model in self.models for view in views)
        assert isinstance(total, Tensor)
        return (total / (len(self.models) * len(views))).cpu().numpy()
