"""Reports of the referee on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mien.evaluation.report import render_report
from mien.evaluation.report_text import plain_table, share


def render_score(result: Mapping[str, Any]) -> Group:
    """Return what `mien.evaluation.referee.score.score` gives as tables for the terminal."""
    if result["task"] == "spot":
        return Group(*_spotting(result), *_assumed(result))
    if result["task"] == "questions":
        return Group(*_warnings(result), _questions(result), *_assumed(result))
    return Group(render_report(result), *_averages(result), *_assumed(result))


def _warnings(result: Mapping[str, Any]) -> list[RenderableType]:
    if not result["warnings"]:
        return []
    return [Panel(Text("\n".join(result["warnings"])), title="Read this first", border_style="yellow",
                  title_align="left")]  # fmt: skip


def _assumed(result: Mapping[str, Any]) -> list[RenderableType]:
    texts = [f"Read as: {result['form']}." if result.get("form") else "", *result["assumed"]]
    return [Text(f"  {text}", "dim") for text in texts if text]


def _averages(result: Mapping[str, Any]) -> list[RenderableType]:
    """Return the averages that papers mistake for each other, each under its own name."""
    if "uf1" not in result:
        return []
    table = plain_table("Averages, by name", ("", "value", ""))
    table.columns[-1].justify = "left"
    for key, name, what in (
        ("uf1", "UF1", "mean F1 of the classes, counts pooled"),
        ("uar", "UAR", "mean recall of the classes"),
        ("macro_precision", "macro precision", "printed as UAR in places"),
        ("f1_micro", "micro F1", "accuracy where every clip has an answer"),
        ("f1_weighted", "weighted F1", "classes weighted by size"),
        ("f1_fold_mean", "mean of fold F1", "needs folds"),
    ):
        value = result[key]
        table.add_row(name, Text("-" if value is None else f"{value:.4f}"), Text(what, "dim"))
    return [table, Text()]


def _spotting(result: Mapping[str, Any]) -> list[RenderableType]:
    kinds = list(dict.fromkeys((*result["kinds"], "all")))
    table = plain_table(
        f"Detected intervals, counted by {result['rule']}",
        ("database", "kind", "hits", "false", "missed", "precision", "recall", "F1", "95 %"),
        left=2,
    )
    parts = {"all databases": result, **result["per_dataset"]} if len(result["per_dataset"]) > 1 else {
        next(iter(result["per_dataset"])): result}  # fmt: skip
    for name, scores in parts.items():
        for place, kind in enumerate(kinds):
            _row(table, name if place == 0 else "", kind, scores[kind])
    table.caption = Text(
        f"{result['n_videos']} videos of {result['n_subjects']} subjects, {result['n_videos_without_expression']} "
        f"without an expression; {result['n_found']} intervals. Counts pooled over all videos. Rule: "
        f"{result['rule_text']}. 95 %: bootstrap over subjects.",
        "dim",
    )
    table.caption_justify = "left"
    rules = plain_table("F1 under each rule", ("rule", *kinds))
    for name, scores in result["by_rule"].items():
        rules.add_row(Text(name, "bold" if name == result["rule"] else ""), *(f"{scores[k]['f1']:.4f}" for k in kinds))
    rules.add_row(
        Text("without the videos that show no expression", "dim"),
        *(f"{result['videos_with_expression_alone'][k]['f1']:.4f}" for k in kinds),
    )
    lines: list[RenderableType] = [*_warnings(result), table, Text(), rules, Text()]
    if "strs" in result:
        s = result["strs"]
        lines.append(
            Text(
                f"Spot then recognise ({s['kind']}): STRS {s['strs']:.4f} = spotting F1 {s['spot_f1']:.4f} x analysis "
                f"F1 {s['analysis_f1']:.4f} ({s['named']} hits with an emotion)."
            )
        )
    return lines


def _row(table: Table, name: str, kind: str, scores: Mapping[str, Any]) -> None:
    interval = scores.get("f1_interval")
    table.add_row(
        Text(name), kind, *(str(scores[k]) for k in ("tp", "fp", "fn")),
        *(f"{scores[k]:.4f}" for k in ("precision", "recall")), Text(f"{scores['f1']:.4f}", "bold"),
        f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "",
    )  # fmt: skip


def _questions(result: Mapping[str, Any]) -> Table:
    table = plain_table("Answers to questions", ("question about", "questions", "score", "value"), left=1)
    titles = {"coarse": "coarse class", "fine": "fine class", "units": "action units", "yes_no": "one unit, yes or no",
              "sentence": "all at once"}  # fmt: skip
    for kind, title in titles.items():
        scores = result.get(kind)
        for place, key in enumerate(k for k in (scores or {}) if k not in ("n", "classes", "outside")):
            assert scores is not None
            table.add_row(title if not place else "", str(scores["n"]) if not place else "", key, share(scores[key]))
    return table


def render_film_comparison(result: Mapping[str, Any], a: str, b: str) -> RenderableType:
    """Return the comparison of two people's intervals as a table."""
    table = plain_table(f"A = {a}   B = {b}   {result['n_videos']} videos, rule {result['rule']}",
                        ("kind", "F1 of A", "F1 of B", "A - B", "95 % over subjects", "p"))  # fmt: skip
    for kind in ("micro", "macro", "all"):
        if kind in result:
            each = result[kind]
            low, high = each["interval"]
            table.add_row(kind, *(f"{v:.4f}" for v in each["f1"]), f"{each['difference']:+.4f}",
                          f"{low:+.4f} to {high:+.4f}", f"{each['p']:.3f}")  # fmt: skip
    return table
