"""Inputs of a classifier for many clips, in memory or read from the cache when needed.

The training set of a paper may be fifty copies of each clip, too much for memory. `Inputs` can be indexed like an
array: `inputs[clips]` selects some clips, `inputs.take(clips, copies)` returns their numbers, and `np.asarray(inputs)`
is copy 0 of all of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.preprocessing.base import Recipe
from mien.preprocessing.cache import Cache, entry_path
from mien.types import Clip

Indices = NDArray[np.integer] | Sequence[int]


@runtime_checkable
class Inputs(Protocol):
    """The inputs that a classifier's `fit` and `predict_proba` receive: one per clip, possibly in several copies."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one copy of one clip."""
        ...

    @property
    def copies(self) -> int:
        """Number of copies of each clip; copy 0 is the clip as it is used for testing."""
        ...

    def __len__(self) -> int:
        """Number of clips."""
        ...

    def __getitem__(self, clips: Indices) -> Inputs:
        """Select the inputs of some clips."""
        ...

    def take(self, clips: Indices, copies: Indices | int = 0) -> NDArray[np.float32]:
        """Return inputs (B, *shape), float32: copy `copies[i]` of clip `clips[i]`."""
        ...

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return copy 0 of all clips as one array (N, *shape), for `np.asarray(inputs)`."""
        ...


@dataclass(frozen=True)
class ArrayInputs:
    """Inputs held in memory.

    Attributes:
        array: (N, *shape) when `copies` is 1, else (N, copies, *shape).
        copies: See `Inputs`.
    """

    array: NDArray[Any]
    copies: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one copy of one clip."""
        return self.array.shape[1 if self.copies == 1 else 2 :]

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, clips: Indices) -> ArrayInputs:
        return ArrayInputs(self.array[np.asarray(clips)], self.copies)

    def take(self, clips: Indices, copies: Indices | int = 0) -> NDArray[np.float32]:
        """See `Inputs`."""
        rows = self.array[np.asarray(clips)] if self.copies == 1 else self.array[np.asarray(clips), np.asarray(copies)]
        return np.asarray(rows, np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return as_array(self).astype(dtype or np.float32, copy=False)


@dataclass(frozen=True)
class CachedInputs:
    """Inputs in a cache, mapped into memory clip by clip. Entries that were deleted are computed again.

    Attributes:
        clips: The clips.
        recipe: The recipe of their inputs; its first axis is "K" when there are several copies.
        cache: The cache.
        digests: `mien.preprocessing.cache.source_digest` of each clip.
        shape: Shape of one copy of one clip.
        copies: Number of copies of each clip.
    """

    clips: tuple[Clip, ...]
    recipe: Recipe
    cache: Cache
    digests: tuple[str, ...]
    shape: tuple[int, ...]
    copies: int
    _open: dict[str, NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # memory maps are opened again in each process

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, clips: Indices) -> CachedInputs:
        rows = [int(i) for i in clips]
        return CachedInputs(
            tuple(self.clips[i] for i in rows),
            self.recipe,
            self.cache,
            tuple(self.digests[i] for i in rows),
            self.shape,
            self.copies,
            self._open,
        )

    def take(self, clips: Indices, copies: Indices | int = 0) -> NDArray[np.float32]:
        """See `Inputs`."""
        which = np.broadcast_to(np.asarray(copies), len(np.asarray(clips)))
        batch = np.empty((len(which), *self.shape), np.float32)
        for place, (clip, copy) in enumerate(zip(clips, which, strict=True)):
            array = self.all_copies(int(clip))
            batch[place] = array[copy] if self.copies > 1 else array
        return batch

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return as_array(self).astype(dtype or np.float32, copy=False)

    def all_copies(self, clip: int) -> NDArray[Any]:
        """Return all copies of a clip's input, in the type in which they are stored."""
        digest = self.digests[clip]
        array = self._open.get(digest)
        if array is None:
            path = entry_path(self.cache, self.recipe, digest)
            try:
                array = map_entry(path)
            except (OSError, ValueError, KeyError):
                # Deleted to free space, or damaged. It is computed again and, if possible, stored.
                array = self.cache.load_or_apply(self.clips[clip], self.recipe)[0].array
            self._open[digest] = array
        return array


def as_inputs(x: Inputs | NDArray[Any]) -> Inputs:
    """Return an array (N, ...) as `Inputs`; `Inputs` are returned unchanged.

    Example:
        >>> import numpy as np
        >>> from mien.preprocessing.inputs import as_inputs
        >>> as_inputs(np.zeros((5, 3, 28, 28))).shape
        (3, 28, 28)
    """
    return ArrayInputs(x) if isinstance(x, np.ndarray) else x


def as_array(x: Inputs | NDArray[Any]) -> NDArray[np.float32]:
    """Return copy 0 of all clips as one float32 array (N, *shape), for classifiers that need all clips in memory.

    Example:
        >>> import numpy as np
        >>> from mien.preprocessing.inputs import ArrayInputs, as_array
        >>> as_array(ArrayInputs(np.zeros((5, 2, 28, 28)), copies=2)).shape
        (5, 28, 28)
    """
    return np.asarray(x, np.float32) if isinstance(x, np.ndarray) else x.take(range(len(x)))


def map_entry(path: Path) -> NDArray[Any]:
    """Map the array of a cache entry into memory; pages are read when they are accessed.

    Raises:
        OSError: There is no such file.
        ValueError: The file is incomplete.
        KeyError: It holds no input.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length < 1 << 20:
            raise ValueError("header")
        try:
            about = json.loads(file.read(length))["input"]
            kind = {"F32": np.float32, "F16": np.float16, "U8": np.uint8}[about["dtype"]]
            shape = tuple(int(side) for side in about["shape"])
        except (TypeError, RecursionError, OverflowError):
            raise ValueError("header") from None
    if min(shape, default=0) < 0 or 8 + length + math.prod(shape) * np.dtype(kind).itemsize != path.stat().st_size:
        raise ValueError("length")
    return np.memmap(path, kind, "r", offset=8 + length, shape=shape)


def cached_inputs(clips: Sequence[Clip], recipe: Recipe, cache: Cache, digests: Sequence[str]) -> CachedInputs:
    """Return the inputs of clips that are already in a cache.

    Args:
        clips: The clips.
        recipe: The recipe of their inputs.
        cache: The cache.
        digests: `mien.preprocessing.cache.source_digest` of each clip.

    Raises:
        MienError: The shape of the recipe's result depends on the clip, so that clips cannot be stacked.
    """
    if None in recipe.shape:
        raise MienError(
            f"A recipe whose result {recipe.shape} depends on the clip (None).",
            "the same shape for all clips.",
            "a recipe with a fixed number of frames, such as `strcn-a`.",
        )
    shape = tuple(n for n in recipe.shape if n is not None)
    several = recipe.axes.startswith("K")
    return CachedInputs(
        tuple(clips), recipe, cache, tuple(digests), shape[1:] if several else shape, shape[0] if several else 1
    )
