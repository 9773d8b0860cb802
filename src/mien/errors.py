"""The one error that users see, in three parts: what was found, what was expected, what to type."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Final

# Other kinds of names have a registry, and their aliases with it.
_ALIASES: Final[Mapping[str, Mapping[str, str]]] = {
    "preset": {
        "quick": "small", "fast": "small", "tiny": "small", "test": "small", "debug": "small",
        "published": "paper", "original": "paper", "full": "paper", "default": "paper",
    },
    "label map": {
        "3class": "megc2019", "threeclass": "megc2019", "megc": "megc2019", "megc3": "megc2019",
        "4class": "strcn4", "fourclass": "strcn4", "5class": "casme2_5", "fiveclass": "casme2_5",
        "original": "own", "emotion": "own", "emotions": "own", "all": "own", "none": "own",
        "objectiveclass": "objective", "objectiveclasses": "objective", "actionunits": "objective",
    },
}  # fmt: skip
"""Other words for a name, by kind, without case and punctuation."""


class MienError(Exception):
    """A mistake of the user, in three parts. The command line prints them and exits with 2.

    Args:
        found: What is wrong, with the name or number that is.
        expected: What would be right.
        fix: What to type or do; a whole command where there is one.

    Example:
        >>> raise MienError("The frame rate is 0.", "a number above 0.", "`--fps 200`.")
        Traceback (most recent call last):
        mien.errors.MienError: The frame rate is 0. Expected: a number above 0. Try: `--fps 200`.
    """

    def __init__(self, found: str, expected: str, fix: str) -> None:
        super().__init__(f"{found} Expected: {expected} Try: {fix}")
        self.found = found
        self.expected = expected
        self.fix = fix

    def __reduce__(self) -> tuple[type[MienError], tuple[str, str, str]]:
        # Exceptions cross process borders when folds run in several processes.
        return MienError, (self.found, self.expected, self.fix)


def unknown_name(
    kind: str, name: str, known: Iterable[str], show: str, aliases: Mapping[str, str] | None = None
) -> MienError:
    """Return the error for a name that does not exist, with the nearest one by spelling or meaning.

    Args:
        kind: What the name should be: "system", "protocol", "dataset".
        name: What was typed.
        known: All names that exist.
        show: The command that lists them.
        aliases: Other words for them, without case and punctuation: {"casmeii": "casme2"}.

    Example:
        >>> print(unknown_name("dataset", "CASME-2", ["casme2", "samm"], "mien datasets").fix)
        `casme2`, or `mien datasets` for the list.
    """
    names = sorted(known)
    near = nearest_name(name, names, {**_ALIASES.get(kind, {}), **(aliases or {})})
    fix = f"`{near}`, or `{show}` for the list." if near else f"`{show}` for the list."
    return MienError(f"There is no {kind} called {name!r}.", f"one of {', '.join(names)}.", fix)


def install_extra(extra: str) -> str:
    """Return the command that installs the packages of an extra of mien, wherever it is typed.

    Args:
        extra: As `pyproject.toml` names it: "web", "table".

    Example:
        >>> install_extra("table")
        "`pip install 'pyarrow>=18'`"
    """
    from importlib.metadata import PackageNotFoundError, requires

    try:
        wanted = [line.partition(";") for line in requires("mien") or ()]
    except PackageNotFoundError:
        wanted = []
    names = [name.strip() for name, _, when in wanted if re.search(rf"extra == ['\"]{extra}['\"]", when)]
    return f"`pip install {' '.join(map(shlex.quote, names)) or f'mien[{extra}]'}`"


def nearest_name(name: str, known: Iterable[str], aliases: Mapping[str, str] | None = None) -> str | None:
    """Return the known name that was most likely meant; None where none is near.

    Case and punctuation do not count, and what follows a name is left out: "CASME-II" is the alias "casmeii",
    "casme2_raw" begins with "casme2". Otherwise the most similar spelling is returned.

    Args:
        name: What was typed.
        known: All names that exist.
        aliases: Other words for them, without case and punctuation.

    Example:
        >>> nearest_name("STRCN_G", ["strcn-a", "strcn-g"])
        'strcn-g'
        >>> nearest_name("loso_cv", ["lovo", "loso"])
        'loso'
        >>> nearest_name("CASME-II raw", ["casme", "casme2"], {"casmeii": "casme2"})
        'casme2'
    """
    names = {plain_name(each): each for each in known}
    meanings = {word: meant for word, meant in (aliases or {}).items() if meant in names.values()} | names
    typed = plain_name(name)
    if typed in meanings:
        return meanings[typed]
    # Three letters could begin anything.
    continued = [word for word in names if len(typed) > 3 and word.startswith(typed)]
    if continued:
        return names[min(continued, key=len)]
    begun = [word for word in meanings if len(word) > 3 and typed.startswith(word)]
    if begun:
        return meanings[max(begun, key=len)]
    near = difflib.get_close_matches(typed, names, n=1, cutoff=0.6)
    near = near or difflib.get_close_matches(typed, meanings, n=1, cutoff=0.75)
    return meanings[near[0]] if near else None


def plain_name(text: str) -> str:
    """Return a text in lower case, without punctuation: "CASME-II" is "casmeii", "CAS(ME)²" is "casme^2"."""
    return re.sub(r"[^a-z0-9^]", "", text.lower().replace("²", "^2").replace("³", "^3"))
