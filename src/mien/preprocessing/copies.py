"""Steps that make training copies of a clip: several magnification factors and several shares of its frames.

STRCN trains on fifty copies of each clip: magnified by 5 to 14, with 100 to 60 % of its frames (section III-E). Copy 0
is always the clip as it is used for testing: magnified by 8, with all its frames. The copies of a clip depend on its
own frames only.

Source: Xia et al., IEEE TMM 2020, section III-E. The frames to remove are drawn at random for each clip and copy, as
many as the share says; the released code removes one. The draw follows from the content of the clip's files, so it is
the same on every machine and whatever the files are called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mien.io.opencv import cv2
from mien.motion.apex import apex_curve
from mien.motion.flow import optical_flows
from mien.motion.interpolate import kept_indices, resample, temporal_jitter, tim
from mien.motion.magnify import Magnifier
from mien.preprocessing.base import Array, Context
from mien.preprocessing.cache import source_digest
from mien.preprocessing.steps import as_grey, band

ALPHAS = (8.0, 5.0, 6.0, 7.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0)
"""Magnification factors of the copies; the first is used for testing."""

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6)
"""Fractions of the frames that the copies keep; the first is used for testing."""

CUT_OFFS = (0.4, 0.05)
"""The paper's cut-offs of the magnified band, the upper first; read as filter coefficients, unless as hertz."""

FLOW_BATCH = 16
"""Pairs of frames for which flow is computed at a time."""


def magnified_small(
    frames: Array,
    context: Context,
    *,
    alphas: Sequence[float],
    size: Sequence[int],
    exaggeration: float = 2.0,
    hertz: bool = False,
) -> Array:
    """Step: magnify a clip by each factor and reduce each frame at once.

    Args:
        frames: (T, H, W, 3) RGB, uint8.
        context: The context of the step.
        alphas: Magnification factors.
        size: Height and width of the result.
        exaggeration: See `mien.motion.magnify.level_gains`.
        hertz: Whether the band is 0.05 to 0.4 Hz instead of the coefficients of these numbers.

    Returns:
        (A, T, height, width, 3) uint8.
    """
    height, width = size
    result = np.empty((len(alphas), len(frames), height, width, 3), np.uint8)
    magnifier = _magnifier(frames, context, alphas, exaggeration, hertz)
    for t, frame in enumerate(frames):
        for place, picture in enumerate(magnifier.push(frame)):
            result[place, t] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return result


def appearance_copies(
    clips: Array, context: Context, *, shares: Sequence[float], n: int, method: Literal["linear", "tim"]
) -> Array:
    """Step: bring each magnified clip, with each share of its frames, to n frames.

    Args:
        clips: (A, T, h, w, C) uint8, from `magnified_small`.
        context: The context of the step.
        shares: Fractions of the frames to keep.
        n: Number of frames of each copy.
        method: Interpolation over time, "linear" or "tim".

    Returns:
        (A * S, n, h, w, C) uint8. The share varies fastest, so that copy 0 has the first factor and the first share.
    """
    length, draw = clips.shape[1], _draw(context)
    result = np.empty((len(clips) * len(shares), n, *clips.shape[2:]), np.uint8)
    for place, (clip, share) in enumerate((c, s) for c in clips for s in shares):
        kept = clip[_kept(length, share, draw, place)].astype(np.float32)
        copy = tim(kept, n) if method == "tim" and len(kept) > 1 else resample(kept, n, "linear")
        result[place] = np.clip(np.round(copy), 0, 255)
    context.rows = context.apex = None
    return result


def jitter_copies(frames: Array, context: Context, *, size: Sequence[int], copies: int, n: int) -> Array:
    """Step: reduce a clip to small grey frames, and make copies of it by temporal jittering.

    Args:
        frames: (T, H, W, 3) RGB, uint8.
        context: The context of the step.
        size: Height and width of the result.
        copies: Number of copies. Copy 0 is not jittered, only interpolated to n frames.
        n: Number of frames of each copy.

    Returns:
        (copies, n, height, width, 1) uint8.
    """
    height, width = size
    small = np.stack([cv2.resize(as_grey(f), (width, height), interpolation=cv2.INTER_AREA) for f in frames])
    result = np.empty((copies, n, height, width, 1), np.uint8)
    draw = _draw(context)
    for place in range(copies):
        full = small.astype(np.float32)
        copy = resample(full, n, "linear") if place == 0 else temporal_jitter(full, _random(draw, place), n)
        result[place] = np.clip(np.round(copy), 0, 255)[..., None]
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
    exaggeration: float = 2.0,
    hertz: bool = False,
) -> Array:
    """Step: compute the flow from onset to apex for each magnification factor and share of frames.

    Args:
        frames: (T, H, W, 3) RGB, uint8.
        context: The context of the step.
        alphas: Magnification factors; 0 is no magnification.
        shares: Fractions of the frames to keep.
        method: Flow method.
        apex: "given" uses the annotated apex, or the nearest frame that is kept. "found" detects it by equation 5 in
            the frames of the magnified clip that are kept.
        size: Height and width of the result. It is reduced after the flow is computed; displacements stay in pixels of
            the aligned face.
        exaggeration: See `mien.motion.magnify.level_gains`.
        hertz: Whether the band is 0.05 to 0.4 Hz instead of the coefficients of these numbers.

    Returns:
        (A * S, 2, height, width) in pixels, x then y. The share varies fastest.
    """
    length = len(frames)

    def magnifier() -> Magnifier:
        return _magnifier(frames, context, alphas, exaggeration, hertz)

    apex_rows = _apex_rows(frames, context, magnifier, shares, apex)
    context.use_apex(apex_rows[0][0])
    # Many copies have the same apex. The flow of each pair of frames is computed once.
    pairs = sorted({(a, row) for a in range(len(alphas)) for row in apex_rows[a]})
    later: dict[tuple[int, int], NDArray[np.uint8]] = {}
    needed = {row for _, row in pairs}
    at_hand = magnifier()
    for t in range(length):
        magnified = at_hand.push(frames[t])
        if t in needed:
            later.update({(a, t): as_grey(magnified[a]) for a, row in pairs if row == t})
    onset = as_grey(frames[0])
    flows: dict[tuple[int, int], NDArray[np.float32]] = {}
    for start in range(0, len(pairs), FLOW_BATCH):
        batch = pairs[start : start + FLOW_BATCH]
        seconds = np.stack([later[pair] for pair in batch])
        flows.update(zip(batch, optical_flows(np.broadcast_to(onset, seconds.shape), seconds, method), strict=True))
    height, width = size
    result = np.empty((len(alphas) * len(shares), 2, height, width), np.float32)
    place = 0
    for a in range(len(alphas)):
        for row in apex_rows[a]:
            flow = flows[a, row]
            if flow.shape[:2] != (height, width):
                flow = np.asarray(cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA))
            result[place] = flow.transpose(2, 0, 1)
            place += 1
    return result


def _apex_rows(
    frames: Array, context: Context, magnifier: Callable[[], Magnifier], shares: Sequence[float], apex: str
) -> list[list[int]]:
    """Return the row of the apex of each copy, by factor and share."""
    length, draw, factors = len(frames), _draw(context), len(magnifier().alphas)
    annotated = context.apex if apex == "given" else None
    if annotated is None:
        context.interval_source = "detected"
        curves = _curves(frames, magnifier())
    rows: list[list[int]] = []
    for a in range(factors):
        of_alpha = []
        for s, share in enumerate(shares):
            kept = _kept(length, share, draw, a * len(shares) + s)[1:]
            if annotated is not None:
                of_alpha.append(int(kept[np.argmin(np.abs(kept - annotated))]))
            else:
                of_alpha.append(int(kept[np.argmax(curves[a][kept])]))
        rows.append(of_alpha)
    return rows


def _curves(frames: Array, magnifier: Magnifier) -> NDArray[np.float64]:
    """Return the curve of equation 5 (see `apex_curve`) of each magnified clip: (A, T)."""
    first = as_grey(frames[0])
    curves = np.zeros((len(magnifier.alphas), len(frames)))
    for t, frame in enumerate(frames):
        for a, picture in enumerate(magnifier.push(frame)):
            curves[a, t] = apex_curve(np.stack([first, as_grey(picture)]))[1]
    return curves


def _magnifier(frames: Array, context: Context, alphas: Sequence[float], exaggeration: float, hertz: bool) -> Magnifier:
    height, width = frames.shape[1:3]
    r1, r2 = band(context, *CUT_OFFS, hertz)
    return Magnifier(height, width, True, alphas=tuple(alphas), r1=r1, r2=r2, exaggeration=exaggeration)


def _draw(context: Context) -> int:
    """Return what random choices about a clip are seeded with: a number that follows from its frames."""
    return int(source_digest(context.clip), 16)


def _random(draw: int, copy: int) -> np.random.Generator:
    return np.random.default_rng([draw, copy])


def _kept(length: int, share: float, draw: int, copy: int) -> NDArray[Any]:
    """Return the frames that a copy of a clip keeps."""
    if share >= 1:
        return np.arange(length)
    return kept_indices(length, 1 - share, _random(draw, copy))
