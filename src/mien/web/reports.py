"""List the benchmark runs in a folder, and show the report of the selected runs. The folder is only read."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from mien.errors import MienError
from mien.evaluation.report_text import share
from mien.io.atomic import is_locked, private_folder

__all__ = ["Row", "Shelf", "find_runs", "share"]

_DEEP: Final = 4
_MOST: Final = 500
_COMPARED: Final = 12
"""Largest number of runs on one page."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run in the list.

    Attributes:
        name: Path of the run, relative to the folder of all runs; "." if that folder itself is the run.
        kind: What the run measures, or why it has no score.
        system: Name of the system.
        protocol: Protocol that divided the clips.
        data: Names of the databases.
        count: Number of clips, or of videos.
        score: UF1, mean AUC of action units, or F1 of all intervals.
        second: UAR, mean F1 of action units, or F1 of micro-expressions.
        low: Lower end of the 95 % interval of the score over subjects; None if there is none.
        high: Upper end of that interval.
        marks: Labels that warn the reader.
        problem: Why the run cannot be read, or has no scores yet; "" if it has.
    """

    name: str
    kind: Literal["recognition", "units", "spotting", "running", "stopped", "unreadable", "unread"]
    system: str = ""
    protocol: str = ""
    data: str = ""
    count: int = 0
    score: float = 0.0
    second: float = 0.0
    low: float | None = None
    high: float | None = None
    marks: tuple[str, ...] = ()
    problem: str = ""


def find_runs(folder: Path) -> dict[str, Path]:
    """Find the runs in a folder, a few levels deep. Symbolic links are not followed.

    Returns:
        Folders of runs by their path relative to `folder`.
    """
    found: dict[str, Path] = {}
    for place, below, inside in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        below[:] = sorted(name for name in below if not name.startswith(".")) if depth < _DEEP else []
        if "run.json" in inside:
            found[Path(place).relative_to(folder).as_posix()] = Path(place)
            below.clear()
        if len(found) >= _MOST:
            break
    return found


class Shelf:
    """The runs of one folder. Scores are cached until the files of the run change.

    Args:
        folder: A folder of runs, or a run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._known: dict[str, tuple[object, Row]] = {}
        self._lock = threading.Lock()

    def rows(self, seconds: float = math.inf) -> list[Row]:
        """Return all runs, in the order of their names.

        Args:
            seconds: After so long no further ledger is read, but at least one is. Runs that were not read are of the
                kind "unread"; the next call continues with them.
        """
        end, read = time.monotonic() + seconds, False
        with self._lock:
            found = find_runs(self.folder)
            self._known = {name: known for name, known in self._known.items() if name in found}
            for name, run in found.items():
                stamp = _stamp(run)
                if name in self._known and self._known[name][0] == stamp:
                    continue
                self._known.pop(name, None)
                if not read or time.monotonic() < end:
                    read = True
                    self._known[name] = stamp, _row(name, run)
            return [self._known[name][1] if name in self._known else Row(name, "unread") for name in found]

    def page(self, names: Sequence[str]) -> tuple[str, Literal["report", "spotting"]]:
        """Return the report of the selected runs.

        Names are looked up in the list of runs; they are never used as paths.

        Returns:
            A complete page and "report"; for runs of spotters, JSON and "spotting".

        Raises:
            MienError: No run or too many were selected, one does not exist, they are of both kinds, or one has no
                finished fold.
        """
        found = find_runs(self.folder)
        for name in names:
            if name not in found:
                raise MienError(f"There is no run {name!r} (any more).", "a run from the list.", "the list of reports.")
        if not 1 <= len(names) <= _COMPARED:
            raise MienError(
                f"{len(names)} runs were selected.", f"1 to {_COMPARED} runs.", "selecting some in the list of reports."
            )
        from mien.evaluation.report_html import write_html
        from mien.evaluation.spotting.ledger import is_spot_run

        runs = [found[name] for name in names]
        kinds = {is_spot_run(run) for run in runs}
        if len(kinds) > 1:
            raise MienError(
                "Runs of recognition and of spotting were selected together.",
                "runs of one kind, because their scores differ.",
                "comparing one kind at a time.",
            )
        if kinds == {True}:
            return json.dumps({"runs": [_spotting(name, found[name]) for name in names]}), "spotting"
        with private_folder("mien-report-") as folder:
            return write_html(runs, folder / "report.html").read_text("utf-8"), "report"


def _spotting(name: str, run: Path) -> dict[str, Any]:
    from mien.evaluation.spotting.report import spot_report

    return {"name": name, **spot_report(run)}


def _stamp(run: Path) -> object:
    """Return a value that changes when the run changes: settings and ledger are replaced as whole files."""
    ledger = run / "ledger"
    times = [(run / "run.json").stat().st_mtime_ns, ledger.stat().st_mtime_ns if ledger.is_dir() else 0, is_locked(run)]
    return times


def _row(name: str, run: Path) -> Row:
    from mien.evaluation.ledger import read_ledger
    from mien.evaluation.report import summary
    from mien.evaluation.spotting.ledger import is_spot_run

    try:
        if is_spot_run(run):
            spots = _spotting(name, run)
            return Row(
                name, "spotting", spots["system"], spots["protocol"], ", ".join(spots["per_dataset"]),
                spots["n_videos"], spots["all"]["f1"], spots["micro"]["f1"], marks=_marks(spots, is_locked(run)),
            )  # fmt: skip
        scores = summary(read_ledger(run))
        if "mean_auc" in scores:
            low, high = scores["intervals"]["mean_auc"] or (None, None)
            return Row(
                name, "units", scores["system"], f"{scores['protocol']}, {scores['label_map']}",
                ", ".join(scores["datasets"]), scores["n_clips"], scores["mean_auc"] or 0.0, scores["mean_f1"] or 0.0,
                low, high, _marks(scores, is_locked(run)),
            )  # fmt: skip
        low, high = scores["uf1_interval"]
        return Row(
            name, "recognition", scores["system"], f"{scores['protocol']}, {scores['label_map']}",
            ", ".join(scores["datasets"]), scores["n_clips"], scores["uf1"], scores["uar"], low, high,
            _marks(scores, is_locked(run)),
        )  # fmt: skip
    except MienError as error:
        if without_fold(run):
            if is_locked(run):
                return Row(name, "running", problem="No fold is finished yet.")
            return Row(name, "stopped", problem="No fold was finished. The same `mien benchmark` again resumes it.")
        return Row(name, "unreadable", problem=error.found.replace(str(run), name))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Row(name, "unreadable", problem=f"It cannot be read ({type(error).__name__}).")


def without_fold(run: Path) -> bool:
    """Return whether a run is sound as far as it is there, and has no finished fold."""
    from mien.evaluation.ledger import finished_folds, read_settings

    try:
        return not finished_folds(run, read_settings(run))
    except (MienError, OSError, KeyError, TypeError):
        return False


def _marks(scores: dict[str, Any], running: bool) -> tuple[str, ...]:
    marks = {
        "synthetic faces": scores.get("synthetic") and not scores.get("partly_synthetic"),
        "some faces synthetic": scores.get("partly_synthetic"),
        "labels shuffled": scores.get("shuffled_labels"),
        "shares subjects": scores.get("shares_subjects"),
        "running": not scores["complete"] and running,
        "stopped": not scores["complete"] and not running,
    }
    return tuple(mark for mark, there in marks.items() if there)
