"""Training and testing one fold, and writing its files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.classifiers.base import Classifier
from mien.classifiers.state import delete_states
from mien.errors import MienError
from mien.evaluation.execution.base import FoldResult, RunInputs
from mien.evaluation.ledger import Row, fold_file, rows_as_csv
from mien.evaluation.planning import Plan
from mien.io.atomic import write_atomically
from mien.preprocessing.threads import use_one_thread
from mien.types import Fold


def state_file(out: Path, seed: int, number: int) -> Path:
    """Return the path for the state of an unfinished fold; a classifier may append to the name."""
    return out / "unfinished" / f"s{seed}-f{number:04d}"


def write_fold(out: Path, result: FoldResult) -> None:
    """Write the files of a fold; the ledger comes last, because it marks the fold as done."""
    write_atomically(out / "log" / f"s{result.seed}-f{result.number:04d}.json", result.log)
    write_atomically(fold_file(out, result.seed, result.number), result.rows)
    delete_states(state_file(out, result.seed, result.number))


def train_fold(
    plan: Plan,
    inputs: RunInputs,
    seed: int,
    number: int,
    progress: Callable[[float], None] | None = None,
    state: Path | None = None,
) -> FoldResult:
    """Train on the training clips of a fold and predict its test clips.

    `fit` receives the training rows of the inputs alone. Clips that could not be prepared are in neither part.

    Args:
        plan: The run.
        inputs: The inputs of its clips.
        seed: Training seed.
        number: Number of the fold.
        progress: Called with the share that is done.
        state: See `state_file`; None stores no state.

    Raises:
        MienError: No training clip could be prepared; or what the classifier raises.
    """
    from threadpoolctl import threadpool_limits

    use_one_thread()
    fold = plan.folds[number]
    require_training(fold, inputs)
    train = inputs.usable(fold.train)
    y = plan.targets()
    groups = [plan.samples[i].clip.person for i in train]
    started, worked = time.perf_counter(), time.process_time()
    with threadpool_limits(1):
        classifier = plan.build()
        classifier.state_file = state
        answers: dict[int, NDArray[np.float32]] = {}
        if len(inputs.usable(fold.test)):
            classifier.fit(inputs.inputs[train], y[train], groups, seed=fold_seed(seed, number), progress=progress)
            answers = predict_fold(fold, classifier, inputs)
    seconds, more = time.perf_counter() - started, {"cpu_seconds": round(time.process_time() - worked, 3)}
    return fold_result(plan, seed, number, classifier, inputs, answers, seconds, more)


def require_training(fold: Fold, inputs: RunInputs) -> None:
    """Refuse a fold of which no training clip could be prepared.

    Raises:
        MienError: There is none.
    """
    if not len(inputs.usable(fold.train)):
        raise MienError(
            f"No training clip of the fold {fold.name} could be prepared.", "at least two.", "`mien check` on the data."
        )


def fold_seed(seed: int, number: int) -> int:
    """Return the training seed of one fold: its own, so that the order of folds does not matter."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def predict_fold(fold: Fold, classifier: Classifier, inputs: RunInputs) -> dict[int, NDArray[np.float32]]:
    """Return the class probabilities of each test clip that could be prepared, by its index."""
    test = inputs.usable(fold.test)
    if not len(test):
        return {}
    return dict(zip(test.tolist(), classifier.predict_proba(inputs.inputs[test]), strict=True))


def fold_result(
    plan: Plan,
    seed: int,
    number: int,
    classifier: Classifier,
    inputs: RunInputs,
    answers: Mapping[int, NDArray[np.float32]],
    seconds: float,
    more: Mapping[str, Any] | None = None,
) -> FoldResult:
    """Return the ledger rows and the log of a fold.

    Args:
        plan: The run.
        seed: Training seed.
        number: Number of the fold.
        classifier: The trained classifier.
        inputs: The inputs of the clips.
        answers: See `predict_fold`.
        seconds: How long the fold took.
        more: Further entries of the log.
    """
    fold = plan.folds[number]
    rows = [
        Row(
            dataset=plan.samples[i].clip.dataset,
            subject=plan.samples[i].clip.subject,
            clip=plan.samples[i].clip.name,
            fold=fold.name,
            seed=seed,
            interval_source=inputs.interval_sources[i],
            y_true=plan.label_of(plan.samples[i]),
            y_pred=plan.answer_of(classifier, answers[i]) if i in answers else "",
            probabilities=tuple(float(v) for v in answers[i]) if i in answers else (),
        )
        for i in fold.test
    ]
    log = {"fold": fold.name, "seconds": seconds, **classifier.fit_log(), **(more or {})}
    return FoldResult(seed, number, rows_as_csv(rows, plan.classes), json.dumps(log))
