"""The truth that predictions are scored against: a database's own folder, or a file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.datasets import DATASETS, open_dataset, parse_spec
from mien.datasets.base import Dataset
from mien.datasets.labels import LABEL_MAPS, samples
from mien.datasets.unit_labels import with_units
from mien.errors import MienError
from mien.evaluation.referee.names import Key
from mien.evaluation.referee.table import Table, read_table, read_text
from mien.evaluation.units import units_as_text
from mien.spotting.base import KINDS, Kind, Spot

SUBJECT: Final = ("subject", "sub", "person", "participant")
CLIP: Final = ("clip", "filename", "file", "name", "video", "vid", "video_id", "video_name")
VIDEO: Final = ("video", "vid", "video_name", "video_id", "file", "filename", "clip", "name")
DATASET: Final = ("dataset", "database", "data", "db")
ONSET: Final = ("onset", "pred_onset", "start", "start_frame", "startframe", "onset_frame")
OFFSET: Final = ("offset", "pred_offset", "end", "end_frame", "endframe", "offset_frame")
FRAME_OR_ONSET: Final = ("frame", "frame_no", "frame_number", *ONSET)
KIND: Final = ("kind", "type", "expression_type", "micro_macro")
LABEL: Final = ("y_true", "truth", "true", "label", "emotion", "class")


@dataclass(frozen=True, slots=True)
class ClipTruth:
    """The clips of one or more databases with their true classes or action units.

    Attributes:
        keys: (dataset, subject, clip) of each.
        labels: True class of each, by name; for action units as `mien.evaluation.units.units_as_text` spells them.
        classes: Class names, or the names of the units.
        label_map: Name of the label map; "as in the file" for a file.
        units: Whether `labels` are action units.
        synthetic: Whether some of it is synthetic.
        said: What was assumed, in full sentences.
    """

    keys: tuple[Key, ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...]
    label_map: str
    units: bool = False
    synthetic: bool = False
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VideoTruth:
    """The long videos of one or more databases with their true expressions.

    Attributes:
        keys: (dataset, subject, video) of each, those without an expression included.
        spots: The true expressions of each, in the database's own frame numbers.
        first: Number of the first frame of each video; None where it is not known.
        kinds: Whether the expressions are told apart into micro and macro.
        synthetic: Whether some of it is synthetic.
        said: What was assumed, in full sentences.
    """

    keys: tuple[Key, ...]
    spots: tuple[tuple[Spot, ...], ...]
    first: tuple[int | None, ...]
    kinds: bool = True
    synthetic: bool = False
    said: tuple[str, ...] = ()


Truths = str | Path | Sequence[str | Path]


def _specs(truth: Truths) -> list[tuple[str, Path]]:
    """Return (dataset id or "", path) of each NAME=PATH or PATH.

    Raises:
        MienError: There is none, a path does not exist, or a name is unknown.
    """
    given = [truth] if isinstance(truth, str | Path) else list(truth)
    if not given:
        raise MienError(
            "No truth is given.", "a database's folder, or a file of true labels.", "`--truth casme2=/data/CASMEII`."
        )
    found = []
    for each in given:
        text = str(each)
        name, path = parse_spec(text) if "=" in text and not Path(text).exists() else ("", Path(text).expanduser())
        if not path.exists():
            raise MienError(
                f"There is no truth at {str(path)!r}.",
                "a database's folder, or a file of true labels.",
                f"`--truth {name or 'casme2'}=/path/to/it`.",
            )
        if path.is_dir() and not name:
            raise MienError(
                f"{str(path)!r} is a folder, and which database it holds is not said.",
                "NAME=FOLDER.",
                f"`--truth casme2={path}`; `mien datasets` lists the names.",
            )
        found.append((name, path) if path.is_file() else (str(DATASETS.get(name).id), path))
    return found


def clip_truth(truth: Truths, labels: str, label_sheets: Mapping[str, Path] | None = None) -> ClipTruth:
    """Read the clips of a truth, with their classes.

    Args:
        truth: NAME=FOLDER of a database, NAME=FILE or FILE of a table (subject, clip, label), or several.
        labels: Label map; "" takes the classes of a file as they are, and of a folder its database's own map.
        label_sheets: Label sheets of ready flow pictures by database, for action units.

    Raises:
        MienError: It cannot be read; or a folder and a file without a label map are mixed.
    """
    specs = _specs(truth)
    if labels and labels not in LABEL_MAPS:
        from mien.datasets.labels import label_map

        label_map(labels)  # raises
    keys: list[Key] = []
    found: list[str] = []
    said: list[str] = []
    opened = [(name, path, open_dataset(name, path) if path.is_dir() else None) for name, path in specs]
    named = labels or next((d.card.labels for _, _, d in opened if d is not None), "")
    chosen = LABEL_MAPS.get(named)
    classes: tuple[str, ...] = chosen.classes if chosen else ()
    units = bool(chosen and chosen.units)
    for name, path, dataset in opened:
        if dataset is not None:
            clips = with_units(dataset.clips(), dict(label_sheets)) if label_sheets else dataset.clips()
            kept = samples(clips, named, said.append)
            if named == "own":
                from mien.datasets.labels import own_labels

                own = own_labels(clips).classes
                classes = tuple(sorted({*classes, *own}))
            else:
                own = classes
            keys += [(s.clip.dataset, s.clip.subject, s.clip.name) for s in kept]
            found += [units_as_text(s.units, classes) if s.units else own[s.label] for s in kept]
        else:
            table = read_table(path)
            rows = _clip_rows(table, name)
            shown = unit_columns(table)
            if shown is not None:
                classes = classes or shown[0]
                true = _unit_labels(table, shown, classes)
            else:
                true = list(table.need(LABEL, "the true class"))
            keys, found, units = keys + rows, found + true, units or shown is not None
    if not classes:
        classes = tuple(sorted(set(found)))
    outside = [label for label in found if not units and label not in classes]
    if outside:
        raise MienError(
            f"The truth has the class {outside[0]!r}, which is not one of the label map {named!r}.",
            f"one of {', '.join(classes)}.",
            "without --labels: the classes of the file as they are.",
        )
    _once(keys)
    synthetic = any(d.is_synthetic for _, _, d in opened if d is not None)
    return ClipTruth(tuple(keys), tuple(found), classes, named or "as in the file", units, synthetic, tuple(said))


def _clip_rows(table: Table, name: str) -> list[Key]:
    subjects = table.need(SUBJECT, "the subject")
    clips = table.need(CLIP, "the clip")
    datasets = table.columns[column] if (column := table.first(DATASET)) else [name or table.path.stem] * len(table)
    return list(zip(datasets, subjects, clips, strict=True))


def unit_columns(table: Table) -> tuple[tuple[str, ...], NDArray[np.float64]] | None:
    """Return the names of the action units that a table has columns of, "AU4", and their values (rows, units).

    Values are NaN where a cell is empty. None where there is no such column.

    Raises:
        MienError: A value is no number from 0 to 1.
    """
    matches = {name: re.fullmatch(r"(?:p_|prob_)?au_?0*(\d{1,2})(?:_[cp])?", name.lower()) for name in table.columns}
    columns = {f"AU{int(found[1])}": name for name, found in matches.items() if found}
    if not columns:
        return None
    values = np.empty((len(table), len(columns)))
    for place, name in enumerate(columns.values()):
        for row, text in enumerate(table.columns[name]):
            try:
                values[row, place] = float(text) if text else np.nan
            except ValueError:
                values[row, place] = -1
            if not (np.isnan(values[row, place]) or 0 <= values[row, place] <= 1):
                raise MienError(
                    f"{table.where(row)}: {name} is {text!r}.",
                    "0 or 1, or a probability between them, or nothing where there is no answer.",
                    f"correct the column {name!r}; intensities divided by their largest value are no probabilities.",
                )
    return tuple(columns), values


def _unit_labels(table: Table, shown: tuple[tuple[str, ...], NDArray[np.float64]], classes: Sequence[str]) -> list[str]:
    names, values = shown
    missing = [name for name in classes if name not in names]
    if missing:
        raise MienError(
            f"The truth {str(table.path)!r} has no column {missing[0]}.",
            f"a column for each of {', '.join(classes)}.",
            "without --labels: the units of the file.",
        )
    places = [names.index(name) for name in classes]
    return [units_as_text(row[places] >= 0.5, classes) for row in values]


def _once(keys: Sequence[Key]) -> None:
    seen: set[Key] = set()
    for key in keys:
        if key in seen:
            raise MienError(
                f"The truth has {'/'.join(key)} twice.", "each clip or video once.", "remove one of the two rows."
            )
        seen.add(key)


# Videos


def video_truth(truth: Truths) -> VideoTruth:
    """Read the long videos of a truth, with their expressions.

    Args:
        truth: NAME=FOLDER of a database, NAME=FILE or FILE, or several. A file is a table (subject, video, onset,
            offset, and kind), in which a row without an onset names a video without an expression; or text of MEGC
            2020 ("s15 0401 macro-expression 557 572 608"), beside which `<its name>_videos.txt` lists all videos.

    Raises:
        MienError: It cannot be read, or has no long video.
    """
    specs = _specs(truth)
    parts = [_from_folder(open_dataset(name, path)) if path.is_dir() else _from_file(path, name)
             for name, path in specs]  # fmt: skip
    keys = [key for part in parts for key in part.keys]
    _once(keys)
    return VideoTruth(
        tuple(keys),
        tuple(spots for part in parts for spots in part.spots),
        tuple(first for part in parts for first in part.first),
        all(part.kinds for part in parts),
        any(part.synthetic for part in parts),
        tuple(text for part in parts for text in part.said),
    )


def _from_folder(dataset: Dataset) -> VideoTruth:
    videos = dataset.videos()
    if not videos:
        raise MienError(
            f"{dataset.id} in {str(dataset.root)!r} has no long videos.",
            "a database for spotting, such as casme_sq or samm_lv; or a file of true intervals.",
            "`mien datasets` for what each serves.",
        )
    true: dict[tuple[str, str], list[Spot]] = {(v.subject, v.name): [] for v in videos}
    left_out = 0
    for clip in dataset.expressions():
        place = clip.subject, clip.extra.get("video", clip.name)
        kind = clip.extra.get("kind", "micro")
        if clip.interval is None or kind not in KINDS or place not in true:
            left_out += 1
            continue
        span = clip.interval
        true[place].append(Spot(span.onset, span.apex, span.offset, _kind(kind), emotion=clip.emotion))
    said = (f"{left_out} labelled expression(s) of {dataset.id} have no interval, kind or video and are no truth.",)
    return VideoTruth(
        tuple((v.dataset, v.subject, v.name) for v in videos),
        tuple(tuple(true[v.subject, v.name]) for v in videos),
        tuple(v.frame_nos[0] if v.frame_nos else None for v in videos),
        synthetic=dataset.is_synthetic,
        said=said if left_out else (),
    )


def kind_of(text: str) -> Kind | None:
    """Return the kind that a word names: "micro-expression", "me", "Macro", "mae"; None for another word."""
    word = re.sub(r"[^a-z]", "", text.lower())
    if word in ("me", "mic") or word.startswith("micro"):
        return "micro"
    if word in ("mae", "mac") or word.startswith("macro"):
        return "macro"
    return None


def _kind(text: str) -> Kind:
    found = kind_of(text)
    assert found is not None
    return found


def _from_file(path: Path, name: str) -> VideoTruth:
    text = read_text(path) if path.suffix.lower() == ".txt" else ""
    if text and len(text.splitlines()[0].split()) == 6 and kind_of(text.splitlines()[0].split()[2]):
        return _from_megc_text(path, name, text)
    table = read_table(path)
    videos = table.need(VIDEO, "the video")
    subjects = table.columns[column] if (column := table.first(SUBJECT)) else [""] * len(table)
    datasets = table.columns[column] if (column := table.first(DATASET)) else [name or path.stem] * len(table)
    onsets, offsets = table.need(ONSET, "the onset"), table.need(OFFSET, "the offset")
    kinds = table.columns[column] if (column := table.first(KIND)) else None
    emotions = table.columns[column] if (column := table.first(("emotion", "label", "class"))) else [""] * len(table)
    true: dict[Key, list[Spot]] = {}
    for row, key in enumerate(zip(datasets, subjects, videos, strict=True)):
        spots = true.setdefault(key, [])
        if onsets[row] in ("", "nan") and offsets[row] in ("", "nan"):
            continue
        kind = kind_of(kinds[row]) if kinds is not None else "micro"
        if kind is None:
            raise MienError(
                f"{table.where(row)}: the kind is {kinds[row] if kinds else ''!r}.",
                "micro or macro.",
                "correct it, or remove the column `kind` to score all expressions together.",
            )
        spots.append(_spot(table, row, onsets[row], offsets[row], kind, emotions[row]))
    return VideoTruth(
        tuple(true), tuple(tuple(spots) for spots in true.values()), (None,) * len(true), kinds is not None
    )


def _spot(table: Any, row: int, onset: str, offset: str, kind: Kind, emotion: str = "") -> Spot:
    try:
        first, last = round(float(onset)), round(float(offset))
    except (ValueError, OverflowError):
        first, last = 1, 0
    if not 0 <= first <= last < 1 << 53:
        raise MienError(
            f"{table.where(row)}: an expression from {onset!r} to {offset!r}.",
            "an onset of 0 or more and an offset that is not before it.",
            "correct the row and run the same command.",
        )
    return Spot(first, None, last, kind, emotion=emotion)


def _from_megc_text(path: Path, name: str, text: str) -> VideoTruth:
    lines = [line.split() for line in text.splitlines() if line.strip()]
    listed = path.with_name(f"{path.stem}_videos.txt")
    dataset = name or path.stem
    said: tuple[str, ...]
    true: dict[Key, list[Spot]] = {}
    if listed.is_file():
        for words in (line.split() for line in read_text(listed).splitlines() if line.strip()):
            true[dataset, words[0], " ".join(words[1:])] = []
        said = (f"All {len(true)} videos are those of {listed.name}, those without an expression among them.",)
    else:
        said = (f"No {listed.name} beside {path.name}: videos without an expression are not known and not scored.",)
    table = Table(path, {"line": [" ".join(words) for words in lines]})
    for row, words in enumerate(lines):
        kind = kind_of(words[2]) if len(words) == 6 else None
        if kind is None:
            raise MienError(
                f"{table.where(row)} is {' '.join(words)!r}.",
                "subject, video, kind, onset, apex and offset, as `s15 0401 macro-expression 557 572 608`.",
                "correct the line and run the same command.",
            )
        true.setdefault((dataset, words[0], words[1]), []).append(_spot(table, row, words[3], words[5], kind))
    return VideoTruth(tuple(true), tuple(tuple(spots) for spots in true.values()), (None,) * len(true), said=said)
