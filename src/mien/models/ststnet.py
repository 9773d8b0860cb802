"""STSTNet (Liong, Gan, See, Khor, Huang; IEEE FG 2019), with a training path that is fast on a CPU and exact.

The network is tiny, but its training is long: leave-one-subject-out takes 68 times 800 epochs. Nearly all of the time
is spent in the first convolution and the full-size layers after it. Four facts make that part cheap:

- The three parallel streams are one convolution of 16 filters: same function, same initial distribution (the bound
  depends on the fan-in, 27 for each).
- Its input never changes and needs no gradient, so its patches are extracted once (`rearrange`).
- Batch normalisation after ReLU is affine per channel: for positive scales it commutes with max pooling, so only the
  pooled values need to be normalised; the statistics still cover every position.
- The gradient of the statistics is affine in the activation, so the whole backward pass is one sparse part (at the
  positions of the maxima) plus two numbers per channel.

Both passes run over a few clips at a time, to fit into the processor's cache. Matrix products use numpy on the memory
of the tensors, because its BLAS is a fifth faster than torch's for these long, narrow shapes.
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
"""Clips processed at a time, with activations of 2 MB. Fewer fit better into the cache but need more calls."""


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
        """Extract the patches (N, positions, 9 * in_channels + 1) of all training clips, in order of pooling.

        The last column is 1. On a GPU, or in another precision, the pictures are returned unchanged.
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
        """Map some rows of the result of `rearrange` to logits (B, C); in training mode only.

        The fused path needs positive scales of batch normalisation. If one is not positive, the plain path is used.
        """
        if batch.dim() == 4:
            return self.forward(batch)
        if not bool((self.norm.weight > 0).all()):
            return self.forward(_pictures(batch, self.size))
        weight = torch.cat([self.streams.weight.flatten(1), self.streams.bias[:, None]], 1)  # type: ignore[index]
        pooled: Tensor = _Stem.apply(  # type: ignore[no-untyped-call]
            batch, weight, self.norm.weight, self.norm.bias, self.norm, self.size
        )
        # Average pooling is linear. Applied to the weights of the dense layer, it costs nothing per clip.
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
    """Dropout that draws its mask with the filters last, so that it drops the same activations as the fused path.

    Args:
        p: Dropout probability.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, F, H, W) to the same shape."""
        if not (self.training and self.p):
            return x
        return x * self.kept(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) / (1 - self.p)

    def kept(self, x: Tensor) -> Tensor:
        """Draw a mask of the shape (B, H, W, F) of `x`: 1 where a value is kept, else 0."""
        return self.draw(x, None)

    def draw(self, x: Tensor, chance: torch.Generator | None) -> Tensor:
        """Draw a mask as `kept` does, with a random generator; None is torch's own."""
        return _kept(x, self.p, chance)


def _kept(x: Tensor, p: float, chance: torch.Generator | None = None) -> Tensor:
    """Draw a mask of the shape and type of `x`: 0 with probability p, else 1.

    Uses 16 random bits per value, so that p is exact to 2^-17. torch's own dropout would take longer than the
    convolution.
    """
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device)
    draws.random_(-(2**63), None, generator=chance)
    bits = draws.view(torch.int16)[: x.numel()].view_as(x)
    return (bits >= round(p * 2**16) - 2**15).to(x.dtype)


def _windows(size: int) -> int:
    """Return the number of pooling windows along a side: size + 2 after convolution, pooled by 3 with padding 1."""
    return (size + 2 + 2 - 3) // 3 + 1


@cache
def _order(size: int) -> tuple[Tensor, Tensor]:
    """Return the position on the (size + 2)^2 map of each entry of the rearranged layout, and 0 for padding, else 1.

    The first 9 * windows^2 entries are the cells of the pooling windows: all first cells, all second cells, and so on.
    Cells in the padding refer to position 0 and are set to 0, which never exceeds a maximum after ReLU. The positions
    that no window covers come last; they count in the statistics.
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


def _pictures(rearranged: Tensor, size: int) -> Tensor:
    """Invert `STSTNet.rearrange`: return the pictures (B, channels, size, size)."""
    order, real = _order(size)
    out, channels = size + 2, rearranged.shape[2] // 9
    is_real = real > 0
    maps = rearranged.new_zeros(len(rearranged), out * out, channels)
    # The last cell of a patch is the pixel two rows above and two columns left of the patch's position.
    maps[:, order[is_real]] = rearranged[:, is_real, :-1].view(len(rearranged), -1, channels, 9)[..., 8]
    return maps.view(len(rearranged), out, out, channels)[:, :size, :size].permute(0, 3, 1, 2).contiguous()


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def _one_blas_thread() -> AbstractContextManager[object]:
    """Limit numpy's matrix products to one thread: a second one gains nothing here, and busy-waits on shared cores."""
    limit: AbstractContextManager[object] = _blas().limit(limits=1)
    return limit


class _Stem(torch.autograd.Function):
    """Convolution, ReLU, batch normalisation with batch statistics, max pooling; see the module's text."""

    @staticmethod
    def forward(
        ctx: Any, patches: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, norm: nn.BatchNorm2d, size: int
    ) -> Tensor:
        """Map patches (B, P, K) and filters (F, K) to normalised, pooled activations (B, windows, F)."""
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
        """Return the gradients of the filters, the scale and the shift."""
        patches, activation, pooled, scale, mean, spread = ctx.saved_tensors
        clips, places, filters = activation.shape
        windows, depth = pooled.shape[1], patches.shape[2]
        grad = grad.reshape(clips, windows, filters)
        d_shift = grad.sum((0, 1))
        d_scale = ((grad * pooled).sum((0, 1)) - mean * d_shift) * spread
        gain = scale * spread
        # dL/da = slope * a + level everywhere, plus gain * grad at the positions of the maxima.
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
