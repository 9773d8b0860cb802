"""Detected intervals in the forms in which people publish them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.evaluation.referee.frames import FrameRule, frame_runs, read_decisions, runs
from mien.evaluation.referee.table import Table, read_table, read_text
from mien.evaluation.referee.truth import DATASET, KIND, OFFSET, ONSET, SUBJECT, VIDEO, kind_of
from mien.spotting.base import Kind

SCORE: Final = ("score", "confidence", "probability", "conf", "p")
EMOTION: Final = ("emotion", "label", "class", "pred_emotion")
FRAME: Final = ("frame", "frame_no", "frame_number", "index", "t")

Lengths = Mapping[str, tuple[int, int | None]]
"""Kind -> shortest and longest length in frames; no longest where it is None."""

BASELINE_FOLDERS: Final[Mapping[str, tuple[str, Lengths]]] = {
    "ME2": ("casme_sq", {"micro": (7, 16), "macro": (17, None)}),
    "SAMM_MEGC": ("samm_lv", {"micro": (47, 105), "macro": (106, None)}),
}
"""Folders of the MEGC 2020 baseline: their database, and the lengths that count as an expression of each kind.

Source: the shortest lengths are printed in the challenge's own result files; the longest follow from half a second.
"""


@dataclass(slots=True)
class Detections:
    """Detected intervals of any number of videos, a value per interval in each column.

    Attributes:
        dataset: Database as the file says it; "" where it does not.
        subject: Subject; "" where the name of the video holds it.
        video: Video as the file names it.
        kind: "micro", "macro", or "" if the file does not state it.
        onset: First frames.
        offset: Last frames, included.
        score: Scores; NaN where there is none.
        emotion: Recognised emotion; "" where there is none.
        files: (dataset, video) that were looked at, also those without a detection.
        form: What the files are, in words.
        said: What was assumed, in full sentences.
        lengths: Lengths that the form itself calls for, by database.
    """

    dataset: list[str] = field(default_factory=list)
    subject: list[str] = field(default_factory=list)
    video: list[str] = field(default_factory=list)
    kind: list[str] = field(default_factory=list)
    onset: list[float] = field(default_factory=list)
    offset: list[float] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    emotion: list[str] = field(default_factory=list)
    files: list[tuple[str, str, str]] = field(default_factory=list)
    form: str = ""
    said: list[str] = field(default_factory=list)
    lengths: dict[str, Lengths] = field(default_factory=dict)

    def add(
        self,
        video: str,
        intervals: Sequence[tuple[float, float]] | NDArray[Any],
        kind: str = "",
        dataset: str = "",
        subject: str = "",
        scores: Sequence[float] | NDArray[Any] | None = None,
    ) -> None:
        """Add the intervals of one video."""
        n = len(intervals)
        self.files.append((dataset, subject, video))
        self.dataset += [dataset] * n
        self.subject += [subject] * n
        self.video += [video] * n
        self.kind += [kind] * n
        self.onset += [float(a) for a, _ in intervals]
        self.offset += [float(b) for _, b in intervals]
        self.score += [float("nan")] * n if scores is None else [float(s) for s in scores]
        self.emotion += [""] * n

    def join(self, other: Detections) -> None:
        """Add all intervals of another file."""
        for name in ("dataset", "subject", "video", "kind", "onset", "offset", "score", "emotion", "files"):
            getattr(self, name).extend(getattr(other, name))
        forms = [*self.form.split(" and "), *other.form.split(" and ")]
        self.form = " and ".join(dict.fromkeys(filter(None, forms)))
        self.said += [text for text in other.said if text not in self.said]
        self.lengths |= other.lengths


def read_detections(paths: Sequence[Path], rule: FrameRule, kind: str = "") -> Detections:
    """Read detected intervals from files or folders.

    Args:
        paths: Files, or folders of files.
        rule: How frame scores become intervals.
        kind: Kind of all intervals, for files that do not state it.

    Raises:
        MienError: A file is none of the known forms.
    """
    found = Detections()
    for path in paths:
        if not path.exists():
            read_text(path)  # which says so
        found.join(_folder(path, rule) if path.is_dir() else _file(path, rule))
    if not found.files:
        raise MienError(
            f"{', '.join(str(p) for p in paths)!r} holds no predictions.",
            "files of intervals or of frame scores (.csv, .txt, .mat, ...).",
            "the folder that holds them; docs/guide/score.md shows each form.",
        )
    if kind:
        told = sum(map(bool, found.kind))
        if told:
            raise MienError(
                f"--kind {kind} was given, and {told} of {len(found.kind)} intervals have a kind of their own.",
                "intervals without a kind.",
                "the same command without --kind.",
            )
        found.kind = [kind] * len(found.kind)
        found.said.append(f"All intervals were taken as {kind}-expressions (--kind).")
    return found


# Folders


def _folder(path: Path, rule: FrameRule) -> Detections:
    found = Detections()
    baseline = [folder for folder in (path, *sorted(p for p in path.rglob("*") if p.is_dir())) if _baseline(folder)]
    if baseline:
        for folder in baseline:
            found.join(_baseline_folder(folder, rule))
        return found
    files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    for file in files:
        if file.suffix.lower() in (".txt", ".csv", ".tsv", ".jsonl", ".json", ".parquet", ".mat"):
            found.join(_file(file, rule))
    return found


def _baseline(folder: Path) -> tuple[str, Kind, str] | None:
    """Return (name, kind, what it holds) of a folder of the MEGC 2020 baseline; None for another folder."""
    match = re.fullmatch(r"(ME2|SAMM_MEGC)_(micro|macro)_(txtClips|results)", folder.name)
    return (match[1], "micro" if match[2] == "micro" else "macro", match[3]) if match else None


def _baseline_folder(folder: Path, rule: FrameRule) -> Detections:
    match = _baseline(folder)
    assert match is not None
    name, kind, what = match
    dataset, lengths = BASELINE_FOLDERS[name]
    found = Detections(form="MEGC 2020 baseline, " + ("intervals" if what == "txtClips" else "frame decisions"))
    if what == "txtClips":
        chosen = folder / f"p{rule.p_row}"
        if not chosen.is_dir():
            raise MienError(
                f"{str(folder)!r} has no folder p{rule.p_row}.",
                f"one of {', '.join(sorted(p.name for p in folder.iterdir() if p.is_dir())) or 'p1'}.",
                "`--set p_row=1`.",
            )
        for file in sorted(chosen.glob("*.txt")):
            found.add(file.stem, _plain_intervals(file), kind, dataset)
    else:
        for file in sorted(folder.glob("*_prd.mat")):
            first, last = runs(read_decisions(file, rule.p_row))
            found.add(file.stem.removesuffix("_prd"), np.stack([first + 1, last + 1], 1), kind, dataset)
        found.said.append("Frame decisions: the first frame is number 1, as in the baseline's own intervals.")
    found.lengths[dataset] = lengths
    return found


def _plain_intervals(file: Path) -> list[tuple[float, float]]:
    """Read lines of onset, offset and perhaps a score; an empty file has none."""
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        words = line.replace(",", " ").split()
        if not words:
            continue
        try:
            found.append((float(words[0]), float(words[1])))
        except (ValueError, IndexError):
            raise MienError(
                f"Line {number} of {str(file)!r} is {line[:60]!r}.", "onset and offset.", "correct the line."
            ) from None
    return found


# Files


def _file(path: Path, rule: FrameRule) -> Detections:
    if path.suffix.lower() == ".mat":
        raise MienError(
            f"{str(path)!r} is a MATLAB file on its own: its kind and database are not known.",
            "the folder of frame decisions as the MEGC 2020 baseline has it (ME2_micro_results, ...).",
            "the path of that folder.",
        )
    if path.suffix.lower() == ".txt":
        text = read_text(path)
        lines = [line for line in text.splitlines() if line.strip()]
        read = _challenge_log(path, lines) or _lists_of_pairs(path, lines)
        if read is not None:
            return read
    return _from_table(read_table(path), rule)


def _challenge_log(path: Path, lines: Sequence[str]) -> Detections | None:
    """Read lines of video, true onset and offset, found onset and offset, and TP, FP or FN; None for another file."""
    rows = [line.split() for line in lines]
    marked = [row for row in rows if len(row) == 6 and row[5] in ("TP", "FP", "FN")]
    if len(marked) < max(1, len(rows) - 4):
        return None
    found = Detections(form="log of a challenge (TP, FP, FN)")
    found.said.append("A log does not state kinds: all expressions are scored together, unless --kind is given.")
    for row in marked:
        detected = [(_frame(path, row, row[3]), _frame(path, row, row[4]))] if row[5] != "FN" else []
        found.add(row[0].strip("*"), detected)
    return found


def _frame(path: Path, row: Sequence[str], text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise MienError(
            f"{path.name} has the line {' '.join(row)!r}: {text!r} is no frame.",
            "a frame number for a TP or FP.",
            "correct the line.",
        ) from None


def _lists_of_pairs(path: Path, lines: Sequence[str]) -> Detections | None:
    """Read lines of a video and a list of [onset, offset] pairs; None if the file is something else."""
    matches = [re.fullmatch(r"(\S+)\s*(\[.*\])\s*", line.strip()) for line in lines]
    if not all(matches):
        return None
    found = Detections(form="lists of [onset, offset] pairs")
    for match in matches:
        assert match is not None
        numbers = re.findall(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", match[2])
        pairs = [(float(a), float(b)) for a, b in zip(numbers[::2], numbers[1::2], strict=False)]
        if len(numbers) % 2:
            raise MienError(
                f"{path.name}: {match[1]} has {len(numbers)} numbers.",
                "pairs of onset and offset.",
                "correct the line.",
            )
        found.add(match[1], pairs)
    return found


def _from_table(table: Table, rule: FrameRule) -> Detections:
    if not table.header and len(table.columns) == 4:
        return _proposals(table)
    frame = table.first(FRAME)
    if frame and table.first(ONSET) is None:
        return _frames(table, rule)
    videos = table.need(VIDEO, "the video")
    onsets, offsets = table.numbers(ONSET, "the onset"), table.numbers(OFFSET, "the offset")
    found = Detections(form="table of intervals")
    if table.first(("pred_onset",)):
        found.form = "result file of MEGC 2022"
    kinds = _kinds(table)
    found.video, found.kind = list(videos), kinds
    found.dataset = _texts(table, DATASET)
    found.subject = _texts(table, SUBJECT)
    found.emotion = _texts(table, EMOTION)
    found.onset, found.offset = onsets.tolist(), offsets.tolist()
    score = table.first(SCORE)
    found.score = table.numbers([score], "the score").tolist() if score else [float("nan")] * len(table)
    bad = np.flatnonzero((offsets < onsets) | (np.abs(offsets) > 1 << 53))
    if len(bad):
        row = int(bad[0])
        raise MienError(
            f"{table.where(row)}: an interval from {onsets[row]:g} to {offsets[row]:g} ({len(bad)} such rows).",
            "an offset that is not before the onset.",
            "correct these rows; are the two columns swapped?",
        )
    found.files = list(dict.fromkeys(zip(found.dataset, found.subject, found.video, strict=True)))
    return found


def _texts(table: Table, names: Sequence[str]) -> list[str]:
    column = table.first(names)
    return list(table.columns[column]) if column else [""] * len(table)


def _kinds(table: Table) -> list[str]:
    column = table.first(KIND)
    if column is None:
        return [""] * len(table)
    words = {text: kind_of(text) for text in dict.fromkeys(table.columns[column])}
    wrong = next((text for text, kind in words.items() if kind is None), None)
    if wrong is not None:
        row = list(table.columns[column]).index(wrong)
        raise MienError(
            f"{table.where(row)}: the kind is {wrong!r}.",
            "micro or macro (me and mae are known too).",
            "correct it; or remove that column to score all expressions together.",
        )
    return [str(words[text]) for text in table.columns[column]]


def _proposals(table: Table) -> Detections:
    """Read proposals without a header: file, onset, offset, score."""
    numbered = Table(table.path, dict(zip(("video", "onset", "offset", "score"), table.columns.values(), strict=True)))
    onsets, offsets = (numbered.numbers([name], f"the {name}") for name in ("onset", "offset"))
    cut = int((offsets < onsets).sum())  # published files have such, where proposals were cut at the end of a video
    columns = {**numbered.columns, "offset": [str(v) for v in np.maximum(onsets, offsets)]}
    found = _from_table(Table(table.path, columns), FrameRule())
    if cut:
        found.said.append(f"{cut} proposals of {table.path.name} end before they begin: they count as one frame.")
    found.form = "proposals (file, onset, offset, score)"
    found.said.append("Proposals tell no kinds: all expressions are scored together, unless --kind is given.")
    return found


def _frames(table: Table, rule: FrameRule) -> Detections:
    """Turn a table of frame scores into intervals by the rule."""
    frames = table.numbers(FRAME, "the frame")
    videos, subjects, datasets = _texts(table, VIDEO), _texts(table, SUBJECT), _texts(table, DATASET)
    table.need(VIDEO, "the video")
    curves = {kind: table.numbers([column], f"the score of {kind}-expressions")
              for kind in ("micro", "macro") if (column := table.first((kind, f"{kind}_score")))}  # fmt: skip
    kinds = _kinds(table)
    if not curves:
        curves = {"": table.numbers((*SCORE, "decision", "value"), "the score")}
    found = Detections(form="scores of frames")
    keys: dict[tuple[str, str, str, str], int] = {}
    place = np.fromiter(
        (keys.setdefault(key, len(keys)) for key in zip(datasets, subjects, videos, kinds, strict=True)),
        np.int64,
        len(table),
    )
    order = np.lexsort((frames, place))
    starts = np.searchsorted(place[order], np.arange(len(keys)))
    for (dataset, subject, video, kind), rows in zip(keys, np.split(order, starts[1:]), strict=True):
        numbers = frames[rows]
        if len(numbers) > 1 and (np.diff(numbers) <= 0).any():
            double = int(rows[1:][np.diff(numbers) <= 0][0])
            raise MienError(
                f"{table.where(double)}: frame {frames[double]:g} of {video} is there twice.",
                "each frame of a video once (per kind).",
                "remove one of the rows.",
            )
        for name, curve in curves.items():
            first, last = frame_runs(numbers, curve[rows], rule)
            found.add(video, np.stack([first, last], 1), name or kind, dataset, subject)
    found.said.append(f"Frame scores became intervals by this rule: {rule.words()}.")
    return found


def each_length(lengths: Lengths) -> Iterator[str]:
    """Return the lengths in words."""
    for kind, (shortest, longest) in lengths.items():
        yield f"{kind} {shortest} to {longest}" if longest else f"{kind} from {shortest}"
