"""`mien train`: a checkpoint trained on every clip; `mien card`: what a checkpoint is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli.completion import complete_labels, complete_system
from mien.cli.shell import Json, Settings, Specs, out, pairs, pairs_table, print_json, warn


def train(
    data: Specs,
    system: Annotated[
        str, typer.Option(help="System with a network; `mien systems` lists them.", autocompletion=complete_system)
    ],
    target: Annotated[Path, typer.Option("--out", help="File to write, .safetensors.")],
    labels: Annotated[
        str | None,
        typer.Option(help="Label map, e.g. megc2019, strcn4, casme2_5, own.", autocompletion=complete_labels),
    ] = None,
    seed: Annotated[int, typer.Option(help="Training seed.")] = 0,
    settings: Settings = None,
    scored: Annotated[Path | None, typer.Option(help="Run of the same settings whose score the card quotes.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the file, for its card.")] = None,
    as_json: Json = False,
) -> None:
    """Train a network on every clip and save it with a card. For scores see `mien benchmark`."""
    from mien.evaluation.train import train as train_on_all

    made = train_on_all(
        data, system, target, labels=labels, seed=seed, parameters=pairs(settings, "--set"), scored=scored,
        licence=licence, bars=True, on_warning=warn,
    )  # fmt: skip
    _show_card(asdict(made), target, as_json)


def card(
    file: Annotated[Path, typer.Argument(metavar="FILE", help='A checkpoint, or "shipped" for the one of mien.')],
    as_json: Json = False,
) -> None:
    """Show what a checkpoint is: system, training data, classes, score, licence."""
    from mien.classifiers.checkpoint import checkpoint_file, read_card

    file = checkpoint_file(str(file))
    _show_card(asdict(read_card(file)), file, as_json)


def _show_card(card: dict[str, Any], file: Path, as_json: bool) -> None:
    if as_json:
        print_json({**card, "file": str(file)})
        return
    score = card["score"]
    measured = "not measured; `mien train --scored RUN` quotes the score of a run"
    if score:
        measured = (
            f"{score['protocol']}: UF1 {score['uf1']:.3f}, UAR {score['uar']:.3f}, accuracy {score['accuracy']:.3f} "
            f"(majority {score['majority_accuracy']:.3f}), {score['averaging']}"
        )
    rows = {
        "file": str(file),
        "system": card["system"],
        **({"preset": preset} if (preset := card["parameters"].get("preset")) else {}),
        "classes": ", ".join(card["classes"]) + f"  ({card['labels']})",
        "trained on": "; ".join(_trained_on(d) for d in card["trained_on"]),
        "score": measured,
        "licence": card["licence"],
        "versions": ", ".join(f"{k} {v}" for k, v in card["versions"].items()),
    }
    out.print(pairs_table({k: str(v) for k, v in rows.items()}))


def _trained_on(data: dict[str, Any]) -> str:
    synthetic = data.get("synthetic", data.get("drawn"))
    faces = " (synthetic faces)" if synthetic else ""
    return f"{data['dataset']}: {data['clips']} clips of {data['subjects']} subjects{faces}"
