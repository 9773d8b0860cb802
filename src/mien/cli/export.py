"""`mien export`: a trained network for programs without torch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from mien.cli.explain import refuse_run
from mien.cli.inputs import clips_of
from mien.cli.shell import Json, app, out, print_json
from mien.errors import MienError

if TYPE_CHECKING:
    from mien.classifiers.checkpoint import ModelCard
    from mien.export.onnx import Measured

MOST = 64
"""Clips that are prepared for the ranges of eight bits; more would hardly move them."""


@app.command()
def export(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help='A file that `mien train` wrote, or "shipped" for the package\'s own.'),
    ],
    onnx: Annotated[Path, typer.Option("--onnx", metavar="FILE.onnx", help="The file to write.")],
    int8: Annotated[
        bool, typer.Option("--int8", help="Also write FILE.int8.onnx, of eight bits, and measure it.")
    ] = False,
    clips: Annotated[
        list[str] | None,
        typer.Option(
            "--clips",
            metavar="SOURCE",
            help="Videos or NAME=FOLDER to measure on and to set the eight bits by; repeat.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """A trained network as an ONNX file that answers the same, with its card; checked before it is written."""
    from mien.classifiers.checkpoint import checkpoint_file, load_checkpoint, read_card
    from mien.export.onnx import check_target, export_onnx, require_deep, require_packages

    refuse_run(model)
    require_packages()
    check_target([onnx, onnx.with_suffix(".int8.onnx")] if int8 else [onnx])
    file = checkpoint_file(str(model))
    require_deep(read_card(file))
    classifier, card = load_checkpoint(file)
    rows = export_onnx(classifier, card, onnx, int8=int8, clips=_prepared(card, clips, as_json) if clips else None)
    if as_json:
        print_json(
            {"model": str(file), "system": card.system, "classes": card.classes, "ways": [asdict(r) for r in rows]}
        )
        return
    out.print(_table(rows, card))
    for row in rows:
        if row.file is not None:
            out.print(f"[dim]{row.name}:[/] {escape(row.file)}")
    if int8 and not clips:
        out.print(
            "[yellow]note[/] Made-up inputs set the eight bits, and measured them. `--clips NAME=FOLDER` takes yours."
        )


def _prepared(card: ModelCard, sources: list[str], quiet: bool) -> Any:
    """Inputs of up to `MOST` clips, evenly spread over all that there are."""
    import numpy as np

    from mien.systems import system

    clips = clips_of(sources, None, None)
    chosen = system(card.system)
    arrays, problem = [], None
    for place in np.unique(np.linspace(0, len(clips) - 1, min(MOST, len(clips))).astype(int)) if clips else []:
        clip = clips[place]
        try:
            if clip.medium not in chosen.recipes:
                raise MienError(
                    f"{card.system} cannot read {clip.medium}.", f"{' or '.join(chosen.recipes)}.", "other clips."
                )
            recipe = chosen.recipe(clip.medium, card.parameters)
            array = recipe.prepare(clip).array
        except MienError as error:
            problem = error
            if not quiet:
                out.print(f"[bold red]{escape(clip.key)}[/]  {escape(error.found)}")
            continue
        arrays.append(array[0] if recipe.axes.startswith("K") else array)
    if not arrays:
        raise problem or MienError("There is no clip in it.", "videos or NAME=FOLDER.", "`mien check NAME=FOLDER`.")
    return np.stack(arrays).astype(np.float32)


def _table(rows: list[Measured], card: ModelCard) -> Table:
    batches = list(rows[0].milliseconds)
    table = Table(title=f"{card.system}: {', '.join(card.classes)}", title_justify="left", box=None, padding=(0, 1))
    table.add_column("", no_wrap=True)
    for heading in ("MiB", *(f"ms, {n} clip{'s' * (n > 1)}" for n in batches), "differs by", "same class"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        same = "" if row.file is None else f"{row.difference:.1e}"
        agreed = "" if row.file is None else f"{row.agreement:.0%}"
        times = (f"{row.milliseconds[n]:.2f}" for n in batches)
        table.add_row(row.name, f"{row.size / 2**20:.2f}", *times, same, agreed)
    return table
