"""Recurrent convolutional networks of STRCN (Xia et al., IEEE TMM 2020, arXiv 1901.04656, section III-D, Table I).

The text of the paper and the released code differ. Both variants are here:

- `paper`: Table I and equations 6-7. First convolution 5x5 without padding. Each recurrent layer is one 1x1
  feed-forward convolution, followed by three 3x3 recurrent steps that share one kernel; the feed-forward response is
  added at every step. Pooling 4, 4, 4, 2.
- `authors-code`: the published MATLAB code. First convolution 3x3 with padding 1. Each layer adds its *input* (not the
  feed-forward response) before every 3x3 step, has two steps, and does not share their kernels. Pooling 4, 4, 2, 2. No
  bias before batch normalisation.

Two kinds of input: `geometry` (STRCN-G) is a flow picture, height x width. `appearance` (STRCN-A) has the masked pixels
of a clip as rows and its frames as columns, and pools rows more than columns. Table I is for 300x245 and 922x30; for
smaller inputs `fit_pools` reduces the pooling factors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mien.errors import MienError

Variant = Literal["paper", "authors-code"]
Kind = Literal["geometry", "appearance"]

POOLS: Mapping[tuple[Kind, Variant], tuple[tuple[int, int], ...]] = {
    ("geometry", "paper"): ((4, 4), (4, 4), (4, 4), (2, 2)),
    ("geometry", "authors-code"): ((4, 4), (4, 4), (2, 2), (2, 2)),
    ("appearance", "paper"): ((4, 1), (4, 1), (4, 4), (2, 2)),
    # The released code has no appearance network; its own wiring with Table I's pools.
    ("appearance", "authors-code"): ((4, 1), (4, 1), (4, 4), (2, 2)),
}
"""(rows, columns) of each pooling layer, from Table I and `strcnInit.m`."""


def convolution(maps: int) -> nn.Conv2d:
    """Return a 3x3 convolution of as many maps, with padding 1 and no bias."""
    return nn.Conv2d(maps, maps, 3, padding=1, bias=False)


class RecurrentConv(nn.Module):
    """The recurrent convolutional layer of the paper: z(n) = W_f * u + W_r * v(n-1) + b, v(n) = f(z(n)), v(0) = 0.

    `f` is batch normalisation and ReLU. Each step has its own statistics and scale.

    Args:
        maps: Number of feature maps, M, of input and output.
        steps: Number of recurrent 3x3 steps after the feed-forward one; 0 leaves a 1x1 convolution.
        tied: Whether all steps share one recurrent kernel (equations 6-7).

    Source: STRCN, section III-D, equations 6 and 7, Table I.
    """

    def __init__(self, maps: int, steps: int = 3, tied: bool = True) -> None:
        super().__init__()
        self.steps = steps
        self.feed_forward = nn.Conv2d(maps, maps, 1)
        kernels = min(1, steps) if tied else steps
        self.recurrent = nn.ModuleList(convolution(maps) for _ in range(kernels))
        self.norms = nn.ModuleList(nn.BatchNorm2d(maps) for _ in range(steps + 1))

    def forward(self, u: Tensor, activate: bool = True) -> Tensor:
        """Map (B, M, H, W) to the same shape. With `activate=False` the last ReLU is left to the caller."""
        drive = self.feed_forward(u)
        z: Tensor = self.norms[0](drive)
        for n in range(self.steps):
            kernel = self.recurrent[min(n, len(self.recurrent) - 1)]
            z = self.norms[n + 1](kernel(z.relu_()).add_(drive))
        return z.relu_() if activate else z


class AuthorsBlock(nn.Module):
    """The recurrent layer of the released code: h <- ReLU(BN(W_k * (h + x))), with the input x added at each step.

    Args:
        maps: Number of feature maps, M.
        steps: Number of 3x3 steps; the released code has 2.
        tied: Whether all steps share one kernel, as in the authors' later PyTorch code; not in the released MATLAB
            code.

    Source: `strcnInit.m` of the authors' repository.
    """

    def __init__(self, maps: int, steps: int = 2, tied: bool = False) -> None:
        super().__init__()
        self.steps = steps
        self.feed_forward = nn.Conv2d(maps, maps, 1, bias=False)
        kernels = min(1, steps) if tied else steps
        self.recurrent = nn.ModuleList(convolution(maps) for _ in range(kernels))
        self.norms = nn.ModuleList(nn.BatchNorm2d(maps) for _ in range(steps + 1))

    def forward(self, x: Tensor, activate: bool = True) -> Tensor:
        """Map (B, M, H, W) to the same shape. With `activate=False` the last ReLU is left to the caller."""
        z: Tensor = self.norms[0](self.feed_forward(x))
        for n in range(self.steps):
            kernel = self.recurrent[min(n, len(self.recurrent) - 1)]
            z = self.norms[n + 1](kernel(z.relu_() + x))
        return z.relu_() if activate else z


class PlainConv(nn.Module):
    """What stands in place of a recurrent layer: one 3x3 convolution with padding 1, batch normalisation and ReLU.

    Args:
        maps: Number of feature maps, M, of input and output.

    Source: STRCN, section IV-F-4, which says "convolutional layers" and not which; 3x3 as the recurrent steps. A bias
    would have no effect before batch normalisation.
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.convolution = convolution(maps)
        self.norm = nn.BatchNorm2d(maps)

    def forward(self, x: Tensor, activate: bool = True) -> Tensor:
        """Map (B, M, H, W) to the same shape. With `activate=False` the last ReLU is left to the caller."""
        z: Tensor = self.norm(self.convolution(x))
        return z.relu_() if activate else z


def fit_pools(side: int, factors: Sequence[int], first_kernel: int, padding: int) -> tuple[int, ...]:
    """Reduce the pooling factors along one axis for an input smaller than that of the paper.

    All factors are halved together until at least one pixel remains in the last map; no factor falls below 1. 300 and
    245 keep 4, 4, 4, 2; for 28 the factors are 2, 2, 2, 1.

    Args:
        side: Pixels of the input along this axis.
        factors: Pooling factors of the full-size network.
        first_kernel: Side of the first convolution.
        padding: Padding of the first convolution.

    Returns:
        As many factors as were given.

    Example:
        >>> from mien.models.rcn import fit_pools
        >>> fit_pools(28, (4, 4, 4, 2), first_kernel=5, padding=0)
        (2, 2, 2, 1)
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
    """The network of STRCN-G and STRCN-A, from an input picture to class scores.

    Args:
        n_classes: Number of classes, C.
        in_channels: Geometry: 2 for (u, v), 3 with optical strain. Appearance: 3 for colour, 1 for grey.
        size: Rows and columns of the input: height and width, or masked pixels and frames.
        maps: Number of feature maps, M, of every convolution (the authors tried 128, 256, 512).
        layers: Number of recurrent layers: 4 in Table I, 3 in the released code; None takes these, or `depth` where
            that is less.
        depth: Number of layers behind the first convolution; None takes `layers`, so that fewer recurrent layers make
            a shallower network. With more, plain convolutions (`PlainConv`) follow the recurrent layers: depth 4 and
            no recurrent layer is the paper's "zero layers" (section IV-F-4).
        variant: "paper" or "authors-code".
        tied: Whether recurrent kernels are shared; None is the choice of the variant.
        dropout: Fraction of feature maps dropped after each pooling layer; none in the paper.
        kind: "geometry" or "appearance", which decides the pooling.

    Raises:
        MienError: An input smaller than the first convolution, or fewer layers than recurrent layers.

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
        depth: int | None = None,
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
        usual = 4 if paper else 3
        recurrent = min(usual, usual if depth is None else depth) if layers is None else layers
        depth = recurrent if depth is None else depth
        if depth < recurrent:
            raise MienError(
                f"A network of depth {depth} with {recurrent} recurrent layers.",
                "at least as many layers as recurrent layers.",
                f"`--set depth={recurrent}`, or `--set layers={depth}`.",
            )
        rows, columns = zip(*POOLS[kind, variant], strict=True)
        pools = tuple(
            zip(fit_pools(size[0], rows, kernel, padding), fit_pools(size[1], columns, kernel, padding), strict=True)
        )
        # The released code also pools after its last block. In the paper the global average follows.
        self.pools = pools[: depth + (0 if paper else 1)] or pools[:1]
        tied = paper if tied is None else tied
        self.first = nn.Conv2d(in_channels, maps, kernel, padding=padding, bias=paper)
        self.first_norm = nn.BatchNorm2d(maps)
        self.blocks = nn.ModuleList(
            PlainConv(maps)
            if n >= recurrent
            else RecurrentConv(maps, 3, tied)
            if paper
            else AuthorsBlock(maps, 2, tied)
            for n in range(depth)
        )
        self.drop = nn.Dropout2d(dropout) if dropout else nn.Identity()
        self.classify = nn.Linear(maps, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # MatConvNet's default: Gaussian, variance 2 / fan-in.
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # Channels-last memory is a fifth faster on a CPU at this size, with the same result.
        for parameter in self.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def features(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to the globally averaged feature maps (B, M)."""
        # ReLU and max pooling commute, and after pooling ReLU has fewer numbers to process.
        x = self.first_norm(self.first(x.contiguous(memory_format=torch.channels_last)))
        for n, pool in enumerate(self.pools):
            if pool != (1, 1):
                x = nn.functional.max_pool2d(x, pool)
            x = self.drop(x.relu_())
            if n < len(self.blocks):
                x = self.blocks[n](x, activate=n + 1 == len(self.pools))
        return x.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to logits (B, C)."""
        logits: Tensor = self.classify(self.features(x))
        return logits
