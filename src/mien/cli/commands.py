"""The commands of `mien`. Listing them imports none; the one that is run is imported then."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

GROUPS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "Your own video": {
        "recognise": (
            "recognise",
            "Find the expressions in your video, and say which action units moved. Nothing leaves your machine.",
        ),
        "spot": ("spot", "Find micro- and macro-expressions in a video."),
        "watch": ("watch", "Watch a camera and show expressions as they happen."),
        "serve": (
            "serve",
            "Open a local web page for `recognise` and for reports. Nothing leaves your machine.",
        ),
        "magnify": ("magnify", "Magnify the small motions of a video (Eulerian video magnification)."),
        "flow": ("magnify", "Compute optical flow and strain between two frames, as a picture."),
    },
    "Databases": {
        "datasets": ("databases", "List the databases mien reads, with their licences and how to request them."),
        "check": ("databases", "Check that a copy of a database is complete. Exits with 1 when it is not."),
        "synthesise": (
            "synthesise",
            "Write a synthetic database of moving faces in the layout of a real one. No licence needed.",
        ),
    },
    "Score": {
        "benchmark": ("benchmark", "Train and test a system on databases, and print its scores."),
        "report": ("report", "Show the scores of runs, finished or not, computed from their ledgers."),
        "score": (
            "score",
            "Score predictions that others made: classes, action units, intervals, answers. No model is involved.",
        ),
        "compare": (
            "report",
            "Test whether one run is better than another, or one file of predictions (bootstrap over subjects).",
        ),
        "combine": ("report", "Average the probabilities of finished runs into a new run. Trains nothing."),
        "systems": ("systems", "List the methods mien can score, with their papers and differences from them."),
        "protocols": (
            "systems",
            "List the ways to divide clips into training and test, with warnings where subjects are shared.",
        ),
        "spotters": (
            "spot",
            "List the methods that find expressions in long videos, with their papers and differences from them.",
        ),
        "experiment": ("benchmark", "Reproduce a table or figure of a paper on your databases."),
        "experiments": ("benchmark", "List the tables and figures that `mien experiment` reproduces."),
    },
    "Inputs": {
        "prepare": ("inputs", "Compute the input that a paper used, from your own video or a database."),
        "recipes": ("inputs", "List the inputs that `mien prepare` computes, with their steps and parameters."),
        "describe": ("describe", "Compute features of videos or databases (LBP-TOP, MDMO, ...) as a table."),
        "descriptors": (
            "describe",
            "List the features that `mien describe` computes, with their parameters and papers.",
        ),
        "cache": ("inputs", "Show where prepared inputs are stored and how large they are, or delete them."),
    },
    "More": {
        "train": (
            "train",
            "Train a network or flow-kernels on every clip and save it with a card. For scores see `mien benchmark`.",
        ),
        "card": ("train", "Show what a checkpoint is: system, training data, classes or units, score, licence."),
        "explain": ("explain", "Show where a trained network looked, as a picture per clip."),
        "export": (
            "export",
            "Write a trained network as an ONNX file, with its card, after checking that both give the same answers.",
        ),
    },
}
"""The commands, in the order in which `mien --help` lists them: module under `mien.cli` and summary of each."""

_MODULES: Final = {name: module for group in GROUPS.values() for name, (module, _) in group.items()}


@cache
def load_command(name: str) -> Any:
    """Import a command and return it with all its options.

    Args:
        name: One of those in `GROUPS`.

    Example:
        >>> load_command("protocols").name
        'protocols'
    """
    function = getattr(importlib.import_module(f"mien.cli.{_MODULES[name]}"), name)
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    alone.command(name)(function)
    return typer.main.get_command(alone)


class Commands(TyperGroup):
    """All commands: in lists without their options, and with them where one is run or completed."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for panel, group in GROUPS.items():
            for name, (_, summary) in group.items():
                self.commands[name] = TyperCommand(name, help=summary, rich_help_panel=panel, rich_markup_mode="rich")

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name, the command itself and what follows it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name in _MODULES else command, rest
