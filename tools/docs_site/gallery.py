"""The gallery: scripts in docs/gallery that draw a picture each, run when the site is built.

A script opens with a docstring, whose first line is its title, and has one function `draw()` that returns a matplotlib
figure. Pictures are kept in build/gallery as long as the script and the package stay the same.
"""

from __future__ import annotations

import ast
import hashlib
import re
import runpy
from collections.abc import Iterable
from functools import cache
from html import escape
from pathlib import Path
from typing import Final

import matplotlib

DPI: Final = 110


def scripts(folder: Path) -> list[Path]:
    """Return the scripts of the gallery in the order of their names."""
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))


def described(script: Path) -> tuple[str, str]:
    """Return title and text of a script, from its docstring."""
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or script.stem
    title, _, rest = text.partition("\n")
    return title.rstrip("."), rest.strip()


@cache
def _package_digest(root: Path) -> str:
    return _digest(sorted((root / "src" / "mien").rglob("*.py")))


def _digest(paths: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()


def picture(script: Path, root: Path) -> Path:
    """Return the picture of a script, drawn now unless the same script drew it before."""
    kept = root / "build" / "gallery"
    shared = sorted(script.parent.glob("_*.py"))
    key = hashlib.sha256((_digest([script, *shared]) + _package_digest(root)).encode()).hexdigest()[:12]
    target = kept / f"{script.stem}-{key}.png"
    if not target.exists():
        kept.mkdir(parents=True, exist_ok=True)
        for old in kept.glob(f"{script.stem}-????????????.png"):
            old.unlink()
        matplotlib.use("Agg")
        figure = runpy.run_path(str(script))["draw"]()
        figure.savefig(target, dpi=DPI, bbox_inches="tight", facecolor="white", metadata={"Software": None})
    return target


def pictures(folder: Path, root: Path) -> dict[str, Path]:
    """Return the pictures of all scripts: path in the site to file."""
    return {f"gallery/{script.stem}.png": picture(script, root) for script in scripts(folder)}


def pages(folder: Path, root: Path) -> dict[str, str]:
    """Return the pages of the gallery: path in the site to text."""
    cards = []
    made = {}
    for script in scripts(folder):
        title, text = described(script)
        first = re.split(r"(?<=\w{4}\.) ", text.partition("\n\n")[0].replace("\n", " "))[0]
        cards.append(
            f'<a href="{script.stem}.html"><img src="{script.stem}.png" alt="">'
            f"<strong>{escape(title)}</strong><span>{escape(first.replace('`', ''))}</span></a>"
        )
        code = script.read_text(encoding="utf-8").partition('"""')[2].partition('"""\n')[2].strip()
        made[f"gallery/{script.stem}.md"] = (
            f"# {title}\n\n{text}\n\n![{title}]({script.stem}.png)\n\n```python\n{code}\n```\n\n"
            f"The picture is drawn by `docs/gallery/{script.name}` when this site is built. [All examples](index.md)\n"
        )
    made["gallery/index.md"] = (
        "# Gallery\n\nEach picture is drawn when this site is built, from faces that are synthetic or in the public "
        "domain. A click shows the code.\n\n" + f'<div class="mien-cards">{"".join(cards)}</div>\n'
    )
    return made
