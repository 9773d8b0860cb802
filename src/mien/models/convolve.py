"""Convolutions of recurrent layers on a CPU, where possible faster than torch's own.

`Conv3x3` and `Conv1x1` have the weights and results of `nn.Conv2d`, up to rounding. On other devices, or where nothing
is gained, torch's own implementation is called. The methods:

- Many maps and many pixels: Winograd's F(4x4, 3x3) with 4 times fewer multiplications (Lavin and Gray, *Fast Algorithms
  for Convolutional Neural Networks*, CVPR 2016). A tile of 6x6 inputs gives 4x4 outputs by 36 products instead of 144;
  over all tiles and maps, these are 36 matrix products. The backward pass is the transposed computation.
- Pictures of a few pixels: the convolution as one matrix, since starting a convolution takes longer than computing it.
- 1x1: a matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

TILES = ((128, 1.25), (64, 16.0))
"""Where Winograd's method is faster in spite of its transforms, as (maps, tiles per map).

With at least so many maps, a batch needs at least so many tiles for each map."""
WASTE = 1.5
"""Maximum ratio of pixels in tiles to pixels of a picture for Winograd's method."""
FEW_NUMBERS = 256
"""Maximum size (pixels times maps) of a picture for which the convolution is computed as a matrix."""
FEW_PIXELS = 4096
"""Maximum number of pixels of a batch for which a 1x1 convolution is faster as a matrix product."""
BAND = 256
"""Number of tiles processed at a time, so that they and their products fit into a core's share of the cache."""


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution with padding 1 and without bias.

    Args:
        maps: Feature maps, in and out.
    """

    def __init__(self, maps: int) -> None:
        super().__init__(maps, maps, 3, padding=1, bias=False)

    def ready(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Return a function that convolves inputs of the shape (B, maps, H, W) and type of `x`, for repeated use."""
        b, c, h, w = x.shape
        if _here(x):
            if _tiles_pay(b, c, h, w):
                return lambda v: winograd(v, self.weight)
            if h * w * c <= FEW_NUMBERS:
                matrix = as_matrix(self.weight, h, w)
                return lambda v: _unflat(torch.mm(_flat(v), matrix), h, w)
        return super().forward

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, maps, H, W) to the same shape."""
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
        """Map (B, maps, H, W) to the same shape."""
        b, _, h, w = x.shape
        if _here(x) and b * h * w <= FEW_PIXELS:
            return nn.functional.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
        return super().forward(x)


def _here(x: Tensor) -> bool:
    """Tell whether to use the methods of this module: on a CPU, and not while a network is compiled or exported."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.compiler.is_compiling()


def _tiles_pay(b: int, maps: int, h: int, w: int) -> bool:
    tiles = b * -(-h // 4) * -(-w // 4)
    least = next((each * maps for start, each in TILES if maps >= start), float("inf"))
    return tiles >= least and 16 * tiles <= WASTE * b * h * w


def _flat(x: Tensor) -> Tensor:
    """Flatten (B, C, H, W) to (B, H W C); without a copy if memory is channels-last."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1)


def _unflat(x: Tensor, h: int, w: int) -> Tensor:
    return x.view(x.shape[0], h, w, -1).permute(0, 3, 1, 2)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # so that a result cached during prediction can be used for training too
def _neighbours(h: int, w: int) -> Tensor:
    """Return (H W, H W, 9): 1 where pixel p is under element k of the kernel centred on pixel q, else 0."""
    rows, columns = (g.flatten() for g in torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))
    down, right = rows[:, None] - rows + 1, columns[:, None] - columns + 1
    place = torch.where((down >= 0) & (down < 3) & (right >= 0) & (right < 3), 3 * down + right, 9)
    return nn.functional.one_hot(place, 10)[..., :9].float()


def as_matrix(weight: Tensor, h: int, w: int) -> Tensor:
    """Return the matrix (H W C, H W M) of a 3x3 convolution with padding 1, for flattened pictures.

    Args:
        weight: (M, C, 3, 3).
        h: Number of rows of a picture.
        w: Number of columns.
    """
    m, c = weight.shape[:2]
    where = _neighbours(h, w)
    n = h * w
    # (n n, 9) x (9, C M)
    full = torch.mm(where.view(n * n, 9).to(weight.dtype), weight.permute(2, 3, 1, 0).reshape(9, c * m))
    return full.view(n, n, c, m).transpose(1, 2).reshape(n * c, n * m)


def winograd(x: Tensor, weight: Tensor) -> Tensor:
    """Compute a 3x3 convolution with padding 1 by Winograd's method.

    Args:
        x: (B, C, H, W); fastest in channels-last memory.
        weight: (M, C, 3, 3).

    Returns:
        (B, M, H, W) in channels-last memory.
    """
    made: Tensor = _Winograd.apply(x, weight)  # type: ignore[no-untyped-call]
    return made


class _Winograd(torch.autograd.Function):
    """Y = A' [(G w G') * (B' x B)] A over all tiles, and its transpose; a few rows of tiles at a time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        work, kernel = _Work(x, len(weight)), _kernel(weight)
        out = _like(x, len(weight))
        for some in work.groups:
            padded, made = work.padded(x[some]), work.room_for_output(some)
            for first, last in work.bands:
                products = work.products(work.tiles(padded[:, 4 * first : 4 * last + 2]), kernel)
                work.assemble(products, made[:, 4 * first : 4 * last])
            _beside(made, 0, out[some])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        work, kernel = _Work(x, len(weight)), _kernel(weight).transpose(1, 2)
        for_x = _like(x, x.shape[1])
        for_kernel = x.new_zeros(36, *weight.shape[1::-1])
        for some in work.groups:
            padded, wanted = work.padded(x[some]), work.whole(grad[some])
            collected = work.room("collected", padded.shape)
            for first, last in work.bands:
                by_tile = work.spread(wanted[:, 4 * first : 4 * last])
                for_kernel.baddbmm_(work.tiles(padded[:, 4 * first : 4 * last + 2]).transpose(1, 2), by_tile)
                rows = slice(4 * first, 4 * last + (2 if last == work.down else 0))
                work.collect(work.products(by_tile, kernel), collected[:, rows], begin=first == 0)
            _beside(collected, 1, for_x[some])
        g = _G.to(weight.dtype)
        return for_x, torch.einsum("ia,jb,ijcm->mcab", g, g, for_kernel.view(6, 6, *for_kernel.shape[1:]))


_G = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float64,
)


def _kernel(weight: Tensor) -> Tensor:
    """Transform a kernel (M, C, 3, 3) to (36, C, M): G w G'."""
    g = _G.to(weight.dtype)
    return torch.einsum("ia,jb,mcab->ijcm", g, g, weight).reshape(36, *weight.shape[1::-1])


def _apart(x: Tensor, border: int, out: Tensor) -> None:
    """Reorder pixels so that every fourth column is contiguous: tiles, four columns apart, are then runs of memory.

    Args:
        x: (B, C, h, w).
        border: Row and column of `out` at which `x` starts; the rest of `out` becomes 0.
        out: (B, H, 4, W, C); column c is at [c % 4, c // 4].
    """
    h, w = x.shape[2:]
    x = x.permute(0, 2, 3, 1)
    out[:, :border] = 0
    out[:, border + h :] = 0
    inside = out[:, border : border + h]
    for c in range(4):
        # Columns of `out` that are c and every fourth on: those of the picture, and those beside it.
        first = (c - border) % 4
        place, n = (first + border) // 4, max(0, (w - first + 3) // 4)
        inside[:, :, c, :place] = 0
        inside[:, :, c, place : place + n] = x[:, :, first::4]
        inside[:, :, c, place + n :] = 0


def _beside(x: Tensor, border: int, out: Tensor) -> None:
    """Invert `_apart`: write (B, H, 4, W, C) to (B, C, h, w)."""
    h, w = out.shape[2:]
    out = out.permute(0, 2, 3, 1)
    for c in range(min(4, w)):
        place, n = c + border, (w - c + 3) // 4
        out[:, :, c::4] = x[:, border : border + h, place % 4, place // 4 : place // 4 + n]


def _like(x: Tensor, maps: int) -> Tensor:
    """Return an empty channels-last tensor for as many pictures with `maps` maps; not a view, so it can be changed."""
    shape = (len(x), maps, *x.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


class _Work:
    """The four transforms of tiles, and their memory, which is reused.

    A band of rows of tiles of one picture, or all tiles of several small pictures, is processed at a time.

    Args:
        x: (B, C, H, W) input.
        maps: Number of maps of the output.

    Attributes:
        groups: Slices of pictures that are processed at a time.
        bands: First row of tiles of each band, and one past its last.
    """

    def __init__(self, x: Tensor, maps: int) -> None:
        self.like, self.maps = x, maps
        b, self.c, h, w = x.shape
        self.down, self.across = -(-h // 4), -(-w // 4)
        pictures = max(1, BAND // (self.down * self.across))
        self.groups = [slice(first, min(first + pictures, b)) for first in range(0, b, pictures)]
        most = -(-self.down // -(-self.down * self.across // BAND))
        self.bands = [(first, min(first + most, self.down)) for first in range(0, self.down, most)]
        self.memory: dict[str, Tensor] = {}

    def padded(self, x: Tensor) -> Tensor:
        """Pad (G, C, H, W) with a pixel of zeros, and up to whole tiles: (G, H', 4, W', C)."""
        out = self.room("padded", (len(x), 4 * self.down + 2, 4, self.across + 1, self.c))
        _apart(x, 1, out)
        return out

    def room_for_output(self, some: slice) -> Tensor:
        """Return memory for whole tiles of the output: (G, 4 * down, 4, across, M)."""
        return self.room("output", (some.stop - some.start, 4 * self.down, 4, self.across, self.maps))

    def whole(self, y: Tensor) -> Tensor:
        """Pad an output (G, M, H, W) to whole tiles: (G, 4 * down, 4, across, M)."""
        out = self.room_for_output(slice(0, len(y)))
        _apart(y, 0, out)
        return out

    def products(self, tiles: Tensor, kernel: Tensor) -> Tensor:
        return torch.bmm(tiles, kernel, out=self.room("products", (36, tiles.shape[1], kernel.shape[2])))

    def tiles(self, p: Tensor) -> Tensor:
        """Transform (G, 4n + 2, 4, W', C) to (36, tiles, C): B' d B of the 6x6 tiles d, which overlap by two pixels."""
        g, n = len(p), p.shape[1] // 4
        columns = self.room("columns", (6, g, 4 * n + 2, self.across, self.c))
        self._towards(self._columns(p), columns)
        out = self.room("tiles", (6, 6, g, n, self.across, self.c))
        self._towards(_rows(columns), out)
        return out.view(36, -1, self.c)

    def assemble(self, products: Tensor, out: Tensor) -> None:
        """Transform (36, tiles, M) to (G, 4n, 4, across, M): A' m A, the 4x4 pixels of each tile."""
        g, n = len(out), out.shape[1] // 4
        rows = self.room("rows", (4, 6, g, n, self.across, self.maps))
        self._back(products.view(6, 6, *rows.shape[2:]), rows)
        pixels = out.view(g, n, 4, 4, self.across, self.maps)
        self._back(rows.transpose(0, 1), pixels.permute(3, 2, 0, 1, 4, 5))

    def spread(self, y: Tensor) -> Tensor:
        """Apply the transpose of `assemble`: (G, 4n, 4, across, M) to (36, tiles, M)."""
        g, n = len(y), y.shape[1] // 4
        pixels = y.view(g, n, 4, 4, self.across, self.maps)
        columns = self.room("columns", (6, g, n, 4, self.across, self.maps))
        self._back_turned(pixels.unbind(3), columns)
        out = self.room("spread", (6, 6, g, n, self.across, self.maps))
        self._back_turned(columns.unbind(3), out)
        return out.view(36, -1, self.maps)

    def collect(self, by_tile: Tensor, out: Tensor, begin: bool) -> None:
        """Apply the transpose of `tiles`: (36, tiles, C) to (G, 4n, 4, W', C), with two more rows at the end.

        Neighbouring rows of tiles share two rows of pixels. The part of a band in those below it is kept for the next.
        """
        g, n = len(out), out.shape[1] // 4
        columns = self.room("columns", (6, g, 4 * n + 2, self.across, self.c))
        kept = self.room("kept", (6, g, 2, self.across, self.c))
        rows = _rows(columns)
        columns[:, :, -2:] = 0
        self._towards_turned(by_tile.view(6, 6, g, n, self.across, self.c), rows[:4], rows[4:])
        if not begin:
            columns[:, :, :2].add_(kept)
        kept.copy_(columns[:, :, -2:])
        out[:, :, :2, -1] = 0
        places = self._columns(out)
        self._towards_turned(columns[:, :, : out.shape[1]], places[:4], places[4:])

    def room(self, name: str, shape: Sequence[int]) -> Tensor:
        """Return reused memory for a name, with undefined contents."""
        n = math.prod(shape)
        if name not in self.memory or self.memory[name].numel() < n:
            self.memory[name] = self.like.new_empty(n)
        return self.memory[name][:n].view(shape)

    def _columns(self, p: Tensor) -> list[Tensor]:
        """Return the six columns of all tiles, each (G, rows, across, C)."""
        return [p[:, :, k % 4, k // 4 : k // 4 + self.across] for k in range(6)]

    def _towards(self, d: Sequence[Tensor], out: Tensor) -> None:
        """Apply B' along one axis: six numbers to six."""
        one, two = self._two_like(d[0])
        torch.sub(d[4], d[2], alpha=4, out=one)
        torch.sub(d[3], d[1], alpha=4, out=two)
        torch.add(one, two, out=out[1])
        torch.sub(one, two, out=out[2])
        torch.sub(d[4], d[2], out=one)
        torch.sub(d[3], d[1], out=two)
        torch.add(one, two, alpha=2, out=out[3])
        torch.sub(one, two, alpha=2, out=out[4])
        torch.sub(d[0], d[2], out=out[0])
        torch.add(one, out[0], alpha=4, out=out[0])
        torch.sub(d[5], d[3], out=out[5]).sub_(two, alpha=4)

    def _towards_turned(self, t: Tensor, d: Sequence[Tensor], shared: Sequence[Tensor]) -> None:
        """Apply B along one axis: write the first four of six, and add the last two, which the next tile shares."""
        plus, minus = self._two_like(t[0])
        torch.add(t[3], t[4], out=plus)
        torch.sub(t[3], t[4], out=minus)
        torch.add(t[1], t[2], out=d[0])  # used as temporary memory, like the next
        torch.sub(t[1], t[2], out=d[1])
        torch.mul(d[0], -4, out=d[2]).sub_(plus).sub_(t[0], alpha=5)
        torch.add(d[1], minus, alpha=2, out=d[3]).sub_(t[5], alpha=5)
        plus.add_(d[0]).add_(t[0])
        d[1].mul_(-4).sub_(minus, alpha=2).add_(t[5], alpha=4)
        torch.mul(t[0], 4, out=d[0])
        shared[0].add_(plus)  # last, because these belong to the next tile too
        shared[1].add_(t[5])

    def _back(self, m: Tensor, out: Tensor) -> None:
        """Apply A' along one axis: six numbers to four."""
        plus, minus = self._two_like(m[0])
        torch.add(m[1], m[2], out=plus)
        torch.sub(m[1], m[2], out=minus)
        torch.add(m[0], plus, out=out[0])
        out[1], out[2] = minus, plus
        torch.add(minus, m[5], out=out[3])
        torch.add(m[3], m[4], out=plus)
        torch.sub(m[3], m[4], out=minus)
        out[0].add_(plus)
        out[1].add_(minus, alpha=2)
        out[2].add_(plus, alpha=4)
        out[3].add_(minus, alpha=8)

    def _back_turned(self, y: Sequence[Tensor], out: Tensor) -> None:
        """Apply A along one axis: four numbers to six."""
        one, two = self._two_like(y[0])
        torch.add(y[0], y[2], out=one)
        torch.add(y[1], y[3], out=two)
        torch.add(one, two, out=out[1])
        torch.sub(one, two, out=out[2])
        torch.add(y[0], y[2], alpha=4, out=one)
        torch.add(y[1], y[3], alpha=4, out=two)
        torch.add(one, two, alpha=2, out=out[3])
        torch.sub(one, two, alpha=2, out=out[4])
        out[0], out[5] = y[0], y[3]

    def _two_like(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one, two = self.room("two", (2, *x.shape))
        return one, two


def _rows(columns: Tensor) -> list[Tensor]:
    """Return the six rows of all tiles, each (6, G, n, across, C), of (6, G, 4n + 2, across, C)."""
    n = columns.shape[2] // 4
    return [columns[:, :, k : k + 4 * n - 3 : 4] for k in range(6)]
