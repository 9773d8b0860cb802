"""Convolutions of recurrent layers on a CPU, faster than torch's own where that is possible.

`Conv3x3` and `Conv1x1` have the weights and results of `nn.Conv2d`; floats differ in the last digits. On other devices,
or where nothing is gained, torch's own is called. The ways:

- many maps, many pixels: Winograd's F(2x2, 3x3), 2.25 times fewer multiplications (Lavin and Gray, *Fast Algorithms for
  Convolutional Neural Networks*, CVPR 2016). A tile of 4x4 inputs gives 2x2 outputs by 16 products of numbers instead
  of 36; over all tiles and maps, these are 16 matrix products. Backward is the transposed computation;
- pictures of a few pixels: the convolution as one matrix, since starting a convolution takes longer than doing it;
- 1x1: a matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

MANY_MAPS, MANY_PIXELS = 64, 2048
"""Least maps, and pixels of all clips of a batch, from which on Winograd's way pays for its transforms."""
FEW_NUMBERS = 256
"""Most numbers (pixels times maps) of a picture whose convolution is written as a matrix."""
FEW_PIXELS = 4096
"""Most pixels of all clips of a batch for which a 1x1 convolution is faster as a matrix product."""
BAND = 256
"""Tiles at once: what they and their products take fits into a core's share of the cache."""


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution with padding 1 and without bias.

    Args:
        maps: Feature maps, in and out.
    """

    def __init__(self, maps: int) -> None:
        super().__init__(maps, maps, 3, padding=1, bias=False)

    def ready(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """What convolves inputs of the shape (B, maps, H, W) and kind of `x`; made once, called at every step."""
        b, c, h, w = x.shape
        if _here(x):
            if c >= MANY_MAPS and b * h * w >= MANY_PIXELS:
                return lambda v: winograd(v, self.weight)
            if h * w * c <= FEW_NUMBERS:
                matrix = as_matrix(self.weight, h, w)
                return lambda v: _unflat(torch.mm(_flat(v), matrix), h, w)
        return super().forward

    def forward(self, x: Tensor) -> Tensor:
        """(B, maps, H, W) to the same shape."""
        return self.ready(x)(x)


class Conv1x1(nn.Conv2d):
    """A 1x1 convolution.

    Args:
        maps: Feature maps, in and out.
        bias: With a bias.
    """

    def __init__(self, maps: int, bias: bool) -> None:
        super().__init__(maps, maps, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, maps, H, W) to the same shape."""
        b, _, h, w = x.shape
        if _here(x) and b * h * w <= FEW_PIXELS:
            return nn.functional.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
        return super().forward(x)


def _here(x: Tensor) -> bool:
    """On a CPU, and computed now: an exported network holds plain convolutions, whatever the batch."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.compiler.is_compiling()


def _flat(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H W C); no copy where channels are beside each other."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1)


def _unflat(x: Tensor, h: int, w: int) -> Tensor:
    return x.view(x.shape[0], h, w, -1).permute(0, 3, 1, 2)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # kept for training, too, where it was first made by a prediction
def _neighbours(h: int, w: int) -> Tensor:
    """(H W, H W, 9): 1 where pixel p lies under place k of the kernel that is centred on pixel q."""
    rows, columns = (g.flatten() for g in torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))
    down, right = rows[:, None] - rows + 1, columns[:, None] - columns + 1
    place = torch.where((down >= 0) & (down < 3) & (right >= 0) & (right < 3), 3 * down + right, 9)
    return nn.functional.one_hot(place, 10)[..., :9].float()


def as_matrix(weight: Tensor, h: int, w: int) -> Tensor:
    """A 3x3 convolution with padding 1 as the matrix (H W C, H W M) that does the same to flat pictures.

    Args:
        weight: (M, C, 3, 3).
        h: Rows of a picture.
        w: Columns.
    """
    m, c = weight.shape[:2]
    where = _neighbours(h, w)
    n = h * w
    # (n n, 9) x (9, C M)
    full = torch.mm(where.view(n * n, 9).to(weight.dtype), weight.permute(2, 3, 1, 0).reshape(9, c * m))
    return full.view(n, n, c, m).transpose(1, 2).reshape(n * c, n * m)


def winograd(x: Tensor, weight: Tensor) -> Tensor:
    """3x3 convolution with padding 1.

    Args:
        x: (B, C, H, W); fastest with channels beside each other in memory.
        weight: (M, C, 3, 3).

    Returns:
        (B, M, H, W), channels beside each other in memory.
    """
    made: Tensor = _Winograd.apply(x, weight)  # type: ignore[no-untyped-call]
    # Cut outside, so that what follows may change it in place; whole rows again, or all that follows would be slow.
    return made[:, : x.shape[2], : x.shape[3]].contiguous().permute(0, 3, 1, 2)


class _Winograd(torch.autograd.Function):
    """Y = A' [(G w G') * (B' x B)] A over all tiles, and its transpose; a few rows of tiles at once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        b, _, h, w = x.shape
        maps = weight.shape[0]
        kernel, padded = _kernel(weight), _padded(x)
        out = x.new_empty(b, h + h % 2, w + w % 2, maps)
        work = _Work(padded, maps)
        for image in range(b):
            for first, last in work.bands:
                products = work.products(work.tiles(padded[image, 2 * first : 2 * last + 2]), kernel)
                work.assemble(products, out[image, 2 * first : 2 * last])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        b, c, h, w = x.shape
        maps = weight.shape[0]
        kernel, padded = _kernel(weight).transpose(1, 2), _padded(x)
        for_x = torch.zeros_like(padded)
        for_kernel = x.new_zeros(16, c, maps)
        work = _Work(padded, maps)
        for image in range(b):
            for first, last in work.bands:
                by_tile = work.spread(grad[image, 2 * first : 2 * last])
                band = slice(2 * first, 2 * last + 2)
                for_kernel.baddbmm_(work.tiles(padded[image, band]).transpose(1, 2), by_tile)
                work.collect(torch.bmm(by_tile, kernel), for_x[image, band])
        g = _G.to(weight.dtype)
        for_weight = torch.einsum("ia,jb,ijcm->mcab", g, g, for_kernel.view(4, 4, c, maps))
        return for_x[:, 1 : h + 1, 1 : w + 1].contiguous().permute(0, 3, 1, 2), for_weight


_G = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


def _kernel(weight: Tensor) -> Tensor:
    """(M, C, 3, 3) to (16, C, M): G w G'."""
    g = _G.to(weight.dtype)
    return torch.einsum("ia,jb,mcab->ijcm", g, g, weight).reshape(16, *weight.shape[1::-1])


def _padded(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H', W', C): one pixel of zeros around it, and one more where a side is odd."""
    b, c, h, w = x.shape
    out = x.new_zeros(b, h + h % 2 + 2, w + w % 2 + 2, c)
    out[:, 1 : h + 1, 1 : w + 1] = x.permute(0, 2, 3, 1)
    return out


class _Work:
    """The four transforms of a band of tile rows, and memory that all bands use one after another.

    Args:
        padded: (B, H', W', C) input with its border.
        maps: Of the output.
    """

    def __init__(self, padded: Tensor, maps: int) -> None:
        _, h, w, self.c = padded.shape
        self.maps, self.across = maps, w // 2 - 1
        down = h // 2 - 1
        most = max(1, BAND // self.across)
        self.bands = [(first, min(first + most, down)) for first in range(0, down, most)]
        self.memory: dict[str, Tensor] = {}
        self.like = padded

    def _empty(self, name: str, *shape: int) -> Tensor:
        n = math.prod(shape)
        if name not in self.memory or self.memory[name].numel() < n:
            self.memory[name] = self.like.new_empty(n)
        return self.memory[name][:n].view(shape)

    def products(self, tiles: Tensor, kernel: Tensor) -> Tensor:
        return torch.bmm(tiles, kernel, out=self._empty("products", 16, tiles.shape[1], kernel.shape[2]))

    def tiles(self, p: Tensor) -> Tensor:
        """(2n + 2, W', C) to (16, tiles, C): B' d B of the 4x4 tiles d, which overlap by two pixels."""
        n, wide = p.shape[0] // 2 - 1, p.shape[1]
        even, odd = p[0::2], p[1::2]
        rows = self._empty("tile rows", 4, n, wide, self.c)
        _four(even[:n], odd[:n], even[1:], odd[1:], rows)
        even, odd = rows[:, :, 0::2], rows[:, :, 1::2]
        out = self._empty("tiles", 4, 4, n, self.across, self.c)
        _four(even[:, :, :-1], odd[:, :, :-1], even[:, :, 1:], odd[:, :, 1:], out.transpose(0, 1))
        return out.view(16, n * self.across, self.c)

    def assemble(self, products: Tensor, out: Tensor) -> None:
        """(16, tiles, M) into (2n, 2 tiles across, M): A' m A of each tile, 2x2 pixels."""
        n = out.shape[0] // 2
        t = products.view(4, 4, n, self.across, self.maps)
        rows = self._empty("product rows", 2, 4, n, self.across, self.maps)
        torch.add(t[1], t[2], out=rows[0]).add_(t[0])
        torch.sub(t[1], t[2], out=rows[1]).sub_(t[3])
        pixels = out.view(n, 2, self.across, 2, self.maps).permute(1, 3, 0, 2, 4)
        torch.add(rows[:, 1], rows[:, 2], out=pixels[:, 0]).add_(rows[:, 0])
        torch.sub(rows[:, 1], rows[:, 2], out=pixels[:, 1]).sub_(rows[:, 3])

    def spread(self, y: Tensor) -> Tensor:
        """The transpose of `assemble`: (2n, 2 tiles across, M) to (16, tiles, M)."""
        n = y.shape[0] // 2
        y = y.reshape(n, 2, *y.shape[1:])
        rows = self._empty("spread rows", 4, n, 2 * self.across, self.maps)
        _two(y[:, 0], y[:, 1], rows)
        rows = rows.view(4, n, self.across, 2, self.maps)
        out = self._empty("spread", 4, 4, n, self.across, self.maps)
        _two(rows[..., 0, :], rows[..., 1, :], out.transpose(0, 1))
        return out.view(16, n * self.across, self.maps)

    def collect(self, by_tile: Tensor, out: Tensor) -> None:
        """The transpose of `tiles`: (16, tiles, C) added into (2n + 2, W', C)."""
        n = out.shape[0] // 2 - 1
        t = by_tile.view(4, 4, n, self.across, self.c)
        rows = self._empty("collected", 4, n, 2 * self.across + 2, self.c).zero_()
        _gather_four(t.transpose(0, 1), rows[:, :, 0::2], rows[:, :, 1::2], 2)
        _gather_four(rows, out[0::2], out[1::2], 0)


def _four(d0: Tensor, d1: Tensor, d2: Tensor, d3: Tensor, out: Tensor) -> None:
    """B' along one axis."""
    torch.sub(d0, d2, out=out[0])
    torch.add(d1, d2, out=out[1])
    torch.sub(d2, d1, out=out[2])
    torch.sub(d1, d3, out=out[3])


def _two(first: Tensor, second: Tensor, out: Tensor) -> None:
    """A along one axis."""
    out[0] = first
    torch.add(first, second, out=out[1])
    torch.sub(first, second, out=out[2])
    torch.neg(second, out=out[3])


def _gather_four(t: Tensor, even: Tensor, odd: Tensor, axis: int) -> None:
    """B along one axis: places 0 and 2 of a tile are even, 1 and 3 odd; neighbours share two."""
    n = even.shape[axis] - 1
    even.narrow(axis, 0, n).add_(t[0])
    even.narrow(axis, 1, n).add_(t[1]).add_(t[2]).sub_(t[0])
    odd.narrow(axis, 0, n).add_(t[1]).sub_(t[2]).add_(t[3])
    odd.narrow(axis, 1, n).sub_(t[3])
