"""Label maps: from a database's own emotions to the classes of a comparison; the rules are in `tables/labels.toml`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from mien.datasets.action_units import parse_action_units
from mien.datasets.base import card, clears_with_tables, table
from mien.errors import MienError, unknown_name
from mien.types import Clip, Sample

__all__ = [
    "LABEL_MAPS",
    "LabelMap",
    "LeftOut",
    "label_map",
    "label_maps_of",
    "left_out",
    "own_labels",
    "parse_action_units",
    "relabelled",
    "samples",
]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One clip that a published list does not hold.

    Attributes:
        dataset: Dataset id.
        subject: Subject.
        clip: Clip.
        printed: Emotion in the sheet that the list was made from; "" where that is not why it is left out.
        reason: Why, for people.
    """

    dataset: str
    subject: str
    clip: str
    printed: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PublishedList:
    """What is known of the clips of one database in a published list.

    Attributes:
        classes: Clips of each class.
        digest: Of the clips and their classes (`mien.datasets.releases.list_digest`); "" where not known.
    """

    classes: Mapping[str, int]
    digest: str = ""


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Which class a clip counts as.

    Attributes:
        name: Name, as typed after `--labels`.
        title: Name for people.
        classes: Class names; a label is an index into them. Empty for `own`, whose classes depend on the clips.
        datasets: Ids of the databases it is meant for; empty for `own`, which is meant for any.
        by: What is mapped: "emotion", or "objective" for the class by action units in `Clip.extra`.
        rules: Dataset id (or "any") -> own label -> class name.
        left_out: Clips that a published list leaves out, by (dataset, subject, clip).
        as_listed: (dataset, subject, clip) -> class of a clip whose label in the published list is not the sheet's.
        lists: Dataset id -> its part of the published list.
        source: Who defined it.
        units: Numbers of the action units that `classes` names, of which a clip may show several; empty for classes.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    datasets: tuple[str, ...] = ()
    by: str = "emotion"
    rules: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    left_out: Mapping[tuple[str, str, str], LeftOut] = field(default_factory=dict)
    as_listed: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    lists: Mapping[str, PublishedList] = field(default_factory=dict)
    source: str = ""
    units: tuple[int, ...] = ()

    def units_of(self, clip: Clip) -> tuple[bool, ...]:
        """Return whether a clip shows each of `units`; empty when its action units were not coded."""
        present = {number for _, number in parse_action_units(clip.action_units)}
        return tuple(unit in present for unit in self.units) if present else ()

    def of(self, clip: Clip) -> int | None:
        """Return the class of a clip, as an index; None when the map leaves the clip out."""
        place = _place(clip.dataset, clip.subject, clip.name)
        if place in self.left_out:
            return None
        if self.units:
            shown = self.units_of(clip)
            return (*shown, True).index(True) if shown else None
        printed = clip.emotion if self.by == "emotion" else clip.extra.get(self.by, "")
        rule = {
            **self.rules.get("any", {}),
            **self.rules.get(clip.dataset, {}),
            **_own_rules(clip.dataset).get(self.name, {}),
        }
        name = self.as_listed.get(place) or rule.get(printed, printed)
        return self.classes.index(name) if name in self.classes else None


@clears_with_tables
@cache
def _own_rules(dataset_id: str) -> Mapping[str, Mapping[str, str]]:
    """Rules of label maps in a database's own table: label map -> own label -> class name."""
    try:
        rules: Mapping[str, Mapping[str, str]] = table(dataset_id).get("label_maps", {})
    except MienError:  # a database that no table describes
        return {}
    return rules


def _place(dataset: str, subject: str, clip: str) -> tuple[str, str, str]:
    """Return the key of a clip in a published list; the case of names does not count."""
    return dataset, subject.lower(), clip.lower()


def _read(name: str, entry: Mapping[str, Any]) -> LabelMap:
    return LabelMap(
        name=name,
        title=entry["title"],
        classes=tuple(entry["classes"]),
        datasets=tuple(entry.get("datasets", ())),
        by=entry.get("field", "emotion"),
        rules=entry.get("rules", {}),
        left_out={_place(c["dataset"], c["subject"], c["clip"]): LeftOut(**c) for c in entry.get("leave_out", ())},
        as_listed={_place(c["dataset"], c["subject"], c["clip"]): c["class"] for c in entry.get("as_listed", ())},
        lists={e["dataset"]: PublishedList(e["classes"], e.get("digest", "")) for e in entry.get("lists", ())},
        source=entry["source"],
        units=tuple(entry.get("units", ())),
    )


LABEL_MAPS: dict[str, LabelMap] = {name: _read(name, entry) for name, entry in table("labels").items()}


def label_map(name: str) -> LabelMap:
    """Return a label map by name. That of `own` has no classes yet: see `own_labels`.

    Raises:
        MienError: There is none of that name.
    """
    if name not in LABEL_MAPS:
        raise unknown_name("label map", name, LABEL_MAPS, "mien datasets NAME")
    return LABEL_MAPS[name]


def label_maps_of(dataset_id: str) -> tuple[str, ...]:
    """Return the names of the label maps meant for one database, those that its own table has rules for among them.

    Args:
        dataset_id: Id of a dataset, as `mien datasets` lists them.

    Returns:
        Names for `labels=`.

    Example:
        >>> "strcn4" in label_maps_of("mmew")
        True
    """
    rules = _own_rules(dataset_id)
    try:
        own = card(dataset_id).emotions
    except MienError:
        own = True
    return tuple(
        name
        for name, each in LABEL_MAPS.items()
        if dataset_id in each.datasets or name in rules or (name == "own" and own)
    )


def own_labels(clips: Sequence[Clip]) -> LabelMap:
    """Return the map of some clips' own emotions: every emotion that occurs is a class, in alphabetical order.

    The clips may be of any database.
    """
    own = LABEL_MAPS["own"]
    return replace(own, classes=tuple(sorted({c.emotion for c in clips if c.emotion})))


def samples(clips: Sequence[Clip], name: str, on_warning: Callable[[str], None] | None = None) -> list[Sample]:
    """Return the clips that a label map keeps, with their classes, in the order given.

    Args:
        clips: Clips of one or more databases.
        name: Name of the label map; under "own" the classes are those of `own_labels(clips)`.
        on_warning: Called with each reason why the result is not the published list; None gives a Python warning.

    Raises:
        MienError: There is no such label map.
    """
    chosen = own_labels(clips) if name == "own" else label_map(name)
    labelled = ((clip, chosen.of(clip)) for clip in clips)
    for text in relabelled(clips, name):
        if on_warning is None:
            warnings.warn(text, stacklevel=2)
        else:
            on_warning(text)
    return [Sample(clip, label, clip.key, chosen.units_of(clip)) for clip, label in labelled if label is not None]


def relabelled(clips: Sequence[Clip], name: str) -> list[str]:
    """Return what shows that clips come from another label sheet than the one a published list was made from.

    Args:
        clips: Clips of one or more databases.
        name: Name of the label map.
    """
    chosen = label_map(name)
    found: dict[str, list[str]] = {}
    for clip in clips:
        entry = chosen.left_out.get(_place(clip.dataset, clip.subject, clip.name))
        if entry is not None and entry.printed and clip.emotion != entry.printed:
            text = f"{clip.subject}/{clip.name} is {clip.emotion or 'unlabelled'} here and {entry.printed} there"
            found.setdefault(clip.dataset, []).append(text)
    return [
        f"The label sheet of {dataset} is not the one that the list of {name} was made from: {'; '.join(texts)}. "
        f"{name} leaves {'it' if len(texts) == 1 else 'them'} out, as the list does."
        for dataset, texts in found.items()
    ]


def left_out(clips: Sequence[Clip], name: str) -> dict[str, int]:
    """Return how many clips a label map leaves out, by reason.

    Args:
        clips: Clips of one or more databases.
        name: Name of the label map.

    Returns:
        Reason -> clips, most frequent first, such as {"others is no class": 99}; empty where every clip is kept.
    """
    chosen = own_labels(clips) if name == "own" else label_map(name)
    counts: dict[str, int] = {}
    for clip in clips:
        if chosen.of(clip) is not None:
            continue
        printed = clip.emotion if chosen.by == "emotion" else clip.extra.get(chosen.by, "")
        if _place(clip.dataset, clip.subject, clip.name) in chosen.left_out:
            reason = f"not in the published list of {name}"
        else:
            what = "action units" if chosen.units else chosen.by
            reason = f"{printed} is no class" if printed and not chosen.units else f"no {what} in the label sheet"
        counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
