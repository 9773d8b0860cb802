"""Recurrent convolutional networks of STRCN (Xia et al., IEEE TMM 2020, arXiv 1901.04656, section III-D, Table I).

Two readings of the network exist and both are here:

- `paper`: Table I and equations 6-7. First convolution 5x5 without padding; each recurrent layer is one 1x1
  feed-forward convolution followed by three 3x3 recurrent steps that share one kernel, the feed-forward response being
  added again at every step; pools 4, 4, 4, 2.
- `authors-code`: the published MATLAB. First convolution 3x3 with padding 1; each layer adds its *input* (not the
  feed-forward response) before every 3x3 step, has two such steps and does not share their kernels; pools 4, 4, 2, 2;
  no bias before batch normalisation.

Two inputs: `geometry` (STRCN-G) sees a flow picture, height x width; `appearance` (STRCN-A) sees the masked pixels of
a clip as rows and its frames as columns, and pools rows more than columns. Table I is made for 300x245 and 922x30. For
smaller input `fit_pools` shrinks the pooling factors, keeping their proportion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mien.errors import MienError
from mien.models.convolve import Conv1x1, Conv3x3

Variant = Literal["paper", "authors-code"]
Kind = Literal["geometry", "appearance"]

POOLS: Mapping[tuple[Kind, Variant], tuple[tuple[int, int], ...]] = {
    ("geometry", "paper"): ((4, 4), (4, 4), (4, 4), (2, 2)),
    ("geometry", "authors-code"): ((4, 4), (4, 4), (2, 2), (2, 2)),
    ("appearance", "paper"): ((4, 1), (4, 1), (4, 4), (2, 2)),
    # The released code has no appearance network; its own wiring with Table I's pools.
    ("appearance", "authors-code"): ((4, 1), (4, 1), (4, 4), (2, 2)),
}
"""(rows, columns) of each pool: Table I; `strcnInit.m`."""


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
        self.feed_forward = Conv1x1(maps, bias=True)
        kernels = min(1, steps) if tied else steps
        self.recurrent = nn.ModuleList(Conv3x3(maps) for _ in range(kernels))
        self.norms = nn.ModuleList(nn.BatchNorm2d(maps) for _ in range(steps + 1))

    def forward(self, u: Tensor, activate: bool = True) -> Tensor:
        """(B, M, H, W) to (B, M, H, W); without `activate` the last ReLU is left to the caller."""
        drive = self.feed_forward(u)
        z: Tensor = self.norms[0](drive)
        kernels = [conv.ready(z) for conv in self.recurrent if isinstance(conv, Conv3x3)]
        for n in range(self.steps):
            kernel = kernels[min(n, len(kernels) - 1)]
            z = self.norms[n + 1](kernel(z.relu_()).add_(drive))
        return z.relu_() if activate else z


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
        self.feed_forward = Conv1x1(maps, bias=False)
        kernels = min(1, steps) if tied else steps
        self.recurrent = nn.ModuleList(Conv3x3(maps) for _ in range(kernels))
        self.norms = nn.ModuleList(nn.BatchNorm2d(maps) for _ in range(steps + 1))

    def forward(self, x: Tensor, activate: bool = True) -> Tensor:
        """(B, M, H, W) to (B, M, H, W); without `activate` the last ReLU is left to the caller."""
        z: Tensor = self.norms[0](self.feed_forward(x))
        kernels = [conv.ready(z) for conv in self.recurrent if isinstance(conv, Conv3x3)]
        for n in range(self.steps):
            kernel = kernels[min(n, len(kernels) - 1)]
            z = self.norms[n + 1](kernel(z.relu_() + x))
        return z.relu_() if activate else z


def fit_pools(side: int, factors: Sequence[int], first_kernel: int, padding: int) -> tuple[int, ...]:
    """Pooling factors along one axis, from those made for a larger input.

    All are halved together, as often as it takes until the last map keeps at least one pixel; a factor never falls
    below 1. 300 and 245 keep 4, 4, 4, 2; 28 gets 2, 2, 2, 1 and ends in 3.

    Args:
        side: Pixels of the input along this axis.
        factors: Those of the full-size network, one per pooling layer.
        first_kernel: Side of the first convolution.
        padding: Its padding.

    Returns:
        As many factors as were given.
    """
    fitted = [int(f) for f in factors]
    while True:
        left = side - first_kernel + 1 + 2 * padding
        for factor in fitted:
            left //= factor
        if left >= 1 or max(fitted) == 1:
            return tuple(fitted)
        fitted = [max(1, factor // 2) for factor in fitted]


class RCN(nn.Module):
    """The network of STRCN-G and STRCN-A: input picture in, class scores out.

    Args:
        n_classes: Classes C.
        in_channels: Geometry: 2 for (u, v), 3 with optical strain. Appearance: 3 colours or 1 grey.
        size: Rows and columns of the input: height and width, or masked pixels and frames.
        maps: Feature maps M of every convolution (the authors tried 128, 256, 512).
        layers: Recurrent layers; Table I has 4, the released code 3. Fewer drops the last ones (paper, section IV-F-4).
        variant: "paper" or "authors-code".
        tied: Share the recurrent kernel; None takes the variant's own choice.
        dropout: Share of feature maps dropped after each pool; the paper has none.
        kind: "geometry" or "appearance": which pools.

    Raises:
        MienError: The input is smaller than the first convolution.

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
        kind: Kind = "geometry",
    ) -> None:
        super().__init__()
        paper = variant == "paper"
        kernel, padding = (5, 0) if paper else (3, 1)
        if min(size) + 2 * padding < kernel:
            raise MienError(
                f"The input is {size[0]}x{size[1]}.",
                f"at least {kernel - 2 * padding} along both axes, for the first convolution.",
                "a larger input, or `--set variant=authors-code`.",
            )
        # The released code pools after its last block too; the paper's last layer goes to the global average.
        depth = (4 if paper else 3) if layers is None else layers
        rows, columns = zip(*POOLS[kind, variant], strict=True)
        pools = tuple(
            zip(fit_pools(size[0], rows, kernel, padding), fit_pools(size[1], columns, kernel, padding), strict=True)
        )
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
        # ReLU after the pool is the same as before it, on a sixteenth of the numbers.
        x = self.first_norm(self.first(x.contiguous(memory_format=torch.channels_last)))
        for n, pool in enumerate(self.pools):
            if pool != (1, 1):
                x = nn.functional.max_pool2d(x, pool)
            x = self.drop(x.relu_())
            if n < len(self.blocks):
                x = self.blocks[n](x, activate=n + 1 == len(self.pools))
        return x.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to logits (B, C)."""
        logits: Tensor = self.classify(self.features(x))
        return logits
