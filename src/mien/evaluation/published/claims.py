"""Scores that papers claim, from `published/*.toml`, and whether a run is comparable with them.

Each file is one table of one source: its protocol, its databases, its label maps, then one entry per method with the
metrics as printed, the place they are printed at, and a verdict: may they be compared, and why.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Comparable = Literal["yes", "partly", "no"]


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One published result.

    Attributes:
        method: Name of the method, with the variant where there are several.
        system: The system of this library that implements it; "" when none does.
        protocol: Protocol it was scored under, `loso` pooled over several databases being `composite`.
        label_maps: Label maps that give the classes it was scored on; several where they agree on the database.
        datasets: Databases that were trained on together, in alphabetical order.
        column: "all" when scored on all of `datasets`, else the one database the pooled predictions are restricted to.
        accuracy: Share of clips, 0..1, as printed; None when not printed.
        uf1: The F1 as printed, 0..1; None when not printed.
        uar: The "UAR" as printed, 0..1; None when not printed.
        uar_true: Mean recall re-computed from the authors' predictions where what is printed is something else.
        source: Paper and table.
        comparable: "yes", "partly" or "no": may a pooled score of the same protocol and classes stand beside it?
        why: The reason, in one sentence or two.
        presets: Presets of `system` that follow the source; a run of that system under another preset is not
            comparable. Empty where the system has one way only.
    """

    method: str
    system: str
    protocol: str
    label_maps: tuple[str, ...]
    datasets: tuple[str, ...]
    column: str
    accuracy: float | None
    uf1: float | None
    uar: float | None
    uar_true: float | None
    source: str
    comparable: Comparable
    why: str
    presets: tuple[str, ...] = ()


def _rows_of(table: Mapping[str, Any]) -> list[PublishedRow]:
    pooled = tuple(table.get("pooled", ()))
    found = []
    for entry in table["rows"]:
        for key, score in entry["scores"].items():
            found.append(
                PublishedRow(
                    method=entry["method"],
                    system=entry.get("system", ""),
                    protocol=table["protocol"],
                    label_maps=tuple(table["labels"]["all" if pooled else key]),
                    datasets=pooled or (key,),
                    column=key if pooled else "all",
                    accuracy=score.get("accuracy"),
                    uf1=score.get("uf1"),
                    uar=score.get("uar"),
                    uar_true=score.get("uar_true"),
                    source=entry["source"],
                    comparable=entry["comparable"],
                    why=entry["why"],
                    presets=tuple(entry.get("presets", ())),
                )
            )
    return found


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """Return all published results, in the order of the files."""
    folder = files("mien.evaluation.published")
    tables = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return tuple(row for f in tables for row in _rows_of(tomllib.loads(f.read_text(encoding="utf-8"))))


def _family(protocol: str, datasets: tuple[str, ...]) -> str:
    """Return one name for leave-one-subject-out on several pooled databases, which has two names."""
    return "composite" if protocol == "loso" and len(datasets) > 1 else protocol


def published_for(settings: Mapping[str, Any]) -> list[PublishedRow]:
    """Return the published results under the protocol, classes and databases of a run.

    A run of a row's own system is comparable with it only under the paper's preset and on frames.

    Args:
        settings: The content of run.json.

    Returns:
        Rows in file order; empty when nothing published was scored that way.
    """
    datasets = tuple(sorted(settings["datasets"]))
    protocol = _family(settings["protocol"], datasets)
    return [
        _for_run(row, settings)
        for row in published_rows()
        if row.protocol == protocol and row.datasets == datasets and settings["labels"] in row.label_maps
    ]


_READINGS: Mapping[str, tuple[Any, ...]] = {
    "device": (),
    "flow": ("classic_nl_published", "classic_l"),
    "hertz": (),
    "loss": ("balanced", "printed"),
    "maps": (),
    "per_frame": (),
}
"""What a run may set beside a paper's preset and still follow the paper, where its text is open; () takes any value."""


def _for_run(row: PublishedRow, settings: Mapping[str, Any]) -> PublishedRow:
    """Return a row with the verdict for a run: "no" where its system runs another pipeline than the row's."""
    if not row.presets or row.system != settings.get("system"):
        return row
    from mien.systems import SYSTEMS

    parameters = settings.get("parameters", {})
    preset, wanted = parameters.get("preset"), " or ".join(f"preset={name}" for name in row.presets)
    reason = ""
    if preset not in row.presets:
        reason = f"This run's preset is {preset}, which is not the paper's method ({wanted})."
    elif "flow" in settings.get("recipes", {}):
        reason = "This run reads ready flow pictures; the paper makes its own from frames."
    else:
        usual = SYSTEMS[row.system].with_parameters({"preset": preset}).model_dump(mode="json")
        changed = [
            key for key, value in parameters.items()
            if key in usual and value != usual[key] and not (key in _READINGS and value in (_READINGS[key] or (value,)))
        ]  # fmt: skip
        if changed:
            reason = f"This run sets {', '.join(changed)} beside {wanted}."
    return replace(row, comparable="no", why=f"{reason} {row.why}") if reason else row
