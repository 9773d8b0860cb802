"""make_plan(): everything a run consists of, before anything is trained."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mien
from mien.classifiers.base import Classifier
from mien.classifiers.checkpoint import require_unseen
from mien.datasets.base import Dataset
from mien.datasets.labels import label_map, left_out, own_labels, samples
from mien.datasets.people import require_apart
from mien.datasets.releases import list_remarks
from mien.errors import MienError
from mien.evaluation.leakage import check_folds
from mien.evaluation.outside import check_outside, choose_system
from mien.evaluation.protocols import PROTOCOLS, lacking_classes, make_folds
from mien.evaluation.units import UNITS_TASK, lacking_units, require_units, units_as_text
from mien.parameters import Parameters
from mien.systems.base import System
from mien.types import Clip, Fold, Medium, Sample


@dataclass(frozen=True, slots=True)
class Plan:
    """All that defines a run.

    Attributes:
        system: The system.
        parameters: All its parameters.
        classes: Class names of the label map.
        samples: Clips with their classes, in the order the folds index.
        folds: The protocol's folds.
        settings: What run.json holds.
    """

    system: System
    parameters: Parameters
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    folds: tuple[Fold, ...]
    settings: Mapping[str, Any]

    @property
    def units(self) -> bool:
        """Whether the run is about action units, of which a clip may show several, and not about classes."""
        return self.settings.get("task") == UNITS_TASK

    def build(self) -> Classifier:
        """Return an untrained classifier, which knows the names of the classes or units that it is to learn."""
        classifier = self.system.build(len(self.classes), self.parameters)
        if self.units:
            classifier.units = self.classes
        else:
            classifier.class_names = self.classes
        return classifier

    def label_of(self, sample: Sample) -> str:
        """Return the true class of a clip, or its units as one label ("AU1+AU4")."""
        return units_as_text(sample.units, self.classes) if self.units else self.classes[sample.label]

    def answer_of(self, classifier: Classifier, probabilities: NDArray[np.float32]) -> str:
        """Return what a classifier answers for one clip: its most probable class, or the units it holds present."""
        if self.units:
            return units_as_text(classifier.decide_units(probabilities[None])[0], self.classes)
        return self.classes[int(probabilities.argmax())]

    def targets(self) -> NDArray[np.int64]:
        """Return the class of every clip, (N,), or whether it shows each unit, (N, U) of 0 and 1."""
        return np.array([s.units if self.units else s.label for s in self.samples], dtype=np.int64)


def make_plan(
    data: Sequence[Dataset],
    system: str | System,
    *,
    protocol: str = "loso",
    labels: str | None = None,
    seeds: Sequence[int] = (0,),
    parameters: Mapping[str, Any] | Parameters | None = None,
    protocol_parameters: Mapping[str, Any] | None = None,
    shuffle_labels: bool = False,
) -> Plan:
    """Return the classes, folds and settings of a run; nothing is trained.

    Args:
        data: One or more databases; several are pooled.
        system: Name of the system, import path `package.module:attribute`, or the system itself.
        protocol: Name of the protocol.
        labels: Label map; None takes that of the database, or MEGC 2019's three classes for several databases.
        seeds: Training seeds; each gives a row per clip.
        parameters: Parameters of the system that differ from its defaults.
        protocol_parameters: Parameters of the protocol.
        shuffle_labels: Permute the classes over all clips first: an honest benchmark then falls to chance.

    Raises:
        MienError: Unknown names, parameters the system refuses, too few subjects, one class only, or folds that leak.
    """
    outside = choose_system(system)
    chosen = outside.system
    all_parameters = parameters if isinstance(parameters, Parameters) else chosen.with_parameters(parameters)
    if weights := getattr(all_parameters, "weights", ""):
        from mien.models.weights import weights_file

        weights_file(weights)  # a missing file is refused before clips are prepared
    if len({d.id for d in data}) < len(data):
        names = ", ".join(d.id for d in data)
        raise MienError(f"One database is given twice ({names}).", "each database once.", "one NAME=FOLDER per name.")
    cards = [d.card.labels for d in data]
    name = labels or (cards[0] if len(set(cards)) == 1 else "megc2019")
    listed = [(d, d.clips()) for d in data]
    clips = [clip for _, own in listed for clip in own]
    _require_unique(clips)
    classes = (own_labels(clips) if name == "own" else label_map(name)).classes
    remarks = list_remarks([clip for d, own in listed if not d.is_synthetic for clip in own], name)
    dropped = left_out(clips, name)
    table = samples(clips, name, lambda text: None)  # the remarks have it
    units = name != "own" and bool(label_map(name).units)
    if units:
        require_units(table, classes, name)
    else:
        _require_classes(table, classes, name, clips)
        classes, table = _drop_empty_classes(classes, table)
    if shuffle_labels:
        order = np.random.default_rng(0).permutation(len(table))
        table = [replace(s, label=table[j].label, units=table[j].units) for s, j in zip(table, order, strict=True)]
    missing = sorted({s.clip.medium for s in table} - set(chosen.recipes))
    if missing:
        kinds = {"flow": "ready flow pictures", "frames": "frames of faces"}
        raise MienError(
            f"{chosen.name} cannot read {' or '.join(kinds.get(medium, medium) for medium in missing)}.",
            f"{' or '.join(kinds.get(medium, medium) for medium in chosen.recipes)}.",
            "a database of frames, such as casme2=FOLDER; or `--system flow-svm`, which reads ready flow pictures."
            if missing == ["flow"]
            else "`mien systems` for what each system reads.",
        )
    folds = make_folds(protocol, table, **(protocol_parameters or {}))
    media: set[Medium] = {s.clip.medium for s in table}
    if not isinstance(parameters, Parameters):
        all_parameters = chosen.with_parameters(parameters, media)
        all_parameters.require_effect(parameters or {}, chosen.name, sorted(media))
    if start := getattr(all_parameters, "start", ""):
        require_unseen(start, sorted({s.clip.dataset for s in table}))
    built = chosen.build(len(classes), all_parameters)  # refuses what it cannot be built with before any folder is made
    if units and not built.learns_units:
        raise MienError(
            f"{chosen.name} learns classes, and {name!r} is a map of action units.",
            "a system that learns several units of a clip.",
            "`--system flow-kernels`; or a label map of classes, such as `--labels megc2019`.",
        )
    if units:
        built.require_units()
    _require_pictures_read(chosen, all_parameters, table)
    record = PROTOCOLS.get(protocol)
    if not record.shares_subjects:
        require_apart([s.clip for s in table])
    leaks = [p for p in check_folds(table, folds, shares_subjects=record.shares_subjects) if p.severity == "error"]
    if leaks:
        raise MienError(
            f"The folds leak: {leaks[0].where}: {leaks[0].what}",
            "no clip, copy or subject on both sides of a fold.",
            "`mien check` on the data, or another --protocol.",
        )
    check_outside(outside, all_parameters, len(classes), [s.clip for s in table])
    settings = {
        "version": mien.__version__,
        "system": chosen.name,
        "system_title": chosen.title,
        **({"system_origin": dict(outside.record)} if outside.record else {}),
        "parameters": all_parameters.model_dump(mode="json"),
        "recipes": {
            medium: chosen.recipe(medium, all_parameters).fingerprint
            for medium in sorted({s.clip.medium for s in table})
        },
        "protocol": protocol,
        "protocol_parameters": dict(protocol_parameters or {}),
        "protocol_warning": record.warning,
        "shares_subjects": record.shares_subjects,
        "labels": name,
        "classes": list(classes),
        "data": [{"name": d.id, "root": str(d.root), **_beside(d)} for d in data],
        "datasets": sorted({s.clip.dataset for s in table}),
        **({"task": UNITS_TASK} if units else {}),
        **({"second_flow": True} if _several_pictures(table) else {}),
        "n_clips": len(table),
        **({"left_out": dropped} if dropped else {}),
        **({"remarks": remarks} if remarks else {}),
        "clip_table": hashlib.sha256(clip_table(table, classes).encode()).hexdigest()[:16],
        "seeds": sorted(set(seeds)),
        "n_folds": len(folds),
        "shuffle_labels": shuffle_labels,
        **synthetic_settings(
            {clip.key for d, own in listed if d.is_synthetic for clip in own},
            {table[i].clip.key for fold in folds for i in fold.test},
        ),
        "lacking": lacking_units(table, folds, classes)
        if units
        else {
            fold: [classes[label] for label in missing_labels]
            for fold, missing_labels in lacking_classes(table, folds).items()
        },
    }
    # What run.json gives back after a round trip, so that comparing with it compares like with like.
    settings = json.loads(json.dumps(settings))
    return Plan(chosen, all_parameters, classes, tuple(table), tuple(folds), settings)


def synthetic_settings(synthetic: Set[str], tested: Set[str]) -> dict[str, bool]:
    """Return what the settings of a run say about synthetic faces: of the clips that are tested, not trained on.

    Example:
        >>> synthetic_settings({"synthetic/1/a"}, {"casme2/1/a"})
        {'synthetic': False}
    """
    some = bool(synthetic & tested)
    return {"synthetic": some, **({"partly_synthetic": True} if some and tested - synthetic else {})}


def _require_unique(clips: Sequence[Clip]) -> None:
    seen: set[str] = set()
    for clip in clips:
        if clip.key in seen:
            raise MienError(
                f"Two clips are both called {clip.key}.",
                "one clip per dataset, subject and name.",
                "`mien check` on the data; a database and its flow pictures cannot be pooled.",
            )
        seen.add(clip.key)


def _require_classes(table: Sequence[Sample], classes: Sequence[str], name: str, clips: Sequence[Clip]) -> None:
    present = sorted({classes[s.label] for s in table})
    if len(present) < 2:
        emotions = sorted({clip.emotion or "none" for clip in clips})
        raise MienError(
            f"Under the label map {name!r} there is "
            f"{f'only one class ({present[0]})' if present else 'no clip at all'}; "
            f"the data's own labels are {', '.join(emotions) or 'none'}.",
            "clips of at least two classes.",
            "another label map, such as `--labels own`.",
        )


def _drop_empty_classes(classes: Sequence[str], table: list[Sample]) -> tuple[tuple[str, ...], list[Sample]]:
    """Drop classes without a clip, and renumber the labels: SMIC has no "other" of the four classes of STRCN."""
    used = sorted({s.label for s in table})
    if len(used) == len(classes):
        return tuple(classes), table
    place = {label: n for n, label in enumerate(used)}
    return tuple(classes[label] for label in used), [replace(s, label=place[s.label]) for s in table]


def _several_pictures(table: Sequence[Sample]) -> bool:
    """Whether the clips are ready flow pictures, several of each."""
    return any(s.clip.medium == "flow" and len(s.clip.frames) > 1 for s in table)


def _beside(data: Dataset) -> dict[str, Any]:
    """Return where a database's label sheets and second pictures are, where it has some."""
    sheets, second = getattr(data, "label_sheets", {}), getattr(data, "second", None)
    found: dict[str, Any] = {"label_sheets": {name: str(sheet) for name, sheet in sheets.items()}} if sheets else {}
    return found if second is None else {**found, "second_flow": str(second)}


def _require_pictures_read(chosen: System, parameters: Any, table: Sequence[Sample]) -> None:
    """Refuse a second flow picture that the system would silently leave unread."""
    recipe = chosen.recipe("flow", parameters) if _several_pictures(table) else None
    if recipe is not None and recipe.shape[0] is not None and recipe.steps[0].name != "apex_offset_pictures":
        raise MienError(
            f"{chosen.name} reads one flow picture of each clip.",
            "a system that reads several.",
            "`--system flow-kernels`, or without --second-flow.",
        )


def clip_table(table: Sequence[Sample], classes: Sequence[str]) -> str:
    """Return the text of clips.csv: one row per tested clip."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["dataset", "subject", "clip", "label", "origin", "onset", "apex", "offset"])
    for s in table:
        interval = s.clip.interval
        times = ("", "", "") if interval is None else (interval.onset, interval.apex, interval.offset)
        writer.writerow(
            [
                s.clip.dataset,
                s.clip.subject,
                s.clip.name,
                units_as_text(s.units, classes) if s.units else classes[s.label],
                s.origin,
                *times,
            ]
        )
    return out.getvalue()
