"""Optical flow by the method "Classic+NL-fast", and by its Lorentzian forerunner "Classic-L".

The flow (u, v) minimises, over the texture of both pictures,

    sum rho(I2(x + u, y + v) - I1(x, y)) + lambda sum rho(du/dx) + rho(du/dy) + rho(dv/dx) + rho(dv/dy),

from coarse to fine, with a median over the flow after each step, which near edges of the flow weighs neighbours by
distance, likeness of colour and visibility. Each step linearises the pictures once and the penalties once, which leaves
a linear system with two unknowns a pixel: see `solve`.

As published, lambda is 3 whatever the pictures, and noise and light count as motion where a face has little texture.
Here the pictures are first freed of both, and lambda follows the noise (see `prepare`): on rendered pairs this halves
the error. `published=True` leaves that out. In either case the first, quadratic stage has a plain median only, and the
linear systems are solved to a residual instead of by elimination.

Sources: Sun, Roth and Black, "Secrets of optical flow estimation and their principles", CVPR 2010, and "A quantitative
analysis of current practices in optical flow estimation and the principles behind them", IJCV 106, 2014. Texture:
Wedel, Pock, Zach, Bischof and Cremers, "An improved algorithm for TV-L1 optical flow", 2009.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mien.errors import MienError, unknown_name


@dataclass(frozen=True, slots=True)
class Penalties:
    """Weights rho'(x) / x of the two terms, and the factor of the smoothness term."""

    data: Callable[[Tensor], Tensor]
    smooth: Callable[[Tensor], Tensor]
    factor: float | Tensor


def _charbonnier(x: Tensor) -> Tensor:
    return (x * x + 1e-6).pow_(-0.55).mul_(0.9)


def _lorentzian(sigma: float) -> Callable[[Tensor], Tensor]:
    return lambda x: 2 / (2 * sigma * sigma + x * x)


def _quadratic(x: Tensor) -> Tensor:
    return torch.full_like(x, 2.0)


_QUADRATIC = Penalties(_quadratic, _quadratic, 3.0)
"""Of the first stage; smoothness counts ten times as much where the pictures have been prepared."""

PENALTIES = {
    "charbonnier": Penalties(_charbonnier, _charbonnier, 3.0),
    "lorentzian": Penalties(_lorentzian(1.5), _lorentzian(0.03), 0.06),
}
"""The robust penalties by name: the generalised Charbonnier of Classic+NL, and that of Classic-L."""


def classic_nl(
    first: NDArray[Any],
    second: NDArray[Any],
    *,
    penalty: str = "charbonnier",
    published: bool = False,
    warps: int = 3,
    tolerance: float = 1e-2,
    device: str = "cpu",
    at_once: int | None = None,
) -> NDArray[np.float32]:
    """Displacement of every pixel, for one pair or many of one size.

    Args:
        first: (H, W) or (B, H, W) grey levels, (H, W, 3) or (B, H, W, 3) RGB, 0..255, at least 16 pixels a side. What
            ends in an axis of 3 is colour.
        second: The later pictures, of the same shape.
        penalty: "charbonnier" (Classic+NL) or "lorentzian" (that of Classic-L, in the same steps).
        published: Pictures and lambda as in the papers, to rebuild inputs made so; less accurate on faces.
        warps: How many times the pictures are brought together at each level of the pyramid.
        tolerance: Each linear system is solved until its residual has shrunk to this part.
        device: Where torch computes.
        at_once: Pairs worked on together, by default 1 on a processor, where a pair fills its cache, and 16 elsewhere.

    Returns:
        (H, W, 2) or (B, H, W, 2) in pixels, x then y: the point at (x, y) in `first` is at (x + dx, y + dy) in
        `second`. Does not depend on which other pairs are in the batch, but for rounding.

    Raises:
        MienError: No such penalty; the pictures differ in shape, are too small or hold what is not a number.
    """
    if penalty not in PENALTIES:
        raise unknown_name("penalty", penalty, PENALTIES, "mien.motion.classic_nl.PENALTIES")
    colour = np.ndim(first) in (3, 4) and np.shape(first)[-1] == 3
    single = np.ndim(first) == (3 if colour else 2)
    if np.shape(first) != np.shape(second) or np.ndim(first) - colour not in (2, 3):
        raise MienError(
            f"Pictures of shape {np.shape(first)} and {np.shape(second)}.",
            "(H, W) or (B, H, W), with an axis of 3 behind it for RGB, and the same for both.",
            "`cv2.resize` where only the sizes differ.",
        )
    pairs = np.stack([first, second])
    pairs = pairs[:, None] if single else pairs
    if min(pairs.shape[2:4]) < 16:
        raise MienError(f"Pictures of {pairs.shape[2]}x{pairs.shape[3]} pixels.", "at least 16 a side.", "larger ones.")
    if not np.isfinite(pairs).all():
        raise MienError("Pictures with values that are not numbers.", "levels 0..255.", "`np.nan_to_num`.")
    count = at_once or (1 if torch.device(device).type == "cpu" else 16)
    flow = np.empty((*pairs.shape[1:4], 2), np.float32)

    def work(start: int) -> None:
        part = pairs[:, start : start + count]
        grey = part @ np.array([0.299, 0.587, 0.114]) if colour else part
        guide = _lab(part[0]) if colour else part[0][:, None]
        with torch.inference_mode():
            found = _coarse_to_fine(
                torch.as_tensor(np.ascontiguousarray(grey, np.float32), device=device),
                torch.as_tensor(np.ascontiguousarray(guide, np.float32), device=device),
                PENALTIES[penalty],
                published,
                warps,
                tolerance,
            )
        flow[start : start + count] = found.permute(1, 2, 3, 0).cpu().numpy()

    # The operations are many and small: threads that each take a pair hardly ever wait, as those that share one would.
    threads = torch.get_num_threads()
    starts = range(0, len(flow), count)
    workers = min(threads, len(starts)) if torch.device(device).type == "cpu" else 1
    try:
        with ThreadPoolExecutor(max(1, workers), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(work, starts))
    finally:
        torch.set_num_threads(threads)
    return flow[0] if single else flow


def _lab(pictures: NDArray[Any]) -> NDArray[np.float32]:
    """(B, H, W, 3) RGB as (B, 3, H, W) of L, a and b, each in 0..255 as OpenCV scales them."""
    as_bytes = np.clip(np.rint(pictures), 0, 255).astype(np.uint8)
    return np.stack([cv2.cvtColor(p, cv2.COLOR_RGB2LAB) for p in as_bytes]).transpose(0, 3, 1, 2).astype(np.float32)


def _coarse_to_fine(
    pictures: Tensor, guide: Tensor, robust: Penalties, published: bool, warps: int, tolerance: float
) -> Tensor:
    """Flow (2, B, H, W) between grey pictures (2, B, H, W), with (B, C, H, W) to weigh the median."""
    quadratic, steep = _QUADRATIC, 0.0
    if published:
        pictures = texture(pictures)
    else:
        pictures, strength = prepare(pictures)
        quadratic, steep = replace(quadratic, factor=10 * quadratic.factor), _STEEP
        robust = replace(robust, factor=robust.factor * strength.view(-1, 1, 1))
    size = (pictures.shape[-2], pictures.shape[-1])
    # Graduated non-convexity: a quadratic energy first, from coarse to fine, then the robust one at the finest scales.
    coarsest = int(math.log2(min(size) / 16))
    stages = ((quadratic, 2.0, 1 + coarsest), (robust, 1.25, 2))
    flow = pictures.new_zeros(2, pictures.shape[1], 1, 1)
    for penalties, spacing, levels in stages:
        for level in reversed(range(levels)):
            height, width = (max(16, round(n / spacing**level)) for n in size)
            flow = _resized_flow(flow, height, width)
            first, second = _shrunk(pictures, height, width)
            small_guide = _shrunk(guide, height, width)
            for _ in range(warps):
                change = increment(first, second, flow, penalties, tolerance)
                flow = _median(flow + change.clamp(-1, 1))
                if penalties is robust:
                    flow = _weighted_median(flow, first, second, small_guide, steep)
    return flow


_LEAST_NOISE = 0.4
_LIGHT = 5.0
_STEEP = 0.1


def prepare(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures without most of their noise and light, and how much smoother their flow should be for the noise left.

    A penalty |x|^0.9 of a residual with noise n on it weighs as much as before if the other term grows like n^0.9.
    What is blurred away grows with the noise too, and what is left of light after `texture` lies in coarse structure.

    Args:
        pictures: (2, B, H, W) grey levels 0..255.

    Returns:
        (2, B, H, W) texture in 0..255 about its local mean, and (B,) the factor of lambda, 3 at noise 1.
    """
    noise = noise_level(pictures).mean(0)
    fine = texture(_blurred(pictures, (0.6 + 0.3 * noise).clamp_max(1.5)))
    return fine - _blurred(fine, torch.full_like(noise, _LIGHT)), 3 * noise.clamp_min(_LEAST_NOISE) ** 0.9


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
        gx, gy = _forward(_divergence(px, py).mul_(theta).add_(scaled))
        norm = torch.hypot(gx, gy).mul_(rate).add_(1)
        px.add_(gx, alpha=rate).div_(norm)
        py.add_(gy, alpha=rate).div_(norm)
    structure = scaled + theta * _divergence(px, py)
    return _spread(scaled - part * structure) * 255


def _spread(pictures: Tensor) -> Tensor:
    low, high = pictures.amin((0, 2, 3), keepdim=True), pictures.amax((0, 2, 3), keepdim=True)
    return (pictures - low) / (high - low).clamp_min(1e-6)


def _forward(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences to the right and down, 0 at the end."""
    gx, gy = torch.zeros_like(x), torch.zeros_like(x)
    torch.sub(x[..., 1:], x[..., :-1], out=gx[..., :-1])
    torch.sub(x[..., 1:, :], x[..., :-1, :], out=gy[..., :-1, :])
    return gx, gy


def _divergence(px: Tensor, py: Tensor) -> Tensor:
    """Minus the adjoint of `_forward`, for fields that are 0 at the end."""
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


def _shrunk(pictures: Tensor, height: int, width: int) -> Tensor:
    """Pictures (N, B, H, W) low-passed and made smaller."""
    ratio = max(pictures.shape[-1] / width, pictures.shape[-2] / height)
    if ratio == 1:
        return pictures
    # For a step of 1.25, and for one of 2 done once or several times.
    sigma = math.sqrt(ratio / 3) if ratio < 2 else 0.5 * math.sqrt(ratio**2 - 1)
    smooth = _blurred(pictures, torch.full_like(pictures[0, :, 0, 0], sigma))
    return F.interpolate(smooth, (height, width), mode="bilinear", align_corners=False)


def _resized_flow(flow: Tensor, height: int, width: int) -> Tensor:
    if flow.shape[-2:] == (height, width):
        return flow
    ratio = flow.new_tensor([width / flow.shape[-1], height / flow.shape[-2]])
    return F.interpolate(flow, (height, width), mode="bilinear", align_corners=False) * ratio.view(2, 1, 1, 1)


# One step


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
    dx, dy = _forward(flow)
    right, down = penalties.smooth(dx).mul_(penalties.factor), penalties.smooth(dy).mul_(penalties.factor)
    right[..., -1] = 0
    down[..., -1, :] = 0
    side = _divergence(right * dx, down * dy)
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


# The linear system


class _Grid:
    """One grid of the solver: the system's matrix, flat over pixels, so that each product is a few passes."""

    def __init__(self, data: Tensor, right: Tensor, down: Tensor) -> None:
        self.shape = right.shape
        self.width = right.shape[-1]
        # Weights end with 0 in each row and column, so that neighbours in memory may be taken for neighbours.
        self.right, self.down = right.reshape(-1), down.reshape(-1)
        self.cross = data[2].reshape(-1)
        diagonal = torch.cat([data[0].reshape(-1), data[1].reshape(-1)])
        diagonal += self.right
        diagonal += self.down
        diagonal[1:] += self.right[:-1]
        diagonal[self.width :] += self.down[: -self.width]
        self.diagonal = diagonal
        u, v = diagonal.view(2, -1)
        determinant = u * v - self.cross * self.cross
        inverse = torch.where(determinant > 1e-12 * u * v, 1 / determinant, 0)
        self.inverse = torch.cat([v * inverse, u * inverse])
        self.inverse_cross = -self.cross * inverse

    def times(self, x: Tensor) -> Tensor:
        """The matrix times x, flat (2 B H W)."""
        y = self.diagonal * x
        half = len(x) // 2
        y[:half].addcmul_(self.cross, x[half:])
        y[half:].addcmul_(self.cross, x[:half])
        w = self.width
        y[1:].addcmul_(self.right[:-1], x[:-1], value=-1)
        y[:-1].addcmul_(self.right[:-1], x[1:], value=-1)
        y[w:].addcmul_(self.down[:-w], x[:-w], value=-1)
        y[:-w].addcmul_(self.down[:-w], x[w:], value=-1)
        return y

    def jacobi(self, r: Tensor) -> Tensor:
        """r with the 2x2 block of each pixel inverted."""
        z = self.inverse * r
        half = len(r) // 2
        z[:half].addcmul_(self.inverse_cross, r[half:])
        z[half:].addcmul_(self.inverse_cross, r[:half])
        return z


def _sum_of_fours(x: Tensor) -> Tensor:
    """(..., H, W) summed over blocks of 2x2, odd sizes padded with 0."""
    x = F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))
    x = x[..., ::2] + x[..., 1::2]
    return x[..., ::2, :] + x[..., 1::2, :]


def _coarser(data: Tensor, right: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The system for flows that are constant over blocks of 2x2, with weights halved as for smooth ones."""
    right = F.pad(right, (0, right.shape[-1] % 2, 0, right.shape[-2] % 2))[..., 1::2]
    down = F.pad(down, (0, down.shape[-1] % 2, 0, down.shape[-2] % 2))[..., 1::2, :]
    return (
        _sum_of_fours(data),
        0.5 * (right[..., ::2, :] + right[..., 1::2, :]),
        0.5 * (down[..., ::2] + down[..., 1::2]),
    )


_DAMPING = 0.7


def _cycle(grids: list[_Grid], r: Tensor) -> Tensor:
    """One V-cycle from zero: a symmetric, rough inverse of the matrix."""
    grid = grids[0]
    x = grid.jacobi(r).mul_(_DAMPING)
    if len(grids) > 1:
        rest = (r - grid.times(x)).view(grid.shape)
        below = _cycle(grids[1:], _sum_of_fours(rest).reshape(-1)).view(grids[1].shape)
        height, width = grid.shape[-2:]
        spread = below.repeat_interleave(2, -1)[..., :width].repeat_interleave(2, -2)[..., :height, :]
        x += spread.reshape(-1)
    return x.add_(grid.jacobi(r - grid.times(x)), alpha=_DAMPING)


def solve(
    data: Tensor, right: Tensor, down: Tensor, side: Tensor, tolerance: float, most: int = 200, multigrid: bool = True
) -> Tensor:
    """Solves the smoothed data equations by conjugate gradients, with a multigrid cycle as preconditioner.

    At each pixel p, with q over its four neighbours and w the weight between them,

        [a c] [x_p]         [w_pq (x_p - x_q)]
        [c b] [y_p] + sum_q [w_pq (y_p - y_q)] = side_p.

    Args:
        data: (3, B, H, W): a, b and c, with a b >= c^2.
        right: (2, B, H, W), >= 0: weights between a pixel and the next, for x and for y; 0 in the last column.
        down: The same downwards; 0 in the last row.
        side: (2, B, H, W).
        tolerance: Stops when the residual of every pair has shrunk to this part of its right side.
        most: Stops after so many cycles in any case.

    Returns:
        (2, B, H, W).
    """
    grids = [_Grid(data, right, down)]
    while multigrid and min(right.shape[-2:]) > 4:
        data, right, down = _coarser(data, right, down)
        grids.append(_Grid(data, right, down))

    def dot(a: Tensor, b: Tensor) -> Tensor:
        products: Tensor = torch.linalg.vecdot(a.view(2, side.shape[1], -1), b.view(2, side.shape[1], -1))
        return products.sum(0)

    def each(scalar: Tensor) -> Tensor:
        return scalar.view(1, -1, 1).expand(2, -1, side[0, 0].numel()).reshape(-1)

    r = side.reshape(-1).clone()
    x = torch.zeros_like(r)
    goal = tolerance**2 * dot(r, r)
    z = _cycle(grids, r) if multigrid else grids[0].jacobi(r)
    direction = z.clone()
    rz = dot(r, z)
    for _ in range(most):
        open_ = dot(r, r) > goal
        if not bool(open_.any()):
            break
        product = grids[0].times(direction)
        # Pairs that are done stay as they are: a pair's flow does not depend on its company.
        alpha = each(torch.where(open_, rz / dot(direction, product).clamp_min(1e-30), 0))
        x.addcmul_(alpha, direction)
        r.addcmul_(alpha, product, value=-1)
        z = _cycle(grids, r) if multigrid else grids[0].jacobi(r)
        last, rz = rz, dot(r, z)
        direction = torch.addcmul(z, each(rz / last.clamp_min(1e-30)), direction)
    return x.view(side.shape)


# Medians


def _median(flow: Tensor) -> Tensor:
    """Median of 5x5, each component by itself."""
    flat = flow.reshape(-1, *flow.shape[-2:])
    if flow.device.type == "cpu":
        done = np.stack([cv2.medianBlur(picture, 5) for picture in flat.numpy()])
        return torch.from_numpy(done).view(flow.shape)
    windows = F.unfold(F.pad(flat[:, None], (2, 2, 2, 2), "replicate"), 5)
    return windows.median(1).values.view(flow.shape)


_HALF, _SIGMA_PLACE, _SIGMA_COLOUR = 7, 7.0, 7.0
_PIXELS_AT_ONCE = 4096
_HALVINGS = 14


def _weighted_median(flow: Tensor, first: Tensor, second: Tensor, guide: Tensor, steep: float) -> Tensor:
    """The flow with each pixel near an edge of it replaced by a weighted median of its 15x15 neighbours."""
    height, width = first.shape[1:]
    chosen = _near_edges(flow, steep)
    if not bool(chosen.any()):
        return flow
    b, y, x = chosen.nonzero(as_tuple=True)
    visible = _visibility(flow, first, second)
    h = _HALF
    stride, page = width + 2 * h, (width + 2 * h) * (height + 2 * h)

    def padded(t: Tensor, fill: float | None = None) -> Tensor:
        if fill is None:
            return F.pad(t, (h, h, h, h), "replicate").flatten(-2)
        return F.pad(t, (h, h, h, h), value=fill).flatten(-2)

    values = padded(flow).flatten(1)
    trust = padded(visible, 0.0).flatten()
    colours = padded(guide).transpose(0, 1).flatten(1)
    reach = torch.arange(-h, h + 1, device=flow.device)
    offset = (reach[:, None] * stride + reach).flatten()
    place = torch.exp(-(reach[:, None] ** 2 + reach**2) / (2 * _SIGMA_PLACE**2)).flatten()
    centre = b * page + (y + h) * stride + x + h
    result = flow.clone()
    for start in range(0, len(centre), _PIXELS_AT_ONCE):
        middle = centre[start : start + _PIXELS_AT_ONCE, None]
        window = middle + offset
        unlike = torch.zeros(window.shape, device=flow.device)
        for channel in colours:
            unlike += (channel.take(window) - channel.take(middle)).square_()
        weights = unlike.div_(-2 * _SIGMA_COLOUR**2 * len(colours)).exp_().mul_(place).mul_(trust.take(window))
        part = slice(start, start + _PIXELS_AT_ONCE)
        for component in range(2):
            found = weighted_median(values[component].take(window), weights)
            result[component, b[part], y[part], x[part]] = found
    return result


def weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """Where the weights of smaller and of larger values balance, by halving the range of the values.

    Args:
        values: (N, K).
        weights: (N, K), >= 0, not all 0.

    Returns:
        (N,), right to 1/16384 of the range of each row.
    """
    low, high = values.amin(1), values.amax(1)
    half = 0.5 * weights.sum(1)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        below = torch.linalg.vecdot((values <= middle[:, None]).to(weights.dtype), weights)
        less = below < half
        low, high = torch.where(less, middle, low), torch.where(less, high, middle)
    return 0.5 * (low + high)


def _near_edges(flow: Tensor, steep: float) -> Tensor:
    """(B, H, W), true within two pixels of thinned Sobel edges of the flow that are at least `steep` pixels a pixel."""
    p = F.pad(flow, (1, 1, 1, 1), "replicate")
    across = p[..., 2:] - p[..., :-2]
    gx = (across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]) / 8
    along = p[..., 2:, :] - p[..., :-2, :]
    gy = (along[..., :-2] + 2 * along[..., 1:-1] + along[..., 2:]) / 8
    size = gx * gx + gy * gy
    q = F.pad(size, (1, 1, 1, 1))
    ridge_x = (gx.abs() >= gy.abs()) & (size >= q[..., 1:-1, :-2]) & (size > q[..., 1:-1, 2:])
    ridge_y = (gy.abs() >= gx.abs()) & (size >= q[..., :-2, 1:-1]) & (size > q[..., 2:, 1:-1])
    edge = (size > 4 * size.mean((-2, -1), keepdim=True)) & (size > max(steep, 1e-3) ** 2) & (ridge_x | ridge_y)
    return F.max_pool2d(edge.any(0).float()[:, None], 5, 1, 2)[:, 0] > 0


def _visibility(flow: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """(B, H, W) in 0..1: small where the flow runs together and the pictures differ, as where something is hidden."""
    p = F.pad(flow, (1, 1, 1, 1), "replicate")
    spread = 0.5 * (p[0, :, 1:-1, 2:] - p[0, :, 1:-1, :-2] + p[1, :, 2:, 1:-1] - p[1, :, :-2, 1:-1])
    together = spread.clamp_max_(0)
    warped, _, _, inside = sample(second, flow)
    unlike = (warped - first) * inside
    return torch.exp(-(together**2) / (2 * 0.3**2) - unlike**2 / (2 * 20**2)).clamp_min_(1e-6)
