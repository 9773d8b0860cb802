"""What all commands share: the application, its printing, and how options are read."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console

from mien.errors import MienError

app = typer.Typer(
    name="mien",
    help="Find and recognise facial micro-expressions, and score such methods honestly.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
out = Console(highlight=False)

Specs = Annotated[list[str], typer.Argument(metavar="NAME=FOLDER...", help="Databases, e.g. casme2=/data/CASMEII")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON only.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the system; may be repeated.")
]


def print_json(value: Any) -> None:
    """A value as indented JSON on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def warn(text: str) -> None:
    """A sentence on the standard error stream."""
    Console(stderr=True, highlight=False, markup=False).print(text, style="yellow")


def pairs(texts: Sequence[str] | None, option: str) -> dict[str, str]:
    """`KEY=VALUE` texts as a dictionary.

    Raises:
        MienError: A text without an equals sign.
    """
    found = {}
    for text in texts or ():
        key, mark, value = text.partition("=")
        if not mark or not key:
            raise MienError(f"{option} {text!r} has no '='.", "KEY=VALUE.", f"`{option} {key or 'key'}=value`.")
        found[key.strip()] = value.strip()
    return found
