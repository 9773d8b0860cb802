"""The reference: one page for each group of public names, as `help(mien)` lists them, from their docstrings."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Final

import mien

_GROUP: Final = re.compile(r"^(\w[^\n]*):\n((?: {4}\w+ {2,}\S[^\n]*\n)+)", re.MULTILINE)
_NAME: Final = re.compile(r"^ {4}(\w+) {2,}(\S[^\n]*)$", re.MULTILINE)


def groups() -> dict[str, dict[str, str]]:
    """Return the public names by group: group -> name -> first line.

    Raises:
        ValueError: The list in the package's docstring lacks a public name, or has one that is not public.
    """
    found = {title: dict(_NAME.findall(block)) for title, block in _GROUP.findall((mien.__doc__ or "") + "\n")}
    listed = sorted(name for names in found.values() for name in names)
    if listed != sorted(mien.__all__):
        raise ValueError(f"help(mien) and mien.__all__ differ: {sorted(set(listed) ^ set(mien.__all__))}")
    return found


def home_of(name: str) -> str:
    """Return the full name of a public object where it is defined, as `mien.motion.flow.optical_flow`."""
    thing = getattr(mien, name)
    if isinstance(thing, ModuleType):  # a package that is also a function
        return f"mien._{name}"
    return f"{thing.__module__}.{thing.__qualname__}"


def pages() -> dict[str, str]:
    """Return the pages of the reference: path in the site to text."""
    lines = [
        "# Reference",
        "Every public name, from its docstring. In Python `help(mien)` prints this list,",
        "`help(mien.spot)` one of them.",
        "Each is loaded when it is first used: `import mien` loads no other package.",
    ]
    made = {}
    for title, names in groups().items():
        page = re.sub(r"\W+", "-", title.lower()).strip("-")
        rows = [f"| [`mien.{name}`]({page}.md#{home_of(name)}) | {first} |" for name, first in names.items()]
        lines += ["", f"## {title}", "", "| | |", "|---|---|", *rows]
        parts = [f"# {title}", "[All public names](index.md)"]
        for name in names:
            label = f"    options:\n      heading: mien.{name}\n      toc_label: {name}"
            parts.append(f"::: {home_of(name)}\n{label}")
        made[f"reference/{page}.md"] = "\n\n".join(parts) + "\n"
    made["reference/index.md"] = "\n".join(lines) + "\n"
    return made
