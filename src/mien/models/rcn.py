"""Recurrent convolutional networks of STRCN (Xia et al., IEEE TMM 2020, arXiv 1901.04656, section III-D, Table I).

Two readings of the network exist and both are here:

- `paper`: Table I and equations 6-7. First convolution 5x5 without padding; each recurrent layer is one 1x1
  feed-forward convolution followed by three 3x3 recurrent steps that share one kernel, the feed-forward response being
  added again at every step; pools 4, 4, 4, 2.
- `authors-code`: the published MATLAB. First convolution 3x3 with padding 1; each layer adds its *input* (not the
  feed-forward response) before every 3x3 step, has two such steps and does not share their kernels; pools 4, 4, 2, 2;
  no bias before batch normalisation.

Table I is made for 300x245 pixels. For smaller input `fit_pools` shrinks the pooling factors, keeping their proportion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Variant = Literal["paper", "authors-code"]


class RecurrentConv(nn.Module):
    """Recurrent convolutional layer, paper's reading: z(n) = W_f * u + W_r * v(n-1) + b, v(n) = f(z(n)), v(0) = 0.

    `f` is batch normalisation and ReLU; each step has its own statistics and scale, as unfolded time does.

    Args:
        maps: Feature maps M, in and out.
        steps: Recurrent 3x3 steps after the feed-forward one; 0 leaves a plain 1x1 convolution.
        tied: True shares one recurrent kernel between the steps (equations 6-7).

    Source: STRCN, section III-D, equations 6 and 7, Table I.
    """

    def __init__(self, maps: int, steps: int = 3, tied: bool = True) -> None:
        super().__init__()
        self.steps = steps
        self.feed_forward = nn.Conv2d(maps, maps, 1)
        kernels = min(1, steps) if tied else steps
        self.recurrent = nn.ModuleList(nn.Conv2d(maps, maps, 3, padding=1, bias=False) for _ in range(kernels))
        self.norms = nn.ModuleList(nn.BatchNorm2d(maps) for _ in range(steps + 1))

    def forward(self, u: Tensor) -> Tensor:
        """(B, M, H, W) to (B, M, H, W)."""
        drive = self.feed_forward(u)
        v = torch.relu(self.norms[0](drive))
        for n in range(self.steps):
            kernel = self.recurrent[min(n, len(self.recurrent) - 1)]
            v = torch.relu(self.norms[n + 1](drive + kernel(v)))
        return v


class AuthorsBlock(nn.Module):
    """Recurrent layer as released: h <- ReLU(BN(W_k * (h + x))) with the block's input x added at each step.

    Args:
        maps: Feature maps M.
        steps: 3x3 steps; the released code has 2.
        tied: True shares one kernel (the authors' later PyTorch code); the released MATLAB does not.

    Source: `strcnInit.m` of the authors' repository.
    """

    def __init__(self, maps: int, steps: int = 2, tied: bool = False) -> None:
        super().__init__()
        self.steps = steps
        self.feed_forward = nn.Conv2d(maps, maps, 1, bias=False)
        kernels = min(1, steps) if tied else steps
        self.recurrent = nn.ModuleList(nn.Conv2d(maps, maps, 3, padding=1, bias=False) for _ in range(kernels))
        self.norms = nn.ModuleList(nn.BatchNorm2d(maps) for _ in range(steps + 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, M, H, W) to (B, M, H, W)."""
        h = torch.relu(self.norms[0](self.feed_forward(x)))
        for n in range(self.steps):
            kernel = self.recurrent[min(n, len(self.recurrent) - 1)]
            h = torch.relu(self.norms[n + 1](kernel(h + x)))
        return h


def fit_pools(size: tuple[int, int], pools: Sequence[int], first_kernel: int, padding: int) -> tuple[int, ...]:
    """Pooling factors for a picture of `size`, from those made for a larger one.

    All factors are halved together, as often as it takes until the last map keeps at least one pixel; a factor never
    falls below 1. 300x245 keeps 4, 4, 4, 2; 28x28 gets 2, 2, 2, 1 and ends in 3x3.

    Args:
        size: (H, W) in pixels.
        pools: Factors of the full-size network, one per pooling layer.
        first_kernel: Side of the first convolution.
        padding: Its padding.

    Returns:
        As many factors as `pools` has.
    """
    factors = [int(p) for p in pools]
    while True:
        sides = [side - first_kernel + 1 + 2 * padding for side in size]
        for factor in factors:
            sides = [side // factor for side in sides]
        if min(sides) >= 1 or max(factors) == 1:
            return tuple(factors)
        factors = [max(1, factor // 2) for factor in factors]


class RCN(nn.Module):
    """The geometric network STRCN-G: flow picture in, class scores out.

    Args:
        n_classes: Classes C.
        in_channels: 2 for (u, v); 3 with optical strain.
        size: (H, W) of the input in pixels.
        maps: Feature maps M of every convolution (the authors tried 128, 256, 512).
        layers: Recurrent layers; Table I has 4, the released code 3. Fewer drops the last ones (paper, section IV-F-4).
        variant: "paper" or "authors-code".
        tied: Share the recurrent kernel; None takes the variant's own choice.
        dropout: Share of feature maps dropped after each pool; the paper has none.

    Source: STRCN, Table I; `strcnInit.m`.
    """

    def __init__(
        self,
        n_classes: int,
        in_channels: int = 2,
        size: tuple[int, int] = (300, 245),
        maps: int = 128,
        layers: int | None = None,
        variant: Variant = "paper",
        tied: bool | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        paper = variant == "paper"
        kernel, padding, all_pools = (5, 0, (4, 4, 4, 2)) if paper else (3, 1, (4, 4, 2, 2))
        # The released code pools after its last block too; the paper's last layer goes to the global average.
        depth = (4 if paper else 3) if layers is None else layers
        pools = fit_pools(size, all_pools, kernel, padding)
        self.pools = pools[: depth + (0 if paper else 1)] or pools[:1]
        tied = paper if tied is None else tied
        self.first = nn.Conv2d(in_channels, maps, kernel, padding=padding, bias=paper)
        self.first_norm = nn.BatchNorm2d(maps)
        self.blocks = nn.ModuleList(
            RecurrentConv(maps, 3, tied) if paper else AuthorsBlock(maps, 2, tied) for _ in range(depth)
        )
        self.drop = nn.Dropout2d(dropout) if dropout else nn.Identity()
        self.classify = nn.Linear(maps, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # MatConvNet's default: Gaussian, variance 2 / fan-in.
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # Channels beside each other in memory: a fifth faster on a CPU at this size, the same result.
        for parameter in self.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def features(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to the globally averaged maps (B, M)."""
        x = torch.relu(self.first_norm(self.first(x.contiguous(memory_format=torch.channels_last))))
        for n, pool in enumerate(self.pools):
            if pool > 1:
                x = nn.functional.max_pool2d(x, pool)
            x = self.drop(x)
            if n < len(self.blocks):
                x = self.blocks[n](x)
        return x.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to logits (B, C)."""
        logits: Tensor = self.classify(self.features(x))
        return logits
