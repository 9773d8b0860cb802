"""Commands that turn clips into vectors: describe, descriptors."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from mien.cli.inputs import CacheFolder, Fps, IntervalText, clips_of, read_interval
from mien.cli.shell import Json, app, out, pairs, print_json

if TYPE_CHECKING:
    from mien.descriptors.table import DescriptorTable


@app.command()
def describe(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Videos, or databases as NAME=FOLDER.")],
    descriptor: Annotated[str, typer.Option(help="What to measure; `mien descriptors` lists them.")],
    target: Annotated[Path, typer.Option("--out", help="Table to write: .parquet, .csv or .npz, a row per clip.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the descriptor.")
    ] = None,
    interval: IntervalText = None,
    fps: Fps = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Clips side by side; default: the number of cores.")] = None,
    cache: CacheFolder = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Keep nothing but the table.")] = False,
    as_json: Json = False,
) -> None:
    """Classic features of videos or whole databases, as a table for your own statistics. Nothing is trained."""
    from mien.descriptors import descriptor as known
    from mien.descriptors.table import check_target, write_table
    from mien.descriptors.table import describe as describe_clips
    from mien.preprocessing.cache import Cache, default_folder
    from mien.progress import Bars

    known(descriptor)
    check_target(target)
    clips = clips_of(sources, read_interval(interval), fps)
    with Bars(show=not as_json and sys.stderr.isatty()) as bars:
        table = describe_clips(
            clips,
            descriptor,
            pairs(settings, "--set"),
            cache=None if no_cache else Cache(cache or default_folder()),
            jobs=jobs or os.cpu_count() or 1,
            progress=bars.start("clips", len(clips)),
        )
    if table.done:
        write_table(table, target)
    failed = [row for row in table.rows if row.error]
    if as_json:
        print_json(
            {
                "descriptor": descriptor,
                "parameters": dict(table.parameters),
                "n_clips": len(table.done),
                "n_features": table.features.shape[1],
                "out": str(target) if table.done else None,
                "failed": [{"clip": row.clip.key, "error": row.error} for row in failed],
            }
        )
    else:
        _tell(table, target)
    if failed:
        raise typer.Exit(2 if len(table.rows) == 1 else 1)


def _tell(table: DescriptorTable, target: Path) -> None:
    if table.done:
        out.print(
            f"{len(table.done)} of {len(table.rows)} clip(s), {table.features.shape[1]} numbers of {table.descriptor} "
            f"each: {escape(str(target))}"
        )
    told: dict[str, int] = {}
    for row in table.done:
        for note in row.notes:
            told[note] = told.get(note, 0) + 1
    for note, times in told.items():
        out.print(f"[yellow]note[/] {escape(note)}" + (f" [dim]({times} clips)" if times > 1 else ""))
    failed = [row for row in table.rows if row.error]
    if failed:
        out.print(f"[bold red]{len(failed)} failed:[/]" if len(table.rows) > 1 else "[bold red]Failed:[/]")
        for row in failed:
            assert row.error is not None
            found, expected, fix = map(escape, row.error)
            out.print(f"  [bold]{escape(row.clip.key)}[/]  {found}\n    Expected: {expected}\n    Try:      {fix}")


@app.command()
def descriptors(
    name: Annotated[str | None, typer.Argument(help="One descriptor in full.")] = None, as_json: Json = False
) -> None:
    """What `mien describe` measures, each parameter of it, and where it comes from."""
    from mien.descriptors import DESCRIPTORS
    from mien.descriptors import descriptor as known

    chosen = [known(name)] if name else list(DESCRIPTORS.values())
    if as_json:
        print_json(
            [
                {"name": d.name, "summary": d.summary, "source": d.source, "reads": d.reads, "parameters": d.parameters}
                for d in chosen
            ]
        )
        return
    for d in chosen:
        out.print(f"[bold]{d.name}[/]  {escape(d.summary)}\n  [dim]{escape(d.source)}")
        if name:
            out.print("  parameters: " + escape(", ".join(f"{k}={v}" for k, v in d.parameters.items())))
    if not name:
        out.print("[dim]Parameters: [/]mien descriptors NAME")
