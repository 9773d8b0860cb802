"""Cache of recipe results on disk: one file per pair of source frames and recipe, found by content, not by file name.

Several processes may share a folder. An entry is written completely or not at all, and two processes that write the
same entry write the same bytes. An entry that does not match its checksum is computed again. When the folder exceeds
its limit, the least recently used entries are deleted first.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from mien.errors import MienError
from mien.io.atomic import UNFINISHED, write_atomically
from mien.preprocessing.base import Recipe, RecipeOutput
from mien.types import Clip, Interval, read_interval_source

_GIB: Final = 20.0
"""Default limit of the cache in GiB."""

_SUFFIX: Final = ".safetensors"
_STALE: Final = 3600.0  # seconds after which a file that is still being written was left by a killed process


def default_folder() -> Path:
    """Return the folder of the cache: `$MIEN_CACHE`, or a folder in the user's cache folder."""
    given = os.environ.get("MIEN_CACHE")
    return Path(given) if given else user_cache_path("mien") / "prepared"


def default_limit() -> int:
    """Return the limit of the cache in bytes: `$MIEN_CACHE_GIB` GiB, or 20 GiB.

    Raises:
        MienError: `$MIEN_CACHE_GIB` is not a number >= 0.
    """
    given = os.environ.get("MIEN_CACHE_GIB") or str(_GIB)
    try:
        limit = float(given)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise MienError(f"MIEN_CACHE_GIB is {given!r}.", "a number of GiB, 0 or more.", "`MIEN_CACHE_GIB=200`.")
    return int(limit * 2**30)


def source_digest(clip: Clip) -> str:
    """Return a hash of a clip's frames and interval, as hexadecimal digits: of the files' contents, not their paths.

    Raises:
        MienError: A file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=20)
    facts: list[object] = [clip.medium, clip.interval and asdict(clip.interval), clip.frame_nos, clip.fps]
    if clip.medium == "features":
        facts += [clip.extra["row"], clip.extra["rows"]]
    digest.update(json.dumps(facts).encode())
    for path in source_files(clip):
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
        except OSError as error:
            raise MienError(
                f"{str(path)!r} of {clip.key} cannot be read ({error.strerror}).", "a readable file.", "`mien check`."
            ) from None
    return digest.hexdigest()


def source_files(clip: Clip) -> Sequence[Path]:
    """Return the files that a clip is read from, in order."""
    source = clip.video
    if clip.medium == "features":
        return [Path(clip.extra["file"])]
    if clip.frames or source is None:
        return clip.frames
    return sorted(p for p in source.iterdir() if p.is_file()) if source.is_dir() else [source]


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of cached recipe results.

    Attributes:
        folder: The folder; created on the first write, readable by its owner only.
        limit: Maximum size in bytes; see `default_limit`.
    """

    folder: Path
    limit: int = field(default_factory=default_limit)

    def load_or_apply(self, clip: Clip, recipe: Recipe) -> tuple[RecipeOutput, bool]:
        """Return the result of a recipe on a clip: from the cache if it is there, else computed and stored.

        If the folder cannot be written to, a warning is issued and the result is returned all the same.

        Returns:
            The result, and whether it came from the cache.

        Raises:
            MienError: As `Recipe.apply`.
        """
        path = entry_path(self, recipe, source_digest(clip))
        cached = read_entry(path)
        if cached is not None:
            return cached, True
        output = recipe.apply(clip)
        try:
            self._store(path, output, clip, recipe)
        except OSError as error:
            warnings.warn(
                f"The cache {str(self.folder)!r} cannot be written to ({error.strerror}); continuing without it.",
                stacklevel=2,
            )
        return output, False

    def size(self) -> tuple[int, int]:
        """Return the number of entries and their size in bytes."""
        entries = self._entries()
        return len(entries), sum(size for _, size, _ in entries)

    def clear(self) -> int:
        """Delete all entries and return their number."""
        entries = self._entries()
        for _, _, path in entries:
            path.unlink(missing_ok=True)
        return len(entries)

    def _entries(self) -> list[tuple[float, int, Path]]:
        """Return (last used, bytes, path) of all entries, the least recently used first."""
        entries = []
        for path in self.folder.glob(f"*/*{_SUFFIX}"):
            try:
                facts = path.stat()
            except FileNotFoundError:
                continue  # another process deleted it
            # A time in the future is from a wrong clock. Such an entry must not outlive all others.
            used = facts.st_mtime if facts.st_mtime < time.time() + _STALE else 0.0
            entries.append((used, facts.st_size, path))
        return sorted(entries)

    def _store(self, path: Path, output: RecipeOutput, clip: Clip, recipe: Recipe) -> None:
        content = entry_bytes(output, clip, recipe)
        if len(content) > self.limit:
            return
        # Faces are personal data, so only the owner may read them.
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
    """Return the path of the entry for frames with a given `source_digest`, whether it exists or not."""
    return cache.folder / recipe.fingerprint / (digest + _SUFFIX)


def entry_bytes(output: RecipeOutput, clip: Clip, recipe: Recipe) -> bytes:
    """Return an entry as the bytes of a safetensors file."""
    from safetensors.numpy import save

    array = np.ascontiguousarray(output.array)
    about = {
        "interval_source": output.interval_source,
        "notes": json.dumps(output.notes),
        "interval_used": json.dumps(output.interval and astuple(output.interval)),
        "clip": clip.key,
        "recipe": recipe.fingerprint,
    }
    return save({"input": array}, metadata=about | {"checksum": _checksum(array, about)})


def read_entry(path: Path) -> RecipeOutput | None:
    """Read an entry. Return None if there is none, or if it is damaged, in which case it is deleted."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            about = dict(file.metadata())
            array = file.get_tensor("input")
        if about.pop("checksum") != _checksum(array, about):
            raise ValueError("checksum")
        # Entries of earlier versions call it "interval", and do not say which frames were used.
        source = read_interval_source(about.get("interval_source") or about["interval"])
        times = json.loads(about["interval_used"] if source == "detected" else about.get("interval_used", "null"))
        output = RecipeOutput(array, source, tuple(json.loads(about["notes"])), times and Interval(*times))
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError):
        with suppress(OSError):  # in a read-only folder it stays, and is computed again each time
            path.unlink(missing_ok=True)
        return None
    with suppress(OSError):  # in a read-only folder the entry can still be used
        os.utime(path)
    return output


def _checksum(array: NDArray[np.generic], about: Mapping[str, str]) -> str:
    """Return a checksum of the numbers, their shape and type, and all metadata."""
    digest = hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16)
    digest.update(json.dumps([array.shape, array.dtype.name, sorted(about.items())]).encode())
    return digest.hexdigest()
