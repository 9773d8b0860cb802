"""Commands that read finished runs: report, compare, combine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.score import (
    ClassNames,
    FrameSettings,
    FramesFrom,
    KindName,
    Labels,
    LengthTexts,
    RuleName,
    Truth,
    compare_files,
)
from mien.cli.shell import Json, print_json, say, show
from mien.cli.spot import show_spot_reports
from mien.errors import MienError


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders that `mien benchmark` wrote.")],
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page with figures.")] = None,
    latex: Annotated[bool, typer.Option("--latex", help="Print a table for LaTeX, with its caption.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a row per run as CSV.")] = False,
    svg: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write figures for a paper as SVG, with their captions.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the scores of runs, finished or not, computed from their ledgers."""
    from mien.evaluation.report_html import require_target, write_html
    from mien.evaluation.spotting.ledger import is_spot_run

    if sum((as_json, latex, as_csv)) > 1:
        raise MienError("Several forms at once.", "one of --json, --latex and --csv.", "`mien report RUN --latex`.")
    if html is not None:
        require_target(html)
    if svg is not None:
        from mien.evaluation.paper import SVG_FIX
        from mien.io.atomic import require_writable_folder

        require_writable_folder(svg, SVG_FIX)
    if [is_spot_run(run) for run in runs] == [True] * len(runs):
        if latex or as_csv or svg is not None:
            raise MienError(
                "Runs of spotters have no table for papers yet.",
                "runs of classes or action units with --latex, --csv and --svg.",
                "`mien report RUN --json`.",
            )
        if html is not None:
            raise MienError(
                "Runs of spotters have no page as a file.",
                "runs of classes or action units with --html.",
                f"`mien serve --runs {runs[0].resolve().parent}` for a page; without --html for the scores.",
            )
        show_spot_reports(runs, as_json)
        return
    from mien.evaluation.report import render_report, report_many

    reports = report_many(runs)
    if svg is not None:
        from mien.evaluation.paper import write_svg

        drawn = write_svg(reports, svg)
    if latex or as_csv:
        from mien.evaluation.paper import csv_table, latex_table

        print((latex_table if latex else csv_table)(reports), end="")
        return
    if html is not None:
        write_html(runs, html)
    if as_json:
        print_json(reports[0] if len(reports) == 1 else reports)
        return
    for each in reports:
        show(render_report(each))
    if html is not None:
        say(("Page: ", "dim"), str(html))
    if svg is not None:
        say(("Figures: ", "dim"), ", ".join(map(str, drawn)))


def compare(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="Folder of a finished run, or a file of predictions with --truth.")
    ],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one for the same clips or videos.")],
    truth: Truth = None,
    rule: RuleName = None,
    labels: Labels = "",
    classes: ClassNames = None,
    frames_from: FramesFrom = "truth",
    kind: KindName = "",
    length: LengthTexts = None,
    settings: FrameSettings = None,
    as_json: Json = False,
) -> None:
    """Test whether one run is better than another, or one file of predictions (bootstrap over subjects)."""
    if truth:
        compare_files(
            first, second, truth, rule=rule, labels=labels, classes=classes, frames_from=frames_from, kind=kind,
            length=length, settings=settings, as_json=as_json,
        )  # fmt: skip
        return
    from mien.evaluation.compare import compare as compare_runs
    from mien.evaluation.compare import render_comparison

    result = compare_runs(first, second)
    if as_json:
        print_json(asdict(result))
    else:
        show(render_comparison(result, str(first), str(second)))


def combine(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Finished runs over the same clips and folds.")],
    target: Annotated[Path, typer.Option("--out", help="Folder of the new run.")],
    as_json: Json = False,
) -> None:
    """Average the probabilities of finished runs into a new run. Trains nothing."""
    from mien.evaluation.combine import combine as combine_runs
    from mien.evaluation.report import render_report, report_many

    combine_runs(runs, target)
    reports = report_many([target])
    if as_json:
        print_json(reports[0])
    else:
        show(render_report(reports[0]))
