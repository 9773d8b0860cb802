"""One step: the energy linearised about a flow, and the increment that it wants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.motion.classic_nl.solver import solve
from mien.motion.classic_nl.texture import divergence, forward_differences


@dataclass(frozen=True, slots=True)
class Penalties:
    """Weights rho'(x) / x of the two terms, and the factor of the smoothness term."""

    data: Callable[[Tensor], Tensor]
    smooth: Callable[[Tensor], Tensor]
    factor: float | Tensor


def increment(first: Tensor, second: Tensor, flow: Tensor, penalties: Penalties, tolerance: float) -> Tensor:
    """What the energy, linearised about a flow, wants added to it.

    Args:
        first: (B, H, W) texture.
        second: (B, H, W).
        flow: (2, B, H, W) pixels.
        penalties: Of the data and of the smoothness.
        tolerance: See `solve`.

    Returns:
        (2, B, H, W) pixels.
    """
    return solve(*linear_system(first, second, flow, penalties), tolerance)


def linear_system(
    first: Tensor, second: Tensor, flow: Tensor, penalties: Penalties
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The system whose solution is the increment of a flow.

    Args:
        first: (B, H, W) texture.
        second: (B, H, W).
        flow: (2, B, H, W) pixels.
        penalties: Of the data and of the smoothness.

    Returns:
        What `solve` takes: data terms (3, B, H, W); weights to the right, weights down, right side (2, B, H, W).
    """
    warped, x_second, y_second, inside = sample(second, flow)
    x_first, y_first = derivatives(first)
    ix, iy = (0.5 * (x_first + x_second)) * inside, (0.5 * (y_first + y_second)) * inside
    it = (warped - first) * inside
    weight = penalties.data(it)
    data = torch.stack([weight * ix * ix, weight * iy * iy, weight * ix * iy])
    dx, dy = forward_differences(flow)
    right, down = penalties.smooth(dx).mul_(penalties.factor), penalties.smooth(dy).mul_(penalties.factor)
    right[..., -1] = 0
    down[..., -1, :] = 0
    side = divergence(right * dx, down * dy)
    side[0] -= weight * ix * it
    side[1] -= weight * iy * it
    return data, right, down, side


def derivatives(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Five-point derivatives to the right and down, mirrored at the border: (B, H, W) each."""
    p = F.pad(picture[:, None], (2, 2, 2, 2), "replicate")[:, 0]
    x, y = p[:, 2:-2], p[:, :, 2:-2]
    return (
        (8 * (x[..., 3:-1] - x[..., 1:-3]) - (x[..., 4:] - x[..., :-4])) / 12,
        (8 * (y[:, 3:-1] - y[:, 1:-3]) - (y[:, 4:] - y[:, :-4])) / 12,
    )


def sample(picture: Tensor, flow: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A picture, and its derivatives, where a flow leads; by cubic pieces whose slopes at pixels are five-point.

    Args:
        picture: (B, H, W).
        flow: (2, B, H, W) pixels, x then y.

    Returns:
        Levels, derivatives along x and along y, and 1 where the flow stays inside the picture, else 0: (B, H, W) each.
    """
    batch, height, width = picture.shape
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[0]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    left, top = x.floor().clamp_max_(width - 2), y.floor().clamp_max_(height - 2)
    (wx, dwx), (wy, dwy) = _cubic(x - left), _cubic(y - top)
    padded = F.pad(picture[:, None], (2, 3, 2, 3), "replicate").reshape(-1)
    stride = width + 5
    base = top.long() * stride + left.long()
    base += (torch.arange(batch, device=flow.device) * stride * (height + 5)).view(-1, 1, 1)
    level, along, down = (torch.zeros_like(picture) for _ in range(3))
    for j in range(6):
        row, slope = torch.zeros_like(picture), torch.zeros_like(picture)
        for i in range(6):
            value = padded.take(base + (j * stride + i))
            row.addcmul_(value, wx[i])
            slope.addcmul_(value, dwx[i])
        level.addcmul_(row, wy[j])
        along.addcmul_(slope, wy[j])
        down.addcmul_(row, dwy[j])
    return level, along, down, inside.to(picture.dtype)


def _cubic(t: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Weights of the six pixels around t in 0..1 between the third and the fourth, and their derivatives in t."""
    t2 = t * t
    t3 = t2 * t
    to_right, from_left, from_right = 3 * t2 - 2 * t3, t3 - 2 * t2 + t, t3 - t2
    weights = _hermite(1 - to_right, to_right, from_left / 12, from_right / 12)
    bend = 6 * (t - t2)
    slopes = _hermite(-bend, bend, (3 * t2 - 4 * t + 1) / 12, (3 * t2 - 2 * t) / 12)
    return weights, slopes


def _hermite(left: Tensor, right: Tensor, a: Tensor, b: Tensor) -> list[Tensor]:
    """Weights of values and five-point slopes (in twelfths) at two neighbours, gathered by pixel."""
    return [a, b - 8 * a, left - 8 * b, right + 8 * a, 8 * b - a, -b]
