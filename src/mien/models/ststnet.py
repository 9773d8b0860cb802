"""STSTNet (Liong, Gan, See, Khor, Huang; IEEE FG 2019), with a training path that is fast on a CPU and exact.

The network is tiny and its training is not: leave-one-subject-out needs 68 times 800 passes. Nearly all of the time
goes into the first convolution and what follows it at full size. Four facts make that part cheap:

- The three parallel streams are one convolution of 16 filters: same function, same initial distribution (the bound
  depends on the fan-in, 27 for each).
- Its input never changes, so the patches are laid out once (`rearrange`), and needs no gradient.
- Batch normalisation after ReLU is affine per channel: for positive scales it commutes with max pooling, so only the
  pooled values need to be normalised; the statistics still cover every position.
- The gradient of the statistics is affine in the activation, so the whole backward pass is one sparse part (where the
  maximum sat) plus two numbers per channel.

Both passes then run over some clips at a time, small enough for the processor's cache. The matrix products go through
numpy, on the tensors' own memory: its BLAS handles these long, narrow shapes a fifth faster than torch's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn

CHUNK = 32
"""Clips at a time: their activations take 2 MB. Fewer clips stay closer to the processor but pay more for each call."""


class STSTNet(nn.Module):
    """Three shallow convolution streams on u, v and strain; 1,683 parameters by default.

    Args:
        n_classes: Classes C.
        in_channels: Channels of the flow picture.
        dropout: Share of pooled activations dropped in training.
        size: Side of the picture in pixels.

    Source: STSTNet, figure 2 and section III-B; padding 2 and the order ReLU, batch normalisation, pooling as in the
    authors' PyTorch file.
    """

    filters = 3 + 5 + 8

    def __init__(self, n_classes: int = 3, in_channels: int = 3, dropout: float = 0.5, size: int = 28) -> None:
        super().__init__()
        self.size = size
        self.streams = nn.Conv2d(in_channels, self.filters, 3, padding=2)
        self.norm = nn.BatchNorm2d(self.filters)
        self.drop = FiltersLastDropout(dropout)
        self.pool = nn.AvgPool2d(2, 2)
        self.classify = nn.Linear(self.filters * (_windows(size) // 2) ** 2, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, size, size) to logits (B, C)."""
        x = self.norm(torch.relu(self.streams(x)))
        return self._head(nn.functional.max_pool2d(x, 3, stride=3, padding=1))

    def _head(self, pooled: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.pool(self.drop(pooled)).flatten(1))
        return logits

    def rearrange(self, x: Tensor) -> Tensor:
        """Patches (N, positions, 9 * in_channels + 1) of all training clips, in pooling order, with a column of ones.

        On a GPU, or in another precision, the pictures come back as they are.
        """
        if x.device.type != "cpu" or x.dtype != torch.float32:
            return x
        channels = x.shape[1]
        padded = nn.functional.pad(x, (2, 2, 2, 2))
        patches = padded.unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
        order, real = _order(self.size)
        out = torch.empty(len(x), len(order), 9 * channels + 1)
        for start in range(0, len(x), 64):
            part = patches[start : start + 64, order]
            out[start : start + 64, :, :-1] = part * real[:, None]
        out[:, :, -1] = real
        return out

    def forward_rearranged(self, batch: Tensor) -> Tensor:
        """Some rows of `rearrange`, to logits (B, C); in training mode only.

        The fused path needs positive scales. One that training has driven to zero or below takes the plain path.
        """
        if batch.dim() == 4:
            return self.forward(batch)
        if not bool((self.norm.weight > 0).all()):
            return self.forward(_pictures(batch, self.size))
        weight = torch.cat([self.streams.weight.flatten(1), self.streams.bias[:, None]], 1)  # type: ignore[index]
        pooled: Tensor = _Stem.apply(  # type: ignore[no-untyped-call]
            batch, weight, self.norm.weight, self.norm.bias, self.norm, self.size
        )
        # Average pooling is linear: spread over the dense layer's weights it costs nothing per clip.
        side, classes = _windows(self.size), self.classify.out_features
        half = side // 2
        dense = self.classify.weight.view(classes, self.filters, half, half).permute(0, 2, 3, 1)
        # So is the scale of dropout.
        dense = dense / (4 * (1 - self.drop.p))
        dense = dense.repeat_interleave(2, 1).repeat_interleave(2, 2)
        if side % 2:
            dense = nn.functional.pad(dense, (0, 0, 0, 1, 0, 1))
        pooled = pooled.flatten(1)
        if self.drop.p:
            pooled = pooled * _kept(pooled, self.drop.p)
        return nn.functional.linear(pooled, dense.reshape(classes, -1), self.classify.bias)


class FiltersLastDropout(nn.Module):
    """Dropout that draws with the filters last, as the fused path does: the same generator drops the same activations.

    Args:
        p: Share that is dropped, in training.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, H, W) to the same shape."""
        if not (self.training and self.p):
            return x
        return x * self.kept(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) / (1 - self.p)

    def kept(self, x: Tensor) -> Tensor:
        """(B, H, W, F) to the same shape: 1 where a value is kept."""
        return self.draw(x, None)

    def draw(self, x: Tensor, chance: torch.Generator | None) -> Tensor:
        """As `kept`, by a generator; None is torch's own."""
        return _kept(x, self.p, chance)


def _kept(x: Tensor, p: float, chance: torch.Generator | None = None) -> Tensor:
    """1 where dropout keeps a value of `x`, 0 with probability p; in the shape and precision of `x`, unscaled.

    Sixteen random bits a value, so p is met to 2^-17; torch's own draws cost more here than the convolution.
    """
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device)
    draws.random_(-(2**63), None, generator=chance)
    bits = draws.view(torch.int16)[: x.numel()].view_as(x)
    return (bits >= round(p * 2**16) - 2**15).to(x.dtype)


def _windows(size: int) -> int:
    """Pooling windows along a side: the padded convolution gives size + 2, pooled by 3 with padding 1."""
    return (size + 2 + 2 - 3) // 3 + 1


@cache
def _order(size: int) -> tuple[Tensor, Tensor]:
    """Where each place of the prepared layout lies on the (size + 2)^2 map, and 1 for real places, 0 for padding.

    The first 9 * windows^2 places are the windows' cells: all first cells, all second cells, ... Cells in the padding
    of the pooling point at place 0 and are blanked: after ReLU a zero never wins over a real maximum. The places no
    window covers come last; they count in the statistics.
    """
    out, side = size + 2, _windows(size)
    places, real, covered = [], [], set()
    for dy in range(3):
        for dx in range(3):
            for wy in range(side):
                for wx in range(side):
                    y, x = 3 * wy - 1 + dy, 3 * wx - 1 + dx
                    inside = 0 <= y < out and 0 <= x < out
                    places.append(y * out + x if inside else 0)
                    real.append(float(inside))
                    if inside:
                        covered.add(y * out + x)
    rest = [p for p in range(out * out) if p not in covered]
    return torch.tensor(places + rest), torch.tensor(real + [1.0] * len(rest))


def _pictures(prepared: Tensor, size: int) -> Tensor:
    """The pictures (B, channels, size, size) that `rearrange` was given."""
    order, real = _order(size)
    out, channels = size + 2, prepared.shape[2] // 9
    keep = real > 0
    maps = prepared.new_zeros(len(prepared), out * out, channels)
    # The last cell of a patch is the picture two pixels up and left of the patch's place.
    maps[:, order[keep]] = prepared[:, keep, :-1].view(len(prepared), -1, channels, 9)[..., 8]
    return maps.view(len(prepared), out, out, channels)[:, :size, :size].permute(0, 3, 1, 2).contiguous()


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def _one_blas_thread() -> AbstractContextManager[object]:
    """numpy's products on one thread: a second one gains nothing here and, where cores are shared, waits spinning."""
    limit: AbstractContextManager[object] = _blas().limit(limits=1)
    return limit


class _Stem(torch.autograd.Function):
    """Convolution, ReLU, batch normalisation with batch statistics, max pooling; see the module's text."""

    @staticmethod
    def forward(
        ctx: Any, patches: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, norm: nn.BatchNorm2d, size: int
    ) -> Tensor:
        """Patches (B, P, K) and filters (F, K) to normalised, pooled activations (B, windows, F)."""
        clips, places, depth = patches.shape
        filters = len(weight)
        windows = _windows(size) ** 2
        activation = patches.new_empty(clips, places, filters)
        pooled = patches.new_empty(clips, windows, filters)
        scratch = patches.new_empty(CHUNK * places, filters)
        total, squares = (
            patches.new_zeros(filters, dtype=torch.float64),
            patches.new_zeros(filters, dtype=torch.float64),
        )
        kernel = weight.t().contiguous()
        with _one_blas_thread():
            for start in range(0, clips, CHUNK):
                stop = min(start + CHUNK, clips)
                part = activation[start:stop]
                flat = part.view(-1, filters)
                np.dot(patches[start:stop].view(-1, depth).numpy(), kernel.numpy(), out=flat.numpy())
                flat.relu_()
                total += flat.sum(0)
                squared = scratch[: len(flat)]
                torch.mul(flat, flat, out=squared)
                squares += squared.sum(0)
                cells = part[:, : 9 * windows].view(stop - start, 9, windows, filters)
                torch.amax(cells, 1, out=pooled[start:stop])
        n = clips * (size + 2) ** 2
        mean = total / n
        variance = (squares / n - mean.square()).clamp_(min=0)
        if norm.track_running_stats and norm.running_mean is not None and norm.running_var is not None:
            momentum = 0.1 if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
            norm.running_var.lerp_((variance * n / (n - 1)).to(norm.running_var.dtype), momentum)
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked += 1
        spread = torch.rsqrt(variance + norm.eps)
        mean, spread = mean.to(patches.dtype), spread.to(patches.dtype)
        ctx.save_for_backward(patches, activation, pooled, scale, mean, spread)
        ctx.n = n
        return torch.addcmul(shift - mean * spread * scale, pooled, spread * scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the filters, the scale and the shift."""
        patches, activation, pooled, scale, mean, spread = ctx.saved_tensors
        clips, places, filters = activation.shape
        windows, depth = pooled.shape[1], patches.shape[2]
        grad = grad.reshape(clips, windows, filters)
        d_shift = grad.sum((0, 1))
        d_scale = ((grad * pooled).sum((0, 1)) - mean * d_shift) * spread
        gain = scale * spread
        # dL/da = slope * a + level everywhere, plus gain * grad where the maximum sat.
        slope = -gain * spread * d_scale / ctx.n
        level = -gain * d_shift / ctx.n - slope * mean
        sparse = grad * gain
        d_kernel = patches.new_zeros(depth, filters)
        buffer = patches.new_empty(CHUNK, places, filters)
        hits = patches.new_empty(CHUNK, 9, windows, filters)
        with _one_blas_thread():
            # Last clips first: they are the ones the forward pass has left in the cache.
            for start in reversed(range(0, clips, CHUNK)):
                stop = min(start + CHUNK, clips)
                part, out = activation[start:stop], buffer[: stop - start]
                torch.addcmul(level, part, slope, out=out)
                cells = (stop - start, 9, windows, filters)
                best, hit = pooled[start:stop, None], hits[: stop - start]
                # Cells that tie for the maximum share its gradient. Equal patches tie, and then the sum is the same
                # whoever gets it; a float mask, not an index, keeps this a handful of vector operations.
                torch.ge(part[:, : 9 * windows].view(cells), best, out=hit)
                share = sparse[start:stop, None] / hit.sum(1, keepdim=True)
                out[:, : 9 * windows].view(cells).addcmul_(hit, share)
                torch.ops.aten.threshold_backward.grad_input(out, part, 0, grad_input=out)
                product = np.dot(patches[start:stop].view(-1, depth).numpy().T, out.view(-1, filters).numpy())
                d_kernel += torch.from_numpy(product)
        return None, d_kernel.t(), d_scale, d_shift, None, None
