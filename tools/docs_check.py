"""Checks the documentation: lengths of paragraphs and pages, and that the built site asks nobody for anything.

python tools/docs_check.py --sources            # the pages in docs/ and the README
python tools/docs_check.py --site build/site    # the built pages; both are part of `make docs`
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

ROOT: Final = Path(__file__).resolve().parents[1]
MOST_WORDS: Final = 90
"""Most words of a paragraph, list item or table cell, on the pages for users."""
MOST_LINES: Final = 120
"""Most lines of a page about a method."""

_FENCE: Final = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_LOADED: Final = {("script", "src"), ("img", "src"), ("source", "src"), ("video", "src"), ("iframe", "src")}


def paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Return the paragraphs, list items and table cells of a page, with the line they begin at; code is left out."""
    bare = _FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)
    start, held = 1, [""]
    for number, line in enumerate([*bare.split("\n"), ""], 1):
        begins = re.match(r" *([-*] |\d+\. |\||#|!!!|===)", line)
        if begins or not line.strip():
            if " ".join(held).strip():
                yield start, " ".join(held)
            start, held = number, []
        if line.lstrip().startswith("|"):
            yield from ((number, cell) for cell in line.split("|"))
        elif line.strip():
            held.append(line)


def _open_fences(text: str) -> Iterator[int]:
    """Return the lines with a fence that opens no block with a language, or opens one inside another or without end."""
    opened = 0
    for number, line in enumerate(text.split("\n"), 1):
        if fence := re.match(r" *```(\w*)", line):
            if bool(fence[1]) == bool(opened):
                yield number
            opened = number if fence[1] else 0
    if opened:
        yield opened


def source_faults(root: Path) -> list[str]:
    """Return what is too long in the guide, the start pages, the methods and the README."""
    faults = []
    pages = [root / "README.md", root / "docs" / "index.md"]
    pages += [
        page for folder in ("start", "guide", "methods") for page in sorted((root / "docs" / folder).glob("*.md"))
    ]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        name = page.relative_to(root)
        for line, paragraph in paragraphs(text):
            words = len(paragraph.split())
            if words > MOST_WORDS:
                faults.append(f"{name}:{line}: a paragraph of {words} words, at most {MOST_WORDS}")
        faults += [f"{name}:{line}: a block of code without a language or an end" for line in _open_fences(text)]
        if page.parent.name == "methods" and (lines := text.count("\n")) > MOST_LINES:
            faults.append(f"{name}: {lines} lines, at most {MOST_LINES}")
    return faults


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value for key, value in attrs if value is not None}
        if "id" in values:
            self.ids.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and values.get("rel") in ("stylesheet", "icon", "preconnect", "preload", "dns-prefetch"):
            self.loaded.append(values.get("href", ""))
        self.loaded += [values[name] for kind, name in _LOADED if kind == tag and name in values]


def site_faults(site: Path) -> list[str]:
    """Return links of the built pages that lead nowhere, and anything that would be loaded from elsewhere."""
    pages = {}
    for path in sorted(site.rglob("*.html")):
        pages[path.resolve()] = found = _Links()
        found.feed(path.read_text(encoding="utf-8"))
    faults = [] if pages else [f"{site}: no page"]
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        if name.name == "404.html":  # its links begin at the address of the site
            continue
        for target in page.loaded:
            if urlsplit(target).netloc:
                faults.append(f"{name}: loads {target}")
        for target in (*page.links, *page.loaded):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if to.is_dir():
                to /= "index.html"
            if not to.exists():
                faults.append(f"{name}: {target} leads nowhere")
            elif parts.fragment and to in pages and unquote(parts.fragment) not in pages[to].ids:
                faults.append(f"{name}: {target} has no such place")
    for path in sorted(site.rglob("*.css")):
        for target in re.findall(r"url\([\"']?(https?:[^\"')]+)", path.read_text(encoding="utf-8")):
            faults.append(f"{path.relative_to(site)}: loads {target}")
    return sorted(set(faults))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", action="store_true", help="check docs/ and the README")
    parser.add_argument("--site", type=Path, help="check the built pages in this folder")
    given = parser.parse_args()
    faults = (source_faults(ROOT) if given.sources else []) + (site_faults(given.site) if given.site else [])
    print("\n".join([*faults, f"documentation: {len(faults)} faults"]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
