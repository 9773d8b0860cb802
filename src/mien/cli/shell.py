"""What all commands share: the application, how results are printed and how options are read."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeVar

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from mien.cli.commands import Commands
from mien.cli.completion import complete_data, complete_settings
from mien.errors import MienError

if TYPE_CHECKING:
    from mien.registry import Registry

T = TypeVar("T")

app = typer.Typer(
    name="mien",
    cls=Commands,
    help="Find and recognise facial micro-expressions, and score such methods honestly.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

CLOSED: Final = 128 + getattr(signal, "SIGPIPE", 13)
"""Exit status where whoever read the output has gone, as of other programs: `mien systems | head -1`."""


def lose_output(error: OSError) -> NoReturn:
    """End because standard output cannot be written to: quietly where its reader has gone.

    Raises:
        SystemExit: The pipe is closed.
        MienError: Otherwise.
    """
    with suppress(OSError, ValueError, AttributeError):  # what is still to be written must not fail again at the end
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    if isinstance(error, BrokenPipeError):
        raise SystemExit(CLOSED) from None
    raise MienError(
        f"The output cannot be written ({error.strerror or error}).",
        "room for what `>` or `|` leads to.",
        "the same command with another file after `>`.",
    ) from None


class Output(Console):
    """Standard output."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, or end as `lose_output`."""
        try:
            super().print(*objects, **options)
        except OSError as error:
            lose_output(error)

    def on_broken_pipe(self) -> None:
        """End quietly."""
        lose_output(BrokenPipeError())


# Neither markup nor emoji codes: a path such as `a/[/x]` or `:x:` is printed as it is.
out = Output(highlight=False, markup=False, emoji=False)

Specs = Annotated[
    list[str],
    typer.Argument(metavar="NAME=FOLDER", help="Databases, e.g. casme2=/data/CASMEII.", autocompletion=complete_data),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON only.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a parameter of the system; may be repeated.",
        autocompletion=complete_settings,
    ),
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Number of processes; default: the number of cores.")]

Part = str | Text | tuple[str, str]
"""Text to print as it is, or text with a style: ("casme2", "bold")."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM. Whatever handles Ctrl-C handles it too."""


def say(*parts: Part) -> None:
    """Print a line on standard output. No part is read as markup, so it may come from the user."""
    out.print(Text.assemble(*parts))


def note(text: str, more: str = "") -> None:
    """Print a note of a result on standard output; `more` is dimmed."""
    say(("note", "yellow"), f" {text}", (more, "dim"))


def show(renderable: RenderableType) -> None:
    """Print a report that another package made with rich's markup; what comes from the user is escaped there."""
    out.print(renderable, markup=True)


def pairs_table(rows: dict[str, str | Text]) -> Table:
    """Return a table of names, dimmed, with their values."""
    table = Table(box=None, show_header=False, padding=(0, 2))
    for left, right in rows.items():
        table.add_row(Text(left, "dim"), right)
    return table


def failure(name: str, error: tuple[str, str, str]) -> None:
    """Print the three parts of an error that one input of many gave."""
    found, expected, fix = error
    say("  ", (name, "bold"), f"  {found}\n    Expected: {expected}\n    Try:      {fix}")


def print_json(value: Any, indent: int | None = 2) -> None:
    """Write a value as JSON to standard output."""
    if sys.stdout is None:  # closed
        return
    try:
        sys.stdout.write(json.dumps(value, indent=indent, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    except OSError as error:
        lose_output(error)


def warn(text: str) -> None:
    """Print a warning on standard error."""
    with suppress(OSError):
        Console(stderr=True, highlight=False, markup=False, emoji=False).print(text, style="yellow")


def pairs(texts: Sequence[str] | None, option: str) -> dict[str, str]:
    """Return `KEY=VALUE` texts as a dictionary.

    Raises:
        MienError: A text has no equals sign.
    """
    found = {}
    for text in texts or ():
        key, mark, value = text.partition("=")
        if not mark or not key:
            raise MienError(f"{option} {text!r} has no '='.", "KEY=VALUE.", f"`{option} {key or 'key'}=value`.")
        found[key.strip()] = value.strip()
    return found


def listed(registry: Registry[T]) -> list[T]:
    """Return everything in a registry; plug-ins that could not be loaded are warned of and left out."""
    for problem in registry.problems():
        warn(f"{problem.found} {problem.fix[:1].upper()}{problem.fix[1:]}")
    return list(registry.values())
