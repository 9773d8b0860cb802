"""What the registry knows of a database or a system, as Markdown: nothing is written twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mien.cli.parameters import parameters_as_json
from mien.datasets import label_maps_of
from mien.datasets.base import card
from mien.datasets.releases import releases
from mien.evaluation.published.claims import published_rows
from mien.systems import SYSTEMS, system


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; bars and line ends in cells are escaped."""

    def line(cells: Sequence[object]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(headings), "|" + "---|" * len(headings), *(line(row) for row in rows)])


def dataset_facts(name: str) -> str:
    """Return licence, request, citation, releases and label maps of a database, as `mien datasets NAME` prints them.

    Args:
        name: Its id, such as `casme2`.
    """
    one = card(name)
    rows = [
        ("licence", one.licence),
        ("request", one.request),
        ("cite", one.citation),
        ("frames", f"{one.fps or 'various'} per second, {'colour' if one.colour else 'grey'}"),
        ("expected", ", ".join(f"{count} {what}" for what, count in one.expected.items())),
        *((f"release {each.name}", f"{each.title}. {each.notes}".strip()) for each in releases(name)),
        ("label maps", ", ".join(f"`{each}`" for each in label_maps_of(name))),
        *([("not verified", one.unverified)] if one.unverified else []),
    ]
    return f"## Facts of `{name}`\n\nFrom the table that the code reads; `mien datasets {name}` prints it.\n\n" + table(
        ("", ""), rows
    )


def system_facts(name: str) -> str:
    """Return paper, departures, parameters and published figures of a system.

    Args:
        name: Its name, such as `strcn-g`.
    """
    one = system(name)
    differences = "\n".join(f"- {each}" for each in one.departures) or "None: this system is no paper's."
    parts = [
        "## Differences from the paper",
        f"From the code, as `mien systems {name}` prints them. Paper: {one.paper}. Reads {' or '.join(one.recipes)}.",
        differences,
    ]
    described = parameters_as_json(one.parameters, one.presets)
    rows = [_parameter(key, entry) for key, entry in described["schema"]["properties"].items()]
    if rows:
        parts += ["## Parameters", "`--set NAME=VALUE` changes one.", table(("name", "default", "range", ""), rows)]
    if one.presets:
        defaults = {medium: one.default_preset((medium,)) for medium in one.recipes}
        usual = ", ".join(f"`{preset}` on {medium}" for medium, preset in defaults.items() if preset)
        parts.append(
            f"Presets: {', '.join(f'`{each}`' for each in one.presets)}." + (f" Default: {usual}." if usual else "")
        )
    claimed = [row for row in published_rows() if row.system == name]
    if claimed:
        headings = ("method", "protocol", "databases", "UF1", "UAR", "accuracy", "comparable", "source")
        parts += ["## Published figures", table(headings, [_claim(row) for row in claimed])]
    return "\n\n".join(parts)


def _parameter(name: str, entry: dict[str, Any]) -> tuple[str, str, str, str]:
    low = entry.get("minimum", entry.get("exclusiveMinimum"))
    high = entry.get("maximum", entry.get("exclusiveMaximum"))
    span = f"{low} to {high}" if low is not None and high is not None else ""
    if "enum" in entry:
        span = ", ".join(map(str, entry["enum"]))
    unit = f" {entry['unit']}" if entry.get("unit") else ""
    return f"`{name}`", f"{entry.get('default', '')}{unit}", span, entry.get("description", "")


def _claim(row: Any) -> tuple[str, ...]:
    scores = ("" if value is None else f"{value:.3f}" for value in (row.uf1, row.uar, row.accuracy))
    where = ", ".join(row.datasets) + ("" if row.column == "all" else f", on {row.column}")
    return row.method, row.protocol, where, *scores, row.comparable, row.source


def systems_table() -> str:
    """Return all systems with what they read and a line each."""
    rows = [(f"`{one.name}`", " or ".join(one.recipes), one.summary) for one in map(SYSTEMS.get, SYSTEMS)]
    return table(("system", "reads", ""), rows)
