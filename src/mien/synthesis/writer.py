"""Write small corpora of drawn, moving faces in the layout of a database, from the tables that the readers use.

They test everything without a licence: readers, label maps, benchmarks and spotting. The faces are synthetic, so scores
on them say nothing about people.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openpyxl import Workbook
from PIL import Image

from mien.datasets import DATASETS
from mien.datasets.base import Card, card
from mien.datasets.layout import Layout, layout, layout_table
from mien.datasets.official import OfficialDataset
from mien.errors import MienError, unknown_name
from mien.io.atomic import write_atomically
from mien.synthesis.moving_face import mark_as_drawn, render_clip
from mien.types import Clip, Interval

OFFICIAL = tuple(name for name in DATASETS.builtins if issubclass(DATASETS[name], OfficialDataset))
"""Ids of the layouts that `write_corpus` can write."""

_QUIET = 8  # neutral frames before, between and after the expressions of a long video

Cells = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Release:
    """The files of a database that are to be written.

    Attributes:
        card: Facts about the database.
        layout: Layout of its folders and label sheets.
        write: The part of its table that only writers need.
        root: Folder to write into.
    """

    card: Card
    layout: Layout
    write: Mapping[str, Any]
    root: Path

    @property
    def expressions(self) -> list[dict[str, str]]:
        """One example of each emotion, as printed in the label sheet."""
        return list(self.write["expressions"])

    @property
    def frame_root(self) -> Path:
        """Folder that contains the frames."""
        return self.root / self.layout.roots[0]

    @property
    def videos(self) -> list[dict[str, str]]:
        """The long videos of each subject; empty if the database has short clips."""
        return list(self.write.get("videos", ()))


def release(dataset_id: str, root: Path) -> Release:
    """Return the files of a database that are to be written to a folder.

    Args:
        dataset_id: Id of an official layout.
        root: Folder to write into.

    Raises:
        MienError: The layout is unknown.

    Example:
        >>> release("casme2", Path("corpus")).card.id
        'casme2'
    """
    if dataset_id not in OFFICIAL:
        raise unknown_name("official layout", dataset_id, OFFICIAL, "mien datasets")
    return Release(card(dataset_id), layout(dataset_id), layout_table(dataset_id)["write"], Path(root))


@dataclass(frozen=True, slots=True)
class _Corpus(Release):
    """The state of a corpus of drawn faces while it is written."""

    size: int
    frames: int
    rng: np.random.Generator
    seed: int


def write_corpus(
    dataset_id: str,
    root: Path,
    *,
    subjects: int,
    clips_per_subject: int,
    seed: int = 0,
    size: int = 96,
    frames: int = 16,
) -> list[Clip]:
    """Write a small moving-face corpus in the official layout of a database, label sheet included.

    Emotions take turns over all clips, so every label map of the database finds at least two classes from three clips
    on. Databases of long videos get, for each subject, two videos with micro- and macro-expressions and one without any
    expression.

    Args:
        dataset_id: Id of an official layout; `flow_images` has a writer of its own.
        root: Folder to write into; it is created if it does not exist.
        subjects: Number of subjects.
        clips_per_subject: Micro-expressions of each subject.
        seed: The same seed gives the same files.
        size: Height and width of a frame in pixels, at least 16.
        frames: Length of a micro-expression in frames, at least 4.

    Returns:
        The clips that a reader must find, in its order.

    Raises:
        MienError: The layout is unknown or a number is out of range.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clips = write_corpus("casme2", Path(folder), subjects=1, clips_per_subject=2, size=32, frames=4)
        >>> len(clips)
        2
    """
    files = release(dataset_id, root)
    for name, value, least in (
        ("subjects", subjects, 1),
        ("clips_per_subject", clips_per_subject, 1),
        ("size", size, 16),
        ("frames", frames, 4),
    ):
        if value < least:
            raise MienError(f"{name} is {value}.", f"{least} or more.", f"{name}={least}.")
    corpus = _Corpus(
        card=files.card,
        layout=files.layout,
        write=files.write,
        root=files.root,
        size=size,
        frames=frames,
        rng=np.random.default_rng([seed, zlib.crc32(dataset_id.encode())]),
        seed=seed,
    )
    corpus.root.mkdir(parents=True, exist_ok=True)
    mark_as_drawn(corpus.root)
    if "videos" in corpus.write:
        return _write_long(corpus, subjects, clips_per_subject)
    return _write_short(corpus, subjects, clips_per_subject)


def _write_short(corpus: _Corpus, subjects: int, clips_per_subject: int) -> list[Clip]:
    clips: list[Clip] = []
    rows: list[Cells] = []
    for s in range(subjects):
        onset = int(corpus.rng.integers(1, 60))
        for c in range(clips_per_subject):
            expression = corpus.expressions[(s * clips_per_subject + c) % len(corpus.expressions)]
            clip, row = _short_clip(corpus, s, c, onset, expression)
            clips.append(clip)
            rows.append(row)
            onset += corpus.frames + int(corpus.rng.integers(5, 40))
        if "non_micro" in corpus.write:
            _write_non_micro(corpus, s)
    write_sheets(corpus, rows)
    if not corpus.layout.required:
        # The reader finds these clips in folders, subject by subject and emotion by emotion.
        order = {e["emotion"]: i for i, e in enumerate(sorted(corpus.expressions, key=lambda e: e["emotion"]))}
        clips.sort(key=lambda clip: (int(clip.subject.lstrip("s")), order[clip.emotion], clip.name))
    return clips


def _short_clip(corpus: _Corpus, s: int, c: int, onset: int, expression: Mapping[str, str]) -> tuple[Clip, Cells]:
    fields = naming(corpus, s, c, onset, expression)
    apex = onset + int(corpus.rng.integers(corpus.frames // 3, 2 * corpus.frames // 3 + 1))
    offset = onset + corpus.frames - 1
    pixels = _render(corpus, s, expression["face"], corpus.frames, apex - onset, c)
    numbers = tuple(range(onset, offset + 1))
    folder = corpus.frame_root / corpus.layout.folders[0].format(**fields)
    paths = _write_frames(pixels, folder, [corpus.layout.picture.format(**{**fields, "no": no}) for no in numbers])
    has_apex = "apex" in corpus.layout.columns
    extra = {"kind": "micro"}
    if "objective" in expression:
        extra["objective"] = expression["objective"]
    if "apex2" in corpus.layout.optional:
        extra["apex2"] = str(apex + 1)
    clip = Clip(
        dataset=corpus.card.id,
        subject=fields["subject"],
        name=corpus.layout.name.format(**fields),
        interval=Interval(onset, apex if has_apex else None, offset),
        emotion=expression["emotion"].lower(),
        action_units=expression.get("action_units", ""),
        frames=paths,
        frame_nos=numbers,
        fps=corpus.card.fps,
        extra=extra,
    )
    printed = corpus.write.get("subject", "").format(**fields) or fields["number"]
    row: dict[str, str | int] = {
        **{name: text for name, text in expression.items() if name not in {"face", "code"}},
        "subject": printed,
        "clip": fields["clip"],
        "onset": onset,
        "apex": apex,
        "apex2": apex + 1,
        "offset": offset,
    }
    return clip, row


def naming(corpus: Release, s: int, c: int, onset: int, expression: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields for the format strings of subject, clip, folder and picture; s and c count from 0.

    Args:
        corpus: The files of the database.
        s: Number of the subject.
        c: Number of the clip of this subject.
        onset: First frame of the clip.
        expression: An entry of `Release.expressions`.
    """
    number = corpus.write["first_subject"] + s
    fields: dict[str, Any] = {
        "number": number,
        "n": c + 1,
        "letter": chr(ord("a") + c // 2 % 26),
        "onset": onset,
        "code": expression.get("code", ""),
        "emotion": expression["emotion"].lower(),
    }
    fields["subject"] = corpus.write.get("subject", "").format(**fields) or corpus.layout.subject.format(number)
    fields["clip"] = corpus.write["clip"].format(**fields)
    return fields


def _write_non_micro(corpus: _Corpus, s: int) -> None:
    subject = corpus.layout.subject.format(corpus.write["first_subject"] + s)
    pixels = _render(corpus, s, "none", corpus.frames, 1, 0)
    names = [corpus.layout.picture.format(no=no) for no in range(1, corpus.frames + 1)]
    _write_frames(pixels, corpus.frame_root / corpus.write["non_micro"].format(subject=subject), names)


# Long videos


def _write_long(corpus: _Corpus, subjects: int, clips_per_subject: int) -> list[Clip]:
    """Write two videos with expressions and one without any for each subject."""
    clips: list[Clip] = []
    rows: list[Cells] = []
    turn = 0
    for s in range(subjects):
        number = corpus.write["first_subject"] + s
        subject = f"s{number:02d}" if corpus.layout.positions else corpus.layout.subject.format(number)
        first, second, quiet = corpus.write["videos"]
        half = (clips_per_subject + 1) // 2
        for video, micros in ((first, half), (second, clips_per_subject - half)):
            kinds = ["micro"] * micros + ["macro"]
            shown = [corpus.expressions[(turn + i) % len(corpus.expressions)] for i in range(len(kinds))]
            turn += micros
            found, labelled = _long_video(corpus, s, subject, video, list(zip(kinds, shown, strict=True)))
            clips.extend(found)
            rows.extend(labelled)
        _long_video(corpus, s, subject, quiet, [])
    write_sheets(corpus, rows, subjects)
    return [clip for clip in clips if clip.extra["kind"] == "micro"]


def _long_video(
    corpus: _Corpus,
    s: int,
    subject: str,
    video: Mapping[str, str],
    plan: Sequence[tuple[str, Mapping[str, str]]],
) -> tuple[list[Clip], list[Cells]]:
    number = corpus.write["first_subject"] + s
    name = video["folder"].format(subject=subject, number=number)
    parts = [_render(corpus, s, "none", _QUIET, 1, 0)]
    spans: list[Interval] = []
    for k, (kind, expression) in enumerate(plan):
        length = corpus.frames if kind == "micro" else 2 * corpus.frames
        apex = int(corpus.rng.integers(length // 3, 2 * length // 3 + 1))
        onset = sum(map(len, parts)) + 1
        spans.append(Interval(onset, onset + apex, onset + length - 1))
        parts.append(_render(corpus, s, expression["face"], length, apex, k))
        parts.append(_render(corpus, s, "none", _QUIET, 1, k + 1))
    pixels = np.concatenate(parts)
    # If the videos of a subject share a folder, the folder has the name of the subject.
    folder = corpus.frame_root / (f"{subject}/{name}" if corpus.layout.positions else name)
    numbers = range(1, len(pixels) + 1)
    paths = _write_frames(pixels, folder, [corpus.layout.picture.format(video=name, no=no) for no in numbers])
    clips: list[Clip] = []
    rows: list[Cells] = []
    for k, ((kind, expression), span) in enumerate(zip(plan, spans, strict=True)):
        clip = corpus.write["clip"].format(**{"stimulus": "", **video, "video": name, "k": k + 1})
        extra = {"kind": kind, "video": name}
        if "self_report" in expression:
            extra["self_report"] = expression["self_report"]
        clips.append(
            Clip(
                dataset=corpus.card.id,
                subject=subject,
                name=clip,
                interval=span,
                emotion=expression["emotion"],
                action_units=expression["action_units"],
                frames=paths[span.onset - 1 : span.offset],
                frame_nos=tuple(range(span.onset, span.offset + 1)),
                fps=corpus.card.fps,
                extra=extra,
            )
        )
        printed = s + 1 if corpus.layout.positions else number
        times = {"onset": span.onset, "apex": span.apex or 0, "offset": span.offset}
        rows.append({**expression, "subject": printed, "clip": clip, **times, "kind": corpus.write[kind]})
    return clips, rows


# Pixels and sheets


def _render(corpus: _Corpus, s: int, face: str, length: int, apex: int, seed: int) -> NDArray[np.uint8]:
    # Databases must not share a face, because their pictures would be identical.
    identity = zlib.crc32(corpus.card.id.encode()) % 10_000 * 1_000 + s
    return render_clip(
        identity,
        face,
        interval_length=length,
        apex=apex,
        size=corpus.size,
        seed=1000 * corpus.seed + seed,
        colour=corpus.card.colour,
    )


def _write_frames(pixels: NDArray[np.uint8], folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / name for name in names)
    for frame, path in zip(pixels, paths, strict=True):
        # A two-dimensional array is saved with a single channel.
        Image.fromarray(frame).save(path, quality=95)
    return paths


def write_sheets(corpus: Release, rows: Sequence[Cells], subjects: int = 0) -> None:
    """Write the label sheet of a database, and the sheets that add columns to it.

    Args:
        corpus: The files of the database.
        rows: One row per expression, by canonical column.
        subjects: Number of subjects, for sheets that list them.
    """
    if corpus.write.get("subject_as_text"):
        rows = [{**row, "subject": _Text(_printed_subject(corpus, row["subject"]))} for row in rows]
    for join in corpus.layout.joins:
        titles = {name: spelt[0] for name, spelt in join.columns.items()}
        _save([list(titles.values()), *([row.get(n, "") for n in titles] for row in rows)], corpus.root / join.writes)
    path = corpus.root / corpus.layout.writes
    if corpus.layout.positions:
        _write_three_sheets(corpus, rows, subjects, path)
        return
    canonical = {spelt[0]: name for name, spelt in {**corpus.layout.columns, **corpus.layout.optional}.items()}
    fill: Mapping[str, str] = corpus.write.get("fill", {})
    lines: list[list[str | int]] = [[f"Remark {i + 1} on a made-up corpus"] for i in range(corpus.layout.preamble)]
    lines.append(list(corpus.layout.header))
    for row in rows:
        length = int(row["offset"]) - int(row["onset"]) + 1
        known: dict[str, str | int] = {**fill, "Duration": length, "TotalMF1": length, "TotalVL": length}
        known.update(FirstF=row["onset"], LastF=row["offset"])
        lines.append(
            [
                row.get(canonical[title], "") if title in canonical else known.get(title, "")
                for title in corpus.layout.header
            ]
        )
    _save(lines, path)


def _write_three_sheets(corpus: Release, rows: Sequence[Cells], subjects: int, path: Path) -> None:
    """Write the sheets of CAS(ME)^2: labels without a header, then the keys of subject numbers and stimulus names."""
    names = layout_table(corpus.card.id)["naming"]
    first = corpus.write["first_subject"]
    labels = [[row.get(name, "") for name in corpus.layout.positions] for row in rows]
    people = [[first + s, f"s{first + s:02d}", s + 1] for s in range(subjects)]
    stimuli = [[video["code"], video["stimulus"]] for video in corpus.write["videos"]]
    book = Workbook()
    book.remove(book.worksheets[0])
    for title, lines in ((names["title"], labels), (names["subjects"], people), (names["stimuli"], stimuli)):
        sheet = book.create_sheet(title)
        for line in lines:
            sheet.append([_cell(value) for value in line])
    _keep(book, path)


def _save(lines: Sequence[Sequence[str | int]], path: Path) -> None:
    book = Workbook()
    for line in lines:
        book.worksheets[0].append([_cell(value) for value in line])
    _keep(book, path)


def _keep(book: Workbook, path: Path) -> None:
    """Save a workbook without its time stamp, so that the same cells give the same bytes."""
    buffer = io.BytesIO()
    book.save(buffer)
    made = io.BytesIO()
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename == "docProps/core.xml":
                content = re.sub(rb"\d{4}-\d\d-\d\dT[\d:.]+Z", b"2000-01-01T00:00:00Z", content)
            new.writestr(zipfile.ZipInfo(entry.filename), content, zipfile.ZIP_DEFLATED)
    write_atomically(path, made.getvalue())


class _Text(str):
    """A cell that the released sheet stores as text, though it looks like a number."""

    __slots__ = ()


def _printed_subject(corpus: Release, subject: str | int) -> str:
    return subject if isinstance(subject, str) else corpus.layout.subject.format(subject)


def _cell(value: str | int) -> str | int | None:
    """Convert a cell as a spreadsheet does: a single action unit is a number, a code with leading zeros is text."""
    if isinstance(value, _Text):
        return str(value)
    if isinstance(value, str) and value.isdigit() and not value.startswith("0"):
        return int(value)
    return value if value != "" else None
