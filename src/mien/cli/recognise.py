"""`mien recognise`: a video in, a table and files for other programs out."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
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
    typer.Option("--weights", help="A .safetensors file that `mien train` wrote; default: the one of mien."),
]
SpotterName = Annotated[
    str | None,
    typer.Option(
        "--spotter", help="How intervals are found; `mien spotters` lists the ways.", autocompletion=complete_spotter
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
        typer.Option(help="Write a project for BORIS, .boris, or its tabular events, .tsv.", rich_help_panel=_FILES),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json-file", help="Write the whole answer as JSON.", rich_help_panel=_FILES)
    ] = None,
    mp4: Annotated[
        Path | None, typer.Option(help="Write the video with faces and intervals marked.", rich_help_panel=_FILES)
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option(help="Write the table of --csv as Parquet.", rich_help_panel=_FILES)
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder for the answers about all videos; the same command resumes.", rich_help_panel=_MANY
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
        str | None, typer.Option(help="Kind of the table of all: csv (default) or parquet.", rich_help_panel=_MANY)
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
            help="A .safetensors file that `mien train` wrote; default: the one of mien.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    spotter: Annotated[
        str | None,
        typer.Option(
            "--spotter",
            help="How intervals are found; `mien spotters` lists the ways.",
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
        typer.Option("--anyway", help="Name a class even where mien would decline to.", rich_help_panel=_HOW),
    ] = False,
    as_json: Json = False,
) -> None:
    """Find the expressions in your video and name the micro-expressions. Nothing leaves your machine.

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
    }  # fmt: skip
    if folder is not None:
        alone = {"--json-file" if kind == "json" else f"--{kind}": target for kind, target in targets.items()}
        recognise_films(
            given, folder, alone={**alone, "--interval": interval}, ray=ray, jobs=jobs, as_json=as_json,
            weights=weights, spotter=spotter or DEFAULT, fps=fps, parameters=pairs(settings, "--set"), anyway=anyway,
            files=(files or "html,json").split(","), table=table or "csv", per_frame=per_frame,
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
            parameters=pairs(settings, "--set"), anyway=anyway, progress=advance_to,
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
        say(("No answer ", "yellow"), reason.text)
    for track in answer.tracks:
        say(
            (f"Person {track.person}", "bold"),
            f"  seen {track.first.seconds:.1f} to {track.last.seconds:.1f} s, eyes {track.eye_distance:.0f} px apart"
            + (f", out of view {len(track.gaps)} time(s) between" if track.gaps else ""),
        )
        for reason in track.reasons:
            say(("  No answer ", "yellow"), reason.text)
        if track.events:
            out.print(_table(track.events))
        elif answer.spotter:
            say("  No expression found.")
    for text in (*answer.notes, *film.problems):
        note(text)
    if answer.tracks:
        cautions = [wording.trained_on(answer.card), wording.error_rate(answer.card)]
        if answer.spotter:
            cautions.append(wording.SPOTTING)
        say((" ".join([*cautions, wording.NOT]), "dim"))


def _table(events: tuple[Event, ...]) -> Group:
    table = Table(box=None, padding=(0, 2), pad_edge=True)
    for heading in ("onset", "apex", "offset", "length"):
        table.add_column(heading, justify="right")
    wide = out.width >= 100
    table.add_column("kind")
    table.add_column("class", no_wrap=True)
    if wide:
        table.add_column("other classes", style="dim")
    table.add_column("")
    said: list[str] = []
    for event in events:
        ordered = sorted(event.probabilities.items(), key=lambda item: -item[1])
        named = [f"{name} {share:.2f}" for name, share in ordered]
        marks = []
        for text in (*(reason.text for reason in event.abstained), *event.notes):
            if text not in said:
                said.append(text)
            marks.append(f"({said.index(text) + 1})")
        cells = [f"{m.seconds:.2f} s" for m in (event.onset, event.apex, event.offset)]
        cells += [f"{event.seconds:.2f} s", event.kind]
        best = Text(named[0], "bold") if named else Text("not named", "dim")
        table.add_row(*cells, best, *([", ".join(named[1:])] if wide else []), Text(" ".join(marks), "dim"))
    return Group(table, *(Text(f"  ({n}) {text}", "dim") for n, text in enumerate(said, 1)))
