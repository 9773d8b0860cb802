"""Which videos somebody means: files, patterns, lists in text files, folders of pictures."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mien.errors import MienError
from mien.io.atomic import at_home
from mien.io.video.pictures import pictures_in

MARKER: Final = ".film.json"
"""File that is written last into the folder of a film: there only if all others are. No film has such a name."""

FILMS: Final = frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".mts", ".gif")
)
"""Endings by which films are found in a folder without pictures."""

_PATTERN: Final = re.compile(r"[*?\[]")


LONGEST_LIST: Final = 64 << 20
"""Most bytes of a list of videos: about a million of them."""

LIST_FIX: Final = "`ls films/*.mp4 > films.txt`, then `@films.txt`."


def films_of(sources: Sequence[str | Path]) -> list[Path]:
    """Return the videos that somebody means, each once, in the order given.

    Args:
        sources: Video files, folders of pictures or of video files, patterns such as `films/*.mp4` or `films/**/*.mp4`,
            and text files with one of these in a line as `@films.txt`. In a list, empty lines and lines that begin with
            `#` are passed over, and a relative path is one beside the list or, where there is none, in the current
            folder.

    Raises:
        MienError: Nothing was given; a list cannot be read or is empty; files are missing; a pattern fits nothing.

    Example:
        >>> [path.name for path in films_of(["face.mkv", "*.mkv"])]
        ['face.mkv']
    """
    found: dict[Path, Path] = {}
    missing: list[str] = []
    for source in sources:
        text = str(source)
        entries = _listed(Path(text[1:])) if text.startswith("@") and not Path(text).exists() else [(text, None)]
        for entry, beside in entries:
            paths = _paths(entry, beside)
            if not paths:
                missing.append(entry)
            for path in paths:
                found.setdefault(path.resolve(), path)
    if missing:
        shown = ", ".join(repr(each) for each in missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise MienError(
            f"{len(missing)} of {len(missing) + len(found)} films cannot be found: {shown}.",
            "video files, folders of pictures, patterns that fit some, or `@films.txt` with one of these in a line.",
            f"`ls -d {shlex.quote(missing[0])}` to see what is there; nothing was started.",
        )
    if not found:
        raise MienError("There is no video.", "at least one.", "`mien recognise films/*.mp4 --out answers`.")
    return list(found.values())


def _listed(path: Path) -> list[tuple[str, Path | None]]:
    """Return the entries of a list, each with the folder of the list."""
    # What is there may be somebody's film, and is not to be written over.
    fix = f"`ls films/*.mp4 > {shlex.quote(str(path))}`." if not at_home(path).exists() else LIST_FIX
    try:
        with at_home(path).open("rb") as file:
            content = file.read(LONGEST_LIST + 1)
        if len(content) > LONGEST_LIST:
            raise OSError(errno.EFBIG, f"it is longer than {LONGEST_LIST >> 20} MiB")
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise MienError(
            f"The list {str(path)!r} cannot be read ({getattr(error, 'strerror', None) or 'it is not UTF-8 text'}).",
            "a text file with a video in each line.",
            fix,
        ) from None
    lines = [line.strip().strip('"') for line in text.splitlines()]
    entries: list[tuple[str, Path | None]] = [
        (line, at_home(path).parent) for line in lines if line and not line.startswith("#")
    ]
    if not entries:
        raise MienError(
            f"The list {str(path)!r} names no video.",
            "a video in each line.",
            LIST_FIX,
        )
    return entries


def _paths(entry: str, beside: Path | None) -> list[Path]:
    """Return the files of one entry; none if it names nothing."""
    for place in (beside, Path()) if beside is not None else (Path(),):
        path = place / at_home(entry)
        try:
            if path.exists():
                return _films_in(path) or [path]
        except (OSError, ValueError):
            continue
        if _PATTERN.search(entry):
            fitting = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute patterns
            if fitting:
                return [Path(each) for each in sorted(fitting, key=_natural)]
    return []


def _films_in(path: Path) -> list[Path]:
    """Return the video files of a folder without pictures; none of a file and of a folder that is a film itself."""
    if not path.is_dir() or pictures_in(path):
        return []
    return sorted(
        (each for each in path.iterdir() if each.suffix.lower() in FILMS), key=lambda each: _natural(each.name)
    )


def _natural(text: str) -> list[Any]:
    """Return a key that sorts film2 before film10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def names_of(films: Sequence[Path], folder: Path) -> list[str]:
    """Return a name for each film that no other has: its own, or with eight digits if several films have that.

    A film that was answered before keeps its name.

    Args:
        films: The films.
        folder: The folder with one folder for each film that was answered.
    """
    plain = [re.sub(r"[^\w.+-]+", "_", film.resolve().stem).strip(".") or "film" for film in films]
    counts = Counter(name.casefold() for name in plain)
    names = []
    for film, name in zip(films, plain, strict=True):
        longer = f"{name}-{hashlib.sha256(str(film.resolve()).encode()).hexdigest()[:8]}"
        owners = {each: marker_of(folder / each).get("film") for each in (name, longer)}
        kept = [each for each, owner in owners.items() if owner == str(film.resolve())]
        unique = counts[name.casefold()] == 1 and owners[name] is None
        names.append(kept[0] if kept else name if unique else longer)
    return names


def marker_of(folder: Path) -> dict[str, Any]:
    """Return what the marker of a film holds; {} if the film was not answered."""
    try:
        found = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
