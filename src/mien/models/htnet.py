"""HTNet (Wang, Zhang, Luo, Sankaranarayana; Neurocomputing 2024): transformer layers on ever fewer blocks of a picture.

A picture of 28x28 is cut into 4x4 patches. Layers run on 16 blocks of patches, then on four, then on one; between them
a 3x3 convolution and a max pool halve the map and double the width. Because the map shrinks as fast as the blocks
grow together, every block holds a single token at every level: attention is a soft-max over one score, which is 1. It
passes its values on, and queries and keys never get a gradient. They are kept here, because they count among the
published weights, and left out of the computation, which does not change its result.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

PATCH = 7
HEADS = (3, 6, 12)
"""Attention heads at each level."""


class BlockAttention(nn.Module):
    """Attention within blocks of a single token each: the projected values.

    Args:
        width: Channels.
        heads: Heads, each of `width // heads` channels.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        inner = heads * (width // heads)
        self.norm = nn.LayerNorm(width)
        self.query_key = nn.Linear(width, 2 * inner, bias=False)
        self.value = nn.Linear(width, inner, bias=False)
        self.out = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same shape; each token by itself, since it is alone in its block."""
        out: Tensor = self.out(self.value(self.norm(x)))
        return out


class Layer(nn.Module):
    """A transformer layer: attention, then two dense layers with GELU, each with normalisation before and residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = BlockAttention(width, heads)
        self.dense = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        x = x + self.attention(x)
        out: Tensor = x + self.dense(x)
        return out


class Level(nn.Module):
    """One number for position, added to all channels, and transformer layers."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(1))
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, width) to the same shape."""
        out: Tensor = self.layers(x + self.position)
        return out


class Aggregate(nn.Module):
    """Between levels: convolution 3x3 to twice the width, normalisation over channels, max pool 3 of stride 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.norm = nn.LayerNorm(2 * width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, width) to (B, H / 2, W / 2, 2 width)."""
        maps = self.norm(self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return nn.functional.max_pool2d(maps.permute(0, 3, 1, 2), 3, 2, 1).permute(0, 2, 3, 1)


class Tower(nn.Module):
    """HTNet without its head: patches, three levels, two aggregations between them.

    Args:
        width: Channels of the first level; each further level has twice as many.
        depths: Transformer layers of each level.
    """

    def __init__(self, width: int = 256, depths: Sequence[int] = (2, 2, 10)) -> None:
        super().__init__()
        self.patches = nn.Linear(3 * PATCH * PATCH, width)
        self.levels = nn.ModuleList(
            Level(width << n, heads, depth) for n, (heads, depth) in enumerate(zip(HEADS, depths, strict=True))
        )
        self.aggregates = nn.ModuleList(Aggregate(width << n) for n in range(len(depths) - 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28) to (B, 1, 1, 4 width)."""
        n, side = len(x), x.shape[-1] // PATCH
        cut = x.view(n, 3, side, PATCH, side, PATCH).permute(0, 2, 4, 3, 5, 1)
        tokens: Tensor = self.levels[0](self.patches(cut.reshape(n, side, side, -1)))
        for aggregate, level in zip(self.aggregates, self.levels[1:], strict=True):
            tokens = level(aggregate(tokens))
        return tokens


class HTNet(nn.Module):
    """The network; 139,582,982 weights with width 256, 8,722,310 with width 64.

    Args:
        n_classes: Classes C.
        width: Channels of the first level, 12 heads or more at the last one: 3 or more.
        depths: Transformer layers of each level.

    Example:
        >>> HTNet(width=8, depths=(1, 1, 1))(torch.zeros(2, 3, 28, 28)).shape
        torch.Size([2, 3])

    Source: the released code, `HTNet.py` and the main script.
    """

    def __init__(self, n_classes: int = 3, width: int = 256, depths: Sequence[int] = (2, 2, 10)) -> None:
        super().__init__()
        self.tower = Tower(width, depths)
        self.norm = nn.LayerNorm(4 * width)
        self.classify = nn.Linear(4 * width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28), the four windows of a face side by side, to logits (B, C)."""
        logits: Tensor = self.classify(self.norm(self.tower(x)).mean((1, 2)))
        return logits
