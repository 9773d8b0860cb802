"""Recurrent convolutional networks with parameter-free parts: RCN-A, S, W, P, C and F (Xia et al., IEEE TIP 2020).

A network is a stem, a recurrent block and a linear layer. Attention has no weights of its own: it reads the linear
layer's. What the paper calls wide expansion is three dilated convolutions with stride 3, and dense connection the sums
of all earlier responses.

Differs from the released code, which cannot build P and F: they are built here as it describes them. Layers that it
declares and never uses are left out.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

Variant = Literal["a", "s", "w", "p", "c", "f"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)


class Stem(nn.Module):
    """One 5x5 convolution, batch normalisation, ReLU, max pool 2, dropout: the stem of A and S."""

    def __init__(self, maps: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, maps, 5), nn.BatchNorm2d(maps), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, maps, (H - 4) // 2, (W - 4) // 2)."""
        out: Tensor = self.layers(x)
        return out


class ParallelStem(nn.Module):
    """Parallel 3x3 convolutions of several dilations, side by side: the stem of W, C, F (stride 3) and of P (pooled).

    Args:
        shares: Maps of each branch.
        dilations: Dilation, and padding, of each branch.
        pooled: Stride 1 and max pool 3 in place of stride 3.
        dropout: Share of activations that is dropped.
        repeat_second: Put the second branch in the place of the third, as the released code of F does.
    """

    def __init__(
        self, shares: tuple[int, ...], dilations: tuple[int, ...], pooled: bool, dropout: float, repeat_second: bool
    ) -> None:
        super().__init__()
        stride = 1 if pooled else 3
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(3, maps, 3, stride=stride, padding=d, dilation=d),
                nn.ReLU(),
                nn.BatchNorm2d(maps),
                *([nn.MaxPool2d(3, 3, 1)] if pooled else []),
                nn.Dropout(dropout),
            )
            for maps, d in zip(shares, dilations, strict=True)
        )
        self.repeat_second = repeat_second

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, maps, about H / 3, about W / 3)."""
        parts = [branch(x) for branch in self.branches]
        return torch.cat([*parts, parts[1]] if self.repeat_second else parts, 1)


class Recurrent(nn.Module):
    """The recurrent block: y = f(x), then responses r of x and what came before; r is one shared convolution.

    Args:
        maps: Feature maps M.
        dense: Add all earlier responses (S, P, C, F), three times; else the last one, twice.
        dropout: Share of activations that is dropped after pooling.
    """

    def __init__(self, maps: int, dense: bool, dropout: float) -> None:
        super().__init__()
        self.dense = dense
        self.first = nn.Sequential(nn.Conv2d(maps, maps, 1), nn.BatchNorm2d(maps), nn.ReLU())
        # Batch statistics are shared too, though the responses are distributed differently: so in the released code.
        self.again = nn.Sequential(nn.Conv2d(maps, maps, 3, padding=1), nn.BatchNorm2d(maps), nn.ReLU())
        self.end = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(dropout))

    def forward(self, x: Tensor, attention: Tensor | None = None) -> Tensor:
        """(B, M, H, W), and what multiplies the first response, to (B, M, H // 2, W // 2)."""
        y: Tensor = self.first(x)
        if attention is not None:
            y = y * attention
        if self.dense:
            total = x + y
            for _ in range(2):
                total = total + self.again(total)
            out: Tensor = self.end(self.again(total))
            return out
        for _ in range(2):
            y = self.again(x + y)
        out = self.end(y)
        return out


class ParameterFreeRCN(nn.Module):
    """A network of the family; A has 51,139 weights with 64 maps, 5x5 bins and three classes.

    Args:
        n_classes: Classes C.
        variant: a: attention on the pooled features. s: dense sums. w: wide stem. p: pooled stem, dense sums and
            attention, the result of a search. c: wide stem times attention on the picture, dense sums. f: wide stem,
            dense sums with attention on the first response.
        maps: Feature maps M, 4 or more.
        side: Side of the average-pooled features before the linear layer, in bins.
        dropout: Share of activations that is dropped.
        third_branch: With f: use the third branch of the stem; the released code repeats the second.

    Example:
        >>> ParameterFreeRCN()(torch.rand(2, 3, 28, 28)).shape
        torch.Size([2, 3])

    Source: Xia, Peng, Khor, Feng, Zhao, IEEE TIP 29, 2020, arXiv 2006.09674, and the released code.
    """

    def __init__(
        self, n_classes: int = 3, variant: Variant = "a", maps: int = 64, side: int = 5, dropout: float = 0.5,
        third_branch: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.variant, self.maps, self.side, self.n_classes = variant, maps, side, n_classes
        half, quarter = maps // 2, maps // 4
        self.stem: nn.Module
        if variant in "as":
            self.stem = Stem(maps, dropout)
        elif variant == "p":
            self.stem = ParallelStem((half, maps - half), (1, 3), True, dropout, False)
        elif variant == "f" and not third_branch:
            self.stem = ParallelStem((maps - 2 * quarter, quarter), (1, 2), False, dropout, True)
        else:
            self.stem = ParallelStem((half, quarter, maps - half - quarter), (1, 2, 3), False, dropout, False)
        self.block = Recurrent(maps, variant in "spcf", dropout)
        self.pool = nn.AdaptiveAvgPool2d(side)
        self.classify = nn.Linear(maps * side**2, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.classify.weight, 0, 0.01)
        nn.init.zeros_(self.classify.bias)
        # A quarter faster on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def attention(self, x: Tensor, picture: bool = False) -> Tensor:
        """Return where the linear layer looks, (B, 1, side, side): 0..1 for each class, averaged over classes.

        A map that is the same everywhere, for which the released code divides by zero, becomes 0.

        Args:
            x: (B, channels, H, W) features; or, with `picture`, the input.
            picture: Average the linear layer's weights over channels first.
        """
        rows = self.classify.weight.view(self.n_classes, self.maps, self.side, self.side)
        pooled: Tensor = self.pool(x)
        if picture:
            seen = rows.mean(1) * pooled.mean(1, keepdim=True)
        else:
            seen = torch.einsum("kcij,bcij->bkij", rows, pooled) / self.maps
        seen = seen - seen.amin((2, 3), keepdim=True)
        most = seen.amax((2, 3), keepdim=True)
        seen = seen / torch.where(most > 0, most, torch.ones_like(most))
        return seen.mean(1, keepdim=True)

    def _enlarged(self, attention: Tensor, like: Tensor) -> Tensor:
        return nn.functional.interpolate(attention, size=like.shape[2:], mode="nearest")

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 to logits (B, C)."""
        features: Tensor = self.stem(x)
        first = features
        if self.variant == "c":
            features = features * self._enlarged(self.attention(x, picture=True), features)
        on_first = self._enlarged(self.attention(features), features) if self.variant == "f" else None
        pooled = self.pool(self.block(features, on_first))
        if self.variant in "ap":
            pooled = pooled * self.attention(first)
        logits: Tensor = self.classify(pooled.flatten(1))
        return logits
