"""What every dataset is: one database in its owners' own folder layout, read and never written."""

from __future__ import annotations

import json
import math
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from mien.errors import MienError
from mien.types import Clip, Problem


@dataclass(frozen=True, slots=True)
class Card:
    """The facts about one database that do not depend on a copy of it. Read from `tables/<id>.toml`.

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


@cache
def table(name: str) -> Mapping[str, Any]:
    """The data file `tables/<name>.toml`: layout, columns, corrections, counts."""
    return tomllib.loads((files("mien.datasets") / "tables" / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def card(dataset_id: str) -> Card:
    """The card of one dataset, from the `[card]` part of its table."""
    entry = dict(table(dataset_id)["card"])
    entry["task"] = tuple(entry["task"])
    entry.setdefault("fps", None)
    return Card(id=dataset_id, **entry)


MARKER = "SYNTHETIC.txt"
"""File in the root of a written corpus: its faces are drawn, its counts and scores are nobody's."""

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

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise MienError(
                f"The folder {str(root)!r} for {self.id} does not exist.",
                "the folder that holds the database as its owners ship it.",
                f"`{self.id}=/path/to/the/folder`.",
            )

    @property
    def card(self) -> Card:
        """The facts about this database: licence, citation, expected counts."""
        return card(self.id)

    @property
    def drawn(self) -> bool:
        """Whether this is a written corpus of drawn faces, not the real database."""
        return (self.root / MARKER).is_file()

    @cached_property
    def made(self) -> Mapping[str, Any]:
        """How `mien synthesise` made this corpus; empty for other databases.

        Raises:
            MienError: The file that says so is damaged.
        """
        try:
            told = json.loads((self.root / MANIFEST).read_text(encoding="utf-8"))
            fps = float(told["fps"])
            if not (isinstance(told["layout"], str) and math.isfinite(fps) and fps > 0):
                raise ValueError("layout or fps")
            return {**told, "fps": fps}
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
        """All micro-expression clips, in the order of the label sheet. Reads no pixels.

        Raises:
            MienError: The label sheet is missing, unreadable or lacks a column.
        """

    def videos(self) -> list[Clip]:
        """Whole videos for spotting, those without a micro-expression included; empty where there are none."""
        return []

    @abstractmethod
    def problems(self) -> list[Problem]:
        """What is wrong with this copy beyond what every dataset is checked for: label sheet oddities, corrections."""
