"""Who is who over several databases: one person must not be counted as two."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mien.datasets.base import card
from mien.datasets.layout import layout
from mien.errors import MienError
from mien.types import Clip

Person = tuple[str, str]


def same_people(clips: Iterable[Clip]) -> list[tuple[Person, ...]]:
    """Return the people who are among clips under several names, each as the (dataset, subject) they go by.

    Ready flow pictures of CASME II print sub01 where its sheet has 01, and the cameras of SMIC filmed the same people.
    Where one group numbered people anew in each database (CASME, CASME II, CAS(ME)^2), nobody knows who is who.

    Args:
        clips: Clips of any databases.
    """
    names: dict[Person, dict[Person, None]] = {}
    for person in dict.fromkeys(clip.person for clip in clips):
        names.setdefault(_known_as(*person), {})[person] = None
    return [tuple(each) for each in names.values() if len(each) > 1]


def require_apart(clips: Sequence[Clip]) -> None:
    """Refuse clips among which one person goes by two names, so that he would be on both sides of a fold.

    Args:
        clips: Clips of any databases.

    Raises:
        MienError: One person goes by two names.
    """
    shared = same_people(clips)
    if shared:
        examples = "; ".join(" is ".join("/".join(name) for name in names) for names in shared[:3])
        databases = sorted({dataset for names in shared for dataset, _ in names})
        raise MienError(
            f"{len(shared)} subject(s) exist in two of the databases under two names: {examples}.",
            "each person once, else a fold is tested on the people it was trained on.",
            f"one database of {' and '.join(databases)} alone, or one copy of its clips.",
        )


def _known_as(dataset: str, subject: str) -> Person:
    """One name for a subject whatever the spelling, over all databases that share their subjects' names."""
    try:
        facts, where = card(dataset), layout(dataset)
    except MienError:  # a database that no table describes
        return dataset, subject
    number = int(subject) if subject.isdecimal() else None
    match = re.fullmatch(where.subject_pattern, subject, re.IGNORECASE) if where.subject_pattern else None
    if match:
        number = int(match[1])
    spelt = subject if number is None else where.subject.format(number)
    return (facts.family if facts.same_subjects else dataset), spelt
