"""Predictions of classes or action units beside the clips of a truth."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import mien
from mien.errors import MienError, nearest_name
from mien.evaluation.ledger import FAILED, Ledger, Row
from mien.evaluation.referee.answers import CITED_CLASSES, Answers, numbered_classes
from mien.evaluation.referee.names import Key, Names
from mien.evaluation.referee.table import plain
from mien.evaluation.referee.truth import ClipTruth
from mien.evaluation.units import UNITS_TASK, units_as_text


@dataclass(frozen=True, slots=True)
class Scored:
    """Predictions beside their truth, as a ledger in memory.

    Attributes:
        ledger: One row per seed and clip of the truth; a clip without a prediction has no answer.
        said: What was assumed, in full sentences.
        warnings: What a reader must know, in full sentences.
        form: What the file is, in words.
        folds: Whether the file names folds.
        missing: Clips of the truth without a prediction.
    """

    ledger: Ledger
    said: tuple[str, ...]
    warnings: tuple[str, ...]
    form: str
    folds: bool
    missing: tuple[str, ...]


def match_clips(
    answers: Answers,
    truth: ClipTruth | None,
    class_names: Sequence[str] = (),
    threshold: float = 0.5,
    name: str = "",
) -> Scored:
    """Put predictions beside the clips of a truth.

    Args:
        answers: The predictions.
        truth: The truth; None where the file has its own.
        class_names: Names of classes that the file gives as numbers, in their order.
        threshold: Probability from which a unit counts as predicted.
        name: Name of what is scored.

    Raises:
        MienError: A clip is not in the truth, has two different rows, or a class is unknown.
    """
    said: list[str] = []
    warned: list[str] = []
    seeds = answers.seeds or [0] * len(answers.keys)
    training = _training(answers, warned)
    answers, seeds = _test_rows(answers, seeds)
    if truth is None:
        truth, text = _own_truth(answers, class_names)
        said.append(text)
    said += truth.said
    names = Names(truth.keys)
    places = [names.find(clip, subject, dataset) for dataset, subject, clip in answers.keys]
    if all(place is None for place in places):  # the file may name the database in its own way
        places = [names.find(clip, subject) for _, subject, clip in answers.keys]
    unknown = [key for key, place in zip(answers.keys, places, strict=True) if place is None]
    if unknown:
        raise MienError(
            f"{len(unknown)} clip(s) of the predictions are not in the truth, such as "
            f"{'/'.join(filter(None, unknown[0]))!r}.",
            f"clips such as {'/'.join(truth.keys[0])}; {len(truth.keys)} under {truth.label_map}.",
            "remove these rows, correct the names (add a column `subject`?), or choose another --labels.",
        )
    if names.loosely:
        asked, key = next(iter(names.loosely.items()))
        said.append(f"{len(names.loosely)} names were found by their numbers: {asked} is taken for {'/'.join(key)}.")
    found = [place for place in places if place is not None]
    rows, said_of_rows = _rows(answers, found, seeds, truth, class_names, threshold, warned)
    said += [text for text in said_of_rows if not any(text in each for each in said)]
    wanted = sorted({seed for seed, _ in rows})
    missing = [p for p in range(len(truth.keys)) if any((seed, p) not in rows for seed in wanted)]
    if missing:
        warned.append(
            f"{len(missing)} of {len(truth.keys)} clips of the truth have no prediction "
            f"({'/'.join(truth.keys[missing[0]])} first): they count as wrong, so that leaving clips out cannot raise "
            "a score."
        )
    _fold_warnings(answers, found, truth, training, warned)
    ledger_rows = []
    for seed in wanted:
        for place, key in enumerate(truth.keys):
            row = rows.get((seed, place))
            ledger_rows.append(row or Row(*key, "", seed, FAILED, truth.labels[place], "", ()))
    settings: dict[str, Any] = {"system": name, "labels": truth.label_map, "synthetic": truth.synthetic,
                                "datasets": sorted({key[0] for key in truth.keys}), "seeds": wanted, "n_folds": 1,
                                "version": mien.__version__}  # fmt: skip
    if truth.units:
        settings["task"] = UNITS_TASK
    ledger = Ledger(settings, truth.classes, tuple(ledger_rows), complete=True)
    return Scored(ledger, tuple(said), tuple(warned), answers.form, answers.folds is not None,
                  tuple("/".join(truth.keys[p]) for p in missing))  # fmt: skip


def _training(answers: Answers, warned: list[str]) -> set[tuple[str, str]]:
    """Return the (dataset, subject) of rows marked as training."""
    if answers.roles is None:
        return set()
    words = {role.lower() for role in answers.roles}
    if not words <= {"train", "training", "test", "testing", "val", "valid", "validation", ""}:
        answers.roles = None
        return set()
    marked = [role.lower().startswith("train") for role in answers.roles]
    people = {key[:2] for key, train in zip(answers.keys, marked, strict=True) if train}
    tested = {key[:2] for key, train in zip(answers.keys, marked, strict=True) if not train}
    clips = {key for key, train in zip(answers.keys, marked, strict=True) if train}
    both = [key for key, train in zip(answers.keys, marked, strict=True) if not train and key in clips]
    if both and answers.folds is None:
        warned.append(f"{len(both)} clip(s) are in training and in test, such as {'/'.join(filter(None, both[0]))}.")
    shared = sorted(people & tested)
    if shared and answers.folds is None:
        warned.append(
            f"{len(shared)} subject(s) are in training and in test, such as {'/'.join(filter(None, shared[0]))}: "
            "scores are too high."
        )
    return people


def _test_rows(answers: Answers, seeds: list[int]) -> tuple[Answers, list[int]]:
    if answers.roles is None or not any(role.lower().startswith("train") for role in answers.roles):
        return answers, seeds
    keep = [n for n, role in enumerate(answers.roles) if not role.lower().startswith("train")]
    if not keep:
        raise MienError(
            f"All rows of {str(answers.path)!r} are marked as training.",
            "rows of test clips.",
            "the predictions for the clips that were held out.",
        )

    def pick(values: list[Any] | None) -> list[Any] | None:
        return None if values is None else [values[n] for n in keep]

    probabilities = None if answers.probabilities is None else answers.probabilities[keep]
    rest = replace(
        answers, keys=[answers.keys[n] for n in keep], answers=[answers.answers[n] for n in keep],
        probabilities=probabilities, truths=pick(answers.truths), folds=pick(answers.folds), roles=pick(answers.roles),
    )  # fmt: skip
    return rest, [seeds[n] for n in keep]


def _own_truth(answers: Answers, class_names: Sequence[str]) -> tuple[ClipTruth, str]:
    if answers.truths is None:
        raise MienError(
            f"{str(answers.path)!r} has no true classes, and no truth is given.",
            "a truth.",
            "`--truth casme2=/data/CASMEII`, or a table of true classes: `--truth FILE`.",
        )
    seen: dict[Key, str] = {}
    for row, (key, label) in enumerate(zip(answers.keys, answers.truths, strict=True)):
        if seen.setdefault(key, label) != label:
            raise MienError(
                f"{answers.where(row)}: {'/'.join(filter(None, key))} is {label!r} there and {seen[key]!r} before.",
                "one true class for each clip.",
                "correct one of the rows.",
            )
    used = {*seen.values(), *filter(None, answers.answers)}
    numbered = all(re.fullmatch(r"\d+", label) for label in used)
    classes, text = numbered_classes(sorted(map(int, used)), class_names) if numbered else (tuple(sorted(used)), "")
    labels = [classes[int(v)] if numbered else v for v in seen.values()]
    keys = tuple((d or "the file", s or "?", c) for d, s, c in seen)
    answers.keys = [(d or "the file", s or "?", c) for d, s, c in answers.keys]
    source = f"The true classes are those of {answers.path.name} itself: nothing says that they are right. {text}"
    return ClipTruth(keys, tuple(labels), classes, "as in the file"), source.strip()


def _rows(
    answers: Answers,
    places: Sequence[int],
    seeds: Sequence[int],
    truth: ClipTruth,
    class_names: Sequence[str],
    threshold: float,
    warned: list[str],
) -> tuple[dict[tuple[int, int], Row], list[str]]:
    """Return a ledger row for each (seed, place in the truth) that has a prediction."""
    said: list[str] = []
    read = _unit_answers(answers, truth, threshold, said) if truth.units else _class_answers(
        answers, truth, class_names, said)  # fmt: skip
    rows: dict[tuple[int, int], Row] = {}
    twice = 0
    for number, (place, seed) in enumerate(zip(places, seeds, strict=True)):
        label, probabilities = read[number]
        if not label:
            continue
        fold = answers.folds[number] if answers.folds else ""
        row = Row(*truth.keys[place], fold, seed, "ready", truth.labels[place], label, probabilities)
        if answers.truths is not None and not truth.units:
            _same_truth(answers, number, truth, place, class_names)
        before = rows.get((seed, place))
        if before is not None:
            if before.y_pred != row.y_pred or not np.allclose(before.probabilities, row.probabilities, atol=1e-6):
                raise MienError(
                    f"{answers.where(number)}: {row.key} has a second row, {row.y_pred} after {before.y_pred}.",
                    "one prediction for each clip, or a column `seed` that tells repetitions apart.",
                    "remove one of them; the mean of several models is one row of mean probabilities.",
                )
            twice += 1
        rows[seed, place] = row
    if twice:
        warned.append(f"{twice} clip(s) have two rows with the same answer; each counts once.")
    if not rows:
        raise MienError(
            f"{str(answers.path)!r} has no answer in any row.", "a prediction for some clip.", "write them again."
        )
    return rows, said


def _class_answers(
    answers: Answers, truth: ClipTruth, class_names: Sequence[str], said: list[str]
) -> list[tuple[str, tuple[float, ...]]]:
    classes = truth.classes
    spelt = {plain(name): name for name in classes}
    order: list[int] | None = None
    if answers.probabilities is not None:
        named = [spelt.get(plain(name)) for name in answers.names]
        if None in named and all(name.isdigit() for name in answers.names):
            numbers, text = numbered_classes(sorted(map(int, answers.names)), class_names)
            named = [spelt.get(plain(numbers[int(name)])) for name in answers.names]
            said.append(text)
        missing = [name for name in classes if name not in named]
        if missing or None in named:
            odd = [a for a, b in zip(answers.names, named, strict=True) if b is None]
            raise MienError(
                f"The probabilities are of {', '.join(answers.names)}; "
                + (f"{odd[0]!r} is no class of the truth." if odd else f"{missing[0]!r} is missing."),
                f"one column for each of {', '.join(classes)}.",
                "rename the columns to p_CLASS; a class that is never predicted has probability 0.",
            )
        order = [named.index(name) for name in classes]
    numbered = [a for a in answers.answers if a]
    by_number: tuple[str, ...] = ()
    if (
        numbered
        and all(re.fullmatch(r"\d+(\.0)?", a) for a in numbered)
        and not {plain(a) for a in numbered} <= set(spelt)
    ):
        by_number, text = numbered_classes(sorted({int(float(a)) for a in numbered}), class_names)
        said.append(text)
    found = []
    for row, answer in enumerate(answers.answers):
        label = ""
        if answer:
            word = by_number[int(float(answer))] if by_number else answer
            label = spelt.get(plain(word), "")
            if not label:
                near = nearest_name(word, classes)
                raise MienError(
                    f"{answers.where(row)} predicts {word!r}, which is no class of the truth.",
                    f"one of {', '.join(classes)}, or nothing where there is no answer.",
                    f"{near!r}?" if near else "`--labels` for the label map of these classes; `--classes` for numbers.",
                )
        shares: tuple[float, ...] = ()
        if order is not None and answers.probabilities is not None:
            each = answers.probabilities[row][order]
            if not np.isnan(each).any():
                shares = tuple(each.tolist())
                best = classes[int(each.argmax())]
                if label and each[classes.index(label)] < each.max() - 1e-6:
                    raise MienError(
                        f"{answers.where(row)} predicts {label!r}, but its most probable class is {best!r}.",
                        "the most probable class.",
                        "correct one of them, or leave the probabilities out.",
                    )
                label = label or best
        if label and not shares:
            shares = tuple(float(name == label) for name in classes)
        found.append((label, shares))
    return found


def _unit_answers(
    answers: Answers, truth: ClipTruth, threshold: float, said: list[str]
) -> list[tuple[str, tuple[float, ...]]]:
    missing = [name for name in truth.classes if name not in answers.names]
    if missing or answers.probabilities is None:
        raise MienError(
            f"{str(answers.path)!r} has no column {missing[0] if missing else 'of a unit'}.",
            f"one column for each of {', '.join(truth.classes)}.",
            "add it, with 0 where the unit is never predicted; or a label map of fewer units.",
        )
    places = [answers.names.index(name) for name in truth.classes]
    values = answers.probabilities[:, places]
    said.append(f"A unit counts as predicted from {threshold:g} on.")
    if np.isin(values[~np.isnan(values)], (0, 1)).all():
        said.append("All values are 0 or 1: AUC and average precision are those of decisions, not of probabilities.")
    extra = [name for name in answers.names if name not in truth.classes]
    if extra:
        said.append(f"Units that the truth does not score are left out: {', '.join(extra)}.")
    return [
        ("", ()) if np.isnan(each).any() else (units_as_text(each >= threshold, truth.classes), tuple(each.tolist()))
        for each in values
    ]


def _same_truth(answers: Answers, number: int, truth: ClipTruth, place: int, class_names: Sequence[str]) -> None:
    assert answers.truths is not None
    printed = answers.truths[number]
    if not printed or (truth.label_map == "as in the file" and re.fullmatch(r"\d+", printed)):
        return
    if re.fullmatch(r"\d+", printed):
        names = tuple(class_names) or CITED_CLASSES
        printed = names[int(printed)] if int(printed) < len(names) else printed
    if plain(printed) != plain(truth.labels[place]):
        raise MienError(
            f"{answers.where(number)}: the file says that {'/'.join(truth.keys[place])} is {printed!r}; the truth says "
            f"{truth.labels[place]!r}.",
            "the same true classes.",
            "`--labels` of the label map that was used, or without the column of true classes.",
        )


def _fold_warnings(
    answers: Answers, places: Sequence[int], truth: ClipTruth, training: set[tuple[str, str]], warned: list[str]
) -> None:
    """Warn where folds show that subjects were not kept apart."""
    if answers.folds is None:
        if not training:
            warned.append("The file names no folds: whether test subjects were kept out of training cannot be seen.")
        return
    of_person: dict[tuple[str, str], Counter[str]] = {}
    for place, fold in zip(places, answers.folds, strict=True):
        of_person.setdefault(truth.keys[place][:2], Counter())[fold] += 1
    split = [person for person, folds in of_person.items() if len(folds) > 1]
    if split:
        warned.append(
            f"{len(split)} of {len(of_person)} subjects have clips in several folds, such as {'/'.join(split[0])}: if "
            "each fold was trained on the others, subjects are in training and in test, and scores are too high."
        )
