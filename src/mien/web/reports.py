"""Benchmark runs below one folder: a list to choose from, and the report of those chosen. Nothing is written there."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from mien.errors import MienError
from mien.evaluation.report_text import share

__all__ = ["Row", "Shelf", "find_runs", "share"]

_DEEP: Final = 4
_MOST: Final = 500
_COMPARED: Final = 12
"""Runs on one page at most."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run in the list.

    Attributes:
        name: Its folder below that of all runs; "." where that itself is the run.
        kind: What it measures.
        system: Method.
        protocol: How clips were divided.
        data: Databases.
        count: Clips, or videos.
        score: UF1, or F1 of all intervals.
        second: UAR, or F1 of micro-expressions.
        low: Lower end of the 95 % interval of the UF1 over subjects; None where there is none.
        high: Upper end.
        marks: What a reader must know before believing it.
        problem: Why it cannot be read; else empty.
    """

    name: str
    kind: Literal["recognition", "spotting", "unreadable"]
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
    """Folders of runs by their name below `folder`, links not followed, a few levels deep."""
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
    """The runs of one folder. What was computed of a run is kept until its files change.

    Args:
        folder: Holds runs, or is one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._known: dict[str, tuple[object, Row]] = {}
        self._lock = threading.Lock()

    def rows(self) -> list[Row]:
        """All runs, in the order of their names."""
        with self._lock:
            found = find_runs(self.folder)
            self._known = {name: known for name, known in self._known.items() if name in found}
            for name, run in found.items():
                stamp = _stamp(run)
                if name not in self._known or self._known[name][0] != stamp:
                    self._known[name] = stamp, _row(name, run)
            return [self._known[name][1] for name in found]

    def page(self, names: Sequence[str]) -> tuple[str, Literal["report", "spotting"]]:
        """The report of the runs of these names.

        A name is looked up among the runs that are there; it is never made into a path.

        Returns:
            A whole page and "report"; or JSON and "spotting", where the runs are of spotters.

        Raises:
            MienError: None chosen, too many, not there, of both kinds, or nothing finished in one.
        """
        found = find_runs(self.folder)
        for name in names:
            if name not in found:
                raise MienError(f"There is no run {name!r} (any more).", "one of the list.", "the list of reports.")
        if not 1 <= len(names) <= _COMPARED:
            raise MienError(
                f"{len(names)} runs were chosen.", f"1 to {_COMPARED} of them.", "ticking some in the list of reports."
            )
        from mien.evaluation.report_html import write_html
        from mien.evaluation.spotting.ledger import is_spot_run

        runs = [found[name] for name in names]
        kinds = {is_spot_run(run) for run in runs}
        if len(kinds) > 1:
            raise MienError(
                "Runs of recognition and of spotting were chosen.", "one kind.", "one kind at a time: scores differ."
            )
        if kinds == {True}:
            return json.dumps({"runs": [_spotting(name, found[name]) for name in names]}), "spotting"
        with tempfile.TemporaryDirectory(prefix="mien-report-") as folder:
            return write_html(runs, Path(folder) / "report.html").read_text("utf-8"), "report"


def _spotting(name: str, run: Path) -> dict[str, Any]:
    from mien.evaluation.spotting.report import spot_report

    return {"name": name, **spot_report(run)}


def _stamp(run: Path) -> object:
    """Changes when the run does: settings and ledger are written whole, file by file."""
    ledger = run / "ledger"
    times = [(run / "run.json").stat().st_mtime_ns, ledger.stat().st_mtime_ns if ledger.is_dir() else 0]
    return times


def _row(name: str, run: Path) -> Row:
    from mien.evaluation.ledger import read_ledger
    from mien.evaluation.report import report
    from mien.evaluation.spotting.ledger import is_spot_run

    try:
        if is_spot_run(run):
            told = _spotting(name, run)
            return Row(
                name, "spotting", told["system"], told["protocol"], ", ".join(told["per_dataset"]), told["n_videos"],
                told["all"]["f1"], told["micro"]["f1"], marks=_marks(told),
            )  # fmt: skip
        told = report(read_ledger(run))
        low, high = told["uf1_interval"]
        return Row(
            name, "recognition", told["system"], f"{told['protocol']}, {told['label_map']}",
            ", ".join(told["datasets"]), told["n_clips"], told["uf1"], told["uar"], low, high, _marks(told),
        )  # fmt: skip
    except MienError as error:
        return Row(name, "unreadable", problem=error.found.replace(str(run), name))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Row(name, "unreadable", problem=f"It cannot be read ({type(error).__name__}).")


def _marks(told: dict[str, Any]) -> tuple[str, ...]:
    marks = {
        "drawn faces": told.get("drawn"),
        "labels shuffled": told.get("shuffled_labels"),
        "shares subjects": told.get("shares_subjects"),
        "unfinished": not told["complete"],
    }
    return tuple(mark for mark, there in marks.items() if there)
