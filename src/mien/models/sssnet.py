"""SSSNet (Varanka, Peng, Zhao, "Micro-expression recognition with noisy labels", IS&T Electronic Imaging 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SSSNet(nn.Module):
    """Two convolutions on u, v and strain, and two dense layers; 1,349,251 weights for 64x64 and three classes.

    Args:
        n_classes: Classes C.
        size: Side of the picture in pixels; published for 64.
        dropout: Share of whole maps, and of hidden units, that is dropped.
        softmax: Return probabilities in place of logits while training: cross-entropy then takes a second softmax.

    Example:
        >>> SSSNet(size=28)(torch.zeros(2, 3, 28, 28)).shape
        torch.Size([2, 3])

    Source: the authors' public benchmark code (MEB).
    """

    def __init__(self, n_classes: int = 3, size: int = 64, dropout: float = 0.5, softmax: bool = False) -> None:
        super().__init__()
        self.softmax = softmax
        # Unlike most networks: pooling, then batch normalisation, then dropout.
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 5), nn.ReLU(), nn.MaxPool2d(3), nn.BatchNorm2d(32), nn.Dropout2d(dropout),
            nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(64), nn.Dropout2d(dropout),
        )  # fmt: skip
        side = ((size - 4) // 3 - 2) // 2
        self.classify = nn.Sequential(
            nn.Linear(64 * side**2, 256), nn.ReLU(), nn.Dropout(dropout), nn.Linear(256, n_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, size, size) in 0..1 to logits (B, C); to probabilities with `softmax`, in training mode."""
        logits: Tensor = self.classify(self.features(x).flatten(1))
        return torch.softmax(logits, 1) if self.softmax and self.training else logits
