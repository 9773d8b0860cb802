"""Medians of a flow: the plain one, and the one that weighs neighbours near edges of the flow."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from mien.motion.classic_nl.step import sample


def plain_median(flow: Tensor) -> Tensor:
    """Median of 5x5, each component by itself."""
    flat = flow.reshape(-1, *flow.shape[-2:])
    if flow.device.type == "cpu":
        done = np.stack([cv2.medianBlur(picture, 5) for picture in flat.numpy()])
        return torch.from_numpy(done).view(flow.shape)
    return median_of_windows(flat).view(flow.shape)


def median_of_windows(pictures: Tensor) -> Tensor:
    """Median of 5x5 of pictures (N, H, W), borders continued, without OpenCV: on any device."""
    windows = F.unfold(F.pad(pictures[:, None], (2, 2, 2, 2), "replicate"), 5)
    return windows.median(1).values.view(pictures.shape)


_HALF, _SIGMA_PLACE, _SIGMA_COLOUR = 7, 7.0, 7.0
_SIDE = 2 * _HALF + 1
_HALVINGS = 14
_STEPS = 65535
"""What is sorted is rounded to this part: a flow of its range in the picture, a weight of the largest in its window."""


def smoothed_at_edges(flow: Tensor, first: Tensor, second: Tensor, guide: Tensor, steep: float) -> Tensor:
    """The flow with each pixel near an edge of it replaced by a weighted median of its 15x15 neighbours."""
    chosen = _near_edges(flow, steep)
    if not bool(chosen.any()):
        return flow
    medians = medians_by_sorting if flow.device.type == "cpu" else medians_by_halving
    result = flow.clone()
    result[:, chosen] = medians(flow, _visibility(flow, first, second), guide, chosen)
    return result


def _at_place() -> NDArray[np.float32]:
    """(225,): what a neighbour weighs by its distance."""
    away = np.arange(-_HALF, _HALF + 1, dtype=np.float32) ** 2
    return np.asarray(np.exp(-(away[:, None] + away).ravel() / (2 * _SIGMA_PLACE**2)), np.float32)


def medians_by_sorting(flow: Tensor, visible: Tensor, guide: Tensor, chosen: Tensor, at_once: int = 512) -> Tensor:
    """Weighted medians of 15x15 neighbours, where NumPy sorts many short rows with the vectors of a processor.

    A value and its weight are the halves of one number of 32 bits, so that weights need no sorting of their own.

    Args:
        flow: (2, B, H, W) pixels.
        visible: (B, H, W), > 0: what each pixel weighs.
        guide: (B, C, H, W): neighbours of other levels weigh less.
        chosen: (B, H, W), true at N pixels.
        at_once: Pixels whose windows are in memory together.

    Returns:
        (2, N) pixels.
    """

    def windows(picture: NDArray[Any], mode: Literal["edge", "constant"]) -> NDArray[Any]:
        beyond = [(0, 0)] * (picture.ndim - 2) + [(_HALF, _HALF)] * 2
        return sliding_window_view(np.pad(picture, beyond, mode), (_SIDE, _SIDE), axis=(-2, -1))

    lowest = flow.amin((2, 3), keepdim=True)
    step = (flow.amax((2, 3), keepdim=True) - lowest).clamp_min_(1e-30) / _STEPS
    rounded = ((flow - lowest) / step).round_().numpy().astype(np.uint32)
    values, trust = windows(rounded << 16, "edge"), windows(visible.numpy(), "constant")
    colours = windows(guide.numpy().swapaxes(0, 1), "edge")
    place, chosen_at = _at_place(), chosen.numpy().nonzero()
    medians = np.empty((2, len(chosen_at[0])), np.float32)
    for start in range(0, medians.shape[1], at_once):
        part = slice(start, start + at_once)
        where = tuple(axis[part] for axis in chosen_at)
        unlike = np.zeros((len(where[0]), _SIDE**2), np.float32)
        for channel in colours:
            window = channel[where].reshape(unlike.shape)
            unlike += np.square(window - window[:, _SIDE**2 // 2, None])
        unlike *= -1 / (2 * _SIGMA_COLOUR**2 * len(colours))
        weights = np.exp(unlike, out=unlike)
        weights *= place
        weights *= trust[where].reshape(unlike.shape)
        weights *= _STEPS / weights.max(1, keepdims=True)
        whole = weights.astype(np.uint32)
        for component in range(2):
            both = values[component][where].reshape(unlike.shape) | whole
            both.sort(axis=1)
            below = np.cumsum(both & _STEPS, axis=1, dtype=np.uint32)
            middle = (below >= (below[:, -1:] + 1) // 2).argmax(1)
            medians[component, part] = both[np.arange(len(both)), middle] >> 16
    scale = step[:, :, 0, 0].numpy()[:, chosen_at[0]]
    return torch.from_numpy(medians * scale + lowest[:, :, 0, 0].numpy()[:, chosen_at[0]])


def medians_by_halving(flow: Tensor, visible: Tensor, guide: Tensor, chosen: Tensor, at_once: int = 4096) -> Tensor:
    """The same on any device, by halving the range of the values; see `medians_by_sorting`."""
    h = _HALF
    height, width = visible.shape[1:]
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
    place = torch.from_numpy(_at_place()).to(flow.device)
    b, y, x = chosen.nonzero(as_tuple=True)
    centre = b * page + (y + h) * stride + x + h
    medians = flow.new_empty(2, len(centre))
    for start in range(0, len(centre), at_once):
        middle = centre[start : start + at_once, None]
        window = middle + offset
        unlike = torch.zeros(window.shape, device=flow.device)
        for channel in colours:
            unlike += (channel.take(window) - channel.take(middle)).square_()
        weights = unlike.div_(-2 * _SIGMA_COLOUR**2 * len(colours)).exp_().mul_(place).mul_(trust.take(window))
        for component in range(2):
            found = weighted_median(values[component].take(window), weights)
            medians[component, start : start + at_once] = found
    return medians


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
