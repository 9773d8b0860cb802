"""One fold of a run: trained, asked, written."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.classifiers.base import Classifier
from mien.errors import MienError
from mien.evaluation.ledger import FAILED, Row, fold_file, rows_as_csv
from mien.evaluation.planning import Plan
from mien.io.atomic import write_atomically
from mien.preprocessing.inputs import Inputs
from mien.types import Fold, IntervalSource


def run_fold(
    plan: Plan,
    out: Path,
    seed: int,
    number: int,
    inputs: Inputs | NDArray[np.float32],
    intervals: Sequence[IntervalSource],
    progress: Callable[[float], None] | None = None,
) -> None:
    """Train on one fold's training clips, predict its test clips, write its ledger rows and its log."""
    done = train_fold(plan, seed, number, inputs, intervals, progress, state_file(out, seed, number))
    write_fold(out, seed, number, done)
    if progress is not None:
        progress(1.0)


@dataclass(frozen=True, slots=True)
class FoldDone:
    """What a trained fold leaves.

    Attributes:
        rows: Its part of the ledger, as the bytes of its file.
        log: Seconds, loss curves, settings chosen: JSON.
    """

    rows: str
    log: str


def state_file(out: Path, seed: int, number: int) -> Path:
    """Where states of an unfinished fold go, less what a classifier adds to the name."""
    return out / "unfinished" / f"s{seed}-f{number:04d}"


def write_fold(out: Path, seed: int, number: int, done: FoldDone) -> None:
    """Write a fold's files; the ledger's last, since it is what says that the fold is done."""
    write_atomically(out / "log" / f"s{seed}-f{number:04d}.json", done.log)
    write_atomically(fold_file(out, seed, number), done.rows)


def train_fold(
    plan: Plan,
    seed: int,
    number: int,
    inputs: Inputs | NDArray[np.float32],
    intervals: Sequence[IntervalSource],
    progress: Callable[[float], None] | None = None,
    keep: Path | None = None,
) -> FoldDone:
    """Train on one fold's training clips and predict its test clips; writes nothing but unfinished states.

    Only the training rows of `inputs` are handed to `fit`; clips that could not be prepared are in neither.

    Args:
        plan: The run.
        seed: Training seed.
        number: Which fold.
        inputs: Every clip's input.
        intervals: Where the onset and apex of each clip came from.
        progress: Called with the share that is done.
        keep: See `state_file`; None keeps no state.
    """
    from threadpoolctl import threadpool_limits

    one_thread()
    fold = plan.folds[number]
    require_training(fold, intervals)
    train = prepared(fold.train, intervals)
    y = np.array([s.label for s in plan.samples], dtype=np.int64)
    groups = [plan.samples[i].clip.person for i in train]
    started = time.perf_counter()
    with threadpool_limits(1):
        classifier = plan.system.build(len(plan.classes), plan.parameters)
        classifier.state_file = keep
        answers: dict[int, NDArray[np.float32]] = {}
        if len(prepared(fold.test, intervals)):
            classifier.fit(inputs[train], y[train], groups, seed=fold_seed(seed, number), progress=progress)
            answers = answers_of(fold, classifier, inputs, intervals)
    return fold_done(plan, seed, number, classifier, intervals, answers, time.perf_counter() - started)


def prepared(clips: Sequence[int], intervals: Sequence[IntervalSource]) -> NDArray[np.int64]:
    """Those of some clips that could be prepared."""
    return np.array([i for i in clips if intervals[i] != FAILED], np.int64)


def require_training(fold: Fold, intervals: Sequence[IntervalSource]) -> None:
    """Refuses a fold of which not one training clip could be prepared."""
    if not len(prepared(fold.train, intervals)):
        raise MienError(
            f"Of the fold {fold.name} not one training clip could be prepared.",
            "at least two.",
            "`mien check` on the data.",
        )


def fold_seed(seed: int, number: int) -> int:
    """The seed of a fold's training: of its own, so that the order of folds does not matter."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def answers_of(
    fold: Fold, classifier: Classifier, inputs: Inputs | NDArray[np.float32], intervals: Sequence[IntervalSource]
) -> dict[int, NDArray[np.float32]]:
    """Probabilities of each test clip that could be prepared."""
    test = prepared(fold.test, intervals)
    if not len(test):
        return {}
    return dict(zip(test.tolist(), classifier.predict_proba(inputs[test]), strict=True))


def fold_done(
    plan: Plan,
    seed: int,
    number: int,
    classifier: Classifier,
    intervals: Sequence[IntervalSource],
    answers: Mapping[int, NDArray[np.float32]],
    seconds: float,
    more: Mapping[str, Any] | None = None,
) -> FoldDone:
    """A fold's rows, and its log, `more` among it."""
    fold = plan.folds[number]
    rows = [
        Row(
            dataset=plan.samples[i].clip.dataset,
            subject=plan.samples[i].clip.subject,
            clip=plan.samples[i].clip.name,
            fold=fold.name,
            seed=seed,
            interval_source=intervals[i],
            y_true=plan.classes[plan.samples[i].label],
            y_pred=plan.classes[int(answers[i].argmax())] if i in answers else "",
            probabilities=tuple(float(v) for v in answers[i]) if i in answers else (),
        )
        for i in fold.test
    ]
    log = {"fold": fold.name, "seconds": seconds, **classifier.fit_log(), **(more or {})}
    return FoldDone(rows_as_csv(rows, plan.classes), json.dumps(log))


def one_thread() -> None:
    """One thread per fold: sums then have one order, so the ledger is the same for any number of jobs."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    else:
        os.environ["OMP_NUM_THREADS"] = "1"
