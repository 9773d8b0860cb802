"""Hooks of mkdocs: made pages are added, links that leave docs/ find their file, facts come from the registry.

A page may name in its head (`---` lines at the top) a `dataset:` or a `system:`; what the registry knows of it is added
at the end. A page with `shows:` is the file of the repository that it names. The first mention of a word of the
glossary is a link to it. Links to other files of the repository lead to a copy of the page or name the file.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any, Final

from mkdocs.structure.files import File

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from docs_site import gallery, reference, registry_facts, terms  # noqa: E402

DOCS: Final = ROOT / "docs"
COPIED: Final = "repository"
"""Folder of the site with pages and pictures that lie outside docs/."""
_LINK: Final = re.compile(r"\[(?P<text>[^\]\[]*(?:\[[^\]]*\][^\]\[]*)*)\]\((?P<target>[^)\s]+)\)")
_FENCE: Final = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_SHOWN: Final = {".md", ".png", ".svg", ".webp", ".jpg", ".mp4"}


def on_files(files: Any, config: Any) -> Any:
    """Add the reference, the gallery, and pages outside docs/ that a page links to."""
    made = {**reference.pages(), **gallery.pages(DOCS / "gallery", ROOT)}
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    for name, path in gallery.pictures(DOCS / "gallery", ROOT).items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    for path in linked_outside():
        name = f"{COPIED}/{path.relative_to(ROOT).as_posix()}"
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Return the text of a page with its links mended and the facts of the registry at its end."""
    meta = page.meta
    if "dataset" in meta:
        markdown += "\n\n" + registry_facts.dataset_facts(meta["dataset"])
    if "system" in meta:
        markdown += "\n\n" + registry_facts.system_facts(meta["system"])
    if page.file.src_uri == "methods/index.md":
        markdown += "\n\n" + registry_facts.systems_table()
    if "shows" in meta:
        markdown = (ROOT / meta["shows"]).read_text(encoding="utf-8")
    return terms.linked(relinked(markdown, page.file.src_uri), page.file.src_uri)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Return the page with short code in one piece: options would break at their hyphens."""
    return re.sub(r"<code>(?=[^<\s]{1,24}</code>)", '<code class="short">', html)


def relinked(markdown: str, page: str) -> str:
    """Return a page whose links to files outside docs/ lead to their copies, or name them where there is none.

    Args:
        markdown: Text of the page.
        page: Its path in the site, such as `guide/inputs.md`.
    """
    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(lambda m: _mended(m, page), part) for part in parts)


def _mended(match: re.Match[str], page: str) -> str:
    target, anchor = _split(match["target"])
    text = relinked(match["text"], page)
    found = _outside(target, page)
    if found is None:
        home = _home(page)
        if not target or "://" in target or home.is_relative_to(DOCS):
            return f"[{text}]({match['target']})"
        found = (home.parent / target).resolve()  # a copied page that links back into docs/
    if not found.exists():
        return f"[{text}]({match['target']})"  # mkdocs warns
    if found.suffix not in _SHOWN:
        name = f"`{found.relative_to(ROOT).as_posix()}`"
        return name if text.strip("`") in (name.strip("`"), found.name) else f"{text} ({name})"
    site = found.relative_to(DOCS) if found.is_relative_to(DOCS) else Path(COPIED) / found.relative_to(ROOT)
    return f"[{text}]({os.path.relpath(site, Path(page).parent)}{anchor})"


def _split(target: str) -> tuple[str, str]:
    name, sign, anchor = target.partition("#")
    return name, sign + anchor


def _home(page: str) -> Path:
    """Return where the source of a page of the site lies."""
    name = Path(page)
    return ROOT / name.relative_to(COPIED) if name.parts[0] == COPIED else DOCS / name


def _outside(target: str, page: str) -> Path | None:
    """Return the file outside docs/ that a link leads to; None for other links."""
    if not target or "://" in target or target.startswith(("mailto:", "/")):
        return None
    found = (_home(page).parent / target).resolve()
    return found if found.is_relative_to(ROOT) and not found.is_relative_to(DOCS) else None


def linked_outside() -> list[Path]:
    """Return the pages and pictures outside docs/ that pages link to, directly or through each other."""
    waiting = sorted(DOCS.rglob("*.md"))
    found: set[Path] = set()
    while waiting:
        home = waiting.pop()
        page = home.relative_to(DOCS) if home.is_relative_to(DOCS) else Path(COPIED) / home.relative_to(ROOT)
        for match in _LINK.finditer(_FENCE.sub("", home.read_text(encoding="utf-8"))):
            for target in (match["target"], *(inner["target"] for inner in _LINK.finditer(match["text"]))):
                outside = _outside(_split(target)[0], page.as_posix())
                if outside and outside.is_file() and outside.suffix in _SHOWN and outside not in found:
                    found.add(outside)
                    if outside.suffix == ".md":
                        waiting.append(outside)
    return sorted(found)
