"""`mien score`: the scores of predictions that others made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli.shell import Json, pairs, print_json, say, show
from mien.errors import MienError

Truth = Annotated[
    list[str] | None,
    typer.Option(
        "--truth",
        metavar="NAME=PATH",
        help="Folder of a database, or a file of true labels; may be repeated.",
    ),
]
RuleName = Annotated[
    str | None,
    typer.Option("--rule", help="Rule of counting: megc2019 (classes); one_to_one, megc2020, strs (intervals)."),
]
ClassNames = Annotated[
    str | None, typer.Option("--classes", help="Names of classes 0, 1, ... in the file: negative,positive,...")
]
FramesFrom = Annotated[
    str, typer.Option("--frames-from", help="Number of the first frame in the predictions: 0, 1, or truth.")
]
KindName = Annotated[str, typer.Option("--kind", help="micro or macro, if the file does not state it.")]
LengthTexts = Annotated[
    list[str] | None,
    typer.Option("--length", metavar="KIND=FROM-TO", help="Count only lengths in frames: micro=7-16, macro=17-."),
]
FrameSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="How scores become intervals: p, at, gap, shortest, nms, p_row; see the guide.",
    ),
]
Labels = Annotated[
    str, typer.Option("--labels", help="Label map of the true classes or units, such as megc2019, au12.")
]


def score(
    predictions: Annotated[list[Path], typer.Argument(help="Files or folders of predictions, in any known format.")],
    truth: Truth = None,
    rule: RuleName = None,
    task: Annotated[
        str | None, typer.Option(help="recognise, spot, units or questions; default: determined from the file.")
    ] = None,
    labels: Labels = "",
    label_sheet: Annotated[
        list[str] | None,
        typer.Option("--label-sheet", metavar="NAME=FILE", help="Sheet with the action units of ready flow pictures."),
    ] = None,
    classes: ClassNames = None,
    threshold: Annotated[float, typer.Option(help="Probability from which a unit counts as present.")] = 0.5,
    frames_from: FramesFrom = "truth",
    kind: KindName = "",
    length: LengthTexts = None,
    settings: FrameSettings = None,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page (classes, action units).")] = None,
    as_json: Json = False,
) -> None:
    """Score predictions that others made: classes, action units, intervals, answers. No model is involved."""
    from mien.datasets.unit_labels import parse_label_sheets
    from mien.evaluation.referee.score import score as score_files
    from mien.evaluation.referee.score import write_page
    from mien.evaluation.referee.text import render_score
    from mien.evaluation.report_html import require_target

    if html is not None:
        require_target(html)
    given: dict[str, Any] = {
        "rule": rule, "task": task, "labels": labels, "label_sheets": parse_label_sheets(label_sheet or ()),
        "classes": _names(classes), "threshold": threshold, **spotting_options(frames_from, kind, length, settings),
    }  # fmt: skip
    result = score_files(predictions, truth, **given)
    if html is not None:
        write_page(predictions, truth, html, **given)
    if as_json:
        print_json(result)
        return
    show(render_score(result))
    if html is not None:
        say(("Page: ", "dim"), str(html))


def compare_files(
    first: Path,
    second: Path,
    truth: Sequence[str],
    *,
    rule: str | None,
    labels: str,
    classes: str | None,
    frames_from: str,
    kind: str,
    length: Sequence[str] | None,
    settings: Sequence[str] | None,
    as_json: bool,
) -> None:
    """Compare two people's predictions and print the result."""
    from mien.evaluation.compare import Comparison, render_comparison
    from mien.evaluation.referee.score import compare_predictions
    from mien.evaluation.referee.text import render_film_comparison

    result = compare_predictions(
        first, second, truth, rule=rule, labels=labels, classes=_names(classes),
        **spotting_options(frames_from, kind, length, settings),
    )  # fmt: skip
    if as_json:
        print_json(result)
    elif result["task"] == "spot":
        show(render_film_comparison(result, str(first), str(second)))
    else:
        fields = {name: value for name, value in result.items() if name != "task"}
        show(render_comparison(Comparison(**fields), str(first), str(second)))


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def spotting_options(
    frames_from: str, kind: str, length: Sequence[str] | None, settings: Sequence[str] | None
) -> dict[str, Any]:
    """Return the options of intervals as `mien.score` takes them.

    Raises:
        MienError: A length or a setting is not as it should be.
    """
    lengths: dict[str, tuple[int, int | None]] = {}
    for name, text in pairs(length, "--length").items():
        match = re.fullmatch(r"(\d{1,9})-(\d{1,9})?", text)
        if name not in ("micro", "macro", "all") or not match or int(match[2] or 1 << 31) < int(match[1]):
            raise MienError(
                f"--length {name}={text} is no length.", "micro, macro or all, and FROM-TO or FROM- in frames.",
                "`--length micro=7-16 --length macro=17-`.",
            )  # fmt: skip
        lengths[name] = int(match[1]), int(match[2]) if match[2] else None
    return {"frames_from": frames_from, "kind": kind, "lengths": lengths or None, "settings": pairs(settings, "--set")}
