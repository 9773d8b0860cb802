"""Prepared inputs kept on disk: one file per (source frames, recipe), found by what they hold, not by their name.

Several processes may share a folder: entries appear whole or not at all, and two that make the same entry write the
same bytes. An entry that does not match its checksum is made anew. The least recently used go first when the folder
grows beyond its limit.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from mien.errors import MienError
from mien.io.atomic import UNFINISHED, write_atomically
from mien.preprocessing.base import Prepared, Recipe
from mien.types import Clip, read_interval_source

_GIB: Final = 20.0
"""GiB that a cache may take unless told otherwise."""

_SUFFIX: Final = ".safetensors"
_STALE: Final = 3600.0  # seconds after which a file that is still being written was left by a killed process


def default_folder() -> Path:
    """Where prepared inputs are kept: `$MIEN_CACHE`, or the user's cache folder."""
    given = os.environ.get("MIEN_CACHE")
    return Path(given) if given else user_cache_path("mien") / "prepared"


def default_limit() -> int:
    """Bytes that a cache may take: `$MIEN_CACHE_GIB` GiB, or 20.

    Raises:
        MienError: That is not a number from 0.
    """
    given = os.environ.get("MIEN_CACHE_GIB") or str(_GIB)
    try:
        limit = float(given)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise MienError(f"MIEN_CACHE_GIB is {given!r}.", "GiB as a number from 0.", "`MIEN_CACHE_GIB=200`.")
    return int(limit * 2**30)


def source_digest(clip: Clip) -> str:
    """What a clip's frames and interval are, as hex digits: file contents in order, never their paths.

    Raises:
        MienError: A file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=20)
    facts = (clip.medium, clip.interval and asdict(clip.interval), clip.frame_nos, clip.fps)
    digest.update(json.dumps(facts).encode())
    for path in source_files(clip):
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
        except OSError as error:
            raise MienError(
                f"{str(path)!r} of {clip.key} cannot be read ({error.strerror}).", "a file.", "`mien check`."
            ) from None
    return digest.hexdigest()


def source_files(clip: Clip) -> Sequence[Path]:
    """The files that a clip is read from, in order."""
    source = clip.video
    if clip.frames or source is None:
        return clip.frames
    return sorted(p for p in source.iterdir() if p.is_file()) if source.is_dir() else [source]


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of prepared inputs.

    Attributes:
        folder: Where; made when first written to, readable by its owner alone.
        limit: Bytes it may take; see `default_limit`.
    """

    folder: Path
    limit: int = field(default_factory=default_limit)

    def prepare(self, clip: Clip, recipe: Recipe) -> tuple[Prepared, bool]:
        """A recipe's input for one clip, from the folder where it is there, and whether it was.

        A folder that cannot be written to costs a warning, never the result.

        Raises:
            MienError: What the recipe raises.
        """
        path = entry_path(self, recipe, source_digest(clip))
        kept = read_entry(path)
        if kept is not None:
            return kept, True
        made = recipe.prepare(clip)
        try:
            self._keep(path, made, clip, recipe)
        except OSError as error:
            warnings.warn(
                f"Prepared inputs cannot be kept in {str(self.folder)!r} ({error.strerror}); going on without.",
                stacklevel=2,
            )
        return made, False

    def size(self) -> tuple[int, int]:
        """Number of entries and the bytes they take."""
        entries = self._entries()
        return len(entries), sum(size for _, size, _ in entries)

    def clear(self) -> int:
        """Deletes every entry; returns how many there were."""
        entries = self._entries()
        for _, _, path in entries:
            path.unlink(missing_ok=True)
        return len(entries)

    def _entries(self) -> list[tuple[float, int, Path]]:
        """(last used, bytes, path) of every entry, the least recently used first."""
        found = []
        for path in self.folder.glob(f"*/*{_SUFFIX}"):
            try:
                facts = path.stat()
            except FileNotFoundError:
                continue  # another process deleted it
            # A time to come was stamped by a clock that was wrong: it says nothing, and must not outlive all others.
            used = facts.st_mtime if facts.st_mtime < time.time() + _STALE else 0.0
            found.append((used, facts.st_size, path))
        return sorted(found)

    def _keep(self, path: Path, made: Prepared, clip: Clip, recipe: Recipe) -> None:
        content = entry_bytes(made, clip, recipe)
        if len(content) > self.limit:
            return
        # Faces are personal data: for the owner's eyes only.
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._make_room(len(content))
        write_atomically(path, content)

    def _make_room(self, wanted: int) -> None:
        entries = self._entries()
        total = wanted + sum(size for _, size, _ in entries)
        if total <= self.limit:
            return
        for stale in self.folder.glob(f"*/.*{UNFINISHED}"):
            try:
                if abs(time.time() - stale.stat().st_mtime) > _STALE:
                    stale.unlink()
            except FileNotFoundError:
                continue
        for _, size, path in entries:
            if total <= 0.9 * self.limit:
                break
            path.unlink(missing_ok=True)
            total -= size


def entry_path(cache: Cache, recipe: Recipe, digest: str) -> Path:
    """Where the entry of some frames, by their `source_digest`, is or would be."""
    return cache.folder / recipe.fingerprint / (digest + _SUFFIX)


def entry_bytes(made: Prepared, clip: Clip, recipe: Recipe) -> bytes:
    """An entry as the bytes of a safetensors file."""
    from safetensors.numpy import save

    array = np.ascontiguousarray(made.array)
    about = {
        "interval_source": made.interval_source,
        "notes": json.dumps(made.notes),
        "clip": clip.key,
        "recipe": recipe.fingerprint,
    }
    return save({"input": array}, metadata=about | {"checksum": _checksum(array, about)})


def read_entry(path: Path) -> Prepared | None:
    """An entry, or None where there is none or it is damaged (then it is deleted)."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            about = dict(file.metadata())
            array = file.get_tensor("input")
        if about.pop("checksum") != _checksum(array, about):
            raise ValueError("checksum")
        # Entries of earlier versions call it "interval".
        source = read_interval_source(about.get("interval_source") or about["interval"])
        made = Prepared(array, source, tuple(json.loads(about["notes"])))
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError):
        with suppress(OSError):  # in a read-only folder it stays, and is made anew each time
            path.unlink(missing_ok=True)
        return None
    with suppress(OSError):  # in a read-only folder the entry is good all the same
        os.utime(path)
    return made


def _checksum(array: NDArray[np.generic], about: Mapping[str, str]) -> str:
    """Of the numbers, their shape and type, and everything said of them."""
    digest = hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16)
    digest.update(json.dumps([array.shape, array.dtype.name, sorted(about.items())]).encode())
    return digest.hexdigest()
