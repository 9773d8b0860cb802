"""combine(): average the probabilities of several finished runs, from their ledgers alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mien
from mien.errors import MienError
from mien.evaluation.ledger import (
    Ledger,
    Row,
    fold_file,
    machine_errors,
    read_ledger,
    read_settings,
    rows_as_csv,
)
from mien.evaluation.units import units_as_text, units_from_text
from mien.io.atomic import UNFINISHED, require_writable_folder, write_atomically

SAME = ("clip_table", "protocol", "protocol_parameters", "labels", "classes", "shuffle_labels", "n_folds")
"""Settings that must agree: the members then learned from the same clips in every fold."""


def combine(runs: Sequence[str | Path], out: str | Path) -> Ledger:
    """Write a run whose probabilities are the mean of those of several runs; the seeds of each are averaged first.

    Honest by construction: in every fold each member was trained without the test subject, and the weights are equal,
    so nothing is chosen. The result is an ordinary run: report it, compare it, combine it again. A clip that some
    members could not prepare has the mean of the others; one that none could has no answer. Of action units, one is
    said to be there where more than half of the members say so, each by its own threshold; where just half do, where
    the mean probability is above one half.

    Args:
        runs: Two or more complete runs over the same clip table and folds; one run with several seeds will do.
        out: Folder of the new run.

    Returns:
        Its ledger, seed 0.

    Raises:
        MienError: A run is unfinished or of other clips or folds; `out` exists.

    Example:
        >>> combine(["runs/svm", "runs/bi-woof"], "runs/both").complete
        True
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise MienError(f"{str(out)!r} is not empty.", "a new or empty folder.", f"`--out {out}-2`.")
    require_writable_folder(out, "`--out` with another folder.")
    ledgers = [read_ledger(Path(run)) for run in runs]
    settings = [read_settings(Path(run)) for run in runs]
    for run, ledger, each in zip(runs, ledgers, settings, strict=True):
        if not ledger.complete:
            raise MienError(f"{str(run)!r} is unfinished.", "complete runs.", "its `mien benchmark` again: it resumes.")
        differing = [key for key in SAME if each.get(key) != settings[0].get(key)]
        if differing:
            raise MienError(
                f"{str(run)!r} and {str(runs[0])!r} differ in {differing[0]}.",
                "runs over the same clips, classes and folds.",
                f"`mien benchmark` with the {differing[0]} of {runs[0]}.",
            )
    if sum(len(ledger.seeds) for ledger in ledgers) < 2:
        raise MienError(
            "There is one member.", "two runs, or one with several seeds.", "`mien combine RUN_A RUN_B ...`."
        )
    probabilities = [_mean_over_seeds(ledger, _probabilities) for ledger in ledgers]
    votes = [_mean_over_seeds(ledger, partial(_votes, names=ledger.classes)) for ledger in ledgers if ledger.units]
    classes, first = ledgers[0].classes, ledgers[0].of_seed(ledgers[0].seeds[0])
    rows = []
    given = {row.key: row for ledger in reversed(ledgers) for row in ledger.rows if row.probabilities}
    for row in first:
        answers = [member[row.key] for member in probabilities if row.key in member]
        if not answers:
            rows.append(replace(row, seed=0))
            continue
        p = np.mean(answers, axis=0).astype(np.float32)
        row = replace(row, interval_source=given[row.key].interval_source)
        if votes:
            said = np.mean([member[row.key] for member in votes if row.key in member], axis=0)
            y_pred = units_as_text(np.where(np.isclose(said, 0.5), p > 0.5, said > 0.5), classes)
        else:
            y_pred = classes[int(p.argmax())]
        rows.append(replace(row, seed=0, y_pred=y_pred, probabilities=tuple(float(value) for value in p)))
    members = [{"system": s["system"], "seeds": s["seeds"], "parameters": s["parameters"]} for s in settings]
    record: dict[str, Any] = {
        **settings[0],
        "version": mien.__version__,
        "system": " + ".join(s["system"] for s in settings),
        "system_title": "Mean of " + " and ".join(_title(s) for s in settings),
        "parameters": {},
        "recipes": {},
        "members": members,
        "seeds": [0],
        "runs": [str(run) for run in runs],
    }
    names = list(dict.fromkeys(row.fold for row in first))
    made = out.with_name(f".{out.name}{UNFINISHED}")
    with machine_errors(out):
        shutil.rmtree(made, ignore_errors=True)  # of one that was killed
        for number, name in enumerate(names):
            write_atomically(fold_file(made, 0, number), rows_as_csv((r for r in rows if r.fold == name), classes))
        write_atomically(made / "clips.csv", (Path(runs[0]) / "clips.csv").read_text(encoding="utf-8"))
        write_atomically(made / "run.json", json.dumps(record, indent=2) + "\n")
        made.replace(out)  # all of it at once
    return read_ledger(out)


def _title(settings: dict[str, Any]) -> str:
    n = len(settings["seeds"])
    return f"{settings['system_title']}" + (f" ({n} seeds)" if n > 1 else "")


def _probabilities(row: Row) -> Sequence[float]:
    return row.probabilities


def _votes(row: Row, names: Sequence[str]) -> Sequence[float]:
    """Return 1 for each unit that is said to be there, else 0."""
    return tuple(float(said) for said in units_from_text(row.y_pred, names))


def _mean_over_seeds(ledger: Ledger, of: Callable[[Row], Sequence[float]]) -> dict[str, NDArray[np.float64]]:
    """Return numbers of each clip that has an answer, averaged over the seeds of the run."""
    gathered: dict[str, list[Sequence[float]]] = {}
    for row in ledger.rows:
        if row.probabilities:
            gathered.setdefault(row.key, []).append(of(row))
    return {key: np.mean(values, axis=0) for key, values in gathered.items()}
