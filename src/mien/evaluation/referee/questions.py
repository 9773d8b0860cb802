"""Answers to questions about clips, as MEGC 2025 exchanges them: {"video_id", "video", "question", "answer"}."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from mien.errors import MienError
from mien.evaluation.metrics import NO_ANSWER, accuracy_of, macro_precision_of, majority, tally, uar_of, uf1_of
from mien.evaluation.referee.table import Table, read_table

Kind = Literal["coarse", "fine", "units", "yes_no", "sentence"]
KINDS: Final[tuple[Kind, ...]] = ("coarse", "fine", "units", "yes_no", "sentence")
COLUMNS: Final = ("video_id", "video", "question", "answer")

Question = tuple[str, str]
"""(video, question), in lower case."""


def is_question_table(table: Table) -> bool:
    """Return whether a table is of questions and answers."""
    return table.first(("question",)) is not None and table.first(("answer", "response")) is not None


def kind_of_question(question: str) -> Kind:
    """Return what a question asks for.

    Example:
        >>> kind_of_question("What is the coarse expression class?")
        'coarse'
        >>> kind_of_question("Is the action unit cheek raiser shown on the face?")
        'yes_no'
    """
    text = question.lower()
    coarse, fine, units = "coarse" in text, "fine-grained" in text or "fine grained" in text, "action unit" in text
    if coarse + fine + units > 1:
        return "sentence"
    if re.match(r"(is|are|does|do|was|were)\b", text):
        return "yes_no"
    return "coarse" if coarse else "fine" if fine else "units" if units else "sentence"


def read_questions(path: Path) -> dict[Question, str]:
    """Read the answers of a file, by video and question.

    Raises:
        MienError: It is no such file, or answers a question twice in different words.
    """
    return questions_of(read_table(path))


def questions_of(table: Table) -> dict[Question, str]:
    """Return the answers of a table, by video and question.

    Raises:
        MienError: A column is missing, or a question is answered twice in different words.
    """
    videos = table.need(("video", "video_id"), "the video")
    asked, answers = table.need(("question",), "the question"), table.need(("answer", "response"), "the answer")
    found: dict[Question, str] = {}
    for row, (video, question, answer) in enumerate(zip(videos, asked, answers, strict=True)):
        key = video.lower(), " ".join(question.lower().split())
        if found.get(key, answer) != answer:
            raise MienError(
                f"{table.where(row)} answers {question!r} about {video} a second time: {answer!r}, before "
                f"{found[key]!r}.",
                "one answer for each question of a video.",
                "remove one of the two.",
            )
        found[key] = answer
    return found


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def _units(text: str) -> set[str]:
    """Return the action units that an answer lists, each as plain words."""
    text = re.sub(r"^.*?(?:are|is):", "", text.lower())
    return {_plain(part) for part in re.split(r",|;|\band\b|\d\)", text)} - {""}


def score_questions(predictions: dict[Question, str], truth: dict[Question, str]) -> dict[str, Any]:
    """Return the scores of each kind of question, ready for JSON.

    Args:
        predictions: Answers by video and question.
        truth: Right answers.

    Returns:
        "coarse" and "fine": n, accuracy, uf1, uar, macro_precision, majority_accuracy and classes, over the classes of
        the truth: an answer that is none of them is wrong, and no class is charged with it (`outside` counts them).
        "units": f1 from all units together, and mean_f1 over clips. "yes_no": accuracy, and uar. "sentence": the share
        of equal answers, case and punctuation apart. A question without an answer is wrong.

    Raises:
        MienError: The predictions answer a question that the truth has not.
    """
    extra = [key for key in predictions if key not in truth]
    if extra:
        raise MienError(
            f"{len(extra)} question(s) of the predictions are not in the truth, such as {extra[0][1]!r} about "
            f"{extra[0][0]}.",
            "the videos and questions of the truth.",
            "the truth of this test set; names of videos and questions must be the same, case apart.",
        )
    result: dict[str, Any] = {
        "task": "questions",
        "n_questions": len(truth),
        "n_unanswered": len(truth) - len(predictions),
        "warnings": [],
        "assumed": [
            "The scorer of MEGC 2025 ran on a closed site: these are scores of this library, not of the challenge."
        ],
    }
    if result["n_unanswered"]:
        result["warnings"].append(
            f"{result['n_unanswered']} of {len(truth)} questions have no answer: they count as wrong."
        )
    for kind in KINDS:
        asked = [key for key in truth if kind_of_question(key[1]) == kind]
        if asked:
            pairs = [(truth[key], predictions.get(key, "")) for key in asked]
            result[kind] = {"n": len(pairs), **_scores(kind, pairs)}
    return result


def _scores(kind: Kind, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    if kind == "sentence":
        return {"equal": float(np.mean([_plain(t) == _plain(p) for t, p in pairs]))}
    if kind == "units":
        sets = [(_units(t), _units(p)) for t, p in pairs]
        hits, total = sum(len(t & p) for t, p in sets), sum(len(t) + len(p) for t, p in sets)
        each = [2 * len(t & p) / max(len(t) + len(p), 1) for t, p in sets]
        return {"f1": 2 * hits / max(total, 1), "mean_f1": float(np.mean(each))}
    plain = [(_plain(t), _plain(p)) for t, p in pairs]
    if kind == "yes_no":
        plain = [(t.split(" ")[0], p.split(" ")[0]) for t, p in plain]
    classes = sorted({t for t, _ in plain})
    index = {name: n for n, name in enumerate(classes)}
    y_true = np.array([index[t] for t, _ in plain])
    y_pred = np.array([index.get(p, NO_ANSWER) for _, p in plain])
    counts = tally(y_true, y_pred, len(classes))
    scores = {
        "accuracy": float(accuracy_of(counts)),
        "uf1": float(uf1_of(counts)),
        "uar": float(uar_of(counts)),
        "macro_precision": float(macro_precision_of(counts)),
        "majority_accuracy": majority(y_true, len(classes))[0],
        "outside": int((y_pred == NO_ANSWER).sum()),
        "classes": classes,
    }
    return scores
