"""Links from the pages of the site to the glossary: the first mention of each word on a page."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from mien.evaluation.glossary import definitions, place

PAGE: Final = "guide/glossary.md"
LINKED: Final = ("guide/", "start/", "methods/", "index.md")
"""Pages whose words are linked, by how their path begins."""
SHOWN_AS: Final = {
    "Interval, 95 %": r"95 % intervals?",
    "Strain": r"(?:optical )?strain",
    "Pooled over folds": r"pooled over folds",
    "McNemar's test": r"McNemar's test|McNemar",
    "IoU": r"IoU",
    "Ready flow picture": r"ready flow pictures?",
    "Confusion matrix": r"confusion matri(?:x|ces)",
    "Micro-expression": r"micro-expressions?",
    "Macro-expression": r"macro-expressions?",
    "Majority baseline": r"majority baseline|most frequent class",
}
"""How a word is looked for where it is not the word itself, its plural and its capital."""
LEFT_OUT: Final = {"Report", "System", "Clip", "Weights", "Subject", "Departure", "Card", "Interval source", "Accuracy"}
"""Words that are too common to be linked wherever they stand; they are in the glossary all the same."""

_SKIPPED: Final = re.compile(
    r"^ *```.*?^ *```$|\A---$.*?^---$|<!--.*?-->"
    r"|^#+ [^\n]*$|^(?:!!!|===|\?\?\?) [^\n]*$|^\|[^\n]*\|\n\|(?:[-: ]+\|)+$"
    r"|<[^>\n]+>|`(?:[^`\n]|\n(?!\n))*`|!?\[[^\]]*\]\([^)]*\)|https?://\S+|(?<!\*)\*(?! )(?:[^*\n]|\n(?!\n))+\*(?!\*)",
    re.MULTILINE | re.DOTALL,
)


def _pattern(name: str) -> str:
    if name in SHOWN_AS:
        return SHOWN_AS[name]
    return re.escape(name) + ("" if name.isupper() else "s?")


_WORDS: Final = re.compile(
    r"(?<![\w-])(?:"
    + "|".join(
        f"(?P<w{n}>{_pattern(name)})"
        for n, name in sorted(enumerate(definitions()), key=lambda entry: -len(entry[1]))
        if name not in LEFT_OUT
    )
    + r")(?![\w-])",
    re.IGNORECASE,
)
_NAMES: Final = list(definitions())


def linked(markdown: str, page: str) -> str:
    """Return a page in which the first mention of each word of the glossary is a link to it.

    Code, headings, links, pictures, emphasis and the heads of tables are left as they are.

    Args:
        markdown: Text of the page.
        page: Its path in the site, such as `guide/inputs.md`.
    """
    if page == PAGE or not page.startswith(LINKED):
        return markdown
    address = os.path.relpath(PAGE, Path(page).parent)
    seen: set[str] = set()

    def link(match: re.Match[str]) -> str:
        name = _NAMES[int(str(match.lastgroup)[1:])]
        if name in seen or (name.isupper() and match[0] != name):
            return match[0]
        seen.add(name)
        return f"[{match[0]}]({address}#{place(name)}){{ .term }}"

    parts, end = [], 0
    for skipped in _SKIPPED.finditer(markdown):
        parts += [_WORDS.sub(link, markdown[end : skipped.start()]), skipped[0]]
        end = skipped.end()
    return "".join([*parts, _WORDS.sub(link, markdown[end:])])
