"""Commands that compute features of clips: describe, descriptors."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.completion import complete_descriptor
from mien.cli.inputs import CacheFolder, Fps, IntervalText, read_interval
from mien.cli.parameters import parameters_as_json, show_parameters
from mien.cli.shell import Jobs, Json, failure, listed, note, pairs, print_json, say

if TYPE_CHECKING:
    from mien.descriptors.table import DescriptorTable


def describe(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help="Videos, or databases as NAME=FOLDER.")],
    descriptor: Annotated[
        str,
        typer.Option(help="Features to compute; `mien descriptors` lists them.", autocompletion=complete_descriptor),
    ],
    target: Annotated[Path, typer.Option("--out", help="Table to write, one row per clip: .parquet, .csv or .npz.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a parameter of the descriptor; may be repeated."),
    ] = None,
    interval: IntervalText = None,
    fps: Fps = None,
    jobs: Jobs = None,
    cache: CacheFolder = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Store nothing but the table.")] = False,
    as_json: Json = False,
) -> None:
    """Compute features of videos or databases (LBP-TOP, MDMO, ...) as a table."""
    from mien.descriptors import descriptor as known
    from mien.descriptors.table import check_target, write_table
    from mien.descriptors.table import describe as describe_clips
    from mien.preprocessing.cache import Cache, default_folder
    from mien.preprocessing.prepare import clips_of
    from mien.progress import Bars

    known(descriptor)
    check_target(target)
    clips = clips_of(sources, read_interval(interval), fps)
    with Bars() as bars:
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
        _show(table, target)
    if failed:
        raise typer.Exit(2 if len(table.rows) == 1 else 1)


def _show(table: DescriptorTable, target: Path) -> None:
    if table.done:
        say(
            f"{len(table.done)} of {len(table.rows)} clip(s), {table.features.shape[1]} features of {table.descriptor} "
            f"each: {target}"
        )
    times = Counter(text for row in table.done for text in row.notes)
    for text, n in times.items():
        note(text, f" ({n} clips)" if n > 1 else "")
    failed = [row for row in table.rows if row.error]
    if failed:
        say((f"{len(failed)} failed:" if len(table.rows) > 1 else "Failed:", "bold red"))
        for row in failed:
            assert row.error is not None
            failure(row.clip.key, row.error)


def descriptors(
    name: Annotated[
        str | None, typer.Argument(help="Descriptor to show in full.", autocompletion=complete_descriptor)
    ] = None,
    as_json: Json = False,
) -> None:
    """List the features that `mien describe` computes, with their parameters and papers."""
    from mien.descriptors import DESCRIPTORS
    from mien.descriptors import descriptor as known

    chosen = [known(name)] if name else listed(DESCRIPTORS)
    if as_json:
        print_json(
            [
                {
                    "name": d.name,
                    "summary": d.summary,
                    "source": d.source,
                    "reads": d.reads,
                    **parameters_as_json(d.parameters),
                }
                for d in chosen
            ]
        )
        return
    for d in chosen:
        say((d.name, "bold"), f"  {d.summary}\n  ", (d.source, "dim"))
        if name:
            show_parameters(d.parameters)
    if not name:
        say(("Parameters: ", "dim"), "mien descriptors NAME")
