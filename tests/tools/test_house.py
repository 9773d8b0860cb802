"""The check of the house on small packages with one fault each."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "house.py"


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("house", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


house = _script()


def package(folder: Path, files: dict[str, str]) -> Path:
    """A package `mien` of these files; folders get an empty `__init__.py` where none is given."""
    root = folder / "mien"
    for name, text in {"__init__.py": "", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for inner in {path.parent for path in root.rglob("*.py")}:
        (inner / "__init__.py").touch()
    return root


def test_a_package_in_order_has_no_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = package(
        tmp_path,
        {
            "__init__.py": "from mien.cli import main",  # the front door may name anything
            "errors.py": "import os",
            "types.py": "from mien.errors import os",
            "io/atomic.py": "from mien import __version__\nfrom mien.errors import os",
            "motion/flow.py": "from mien.io import atomic",
            "cli/main.py": "import mien.motion.flow\nfrom mien.web import server",
            "web/server.py": "x = 1\n" * 500,
        },
    )
    assert house.check(root) == []
    assert house.main([str(root)]) == 0
    assert capsys.readouterr().out == ("import circles: 0\nmodules over 500 lines: 0\nimports against the order: 0\n")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("from mien.io.b import x", "from mien.io.a import y"),
        ("import mien.io.b", "def later():\n    from mien.io import a"),
        ("from . import b", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import y"),
        ("from mien.io import b", 'from importlib import import_module\nimport_module("mien.io.a")'),
    ],
)
def test_two_files_that_import_each_other_are_a_circle(
    tmp_path: Path, first: str, second: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = package(tmp_path, {"io/a.py": first, "io/b.py": second})
    assert house.main([str(root)]) == 1
    printed = capsys.readouterr().out
    assert "circle: mien.io.a <-> mien.io.b" in printed
    assert "import circles: 1" in printed


def test_a_circle_through_a_third_file_and_through_a_package_is_found(tmp_path: Path) -> None:
    root = package(
        tmp_path,
        {
            "io/a.py": "from mien.io.b import x",
            "io/b.py": "from mien.io.c import x",
            "io/c.py": "from mien.io.a import x",
            "face/__init__.py": "from mien.face.crop import crop",
            "face/crop.py": "from mien.face import crop",  # the name, not the module
        },
    )
    assert [fault for fault in house.check(root) if fault.startswith("circle")] == [
        "circle: mien.face <-> mien.face.crop",
        "circle: mien.io.a <-> mien.io.b <-> mien.io.c",
    ]


def test_a_module_of_501_lines_is_long(tmp_path: Path) -> None:
    root = package(tmp_path, {"io/long.py": "x = 1\n" * 501, "io/short.py": "x = 1\n" * 500})
    assert house.check(root) == [f"long: {root / 'io' / 'long.py'} has 501 lines, at most 500"]


@pytest.mark.parametrize(
    "line",
    [
        "from mien.face import crop",
        "def later():\n    from mien.face.crop import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import mien.face.crop",
    ],
)
def test_an_import_of_a_later_package_is_against_the_order(tmp_path: Path, line: str) -> None:
    root = package(tmp_path, {"face/crop.py": "x = 1", "motion/flow.py": line})
    (fault,) = house.check(root)
    assert fault.startswith("order: ")
    assert "flow.py" in fault
    assert "mien.face.crop, which stands above it" in fault


def test_a_package_without_a_place_in_the_order_is_named(tmp_path: Path) -> None:
    root = package(tmp_path, {"helpers/__init__.py": ""})
    assert house.check(root) == [f"order: {root / 'helpers' / '__init__.py'} has no place in the order of packages"]


def test_the_script_runs_by_itself() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "imports against the order: " in done.stdout
