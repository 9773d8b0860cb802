"""What finished runs took, from their own logs: no run is started.

python studies/recorded_runs.py RUN... [--out studies/results/recorded_runs.md]

Seconds are those of all folds and seeds together, one thread each. RUN may be a folder of runs.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from machine import stamp
from measure import arguments, publish


def runs(folders: list[Path]) -> list[Path]:
    """Folders that hold a run, by name."""
    return sorted(file.parent for folder in folders for file in (*folder.glob("run.json"), *folder.glob("*/run.json")))


def told(run: Path) -> str | None:
    """A row; None where not every fold has a log, as in a committee of other runs."""
    settings: dict[str, Any] = json.loads((run / "run.json").read_text(encoding="utf-8"))
    logs = list((run / "log").glob("s*-f*.json"))
    seconds = [json.loads(log.read_text(encoding="utf-8"))["seconds"] for log in logs]
    if len(seconds) < settings["n_folds"] * len(settings["seeds"]):
        return None
    ledger = sum(file.stat().st_size for file in (run / "ledger").iterdir())
    rows = settings["n_clips"] * len(settings["seeds"])
    name = settings["system"] + (", shuffled labels" if settings["shuffle_labels"] else "")
    cells = [
        name,
        settings["protocol"],
        settings["n_clips"],
        settings["n_folds"],
        len(settings["seeds"]),
        settings["parameters"].get("epochs", "-"),
        f"{sum(seconds):.0f}",
        f"{statistics.median(seconds):.2f}",
        f"{ledger / rows:.0f}",
        f"{sum(log.stat().st_size for log in logs) / len(logs):.0f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    given = parser.parse_args()
    lines = [
        "# What runs took",
        "",
        stamp(),
        "From the logs of finished runs, whatever commit they were made at and whatever else the machine was doing.",
        "",
        "| system | protocol | clips | folds | seeds | passes | seconds of all folds | median fold | "
        "ledger, bytes a row | log, bytes a fold |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(row for run in runs(given.runs) if (row := told(run))),
    ]
    publish(lines, given.out)


if __name__ == "__main__":
    main()
