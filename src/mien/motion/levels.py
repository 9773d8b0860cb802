"""Scales of pictures: what counts as black and white, decided in one place.

Functions that depend on the scale of a picture pass it through `as_levels` first, so that the same picture as 8 bits,
16 bits or floating point gives the same answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.io.opencv import cv2

_MARGIN = 0.5
"""How far 0..1 may be exceeded: interpolation over time leaves the range of a clip a little."""


_STEPS = 2048
"""Pictures in 0..1 are rounded to 1 / 2048 of a grey level, so that 8-bit pictures stored in this way become whole
numbers again and comparisons of equal levels are exact."""


def as_levels(*pictures: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Return pictures on the scale 0 (black) to 255 (white).

    The scale that a picture comes in is decided by its type and, for floating point, by its values:

    - uint8: 0..255, returned as it is.
    - uint16: 0..65535, the full range; divided by 257.
    - floating point with no value above 1.5: 0..1, multiplied by 255 and rounded to 1 / 2048.
    - floating point with larger values: 0..255, returned as it is.
    - other integers: 0..255, returned as they are; larger or negative values are an error.

    All floating-point pictures of one call share one scale: a dark frame is not brightened when a lighter frame of its
    clip is passed with it. One case remains ambiguous: floating-point pictures on the scale 0..255 that are black
    everywhere (no value above 1.5 of 255) are taken as 0..1. Pass such pictures as uint8.

    Values slightly outside the range, as interpolation over time produces them, are kept.

    Args:
        pictures: Arrays of any shape.

    Returns:
        One array for each given one, of the same shape.

    Raises:
        MienError: NaN or infinity, values far outside the range (such as -1..1), or a type that is no picture's (bool,
            complex).

    Example:
        >>> import numpy as np
        >>> from mien.motion.levels import as_levels
        >>> as_levels(np.array([0, 51, 255], np.uint8) / 255)[0].round().tolist()
        [0.0, 51.0, 255.0]
        >>> as_levels(np.array([0, 257, 65535], np.uint16))[0].tolist()
        [0.0, 1.0, 255.0]
    """
    arrays = [np.asarray(picture) for picture in pictures]
    factor = _float_factor([a for a in arrays if np.issubdtype(a.dtype, np.floating) and a.size])
    return tuple(_scaled(a, factor) for a in arrays)


def _float_factor(floats: list[NDArray[Any]]) -> float:
    """What floating-point pictures are to be multiplied by, 1 or 255."""
    if not floats:
        return 1.0
    low = float(min(a.min() for a in floats))
    high = float(max(a.max() for a in floats))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise MienError("Pictures with values that are not numbers.", "grey levels 0..255.", "`np.nan_to_num`.")
    bright = high > 1 + _MARGIN
    limit = 255.0 if bright else _MARGIN
    if low < -limit or high > 510:
        raise MienError(
            f"Floating-point pictures with values from {low:g} to {high:g}.",
            "0 to 1, or 0 to 255.",
            "`(p - p.min()) / (p.max() - p.min())` with the same two numbers for all frames of a clip.",
        )
    return 1.0 if bright else 255.0


def _scaled(picture: NDArray[Any], factor: float) -> NDArray[Any]:
    kind = picture.dtype
    if kind == np.uint8:
        return picture
    if kind == np.uint16:
        return picture.astype(np.float32) / np.float32(257)
    if np.issubdtype(kind, np.floating):
        if factor == 1:
            return picture
        levels = picture * np.asarray(factor, np.float32 if kind == np.float16 else kind)
        return np.asarray(np.rint(levels * _STEPS) / _STEPS, levels.dtype)
    if np.issubdtype(kind, np.integer):
        if picture.size and (picture.min() < 0 or picture.max() > 255):
            raise MienError(
                f"Pictures of type {kind} with values from {picture.min()} to {picture.max()}.",
                "integers from 0 to 255, or uint16 from 0 to 65535.",
                "`pictures.astype('uint16')` for 16-bit pictures.",
            )
        return picture
    raise MienError(f"Pictures of type {kind}.", "uint8, uint16 or floating point.", "`pictures.astype('float32')`.")


def as_bytes(*pictures: NDArray[Any]) -> tuple[NDArray[np.uint8], ...]:
    """Return pictures as 8 bits, rounded and clipped to 0..255.

    Args:
        pictures: Arrays of any shape, on a scale that `as_levels` accepts.

    Returns:
        One uint8 array for each given one, of the same shape.

    Raises:
        MienError: As `as_levels`.

    Example:
        >>> import numpy as np
        >>> from mien.motion.levels import as_bytes
        >>> as_bytes(np.array([0.0, 0.2, 1.0]))[0].tolist()
        [0, 51, 255]
    """
    return tuple(
        np.asarray(p if p.dtype == np.uint8 else np.clip(np.rint(p), 0, 255), np.uint8) for p in as_levels(*pictures)
    )


def to_grey(frame: NDArray[Any]) -> NDArray[np.float32]:
    """Convert a frame to grey levels, on its own scale and without rounding.

    Args:
        frame: (H, W) grey or (H, W, 3) RGB, of any numeric type.

    Returns:
        (H, W): 0.299 R + 0.587 G + 0.114 B, in the unit of the frame.

    Raises:
        MienError: Another shape.

    Example:
        >>> import numpy as np
        >>> from mien.motion.levels import to_grey
        >>> red = np.full((2, 2, 3), (100, 0, 0), np.uint8)
        >>> round(float(to_grey(red)[0, 0]), 1)
        29.9
    """
    if frame.ndim == 2:
        return frame.astype(np.float32)
    if frame.ndim != 3 or frame.shape[-1] != 3:
        raise MienError(f"A frame of shape {frame.shape}.", "(H, W) grey or (H, W, 3) RGB.", "frames of one video.")
    return np.asarray(cv2.cvtColor(np.array(frame, np.float32, order="C"), cv2.COLOR_RGB2GRAY))
