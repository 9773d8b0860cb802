"""How the commands show parameters: as a table that fits 80 columns, and as a JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from mien.cli.shell import out, say
from mien.parameters import Parameters, Preset, as_typed

LONGEST = 22
"""Characters of a value in the table; the rest is left to the list of presets."""


def parameters_as_json(model: type[Parameters], presets: Mapping[str, Preset] | None = None) -> dict[str, Any]:
    """Return defaults, JSON schema and presets, ready for JSON."""
    schema = model.model_json_schema()
    if presets and "preset" in schema["properties"]:
        schema["properties"]["preset"]["enum"] = list(presets)
    made: dict[str, Any] = {"parameters": model.defaults(), "schema": schema}
    if presets is not None:
        made["presets"] = {
            name: {"summary": preset.summary, "values": json.loads(json.dumps(dict(preset.values)))}
            for name, preset in presets.items()
        }
    return made


def show_parameters(model: type[Parameters], presets: Mapping[str, Preset] | None = None) -> None:
    """Print a table of parameters, and the presets with what each is for."""
    presets = presets or {}
    names = [name for name in model.model_fields if name != "preset"]
    if not names:
        say("  no parameters")
        return
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("parameter", style="bold", no_wrap=True)
    table.add_column("default", min_width=8, max_width=LONGEST, overflow="fold")
    table.add_column("range or choices", min_width=16, ratio=2)
    table.add_column("meaning", min_width=20, ratio=3)
    for name in names:
        schema = model.schema_of(name)
        value = Text(_short(schema.get("default")))
        for each, chosen in presets.items():
            if name in chosen.values:
                value.append(f"\n{each}: {_short(chosen.values[name])}", "dim")
        unit = f" ({schema['unit']})" if "unit" in schema else ""
        meaning = Text(f"{schema.get('description', '')}{unit}")
        if "only_if" in schema and schema["only_if"] != "frames":
            meaning.append(f" Only with {schema['only_if']}.", "dim")
        table.add_row(name, value, model.range_of(name), meaning)
    out.print(table)
    if presets:
        default = model.model_fields["preset"].default
        say(("\npresets", "dim"), "  (`--set preset=NAME`; what is set beside it goes before)")
        for name, preset in presets.items():
            say((f"  {name}", "bold"), " (default)" if name == default else "", f"  {preset.summary}")
            if preset.values:
                say("    ", (" ".join(f"{k}={as_typed(v)}" for k, v in preset.values.items()), "dim"))


def _short(value: Any) -> str:
    text = as_typed(value) or '""'
    return text if len(text) <= LONGEST else text[: LONGEST - 2].rsplit(",", 1)[0] + ",…"
