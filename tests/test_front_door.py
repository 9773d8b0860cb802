"""`import mien`: what it offers, and what it does not load."""

from __future__ import annotations

import importlib
import inspect
import json
import pydoc
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mien
from mien.datasets.flow_images import FlowImages
from mien.evaluation.compare import Comparison

ROOMS = ("systems", "datasets", "descriptors")
"""Packages that can be called: their functions have a private name at the front door."""


def in_a_new_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_import_mien_loads_no_other_package() -> None:
    code = (
        "import sys; before = {name.partition('.')[0] for name in sys.modules}\nimport mien\n"
        "new = {name.partition('.')[0] for name in sys.modules} - before - set(sys.stdlib_module_names)\n"
        "import json; print(json.dumps(sorted(new)))"
    )
    assert json.loads(in_a_new_process(code)) == ["mien"]


def test_looking_at_the_names_loads_nothing() -> None:
    code = "import sys, mien; dir(mien); mien.__all__; print(any(m in sys.modules for m in ('numpy', 'torch', 'cv2')))"
    assert in_a_new_process(code) == "False"


def test_lists_of_names_and_runs_without_networks_do_not_need_torch() -> None:
    code = (
        "import sys, mien; mien.systems(), mien.datasets(), mien.descriptors(), mien.protocols()\n"
        "import mien.evaluation.report, mien.evaluation.run, mien.evaluation.estimate\n"
        "mien.systems.SYSTEMS['flow-svm'].build(3, mien.systems.SYSTEMS['flow-svm'].with_parameters())\n"
        "print('torch' in sys.modules)"
    )
    assert in_a_new_process(code) == "False"


@pytest.mark.parametrize("first", ["", "import mien.systems.base, mien.datasets.check, mien.descriptors.table\n"])
def test_packages_that_are_lists_can_be_called_however_they_were_imported(first: str) -> None:
    code = (
        f"{first}import mien\nfrom mien.systems import SYSTEMS\n"
        "print('strcn-g' in mien.systems(), mien.systems.SYSTEMS is SYSTEMS, "
        "mien.datasets()['casme2'].title, 'lbp-top' in mien.descriptors())"
    )
    assert in_a_new_process(code) == "True True CASME II True"


@pytest.mark.parametrize("name", mien.__all__)
def test_every_public_name_is_there_with_a_line_of_help_and_an_example(name: str) -> None:
    thing: Any = getattr(mien, f"_{name}" if name in ROOMS else name)
    assert re.search(rf"^ +{name} +[A-Z].+\.$", mien.__doc__ or "", re.MULTILINE)
    assert ">>> " in (inspect.getdoc(thing) or ""), f"{name} has no example"


def public_functions() -> dict[str, Any]:
    """Functions at the front door, and those at the front of the rooms that others register things in."""
    found = {f"mien.{name}": getattr(mien, f"_{name}" if name in ROOMS else name) for name in mien.__all__}
    for room in (*ROOMS, "spotting"):
        module = importlib.import_module(f"mien.{room}")
        found |= {f"mien.{room}.{name}": getattr(module, name) for name in module.__all__}
    return {name: thing for name, thing in found.items() if inspect.isfunction(thing)}


@pytest.mark.parametrize("name", public_functions())
def test_every_public_function_describes_what_goes_in_what_comes_out_and_what_it_refuses(name: str) -> None:
    function = public_functions()[name]
    text, signature = inspect.getdoc(function) or "", inspect.signature(function)
    wanted = ["Example:"]
    if signature.parameters:
        wanted.append("Args:")
    if signature.return_annotation not in (None, "None"):
        wanted.append("Yields:" if "Yields:" in text else "Returns:")
    if re.search(r"\braise (MienError|unknown_name|unwritable)\b", inspect.getsource(function)):
        wanted.append("Raises:")
    assert [part for part in wanted if f"\n{part}\n" not in text] == []
    if "Args:" in wanted and "what is given beside it is as in" not in text:
        described = text.partition("\nArgs:\n")[2].partition("\n\n")[0]
        assert [p for p in signature.parameters if not re.search(rf"\b{p}\b.*:", described)] == []


def test_help_tells_nothing_that_is_not_there() -> None:
    named = re.findall(r"^    ([a-z_]\w+|MienError)  +[A-Z]", mien.__doc__ or "", re.MULTILINE)
    assert sorted(named) == sorted(mien.__all__)
    assert "recognise" in pydoc.plain(pydoc.render_doc(mien))


def test_editors_and_type_checkers_know_the_names() -> None:
    assert set(mien.__all__) <= set(dir(mien))
    with pytest.raises(AttributeError, match="no attribute 'recognize'"):
        mien.recognize  # noqa: B018


def test_the_shortest_benchmark_there_is(tmp_path: Path) -> None:
    from mien.synthesis.flow_images import write_flow_images

    write_flow_images(tmp_path / "data", subjects=3, clips_per_subject=4, seed=0, layout="folders")
    named = mien.benchmark(f"flow_images={tmp_path / 'data'}", "flow-svm", str(tmp_path / "run"), jobs=1)
    opened = FlowImages(tmp_path / "data")
    again = mien.benchmark(opened, "flow-svm", tmp_path / "run", jobs=1)
    several = mien.benchmark([opened], "flow-svm", tmp_path / "run", jobs=1)
    assert named.rows == again.rows == several.rows
    assert mien.report(tmp_path / "run") == mien.report(str(tmp_path / "run"))
    compared = mien.compare(tmp_path / "run", str(tmp_path / "run"))
    assert isinstance(compared, Comparison)
    assert compared.uf1_difference == 0
