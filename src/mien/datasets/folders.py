"""Folders and pictures of a copy, found whatever the case of their names."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PICTURES: Final = frozenset({".jpg", ".jpeg", ".bmp", ".png"})

Frame = tuple[int, Path]

_MOST_FOLDERS: Final = 3000


def pictures(folder: Path) -> tuple[Frame, ...]:
    """Return the frames of a folder by their own number: the last run of digits in the name; () without a folder."""
    if not folder.is_dir():
        return ()
    found = []
    for path in folder.iterdir():
        digits = re.findall(r"\d+", path.stem)
        if path.suffix.lower() in PICTURES and digits and not path.name.startswith("."):
            found.append((int(digits[-1]), path))
    return tuple(sorted(found, key=lambda frame: (frame[0], frame[1].name)))


def natural(text: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key under which s2 comes before s11."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text))


def folders(root: Path, pattern: str) -> list[Path]:
    """Return the folders below `root` that match a shell pattern, in natural order."""
    found = (p for p in root.glob(pattern) if p.is_dir() and not p.name.startswith("."))
    return sorted(found, key=lambda p: natural(str(p.relative_to(root))))


class Folders:
    """Looks folders up by name, without regard to case, and lists each folder once."""

    def __init__(self) -> None:
        self._children: dict[Path, dict[str, list[str]]] = {}
        self._frames: dict[Path, tuple[Frame, ...]] = {}

    def frames(self, folder: Path) -> tuple[Frame, ...]:
        """Return the frames of a folder; a long video holds many clips, and its folder is listed once."""
        if folder not in self._frames:
            self._frames[folder] = pictures(folder)
        return self._frames[folder]

    def find(self, root: Path, relative: str) -> Path | None:
        """Return the folder at a path below `root`, or None; "*" in the path stands for any text.

        Of several, one spelt exactly so comes first, then the first by name.
        """
        return next(self._find(root, [part for part in relative.split("/") if part not in ("", ".")]), None)

    def below(self, root: Path, depth: int) -> Iterator[Path]:
        """Return the folders below `root`, nearest first, down to a depth; at most a few thousand."""
        level = [root]
        seen = 0
        for _ in range(depth):
            level = [folder / name for folder in level for names in self._names(folder).values() for name in names]
            yield from level[: _MOST_FOLDERS - seen]
            seen += len(level)
            if seen >= _MOST_FOLDERS:
                return

    def _find(self, folder: Path, parts: list[str]) -> Iterator[Path]:
        if not parts:
            yield folder
            return
        first, *rest = parts
        names = self._names(folder)
        if "*" in first:
            found = [n for key in sorted(names) if fnmatch.fnmatchcase(key, first.casefold()) for n in names[key]]
        else:
            found = sorted(names.get(first.casefold(), ()), key=lambda name: name != first)
        for name in found:
            yield from self._find(folder / name, rest)

    def _names(self, folder: Path) -> dict[str, list[str]]:
        """Names of the folders in a folder, by their lower case."""
        if folder not in self._children:
            names: dict[str, list[str]] = {}
            try:
                with os.scandir(folder) as entries:
                    inside = sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())
            except OSError:
                inside = []
            for name in inside:
                names.setdefault(name.casefold(), []).append(name)
            self._children[folder] = names
        return self._children[folder]
