"""Pictures in checkpoints, without loss and a quarter smaller: tiles of one WebP picture instead of plain bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien import MOST_PIXELS

_LEAST: Final = 1 << 16
"""Fewer bytes than this are stored as they are."""
_COLUMNS: Final = 40
"""Pictures side by side in a row of tiles."""
_LONGEST: Final = 16383
"""Most pixels of a side of a WebP picture."""
_PACKED: Final = ".webp"
_SHAPE: Final = ".shape"


def pack(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a checkpoint, those of many pictures in the bytes of a WebP file.

    Args:
        arrays: Arrays by name; those of (N, 3 k, H, W) bytes are packed, where they are large and the tiles fit.

    Example:
        >>> pictures = np.arange(40 * 3 * 28 * 28, dtype=np.uint8).reshape(40, 3, 28, 28)
        >>> sorted(pack({"pictures": pictures, "numbers": np.zeros(2)}))
        ['numbers', 'pictures.shape', 'pictures.webp']
    """
    from PIL import Image, features

    found: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1] % 3 or array.nbytes < _LEAST:
            found[name] = array
            continue
        high, wide, rows = *array.shape[2:], _rows(array.shape)
        if max(rows * high, _COLUMNS * wide) > _LONGEST or not features.check("webp"):
            found[name] = array
            continue
        tiles = np.zeros((rows * _COLUMNS, 3, high, wide), np.uint8)
        tiles[: array.size // (3 * high * wide)] = array.reshape(-1, 3, high, wide)
        sheet = tiles.reshape(rows, _COLUMNS, 3, high, wide).transpose(0, 3, 1, 4, 2)
        content = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(sheet.reshape(rows * high, _COLUMNS * wide, 3))).save(
            content, "WEBP", lossless=True, quality=100, method=6
        )
        found[name + _PACKED] = np.frombuffer(content.getvalue(), np.uint8)
        found[name + _SHAPE] = np.array(array.shape, np.int64)
    return found


def unpack(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return what was given to `pack`; arrays that were not packed stay as they are.

    Raises:
        ValueError: A packed array is damaged, or its pictures are not as many and as large as stated.
    """
    found = {name: array for name, array in arrays.items() if not name.endswith((_PACKED, _SHAPE))}
    for name in (name.removesuffix(_PACKED) for name in arrays if name.endswith(_PACKED)):
        found[name] = _pictures(arrays[name + _PACKED], arrays[name + _SHAPE])
    return found


def _rows(shape: tuple[int, ...]) -> int:
    """Return the number of rows of tiles for (N, 3 k, H, W)."""
    return -(-shape[0] * shape[1] // 3 // _COLUMNS)


def _pictures(content: NDArray[Any], stated: NDArray[Any]) -> NDArray[np.uint8]:
    from PIL import Image, WebPImagePlugin  # noqa: F401  # otherwise all formats are loaded when one is opened

    shape = tuple(int(side) for side in stated.reshape(-1))
    if len(shape) != 4 or min(shape) < 1 or shape[1] % 3 or max(shape) > _LONGEST * _COLUMNS:
        raise ValueError(f"packed pictures of shape {shape}")
    high, wide, rows = shape[2], shape[3], _rows(shape)
    with Image.open(io.BytesIO(content.tobytes()), formats=["WEBP"]) as picture:
        if picture.size != (_COLUMNS * wide, rows * high) or rows * high * _COLUMNS * wide > MOST_PIXELS:
            raise ValueError(f"packed pictures of {picture.size}, stated as {shape}")
        sheet = np.asarray(picture.convert("RGB"))
    tiles = sheet.reshape(rows, high, _COLUMNS, wide, 3).transpose(0, 2, 4, 1, 3).reshape(-1, high, wide)
    return np.ascontiguousarray(tiles[: shape[0] * shape[1]]).reshape(shape)
