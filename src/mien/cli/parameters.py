"""How the commands show parameters: as a table that fits 80 columns, and as a JSON schema."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from mien.cli.shell import out, say
from mien.parameters import Parameters, Preset, as_typed
from mien.types import Medium

LONGEST = 18
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


def show_parameters(
    model: type[Parameters],
    presets: Mapping[str, Preset] | None = None,
    media: Collection[str] = (),
    default_presets: Mapping[Medium, str] | None = None,
) -> None:
    """Print a table of parameters, and the presets with what each is for.

    Args:
        model: The parameters.
        presets: The presets by name.
        media: Kinds of clips that can be read; with two of them the table says which a parameter needs.
        default_presets: The preset that is used by default, by kind of clips; None takes the default of the model.
    """
    presets = presets or {}
    names = [name for name in model.model_fields if name != "preset"]
    if not names:
        say("  no parameters")
        return
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("parameter", style="bold", no_wrap=True)
    table.add_column("default", min_width=8, max_width=LONGEST, overflow="fold")
    table.add_column("range or choices", min_width=14, max_width=18, overflow="fold")
    table.add_column("meaning", min_width=20)
    for name in names:
        schema = model.schema_of(name)
        value = Text(_short(schema.get("default")))
        for each, chosen in presets.items():
            if name in chosen.values:
                value.append(f"\n{each}: {_short(chosen.values[name])}", "dim")
        meaning = Text(schema.get("description", ""))
        if "unit" in schema:
            meaning.append(f" Unit: {schema['unit']}.", "dim")
        if needed := _needed(schema.get("only_if", ""), media):
            meaning.append(f" {needed}", "dim")
        table.add_row(name, value, _brief(model.range_of(name)), meaning)
    out.print(table)
    if presets:
        defaults = default_presets or {"frames": model.model_fields["preset"].default}
        say(("\npresets", "dim"), "  (`--set preset=NAME`; what is set beside it goes before)")
        for name, preset in presets.items():
            say((f"  {name}", "bold"), _by_default(name, defaults), f"  {preset.summary}")
            if preset.values:
                say("    ", (" ".join(f"{k}={as_typed(v)}" for k, v in preset.values.items()), "dim"))


def _needed(only_if: str, media: Collection[str]) -> str:
    on, _, beside = only_if.partition(" and ") if only_if.startswith("frames") else ("", "", only_if)
    parts = [*(["on frames"] if on and len(media) > 1 else []), *([f"with {beside}"] if beside else [])]
    return f"Only {', '.join(parts)}." if parts else ""


def _brief(words: str) -> str:
    for long, short in (("a whole number from", "whole,"), ("a number from ", ""), ("a number ", ""), ("one of ", "")):
        words = words.replace(long, short)
    return words


def _by_default(name: str, defaults: Mapping[Medium, str]) -> str:
    """Return for which clips a preset is the default, in words."""
    media = [medium for medium, preset in defaults.items() if preset == name]
    if len(media) == len(defaults):
        return " (default)"
    words = {"frames": "frames", "flow": "ready flow pictures", "features": "ready features"}
    return f" (default on {' and '.join(words[m] for m in media)})" if media else ""


def _short(value: Any) -> str:
    text = (f"{value:.4g}" if isinstance(value, float) else as_typed(value)) or '""'
    return text if len(text) <= LONGEST else text[: LONGEST - 2].rsplit(",", 1)[0] + ",…"
