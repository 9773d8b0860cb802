"""score(): the scores of predictions that others made; no model is involved."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal, cast

import mien
from mien.datasets.labels import LABEL_MAPS, label_map
from mien.errors import MienError, unknown_name
from mien.evaluation.compare import compare as compare_ledgers
from mien.evaluation.referee.answers import read_answers
from mien.evaluation.referee.clips import Scored, match_clips
from mien.evaluation.referee.detections import Lengths
from mien.evaluation.referee.films import FramesFrom, Matched, compare_films, film_scores, match_videos
from mien.evaluation.referee.frames import FrameRule
from mien.evaluation.referee.questions import is_question_table, questions_of, read_questions, score_questions
from mien.evaluation.referee.rules import DEFAULT, RULES, rule_named
from mien.evaluation.referee.table import first_rows, read_table
from mien.evaluation.referee.truth import FRAME_OR_ONSET, Truths, clip_truth, unit_columns
from mien.evaluation.report import class_results, warnings_of
from mien.evaluation.report_html import section, write_sections
from mien.evaluation.unit_report import unit_results

Task = Literal["recognise", "spot", "units", "questions"]
TASKS: Final[tuple[Task, ...]] = ("recognise", "spot", "units", "questions")

Predictions = str | Path | Sequence[str | Path]


def score(
    predictions: Predictions,
    truth: Truths | None = None,
    *,
    rule: str | None = None,
    task: str | None = None,
    labels: str = "",
    label_sheets: Mapping[str, Path] | None = None,
    classes: Sequence[str] = (),
    threshold: float = 0.5,
    frames_from: str = "truth",
    kind: str = "",
    lengths: Lengths | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Score predictions that others made: classes, action units, intervals, frame scores, or answers to questions.

    Args:
        predictions: A file, several, or folders of files; docs/guide/score.md shows each form.
        truth: NAME=FOLDER of a database, or a file of the truth, or several; None where the file has its own.
        rule: How is counted: "megc2019" for classes; "one_to_one" (default), "megc2020" or "strs" for intervals.
        task: "recognise", "spot", "units" or "questions"; None takes what the columns of the file tell.
        labels: Label map of the true classes or units; "" takes that of the rule, the database or the file.
        label_sheets: Label sheets of ready flow pictures by database, for action units.
        classes: Names of classes that the file gives as numbers, from 0.
        threshold: Probability from which a unit counts as predicted, 0..1.
        frames_from: What predictions call the first frame: "0", "1", or "truth" for the truth's own numbers.
        kind: "micro" or "macro" for intervals whose file does not state it.
        lengths: Lengths in frames that count, by kind: (shortest, longest), both included.
        settings: Values of `mien.evaluation.referee.frames.FrameRule`.

    Returns:
        As `mien report --json`: `task` says which; `assumed` lists what had to be assumed, `warnings` what a reader
        must know. For intervals: "micro", "macro" and "all" with tp, fp, fn, precision, recall, f1 and f1_interval;
        `by_rule` the same under each rule; `videos_with_expression_alone`, as some papers score.

    Raises:
        MienError: A file cannot be read or does not fit the truth; an unknown rule or label map.

    Example:
        >>> _ = Path("mine.csv").write_text("subject,clip,prediction,truth\\n1,a,happy,happy\\n2,b,sad,happy\\n")
        >>> score("mine.csv")["accuracy"]
        0.5
    """
    paths = _paths(predictions)
    chosen = rule_named(rule) if rule else None
    kind_of_task = _task(paths, task, chosen.task if chosen else "", labels)
    if chosen is not None and (chosen.task == "spotting") != (kind_of_task == "spot"):
        fitting = [r.name for r in RULES.values() if (r.task == "spotting") == (kind_of_task == "spot")]
        raise MienError(
            f"The rule {chosen.name!r} is for {chosen.task}, and {paths[0].name!r} was taken as predictions to "
            f"{kind_of_task}.",
            f"a rule for it: {', '.join(fitting) or 'none'}.",
            "without --rule; or --task, if the file was taken for the wrong one.",
        )
    if kind_of_task == "spot":
        matched = _matched(paths, truth, frames_from, kind, lengths, settings)
        result = film_scores(matched, chosen.name if chosen else DEFAULT)
    elif kind_of_task == "questions":
        result = _questions(paths, truth)
    else:
        scored = _scored(paths, truth, chosen.labels if chosen else labels, label_sheets, classes, threshold,
                         kind_of_task == "units")  # fmt: skip
        result = _class_report(scored)
    result["predictions"] = [str(path) for path in paths]
    result["version"] = mien.__version__
    result["command"] = shlex.join(
        ["mien", "score", *map(str, paths)] + [w for t in _texts(truth) for w in ("--truth", t)]
        + (["--rule", chosen.name] if chosen else [])
    )  # fmt: skip
    return result


def write_page(predictions: Predictions, truth: Truths | None, out: Path, **options: Any) -> Path:
    """Write the report of predicted classes or action units as one self-contained page.

    Args:
        predictions: As `score` takes it.
        truth: As `score` takes it.
        out: The file to write.
        options: Those of `score`.

    Raises:
        MienError: As `score`; or the predictions are neither classes nor action units.
    """
    result = score(predictions, truth, **options)
    units = result["task"] == "units"
    if not units and result["task"] != "recognise":
        raise MienError(
            f"The page is for classes and action units, and these are predictions to {result['task']}.",
            "predictions of classes or of action units.",
            "`--json` for every score.",
        )
    named = rule_named(options["rule"]).labels if options.get("rule") else options.get("labels", "")
    scored = _scored(_paths(predictions), truth, named, options.get("label_sheets"), options.get("classes", ()),
                     options.get("threshold", 0.5), units)  # fmt: skip
    return write_sections([section(scored.ledger, result, {}, result["system"], 1)], out)


def compare_predictions(
    first: Predictions,
    second: Predictions,
    truth: Truths,
    *,
    rule: str | None = None,
    labels: str = "",
    classes: Sequence[str] = (),
    **spotting: Any,
) -> dict[str, Any]:
    """Compare two people's predictions for the same clips or videos.

    Args:
        first: File of A.
        second: File of B.
        truth: As `score` takes it.
        rule: As `score` takes it.
        labels: As `score` takes it.
        classes: As `score` takes it.
        spotting: frames_from, kind, lengths and settings of `score`.

    Returns:
        For classes what `mien.evaluation.compare.Comparison` holds. For intervals, by kind: f1 of both, their
        difference with its 95 % interval over subjects and p.

    Raises:
        MienError: As `score`; or one predicts classes and the other intervals.
    """
    chosen = rule_named(rule) if rule else None
    tasks = [_task(_paths(each), None, chosen.task if chosen else "", labels) for each in (first, second)]
    if tasks[0] != tasks[1] or tasks[0] not in ("spot", "recognise"):
        raise MienError(
            f"A is taken as predictions to {tasks[0]}, B to {tasks[1]}.",
            "two files of classes, or two of intervals.",
            "`mien score` for each of them.",
        )
    if tasks[0] == "spot":
        a, b = (_matched(_paths(p), truth, spotting.get("frames_from", "truth"), spotting.get("kind", ""),
                         spotting.get("lengths"), spotting.get("settings")) for p in (first, second))  # fmt: skip
        return compare_films(a, b, chosen.name if chosen else DEFAULT)
    named = chosen.labels if chosen else labels
    ledgers = [_scored(_paths(p), truth, named, None, classes, 0.5, False).ledger for p in (first, second)]
    return {"task": "recognise", **asdict(compare_ledgers(*ledgers))}


def _paths(predictions: Predictions) -> list[Path]:
    given = [predictions] if isinstance(predictions, str | Path) else list(predictions)
    paths = [Path(each).expanduser() for each in given]
    if not paths:
        raise MienError("No predictions are given.", "a file or folder.", "`mien score FILE --truth NAME=FOLDER`.")
    for path in paths:
        if not path.exists():
            raise MienError(
                f"There is no file {str(path)!r}.",
                "a file of predictions, or a folder of such files.",
                "the right path; `ls` shows what is there.",
            )
    return paths


def _texts(truth: Truths | None) -> list[str]:
    if truth is None:
        return []
    return [str(truth)] if isinstance(truth, str | Path) else [str(each) for each in truth]


def _task(paths: Sequence[Path], asked: str | None, of_rule: str, labels: str) -> Task:
    """Return what the predictions are."""
    if asked:
        if asked not in TASKS:
            raise unknown_name("task", asked, TASKS, "mien score --help")
        return next(name for name in TASKS if name == asked)
    if of_rule == "spotting":
        return "spot"
    if labels:
        return "units" if label_map(labels).units else "recognise"
    if of_rule == "recognition":
        return "recognise"
    path = paths[0]
    if path.is_dir() or path.suffix.lower() == ".mat":
        return "spot"
    if path.suffix.lower() == ".txt":
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            lines = [stream.readline(1000) for _ in range(3)]
        words = [line.split() for line in lines if line.strip()]
        marked = any(w[-1] in ("TP", "FP", "FN") or w[-1].endswith("]") for w in words)
        if marked:
            return "spot"
        if len(words) > 1 and len(words[0]) == 2 and len(words[1]) == 3 and "," not in lines[0]:
            return "recognise"
    table = first_rows(path)
    if is_question_table(table):
        return "questions"
    if table.first(FRAME_OR_ONSET) or (not table.header and len(table.columns) == 4):
        return "spot"
    return "units" if unit_columns(table) is not None else "recognise"


def _matched(
    paths: Sequence[Path],
    truth: Truths | None,
    frames_from: str,
    kind: str,
    lengths: Lengths | None,
    settings: Mapping[str, Any] | FrameRule | None,
) -> Matched:
    if truth is None:
        raise MienError(
            "No truth is given, and intervals are no truth of themselves.",
            "the database's folder, or a file of its true intervals.",
            "`--truth casme_sq=/data/CASME2_long`, or `--truth FILE`.",
        )
    if frames_from not in ("truth", "0", "1"):
        raise MienError(
            f"The first frame is called {frames_from!r}.", "0, 1, or truth.", "`--frames-from 0`, for example."
        )
    if kind not in ("", "micro", "macro"):
        raise MienError(f"The kind is {kind!r}.", "micro or macro.", "`--kind micro`.")
    rule = settings if isinstance(settings, FrameRule) else FrameRule.read(dict(settings or {}), "mien score")
    return match_videos(paths, truth, frames_from=cast("FramesFrom", frames_from), kind=kind, lengths=lengths,
                        settings=rule)  # fmt: skip


def _questions(paths: Sequence[Path], truth: Truths | None) -> dict[str, Any]:
    files = [Path(text.rpartition("=")[2]).expanduser() for text in _texts(truth)]
    if not files:
        raise MienError(
            "No truth is given for these questions.",
            "a file of the same questions with the right answers.",
            "`--truth answers.jsonl`.",
        )
    given: dict[tuple[str, str], str] = {}
    right: dict[tuple[str, str], str] = {}
    for path in paths:
        given |= questions_of(read_table(path))
    for file in files:
        right |= read_questions(file)
    return score_questions(given, right)


def _scored(
    paths: Sequence[Path],
    truth: Truths | None,
    labels: str,
    label_sheets: Mapping[str, Path] | None,
    classes: Sequence[str],
    threshold: float,
    units: bool,
) -> Scored:
    if len(paths) > 1 or paths[0].is_dir():
        raise MienError(
            f"{len(paths)} files or a folder of predictions for clips.",
            "one file; several repetitions have a column `seed`.",
            "`mien score` for each of them, or `mien compare A B --truth ...` for two.",
        )
    if not 0 <= threshold <= 1:
        raise MienError(f"The threshold is {threshold:g}.", "a number from 0 to 1.", "`--threshold 0.5`.")
    known = clip_truth(truth, labels, label_sheets) if truth else None
    if units and labels == "" and known is not None and not known.units:
        known = clip_truth(cast("Truths", truth), "au12", label_sheets)
    names = known.classes if known else (LABEL_MAPS[labels].classes if labels else ())
    answers = read_answers(paths[0], names, bool(known.units) if known else units)
    return match_clips(answers, known, classes, threshold, paths[0].stem)


def _class_report(scored: Scored) -> dict[str, Any]:
    """Return the report of predictions for clips, in the form of the report of a run."""
    ledger = scored.ledger
    rows = ledger.rows
    numbers = unit_results(ledger) if ledger.units else class_results(ledger)
    folds = len({row.fold for row in rows})
    result: dict[str, Any] = {
        "task": "units" if ledger.units else "recognise",
        "system": ledger.settings["system"],
        "system_title": f"Predictions of {ledger.settings['system']}",
        "preset": None,
        "protocol": f"{folds} folds of the file" if scored.folds else "an unknown protocol",
        "seed": list(ledger.seeds) if len(ledger.seeds) > 1 else ledger.seeds[0],
        "label_map": ledger.settings["labels"],
        "classes": list(ledger.classes),
        "datasets": list(ledger.settings["datasets"]),
        "averaging": "pooled over all clips",
        "n_clips": len({row.key for row in rows}),
        "n_subjects": len({(row.dataset, row.subject) for row in rows}),
        **numbers,
        "failed": {},
        "interval_source": {"of unknown origin": len({row.key for row in rows})},
        "complete": True,
        "folds": {"done": folds, "total": folds, "missing": 0},
        "shuffled_labels": False,
        "synthetic": ledger.settings["synthetic"],
        "lacking": {},
        "left_out": {},
        "remarks": list(scored.warnings),
        "shares_subjects": False,
        "warning": None,
        "data": [],
        "clip_table": None,
        "parameters": {},
        "protocol_parameters": {},
        "published": [],
        "form": scored.form,
        "assumed": list(scored.said),
        "n_missing": len(scored.missing),
        "missing": list(scored.missing),
    }
    if not ledger.units and not scored.folds:
        result["f1_fold_mean"] = None
        for each in result.get("per_seed", ()):
            each["f1_fold_mean"] = None
    result["warnings"] = warnings_of(result)
    return result
