"""The one error a user sees: what was found, what was expected, what to type."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MienError(Exception):
    """A user's mistake, told in three parts. The command line prints it and exits with 2.

    Args:
        found: What is there now, with the name or number that is wrong.
        expected: What would have been right.
        fix: What to type or do; a whole command where there is one.
    """

    def __init__(self, found: str, expected: str, fix: str) -> None:
        super().__init__(f"{found} Expected: {expected} Try: {fix}")
        self.found = found
        self.expected = expected
        self.fix = fix

    def __reduce__(self) -> tuple[type[MienError], tuple[str, str, str]]:
        # Exceptions cross process borders when folds run in several processes.
        return MienError, (self.found, self.expected, self.fix)


def unknown_name(kind: str, name: str, known: Iterable[str], show: str) -> MienError:
    """The error for a name that is not registered; suggests the nearest one.

    Args:
        kind: What the name should be: "system", "protocol", "dataset".
        name: What was typed.
        known: All the names that exist.
        show: The command that lists them.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.4)
    fix = f"`{near[0]}`, or `{show}` for the list." if near else f"`{show}` for the list."
    return MienError(f"There is no {kind} called {name!r}.", f"one of {', '.join(names)}.", fix)
