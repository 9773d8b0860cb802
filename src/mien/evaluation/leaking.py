"""How the MicroExp papers score; kept apart, because it is not a score here.

One random fifth of the clips is held out, whatever the subject. After each epoch the network is tested on these
clips; such papers print the best epoch, and beside it the mean of the last ten. Both choose on test clips, which `fit`
cannot do: so this is not a benchmark, it makes no ledger, and its file says what it is. It shows how large the leak is,
beside leave-one-subject-out with the same network.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien.datasets.base import Dataset
from mien.errors import MienError
from mien.evaluation.execution.processes import Processes
from mien.evaluation.ledger import machine_errors
from mien.evaluation.metrics import majority
from mien.evaluation.planning import Plan, make_plan
from mien.evaluation.preparing import prepare_inputs
from mien.evaluation.published.claims import PublishedRow, published_for
from mien.io.atomic import lock_run, write_atomically
from mien.parameters import Parameters
from mien.progress import Bars
from mien.systems.base import System

PROTOCOL = "holdout_reddy"
FILE = "leak.json"
LAST = 10
"""Epochs whose mean the paper prints beside the best one (Table VIII)."""

WARNING = (
    "The best epoch is chosen on the clips that it is scored on, and their subjects are trained on, too: neither "
    "figure says how the network does on a new person."
)


@dataclass(frozen=True, slots=True)
class Leak:
    """Accuracy on the test clips after each epoch of one training.

    Attributes:
        settings: What was trained on what.
        accuracy: Share of the test clips that are right, one number per epoch.
        majority: Share of the commonest class among the test clips: what a constant answer reaches.
        n_train: Training clips.
        n_test: Test clips.
        shared: Test clips whose subject is trained on too.
    """

    settings: Mapping[str, Any]
    accuracy: tuple[float, ...]
    majority: float
    n_train: int
    n_test: int
    shared: int

    @property
    def best(self) -> float:
        """Return the accuracy of the best epoch: what the paper prints."""
        return max(self.accuracy)

    @property
    def best_epoch(self) -> int:
        """Return the first epoch with that accuracy, counted from 1."""
        return int(np.argmax(self.accuracy)) + 1

    @property
    def last(self) -> tuple[float, float]:
        """Return mean and standard deviation over the last ten epochs."""
        tail = np.asarray(self.accuracy[-LAST:])
        return float(tail.mean()), float(tail.std())

    def as_json(self) -> dict[str, Any]:
        """Return all of it, ready for JSON, with a statement of what it is."""
        return {
            "what": "accuracy on the test clips after each epoch: not a score, see the warning",
            "warning": WARNING,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "last_mean": self.last[0],
            "last_sd": self.last[1],
            "majority_of_test": self.majority,
            "n_train": self.n_train,
            "n_test": self.n_test,
            "test_clips_of_trained_subjects": self.shared,
            "accuracy": list(self.accuracy),
            "settings": dict(self.settings),
        }


def leaking(
    data: Sequence[Dataset],
    system: str | System,
    out: Path,
    *,
    labels: str | None = None,
    seed: int = 0,
    parameters: Mapping[str, Any] | Parameters | None = None,
    protocol_parameters: Mapping[str, Any] | None = None,
    jobs: int = 1,
    bars: bool = False,
) -> Leak:
    """Train once on four fifths of the clips and measure accuracy on the rest after each epoch; see the module.

    A stopped training resumes where it stopped; one that is finished in `out` is not run again.

    Args:
        data: One or more databases.
        system: A deep system of one member.
        out: Folder for `leak.json`.
        labels: Label map, as in `benchmark`.
        seed: Training seed.
        parameters: Parameters of the system that differ from its defaults.
        protocol_parameters: `seed` and `share` of the division.
        jobs: Clips prepared side by side.
        bars: Show progress on the terminal.

    Raises:
        MienError: As `benchmark`; the system is no single network; `out` holds another one.
    """
    plan = make_plan(
        data, system, protocol=PROTOCOL, labels=labels, seeds=(seed,), parameters=parameters,
        protocol_parameters=protocol_parameters,
    )  # fmt: skip
    keys = ("system", "parameters", "protocol", "protocol_parameters", "labels", "classes", "clip_table", "seeds")
    settings = {key: plan.settings[key] for key in (*keys, "datasets", "synthetic")}
    with lock_run(out), machine_errors(out):
        return _read(out / FILE, settings) or _train(plan, settings, out, seed, jobs, bars)


def _train(plan: Plan, settings: Mapping[str, Any], out: Path, seed: int, jobs: int, bars: bool) -> Leak:
    fold = plan.folds[0]
    people = {plan.samples[i].clip.person for i in fold.train}
    y = np.array([plan.samples[i].label for i in fold.test], dtype=np.int64)
    with Bars(show=bars) as shown:
        accuracy = _watch(plan, out / "unfinished", seed, jobs, shown)
    leak = Leak(
        settings,
        accuracy,
        majority(y, len(plan.classes))[0],
        len(fold.train),
        len(fold.test),
        sum(plan.samples[i].clip.person in people for i in fold.test),
    )
    write_atomically(out / FILE, json.dumps(leak.as_json(), indent=2) + "\n")
    shutil.rmtree(out / "unfinished", ignore_errors=True)
    return leak


def _watch(plan: Plan, folder: Path, seed: int, jobs: int, bars: Bars) -> tuple[float, ...]:
    """Return the accuracy on the test clips after each epoch."""
    from threadpoolctl import threadpool_limits

    from mien.classifiers.net import NetClassifier

    classifier = plan.build()
    if not isinstance(classifier, NetClassifier) or classifier.members != 1:
        raise MienError(
            f"{plan.system.name} is not one network that can be watched epoch by epoch.",
            "a deep system with one member.",
            "`--set members=1`, or another system.",
        )
    failures: dict[str, MienError] = {}
    prepared = prepare_inputs(plan, Processes(jobs), bars, failures)
    inputs = prepared.inputs
    fold = plan.folds[0]
    train, test = prepared.usable(fold.train), prepared.usable(fold.test)
    y = np.array([s.label for s in plan.samples], dtype=np.int64)
    rows = len(train) * inputs.copies * (1 if classifier.mirror is None else 2)
    epochs = classifier.schedule.for_rows(rows).epochs
    partly = folder / "accuracy.json"
    # Of a stopped training; epochs that are run again are measured again.
    try:
        known = [float(value) for value in json.loads(partly.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        known = []  # none, or damaged: a state is useless without the epochs before it
        shutil.rmtree(folder, ignore_errors=True)
    seen: dict[int, float] = dict(enumerate(known, 1))
    made: list[Any] = []
    build = classifier.make

    def caught(given: Any) -> Any:
        made.append(build(given))
        return made[-1]

    def after_epoch(done: float) -> None:
        model = made[-1]
        classifier.models = [model]
        answers = classifier.predict_proba(inputs[test]).argmax(1)
        classifier.models = []
        model.train()
        # A test clip that could not be prepared is wrong.
        seen[round(done * epochs)] = int((answers == y[test]).sum()) / len(fold.test)
        write_atomically(partly, json.dumps([seen[n] for n in sorted(seen)]))
        advance(1)

    advance = bars.start("epochs", epochs)
    classifier.make = caught
    classifier.state_file = folder / "state"
    groups = [plan.samples[i].clip.person for i in train]
    with threadpool_limits(1):
        classifier.fit(inputs[train], y[train], groups, seed=seed, progress=after_epoch)
    return tuple(seen[n] for n in sorted(seen))


def _read(path: Path, settings: Mapping[str, Any]) -> Leak | None:
    """Return the result of a finished training; None if there is none."""
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        there = found["settings"]
        if "drawn" in there:  # what earlier versions wrote
            there["synthetic"] = there.pop("drawn")
        same = there == settings
        leak = Leak(
            found["settings"],
            tuple(found["accuracy"]),
            found["majority_of_test"],
            found["n_train"],
            found["n_test"],
            found["test_clips_of_trained_subjects"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise MienError(
            f"{str(path)!r} is not as it was written ({type(error).__name__}: {error}).",
            "the file of a finished training.",
            "delete it; it is computed again.",
        ) from None
    if not same:
        raise MienError(
            f"{str(path)!r} holds a training with other settings.", "the same settings.", "a new --out folder."
        )
    return leak


def claims(leak: Leak, method: str) -> tuple[PublishedRow | None, PublishedRow | None]:
    """Return what the paper prints for a network on this database: its best epoch, and the mean of the last ten."""
    rows = {row.method: row for row in published_for(leak.settings)}
    return rows.get(f"{method}, best epoch"), rows.get(f"{method}, last ten epochs")


def render_leaks(title: str, rows: Sequence[tuple[str, str, Leak | None, Mapping[str, Any] | None]]) -> list[Any]:
    """Return both ways to score side by side, for the terminal.

    Args:
        title: Of the tables.
        rows: (method, database, how the paper scores, report of leave-one-subject-out) of each network.

    Returns:
        What rich prints: a table per database, the warning, and what is to be said about the paper's figures.
    """
    from rich.table import Table
    from rich.text import Text

    said: dict[str, None] = {}
    tables = []
    for database in dict.fromkeys(row[1] for row in rows):
        table = Table(title=f"{title} · {database}", title_justify="left", box=None, padding=(0, 1))
        table.add_column("")
        headings = (
            "[yellow]best epoch\n[yellow]on test", "[yellow]last ten\n[yellow]epochs", "new subjects\nacc", "\nUF1",
            "[dim]paper\n[dim]best", "[dim]\n[dim]last ten",
        )  # fmt: skip
        for heading in headings:
            table.add_column(heading, justify="right")
        constant = ["", "", "", "", "", ""]
        for method, _, leak, result in (row for row in rows if row[1] == database):
            cells = ["-"] * len(headings)
            if leak is not None:
                mean, spread = leak.last
                cells[:2] = [f"{leak.best:.3f} ({leak.best_epoch})", f"{mean:.3f}±{spread:.3f}"]
                constant[0] = f"{leak.majority:.3f}"
                for place, claim in zip((4, 5), claims(leak, method), strict=True):
                    if claim is not None and claim.accuracy is not None:
                        cells[place] = f"[dim]{claim.accuracy:.3f}"
                        said[f"{claim.method}: comparable: {claim.comparable}. {claim.why}"] = None
            if result is not None:
                cells[2:4] = [f"{result[key]:.3f}" for key in ("accuracy", "uf1")]
                constant[2:4] = [f"{result[key]:.3f}" for key in ("majority_accuracy", "majority_uf1")]
            table.add_row(method, *cells)
        table.add_row("[dim]constant answer", *(f"[dim]{value}" for value in constant))
        tables.append(table)
    known = [leak for _, _, leak, _ in rows if leak is not None]
    notes = [Text(WARNING, style="yellow")]
    if known:
        shared, tested = sum(leak.shared for leak in known), sum(leak.n_test for leak in known)
        notes.append(
            Text(f"{shared} of {tested} test clips of the yellow columns are of subjects that are trained on.")
        )
    return [*tables, *notes, *(Text(text, style="dim") for text in said)]
