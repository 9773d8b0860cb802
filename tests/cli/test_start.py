"""What a command imports before it does anything, by the modules that are loaded: no seconds."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from mien.cli.commands import GROUPS
from mien.synthesis.flow_images import write_flow_images

CODE = """
import contextlib, io, json, sys
from mien.cli.main import main
sys.argv = ["mien", *sys.argv[1:]]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main()
print(json.dumps(sorted(sys.modules)))
"""
HEAVY = {
    "torch", "scipy", "sklearn", "pandas", "matplotlib", "joblib", "av", "PIL", "jinja2", "openpyxl", "skimage", "ray",
}  # fmt: skip


def loaded(*words: str) -> set[str]:
    ran = subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=True)
    return set(json.loads(ran.stdout))


@pytest.mark.parametrize("words", [("--help",), ("spot", "--help")])
def test_help_loads_the_command_line_and_no_package_of_methods(words: tuple[str, ...]) -> None:
    modules = loaded(*words)
    assert not modules & {*HEAVY, "numpy", "cv2"}
    own = {m for m in modules if m.startswith("mien.")}
    assert own <= {m for m in own if m.startswith("mien.cli")} | {"mien.errors", "mien.parameters", "mien.types"}
    assert "mien.cli.benchmark" not in modules


@pytest.mark.parametrize("words", [("systems",), ("datasets",)])
def test_lists_load_nothing_heavy(words: tuple[str, ...]) -> None:
    modules = loaded(*words)
    assert not modules & {*HEAVY, "cv2"}
    assert len([m for m in modules if m.startswith("mien.")]) < 130


def test_opening_weights_loads_no_compiler_and_no_scipy() -> None:
    code = (
        "import sys; from mien.recognition.naming import open_namer; from mien.recognition.units import open_units\n"
        "open_namer(None), open_units(), __import__('mien.spotting').spotting.spotter('flow-peaks')\n"
        "print({'torch._dynamo', 'sympy', 'scipy', 'sklearn', 'pandas'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["strcn-g", "ststnet"])
def test_a_benchmark_of_a_network_loads_no_compiler_and_no_other_classifiers(name: str, tmp_path: Path) -> None:
    write_flow_images(tmp_path / "flow", subjects=4, clips_per_subject=3)
    words = (f"flow_images={tmp_path / 'flow'}", "--system", name, "--jobs", "1", "--out", str(tmp_path / "run"))
    modules = loaded("benchmark", *words, "--set", "epochs=1")
    assert len(list((tmp_path / "run").rglob("*.csv"))) >= 4  # a fold each
    assert "torch" in modules
    assert not modules & {"torch._dynamo", "sympy", "scipy", "sklearn", "pandas", "matplotlib"}


def test_every_command_is_listed_with_the_first_paragraph_of_its_own_help() -> None:
    for group in GROUPS.values():
        for name, (module, summary) in group.items():
            document = inspect.cleandoc(getattr(import_module(f"mien.cli.{module}"), name).__doc__ or "")
            assert document.split("\n\n")[0].replace("\n", " ") == summary
