"""Steps that make the training copies of a clip: several magnifications, several shares of its frames.

STRCN trains on fifty copies of each clip: magnified by 5 to 14, with 100 to 60 % of its frames (section III-E). Copy 0
is always the clip as it is tested: magnified by 8, with all its frames. A copy depends on the clip's frames alone.

Source: Xia et al., IEEE TMM 2020, section III-E; the frames to remove are drawn by chance, as many as the share says
(the released code removes one).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.motion.apex import apex_curve
from mien.motion.flow import optical_flows
from mien.motion.interpolate import kept_indices, resample, temporal_jitter, tim
from mien.motion.magnify import Magnifier
from mien.preprocessing.base import Array, Context
from mien.preprocessing.steps import as_grey

ALPHAS = (8.0, 5.0, 6.0, 7.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0)
"""Magnifications of the copies; the first is that of the test."""

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6)
"""Shares of frames of the copies; the first is that of the test."""

FLOW_BATCH = 16


def magnified_small(frames: Array, context: Context, *, alphas: Sequence[float], size: Sequence[int]) -> Array:
    """Step: a clip (T, H, W, 3) magnified by every alpha, each frame made small at once: (A, T, height, width, 3)."""
    height, width = size
    result = np.empty((len(alphas), len(frames), height, width, 3), np.uint8)
    magnifier = _magnifier(frames, alphas)
    for t, frame in enumerate(frames):
        for place, picture in enumerate(magnifier.push(frame)):
            result[place, t] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return result


def appearance_copies(
    clips: Array, context: Context, *, shares: Sequence[float], n: int, method: Literal["linear", "tim"]
) -> Array:
    """Step: each magnified clip of (A, T, h, w, C) with each share of its frames, brought to n: (A * S, n, h, w, C).

    Copies run over the shares first, so that copy 0 has the first alpha and the first share.
    """
    length = clips.shape[1]
    result = np.empty((len(clips) * len(shares), n, *clips.shape[2:]), np.uint8)
    for place, (clip, share) in enumerate((c, s) for c in clips for s in shares):
        kept = clip[_kept(length, share, place)].astype(np.float32)
        made = tim(kept, n) if method == "tim" and len(kept) > 1 else resample(kept, n, "linear")
        result[place] = np.clip(np.round(made), 0, 255)
    context.rows = context.apex = None
    return result


def jitter_copies(frames: Array, context: Context, *, size: Sequence[int], copies: int, n: int) -> Array:
    """Step: a clip (T, H, W, 3) as grey, small, and jittered over time: (copies, n, height, width, 1).

    Copy 0 is not jittered, only brought to n frames.
    """
    height, width = size
    small = np.stack([cv2.resize(as_grey(f), (width, height), interpolation=cv2.INTER_AREA) for f in frames])
    result = np.empty((copies, n, height, width, 1), np.uint8)
    for place in range(copies):
        full = small.astype(np.float32)
        made = resample(full, n, "linear") if place == 0 else temporal_jitter(full, np.random.default_rng(place), n)
        result[place] = np.clip(np.round(made), 0, 255)[..., None]
    context.rows = context.apex = None
    return result


def geometry_copies(
    frames: Array,
    context: Context,
    *,
    alphas: Sequence[float],
    shares: Sequence[float],
    method: str,
    apex: Literal["given", "found"],
    size: Sequence[int],
) -> Array:
    """Step: flow from onset to apex for each magnification and share of frames: (A * S, 2, height, width).

    Args:
        alphas: Magnifications; 0 is none.
        shares: Shares of frames.
        method: Flow method.
        apex: "given" keeps the annotated apex, or the nearest frame that is left; "found" takes equation 5 on what is
            left of the magnified clip.
        size: Height and width of the result; made small after the flow, in pixels of the aligned face all the same.
    """
    length = len(frames)
    wanted = _apex_rows(frames, context, alphas, shares, apex)
    # Many copies share their apex: each pair of frames is worked out once.
    pairs = sorted({(a, row) for a in range(len(alphas)) for row in wanted[a]})
    later: dict[tuple[int, int], NDArray[np.uint8]] = {}
    needed = {row for _, row in pairs}
    magnifier = _magnifier(frames, alphas)
    for t in range(length):
        made = magnifier.push(frames[t])
        if t in needed:
            later.update({(a, t): as_grey(made[a]) for a, row in pairs if row == t})
    onset = as_grey(frames[0])
    flows: dict[tuple[int, int], NDArray[np.float32]] = {}
    for start in range(0, len(pairs), FLOW_BATCH):
        some = pairs[start : start + FLOW_BATCH]
        seconds = np.stack([later[pair] for pair in some])
        flows.update(zip(some, optical_flows(np.broadcast_to(onset, seconds.shape), seconds, method), strict=True))
    height, width = size
    result = np.empty((len(alphas) * len(shares), 2, height, width), np.float32)
    place = 0
    for a in range(len(alphas)):
        for row in wanted[a]:
            flow = flows[a, row]
            if flow.shape[:2] != (height, width):
                flow = np.asarray(cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA))
            result[place] = flow.transpose(2, 0, 1)
            place += 1
    return result


def _apex_rows(
    frames: Array, context: Context, alphas: Sequence[float], shares: Sequence[float], apex: str
) -> list[list[int]]:
    """The apex row of every copy, by magnification and share."""
    length = len(frames)
    given = context.apex if apex == "given" else None
    if given is None:
        context.interval_source = "detected"
        curves = _curves(frames, alphas)
    rows: list[list[int]] = []
    for a in range(len(alphas)):
        of_alpha = []
        for s, share in enumerate(shares):
            kept = _kept(length, share, a * len(shares) + s)[1:]
            if given is not None:
                of_alpha.append(int(kept[np.argmin(np.abs(kept - given))]))
            else:
                of_alpha.append(int(kept[np.argmax(curves[a][kept])]))
        rows.append(of_alpha)
    return rows


def _curves(frames: Array, alphas: Sequence[float]) -> NDArray[np.float64]:
    """Equation 5's spread of the difference from the first frame, (A, T), of every magnified clip."""
    magnifier = _magnifier(frames, alphas)
    first = as_grey(frames[0])
    curves = np.zeros((len(alphas), len(frames)))
    for t, frame in enumerate(frames):
        for a, picture in enumerate(magnifier.push(frame)):
            curves[a, t] = apex_curve(np.stack([first, as_grey(picture)]))[1]
    return curves


def _magnifier(frames: Array, alphas: Sequence[float]) -> Magnifier:
    height, width = frames.shape[1:3]
    return Magnifier(height, width, True, alphas=tuple(alphas))


def _kept(length: int, share: float, copy: int) -> NDArray[Any]:
    """The frames that a copy keeps: drawn by the copy's own number, the same for every clip of this length."""
    if share >= 1:
        return np.arange(length)
    return kept_indices(length, 1 - share, np.random.default_rng(copy))
