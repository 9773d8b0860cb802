"""Label maps: from a database's own emotions to the classes of a comparison; the rules are in `tables/labels.toml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mien.datasets.action_units import parse_action_units
from mien.datasets.base import table
from mien.errors import unknown_name
from mien.types import Clip, Sample

__all__ = ["LABEL_MAPS", "LabelMap", "label_map", "label_maps_of", "own_labels", "parse_action_units", "samples"]


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Which class a clip counts as.

    Attributes:
        name: Name, as typed after `--labels`.
        title: Name for people.
        classes: Class names; a label is an index into them. Empty for `own`, whose classes depend on the clips.
        datasets: Ids of the databases it is meant for.
        by: What is mapped: "emotion", or "objective" for the class by action units in `Clip.extra`.
        rules: Dataset id (or "any") -> own label -> class name.
        left_out: (dataset, subject, clip) of clips that a published list leaves out.
        source: Who defined it.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    datasets: tuple[str, ...] = ()
    by: str = "emotion"
    rules: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    left_out: frozenset[tuple[str, str, str]] = frozenset()
    source: str = ""

    def of(self, clip: Clip) -> int | None:
        """The class of a clip, as an index; None when the map leaves the clip out."""
        if (clip.dataset, clip.subject, clip.name) in self.left_out:
            return None
        printed = clip.emotion if self.by == "emotion" else clip.extra.get(self.by, "")
        rule = {**self.rules.get("any", {}), **self.rules.get(clip.dataset, {})}
        name = rule.get(printed, printed)
        return self.classes.index(name) if name in self.classes else None


def _read(name: str, entry: Mapping[str, Any]) -> LabelMap:
    return LabelMap(
        name=name,
        title=entry["title"],
        classes=tuple(entry["classes"]),
        datasets=tuple(entry["datasets"]),
        by=entry.get("field", "emotion"),
        rules=entry.get("rules", {}),
        left_out=frozenset((c["dataset"], c["subject"], c["clip"]) for c in entry.get("leave_out", ())),
        source=entry["source"],
    )


LABEL_MAPS: dict[str, LabelMap] = {name: _read(name, entry) for name, entry in table("labels").items()}


def label_map(name: str) -> LabelMap:
    """A label map by name. That of `own` has no classes yet: see `own_labels`.

    Raises:
        MienError: There is none of that name.
    """
    if name not in LABEL_MAPS:
        raise unknown_name("label map", name, LABEL_MAPS, "mien datasets NAME")
    return LABEL_MAPS[name]


def label_maps_of(dataset_id: str) -> tuple[str, ...]:
    """Names of the label maps meant for one database."""
    return tuple(name for name, each in LABEL_MAPS.items() if dataset_id in each.datasets)


def own_labels(clips: Sequence[Clip]) -> LabelMap:
    """The map of some clips' own emotions: every emotion that occurs is a class, in alphabetical order."""
    own = LABEL_MAPS["own"]
    return LabelMap(own.name, own.title, tuple(sorted({c.emotion for c in clips if c.emotion})), own.datasets)


def samples(clips: Sequence[Clip], name: str) -> list[Sample]:
    """The clips that a label map keeps, with their classes, in the order given.

    Args:
        clips: Clips of one or more databases.
        name: Name of the label map; under "own" the classes are those of `own_labels(clips)`.

    Raises:
        MienError: There is no such label map.
    """
    chosen = own_labels(clips) if name == "own" else label_map(name)
    labelled = ((clip, chosen.of(clip)) for clip in clips)
    return [Sample(clip, label, clip.key) for clip, label in labelled if label is not None]
