"""CausalNet (Zhang, Tang, Chen; ICCV 2025): two flows and their directions through two towers and three attentions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mien.models.htnet import Tower

HEADS = 8
"""Attention heads, where as many divide the width; else the most that do and divide eight."""
HIDDEN = 2048
TOKENS = 4
"""Tokens of a picture, taken as a 2x2 grid. They are groups of channels: the towers have merged all space before."""


def near() -> Tensor:
    """Return (4, 4): 1 for two tokens of the 2x2 grid at a distance of at most 1, 0 for the diagonals."""
    place = torch.arange(TOKENS)
    distance = (place[:, None] // 2 - place // 2).abs() + (place[:, None] % 2 - place % 2).abs()
    return (distance <= 1).float()


class Attention(nn.Module):
    """Attention of eight heads with projections of queries, keys, values and result.

    Args:
        width: Channels.
        per_head: Scale scores by the width of a head; else by that of all of them.
        gamma: Masks distant pairs: their scores become -gamma times the number of the key, 1..4, and after the
            soft-max their weights 0, so that rows sum to less than 1. None masks nothing.
    """

    mask: Tensor
    penalty: Tensor

    def __init__(self, width: int, per_head: bool, gamma: float | None = None) -> None:
        super().__init__()
        self.gamma = gamma
        self.heads = math.gcd(width, HEADS)
        self.scale = 1 / math.sqrt(width // self.heads if per_head else width)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        if gamma is not None:
            self.register_buffer("mask", near(), persistent=False)
            self.register_buffer("penalty", -gamma * torch.arange(1.0, TOKENS + 1) * (1 - near()), persistent=False)

    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return the weighted values (..., N, width), before the last projection, of (..., N or M, width) each."""
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(-2, -3)
            for part, x in ((self.q, q), (self.k, k), (self.v, v))
        )
        scores = q @ k.transpose(-1, -2) * self.scale
        if self.gamma is None:
            weights = scores.softmax(-1)
        else:
            weights = (scores * self.mask + self.penalty).softmax(-1) * self.mask
        return (weights @ v).transpose(-2, -3).flatten(-2)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Map queries (..., N, width), keys and values (..., M, width) to (..., N, width)."""
        out: Tensor = self.out(self.mixed(q, k, v))
        return out


def _dense(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class CrossLayer(nn.Module):
    """A layer between the two directions: each attends to the other, one after the other, with the same weights."""

    def __init__(self, width: int, gamma: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, per_head=False, gamma=gamma)
        self.dense = _dense(width)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 4, width) twice to the same; keys and values are not normalised, and those of b see the updated a."""
        a = a + self.attention(self.norm(a), b, b)
        b = b + self.attention(self.norm(b), a, a)
        return a + self.dense(a), b + self.dense(b)


class CausalBlock(nn.Module):
    """Relates the two flows, forward in time and backward with the same weights, and mines what both say."""

    def __init__(self, width: int, gamma: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.spatial = Attention(width, per_head=True, gamma=gamma)
        self.temporal = Attention(width, per_head=True)
        self.dense = _dense(width)
        self.relation = Attention(width, per_head=True)

    def _one_way(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.norm(a), self.norm(b)  # residuals are those of the normalised values
        a, b = a + self.spatial(a, a, a), b + self.spatial(b, b, b)
        candidates = torch.stack([a, b], 2)
        b = b + self.temporal(b[:, :, None], candidates, candidates)[:, :, 0]
        return a + self.dense(a), b + self.dense(b)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(B, 4, width) twice to (B, 12, width)."""
        a, b = self._one_way(first, second)
        back_a, back_b = self._one_way(second, first)
        mined = self.relation.mixed(b, back_b, b + back_b)
        relation: Tensor = self.relation.out(mined + b + back_b)
        return torch.cat([relation, a, back_a], 1)


class CausalNet(nn.Module):
    """The network; 276,590,089 weights with width 256, 18,477,961 with width 64.

    Args:
        n_classes: Classes C.
        width: Channels of the towers' first level; later parts have as many.
        depths: Transformer layers of each level of the towers. There are as many layers between the directions as at
            the last level: in the released code a loop variable that is left over.
        gamma: Penalty of distant tokens.

    Example:
        >>> CausalNet(width=8, depths=(1, 1, 1))(torch.zeros(2, 12, 28, 28)).shape
        torch.Size([2, 3])

    Source: the released code.
    """

    def __init__(
        self, n_classes: int = 3, width: int = 256, depths: Sequence[int] = (3, 3, 9), gamma: float = 0.5
    ) -> None:
        super().__init__()
        self.width = width
        self.flow, self.direction = Tower(width, depths), Tower(width, depths)
        self.cross = nn.ModuleList(CrossLayer(width, gamma) for _ in range(depths[-1]))
        self.causal = CausalBlock(width, gamma)
        # Two linear layers with nothing between, as released: together they are one.
        self.classify = nn.Sequential(nn.Linear(12 * width, HIDDEN), nn.Linear(HIDDEN, n_classes))

    def _tokens(self, tower: Tower, picture: Tensor) -> Tensor:
        """Return four tokens (B, 4, width): token n has the channels congruent n modulo 4."""
        features: Tensor = tower(picture)
        return features.reshape(len(features), self.width, TOKENS).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 12, 28, 28), onset to apex, apex to offset, and the directions of both, to logits (B, C)."""
        pictures = x.view(len(x), 4, 3, *x.shape[2:]).unbind(1)
        first, second = (self._tokens(self.flow, picture) for picture in pictures[:2])
        a, b = (self._tokens(self.direction, picture) for picture in pictures[2:])
        for layer in self.cross:
            a, b = layer(a, b)
        logits: Tensor = self.classify(self.causal(first + a, second + b).flatten(1))
        return logits
