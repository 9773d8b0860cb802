"""Predictions of classes or action units for clips, in the forms in which people keep them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.datasets import DATASETS
from mien.errors import MienError, nearest_name
from mien.evaluation.referee.names import Key
from mien.evaluation.referee.table import Table, plain, read_table, read_text
from mien.evaluation.referee.truth import CLIP, DATASET, SUBJECT, unit_columns

PREDICTED: Final = ("y_pred", "prediction", "predicted", "pred", "answer", "label", "emotion", "class")
TRUE: Final = ("y_true", "truth", "true", "true_label", "gt", "ground_truth")
FOLD: Final = ("fold", "split", "cv", "fold_no")
ROLE: Final = ("set", "role", "subset", "partition")
SUM_WITHIN: Final = 0.02
"""How far the probabilities of a row may be from a sum of 1: what two decimals leave."""

CITED_CLASSES: Final = ("negative", "positive", "surprise")
"""Classes 0, 1 and 2 of the composite of MEGC 2019, in public lists, logs and folders of pictures."""


@dataclass(slots=True)
class Answers:
    """Predictions for clips, a value per row in each list.

    Attributes:
        keys: (dataset, subject, clip) as the file has them; "" where it has none.
        answers: Predicted class or units; "" where there is none.
        probabilities: (rows, classes), or None.
        names: Names of the columns of `probabilities`.
        truths: True class as the file has it; None where it has none.
        folds: Fold of each row; None where the file has none.
        roles: "train" or "test" of each row; None where the file has none.
        seeds: Seed of each row.
        form: What the file is, in words.
        where: Names a row, for messages.
    """

    keys: list[Key]
    answers: list[str]
    probabilities: NDArray[np.float64] | None = None
    names: tuple[str, ...] = ()
    truths: list[str] | None = None
    folds: list[str] | None = None
    roles: list[str] | None = None
    seeds: list[int] | None = None
    form: str = ""
    path: Path = Path()

    def where(self, row: int) -> str:
        """Return where a row stands; rows count from 1."""
        return f"row {row + 1} of {self.path.name}"


def read_log(path: Path) -> Answers | None:
    """Read a log of one line "DATABASE SUBJECT" for each subject, then a line "CLIP TRUTH PREDICTION" for each clip.

    Returns:
        None where the file is something else.

    Raises:
        MienError: A clip comes before the first subject, or a line is neither.
    """
    if path.suffix.lower() not in (".txt", ".log"):
        return None
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    if len(lines) < 2 or len(lines[0]) != 2 or len(lines[1]) != 3 or "," in lines[0][0]:
        return None
    found = Answers([], [], truths=[], form="log of clips (clip, truth, prediction)", path=path)
    assert found.truths is not None
    database, subject = "", ""
    for number, words in enumerate(lines, 1):
        if len(words) == 2:
            database, subject = words
        elif len(words) == 3:
            found.keys.append((_dataset(database), subject, words[0]))
            found.truths.append(words[1])
            found.answers.append(words[2])
        else:
            raise MienError(
                f"Line {number} of {str(path)!r} has {len(words)} words: {' '.join(words)[:60]!r}.",
                "`database subject`, or `clip truth prediction`.",
                "correct the line.",
            )
    return found


def _dataset(name: str) -> str:
    """Return the id of a database that a file names in its own way; the name itself where none is near."""
    if not name:
        return ""
    if name in DATASETS:
        return name
    return {"smic": "smic_hs", "casmeii": "casme2", "casme2": "casme2", "samm": "samm"}.get(plain(name), name)


def read_answers(path: Path, classes: Sequence[str], units: bool) -> Answers:
    """Read predictions for clips.

    Args:
        path: A table, or a log.
        classes: Class names, or names of units; empty where they are not known.
        units: Whether action units are predicted.

    Raises:
        MienError: It cannot be read as predictions of these.
    """
    log = None if units else read_log(path)
    if log is not None:
        return log
    return _from_table(read_table(path), classes, units)


def _from_table(table: Table, classes: Sequence[str], units: bool) -> Answers:
    clips = table.need(CLIP, "the clip")
    n = len(table)

    def texts(names: Sequence[str]) -> list[str] | None:
        column = table.first(names)
        return list(table.columns[column]) if column else None

    subjects, datasets = texts(SUBJECT) or [""] * n, texts(DATASET) or [""] * n
    found = Answers(
        list(zip(map(_dataset, datasets), subjects, clips, strict=True)), [""] * n, form="table of clips",
        path=table.path, folds=texts(FOLD), roles=texts(ROLE),
    )  # fmt: skip
    seeds = texts(("seed",))
    if seeds is not None:
        try:
            found.seeds = [int(seed) for seed in seeds]
        except ValueError:
            raise MienError(
                f"{str(table.path)!r} has a seed that is no whole number.", "0, 1, 2, ...", "correct `seed`."
            ) from None
    if units:
        shown = unit_columns(table)
        if shown is None:
            raise MienError(
                f"{str(table.path)!r} has no column of an action unit: it has {', '.join(table.columns)}.",
                f"a column for each unit with 0, 1 or a probability: {', '.join(classes[:4])}, ...",
                "add them, or `--labels` of classes to score classes.",
            )
        found.names, found.probabilities = shown
        return found
    found.truths = texts(TRUE)
    found.names, found.probabilities = _probabilities(table, classes)
    labels = texts(PREDICTED)
    if labels is None and found.probabilities is None:
        near = nearest_name("prediction", table.columns)
        raise MienError(
            f"{str(table.path)!r} has no column of predictions: it has {', '.join(table.columns)}.",
            "a column `prediction` with the class, or a column p_CLASS of probabilities for each class.",
            f"rename {near!r} to 'prediction'." if near else "add one of them.",
        )
    found.answers = labels if labels is not None else [""] * n
    return found


def _probabilities(table: Table, classes: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float64] | None]:
    """Return the columns of probabilities of a table, and their values, NaN in rows without any."""
    columns = {}
    for name in table.columns:
        word = re.sub(r"^(p|prob|probability|proba)[_ .-]", "", name.lower())
        if word != name.lower() or name.lower() in [c.lower() for c in classes]:
            columns[word] = name
    if not columns:
        return (), None
    values = np.empty((len(table), len(columns)))
    for place, name in enumerate(columns.values()):
        for row, text in enumerate(table.columns[name]):
            try:
                values[row, place] = float(text) if text else np.nan
            except ValueError:
                values[row, place] = np.inf
    for row, each in enumerate(values):
        if np.isnan(each).all():
            continue
        if not np.isfinite(each).all() or each.min() < 0 or abs(each.sum() - 1) > SUM_WITHIN:
            shown = ", ".join(f"{table.columns[name][row] or 'nothing'}" for name in columns.values())
            raise MienError(
                f"{table.where(row)}: the probabilities are {shown}" + (
                    f", which sum to {each.sum():.3f}." if np.isfinite(each).all() else "."),
                "numbers from 0 to 1 that sum to 1 (two decimals are enough).",
                "softmax the outputs before they are written, or write the class alone in a column `prediction`.",
            )  # fmt: skip
        values[row] = each / each.sum()
    return tuple(columns), values


def numbered_classes(numbers: Sequence[int], class_names: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Return the names of classes that are given as numbers, and what was assumed."""
    if class_names:
        if numbers[-1] >= len(class_names):
            raise MienError(
                f"A class has the number {numbers[-1]}; {len(class_names)} classes are named.",
                "a name for each number from 0.",
                f"`--classes {','.join([*class_names, 'another'])}`.",
            )
        return tuple(class_names), f"Classes 0 to {len(class_names) - 1}: {', '.join(class_names)} (--classes)."
    if numbers[-1] < len(CITED_CLASSES):
        return CITED_CLASSES, (
            f"Classes 0, 1 and 2 were taken as {', '.join(CITED_CLASSES)}, as public lists of the composite have them."
        )
    return tuple(f"class {n}" for n in range(numbers[-1] + 1)), "Classes have numbers only (--classes names them)."
