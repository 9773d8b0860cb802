"""`mien export`: a trained network for programs without PyTorch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from mien.cli.explain import refuse_run
from mien.cli.shell import Json, note, out, print_json, say
from mien.errors import MienError

if TYPE_CHECKING:
    from mien.classifiers.checkpoint import ModelCard
    from mien.export.onnx import Measured

MOST = 64
"""Largest number of clips used to calibrate the 8-bit network; more hardly change it."""


def export(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help='A file from `mien train`, or "shipped" for the weights in the package.'),
    ],
    onnx: Annotated[Path, typer.Option("--onnx", metavar="FILE.onnx", help="The file to write.")],
    int8: Annotated[bool, typer.Option("--int8", help="Also write FILE.int8.onnx, quantised to 8 bits.")] = False,
    clips: Annotated[
        list[str] | None,
        typer.Option(
            "--clips",
            metavar="SOURCE",
            help="Videos or NAME=FOLDER to calibrate and measure on; may be repeated.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a trained network as an ONNX file, with its card, after checking that both give the same answers."""
    from mien.classifiers.checkpoint import checkpoint_file, read_card
    from mien.export.onnx import check_target, export_onnx, require_deep
    from mien.export.onnx_file import require_packages
    from mien.systems.trained import load_checkpoint

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
            say((f"{row.name}: ", "dim"), row.file)
    if int8 and not clips:
        note("Random inputs calibrated and measured the 8-bit network. `--clips NAME=FOLDER` uses yours.")


def _prepared(card: ModelCard, sources: list[str], quiet: bool) -> Any:
    """Return the inputs of up to `MOST` clips, evenly spread over all."""
    import numpy as np

    from mien.preprocessing.prepare import clips_of
    from mien.systems import system

    clips = clips_of(sources)
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
            array = recipe.apply(clip).array
        except MienError as error:
            problem = error
            if not quiet:
                say((clip.key, "bold red"), f"  {error.found}")
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
