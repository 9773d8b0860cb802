"""`mien recognise`: a video in, a table and files for other programs out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mien.cli.completion import complete_spotter
from mien.cli.films import one_video, recognise_films
from mien.cli.inputs import read_interval
from mien.cli.shell import Json, note, out, pairs, print_json, say
from mien.errors import MienError

if TYPE_CHECKING:
    from mien.recognition import Answer
    from mien.recognition.records import Event

Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="A .safetensors file from `mien train`; default: the weights in the package."),
]
SpotterName = Annotated[
    str | None,
    typer.Option(
        "--spotter", help="Method that finds intervals; `mien spotters` lists them.", autocompletion=complete_spotter
    ),
]

_FILES, _MANY, _HOW = "Files of one video", "Many videos", "How"


def recognise(
    videos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VIDEO", help="A video, a GIF, a folder of pictures or camera:0; with --out several, or @LIST."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write one page with pictures of every interval.", rich_help_panel=_FILES)
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write a CSV table, one row per expression.", rich_help_panel=_FILES)
    ] = None,
    eaf: Annotated[Path | None, typer.Option(help="Write annotation tiers for ELAN.", rich_help_panel=_FILES)] = None,
    boris: Annotated[
        Path | None,
        typer.Option(help="Write a project for BORIS (.boris) or tabular events (.tsv).", rich_help_panel=_FILES),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json-file", help="Write the whole answer as JSON.", rich_help_panel=_FILES)
    ] = None,
    mp4: Annotated[
        Path | None, typer.Option(help="Write the video with faces and intervals marked.", rich_help_panel=_FILES)
    ] = None,
    qa: Annotated[
        Path | None,
        typer.Option(
            "--qa", help="Write questions and answers in the format of MEGC 2025 (.jsonl).", rich_help_panel=_FILES
        ),
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option(help="Write the table of --csv as Parquet.", rich_help_panel=_FILES)
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder for the answers to all videos; the same command resumes.", rich_help_panel=_MANY
        ),
    ] = None,
    lists: Annotated[
        list[Path] | None,
        typer.Option("--list", help="A text file with a video in each line; may be repeated.", rich_help_panel=_MANY),
    ] = None,
    files: Annotated[
        str | None,
        typer.Option(help="Files of each video; default: html,json. Also eaf, boris, mp4.", rich_help_panel=_MANY),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(help="Format of the table of all videos: csv (default) or parquet.", rich_help_panel=_MANY),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Videos at once; default: the number of cores.", rich_help_panel=_MANY),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray", metavar="local|HOST:PORT", help="Run on Ray: on this machine or a cluster.", rich_help_panel=_MANY
        ),
    ] = None,
    per_frame: Annotated[
        bool, typer.Option("--per-frame", help="Tables with one row per frame and person.", rich_help_panel=_HOW)
    ] = False,
    interval: Annotated[
        str | None,
        typer.Option(
            "--interval",
            metavar="ONSET:OFFSET[:APEX]",
            help="Part of a video, in frames counted from 0.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(help="Frames per second, if the file does not say or is wrong.", rich_help_panel=_HOW),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            help="A .safetensors file from `mien train`; default: the weights in the package.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    unit_weights: Annotated[
        Path | None,
        typer.Option(
            "--unit-weights", help="The same for action units, from `mien train --labels au12`.", rich_help_panel=_HOW
        ),
    ] = None,
    all_units: Annotated[
        bool,
        typer.Option("--all-units", help="Also report units that are hardly better than chance.", rich_help_panel=_HOW),
    ] = False,
    spotter: Annotated[
        str | None,
        typer.Option(
            "--spotter",
            help="Method that finds intervals; `mien spotters` lists them.",
            autocompletion=complete_spotter,
            rich_help_panel=_HOW,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a parameter of the spotter; may be repeated.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    anyway: Annotated[
        bool,
        typer.Option("--anyway", help="Name a class even if it is unreliable.", rich_help_panel=_HOW),
    ] = False,
    as_json: Json = False,
) -> None:
    """Find the expressions in your video, and say which action units moved. Nothing leaves your machine.

    With --out, of many videos: one table for all, one page each. Exit status 1 if some of them could not be read.
    """  # fmt: skip
    from mien import export as exports
    from mien.progress import Bars
    from mien.recognition import recognise as run
    from mien.recognition.records import as_json as plain
    from mien.spotting import DEFAULT

    given = [*(videos or ()), *(f"@{path}" for path in lists or ())]
    targets = {
        "csv": csv, "parquet": parquet, "json": json_file, "eaf": eaf, "boris": boris, "mp4": mp4, "html": html,
        "qa": qa,
    }  # fmt: skip
    if folder is not None:
        alone = {"--json-file" if kind == "json" else f"--{kind}": target for kind, target in targets.items()}
        recognise_films(
            given, folder, alone={**alone, "--interval": interval}, ray=ray, jobs=jobs, as_json=as_json,
            weights=weights, spotter=spotter or DEFAULT, fps=fps, parameters=pairs(settings, "--set"), anyway=anyway,
            files=(files or "html,json").split(","), table=table or "csv", per_frame=per_frame,
            unit_weights=unit_weights, all_units=all_units,
        )  # fmt: skip
        return
    video = one_video(given, {"--files": files, "--table": table, "--jobs": jobs, "--ray": ray})
    for kind, target in targets.items():
        if target is not None:
            exports.check_target(target, kind, video)
    if per_frame and not any(targets[kind] for kind in exports.TABLES):
        raise MienError(
            "--per-frame says what is in a table, and no table was asked for.",
            "a table to write, as CSV or Parquet.",
            "`--per-frame --csv frames.csv`.",
        )
    with Bars() as bars:
        shown: dict[str, tuple[Callable[[int], None], int]] = {}

        def advance_to(stage: str, share: float) -> None:
            if stage not in shown:
                shown[stage] = bars.start(f"{stage}, %", 100), 0
            advance, done = shown[stage]
            now = done if math.isnan(share) else max(done, int(100 * share))
            advance(now - done)
            shown[stage] = advance, now

        answer = run(
            video, weights, read_interval(interval), spotter or DEFAULT, fps=fps,
            parameters=pairs(settings, "--set"), anyway=anyway, progress=advance_to, unit_weights=unit_weights,
            all_units=all_units,
        )  # fmt: skip
        for kind, target in targets.items():
            if target is not None:
                if per_frame and kind in exports.TABLES:
                    exports.TABLES[kind](answer, target, True)
                else:
                    exports.WRITERS[kind](answer, target, partial(advance_to, f"{kind} file"))
    if as_json:
        print_json({**plain(answer), "files": {k: str(t) for k, t in targets.items() if t is not None}})
        return
    show_answer(answer)
    for kind, target in targets.items():
        if target is not None:
            say((f"{kind.upper()}: ", "dim"), str(target))


def show_answer(answer: Answer) -> None:
    """Print an answer."""
    from mien.recognition import wording

    film = answer.video
    say(
        (film.name, "bold"),
        f"  {film.width}x{film.height}, {film.n_frames} frames, {film.seconds:.1f} s at "
        f"{film.fps:.4g} frames per second"
        + (f"; answered in {answer.seconds_spent:.1f} s" if answer.seconds_spent else ""),
    )
    for reason in answer.reasons:
        say((wording.heading(reason.about) + " ", "yellow"), reason.text)
    for track in answer.tracks:
        say(
            (f"Person {track.person}", "bold"),
            f"  seen {track.first.seconds:.1f} to {track.last.seconds:.1f} s, eyes {track.eye_distance:.0f} px apart"
            + (f", out of view {len(track.gaps)} time(s) between" if track.gaps else ""),
        )
        for reason in track.reasons:
            say((f"  {wording.heading(reason.about)} ", "yellow"), reason.text)
        if track.events:
            for part in _listed(track.events, answer):
                out.print(part)
        elif answer.spotter:
            say("  No expression found.")
    for text in (*answer.notes, *film.problems):
        note(text)
    if answer.tracks:
        cautions = [
            wording.unit_weights(answer.unit_card, answer.units_off), wording.trained_on(answer.card),
            wording.error_rate(answer.card),
        ]  # fmt: skip
        if answer.units_off:
            cautions[0] += " `--all-units` answers them."
        if answer.spotter:
            cautions.append(wording.SPOTTING)
        say((" ".join([*cautions, wording.NOT]), "dim"))


def _listed(events: tuple[Event, ...], answer: Answer) -> Iterator[RenderableType]:
    """Yield a line for each expression and below it its action units, the class, and numbers of the remarks."""
    from mien.recognition import wording

    remarks: list[str] = []
    for event in events:
        marks = []
        for text in (*(reason.text for reason in event.abstained), *event.notes):
            if text not in remarks:
                remarks.append(text)
            marks.append(f"({remarks.index(text) + 1})")
        yield Text.assemble(
            (f"  {event.onset.seconds:.2f} to {event.offset.seconds:.2f} s", "bold"),
            f"  {event.kind}, {event.seconds:.2f} s, apex {event.apex.seconds:.2f} s",
        )  # fmt: skip
        if event.units:
            yield _units(event, answer)
        shares = sorted(event.probabilities.items(), key=lambda item: -item[1])
        others = ", ".join(f"{name} {share:.2f}" for name, share in shares if name not in event.tied)
        said = " or ".join(f"{name} {event.probabilities[name]:.2f}" for name in event.tied)
        yield Text.assemble(
            "    class  ", (said or "not named", "" if said else "dim"),
            " (too close to tell apart)" if len(event.tied) > 1 else "",
            (f"  ({others})" if others else "", "dim"), (f"  {' '.join(marks)}" if marks else "", "dim"),
        )  # fmt: skip
    if any(event.moved for event in events):
        yield Text(f"  {wording.COLUMNS}", "dim")
    yield from (Text(f"  ({n}) {text}", "dim") for n, text in enumerate(remarks, 1))


def _units(event: Event, answer: Answer) -> RenderableType:
    if not event.moved:
        best = max(event.units, key=lambda unit: unit.probability)
        return Text(
            f"    no action unit above its threshold; the nearest: {best.code} {best.name} {best.probability:.2f}"
        )
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    for _ in range(5):
        table.add_column()
    for unit in event.moved:
        right = "not measured" if unit.auc is None else f"right {100 * unit.auc:.0f} of 100"
        shown, where = Text(f"{unit.probability:.2f}", "bold"), f"{unit.side}, {unit.strength:.1f} %"
        table.add_row(f"    {unit.code}", unit.name, shown, where, Text(right, "dim"))
    return table
