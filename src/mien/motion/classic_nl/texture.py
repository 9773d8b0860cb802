"""Pictures made ready: noise, light and shade taken away; smaller ones for the pyramid."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST_NOISE = 0.3
_LIGHT = 5.0


def prepare(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures without most of their noise and light, and the noise that they had.

    What is blurred away grows with the noise, but slowly: fine texture counts as noise too (see `noise_level`). What is
    left of light after `texture` lies in coarse structure.

    Args:
        pictures: (2, B, H, W) grey levels 0..255.

    Returns:
        (2, B, H, W) texture in 0..255 about its local mean, and (B,) the noise in grey levels, at least 0.3.
    """
    noise = noise_level(pictures).mean(0)
    fine = texture(_blurred(pictures, (0.6 + 0.2 * noise).clamp_max(1.5)))
    return fine - _blurred(fine, torch.full_like(noise, _LIGHT)), noise.clamp_min(_LEAST_NOISE)


def noise_level(pictures: Tensor) -> Tensor:
    """Standard deviation of white noise, from what a second difference in both directions leaves of most pixels.

    Args:
        pictures: (..., H, W).

    Returns:
        (...), in the same unit. Texture of the finest scale counts as noise where it covers half of the picture.

    Source: Immerkaer, "Fast noise variance estimation", 1996, with the median for the mean.
    """
    across = pictures[..., 2:] - 2 * pictures[..., 1:-1] + pictures[..., :-2]
    both = across[..., 2:, :] - 2 * across[..., 1:-1, :] + across[..., :-2, :]
    return both.abs().flatten(-2).median(-1).values / (6 * 0.6745)


def texture(pictures: Tensor, part: float = 0.95, theta: float = 0.125, steps: int = 100) -> Tensor:
    """Fine structure of a pair of pictures: light and shade, which total variation explains, mostly taken away.

    Args:
        pictures: (2, B, H, W), any unit.
        part: How much of the structure is taken away.
        theta: Weight of the data in the model of Rudin, Osher and Fatemi, for levels from -1 to 1.
        steps: Of Chambolle's projection.

    Returns:
        (2, B, H, W), scaled so that each pair spans 0..255; 0 where a pair is of one level only.
    """
    scaled = _spread(pictures) * 2 - 1
    px, py = torch.zeros_like(scaled), torch.zeros_like(scaled)
    rate = 1 / (4 * theta)
    for _ in range(steps):
        gx, gy = forward_differences(divergence(px, py).mul_(theta).add_(scaled))
        norm = torch.hypot(gx, gy).mul_(rate).add_(1)
        px.add_(gx, alpha=rate).div_(norm)
        py.add_(gy, alpha=rate).div_(norm)
    structure = scaled + theta * divergence(px, py)
    return _spread(scaled - part * structure) * 255


def _spread(pictures: Tensor) -> Tensor:
    low, high = pictures.amin((0, 2, 3), keepdim=True), pictures.amax((0, 2, 3), keepdim=True)
    return (pictures - low) / (high - low).clamp_min(1e-6)


def forward_differences(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences to the right and down, 0 at the end."""
    gx, gy = torch.zeros_like(x), torch.zeros_like(x)
    torch.sub(x[..., 1:], x[..., :-1], out=gx[..., :-1])
    torch.sub(x[..., 1:, :], x[..., :-1, :], out=gy[..., :-1, :])
    return gx, gy


def divergence(px: Tensor, py: Tensor) -> Tensor:
    """Minus the adjoint of `forward_differences`, for fields that are 0 at the end."""
    total = px + py
    total[..., 1:] -= px[..., :-1]
    total[..., 1:, :] -= py[..., :-1, :]
    return total


def _blurred(pictures: Tensor, sigma: Tensor) -> Tensor:
    """Pictures (N, B, H, W) blurred by Gaussians of sigma (B,) pixels; borders continued."""
    reach = math.ceil(3 * float(sigma.max()))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=sigma.device) / sigma[:, None]) ** 2)
    taps = (taps / taps.sum(1, keepdim=True))[:, None, None]
    across = F.conv2d(F.pad(pictures, (reach, reach, 0, 0), "replicate"), taps, groups=len(sigma))
    return F.conv2d(F.pad(across, (0, 0, reach, reach), "replicate"), taps.transpose(2, 3), groups=len(sigma))


def shrunk(pictures: Tensor, height: int, width: int) -> Tensor:
    """Pictures (N, B, H, W) low-passed and made smaller."""
    ratio = max(pictures.shape[-1] / width, pictures.shape[-2] / height)
    if ratio == 1:
        return pictures
    # For a step of 1.25, and for one of 2 done once or several times.
    sigma = math.sqrt(ratio / 3) if ratio < 2 else 0.5 * math.sqrt(ratio**2 - 1)
    smooth = _blurred(pictures, torch.full_like(pictures[0, :, 0, 0], sigma))
    return F.interpolate(smooth, (height, width), mode="bilinear", align_corners=False)


def resized_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """A flow (2, B, h, w) between pictures of another size: (2, B, height, width), in their pixels."""
    if flow.shape[-2:] == (height, width):
        return flow
    ratio = flow.new_tensor([width / flow.shape[-1], height / flow.shape[-2]])
    return F.interpolate(flow, (height, width), mode="bilinear", align_corners=False) * ratio.view(2, 1, 1, 1)
