"""Random changes of training batches, and fixed views of a clip at prediction time.

An augmentation takes a batch of input (B, ...) and returns one of the same shape. Random numbers come from torch's
global generator.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

Augmentation = Callable[[Tensor], Tensor]
Mirror = Callable[[Tensor], Tensor]


def mirror_flow(x: Tensor) -> Tensor:
    """Return the flow of the mirrored face: columns reversed, horizontal motion negated, strain kept.

    Args:
        x: (..., C, H, W), channels u, v[, strain]; 0 is no motion.

    Returns:
        The same shape and range; applied twice, it returns the input.

    Example:
        >>> mirror_flow(torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])).tolist()
        [[[-2.0, -1.0]], [[4.0, 3.0]]]
    """
    flipped = x.flip(-1).clone()
    flipped[..., 0, :, :] *= -1
    return flipped


def random_shift(most: int) -> Augmentation:
    """Return an augmentation that shifts each clip by up to `most` pixels along both axes; edge pixels are repeated.

    Args:
        most: Largest shift in pixels; all whole numbers from -most to most are equally likely.
    """

    def shifted(x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        padded = nn.functional.pad(x, (most, most, most, most), mode="replicate")
        corners = torch.randint(0, 2 * most + 1, (len(x), 2)).tolist()
        return torch.stack([p[:, r : r + height, c : c + width] for p, (r, c) in zip(padded, corners, strict=True)])

    return shifted


def shifted_views(most: int) -> list[Mirror]:
    """Return views of a clip for prediction: unchanged, and shifted by up to `most` pixels along one axis.

    Args:
        most: Largest shift in whole pixels; 0 returns an empty list.
    """

    def moved(x: Tensor, down: int, right: int) -> Tensor:
        height, width = x.shape[-2:]
        padded = nn.functional.pad(x, (most, most, most, most), mode="replicate")
        return padded[..., most - down : most - down + height, most - right : most - right + width]

    by = [0, *(sign * n for n in range(1, most + 1) for sign in (1, -1))]
    places = [(0, 0), *((n, 0) for n in by[1:]), *((0, n) for n in by[1:])]
    return [partial(moved, down=down, right=right) for down, right in places] if most else []


def mirror_frames(x: Tensor) -> Tensor:
    """Return frames (..., H, W, C) of the mirrored face: columns reversed."""
    return x.flip(-2)


def shift_frames(most: int) -> Augmentation:
    """Return an augmentation of frames (B, ..., H, W, C) like `random_shift`; all frames of a clip shift alike."""

    def shifted(x: Tensor) -> Tensor:
        height, width = x.shape[-3:-1]
        out = torch.empty_like(x)
        moves = torch.randint(-most, most + 1, (len(x), 2)).to(x.device)
        rows = (torch.arange(height, device=x.device) + moves[:, :1]).clamp_(0, height - 1)
        columns = (torch.arange(width, device=x.device) + moves[:, 1:]).clamp_(0, width - 1)
        for clip, moved, r, c in zip(x, out, rows, columns, strict=True):
            moved.copy_(clip.index_select(-3, r).index_select(-2, c))
        return out

    return shifted


def random_strength(spread: float) -> Augmentation:
    """Return an augmentation that multiplies the motion of each clip by a random factor.

    Args:
        spread: Standard deviation of the factor's natural logarithm.
    """

    def stronger(x: Tensor) -> Tensor:
        factor = torch.exp(spread * torch.randn(len(x), *[1] * (x.dim() - 1)))
        return x * factor.to(x.device)

    return stronger


def random_patch(side: int) -> Augmentation:
    """Return an augmentation that sets a random square of each clip to 0; it may lie partly outside the picture.

    Args:
        side: Side of the square in pixels.
    """

    def patched(x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        corners = torch.stack([torch.randint(-side + 1, n, (len(x), 1)) for n in (height, width)])
        rows, columns = ((torch.arange(n) - c) for n, c in zip((height, width), corners, strict=True))
        hidden = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
        return x.masked_fill(hidden[:, None].to(x.device), 0)

    return patched


def in_turn(*steps: Augmentation) -> Augmentation | None:
    """Return augmentations applied one after another; None for none."""
    if not steps:
        return None

    def all_of_them(x: Tensor) -> Tensor:
        for step in steps:
            x = step(x)
        return x

    return all_of_them


def vary_frames(shift: int, strength: float) -> Augmentation | None:
    """Return `shift_frames` and `random_strength` in turn, each left out where its argument is 0; None for neither."""
    return in_turn(*([shift_frames(shift)] if shift else []), *([random_strength(strength)] if strength else []))
