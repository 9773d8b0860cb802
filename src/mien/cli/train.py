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
        typer.Option(
            help="Label map, e.g. megc2019, strcn4, casme2_5, own; au12 for action units.",
            autocompletion=complete_labels,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Training seed.")] = 0,
    label_sheet: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE", help="Label sheet with the action units of ready flow pictures; repeat for several."
        ),
    ] = None,
    second_flow: Annotated[
        Path | None, typer.Option(help="Folder of a second flow picture of each clip, with the same names.")
    ] = None,
    settings: Settings = None,
    scored: Annotated[Path | None, typer.Option(help="Run of the same settings whose score the card quotes.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the file, for its card.")] = None,
    as_json: Json = False,
) -> None:
    """Train a network or flow-kernels on every clip and save it with a card. For scores see `mien benchmark`."""
    from mien.datasets import open_specs
    from mien.datasets.unit_labels import parse_label_sheets
    from mien.evaluation.train import require_target
    from mien.evaluation.train import train as train_on_all

    require_target(target)
    made = train_on_all(
        open_specs(data, parse_label_sheets(label_sheet or []), second_flow), system, target, labels=labels, seed=seed,
        parameters=pairs(settings, "--set"), scored=scored, licence=licence, bars=True, on_warning=warn,
    )  # fmt: skip
    _show_card(asdict(made), target, as_json)


def card(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help='A checkpoint; or "shipped", "shipped-units", "shipped-classes" for those in the package.',
        ),
    ],
    as_json: Json = False,
) -> None:
    """Show what a checkpoint is: system, training data, classes or units, score, licence."""
    from mien.classifiers.checkpoint import checkpoint_file, read_card

    file = checkpoint_file(str(file))
    _show_card(asdict(read_card(file)), file, as_json)


def _show_card(card: dict[str, Any], file: Path, as_json: bool) -> None:
    if as_json:
        print_json({**card, "file": str(file)})
        return
    score = card["score"]
    measured = "not measured; `mien train --scored RUN` quotes the score of a run"
    if score and card["task"] == "units":
        measured = (
            f"{score['protocol']}, {score['n_clips']} clips: mean AUC {score['mean_auc']:.3f}, mean F1 "
            f"{score['mean_f1']:.3f} (always yes {score['always_yes_f1']:.3f}), {score['averaging']}"
        )
    elif score:
        measured = (
            f"{score['protocol']}: UF1 {score['uf1']:.3f}, UAR {score['uar']:.3f}, accuracy {score['accuracy']:.3f} "
            f"(majority {score['majority_accuracy']:.3f}), {score['averaging']}"
        )
    rows = {
        "file": str(file),
        "system": card["system"],
        **({"preset": preset} if (preset := card["parameters"].get("preset")) else {}),
        card["task"]: ", ".join(card["classes"]) + f"  ({card['labels']})",
        "trained on": "; ".join(_trained_on(d) for d in card["trained_on"]),
        "score": measured,
        **({"AUC by unit": _by_unit(score["per_au"])} if "per_au" in score else {}),
        "licence": card["licence"],
        "versions": ", ".join(f"{k} {v}" for k, v in card["versions"].items()),
    }
    out.print(pairs_table({k: str(v) for k, v in rows.items()}))


def _by_unit(rows: dict[str, Any]) -> str:
    return ", ".join(f"{name} {row['auc']:.2f}" for name, row in rows.items() if row["auc"] is not None)


def _trained_on(data: dict[str, Any]) -> str:
    synthetic = data.get("synthetic", data.get("drawn"))
    faces = " (synthetic faces)" if synthetic else ""
    return f"{data['dataset']}: {data['clips']} clips of {data['subjects']} subjects{faces}"
