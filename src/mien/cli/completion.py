"""Names that the shell completes. Each function runs only when the user presses Tab, and imports what it needs then."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import typer


def _matching(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def complete_system(incomplete: str) -> list[str]:
    """Return the systems whose names start so."""
    from mien.systems import SYSTEMS

    return _matching(SYSTEMS, incomplete)


def complete_method(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return what `mien benchmark --system` takes: systems, or spotters after `--task spot`."""
    return complete_spotter(incomplete) if ctx.params.get("task") == "spot" else complete_system(incomplete)


def complete_dataset(incomplete: str) -> list[str]:
    """Return the databases whose names start so."""
    from mien.datasets import DATASETS

    return _matching(DATASETS, incomplete)


def complete_data(incomplete: str) -> list[str]:
    """Return NAME= for a database, and folders once there is an equals sign."""
    name, mark, folder = incomplete.partition("=")
    if not mark:
        return [f"{each}=" for each in complete_dataset(name)]
    typed = Path(folder)
    parent = typed if folder.endswith("/") or not folder else typed.parent
    try:
        there = sorted(each for each in parent.iterdir() if each.is_dir())
    except OSError:
        return []
    return _matching((f"{name}={each}/" for each in there), incomplete)


def complete_protocol(incomplete: str) -> list[str]:
    """Return the protocols whose names start so."""
    from mien.evaluation.protocols import PROTOCOLS

    return _matching(PROTOCOLS, incomplete)


def complete_labels(incomplete: str) -> list[str]:
    """Return the label maps whose names start so."""
    from mien.datasets.labels import LABEL_MAPS

    return _matching(LABEL_MAPS, incomplete)


def complete_descriptor(incomplete: str) -> list[str]:
    """Return the descriptors whose names start so."""
    from mien.descriptors import DESCRIPTORS

    return _matching(DESCRIPTORS, incomplete)


def complete_spotter(incomplete: str) -> list[str]:
    """Return the spotters whose names start so."""
    from mien.spotting import SPOTTERS

    return _matching(SPOTTERS, incomplete)


def complete_recipe(incomplete: str) -> list[str]:
    """Return the recipes whose names start so."""
    from mien.preprocessing import RECIPES

    return _matching(RECIPES, incomplete)


def complete_experiment(incomplete: str) -> list[str]:
    """Return the experiments whose names start so."""
    from mien.evaluation.experiments.catalogue import experiments

    return _matching(experiments(), incomplete)


def complete_flow(incomplete: str) -> list[str]:
    """Return the methods of optical flow whose names start so."""
    from mien.motion.flow import METHODS

    return _matching(METHODS, incomplete)


def complete_settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return PARAMETER= for the system that the line names so far, and its presets."""
    from mien.systems import SYSTEMS

    name = str(ctx.params.get("system") or "")
    if name not in SYSTEMS:
        return []
    chosen = SYSTEMS[name]
    return _matching(
        [*(f"preset={each}" for each in chosen.presets), *(f"{k}=" for k in chosen.parameters.model_fields)], incomplete
    )
