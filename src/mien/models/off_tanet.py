"""Off-TANet (PRICAI 2021): residual blocks with channel, spatial and self-attention on flow of 112x112."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Attention = Literal["triplet", "gates", "none"]
SIDE = 14
"""Side of the maps that attention sees; its positions are made for it, so the input has to be 112x112."""


def _conv(inputs: int, maps: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, maps, 3, padding=1), nn.BatchNorm2d(maps), nn.ReLU()]


class Residual(nn.Module):
    """Two 3x3 convolutions with batch normalisation and ReLU, a 1x1 convolution beside them, their sum, max pool 2."""

    def __init__(self, inputs: int, maps: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(*_conv(inputs, maps), *_conv(maps, maps))
        self.skip = nn.Conv2d(inputs, maps, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, maps, H // 2, W // 2)."""
        return nn.functional.max_pool2d(self.inner(x) + self.skip(x), 2)


class ChannelGate(nn.Module):
    """Multiplies each map by a number from its mean and its maximum, through one shared bottleneck of a single unit."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(nn.Conv2d(maps, 1, 1, bias=False), nn.ReLU(), nn.Conv2d(1, maps, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, maps, H, W) to the same shape."""
        gate = self.shared(x.mean((2, 3), keepdim=True)) + self.shared(x.amax((2, 3), keepdim=True))
        return x * torch.sigmoid(gate)


class SpatialGate(nn.Module):
    """Multiplies each pixel by a number from the mean and the maximum over maps, through a 3x3 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, maps, H, W) to the same shape."""
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.conv(seen))


def positions(side: int = SIDE) -> Tensor:
    """Return the fixed positions (side, side): the sum of a number for the row and one for the column.

    The number is the sine, for odd places the cosine, of 10000^(-(n // 2) / side). Place enters by the exponent alone.
    """
    place = torch.arange(side)
    angle = 10000.0 ** (-(place // 2) / side)
    number = torch.where(place % 2 == 0, angle.sin(), angle.cos())
    return number[:, None] + number


class SelfAttention(nn.Module):
    """Four heads of a quarter of the maps each; within a map, rows are compared with rows.

    Scores of a map are q k' + q P' as products of 14x14 matrices, soft-max runs over all 196 of them, and they weigh v
    entry by entry: not the usual attention, and so in the released code.
    """

    heads = 4
    positions: Tensor

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (
            nn.ModuleList(nn.Conv2d(maps, maps // self.heads, 1) for _ in range(self.heads)) for _ in range(3)
        )
        self.register_buffer("positions", positions(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, maps, 14, 14) to the same shape."""
        q, k, v = (torch.cat([head(x) for head in heads], 1) for heads in (self.q, self.k, self.v))
        scores = q @ (k + self.positions).transpose(2, 3)
        weights: Tensor = torch.softmax(scores.flatten(2), 2).view_as(scores)
        return weights * v


class OffTANet(nn.Module):
    """The network; 59,403 weights for three classes.

    Args:
        n_classes: Classes C.
        attention: triplet: channel gate, spatial gate and self-attention; gates: the first two; none: a residual block.
        dropout: Share of dense units that is dropped.

    Example:
        >>> OffTANet()(torch.zeros(2, 3, 112, 112)).shape
        torch.Size([2, 3])

    Source: the released code.
    """

    def __init__(self, n_classes: int = 3, attention: Attention = "triplet", dropout: float = 0.5) -> None:
        super().__init__()
        # Unlike the later blocks: ReLU, then batch normalisation.
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, stride=2, padding=3), nn.ReLU(), nn.BatchNorm2d(8))
        self.residual = nn.Sequential(Residual(8, 18), Residual(18, 28))
        last = Residual(28, 8)
        if attention != "none":
            parts = [ChannelGate(28), SpatialGate(), *([SelfAttention(28)] if attention == "triplet" else [])]
            last.inner = nn.Sequential(*_conv(28, 28), *parts, *_conv(28, 8))
        self.last = last
        self.dense = nn.Sequential(
            nn.Linear(392, 64), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(64, 64), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(64, n_classes),
        )  # fmt: skip
        # A third faster on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 112, 112), 0 for no motion, to logits (B, C)."""
        logits: Tensor = self.dense(self.last(self.residual(self.stem(x))).flatten(1))
        return logits
