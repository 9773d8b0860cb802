"""Checks of folds, ledgers, steps and classifiers for the known ways in which test data leak into a score.

`pitfalls.toml` lists the sixteen known ones with what stops or shows each of them here.
"""

from __future__ import annotations

import copy
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.datasets.base import family_of
from mien.errors import MienError
from mien.evaluation.ledger import Ledger, answer_problem
from mien.evaluation.metrics import uf1
from mien.evaluation.units import units_as_text
from mien.types import Fold, Problem, Sample


@dataclass(frozen=True, slots=True)
class Pitfall:
    """One known way to a wrong score.

    Attributes:
        number: As in docs/guide/leaks.md.
        title: What goes wrong.
        answer: What prevents or shows it here.
        by: "design", "check" or "report".
    """

    number: int
    title: str
    answer: str
    by: str


@cache
def pitfalls() -> tuple[Pitfall, ...]:
    """Return the sixteen pitfalls of `pitfalls.toml`."""
    text = (files("mien.evaluation") / "pitfalls.toml").read_text(encoding="utf-8")
    return tuple(Pitfall(**entry) for entry in tomllib.loads(text)["pitfall"])


def check_folds(samples: Sequence[Sample], folds: Sequence[Fold], *, shares_subjects: bool = False) -> list[Problem]:
    """Return what leaks in a set of folds.

    Args:
        samples: The table the folds index.
        folds: Folds of any origin, ours or not.
        shares_subjects: The protocol says so itself: a shared subject is then a note.

    Returns:
        Errors: an index outside the table, an index or a copy of a clip on both sides, a subject on both sides, a clip
        tested twice or, in a protocol of several folds, never. Notes: one printed subject in two databases; databases
        that may share people.
    """
    problems: list[Problem] = []
    keys = Counter(s.clip.key for s in samples if s.origin in ("", s.clip.key))
    problems += [Problem(key, f"stands {n} times in the clip table") for key, n in keys.items() if n > 1]
    outside = [f for f in folds if any(not 0 <= i < len(samples) for i in (*f.train, *f.test))]
    if outside:
        # Nothing else can be asked of folds that were made from another table.
        return [*problems, *(Problem(f.name, f"has indices outside the {len(samples)} clips") for f in outside)]
    tested: Counter[int] = Counter()
    for fold in folds:
        tested.update(fold.test)
        both = set(fold.train) & set(fold.test)
        if both:
            clip = samples[min(both)].clip.key
            problems.append(Problem(fold.name, f"{len(both)} clip(s) are in training and test, such as {clip}"))
        origins = [{samples[i].origin or samples[i].clip.key for i in side} for side in (fold.train, fold.test)]
        shared = (origins[0] & origins[1]) - {samples[i].clip.key for i in both}
        if shared:
            problems.append(Problem(fold.name, f"copies of {min(shared)} are in training and test"))
        people = [{samples[i].clip.person for i in side} for side in (fold.train, fold.test)]
        same = people[0] & people[1]
        if same:
            text = f"{len(same)} subject(s) are in training and test, such as {'/'.join(min(same))}"
            problems.append(Problem(fold.name, text, "note" if shares_subjects else "error"))
        printed = {name for _, name in people[0]} & {name for _, name in people[1]} - {name for _, name in same}
        if printed:
            text = f"subject {min(printed)!r} is printed in two databases; they are kept apart as different people"
            problems.append(Problem(fold.name, text, "note"))
        problems += _family_notes(fold, *({d for d, _ in side} for side in people))
    problems += [Problem(samples[i].clip.key, f"is tested {n} times") for i, n in tested.items() if n > 1]
    if len(folds) > 1 and tested:
        databases = {samples[i].clip.dataset for i in tested}
        never = [s.clip.key for i, s in enumerate(samples) if i not in tested and s.clip.dataset in databases]
        if never:
            problems.append(Problem(never[0], f"is never tested, with {len(never) - 1} other clips"))
    return problems


def _family_notes(fold: Fold, trained: set[str], tested: set[str]) -> list[Problem]:
    notes = []
    families = {name: family_of(name) for name in sorted(trained | tested)}
    for family in sorted(set(families.values()) - {""}):
        left, right = ({name for name in side if families[name] == family} for side in (trained, tested))
        if left and right and left != right:
            text = f"{', '.join(sorted(left | right))} come from one group and may share people"
            notes.append(Problem(fold.name, text, "note"))
    return notes


def check_ledger(ledger: Ledger, samples: Sequence[Sample], folds: Sequence[Fold]) -> list[Problem]:
    """Check a ledger against its clip table and folds: each clip once per seed, true classes, most probable class.

    Args:
        ledger: A run, finished or not.
        samples: Its clip table.
        folds: Its folds, derived anew.
    """
    problems: list[Problem] = []
    label = {
        s.clip.key: units_as_text(s.units, ledger.classes) if ledger.units else ledger.classes[s.label] for s in samples
    }
    fold_of = {samples[i].clip.key: fold.name for fold in folds for i in fold.test}
    for seed in ledger.seeds:
        rows = ledger.of_seed(seed)
        counts = Counter(row.key for row in rows)
        problems += [Problem(key, f"has {n} rows for seed {seed}") for key, n in counts.items() if n > 1]
        if ledger.complete:
            missing = sorted(fold_of.keys() - counts.keys())
            if missing:
                problems.append(Problem(missing[0], f"has no row for seed {seed}, with {len(missing) - 1} others"))
        for row in rows:
            if row.key not in label:
                problems.append(Problem(row.key, "is not in the clip table"))
                continue
            if label[row.key] != row.y_true:
                problems.append(Problem(row.key, f"has the true class {row.y_true}; the table says {label[row.key]}"))
            if fold_of.get(row.key) != row.fold:
                problems.append(Problem(row.key, f"was tested in fold {row.fold}, not {fold_of.get(row.key)}"))
            wrong = answer_problem(row, ledger.classes, ledger.units)
            if wrong:
                problems.append(Problem(row.key, wrong))
        predicted = {name for row in rows for name in (row.y_pred.split("+") if ledger.units else [row.y_pred])}
        problems += [
            Problem(f"seed {seed}", f"class {name} is never predicted", "note")
            for name in ledger.classes
            if name not in predicted
        ]
    kinds = Counter(row.interval_source for row in ledger.rows)
    if len(kinds) > 1:
        text = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
        problems.append(Problem("interval_source", f"onset and apex are of mixed origin: {text}", "note"))
    return problems


def check_step(step: Callable[[NDArray[Any]], NDArray[Any]], clips: Sequence[NDArray[Any]]) -> list[Problem]:
    """Check that a step depends on one clip only: alone, in order and in reverse order, its results must be equal.

    A step that is an object is copied, unused, for each clip it sees alone, so that what it keeps from its very first
    clip shows too. A function that keeps this in a closure cannot be copied: hand over a fresh one.

    Args:
        step: Array to array.
        clips: Two or more different clips.

    Raises:
        MienError: Fewer than two clips, or all alike: nothing could be seen.
    """
    if len(clips) < 2 or all(np.array_equal(clips[0], clip) for clip in clips[1:]):
        raise MienError(
            f"{len(clips)} clip(s), none different from the first.", "two different clips.", "clips of two subjects."
        )
    alone = [np.array(copy.deepcopy(step)(clip.copy())) for clip in clips]
    ahead = [np.array(step(clip.copy())) for clip in clips]
    back = [np.array(step(clip.copy())) for clip in reversed(clips)][::-1]
    return [
        Problem(f"clip {n}", "the step's answer depends on the clips it saw before")
        for n, answers in enumerate(zip(alone, ahead, back, strict=True))
        if not all(np.array_equal(answers[0], other, equal_nan=True) for other in answers[1:])
    ]


class _Learner(Protocol):
    def fit(self, x: Any, y: Any, groups: Any, *, seed: int = 0) -> Any: ...
    def predict_proba(self, x: Any) -> Any: ...


def check_classifier(
    make: Callable[[], _Learner],
    x: NDArray[Any],
    y: NDArray[np.integer[Any]],
    groups: Sequence[tuple[str, str]],
    fold: Fold,
) -> list[Problem]:
    """Check that predictions do not change when test clips and their classes are destroyed outside what `fit` receives.

    Catches a classifier that reaches `x` or `y` behind `fit`'s back, through a closure or a global, to scale, to weigh
    or to choose its epoch; and one whose answer for a clip depends on the clips it is asked about together with it.
    Fits four times. A choice among equals changes nothing: take a fold with many test clips, of several classes.

    Args:
        make: Builds an untrained classifier.
        x: (N, ...) input of all clips. Changed in place, restored before returning.
        y: (N,) class indices, at least two of them; changed and restored likewise.
        groups: (dataset, subject) of each clip.
        fold: Train and test indices into `x`.
    """
    train, test = np.array(fold.train), np.array(fold.test)
    people = [groups[i] for i in fold.train]
    kept, truth = x[test].copy(), y[test].copy()
    classes = np.unique(y)
    inputs, labels = x[train], y[train]
    learner = make().fit(inputs.copy(), labels.copy(), people, seed=0)
    answer = np.asarray(learner.predict_proba(kept.copy()))
    alone = np.concatenate([np.asarray(learner.predict_proba(kept[n : n + 1].copy())) for n in range(len(kept))])
    problems = []
    if not np.allclose(alone, answer, atol=1e-4):
        problems.append(Problem(fold.name, "a clip's prediction depends on the test clips beside it"))
    again = np.asarray(make().fit(inputs.copy(), labels.copy(), people, seed=0).predict_proba(kept.copy()))
    if not np.array_equal(answer, again):
        return [*problems, Problem(fold.name, "two fits with one seed differ, so leaks cannot be seen")]
    ruined = {
        "test clips": (np.full_like(kept, np.nan if np.issubdtype(x.dtype, np.floating) else 0), truth),
        "the classes of test clips": (kept, classes[(np.searchsorted(classes, truth) + 1) % len(classes)]),
    }
    for what, (clips, labels_there) in ruined.items():
        try:
            x[test], y[test] = clips, labels_there
            # Still destroyed while predicting: only what is handed over may count.
            blind = np.asarray(make().fit(inputs.copy(), labels.copy(), people, seed=0).predict_proba(kept.copy()))
        except Exception as error:
            problems.append(Problem(fold.name, f"fit or predict_proba fails when {what} are destroyed: {error}"))
            continue
        finally:
            x[test], y[test] = kept, truth
        if not np.array_equal(answer, blind):
            problems.append(Problem(fold.name, f"predictions change when {what} are destroyed elsewhere"))
    return problems


def best_epoch_bound(
    y_true: NDArray[np.integer[Any]],
    persons: Sequence[tuple[str, str]],
    draws: Sequence[int] = (1, 5, 20, 100, 800),
    repeats: int = 20,
    seed: int = 0,
) -> dict[int, float]:
    """Compute the UF1 of a random guesser that keeps the best of several guesses for each subject.

    This is what choosing the epoch on the test subject can be worth with no learning at all.

    Args:
        y_true: (N,) true class indices.
        persons: (dataset, subject) of each clip.
        draws: Numbers of guesses ("epochs") to try.
        repeats: Repetitions that are averaged.
        seed: Of the guesses.

    Returns:
        UF1 for each number of draws.
    """
    truth = np.asarray(y_true)
    n_classes = int(truth.max()) + 1
    share = np.bincount(truth, minlength=n_classes) / len(truth)
    parts = [np.flatnonzero([p == person for p in persons]) for person in dict.fromkeys(persons)]
    random = np.random.default_rng(seed)
    out = {}
    for n in draws:
        values = []
        for _ in range(repeats):
            answer = np.empty_like(truth)
            for part in parts:
                guesses = random.choice(n_classes, size=(n, len(part)), p=share)
                answer[part] = guesses[(guesses == truth[part]).sum(1).argmax()]
            values.append(uf1(truth, answer, n_classes))
        out[n] = float(np.mean(values))
    return out
