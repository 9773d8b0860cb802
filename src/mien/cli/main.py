"""`mien`: one command for each public function. Errors have three parts and exit with 2; `--json` prints data only."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer

import mien
from mien.cli.shell import Terminated, app, lose_output, say
from mien.errors import MienError

__all__ = ["app", "main"]

INTERRUPTED: Final = 128 + signal.SIGINT
TERMINATED: Final = 128 + signal.SIGTERM
_RESUMED: Final = frozenset({"benchmark", "experiment", "prepare", "synthesise", "train"})
"""Commands that resume where they stopped; `recognise` does with --out."""

_CATALOGUES: Final = frozenset(
    {"systems", "protocols", "spotters", "experiments", "datasets", "recipes", "descriptors"}
)
"""Commands that list what there is: they import NumPy and compute nothing."""

_FAULTS: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOMEM,
     errno.EMFILE, errno.ENFILE, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ESTALE}
)  # fmt: skip
"""Faults of the machine, and of paths, rather than of mien."""


def _commit() -> str | None:
    """Return the commit of the checkout that this runs from, with `+` if it was changed; None where there is none."""
    import subprocess

    root = Path(mien.__file__).resolve().parents[2]
    if not (root / ".git").exists() or not (root / "pyproject.toml").exists():
        return None
    command = (
        "git",
        "--no-optional-locks",
        "-C",
        str(root),
        "describe",
        "--always",
        "--exclude=*",
        "--abbrev=9",
        "--dirty=+",
    )
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def _print_version(wanted: bool) -> None:
    if wanted:
        commit = _commit()
        say(f"mien {mien.__version__}" + (f" ({commit})" if commit else ""))
        raise typer.Exit


@app.callback()
def _start(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version, and the commit in a checkout.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand not in _CATALOGUES:
        gc.enable()
    elif "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # starting threads that compute nothing takes a quarter


def _fail(error: MienError) -> NoReturn:
    from rich.console import Console

    with suppress(OSError):  # nobody can be told
        err = Console(stderr=True, highlight=False, markup=False, emoji=False)
        # The terminal breaks lines itself: a path or a command that is broken here could not be copied.
        err.print(error.found, style="bold red", soft_wrap=True)
        err.print("Expected: " + error.expected, soft_wrap=True)
        err.print("Try:      " + error.fix, soft_wrap=True)
    raise SystemExit(2)


def _of_machine(error: BaseException) -> MienError | None:
    """Return the error in three parts for a failure of the machine that no function turned into one."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "not enough memory" in str(error)):
        return MienError(
            "The memory of this machine, or its limit (`ulimit -v`), is too small for this command.",
            "more memory.",
            "`--jobs 1` where the command has it; a smaller or shorter input.",
        )
    if isinstance(error, OSError) and error.errno in _FAULTS:
        where = f"{str(error.filename)!r}" if error.filename else "A file"
        return MienError(
            f"{where} cannot be written or read ({error.strerror}).",
            "room on the disk, and the right to read and write.",
            "`df -h` and `ls -l`; then the same command.",
        )
    return None


def _flush() -> None:
    """Write what is left of the output, so that a full disk is an error and not a remark of the interpreter."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        try:
            lose_output(error)
        except MienError as lost:
            _fail(lost)


def _after_a_stop(words: list[str]) -> str:
    """Return what is left of the work of a command that was stopped."""
    name = next((word for word in words if not word.startswith("-")), "")
    if name in _RESUMED or (name == "recognise" and any(word.split("=")[0] == "--out" for word in words)):
        return "Finished work is kept; the same command resumes from there."
    return "Nothing unfinished is left behind; the same command starts from the beginning."


def main() -> None:
    """Run a command. A mistake of the user prints three lines and exits with 2, Ctrl-C with 130, SIGTERM with 143."""
    terminated = False

    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        nonlocal terminated
        terminated = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends the process at once
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    collecting = gc.get_threshold()
    gc.set_threshold(50_000, *collecting[1:])  # what imports make is kept: looking for garbage in it takes a tenth
    gc.disable()  # until a command begins that may need it
    atexit.register(gc.freeze)  # nor is it looked through at the end
    try:
        app()
        _flush()
    except MienError as error:
        _fail(error)
    except (OSError, MemoryError, RuntimeError) as error:
        known = _of_machine(error)
        if known is None:
            raise
        _fail(known)
    except (KeyboardInterrupt, SystemExit) as error:
        # Typer turns the first into the second.
        if isinstance(error, SystemExit) and error.code != INTERRUPTED:
            _flush()
            raise
        sys.stderr.write(f"\nStopped. {_after_a_stop(sys.argv[1:])}\n")
        raise SystemExit(TERMINATED if terminated else INTERRUPTED) from None
    finally:
        gc.set_threshold(*collecting)
        gc.enable()
        signal.signal(signal.SIGTERM, before)
