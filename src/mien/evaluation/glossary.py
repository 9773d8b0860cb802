"""The words of reports and their definitions. Their one home is `glossary.md` beside this file."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final

from markupsafe import Markup, escape

_ENTRY: Final = re.compile(r"^### (?P<name>.+)\n(?P<text>(?:(?!#).*\n?)*)", re.MULTILINE)


@cache
def definitions() -> dict[str, str]:
    """Return the definition of each word, in alphabetical order, without markup.

    Example:
        >>> definitions()["Onset"]
        'The first frame of an expression.'
    """
    text = files("mien.evaluation").joinpath("glossary.md").read_text(encoding="utf-8")
    return {entry["name"]: " ".join(entry["text"].replace("`", "").split()) for entry in _ENTRY.finditer(text)}


def place(name: str) -> str:
    """Return the anchor of a word, as on the page of the documentation.

    Example:
        >>> place("Interval, 95 %")
        'interval-95'
    """
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", name.lower()).strip())


class Words:
    """The words that one page uses: each links to its definition at the end of the page.

    Attributes:
        used: The names of the words so far.
    """

    def __init__(self) -> None:
        self.used: set[str] = set()

    def term(self, name: str, shown: str | None = None) -> Markup:
        """Return a link to a definition.

        Args:
            name: The word as the glossary has it.
            shown: The text of the link; None shows the word itself.
        """
        text = definitions()[name]
        self.used.add(name)
        return Markup('<a class="term" href="#term-{}" title="{}">{}</a>').format(
            place(name), text, escape(shown if shown is not None else name)
        )

    def defined(self, *more: str) -> list[tuple[str, str, str]]:
        """Return anchor, name and definition of each word that was used, and of `more`, in alphabetical order."""
        wanted = self.used.union(more)
        return [(place(name), name, text) for name, text in definitions().items() if name in wanted]
