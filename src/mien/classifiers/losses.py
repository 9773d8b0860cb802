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


LOSSES: Final[Mapping[str, Loss]] = {
    "cross_entropy": nn.functional.cross_entropy,
    "balanced": balanced_loss,
    "focal": focal_loss,
    "squared": squared_loss,
}
"""The losses that a `Schedule` can name."""
