"""Eulerian video magnification: makes movements visible that are too small to see.

The method filters each band of a Laplacian pyramid over time, multiplies it by a gain, and adds the reconstructed
picture to the frame. All of these are linear, so their order is free. With G_l level l of the Gaussian pyramid of the
filtered frame, U the step to the next finer level, and g_l the gain of band l,

    sum_l g_l U^l (G_l - U G_(l+1)) = sum_l (g_l - g_(l-1)) U^l G_l.

The finest band is never magnified, so G_0 drops out. The filter therefore runs on a quarter of the pixels, no band has
to be computed, and several magnification factors differ only in the numbers g_l.

Source: Wu, Rubinstein, Shih, Guttag, Durand and Freeman, "Eulerian video magnification for revealing subtle changes in
the world", ACM Transactions on Graphics 31(4), 2012, with the settings of the authors' released code for recursive
filters. STRCN (Xia et al. 2020), section III-B2 and equation 3, uses it with factor 8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.io.opencv import cv2

Floats = NDArray[np.float32]

_YIQ_TO_RGB = np.array([[1.0, 0.956, 0.621], [1.0, -0.272, -0.647], [1.0, -1.106, 1.703]])
"""NTSC colours: YIQ to RGB. The first row of the inverse holds the luminance weights .299, .587, .114."""


def coefficients(low_hz: float, high_hz: float, fps: float) -> tuple[float, float]:
    """Convert a frequency band in hertz to the filter coefficients r1 and r2 at a given frame rate.

    Fixed coefficients select a band that depends on the frame rate; this function keeps the band fixed instead.

    Args:
        low_hz: Cut-off frequency (-3 dB) of the slower of the two low-pass filters whose difference is the band-pass.
        high_hz: Cut-off frequency of the faster one; below half the frame rate.
        fps: Frames per second.

    Returns:
        r1 (from `high_hz`) and r2 (from `low_hz`), with 0 < r2 < r1 < 0.83.

    Raises:
        MienError: A band that is empty or not possible at this frame rate.

    Example:
        >>> from mien.motion.magnify import coefficients
        >>> r1, r2 = coefficients(1.6, 16.5, fps=200)
        >>> round(r1, 2), round(r2, 2)
        (0.4, 0.05)

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
    """Compute the gain of each level of the pyramid, from the finest band to the low-pass remainder.

    Fine bands get less than `alpha`, because a shift of more than an eighth of their wavelength would tear the picture.

    Args:
        height: Height of the frames in pixels, >= 10.
        width: Width of the frames in pixels, >= 10.
        alpha: Magnification factor, >= 0.
        wavelength: In pixels, > 0. Details of at least this size get the full factor (smaller ones too, when
            `exaggeration` is above 1).
        exaggeration: Multiplies the limit on fine bands, > 0; 2 in the authors' code, 1 in STRCN's formula.

    Returns:
        (L,) gains, 0 <= gain <= alpha; the first and the last are 0. The number of levels L is 1 plus the number of
        times that the shorter side can be halved (rounded down) before it has fewer than five pixels.

    Raises:
        MienError: A number out of range, or a picture smaller than 10 pixels on a side.

    Example:
        >>> from mien.motion.magnify import level_gains
        >>> level_gains(300, 245, alpha=8).round(1).tolist()
        [0.0, 2.5, 7.1, 8.0, 8.0, 8.0, 0.0]

    Source: the authors' code: min(alpha, exaggeration (size / (8 delta) - 1)) with delta = wavelength / (8 (1 + alpha))
    and size = sqrt(H^2 + W^2) / 3 at the coarsest level, halved at each finer one. There a negative limit blurs instead
    of magnifying; here it counts as 0.
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
    """Blur with the binomial kernel and keep every second pixel. Borders are mirrored, odd sizes rounded up."""
    return np.asarray(cv2.pyrDown(picture))


def _up(picture: Floats, height: int, width: int) -> Floats:
    """Insert zeros between the pixels, blur, and multiply by four.

    The padding makes OpenCV mirror odd sizes in the same way as even ones.
    """
    padded = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REFLECT_101)
    return np.asarray(cv2.pyrUp(padded))[:height, :width]


class Magnifier:
    """Magnifies a video frame by frame, with memory that does not grow with the number of frames.

    Args:
        height: Height of the frames in pixels, >= 10.
        width: Width of the frames in pixels, >= 10.
        colour: Whether frames are (H, W, 3) RGB; otherwise (H, W) grey.
        alphas: Magnification factors, >= 0, all computed at once.
        r1: Coefficient of the faster low-pass filter (the weight of the new frame), r2 < r1 <= 1.
        r2: Coefficient of the slower low-pass filter, > 0. See `coefficients` to choose both by a band in hertz.
        wavelength: In pixels; see `level_gains`.
        chroma: Fraction of the change in colour (I and Q of YIQ) that is added, >= 0. The change in luminance is added
            in full.
        exaggeration: See `level_gains`.

    Raises:
        MienError: A number out of range.

    Example:
        >>> import numpy as np
        >>> from mien.motion.magnify import Magnifier
        >>> magnifier = Magnifier(32, 24, colour=False, alphas=[8, 16])
        >>> magnifier.push(np.zeros((32, 24), np.uint8)).shape
        (2, 32, 24)
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
                "0 < r2 < r1 <= 1 (weights of the new frame, not hertz).",
                "`r1=0.4, r2=0.05`, or `coefficients(low_hz, high_hz, fps)`.",
            )
        if not (math.isfinite(chroma) and chroma >= 0):
            raise MienError(f"chroma {chroma:g}.", "a share of at least 0.", "`chroma=0.1`.")
        if len(alphas) == 0:
            raise MienError("No magnification factor.", "one or more numbers.", "`alphas=(8,)`.")
        self.shape = (height, width, 3) if colour else (height, width)
        self.alphas = tuple(float(alpha) for alpha in alphas)
        self._r1, self._r2 = r1, r2
        rates = np.stack([np.diff(level_gains(height, width, a, wavelength, exaggeration)) for a in self.alphas])
        # Between its limits a gain is linear in alpha. So the results for several factors are combinations of very
        # few pictures, usually two, and only these are brought to full size.
        left, singular, basis = np.linalg.svd(rates - rates[0], full_matrices=False)
        rank = int(np.sum(singular > 1e-9 * max(singular[0], 1.0)))
        self._mix = left[:, :rank] * singular[:rank]
        self._basis = np.concatenate([rates[:1], basis[:rank]])
        colours = _YIQ_TO_RGB @ np.diag([1.0, chroma, chroma]) @ np.linalg.inv(_YIQ_TO_RGB)
        self._colours = colours.astype(np.float32) if colour and chroma != 1 else None
        self._kind: np.dtype[Any] | None = None
        self._fast: Floats | None = None
        self._slow: Floats | None = None

    def push(self, frame: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Magnify the next frame by every factor.

        Args:
            frame: (H, W) or (H, W, 3), uint8 in 0..255 or floating point in 0..1.
            out: Array for the result, of its shape and type; None allocates a new one.

        Returns:
            (A, H, W) or (A, H, W, 3), one picture per factor: uint8 for uint8 and float32 for floating point, clipped
            to black and white. The first frame is returned unchanged.

        Raises:
            MienError: A frame or `out` of another shape or type, or floating-point values outside 0..1.
        """
        current = self._checked(frame)
        kind, shape = _kind(frame), (len(self.alphas), *self.shape)
        result = np.empty(shape, kind) if out is None else out
        if result.shape != shape or result.dtype != kind:
            raise MienError(
                f"An array `out` for {result.shape} {result.dtype}.", f"shape {shape}, type {kind}.", "`out=None`."
            )
        pictures = self._changes(current)
        base = np.asarray(cv2.add(current, pictures[0]))
        for picture, mix in zip(result, self._mix, strict=True):
            total = base
            for weight, change in zip(mix, pictures[1:], strict=True):
                total = np.asarray(cv2.scaleAdd(change, float(weight), total))
            if kind == np.uint8:
                # convertScaleAbs is OpenCV's fastest conversion to 8 bits. It takes absolute values, so negative
                # values are set to 0 first.
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
                f"A frame of type {frame.dtype} after others.", f"{self._kind}.", "one type for all frames."
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
        """Return full-size pictures of the filtered change: what the first factor adds, then what others mix in."""
        level = _down(current)
        if self._fast is None or self._slow is None:
            self._fast, self._slow = level.copy(), level.copy()
        for memory, r in ((self._fast, self._r1), (self._slow, self._r2)):
            cv2.scaleAdd(cv2.subtract(level, memory), r, memory, dst=memory)
        level = np.asarray(cv2.subtract(self._fast, self._slow))
        if self._colours is not None:
            level = np.asarray(cv2.transform(level, self._colours))
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
    """Magnify the small movements of a clip. The first frame, and whatever does not move, stay as they are.

    Magnify at the original frame rate, before frames are dropped or interpolated: the frequency band scales with the
    rate.

    Args:
        frames: (T, H, W) grey or (T, H, W, 3) RGB, T >= 1, H and W >= 10; uint8 in 0..255 or floating point in 0..1.
        alpha: Magnification factor >= 0, or a sequence of factors, which share most of the work.
        r1: Coefficient of the faster low-pass filter, r2 < r1 <= 1. With the defaults the band is 1.4 to 20 Hz at 200
            frames per second and 0.7 to 10 Hz at 100; in it, a movement grows by at most 1 + 0.82 alpha.
        r2: Coefficient of the slower low-pass filter, > 0. See `coefficients` to choose both by a band in hertz.
        wavelength: In pixels, > 0; see `level_gains`.
        chroma: Fraction of the change in colour that is added, >= 0.
        exaggeration: Multiplies the limit on fine bands, > 0.

    Returns:
        The shape of `frames`, or (A, *frames.shape) for a sequence of A factors; uint8 for uint8, float32 for floating
        point.

    Raises:
        MienError: Frames of another shape, type or scale, or a number out of range.

    Example:
        >>> import numpy as np
        >>> from mien.motion.magnify import magnify
        >>> y, x = np.mgrid[0:32, 0:32]
        >>> frames = np.stack([128 + 50 * np.sin((x - 0.1 * t) / 3) for t in range(4)]).astype(np.uint8)
        >>> larger = magnify(frames, alpha=8)
        >>> larger.shape, larger.dtype
        ((4, 32, 32), dtype('uint8'))

    Source: Wu et al. 2012; see this module's docstring.
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
    """Return the type of the result for frames of a given type."""
    if frames.dtype == np.uint8:
        return np.dtype(np.uint8)
    if np.issubdtype(frames.dtype, np.floating):
        return np.dtype(np.float32)
    raise MienError(
        f"Frames of type {frames.dtype}.", "uint8 in 0..255 or floating point in 0..1.", "`frames.astype('uint8')`."
    )
