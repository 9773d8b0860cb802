"""Training losses of networks: of logits and class indices, to a scalar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]


def balanced_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Compute cross-entropy weighted by the inverse frequency of each class in the batch: all classes count the same.

    Args:
        logits: (B, C).
        y: (B,) class indices.

    Returns:
        Scalar: mean over the batch of w_y * -log p_y with weights of mean 1.

    Source: STRCN, section III-E, with class frequencies of the batch. The paper leaves the scale open; here the mean
    weight is 1, so that a learning rate means the same with and without balancing.
    """
    counts = torch.bincount(y, minlength=logits.shape[1]).to(logits.dtype)
    weight = y.numel() / (counts[y] * (counts > 0).sum())
    return (weight * nn.functional.cross_entropy(logits, y, reduction="none")).mean()


def printed_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Compute the balanced loss with equation 9 read literally: every class of the label vector counts.

    p_t = p_c^y (1 - p_c)^(1 - y) has a factor for each class c, of which y is 1 for one. Its logarithm adds
    log(1 - p_c) of the other classes to log p of the clip's own. For two classes that is twice the balanced loss.

    Args:
        logits: (B, C).
        y: (B,) class indices.

    Returns:
        Scalar: mean over the batch of w_y * -(log p_y + sum over c other than y of log(1 - p_c)), weights as
        `balanced_loss`.

    Source: STRCN, section III-E, equations 9 and 10.
    """
    counts = torch.bincount(y, minlength=logits.shape[1]).to(logits.dtype)
    weight = y.numel() / (counts[y] * (counts > 0).sum())
    return (weight * _printed(logits, y)).mean()


def printed_unweighted_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Compute `printed_loss` with the weight of every clip 1: the paper's "without balanced loss"."""
    return _printed(logits, y).mean()


def _printed(logits: Tensor, y: Tensor) -> Tensor:
    """Return -(log p_y + sum over c other than y of log(1 - p_c)) of each clip, (B,)."""
    own = nn.functional.cross_entropy(logits, y, reduction="none")
    classes = logits.shape[1]
    if classes < 2:
        return own
    # log(1 - p_c) as a sum over the other classes: exact where p_c rounds to 1.
    itself = torch.eye(classes, dtype=torch.bool, device=logits.device)
    others = torch.logsumexp(logits[:, None, :].masked_fill(itself, float("-inf")), 2) - logits.logsumexp(1)[:, None]
    return own - others.masked_fill(nn.functional.one_hot(y, classes).bool(), 0.0).sum(1)


def focal_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Compute the focal loss of the STRCN authors' later code; its class weights hardly differ.

    Args:
        logits: (B, C).
        y: (B,) class indices.

    Returns:
        Scalar: mean over the batch of -(1 - n_y / (10 B)) (1 - p_y)^2 log p_y, with n_y clips of class y in the batch.

    Source: `BalancedLoss` in the authors' repository of parameter-free recurrent networks (IEEE TIP 2020).
    """
    log_p = torch.log_softmax(logits, 1).gather(1, y[:, None])[:, 0]
    share = torch.bincount(y, minlength=logits.shape[1]).to(logits.dtype)[y] / len(y)
    return ((share / 10 - 1) * (1 - log_p.exp()) ** 2 * log_p).mean()


def squared_loss(scores: Tensor, y: Tensor) -> Tensor:
    """Compute the mean squared difference of scores (B, 1) and targets (B,), for regression networks."""
    return nn.functional.mse_loss(scores[:, 0], y)


def unit_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Compute binary cross-entropy of each action unit, mean over units and clips.

    Args:
        logits: (B, U).
        y: (B, U) of 0 and 1.
    """
    return nn.functional.binary_cross_entropy_with_logits(logits, y.to(logits.dtype))


def balanced_unit_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Compute binary cross-entropy of each action unit; clips of the batch with and without it count the same.

    What `balanced_loss` is for each unit alone, with the two classes "there" and "not there": weights have the mean 1,
    and where all clips of the batch are of one kind, each weighs 1.

    Args:
        logits: (B, U).
        y: (B, U) of 0 and 1.
    """
    there = y.to(logits.dtype)
    with_it = there.sum(0)
    without = len(y) - with_it
    kinds = (with_it > 0).to(logits.dtype) + (without > 0).to(logits.dtype)
    weight = len(y) / kinds / torch.where(there > 0, with_it, without)
    return (weight * nn.functional.binary_cross_entropy_with_logits(logits, there, reduction="none")).mean()


LOSSES: Final[Mapping[str, Loss]] = {
    "cross_entropy": nn.functional.cross_entropy,
    "balanced": balanced_loss,
    "printed": printed_loss,
    "printed_unweighted": printed_unweighted_loss,
    "focal": focal_loss,
    "squared": squared_loss,
    "units": unit_loss,
    "balanced_units": balanced_unit_loss,
}
"""The losses that a `Schedule` can name."""

UNIT_LOSSES: Final[Mapping[str, str]] = {
    "balanced": "balanced_units",
    "printed": "balanced_units",
    "cross_entropy": "units",
    "printed_unweighted": "units",
}
"""For losses of classes, the name of the same of action units.

With one sigmoid for each unit, equation 9 of STRCN is binary cross-entropy as it is printed.
"""
