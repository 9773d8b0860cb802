"""Base of every dataset: one database in its owners' own folder layout, read and never written."""

from __future__ import annotations

import json
import math
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from mien.errors import MienError
from mien.types import Clip, Problem


@dataclass(frozen=True, slots=True)
class Card:
    """The facts about one database that do not depend on a copy of it. Read from its table.

    Attributes:
        id: Dataset id, as in DESIGN (`casme2`).
        title: The database's own name ("CASME II").
        task: What the layout serves: any of "recognition", "spotting".
        licence: Terms of use in one sentence.
        request: How to ask for a copy.
        citation: The paper to cite, as its authors ask.
        fps: Nominal frames per second; None when it varies.
        colour: False where the frames are grey.
        labels: Label map used when none is asked for.
        expected: Published counts, such as {"clips": 255, "subjects": 26}; checked by `mien check`.
        emotions: False where the label sheet gives no emotion, so that there is nothing for `own` to map.
        family: Name that databases recorded by one group share: one person may be in several of them.
        same_subjects: Whether one subject name means one person in all databases of the family.
        unverified: What could not be verified on a real copy, in one sentence; "" where nothing is left.
    """

    id: str
    title: str
    task: tuple[str, ...]
    licence: str
    request: str
    citation: str
    fps: float | None
    colour: bool
    labels: str
    expected: Mapping[str, int] = field(default_factory=dict)
    emotions: bool = True
    family: str = ""
    same_subjects: bool = False
    unverified: str = ""


Cached = TypeVar("Cached")

_FILES: dict[str, Traversable] = {}
_CACHES: list[Any] = []


def add_table(name: str, file: Traversable) -> None:
    """Make the table of a database from outside this package known under its id.

    Args:
        name: Dataset id.
        file: The table, a TOML file; a `Path` or a resource of a package.
    """
    _FILES[name] = file
    for each in _CACHES:
        each.cache_clear()


def table_file(name: str) -> Traversable:
    """Return where a database's table is: the file that was registered, else `tables/<name>.toml` of this package."""
    return _FILES.get(name) or files("mien.datasets") / "tables" / f"{name}.toml"


@cache
def table(name: str) -> Mapping[str, Any]:
    """Return the table of one database: card, layout, columns, corrections, releases.

    Raises:
        MienError: There is no such table, or it is no TOML file.
    """
    return read_table(table_file(name))


def read_table(file: Traversable) -> Mapping[str, Any]:
    """Return what a table says.

    Raises:
        MienError: There is no such file, or it is no TOML file.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise MienError(
            f"The table {str(file)!r} of a database cannot be read ({error}).",
            "a TOML file with the parts [card], [sheet], [columns] and [frames].",
            "compare it with a table in `mien/datasets/tables`, such as casme2.toml.",
        ) from None


@cache
def card(dataset_id: str) -> Card:
    """Return the card of one dataset, from the `[card]` part of its table.

    Raises:
        MienError: The table cannot be read or lacks a fact.
    """
    entry = dict(table(dataset_id).get("card", {}))
    entry.pop("id", None)
    entry["task"] = tuple(entry.get("task", ()))
    entry.setdefault("fps", None)
    try:
        return Card(id=dataset_id, **entry)
    except TypeError as error:
        raise MienError(
            f"The [card] of the table {str(table_file(dataset_id))!r} is not complete ({error}).",
            "title, task, licence, request, citation, colour and labels.",
            "compare it with a table in `mien/datasets/tables`, such as casme2.toml.",
        ) from None


_CACHES += [table, card]


@cache
def databases_with_tables() -> tuple[str, ...]:
    """Return the ids of the databases of this package whose table has a label sheet."""
    names = sorted(f.name.removesuffix(".toml") for f in (files("mien.datasets") / "tables").iterdir())
    tables = {name: table(name) for name in names if name != "labels"}
    return tuple(n for n, each in tables.items() if "card" in each and ("sheet" in each or "shares" in each))


def family_of(dataset_id: str) -> str:
    """Return the name that databases recorded by one group share; "" for a database that no table describes.

    One person may be in several databases of a family, under whatever names.

    Example:
        >>> family_of("casme2") == family_of("casme_sq")
        True
    """
    try:
        return card(dataset_id).family
    except MienError:
        return ""


def clears_with_tables(function: Cached) -> Cached:
    """Register a cached function that reads tables, so that it forgets them when one is added."""
    _CACHES.append(function)
    return function


MARKER = "SYNTHETIC.txt"
"""File in the root of a synthetic corpus: its faces are nobody's, and so are its counts and scores."""

MANIFEST = "synthesis.json"
"""File in the root of a corpus that `mien synthesise` wrote: how, as JSON; `layout` and `fps` among it."""


class Dataset(ABC):
    """One database on disk.

    Args:
        root: Folder that holds the copy, in its owners' layout.

    Raises:
        MienError: The folder does not exist or does not hold this database.
    """

    id: ClassVar[str]
    table_file: ClassVar[Traversable | None] = None
    """The table of a database from outside this package; None for `tables/<id>.toml` of this package."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise MienError(
                f"The folder {str(root)!r} for {self.id} does not exist.",
                "the folder that holds the database as its owners distribute it.",
                f"`{self.id}=/path/to/the/folder`.",
            )

    @property
    def card(self) -> Card:
        """Facts about this database: licence, citation, expected counts."""
        return card(self.id)

    @property
    def is_synthetic(self) -> bool:
        """Whether this is a synthetic corpus and not the real database."""
        return (self.root / MARKER).is_file()

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """How `mien synthesise` made this corpus, as its `synthesis.json` has it; empty for other databases.

        Raises:
            MienError: The file that says so is damaged.
        """
        try:
            manifest = json.loads((self.root / MANIFEST).read_text(encoding="utf-8"))
            fps = float(manifest["fps"])
            if not (isinstance(manifest["layout"], str) and math.isfinite(fps) and fps > 0):
                raise ValueError("layout or fps")
            return {**manifest, "fps": fps}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise MienError(
                f"{str(self.root / MANIFEST)!r} cannot be read ({type(error).__name__}).",
                "what `mien synthesise` wrote there.",
                "`mien synthesise` again, into a new folder.",
            ) from None

    @abstractmethod
    def clips(self) -> list[Clip]:
        """Return all micro-expression clips, in the order of the label sheet. Reads no pixels.

        Raises:
            MienError: The label sheet is missing, unreadable or lacks a column.
        """

    def expressions(self) -> list[Clip]:
        """Return all labelled expressions, macro-expressions and second intervals of one row included."""
        return self.clips()

    def videos(self) -> list[Clip]:
        """Return the long videos for spotting, also those without an expression; an empty list where there are none."""
        return []

    def expected_at(self, clip: Clip) -> str:
        """Return where the frames of a clip were looked for; "" where the dataset cannot say."""
        return ""

    @abstractmethod
    def problems(self) -> list[Problem]:
        """Return what is wrong with this copy beyond what every dataset is checked for."""
