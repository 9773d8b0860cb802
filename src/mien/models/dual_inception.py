"""Dual-Inception (Zhou, Mao, Xue; IEEE FG 2019): two streams of two inception blocks on u and v."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Inception(nn.Module):
    """Four branches side by side: 1x1; 1x1 and 3x3; 1x1 and 5x5; max pool 3 and 1x1. ReLU after every convolution.

    Args:
        channels: Channels of the input.
        maps: Maps of each branch; the result has four times as many.
    """

    def __init__(self, channels: int, maps: int) -> None:
        super().__init__()

        def conv(inputs: int, side: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(inputs, maps, side, padding=side // 2), nn.ReLU())

        self.branches = nn.ModuleList(
            [
                conv(channels, 1),
                nn.Sequential(conv(channels, 1), conv(maps, 3)),
                nn.Sequential(conv(channels, 1), conv(maps, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(channels, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, 4 maps, H, W)."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class DualInception(nn.Module):
    """Two streams, one of u and one of v, joined by two dense layers; 6,449,867 weights for three classes.

    Args:
        n_classes: Classes C.
        channels: Channels of each stream. With 3 a stream sees its picture three times over, as a file read in colour:
            6,449,963 weights.

    Example:
        >>> DualInception()(torch.zeros(2, 3, 28, 28)).shape
        torch.Size([2, 3])

    Source: the authors' code for MEGC 2019; weights start as Keras starts them (Glorot uniform, biases 0).
    """

    def __init__(self, n_classes: int = 3, channels: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.u, self.v = self._stream(), self._stream()
        self.dense = nn.Sequential(nn.Linear(2 * 64 * 7 * 7, 1024), nn.ReLU(), nn.Linear(1024, n_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        # A quarter faster on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _stream(self) -> nn.Sequential:
        return nn.Sequential(
            Inception(self.channels, 6), nn.MaxPool2d(2), Inception(24, 16), nn.MaxPool2d(2), nn.Flatten()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2 or more, 28, 28), of which u and v are used, 0..1, to logits (B, C)."""
        u, v = (x[:, k : k + 1].expand(-1, self.channels, -1, -1) for k in (0, 1))
        logits: Tensor = self.dense(torch.cat([self.u(u), self.v(v)], 1))
        return logits
