"""Frozen records that all parts of mien share. Importing this module is cheap: it needs neither torch nor pandas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

Medium = Literal["frames", "flow", "features"]

IntervalSource = Literal["annotated", "detected", "ready", "failed"]
"""Where the onset and apex of a clip came from: the database's annotation; a program, where one of them was missing or
the recipe always detects it; a ready flow picture; or "failed" where the clip could not be prepared."""

_FORMER_SOURCES: dict[str, IntervalSource] = {"given": "annotated", "found": "detected"}


def read_interval_source(text: str) -> IntervalSource:
    """Return the interval source named in a file; files of earlier versions say "given" and "found".

    Raises:
        ValueError: It is neither.

    Example:
        >>> read_interval_source("found")
        'detected'
    """
    source = _FORMER_SOURCES.get(text, text)
    if source not in get_args(IntervalSource):
        raise ValueError(f"{text!r} is not one of {', '.join(get_args(IntervalSource))}")
    return cast("IntervalSource", source)


@dataclass(frozen=True, slots=True)
class Interval:
    """Onset, apex and offset of one micro-expression, in the database's own frame numbers.

    Attributes:
        onset: First frame of the movement.
        apex: Frame of the largest change; None where the database gives none (SMIC).
        offset: Last frame of the movement (included).
    """

    onset: int
    apex: int | None
    offset: int


@dataclass(frozen=True, slots=True)
class Clip:
    """One micro-expression (or one whole video, where `interval` is None), as its database knows it.

    Attributes:
        dataset: Dataset id (`casme2`, `smic_hs`, ...).
        subject: Subject as the database prints it; unique only within its dataset.
        name: Clip name as the database prints it; unique only within its subject.
        interval: Onset, apex, offset in frame numbers; None for ready flow pictures and whole videos.
        emotion: The database's own label, lower case, "" when it gives none.
        action_units: Action units as printed in the label sheet ("4+L12"), "" when not given.
        medium: "frames" for pictures of a face in time order, "flow" for one ready flow picture, "features" for one
            vector of ready features.
        frames: Picture files in time order, possibly without some numbers; one file when medium is "flow".
        frame_nos: The database's number of each file in `frames` (empty when medium is "flow").
        fps: Frames per second; None when not known.
        video: The video file that holds the frames, where they are not pictures; frame numbers then count from 0.
        extra: Further columns of the label sheet, as text: `objective`, `kind` (micro, macro, non_micro), ...
    """

    dataset: str
    subject: str
    name: str
    interval: Interval | None
    emotion: str
    action_units: str = ""
    medium: Medium = "frames"
    frames: tuple[Path, ...] = ()
    frame_nos: tuple[int, ...] = ()
    fps: float | None = None
    video: Path | None = None
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return `dataset/subject/name`, which identifies a clip uniquely over all datasets."""
        return f"{self.dataset}/{self.subject}/{self.name}"

    @property
    def person(self) -> tuple[str, str]:
        """Return (dataset, subject), which identifies a subject uniquely over all datasets."""
        return self.dataset, self.subject


@dataclass(frozen=True, slots=True)
class Sample:
    """A clip with the class it counts as under one label map.

    Attributes:
        clip: The clip.
        label: Index into the class names of the label map; under a map of action units, that of the first present.
        origin: Key of the clip this one is a copy of; its own key unless augmented.
        units: Under a label map of action units, whether each of them is present; empty otherwise.
    """

    clip: Clip
    label: int
    origin: str = ""
    units: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with data on disk or with a set of folds.

    Attributes:
        where: Path, clip key or fold name.
        what: What is wrong, in one sentence.
        severity: "error" makes `mien check` fail; "note" is for the reader only.
    """

    where: str
    what: str
    severity: Literal["error", "note"] = "error"


@dataclass(frozen=True, slots=True)
class Fold:
    """One train/test division, as indices into the list of samples it was made from.

    Attributes:
        name: What is held out, as text that is safe in a file name (`casme2-sub01`).
        train: Indices of the training samples, ascending.
        test: Indices of the test samples, ascending; disjoint from `train`.
    """

    name: str
    train: tuple[int, ...]
    test: tuple[int, ...]
