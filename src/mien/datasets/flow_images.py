"""The MEGC 2019 composite as the ready flow pictures the community passes around: one picture per micro-expression.

Two layouts are read: a folder per subject (`<subject>/u_test/<label>/*.png`), and flat pictures beside a CSV
of clips. How a subject is printed says which database its pictures were made from, and that database is `Clip.dataset`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from mien import MOST_PIXELS
from mien.datasets.base import Dataset, table
from mien.datasets.unit_labels import with_units
from mien.errors import MienError
from mien.types import Clip, Problem

Layout = Literal["folders", "csv"]

_ID: Final = "flow_images"


@cache
def _names() -> Mapping[str, Any]:
    return table(_ID)


def _layout(key: str) -> str:
    return str(_names()["layout"][key])


def _column(key: str) -> str:
    return str(_names()["columns"][key])


@cache
def _database_of(subject: str) -> str | None:
    """Return the dataset id from the form of a subject's name; None for an unknown form."""
    return next((str(k["dataset"]) for k in _names()["subjects"] if re.fullmatch(k["pattern"], subject)), None)


def _unknown_subject(subject: str, where: Path) -> MienError:
    kinds = ", ".join(f"{kind['shown']} ({kind['dataset']})" for kind in _names()["subjects"])
    hint = " A spreadsheet may have dropped the leading zeros." if subject.isdigit() else ""
    return MienError(
        f"{str(where)!r} names a subject {subject!r} that belongs to no database of the composite.{hint}",
        f"subjects printed as {kinds}.",
        "rename it as its database prints it, or move it out of the folder.",
    )


def _emotion(label: str, where: str) -> str:
    labels: Mapping[str, str] = _names()["labels"]
    if label not in labels:
        raise MienError(
            f"{where} has the label {label!r}.",
            f"one of {', '.join(f'{k} ({v})' for k, v in labels.items())}.",
            "rename the label, or move what it holds out of the folder.",
        )
    return labels[label]


def _pictures(folder: Path) -> list[Path]:
    """Return the picture files directly in a folder, sorted by name, without hidden files."""
    suffixes = set(_names()["layout"]["suffixes"])
    found = (p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith("."))
    return sorted(p for p in found if p.is_file())


def _name(picture: Path) -> str:
    # Many published file names end in a space before the suffix.
    return picture.stem.strip()


def _sorted_folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the CSV of clips."""

    line: int
    dataset: str
    subject: str
    name: str
    picture: str
    label: str


def _read_csv(path: Path) -> list[_Row]:
    """Return the lines of the CSV of clips; names are those of the pictures, without suffix.

    Raises:
        MienError: It is not a CSV in UTF-8 or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = header
            lines = [{k: (v or "").strip() for k, v in line.items() if isinstance(k, str)} for line in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise MienError(
            f"{str(path)!r} cannot be read as a CSV ({error}).",
            "comma-separated text in UTF-8.",
            "save it as `CSV UTF-8`.",
        ) from None
    required: list[str] = _names()["columns"]["required"]
    missing = [name for name in required if name not in header]
    if missing:
        raise MienError(
            f"{str(path)!r} has no column {', '.join(missing)}; it has {', '.join(header) or 'none'}.",
            f"comma-separated columns {', '.join(required)}.",
            "rename the columns, or save the file with commas between them.",
        )
    rows = []
    for number, line in enumerate(lines, start=2):
        subject, clip = line[_column("subject")], line[_column("clip")]
        if not any(line.values()):
            continue
        picture = Path(line.get(_column("picture"), "")).stem.strip()
        name = f"{subject}_{clip}" if clip else picture
        rows.append(_Row(number, line.get(_column("dataset"), ""), subject, name, picture, line[_column("label")]))
    return rows


class FlowImages(Dataset):
    """The MEGC 2019 composite as ready flow pictures, in either layout.

    Args:
        root: Folder that holds the subjects' folders, or the pictures and their CSV.
        label_sheets: Dataset id to that database's label sheet, for the action units of its clips.
        second: Folder of a second flow picture of each clip, with the same names; clips and labels come from the first.

    Raises:
        MienError: A folder does not exist, or `root` is in neither layout.
    """

    id: ClassVar[str] = _ID

    def __init__(
        self, root: Path, *, label_sheets: Mapping[str, Path] | None = None, second: Path | None = None
    ) -> None:
        super().__init__(root)
        self.label_sheets = dict(label_sheets or {})
        self.second = None if second is None else Path(second)
        self.layout: Layout
        if any(self.root.glob(f"*/{_layout('test')}")):
            self.layout = "folders"
        elif self._csv() is not None and _pictures(self.root):
            self.layout = "csv"
        else:
            raise self._not_here()

    def _csv(self) -> Path | None:
        usual = self.root / _layout("csv")
        if usual.is_file():
            return usual
        others = sorted(p for p in self.root.glob("*.csv") if not p.name.startswith("."))
        return others[0] if len(others) == 1 else None

    def _not_here(self) -> MienError:
        test = _layout("test")
        deeper = {p.parent.parent for p in self.root.glob(f"*/*/{test}")}
        tables = sorted(p.name for p in self.root.glob("*.csv"))
        held = [f"{len(_pictures(self.root))} picture(s)", f"{len(_sorted_folders(self.root))} folder(s)"]
        held.append(f"the CSV {', '.join(tables)}" if tables else "no CSV")
        return MienError(
            f"The folder {str(self.root)!r} holds no flow pictures in a known layout: {', '.join(held)}.",
            f"`<subject>/{test}/<label>/*.png`, or flat pictures beside one `{_layout('csv')}`.",
            # One of many would be a guess, as where all temporary files lie.
            f"`{self.id}={deeper.pop() if len(deeper) == 1 else '/path/to/the/pictures'}`.",
        )

    def clips(self) -> list[Clip]:
        """Return one clip per picture, sorted by subject, label and name, or in the order of the CSV.

        A line of the CSV without a picture gives a clip without frames, which `mien check` reports.

        Raises:
            MienError: An unknown label or subject, a CSV that cannot be read, or no picture at all.
        """
        found = list(self._from_folders() if self.layout == "folders" else self._from_csv())
        if not any(clip.frames for clip in found):
            raise MienError(
                f"The folder {str(self.root)!r} has the layout of flow pictures, but no picture of a clip is in it.",
                f"pictures ending in {', '.join(_names()['layout']['suffixes'])}.",
                "unpack or copy the pictures again.",
            )
        if self.label_sheets:
            found = with_units(found, self.label_sheets)
        return found if self.second is None else _with_second(found, self.second)

    def _subjects(self) -> list[Path]:
        return [p for p in _sorted_folders(self.root) if (p / _layout("test")).is_dir()]

    def _from_folders(self) -> Iterator[Clip]:
        for subject in self._subjects():
            dataset = _database_of(subject.name)
            if dataset is None:
                raise _unknown_subject(subject.name, subject)
            for label in _sorted_folders(subject / _layout("test")):
                pictures = _pictures(label)
                if pictures:
                    emotion = _emotion(label.name, f"The folder {str(label)!r}")
                    yield from (_clip(dataset, subject.name, _name(p), emotion, p) for p in pictures)

    def _from_csv(self) -> Iterator[Clip]:
        path = self._csv()
        if path is None:
            raise self._not_here()
        pictures = {_name(p): p for p in _pictures(self.root)}
        for row in _read_csv(path):
            dataset = _database_of(row.subject)
            if dataset is None:
                raise _unknown_subject(row.subject, path)
            emotion = _emotion(row.label, f"Line {row.line} of {str(path)!r}")
            yield _clip(dataset, row.subject, row.name, emotion, pictures.get(row.picture) or pictures.get(row.name))

    def problems(self) -> list[Problem]:
        """Return where pictures and CSV disagree, misfiled pictures, and test pictures among the training ones.

        Raises:
            MienError: As `clips`.
        """
        clips = self.clips()
        found = [*_against_csv(clips, self._csv(), self.root, self.layout), *_misplaced(clips)]
        if self.layout == "folders":
            found += self._folder_problems(clips)
        return found

    def _folder_problems(self, clips: list[Clip]) -> Iterator[Problem]:
        test, train = _layout("test"), _layout("train")
        for folder in _sorted_folders(self.root):
            if not (folder / test).is_dir():
                yield Problem(str(folder), f"The folder has no {test}; it is not read.", "note")
        for subject in self._subjects():
            if _pictures(subject / test):
                yield Problem(str(subject / test), "Pictures lie outside any label folder; they are not read.")
            if not any(clip.subject == subject.name for clip in clips):
                yield Problem(str(subject), f"The subject has no picture in {test}.")
            if (subject / train).is_dir():
                yield from _train_problems(subject, clips)


def _clip(dataset: str, subject: str, name: str, emotion: str, picture: Path | None) -> Clip:
    frames = () if picture is None else (picture,)
    return Clip(dataset, subject, name, interval=None, emotion=emotion, medium="flow", frames=frames)


def _with_second(clips: list[Clip], folder: Path) -> list[Clip]:
    """Clips with the picture of the same name in another folder as their second frame.

    Raises MienError where the folder lacks one.
    """
    pictures = {_name(p): p for p in sorted(folder.rglob("*")) if p.suffix.lower() in _names()["layout"]["suffixes"]}
    missing = [clip.name for clip in clips if clip.frames and clip.name not in pictures]
    if missing:
        raise MienError(
            f"{str(folder)!r} holds no picture of {len(missing)} of {len(clips)} clips, such as {missing[0]}.",
            "a second flow picture of every clip, with the same name.",
            "`--second-flow FOLDER`.",
        )
    return [replace(clip, frames=(*clip.frames[:1], pictures[clip.name])) if clip.frames else clip for clip in clips]


def _train_problems(subject: Path, clips: list[Clip]) -> Iterator[Problem]:
    """Report training pictures of a subject that are test pictures of anyone."""
    emotions = {clip.name: clip.emotion for clip in clips}
    own = {clip.name for clip in clips if clip.subject == subject.name}
    labels: Mapping[str, str] = _names()["labels"]
    for label in _sorted_folders(subject / _layout("train")):
        for picture in _pictures(label):
            name = _name(picture)
            if name in own:
                yield Problem(str(picture), f"{name} is a test picture of {subject.name} and among its training ones.")
            elif name in emotions and labels.get(label.name) != emotions[name]:
                yield Problem(str(picture), f"Its label is {label.name}, but as a test picture it is {emotions[name]}.")


def _misplaced(clips: list[Clip]) -> Iterator[Problem]:
    """Report pictures whose name begins with another subject than their folder."""
    for clip in clips:
        named = clip.name.split("_")[0]
        if named != clip.subject and _database_of(named) is not None:
            yield Problem(clip.key, f"The name begins with subject {named}, but it is filed under {clip.subject}.")


def _against_csv(clips: list[Clip], path: Path | None, root: Path, layout: Layout) -> Iterator[Problem]:
    if path is None:
        return
    rows = _read_csv(path)
    databases: dict[str, str] = {kind["csv"]: kind["dataset"] for kind in _names()["subjects"]}
    for row in rows:
        where = f"{path}, line {row.line}"
        if row.dataset and databases.get(row.dataset, row.dataset) != _database_of(row.subject):
            yield Problem(where, f"Subject {row.subject} is not printed as {row.dataset} prints its subjects.")
    if layout == "csv":
        used = {picture for clip in clips for picture in clip.frames}
        for picture in _pictures(root):
            if picture not in used:
                yield Problem(str(picture), f"The picture is in no line of {path.name}; it is not read.")
        return
    listed = {alias: row for row in rows for alias in (row.name, row.picture) if alias}
    seen: set[int] = set()
    for clip in clips:
        listing = listed.get(clip.name)
        if listing is None:
            yield Problem(str(clip.frames[0]), f"The picture is in no line of {path.name}.")
            continue
        seen.add(listing.line)
        emotion = _names()["labels"].get(listing.label)
        if emotion != clip.emotion:
            yield Problem(
                clip.key, f"{path.name} has the label {listing.label} ({emotion}), the folder {clip.emotion}."
            )
        if listing.subject != clip.subject:
            yield Problem(clip.key, f"{path.name} gives the subject {listing.subject}, the folder {clip.subject}.")
    for row in rows:
        if row.line not in seen:
            yield Problem(f"{path}, line {row.line}", f"There is no picture of {row.name}.")


def read_flow_picture(path: Path) -> NDArray[np.uint8]:
    """Return one ready flow picture, channels in the order u, v, optical strain.

    Args:
        path: A colour picture whose red, green and blue are u, v and strain (that is, B, G, R = strain, v, u).

    Returns:
        (H, W, 3), 0..255, each channel scaled by itself over the picture: no unit is left, and no motion is any grey
        level. u grows to the right, v downwards.

    Raises:
        MienError: The picture is missing, cannot be read, or is grey.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            mode = picture.mode
            if picture.width * picture.height > MOST_PIXELS:
                raise ValueError(f"it claims {picture.width}x{picture.height} pixels")
            array = np.asarray(picture.convert("RGB"))
    except Exception as error:  # what a damaged file makes a decoder raise has no end
        raise MienError(
            f"The flow picture {str(path)!r} cannot be read ({error}).",
            "a complete PNG, JPEG or BMP file.",
            "copy the file again; `mien check flow_images=FOLDER` lists all that are broken.",
        ) from None
    u, v, strain = array[..., 0], array[..., 1], array[..., 2]
    same = np.array_equal(u, v) and np.array_equal(v, strain)
    # A picture without any motion is one level all over, and that is not the same as grey.
    if mode not in ("RGB", "RGBA", "P") or (same and u.min() != u.max()):
        raise MienError(
            f"The flow picture {str(path)!r} is grey (mode {mode}).",
            "three channels that differ: red u, green v, blue optical strain.",
            "make it again in colour, each channel scaled to 0..255.",
        )
    return array
