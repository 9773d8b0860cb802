"""Commands that list what `mien benchmark` can use: systems, protocols."""

from __future__ import annotations

from typing import Annotated

import typer

from mien.cli.completion import complete_system
from mien.cli.parameters import parameters_as_json, show_parameters
from mien.cli.shell import Json, listed, print_json, say


def systems(
    name: Annotated[str | None, typer.Argument(help="System to show in full.", autocompletion=complete_system)] = None,
    as_json: Json = False,
) -> None:
    """List the methods mien can score, with their papers and differences from them."""
    from mien.systems import SYSTEMS

    chosen = [SYSTEMS.get(name)] if name else listed(SYSTEMS)
    if as_json:
        keys = ("name", "title", "paper", "summary", "departures")
        print_json(
            [
                {
                    **{k: getattr(s, k) for k in keys},
                    "reads": list(s.recipes),
                    **parameters_as_json(s.parameters, s.presets),
                    "default_presets": {medium: s.default_preset((medium,)) for medium in s.recipes if s.presets},
                }
                for s in chosen
            ]
        )
        return
    for s in chosen:
        say((s.name, "bold"), f"  {s.summary}\n  ", (s.paper, "dim"))
        if name:
            for departure in s.departures:
                say(f"  differs from the paper: {departure}")
            say()
            by_default = {medium: s.default_preset((medium,)) for medium in s.recipes}
            show_parameters(s.parameters, s.presets, list(s.recipes), by_default)
    if not name:
        say(("Parameters and differences from the paper: ", "dim"), "mien systems NAME")


def protocols(as_json: Json = False) -> None:
    """List the ways to divide clips into training and test, with warnings where subjects are shared."""
    from mien.evaluation.protocols import PROTOCOLS

    if as_json:
        keys = ("name", "summary", "shares_subjects", "warning", "parameters")
        print_json([{k: getattr(p, k) for k in keys} for p in listed(PROTOCOLS)])
        return
    for p in listed(PROTOCOLS):
        say((p.name, "bold"), f"  {p.summary}")
        if p.warning:
            say((f"  {p.warning}", "yellow"))
