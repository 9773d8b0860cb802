"""Scores of spotting runs, computed from their ledgers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mien.evaluation.spotting.ledger import chosen_parameters, read_spots
from mien.evaluation.spotting.metrics import as_scores, count, strs


def spot_report(run: Path) -> dict[str, Any]:
    """Return all scores of one run.

    Returns:
        "micro", "macro", "all": tp, fp, fn, precision, recall, f1, counts pooled over all videos of the first seed;
        "per_dataset" the same for each database; "per_seed" F1 of each; "strs" and "recogniser" of spot-then-recognise;
        "abstained": videos without an answer, with the reason; "chosen": parameters chosen, fold by fold.
    """
    ledger = read_spots(run)
    settings = ledger.settings
    seeds = sorted({row.seed for row in ledger.rows})
    first = seeds[0] if seeds else 0
    films = ledger.films(first)
    videos = [row for row in ledger.rows if row.role == "video" and row.seed == first]
    report: dict[str, Any] = {
        "task": "spot",
        "system": settings["system"],
        "protocol": settings["protocol"],
        "seeds": seeds,
        "complete": ledger.complete,
        "synthetic": settings["synthetic"],
        "n_videos": len(films),
        "left_out": dict(settings.get("left_out", {})),
        "n_videos_without_expression": sum(not true for true, _ in films),
        **as_scores(count(films)),
        "per_dataset": {d: as_scores(count(ledger.films(first, d))) for d in settings["datasets"]},
        "per_seed": {str(s): {k: c.f1 for k, c in count(ledger.films(s)).items()} for s in seeds},
        "abstained": [{"video": row.key, "why": row.note} for row in videos if row.note],
        "chosen": chosen_parameters(run, settings),
        "metric": "hit: intersection over union >= 0.5 within a kind, both ends counted; counts pooled over all videos",
    }
    if settings.get("recogniser"):
        report["strs"], report["recogniser"] = strs(films), settings["recogniser"]
    return report


def render_spot_report(report: dict[str, Any]) -> RenderableType:
    """Return a report as text."""
    table = Table(box=None, padding=(0, 2), title_justify="left", title=f"{report['system']}, {report['protocol']}")
    for heading in ("", "kind", "hits", "false", "missed", "precision", "recall", "F1"):
        table.add_column(heading, justify="left" if heading in ("", "kind") else "right")
    parts = {"all databases": report, **report["per_dataset"]} if len(report["per_dataset"]) > 1 else {"": report}
    for name, scores in parts.items():
        for kind in ("micro", "macro", "all"):
            s = scores[kind]
            numbers = [str(s[k]) for k in ("tp", "fp", "fn")] + [f"{s[k]:.3f}" for k in ("precision", "recall")]
            table.add_row(name if kind == "micro" else "", kind, *numbers, f"[bold]{s['f1']:.3f}")
    lines: list[RenderableType] = [table]
    without = report["n_videos_without_expression"]
    lines.append(
        Text.from_markup(f"[dim]{report['n_videos']} videos, {without} without an expression; {report['metric']}.")
    )
    dropped = ", ".join(f"{n} {what}" for what, n in report["left_out"].items())
    if dropped:
        lines.append(Text(f"Left out of the truth: {dropped}.", "yellow"))
    if len(report["seeds"]) > 1:
        values = [report["per_seed"][str(s)]["all"] for s in report["seeds"]]
        lines.append(
            Text.from_markup(f"[dim]F1 of all over {len(values)} seeds: {np.mean(values):.3f} ± {np.std(values):.3f}")
        )
    for key, values in report["chosen"].items():
        shares = ", ".join(f"{v:g} ({values.count(v)})" for v in sorted(set(values)))
        lines.append(Text.from_markup(f"[dim]chosen on training subjects: {escape(key)} {shares} folds"))
    if "strs" in report:
        s = report["strs"]
        lines.append(
            Text(
                f"Spot then recognise (micro, {report['recogniser']['labels']}): STRS {s['strs']:.3f} = spotting F1 "
                f"{s['spot_f1']:.3f} x analysis F1 {s['analysis_f1']:.3f} ({s['named']} hits; always the commonest of "
                f"their emotions: {s['majority_f1']:.3f}). Weights: {report['recogniser']['weights']}."
            )
        )
    if report["synthetic"]:
        lines.append(Text.from_markup("[yellow]Synthetic faces: these scores do not apply to real people."))
    if not report["complete"]:
        lines.append(Text.from_markup("[yellow]Not finished: the same command resumes."))
    for left in report["abstained"]:
        lines.append(Text.from_markup(f"[yellow]no answer[/] {escape(left['video'])}: {escape(left['why'])}"))
    return Group(*lines)


def reports(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the reports of runs."""
    return [spot_report(run) for run in runs]
