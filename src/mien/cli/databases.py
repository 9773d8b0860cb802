"""Commands about databases: datasets, check."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from mien.cli.completion import complete_dataset
from mien.cli.shell import Json, Specs, listed, out, pairs_table, print_json, say, show


def check(
    data: Specs,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every pixel of every frame.")] = False,
    as_json: Json = False,
) -> None:
    """Check that a copy of a database is complete. Exits with 1 when it is not.

    Compares its folders, numbers of clips and frames, and label sheet with the published ones.
    """
    from mien.datasets.check import as_json as results_as_json
    from mien.datasets.check import check as check_copies
    from mien.datasets.check import render_check

    results = check_copies(data, deep=deep)
    if as_json:
        print_json(results_as_json(results))
    else:
        show(render_check(results))
    if not all(result.ok for result in results):
        raise typer.Exit(1)


def datasets(
    name: Annotated[
        str | None, typer.Argument(help="Database to show in full.", autocompletion=complete_dataset)
    ] = None,
    as_json: Json = False,
) -> None:
    """List the databases mien reads, with their licences and how to request them."""
    from mien.datasets import DATASETS, label_maps_of
    from mien.datasets.base import card
    from mien.datasets.releases import releases

    chosen = [DATASETS.get(name)] if name else listed(DATASETS)
    cards = [card(each.id) for each in chosen]
    if as_json:
        print_json(
            [
                {**asdict(c), "label_maps": list(label_maps_of(c.id)), "releases": [asdict(r) for r in releases(c.id)]}
                for c in cards
            ]
        )
        return
    if name:
        one = cards[0]
        out.print(
            pairs_table(
                {
                    "name": Text.assemble((one.title, "bold"), f" ({one.id})"),
                    "for": ", ".join(one.task),
                    "frames": f"{one.fps or 'various'} per second, {'colour' if one.colour else 'grey'}",
                    "expected": ", ".join(f"{count} {what}" for what, count in one.expected.items()),
                    **{f"release {r.name}": f"{r.title}. {r.notes}".strip() for r in releases(one.id)},
                    **({"not verified": one.unverified} if one.unverified else {}),
                    "label maps": ", ".join(label_maps_of(one.id)),
                    "licence": one.licence,
                    "request from": one.request,
                    "cite": one.citation,
                }
            )
        )
        return
    table = Table(title="Databases", title_justify="left", box=None, padding=(0, 2))
    for heading in ("name", "title", "for", "fps", "clips", "subjects"):
        table.add_column(heading, justify="right" if heading in ("fps", "clips", "subjects") else "left")
    for c in cards:
        counts = (str(c.expected.get(k, "")) for k in ("clips", "subjects"))
        table.add_row(Text(c.id, "bold"), c.title, ", ".join(c.task), f"{c.fps:g}" if c.fps else "", *counts)
    out.print(table)
    say(("Licence and where to request one: ", "dim"), "mien datasets NAME")
