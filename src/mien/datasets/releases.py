"""Known releases of a database, and the published clip lists that a copy can and cannot reproduce."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mien.datasets.base import Card, table
from mien.datasets.labels import LABEL_MAPS, LabelMap, relabelled
from mien.errors import MienError
from mien.types import Clip


@dataclass(frozen=True, slots=True)
class Release:
    """One release of a database that is known to exist.

    Attributes:
        name: Short name, such as "2014-05-08".
        title: What it is, for people.
        counts: What it holds: clips, subjects, videos, expressions, macro, and clips of each emotion.
        notes: How it differs from the others.
        lists: Label map -> why its published clip list cannot be reproduced from this release.
    """

    name: str
    title: str
    counts: Mapping[str, int]
    notes: str = ""
    lists: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListStatus:
    """How the clips of one database compare with a published list.

    Attributes:
        label_map: Name of the label map.
        dataset: Dataset id.
        found: Clips of each class.
        published: Clips of each class in the list.
        same: Whether the clips and their classes are the list's, one by one; None where only its counts are known and
            they agree.
    """

    label_map: str
    dataset: str
    found: Mapping[str, int]
    published: Mapping[str, int]
    same: bool | None

    @property
    def comparable(self) -> bool:
        """Whether there are at least half as many clips; a small part of a database says nothing about its list."""
        return 2 * sum(self.found.values()) >= sum(self.published.values())

    def __str__(self) -> str:
        """Say it in one line."""
        n, of = sum(self.found.values()), sum(self.published.values())
        start = f"{self.label_map}: {n} of {of} clips"
        if self.same:
            return f"{start}, the published list clip by clip"
        if self.same is None:
            return f"{start}, as published"
        pairs = ((name, self.found.get(name, 0), m) for name, m in self.published.items())
        wrong = [f"{name} {k} ({m})" for name, k, m in pairs if k != m]
        return f"{start}, not the published list: {', '.join(wrong) or 'other clips'}"


def releases(dataset_id: str) -> tuple[Release, ...]:
    """Return the known releases of a database, from its table; none where the table names none.

    Example:
        >>> [release.name for release in releases("casme2")][0]
        '2014-05-08'
    """
    try:
        entries = table(dataset_id).get("releases", ())
    except MienError:  # a database that no table describes
        return ()
    return tuple(Release(**entry) for entry in entries)


def known_counts(dataset_id: str, card: Card) -> tuple[Release, ...]:
    """Return the known releases; the card's expected counts stand for one where the table names none."""
    found = releases(dataset_id)
    if found or not card.expected:
        return found
    return (Release("published", "as published", card.expected),)


def differences(counts: Mapping[str, int], release: Release) -> list[str]:
    """Return the counts that differ from a release's, as text."""
    return [
        f"{what} {counts.get(what, 0)} (published {n})"
        for what, n in release.counts.items()
        if counts.get(what, 0) != n
    ]


def nearest(counts: Mapping[str, int], known: Sequence[Release]) -> Release:
    """Return the release whose counts are nearest: the least mean difference, each as a share of its count."""

    def distance(release: Release) -> float:
        return sum(abs(counts.get(what, 0) - n) / max(n, 1) for what, n in release.counts.items()) / len(release.counts)

    return min(known, key=distance)


def list_digest(clips: Sequence[tuple[str, str, str]]) -> str:
    """Return the digest of a clip list, by which a list is known without being copied.

    Args:
        clips: (subject, clip, class) of each clip, in any order. s1_ne_02 and s01_ne_02 are one name.
    """
    lines = sorted(f"{_bare(subject)}/{_bare(clip)}\t{name}" for subject, clip, name in clips)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _bare(name: str) -> str:
    return re.sub(r"(?<![a-z0-9])s0*(?=[0-9])", "s", name.lower())


def list_statuses(clips: Sequence[Clip]) -> list[ListStatus]:
    """Return how clips compare with each published list that is meant for their databases.

    Args:
        clips: Clips of one or more databases; ready flow pictures, which have names of their own, and
            ready features are passed over.
    """
    found = []
    for label_map in LABEL_MAPS.values():
        for dataset in dict.fromkeys(clip.dataset for clip in clips if clip.medium == "frames"):
            published = label_map.lists.get(dataset)
            if published is not None:
                own = [clip for clip in clips if clip.dataset == dataset and clip.medium == "frames"]
                found.append(_status(label_map, dataset, own))
    return found


def list_remarks(clips: Sequence[Clip], name: str) -> list[str]:
    """Return why a score on clips is not one on the published list of a label map; empty where it is.

    A small part of a database is not compared.

    Args:
        clips: Clips of real databases.
        name: Name of the label map.
    """
    remarks = relabelled(clips, name)
    for status in list_statuses(clips):
        if status.label_map == name and status.same is False and status.comparable:
            remarks.append(f"{status.dataset}: {status}.")
    return remarks


def _status(label_map: LabelMap, dataset: str, clips: Sequence[Clip]) -> ListStatus:
    published = label_map.lists[dataset]
    kept = [(c.subject, c.name, label_map.classes[k]) for c in clips if (k := label_map.of(c)) is not None]
    found = Counter(name for _, _, name in kept)
    same: bool | None = None
    if {name: n for name, n in published.classes.items() if n} != dict(found):
        same = False
    elif published.digest:
        same = list_digest(kept) == published.digest
    return ListStatus(label_map.name, dataset, found, published.classes, same)
