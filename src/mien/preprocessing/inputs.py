"""The prepared inputs of many clips, read from disk when they are asked for.

A paper's training set may be fifty copies of each clip: far too much to hold in memory, and nothing that needs to be.
Classifiers index `Inputs` as they would an array: `inputs[clips]` for some of the clips, `take` for the numbers.
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
    """What a classifier's `fit` and `predict_proba` get: one input per clip, possibly in several copies."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one copy of one clip."""
        ...

    @property
    def copies(self) -> int:
        """Copies of each clip; copy 0 is the clip as it is tested."""
        ...

    def __len__(self) -> int:
        """Number of clips."""
        ...

    def __getitem__(self, clips: Indices) -> Inputs:
        """The inputs of some clips."""
        ...

    def take(self, clips: Indices, copies: Indices | int = 0) -> NDArray[np.float32]:
        """Some inputs (B, *shape), float32: copy `copies[i]` of clip `clips[i]`."""
        ...

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The clips themselves (copy 0), (N, *shape), all in memory: what `np.asarray(inputs)` gives."""
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
    """Inputs in a cache, mapped into memory clip by clip; one that was deleted meanwhile is made again.

    Attributes:
        clips: The clips.
        recipe: How their inputs are made; its first axis is "K" when there are several copies.
        cache: Where they are kept.
        digests: `mien.preprocessing.cache.source_digest` of each clip.
    """

    clips: tuple[Clip, ...]
    recipe: Recipe
    cache: Cache
    digests: tuple[str, ...]
    shape: tuple[int, ...]
    copies: int
    _open: dict[str, NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # maps are opened anew in each process

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
            array = self.whole(int(clip))
            batch[place] = array[copy] if self.copies > 1 else array
        return batch

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return as_array(self).astype(dtype or np.float32, copy=False)

    def whole(self, clip: int) -> NDArray[Any]:
        """All copies of a clip's input, of the type they are kept as."""
        digest = self.digests[clip]
        found = self._open.get(digest)
        if found is None:
            path = entry_path(self.cache, self.recipe, digest)
            try:
                found = map_entry(path)
            except (OSError, ValueError, KeyError):
                # Deleted to make room, or damaged: `prepare` makes it again and, where it can, keeps it.
                found = self.cache.prepare(self.clips[clip], self.recipe)[0].array
            self._open[digest] = found
        return found


def as_inputs(x: Inputs | NDArray[Any]) -> Inputs:
    """An array (N, ...) as inputs; inputs as they are."""
    return ArrayInputs(x) if isinstance(x, np.ndarray) else x


def as_array(x: Inputs | NDArray[Any]) -> NDArray[np.float32]:
    """The clips themselves (copy 0), (N, *shape) float32, all in memory: for classifiers that need them at once."""
    return np.asarray(x, np.float32) if isinstance(x, np.ndarray) else x.take(range(len(x)))


def map_entry(path: Path) -> NDArray[Any]:
    """The array of a cache entry, mapped: pages are read when they are touched.

    Raises:
        OSError: There is no such file.
        ValueError: It is not whole.
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


def gather(clips: Sequence[Clip], recipe: Recipe, cache: Cache, digests: Sequence[str]) -> CachedInputs:
    """Inputs that are already in a cache.

    Raises:
        MienError: The recipe leaves its shape to the clip, so that clips cannot be stacked.
    """
    if None in recipe.shape:
        raise MienError(
            f"This recipe's shape {recipe.shape} depends on the clip.", "one shape for all.", "a recipe with a length."
        )
    shape = tuple(n for n in recipe.shape if n is not None)
    several = recipe.axes.startswith("K")
    return CachedInputs(
        tuple(clips), recipe, cache, tuple(digests), shape[1:] if several else shape, shape[0] if several else 1
    )
