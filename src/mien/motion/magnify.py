"""Eulerian video magnification: movements too small to see, made larger.

The method filters every band of a Laplacian pyramid over time, multiplies it by a gain of its own and adds the rebuilt
picture to the frame. Filter, pyramid and gains are linear, so the order is free. With G_l the l-th Gaussian level of
the filtered frame, U the step to the next finer level and g_l the gain of band l,

    sum_l g_l U^l (G_l - U G_(l+1)) = sum_l (g_l - g_(l-1)) U^l G_l,

and as the finest band is never magnified, G_0 drops out: the filter runs on a quarter of the pixels, no band is ever
built, and several factors differ only in the numbers g_l.

Source: Wu, Rubinstein, Shih, Guttag, Durand and Freeman, "Eulerian video magnification for revealing subtle changes in
the world", ACM Transactions on Graphics 31(4), 2012; the settings of its authors' released code with recursive filters.
STRCN (Xia et al. 2020), section III-B2 and equation 3, takes it with factor 8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError

Floats = NDArray[np.float32]

_YIQ_TO_RGB = np.array([[1.0, 0.956, 0.621], [1.0, -0.272, -0.647], [1.0, -1.106, 1.703]])
"""NTSC colours; the inverse gives luminance weights .299, .587, .114."""


def coefficients(low_hz: float, high_hz: float, fps: float) -> tuple[float, float]:
    """The filter coefficients for a band in hertz, which r1 and r2 alone do not fix: their band moves with the rate.

    Args:
        low_hz: Cut-off (-3 dB) of the slower of the two low-passes whose difference is the band-pass.
        high_hz: Cut-off of the faster one; below half the frame rate.
        fps: Frames per second.

    Returns:
        r1 (from `high_hz`) and r2 (from `low_hz`), with 0 < r2 < r1 < 0.83.

    Raises:
        MienError: There is no such band at this rate.

    Source: |r / (1 - (1 - r) e^-iw)|^2 = 1/2 at w = 2 pi f / fps, solved for r.
    """
    if not (math.isfinite(fps) and 0 < low_hz < high_hz < fps / 2):
        raise MienError(
            f"A band from {low_hz:g} to {high_hz:g} Hz at {fps:g} frames per second.",
            f"0 < low < high < {fps / 2:g} Hz, half the frame rate.",
            "a lower band, or the frames at their native rate.",
        )

    def coefficient(hz: float) -> float:
        k = 1 - math.cos(2 * math.pi * hz / fps)
        return math.sqrt(k * k + 2 * k) - k

    return coefficient(high_hz), coefficient(low_hz)


def level_gains(
    height: int, width: int, alpha: float, wavelength: float = 16.0, exaggeration: float = 2.0
) -> NDArray[np.float64]:
    """By how much each level of the pyramid is magnified, from the finest band to the low-pass rest.

    Fine bands get less than alpha, since a shift of more than an eighth of their wavelength would tear the picture.

    Args:
        height: Pixels.
        width: Pixels.
        alpha: The factor asked for, >= 0.
        wavelength: Pixels; details of at least this size get the whole factor (before `exaggeration` loosens it).
        exaggeration: Multiplies the limit of the fine bands; 2 in the authors' code, 1 in STRCN's formula.

    Returns:
        (L,) gains, 0 <= gain <= alpha; the first and the last are 0. L counts the halvings (rounded down) until the
        shorter side has fewer than five pixels, and the rest.

    Raises:
        MienError: A number out of its range, or a picture of fewer than 10 pixels on a side.

    Source: the authors' code: min(alpha, exaggeration (size / (8 delta) - 1)) with delta = wavelength / (8 (1 + alpha))
    and size = sqrt(H^2 + W^2) / 3 at the last level, halved with each finer one. There a negative limit turns
    magnifying into blurring; here it counts as 0.
    """
    if min(height, width) < 10:
        raise MienError(
            f"Frames of {height}x{width} pixels are too small to magnify.",
            "at least 10 pixels on each side, so that there is a band between the finest and the coarsest.",
            "the frames before they were made small.",
        )
    if not (math.isfinite(alpha) and alpha >= 0 and wavelength > 0 and exaggeration > 0):
        raise MienError(
            f"alpha {alpha:g}, wavelength {wavelength:g}, exaggeration {exaggeration:g}.",
            "alpha >= 0, a wavelength above 0 pixels and an exaggeration above 0.",
            "`alpha=8, wavelength=16, exaggeration=2`.",
        )
    levels, side = 1, min(height, width)
    while side >= 5:
        levels, side = levels + 1, side // 2
    sizes = math.hypot(height, width) / 3 / 2.0 ** np.arange(levels - 1, -1, -1)
    gains: NDArray[np.float64] = np.clip(exaggeration * (sizes * (1 + alpha) / wavelength - 1), 0, alpha)
    gains[[0, -1]] = 0
    return gains


def _down(picture: Floats) -> Floats:
    """Binomial blur, then every second pixel; borders mirrored about the last pixel, odd sizes rounded up."""
    return np.asarray(cv2.pyrDown(picture))


def _up(picture: Floats, height: int, width: int) -> Floats:
    """Zeros between the pixels, then the blur, times four; the padding makes OpenCV mirror odd sizes like even ones."""
    padded = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REFLECT_101)
    return np.asarray(cv2.pyrUp(padded))[:height, :width]


class Magnifier:
    """Magnifies a video frame by frame; what it holds does not grow with the number of frames.

    Args:
        height: Pixels, >= 10.
        width: Pixels, >= 10.
        colour: Whether frames are (H, W, 3) RGB; else (H, W) grey.
        alphas: The factors, all done in one pass.
        r1: Weight of the new frame in the faster low-pass, r2 < r1 <= 1.
        r2: The same in the slower one, > 0. See `coefficients` for a band in hertz.
        wavelength: See `level_gains`.
        chroma: What part of the change in colour (I and Q of YIQ) is added, beside the whole change in luminance.
        exaggeration: See `level_gains`.

    Raises:
        MienError: A number out of its range.
    """

    def __init__(
        self,
        height: int,
        width: int,
        colour: bool,
        alphas: Sequence[float] = (8.0,),
        r1: float = 0.4,
        r2: float = 0.05,
        wavelength: float = 16.0,
        chroma: float = 0.1,
        exaggeration: float = 2.0,
    ) -> None:
        if not 0 < r2 < r1 <= 1:
            raise MienError(
                f"Filter coefficients r1 {r1:g} and r2 {r2:g}.",
                "0 < r2 < r1 <= 1; they are weights of the new frame, not hertz.",
                "`r1=0.4, r2=0.05`, or `coefficients(low_hz, high_hz, fps)`.",
            )
        if not (math.isfinite(chroma) and chroma >= 0):
            raise MienError(f"chroma {chroma:g}.", "a share of at least 0.", "`chroma=0.1`.")
        if len(alphas) == 0:
            raise MienError("No factor to magnify by.", "one or more numbers.", "`alphas=(8,)`.")
        self.shape = (height, width, 3) if colour else (height, width)
        self.alphas = tuple(float(alpha) for alpha in alphas)
        self._r1, self._r2 = r1, r2
        rates = np.stack([np.diff(level_gains(height, width, a, wavelength, exaggeration)) for a in self.alphas])
        # Between its two limits a gain is linear in alpha, so that the factors differ from the first one by multiples
        # of very few pictures: usually one. Only these are brought to full size.
        turn, size, basis = np.linalg.svd(rates - rates[0], full_matrices=False)
        rank = int(np.sum(size > 1e-9 * max(size[0], 1.0)))
        self._mix = turn[:, :rank] * size[:rank]
        self._basis = np.concatenate([rates[:1], basis[:rank]])
        keep = _YIQ_TO_RGB @ np.diag([1.0, chroma, chroma]) @ np.linalg.inv(_YIQ_TO_RGB)
        self._keep = keep.astype(np.float32) if colour and chroma != 1 else None
        self._kind: np.dtype[Any] | None = None
        self._fast: Floats | None = None
        self._slow: Floats | None = None

    def push(self, frame: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The next frame, magnified by every factor.

        Args:
            frame: (H, W) or (H, W, 3), uint8 in 0..255 or floating point in 0..1.
            out: Where to put the result, of its shape and kind; None makes a new array.

        Returns:
            (A, H, W[, 3]), one per factor, uint8 for uint8 and float32 for floating point, cut off at black and white.
            The first frame comes back as it is.

        Raises:
            MienError: The frame or `out` has another shape or kind of number than it should, or values beyond 0..1.
        """
        current = self._checked(frame)
        kind, shape = _kind(frame), (len(self.alphas), *self.shape)
        result = np.empty(shape, kind) if out is None else out
        if result.shape != shape or result.dtype != kind:
            raise MienError(f"Room for {result.shape} {result.dtype}.", f"{shape} {kind}.", "`out=None`.")
        pictures = self._changes(current)
        base = np.asarray(cv2.add(current, pictures[0]))
        for picture, mix in zip(result, self._mix, strict=True):
            total = base
            for weight, change in zip(mix, pictures[1:], strict=True):
                total = np.asarray(cv2.scaleAdd(change, float(weight), total))
            if kind == np.uint8:
                # OpenCV's quickest way to 8 bits takes absolute values: what is below black must go first.
                _, positive = cv2.threshold(total, 0, 0, cv2.THRESH_TOZERO)
                picture[...] = cv2.convertScaleAbs(positive)
            else:
                np.clip(total, 0, 1, out=picture)
        return result

    def _checked(self, frame: NDArray[Any]) -> Floats:
        if frame.shape != self.shape:
            kind = "RGB" if len(self.shape) == 3 else "grey"
            raise MienError(
                f"A frame of shape {frame.shape}.", f"{kind} frames of shape {self.shape}.", "one size for all frames."
            )
        self._kind = self._kind or _kind(frame)
        if _kind(frame) != self._kind:
            raise MienError(
                f"A frame of type {frame.dtype} after others.", f"{self._kind}.", "one kind for all frames."
            )
        current = np.array(frame, np.float32, order="C")
        if self._kind != np.uint8:
            low, high = float(current.min()), float(current.max())
            if not (low >= 0 and high <= 1):
                raise MienError(
                    f"Floating-point frames with values from {low:g} to {high:g}.",
                    "0 (black) to 1 (white).",
                    "`frames / 255`, or frames of type uint8.",
                )
        return current

    def _changes(self, current: Floats) -> list[Floats]:
        """Band-passed pictures at full size: what the first factor adds, then those the others are mixed from."""
        level = _down(current)
        if self._fast is None or self._slow is None:
            self._fast, self._slow = level.copy(), level.copy()
        for memory, r in ((self._fast, self._r1), (self._slow, self._r2)):
            cv2.scaleAdd(cv2.subtract(level, memory), r, memory, dst=memory)
        level = np.asarray(cv2.subtract(self._fast, self._slow))
        if self._keep is not None:
            level = np.asarray(cv2.transform(level, self._keep))
        pyramid = [level]
        while len(pyramid) < self._basis.shape[1]:
            pyramid.append(_down(pyramid[-1]))
        pictures = []
        for rates in self._basis:
            total = pyramid[-1] * np.float32(rates[-1])
            for level, rate in zip(pyramid[-2::-1], rates[-2::-1], strict=True):
                total = np.asarray(cv2.scaleAdd(level, float(rate), _up(total, *level.shape[:2])))
            pictures.append(_up(total, *self.shape[:2]))
        return pictures


def magnify(
    frames: NDArray[Any],
    alpha: float | Sequence[float] = 8.0,
    *,
    r1: float = 0.4,
    r2: float = 0.05,
    wavelength: float = 16.0,
    chroma: float = 0.1,
    exaggeration: float = 2.0,
) -> NDArray[Any]:
    """A clip with its small movements made larger; the first frame, and whatever keeps still, stay as they are.

    Magnify at the native frame rate, before frames are dropped or interpolated: the band moves with the rate.

    Args:
        frames: (T, H, W) grey or (T, H, W, 3) RGB, uint8 in 0..255 or floating point in 0..1, T >= 1.
        alpha: The factor, or several, which share all of the work but the last sum.
        r1: See `Magnifier`, as for what follows. The default band is 1.4 to 20 Hz at 200 frames per second, 0.7 to
            10 Hz at 100; within it a movement grows by at most 1 + 0.82 alpha.
        r2: Weight of the new frame in the slower low-pass.
        wavelength: Pixels.
        chroma: Share of the change in colour.
        exaggeration: Multiplies the limit of the fine bands.

    Returns:
        (T, H, W[, 3]), or (A, T, H, W[, 3]) for several factors; uint8 for uint8, float32 for floating point.

    Raises:
        MienError: Frames of another shape or kind, or a number out of its range.
    """
    if frames.ndim not in (3, 4) or (frames.ndim == 4 and frames.shape[-1] != 3) or len(frames) == 0:
        raise MienError(
            f"Frames of shape {frames.shape}.",
            "(T, H, W) grey or (T, H, W, 3) RGB with at least one frame.",
            "`frames[None]` for a single grey picture.",
        )
    several = isinstance(alpha, Sequence | np.ndarray)
    alphas = [float(a) for a in np.atleast_1d(alpha)]
    height, width = frames.shape[1:3]
    magnifier = Magnifier(height, width, frames.ndim == 4, alphas, r1, r2, wavelength, chroma, exaggeration)
    result = np.empty((len(alphas), *frames.shape), _kind(frames))
    for t, frame in enumerate(frames):
        magnifier.push(frame, out=result[:, t])
    return result if several else result[0]


def _kind(frames: NDArray[Any]) -> np.dtype[Any]:
    """The type of the result for frames of some type."""
    if frames.dtype == np.uint8:
        return np.dtype(np.uint8)
    if np.issubdtype(frames.dtype, np.floating):
        return np.dtype(np.float32)
    raise MienError(
        f"Frames of type {frames.dtype}.", "uint8 in 0..255 or floating point in 0..1.", "`frames.astype('uint8')`."
    )
