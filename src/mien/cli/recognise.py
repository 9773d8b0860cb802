"""`mien recognise`: a video in, a table out, and files to go on with."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from mien.cli.inputs import Fps, IntervalText, read_interval
from mien.cli.shell import Json, app, out, pairs, print_json

if TYPE_CHECKING:
    from mien.recognition import Answer
    from mien.recognition.records import Event

Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="A .safetensors file that `mien train` wrote; default: those of the package."),
]
SpotterName = Annotated[str | None, typer.Option("--spotter", help="How intervals are found; `mien spotters`.")]


@app.command()
def recognise(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="A video, a GIF, a folder of pictures.")],
    weights: Weights = None,
    interval: IntervalText = None,
    spotter: SpotterName = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the spotter.")
    ] = None,
    fps: Fps = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Name a class even where there is a reason not to.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write a table, one row per interval.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json-file", help="Write the whole answer as JSON.")] = None,
    eaf: Annotated[Path | None, typer.Option(help="Write tiers for ELAN.")] = None,
    mp4: Annotated[Path | None, typer.Option(help="Write the video with its faces and intervals marked.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write one page with pictures of every interval.")] = None,
    as_json: Json = False,
) -> None:
    """Find the expressions in your video and name the micro-expressions, or say why not. Nothing leaves the machine."""
    from mien import export as exports
    from mien.progress import Bars
    from mien.recognition import recognise as run
    from mien.recognition.records import as_json as plain
    from mien.spotting import DEFAULT

    targets = {"csv": csv, "json": json_file, "eaf": eaf, "mp4": mp4, "html": html}
    for kind, target in targets.items():
        if target is not None:
            exports.check_target(target, kind, video)
    with Bars(show=not as_json and sys.stderr.isatty()) as bars:
        shown: dict[str, tuple[Callable[[int], None], int]] = {}

        def tell(stage: str, share: float) -> None:
            if stage not in shown:
                shown[stage] = bars.start(f"{stage}, %", 100), 0
            advance, done = shown[stage]
            now = done if math.isnan(share) else max(done, int(100 * share))
            advance(now - done)
            shown[stage] = advance, now

        answer = run(
            video, weights, read_interval(interval), spotter or DEFAULT, fps=fps,
            parameters=pairs(settings, "--set"), anyway=anyway, progress=tell,
        )  # fmt: skip
        for kind, target in targets.items():
            if target is not None:
                exports.WRITERS[kind](answer, target, partial(tell, f"{kind} file"))
    if as_json:
        print_json({**plain(answer), "files": {k: str(t) for k, t in targets.items() if t is not None}})
        return
    show(answer)
    for kind, target in targets.items():
        if target is not None:
            out.print(f"[dim]{kind.upper()}:[/] {escape(str(target))}")


def show(answer: Answer) -> None:
    """Prints an answer."""
    from mien.recognition import wording

    film = answer.video
    out.print(
        f"[bold]{escape(film.name)}[/]  {film.width}x{film.height}, {film.n_frames} frames, {film.seconds:.1f} s at "
        f"{film.fps:.4g} frames per second"
        + (f"; answered in {answer.seconds_spent:.1f} s" if answer.seconds_spent else "")
    )
    for reason in answer.reasons:
        out.print(f"[yellow]No answer[/] {escape(reason.text)}")
    for track in answer.tracks:
        out.print(
            f"[bold]Person {track.person}[/]  seen {track.first.seconds:.1f} to {track.last.seconds:.1f} s, eyes "
            f"{track.eye_distance:.0f} pixels apart"
            + (f", out of view {len(track.gaps)} time(s) between" if track.gaps else "")
        )
        for reason in track.reasons:
            out.print(f"  [yellow]No answer[/] {escape(reason.text)}")
        if track.events:
            out.print(_table(track.events))
        elif answer.spotter:
            out.print("  No expression found.")
    for note in (*answer.notes, *film.problems):
        out.print(f"[yellow]note[/] {escape(note)}")
    if answer.tracks:
        told = [wording.trained_on(answer.card), wording.error_rate(answer.card)]
        if answer.spotter:
            told.append(wording.SPOTTING)
        out.print("[dim]" + escape(" ".join([*told, wording.NOT])))


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
        named = [f"{escape(name)} {share:.2f}" for name, share in ordered] or ["[dim]not named"]
        marks = []
        for text in (*(reason.text for reason in event.abstained), *event.notes):
            if text not in said:
                said.append(text)
            marks.append(f"({said.index(text) + 1})")
        cells = [f"{m.seconds:.2f} s" for m in (event.onset, event.apex, event.offset)]
        cells += [f"{event.seconds:.2f} s", event.kind, f"[bold]{named[0]}"]
        table.add_row(*cells, *([", ".join(named[1:])] if wide else []), f"[dim]{' '.join(marks)}")
    return Group(table, *(f"  [dim]({n}) {escape(text)}" for n, text in enumerate(said, 1)))
