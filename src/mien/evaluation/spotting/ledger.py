"""The ledger of a spotting run: one row per video, and per true or detected interval.

A run is a folder::

    RUN/run.json                 settings: spotter, parameters, protocol, data
    RUN/videos.csv               the videos the folds index, those without an expression included
    RUN/ledger/s0-f003.csv       rows of seed 0, fold 3; written whole by atomic rename
    RUN/log/s0-f003.json         parameters chosen on the training subjects, seconds
    RUN/rows/                    what was watched, kept until the run is complete
"""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from mien.errors import MienError
from mien.evaluation.ledger import finished_folds, fold_file, read_settings
from mien.evaluation.spotting.metrics import Film
from mien.spotting.base import KINDS, Spot

Role = Literal["video", "true", "found"]


@dataclass(frozen=True, slots=True)
class SpotRow:
    """One interval, or one video.

    Attributes:
        dataset: Dataset id.
        subject: Subject as the database prints it.
        video: Name of the video.
        fold: Fold name.
        seed: Training seed.
        role: "true" or "found" for an expression; "video" for the video itself, which every video has once.
        kind: "micro" or "macro"; "" for a video.
        onset: First frame, in the database's own numbers.
        apex: Frame of the strongest expression; "" where not known.
        offset: Last frame, included.
        score: Of a found interval; "" else.
        emotion: Class of a true interval, or recognised in a found one; "" where not known.
        note: Why a video was left without an answer; "" where it was not.
    """

    dataset: str
    subject: str
    video: str
    fold: str
    seed: int
    role: Role
    kind: str
    onset: int
    apex: int | None
    offset: int
    score: float | None = None
    emotion: str = ""
    note: str = ""

    @property
    def key(self) -> str:
        """Return the identity of the video: `dataset/subject/video`."""
        return f"{self.dataset}/{self.subject}/{self.video}"

    def spot(self) -> Spot:
        """Return the interval."""
        kind = next(k for k in KINDS if k == self.kind)
        return Spot(self.onset, self.apex, self.offset, kind, 1.0 if self.score is None else self.score, self.emotion)


COLUMNS = tuple(field.name for field in fields(SpotRow))


@dataclass(frozen=True, slots=True)
class SpotLedger:
    """All rows of one run.

    Attributes:
        settings: The content of run.json.
        rows: By seed, then by fold, then by video.
        complete: True when every fold of every seed is there.
    """

    settings: Mapping[str, Any]
    rows: tuple[SpotRow, ...]
    complete: bool

    def films(self, seed: int, dataset: str | None = None) -> list[Film]:
        """Return the true and the detected expressions of each video, of one database or all."""
        found: dict[str, tuple[list[Spot], list[Spot]]] = {}
        for row in self.rows:
            if row.seed == seed and dataset in (None, row.dataset):
                true, spotted = found.setdefault(row.key, ([], []))
                if row.role == "true":
                    true.append(row.spot())
                elif row.role == "found":
                    spotted.append(row.spot())
        return list(found.values())


def is_spot_run(run: Path) -> bool:
    """Return whether a folder is a run of a spotter.

    Raises:
        MienError: It is no run at all.
    """
    return read_settings(Path(run)).get("task") == "spot"


def rows_as_csv(rows: Iterable[SpotRow]) -> str:
    """Return rows as CSV text with a header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(["" if value is None else value for value in astuple(row)] for row in rows)
    return out.getvalue()


def read_rows(path: Path) -> list[SpotRow]:
    """Read the rows of a file that `rows_as_csv` made.

    Raises:
        MienError: It was changed by hand.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError
            return [_row(entry) for entry in reader]
    except (ValueError, KeyError, TypeError, csv.Error):
        raise MienError(
            f"{path} is not as it was written.",
            f"the columns {', '.join(COLUMNS)}.",
            "move the file away and run `mien benchmark` again: only that fold is redone.",
        ) from None


def _row(entry: Mapping[str, str]) -> SpotRow:
    role: Role
    if entry["role"] == "video":
        role = "video"
    elif entry["role"] == "true":
        role = "true"
    elif entry["role"] == "found":
        role = "found"
    else:
        raise ValueError
    if role != "video" and entry["kind"] not in KINDS:
        raise ValueError
    numbers = [int(entry[key]) for key in ("seed", "onset", "apex", "offset") if entry[key]]
    if None in entry or None in entry.values() or max(map(abs, numbers), default=0) > 1 << 53:
        raise ValueError
    if entry["score"] and not math.isfinite(float(entry["score"])):
        raise ValueError
    return SpotRow(
        dataset=entry["dataset"],
        subject=entry["subject"],
        video=entry["video"],
        fold=entry["fold"],
        seed=int(entry["seed"]),
        role=role,
        kind=entry["kind"],
        onset=int(entry["onset"]),
        apex=int(entry["apex"]) if entry["apex"] else None,
        offset=int(entry["offset"]),
        score=float(entry["score"]) if entry["score"] else None,
        emotion=entry["emotion"],
        note=entry["note"],
    )


def read_spots(run: Path) -> SpotLedger:
    """Read all that a spotting run has detected so far.

    Raises:
        MienError: The folder is no spotting run, or a file in it was changed by hand.
    """
    settings = read_settings(Path(run))
    if settings.get("task") != "spot":
        raise MienError(
            f"{str(run)!r} is a run of the recogniser {settings.get('system')}.",
            "a run that `mien benchmark ... --task spot` made.",
            f"`mien report {run}`.",
        )
    missing = [key for key in ("system", "protocol", "datasets", "synthetic") if key not in settings]
    if missing:
        raise MienError(
            f"The settings of {str(run)!r} lack {missing[0]}.", "run.json as it was written.", "a new --out folder."
        )
    folds = finished_folds(Path(run), settings)
    rows = [row for seed, number in folds for row in read_rows(fold_file(Path(run), seed, number))]
    return SpotLedger(settings, tuple(rows), len(folds) == len(settings["seeds"]) * settings["n_folds"])


def chosen_parameters(run: Path, settings: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    """Return the values of the parameters that were chosen on training subjects, fold by fold."""
    found: dict[str, list[Any]] = {}
    for path in sorted((Path(run) / "log").glob("s*-f*.json")):
        try:
            chosen = json.loads(path.read_text(encoding="utf-8"))["chosen"].items()
            if not all(isinstance(value, int | float) for _, value in chosen):
                raise TypeError
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise MienError(
                f"{path} is not as it was written ({type(error).__name__}).",
                "the log of a fold.",
                f"`rm {shlex.quote(str(path))}`: no score needs it.",
            ) from None
        for key, value in chosen:
            found.setdefault(key, []).append(value)
    return dict(found)
