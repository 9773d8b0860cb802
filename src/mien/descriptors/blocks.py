"""Parts shared by the texture descriptors: checks of clips, and histograms over a grid of blocks that may overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.motion.levels import as_levels

Array = NDArray[Any]
Grid = tuple[int, int, int]
"""Numbers of blocks down the face, across it, and over time."""

LEVELS = 1 << 19
"""Floating-point clips are rounded to this many steps of their largest value, so that comparisons of sums are exact."""


def grey_clip(clip: Array, name: str, least: tuple[int, int, int] = (1, 1, 1), why: str = "") -> Array:
    """Check a grey clip and return it as integers, or as float64 with integer values.

    Args:
        clip: (T, H, W), any real type. Floating-point clips are rounded to 1 / `LEVELS` of their largest value; those
            in 0..1 are first brought to 0..255 (`mien.motion.levels.as_levels`).
        name: Name of the descriptor, for the error.
        least: Minimum numbers of frames, rows and columns.
        why: The parameter that requires them ("radius=3"), for the error.

    Raises:
        MienError: A colour or constant clip, NaN, or too few frames, rows or columns.
    """
    clip = np.asarray(clip)
    if clip.ndim == 4:
        raise MienError(
            f"clip has the shape {clip.shape}: colour, but {name} needs grey levels.",
            "grey frames (T, H, W).",
            "`np.stack([mien.preprocessing.steps.as_grey(f) for f in clip])`, or one channel, `clip[..., 1]`.",
        )
    if clip.ndim != 3:
        raise MienError(f"clip has the shape {clip.shape}.", f"(T, H, W) for {name}.", "`clip[None]` for one frame.")
    return _levels(clip, name, least, why)


def colour_clip(clip: Array, name: str, least: tuple[int, int, int] = (1, 1, 1), why: str = "") -> Array:
    """Check a colour clip (T, H, W, 3); otherwise as `grey_clip`.

    Raises:
        MienError: A grey or constant clip, NaN, or too few frames, rows or columns.
    """
    clip = np.asarray(clip)
    if clip.ndim != 4 or clip.shape[-1] != 3:
        raise MienError(
            f"clip has the shape {clip.shape}: no colour, but {name} needs it.",
            "RGB frames (T, H, W, 3).",
            "a colour clip, or `lbp_top` for grey ones.",
        )
    return _levels(clip, name, least, why)


def _levels(clip: Array, name: str, least: tuple[int, int, int], why: str) -> Array:
    for length, fewest, what in zip(clip.shape, least, ("frames", "rows", "columns"), strict=False):
        if length < fewest:
            raise MienError(
                f"clip has {length} {what}{f', too few for {why}' if why else ''}.",
                f"at least {fewest} for {name}.",
                "more frames (`resample`), a larger face (`size`), or a smaller radius, mask or grid of blocks.",
            )
    if clip.dtype.kind not in "uif":
        raise MienError(f"clip holds {clip.dtype} values.", "numbers.", "`clip.astype(np.uint8)`.")
    if clip.dtype.kind == "f" and not np.isfinite(clip).all():
        bad = int(np.argmax(~np.isfinite(clip).reshape(len(clip), -1).all(1)))
        raise MienError(
            f"clip holds NaN or infinity (frame {bad}).", "finite numbers.", "`np.nan_to_num(clip)`, or another clip."
        )
    if clip.min() == clip.max():
        raise MienError(
            f"clip is constant: every value is {clip.flat[0]}.",
            f"a clip with texture for {name}.",
            "look at the frames: `mien prepare VIDEO --pictures look`.",
        )
    if clip.dtype.kind == "f":
        clip = unit_range_as_levels(clip)
        # A power of two, so that 8-bit levels stored as floating point keep their exact values.
        step = 2.0 ** np.floor(np.log2(LEVELS / np.abs(clip).max()))
        return np.asarray(np.round(clip.astype(np.float64) * step))
    if clip.dtype.itemsize > 2 and np.abs(clip.astype(np.float64)).max() >= LEVELS:
        return _levels(clip.astype(np.float64), name, least, why)
    return clip


def unit_range_as_levels(clip: Array) -> Array:
    """Bring a clip of uint16, or of floating point in 0..1, to the scale 0..255; return other clips unchanged."""
    in_0_to_1 = clip.dtype.kind == "f" and clip.min() >= -0.5 and clip.max() <= 1.5
    return as_levels(clip)[0] if in_0_to_1 or clip.dtype == np.uint16 else clip


def spans(length: int, n: int, overlap: float = 0.0) -> list[tuple[int, int]]:
    """Return where n equal blocks start and stop on a line; the first starts at 0, the last stops at `length`.

    Args:
        length: Number of pixels (or frames) on the line.
        n: Number of blocks.
        overlap: Fraction of a block that its neighbour covers too, 0 <= overlap < 1.

    Example:
        >>> from mien.descriptors.blocks import spans
        >>> spans(10, 2), spans(10, 3, overlap=0.5)
        ([(0, 5), (5, 10)], [(0, 5), (2, 8), (5, 10)])
    """
    block = length / (1 + (n - 1) * (1 - overlap))
    step = block * (1 - overlap)
    return [(round(i * step), round(i * step + block)) for i in range(n)]


def check_grid(blocks: Sequence[int], overlap: float, n: int = 3) -> tuple[int, ...]:
    """Check a grid of blocks and return it as integers.

    Raises:
        MienError: Not n whole numbers >= 1, or an overlap outside [0, 1).
    """
    if len(blocks) != n or any(int(b) != b or b < 1 for b in blocks):
        raise MienError(f"blocks is {tuple(blocks)}.", f"{n} whole numbers from 1.", f"`blocks={(5, 5, 1)[:n]}`.")
    if not 0 <= overlap < 1:
        raise MienError(f"overlap is {overlap}.", "a fraction from 0 to below 1.", "`overlap=0.5`.")
    return tuple(int(b) for b in blocks)


class BlockCounts:
    """Counts of codes in each block of a field (t, y, x), which is added piece by piece along t.

    Blocks may overlap. The field is divided into cells at all edges of blocks, each cell is counted once, and a block
    is the sum of its cells.

    Args:
        shape: (t, y, x) of the whole field.
        blocks: Numbers of blocks down, across and over time.
        overlap: Fraction of a block that its neighbour covers too.
        n_codes: Codes are 0 to n_codes - 1.
        weighted: Whether to sum weights instead of counting.

    Raises:
        MienError: More blocks than frames, rows or columns.
    """

    def __init__(
        self, shape: tuple[int, int, int], blocks: Grid, overlap: float, n_codes: int, weighted: bool = False
    ) -> None:
        rows, columns, times = blocks
        for axis, (length, n) in enumerate(zip(shape, (times, rows, columns), strict=True)):
            if any(stop <= start for start, stop in spans(length, n, overlap)) or length < n:
                raise MienError(
                    f"blocks={blocks} cuts {length} {('frames', 'rows', 'columns')[axis]} into {n}.",
                    "at least one of them for each block, not counting the borders that the radius takes.",
                    "fewer blocks, or a larger clip.",
                )
        self._edges = [spans(length, n, overlap) for length, n in zip(shape, (times, rows, columns), strict=True)]
        cuts = [sorted({edge for span in each for edge in span}) for each in self._edges]
        self._cuts = cuts
        cells = [len(cut) - 1 for cut in cuts]
        cell_y, cell_x = (np.repeat(np.arange(cells[a]), np.diff(cuts[a])) for a in (1, 2))
        self._n_codes = n_codes
        self._base = ((cell_y[:, None] * cells[2] + cell_x[None, :]) * n_codes).astype(np.intp)
        self._counts = np.zeros((cells[0], cells[1], cells[2], n_codes), np.float64 if weighted else np.int64)

    def add(self, first: int, codes: Array, weights: Array | None = None) -> None:
        """Count the codes (t, y, x) of consecutive frames, the first with index `first`."""
        stop = first + len(codes)
        for cell, (start, end) in enumerate(zip(self._cuts[0][:-1], self._cuts[0][1:], strict=True)):
            low, high = max(start, first), min(end, stop)
            if low >= high:
                continue
            here = slice(low - first, high - first)
            places = np.add(self._base, codes[here], dtype=np.intp).ravel()
            size = self._counts[cell].size
            cell_weights = None if weights is None else weights[here].ravel()
            self._counts[cell] += (
                np.bincount(places, cell_weights, size)
                .reshape(self._counts[cell].shape)
                .astype(self._counts.dtype, copy=False)
            )

    def histograms(self) -> Array:
        """Return the counts of all blocks: (times, rows, columns, n_codes)."""
        counts = self._counts
        for axis in range(3):
            cut = {edge: i for i, edge in enumerate(self._cuts[axis])}
            parts = [counts.take(range(cut[start], cut[stop]), axis).sum(axis) for start, stop in self._edges[axis]]
            counts = np.stack(parts, axis)
        return counts


def shares(counts: Array) -> NDArray[np.float64]:
    """Divide histograms along the last axis by their sums; empty ones stay 0."""
    total = counts.sum(-1, keepdims=True)
    return np.asarray(counts / np.where(total > 0, total, 1), np.float64)
