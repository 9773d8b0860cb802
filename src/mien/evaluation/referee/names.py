"""Finding the clips and videos of the truth under the names that other people's files use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

Key = tuple[str, str, str]
"""(dataset, subject, clip or video)."""


def _loose(text: str) -> str:
    """Return a name without case, punctuation and leading zeros of its numbers: "sub01/EP02_01f" is "sub1 ep2 1f"."""
    words = re.findall(r"\d+|[a-z]+", text.lower())
    return " ".join(str(int(word)) if word.isdigit() else word for word in words)


def _subject_number(text: str) -> str:
    """Return the number of a subject printed as "s15", "sub01" or "006"; the text itself where it has none."""
    found = re.fullmatch(r"[a-z]*0*(\d+)", text.strip().lower())
    return found[1] if found else text.lower()


def _numbers(text: str) -> str:
    """Return the first two numbers of a name such as "15_0102eatingworms" or "s15/15_0102*"; "" without two."""
    found = re.findall(r"(?:^|[/\\])[a-z]*(\d+)[_ /\\](\d+)", text.lower())
    return " ".join(str(int(n)) for n in found[-1]) if found else ""


@dataclass
class Names:
    """Looks up names of a truth.

    Args:
        keys: The clips or videos of the truth.

    Attributes:
        loosely: Names that were found only by their numbers, and what they were taken for.
    """

    keys: Sequence[Key]
    loosely: dict[str, Key] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._exact: dict[str, set[int]] = {}
        self._near: dict[str, set[int]] = {}
        self._known: dict[tuple[str, str, str], int | None] = {}
        for place, (dataset, subject, name) in enumerate(self.keys):
            for text in {name, f"{subject}/{name}", f"{subject}_{name}", f"{dataset}/{subject}/{name}"}:
                self._exact.setdefault(text, set()).add(place)
            number = _subject_number(subject)
            forms = {
                _loose(name), _loose(f"{subject} {name}"), _loose(f"{number} {name}"),
                _numbers(name), _numbers(f"{subject}_{name}"), _numbers(f"{subject}/{name}"),
            }  # fmt: skip
            for form in forms - {""}:
                self._near.setdefault(form, set()).add(place)

    def find(self, name: str, subject: str = "", dataset: str = "") -> int | None:
        """Return the place of a clip or video in `keys`; None where there is none, or several fit.

        Args:
            name: As the file has it; may be a path with a suffix.
            subject: Subject, where the file has one.
            dataset: Database, where the file has one.
        """
        asked = dataset, subject, name
        if asked not in self._known:
            self._known[asked] = self._search(name, subject, dataset)
        return self._known[asked]

    def _search(self, name: str, subject: str, dataset: str) -> int | None:
        short = PurePosixPath(name.replace("\\", "/")).name
        short = re.sub(r"\.(avi|mp4|mov|mkv|png|jpg|bmp|txt|csv|mat|npy)$", "", short, flags=re.IGNORECASE).strip(" *")
        for table, texts in (
            (self._exact, (f"{subject}/{name}" if subject else name, name, short)),
            (self._near, (_loose(f"{subject} {short}" if subject else short),
                          _loose(f"{_subject_number(subject)} {short}") if subject else _loose(short), _loose(name),
                          _numbers(f"{subject}_{short}") if subject else _numbers(short), _numbers(short))),
        ):  # fmt: skip
            for text in texts:
                found = self._those(table.get(text, set()), subject, dataset)
                if len(found) == 1:
                    place = found.pop()
                    if table is self._near:
                        self.loosely["/".join(filter(None, (dataset, subject, name)))] = self.keys[place]
                    return place
        return None

    def _those(self, places: set[int], subject: str, dataset: str) -> set[int]:
        """Return the places whose subject and database do not contradict those given."""
        return {
            place
            for place in places
            if (not dataset or self.keys[place][0] == dataset)
            and (not subject or _subject_number(self.keys[place][1]) == _subject_number(subject))
        }
