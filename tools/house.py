"""Checks the house: no circles of imports, no module over 500 lines, imports only in the order of the packages.

    python tools/house.py            # src/mien; part of `make lint`

Imports inside functions, under `if TYPE_CHECKING:` and by `import_module("mien...")` count like those at the top of a
file. The package's own `__init__.py` is the front door: it may name anything.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ORDER: Final[Sequence[frozenset[str]]] = [
    frozenset(level.split())
    for level in (
        "types errors progress parameters registry", "io", "motion", "face", "datasets", "preprocessing", "descriptors",
        "models", "classifiers", "synthesis", "spotting", "systems", "evaluation", "recognition", "export", "cli web",
    )
]  # fmt: skip
"""Packages and modules at the top of `mien`, lowest first; each imports its own level and those before it."""

MOST_LINES: Final = 500


@dataclass(frozen=True, order=True)
class Import:
    """One import of one file of the package by another.

    Attributes:
        importer: Dotted name of the module that imports.
        line: Where, from 1.
        imported: Dotted name of the module that is imported.
    """

    importer: str
    line: int
    imported: str


def modules_in(package: Path) -> dict[str, Path]:
    """Every module of a package: dotted name to file."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, path: Path, modules: Mapping[str, Path]) -> Iterator[Import]:
    """Every import of a file of the same package, wherever it stands in the module."""
    package = module.split(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, module, path)
            own = _names_bound(modules[base]) if base in modules else frozenset()
            targets = [
                f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules and alias.name not in own else base
                for alias in node.names
            ]
        elif isinstance(node, ast.Call) and node.args and _called(node) == "import_module":
            first = node.args[0]
            targets = [first.value] if isinstance(first, ast.Constant) and isinstance(first.value, str) else []
        else:
            continue
        for target in dict.fromkeys(targets):
            if target.split(".")[0] == package and target in modules and target != module:
                yield Import(module, node.lineno, target)


def _base(node: ast.ImportFrom, module: str, path: Path) -> str:
    """The module that a `from ... import` names, relative ones resolved."""
    if not node.level:
        return node.module or ""
    parts = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


@cache
def _names_bound(path: Path) -> frozenset[str]:
    """Names that a package's `__init__.py` defines or imports itself: they hide modules of the same name."""
    names: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return frozenset(names)


def circles(imports: Sequence[Import]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others (strongly connected components)."""
    follows: dict[str, list[str]] = {}
    for one in imports:
        follows.setdefault(one.importer, []).append(one.imported)
        follows.setdefault(one.imported, [])
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for other in follows[module]:
            if other not in number:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], number[other])
        if lowest[module] == number[module]:
            place = stack.index(module)
            group = stack[place:]
            del stack[place:]
            if len(group) > 1:
                found.append(sorted(group))

    for module in follows:
        if module not in number:
            visit(module)
    return sorted(found)


def level_of(module: str) -> int | None:
    """Place of a module in `ORDER`; None for the front door and for what has no place."""
    room = module.split(".")[1] if "." in module else ""
    return next((place for place, rooms in enumerate(ORDER) if room in rooms), None)


def check(package: Path) -> list[str]:
    """Every fault of a package, one line each; empty when the house is in order.

    Args:
        package: The folder of the package.
    """
    modules = modules_in(package)
    imports = [one for module, path in modules.items() if module != package.name
               for one in imports_of(module, path, modules)]  # fmt: skip
    faults = []
    for group in circles(imports):
        faults.append(f"circle: {' <-> '.join(group)}")
        faults.extend(
            f"    {_where(modules, one)} imports {one.imported}"
            for one in sorted(imports) if one.importer in group and one.imported in group
        )  # fmt: skip
    for path in modules.values():
        n = len(path.read_text("utf-8").splitlines())
        if n > MOST_LINES:
            faults.append(f"long: {path} has {n} lines, at most {MOST_LINES}")
    for module, path in modules.items():
        if module != package.name and level_of(module) is None:
            faults.append(f"order: {path} has no place in the order of packages")
    for one in sorted(imports):
        high, low = level_of(one.importer), level_of(one.imported)
        if high is not None and low is not None and low > high:
            faults.append(f"order: {_where(modules, one)} imports {one.imported}, which stands above it")
    return faults


def _where(modules: Mapping[str, Path], one: Import) -> str:
    return f"{modules[one.importer]}:{one.line}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the faults and how many there are of each kind; 1 if there is any."""
    parser = argparse.ArgumentParser(description="Check import circles, long modules and the order of imports.")
    parser.add_argument("package", type=Path, nargs="?", default=Path(__file__).parent.parent / "src" / "mien")
    faults = check(parser.parse_args(arguments).package.resolve())
    for fault in faults:
        print(fault)
    counts = {kind: sum(fault.startswith(f"{kind}:") for fault in faults) for kind in ("circle", "long", "order")}
    print(f"import circles: {counts['circle']}")
    print(f"modules over {MOST_LINES} lines: {counts['long']}")
    print(f"imports against the order: {counts['order']}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
