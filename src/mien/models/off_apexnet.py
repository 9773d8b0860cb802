"""OFF-ApexNet (Gan, Liong, Yau, Huang, Tan; Signal Processing: Image Communication 74, 2019) and its rebuilds."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class OffApexNet(nn.Module):
    """Two streams of convolutions on u and v, and two dense layers; 2,664,475 weights for three classes.

    Args:
        n_classes: Classes C.
        dropout: Share of dense units that is dropped.
        activation: ReLU after each convolution; one public rebuild has none.

    Example:
        >>> OffApexNet()(torch.zeros(2, 3, 28, 28)).shape
        torch.Size([2, 3])

    Source: layers as in the public rebuild of the ECNU-Cross-Innovation-Lab.
    """

    def __init__(self, n_classes: int = 3, dropout: float = 0.5, activation: bool = True) -> None:
        super().__init__()
        self.activation = activation
        self.u, self.v = self._stream(), self._stream()
        self.dense = nn.Sequential(
            nn.Linear(2 * 16 * 7 * 7, 1024), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(1024, 1024), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(1024, n_classes),
        )  # fmt: skip

    def _stream(self) -> nn.Sequential:
        between = nn.ReLU if self.activation else nn.Identity
        return nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), between(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5, padding=2), between(), nn.MaxPool2d(2), nn.Flatten(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2 or more, 28, 28), of which u and v are used, 0..1, to logits (B, C)."""
        logits: Tensor = self.dense(torch.cat([self.u(x[:, :1]), self.v(x[:, 1:2])], 1))
        return logits


class OneStream(nn.Module):
    """The network that the benchmark MEB calls OFF-ApexNet: one stream for u and v; 807,909 weights.

    Args:
        n_classes: Classes C.
        dropout: Share of the dense layers' inputs that is dropped.

    Source: the public code of MEB.
    """

    def __init__(self, n_classes: int = 3, dropout: float = 0.5) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Dropout(dropout), nn.Linear(16 * 7 * 7, 1024), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(1024, n_classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2 or more, 28, 28), of which u and v are used, 0..1, to logits (B, C)."""
        logits: Tensor = self.layers(x[:, :2])
        return logits
