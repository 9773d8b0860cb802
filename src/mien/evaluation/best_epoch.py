"""What it is worth to choose the epoch on the test subject, as much public code does: measured, never a score.

Each fold is trained as `benchmark` trains it, with the same seed and so the same weights, and the test subjects are
answered for after every epoch. From these answers follow the last epoch, for comparison; the best epoch of each
subject; and the one epoch for all with the best UF1. The last two choose on test clips, which `fit` cannot do: there is
no ledger of them, and the file says what it is.

The same trainings can fill the ledgers of two honest runs, those of the last epoch and of the epoch that `fit` chooses
on left-out training subjects: what these would have trained, bit for bit, is trained once in place of three times.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.datasets.base import Dataset
from mien.errors import MienError
from mien.evaluation.execution.base import RunInputs
from mien.evaluation.execution.folds import fold_result, fold_seed, write_fold
from mien.evaluation.execution.processes import Processes
from mien.evaluation.leaking import FILE
from mien.evaluation.ledger import fold_file, machine_errors
from mien.evaluation.metrics import NO_ANSWER, accuracy_of, tally, uar_of, uf1_of
from mien.evaluation.planning import Plan, make_plan
from mien.evaluation.preparing import prepare_inputs
from mien.evaluation.run import open_run
from mien.io.atomic import lock_run, write_atomically
from mien.parameters import Parameters
from mien.preprocessing.threads import in_processes, use_one_thread
from mien.progress import Bars
from mien.systems.base import System

PROTOCOL = "best_test_epoch"
"""Name of this way to choose in files and tables; `benchmark` has no such protocol."""

WARNING = (
    "The epoch is chosen on the test subjects: but for those of the last epoch, these figures do not say how the "
    "network does on a new person."
)

Scores = dict[str, float]
Runs = Mapping[Path, Plan]
"""Honest runs by their folders."""


@dataclass(frozen=True, slots=True)
class BestEpoch:
    """Scores by the way in which the epoch was chosen, each the mean over seeds.

    Attributes:
        settings: What was trained on what.
        last: Scores of the last epoch: those of a run with the same seeds.
        earliest: Scores where each test subject has its most accurate epoch, of equals the first.
        latest: The same, of equals the last.
        common: Scores of the one epoch with the best UF1 over all test subjects.
        per_dataset: UF1 of `last` and `latest` by database.
        seeds: The same scores of each seed; `common_epoch`, counted from 1; and the best epoch of each subject.
    """

    settings: Mapping[str, Any]
    last: Scores
    earliest: Scores
    latest: Scores
    common: Scores
    per_dataset: Mapping[str, Mapping[str, float]]
    seeds: Mapping[int, Mapping[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Return all of it, ready for JSON, with a statement of what it is."""
        return {
            "what": "scores with the epoch chosen on the test subjects: not a score, see the warning",
            "warning": WARNING,
            "protocol": PROTOCOL,
            "last_epoch": self.last,
            "best_test_epoch_per_subject": {"earliest_of_equals": self.earliest, "latest_of_equals": self.latest},
            "best_common_test_epoch": self.common,
            "uf1_per_dataset": {name: dict(values) for name, values in self.per_dataset.items()},
            "seeds": {str(seed): dict(values) for seed, values in self.seeds.items()},
            "settings": dict(self.settings),
        }


def best_epoch(
    data: Sequence[Dataset],
    system: str | System,
    out: Path,
    *,
    protocol: str = "loso",
    protocol_parameters: Mapping[str, Any] | None = None,
    labels: str | None = None,
    seeds: Sequence[int] = (0,),
    parameters: Mapping[str, Any] | Parameters | None = None,
    last: Path | None = None,
    inner: tuple[Path, Parameters] | None = None,
    jobs: int = 1,
    bars: bool = False,
) -> BestEpoch:
    """Train every fold, answer for its test subjects after each epoch, and choose the epoch in three ways.

    A stopped evaluation resumes at the fold where it stopped; seeds that are finished in `out` are not run again.

    Args:
        data: One or more databases.
        system: A deep system of one member.
        out: Folder for `leak.json`.
        protocol: Protocol whose folds are trained.
        protocol_parameters: Its parameters.
        labels: Label map, as in `benchmark`.
        seeds: Training seeds.
        parameters: Parameters of the system that differ from its defaults; an epoch chosen inside `fit` is left out.
        last: Folder of the run with the last epoch, to fill its ledger from the same trainings.
        inner: Folder and parameters of the run whose epoch `fit` chooses on training subjects; also filled.
        jobs: Folds at the same time.
        bars: Show progress on the terminal.

    Raises:
        MienError: As `benchmark`; the system is no single network; `out` holds another one; `inner` trains
            otherwise than these parameters say.
    """

    def planned(own: Mapping[str, Any] | Parameters | None) -> Plan:
        return make_plan(
            data, system, protocol=protocol, labels=labels, seeds=seeds, parameters=own,
            protocol_parameters=protocol_parameters,
        )  # fmt: skip

    plan = planned(parameters)
    network = _network(plan)
    runs: dict[Path, Plan] = {} if last is None else {last.absolute(): plan}
    if inner is not None:
        runs[inner[0].absolute()] = chosen = planned(inner[1])
        if _network(chosen).schedule != network.schedule or network.schedule.decay == "cosine":
            raise MienError(
                f"{chosen.system.name} with an inner choice takes other steps than without.",
                "parameters that differ in the choice of the epoch alone, and a rate that does not end with the "
                "schedule.",
                "a run of its own for the inner choice: `mien benchmark --set choose_epoch=inner`.",
            )
    keys = ("system", "parameters", "protocol", "protocol_parameters", "labels", "classes", "clip_table", "recipes")
    settings = {key: plan.settings[key] for key in (*keys, "datasets", "synthetic")}
    # As text, as which they may have been given: k=5 is k=5.
    settings["protocol_parameters"] = {key: str(value) for key, value in settings["protocol_parameters"].items()}
    with ExitStack() as locks:
        for folder in (out, *runs):
            locks.enter_context(lock_run(folder))
        locks.enter_context(machine_errors(out))
        there = out / FILE
        found = _read(there, settings) if there.is_file() else None
        if found is not None and set(seeds) <= found.seeds.keys():
            return found
        answers = out / "answers"
        _require_same(answers / "settings.json", settings)
        for folder, own in runs.items():
            open_run(folder, own)
        done = set(found.seeds) if found is not None else set()
        for seed in sorted(set(seeds) - done):
            _answer(plan, answers, seed, runs, jobs, bars)
            done.add(seed)
            found = _choose(plan, answers, sorted(done), settings)
            write_atomically(there, json.dumps(found.as_json(), indent=2) + "\n")
        assert found is not None  # there is at least one seed
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


def _file(folder: Path, seed: int, number: int) -> Path:
    return folder / f"s{seed}-f{number:04d}.json"


def _answer(plan: Plan, folder: Path, seed: int, runs: Runs, jobs: int, bars: bool) -> None:
    """Write the answers of all folds of a seed that are not there yet, and their rows in the ledgers of the runs."""
    from joblib import delayed

    todo = [n for n in range(len(plan.folds)) if not _file(folder, seed, n).is_file()]
    with Bars(show=bars) as shown:
        inputs = prepare_inputs(plan, Processes(jobs), shown)
        done = shown.start("folds", len(todo))
        jobs = max(1, min(jobs, len(todo)))
        work = (delayed(_answer_fold)(plan, inputs, seed, n, folder, runs) for n in todo)
        for _ in in_processes(work, jobs, order="generator_unordered", ahead=jobs + 1):
            done(1)


def _answer_fold(plan: Plan, prepared: RunInputs, seed: int, number: int, folder: Path, runs: Runs) -> None:
    """Train a fold and write the answers for its test clips after every epoch, (epochs, clips)."""
    from threadpoolctl import threadpool_limits

    from mien.classifiers.inner_epoch import InnerEpoch
    from mien.classifiers.net import NetClassifier

    use_one_thread()
    fold, inputs = plan.folds[number], prepared.inputs
    train, test = prepared.usable(fold.train), prepared.usable(fold.test)
    y = plan.targets()
    groups = [plan.samples[i].clip.person for i in train]
    answers: list[list[int]] = []
    kept: dict[int, NDArray[np.float32]] = {}
    with threadpool_limits(1):
        built = {run: own.build() for run, own in runs.items() if not fold_file(run, seed, number).is_file()}
        spent: dict[Path, float] = {}
        for run, one in built.items():
            started = time.process_time()
            if isinstance(one, InnerEpoch):
                _choose_inside(one, folder / f"inner-f{number:04d}.json", inputs[train], y[train], groups)
            spent[run] = time.process_time() - started
        classifier = _network(plan)
        used = {run: one.chosen["epoch"] for run, one in built.items() if isinstance(one, InnerEpoch) and one.chosen}
        held_out = inputs[test]

        def answer(model: Any, epoch: int) -> None:
            probabilities = classifier.probabilities_of(model, held_out)
            answers.append(probabilities.argmax(1).tolist())
            if epoch in used.values() or epoch == classifier.schedule.epochs:
                kept[epoch] = probabilities

        classifier.on_epoch = answer
        started = time.process_time()
        classifier.fit(inputs[train], y[train], groups, seed=fold_seed(seed, number))
        seconds = time.process_time() - started
    taken = len(classifier.curves[0])
    for run, one in built.items():
        epoch = used.get(run, taken)
        assert isinstance(one, NetClassifier)
        one.curves = [classifier.curves[0][:epoch]]
        one.steps = [classifier.steps[0] * epoch // taken]
        one.smaller_batch = classifier.smaller_batch
        said = dict(zip(test.tolist(), kept[epoch], strict=True))
        total = spent[run] + seconds * epoch / taken
        more = {"cpu_seconds": round(total, 3), "shared_training": True}
        write_fold(run, fold_result(runs[run], seed, number, one, prepared, said, total, more))
    write_atomically(_file(folder, seed, number), json.dumps({"test": [int(i) for i in test], "answers": answers}))


def _choose_inside(one: Any, file: Path, x: Any, y: NDArray[np.int64], groups: Sequence[tuple[str, str]]) -> None:
    """Let a classifier choose its epoch on training subjects; the choice is the same for every seed, and is kept."""
    about = [one.inner_folds, one.splits, one.looks]
    if file.is_file():
        known = json.loads(file.read_text(encoding="utf-8"))
        if known["of"] == about:
            one.chosen = known["chosen"]
            return
    one.choose(x, y, groups)
    write_atomically(file, json.dumps({"of": about, "chosen": one.chosen}))


def _choose(plan: Plan, folder: Path, seeds: Sequence[int], settings: Mapping[str, Any]) -> BestEpoch:
    by_seed = {seed: _choose_of(plan, folder, seed) for seed in seeds}

    def mean(*path: str) -> Any:
        values: list[Any] = list(by_seed.values())
        for key in path:
            values = [value[key] for value in values]
        if isinstance(values[0], dict):
            return {key: mean(*path, key) for key in values[0]}
        return round(float(np.mean(values)), 6)

    return BestEpoch(
        settings, last=mean("last"), earliest=mean("earliest"), latest=mean("latest"), common=mean("common"),
        per_dataset=mean("per_dataset"), seeds=by_seed,
    )  # fmt: skip


def _choose_of(plan: Plan, folder: Path, seed: int) -> dict[str, Any]:
    """Return the scores of one seed by the way in which the epoch is chosen."""
    y = plan.targets()
    people = ["/".join(sample.clip.person) for sample in plan.samples]
    of = np.array([sample.clip.dataset for sample in plan.samples])
    read = [json.loads(_file(folder, seed, n).read_text(encoding="utf-8")) for n in range(len(plan.folds))]
    epochs = max(len(each["answers"]) for each in read)
    by_epoch = np.full((epochs, len(y)), NO_ANSWER, dtype=np.int64)
    tested = np.zeros(len(y), dtype=bool)
    for fold, each in zip(plan.folds, read, strict=True):
        test, answers = np.array(each["test"], dtype=np.int64), np.array(each["answers"], dtype=np.int64)
        tested[list(fold.test)] = True
        by_epoch[: len(answers), test] = answers
        by_epoch[len(answers) :, test] = answers[-1]
    chosen = {way: np.full(len(y), NO_ANSWER, dtype=np.int64) for way in ("earliest", "latest")}
    best: dict[str, int] = {}
    for person in dict.fromkeys(people):
        own = np.array([each == person for each in people]) & tested
        if not own.any():
            continue
        right = (by_epoch[:, own] == y[own]).sum(1)
        first = int(right.argmax())
        chosen["earliest"][own] = by_epoch[first, own]
        chosen["latest"][own] = by_epoch[len(right) - 1 - int(right[::-1].argmax()), own]
        best[person] = first + 1
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
    return {
        "last": scores(by_epoch[-1]), "earliest": scores(chosen["earliest"]), "latest": scores(chosen["latest"]),
        "common": scores(by_epoch[common]), "common_epoch": common + 1, "per_dataset": per_dataset,
        "epoch_of_subject": best,
    }  # fmt: skip


def _read(path: Path, settings: Mapping[str, Any]) -> BestEpoch:
    """Return the result of a finished evaluation."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        per_subject = found["best_test_epoch_per_subject"]
        result = BestEpoch(
            found["settings"], found["last_epoch"], per_subject["earliest_of_equals"], per_subject["latest_of_equals"],
            found["best_common_test_epoch"], found["uf1_per_dataset"], {int(k): v for k, v in found["seeds"].items()},
        )  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise MienError(
            f"{str(path)!r} is not as it was written ({type(error).__name__}: {error}).",
            "the file of a finished evaluation.",
            "delete it; it is computed again.",
        ) from None
    if result.settings != settings:
        raise _other_settings(path)
    return result
