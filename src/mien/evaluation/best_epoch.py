"""What it is worth to choose the epoch on the test subject, as much public code does: measured, never a score.

Each fold of leave-one-subject-out is trained as `benchmark` trains it, with the same seed and so the same weights, and
the test subject is answered for after every epoch. From these answers follow the last epoch, for comparison; the best
epoch of each subject; and the one epoch for all with the best UF1. The last two choose on test clips, which `fit`
cannot do: there is no ledger, and the file says what it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.datasets.base import Dataset
from mien.errors import MienError
from mien.evaluation.execution.base import RunInputs
from mien.evaluation.execution.folds import fold_seed
from mien.evaluation.execution.processes import Processes
from mien.evaluation.leaking import FILE
from mien.evaluation.ledger import machine_errors
from mien.evaluation.metrics import NO_ANSWER, accuracy_of, tally, uar_of, uf1_of
from mien.evaluation.planning import Plan, make_plan
from mien.evaluation.preparing import prepare_inputs
from mien.io.atomic import lock_run, write_atomically
from mien.parameters import Parameters
from mien.preprocessing.threads import in_processes
from mien.progress import Bars
from mien.systems.base import System

PROTOCOL = "best_test_epoch"
"""Name of this way to choose in files and tables; `benchmark` has no such protocol."""

WARNING = (
    "The epoch is chosen on the test subjects: but for those of the last epoch, these figures do not say how the "
    "network does on a new person."
)

Scores = dict[str, float]


@dataclass(frozen=True, slots=True)
class BestEpoch:
    """Scores by the way in which the epoch was chosen.

    Attributes:
        settings: What was trained on what.
        last: Scores of the last epoch: those of a run with the same seed.
        earliest: Scores where each test subject has its most accurate epoch, of equals the first.
        latest: The same, of equals the last.
        common: Scores of the one epoch with the best UF1 over all test subjects.
        common_epoch: That epoch, counted from 1.
        per_dataset: UF1 of `last` and `latest` by database.
        epochs: Best epoch of each fold, of equals the first.
    """

    settings: Mapping[str, Any]
    last: Scores
    earliest: Scores
    latest: Scores
    common: Scores
    common_epoch: int
    per_dataset: Mapping[str, Mapping[str, float]]
    epochs: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """Return all of it, ready for JSON, with a statement of what it is."""
        return {
            "what": "scores with the epoch chosen on the test subjects: not a score, see the warning",
            "warning": WARNING,
            "protocol": PROTOCOL,
            "last_epoch": self.last,
            "best_test_epoch_per_subject": {"earliest_of_equals": self.earliest, "latest_of_equals": self.latest},
            "best_common_test_epoch": {**self.common, "epoch": self.common_epoch},
            "uf1_per_dataset": {name: dict(values) for name, values in self.per_dataset.items()},
            "epoch_of_fold": dict(self.epochs),
            "settings": dict(self.settings),
        }


def best_epoch(
    data: Sequence[Dataset],
    system: str | System,
    out: Path,
    *,
    protocol: str = "loso",
    labels: str | None = None,
    seed: int = 0,
    parameters: Mapping[str, Any] | Parameters | None = None,
    jobs: int = 1,
    bars: bool = False,
) -> BestEpoch:
    """Train every fold, answer for its test subject after each epoch, and choose the epoch in three ways.

    A stopped evaluation resumes at the fold where it stopped; one that is finished in `out` is not run again.

    Args:
        data: One or more databases.
        system: A deep system of one member.
        out: Folder for `leak.json`.
        protocol: Protocol whose folds are trained.
        labels: Label map, as in `benchmark`.
        seed: Training seed.
        parameters: Parameters of the system that differ from its defaults; an epoch chosen inside `fit` is left out.
        jobs: Folds at the same time.
        bars: Show progress on the terminal.

    Raises:
        MienError: As `benchmark`; the system is no single network; `out` holds another one.
    """
    plan = make_plan(data, system, protocol=protocol, labels=labels, seeds=(seed,), parameters=parameters)
    keys = ("system", "parameters", "protocol", "labels", "classes", "clip_table", "seeds", "recipes")
    settings = {key: plan.settings[key] for key in (*keys, "datasets", "synthetic")}
    with lock_run(out), machine_errors(out):
        there = out / FILE
        if there.is_file():
            return _read(there, settings)
        folds = out / "unfinished"
        _require_same(folds / "settings.json", settings)
        _answer(plan, folds, seed, jobs, bars)
        found = _choose(plan, folds, settings)
        write_atomically(there, json.dumps(found.as_json(), indent=2) + "\n")
        return found


def _require_same(path: Path, settings: Mapping[str, Any]) -> None:
    """Keep the settings beside answers that are not complete; refuse to resume those of other settings."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(settings, indent=2) + "\n")
    elif json.loads(path.read_text(encoding="utf-8")) != settings:
        raise _other_settings(path)


def _other_settings(path: Path) -> MienError:
    return MienError(f"{str(path)!r} belongs to other settings.", "the same settings.", "a new --out folder.")


def _network(plan: Plan) -> Any:
    """Return the untrained network of a plan, which takes the last epoch.

    Raises:
        MienError: The system is not one network.
    """
    from mien.classifiers.net import NetClassifier

    classifier = plan.system.build(len(plan.classes), plan.parameters)
    if hasattr(classifier, "without_choice"):
        classifier = classifier.without_choice()
    if not isinstance(classifier, NetClassifier) or classifier.members != 1:
        raise MienError(
            f"{plan.system.name} is not one network that can be watched epoch by epoch.",
            "a deep system with one member.",
            "`--set members=1`, or another system.",
        )
    return classifier


def _file(folder: Path, number: int) -> Path:
    return folder / f"fold-{number:03d}.json"


def _answer(plan: Plan, folder: Path, seed: int, jobs: int, bars: bool) -> None:
    """Write the answers of all folds that are not there yet."""
    from joblib import delayed

    _network(plan)
    todo = [n for n in range(len(plan.folds)) if not _file(folder, n).is_file()]
    with Bars(show=bars) as shown:
        inputs = prepare_inputs(plan, Processes(jobs), shown)
        done = shown.start("folds", len(todo))
        jobs = max(1, min(jobs, len(todo)))
        work = (delayed(_answer_fold)(plan, inputs, seed, n, _file(folder, n)) for n in todo)
        for _ in in_processes(work, jobs, order="generator_unordered", ahead=jobs + 1):
            done(1)


def _answer_fold(plan: Plan, prepared: RunInputs, seed: int, number: int, file: Path) -> None:
    """Train a fold and write the answers for its test clips after every epoch, (epochs, clips)."""
    from threadpoolctl import threadpool_limits

    fold, inputs = plan.folds[number], prepared.inputs
    train, test = prepared.usable(fold.train), prepared.usable(fold.test)
    y = np.array([sample.label for sample in plan.samples], dtype=np.int64)
    classifier = _network(plan)
    answers: list[list[int]] = []
    held_out = inputs[test]

    def answer(model: Any, _: int) -> None:
        answers.append(classifier.probabilities_of(model, held_out).argmax(1).tolist())

    classifier.on_epoch = answer
    groups = [plan.samples[i].clip.person for i in train]
    with threadpool_limits(1):
        classifier.fit(inputs[train], y[train], groups, seed=fold_seed(seed, number))
    write_atomically(file, json.dumps({"test": [int(i) for i in test], "answers": answers}))


def _choose(plan: Plan, folder: Path, settings: Mapping[str, Any]) -> BestEpoch:
    y = np.array([sample.label for sample in plan.samples], dtype=np.int64)
    of = np.array([sample.clip.dataset for sample in plan.samples])
    read = [json.loads(_file(folder, n).read_text(encoding="utf-8")) for n in range(len(plan.folds))]
    epochs = max(len(each["answers"]) for each in read)
    by_epoch = np.full((epochs, len(y)), NO_ANSWER, dtype=np.int64)
    chosen = {way: np.full(len(y), NO_ANSWER, dtype=np.int64) for way in ("earliest", "latest")}
    best: dict[str, int] = {}
    tested = np.zeros(len(y), dtype=bool)
    for fold, each in zip(plan.folds, read, strict=True):
        test, answers = np.array(each["test"], dtype=np.int64), np.array(each["answers"], dtype=np.int64)
        tested[list(fold.test)] = True
        by_epoch[: len(answers), test] = answers
        by_epoch[len(answers) :, test] = answers[-1]
        right = (answers == y[test]).sum(1)
        first = int(right.argmax())
        chosen["earliest"][test] = answers[first]
        chosen["latest"][test] = answers[len(right) - 1 - int(right[::-1].argmax())]
        best[fold.name] = first + 1
    classes = len(plan.classes)

    def scores(answers: NDArray[np.int64]) -> Scores:
        counts = tally(y[tested], answers[tested], classes)
        found = {"uf1": uf1_of(counts), "uar": uar_of(counts), "accuracy": accuracy_of(counts)}
        return {name: round(float(value), 6) for name, value in found.items()}

    each_epoch = [float(uf1_of(tally(y[tested], row[tested], classes))) for row in by_epoch]
    common = int(np.argmax(each_epoch))
    per_dataset = {
        name: {
            way: round(float(uf1_of(tally(y[mask], answers[mask], classes))), 6)
            for way, answers in (("last", by_epoch[-1]), ("latest", chosen["latest"]))
        }
        for name in sorted(set(of[tested]))
        for mask in [tested & (of == name)]
    }
    return BestEpoch(
        settings, scores(by_epoch[-1]), scores(chosen["earliest"]), scores(chosen["latest"]), scores(by_epoch[common]),
        common + 1, per_dataset, best,
    )  # fmt: skip


def _read(path: Path, settings: Mapping[str, Any]) -> BestEpoch:
    """Return the result of a finished evaluation."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        per_subject = found["best_test_epoch_per_subject"]
        common = dict(found["best_common_test_epoch"])
        result = BestEpoch(
            found["settings"], found["last_epoch"], per_subject["earliest_of_equals"], per_subject["latest_of_equals"],
            common, common.pop("epoch"), found["uf1_per_dataset"], found["epoch_of_fold"],
        )  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise MienError(
            f"{str(path)!r} is not as it was written ({type(error).__name__}: {error}).",
            "the file of a finished evaluation.",
            "deleting it: it is made again.",
        ) from None
    if result.settings != settings:
        raise _other_settings(path)
    return result
