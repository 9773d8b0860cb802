"""Files that strangers and hosts read: one version everywhere, the workflow runs what a developer runs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import mien
from mien.cli import main

ROOT = Path(__file__).parents[1]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_stands_in_one_place_and_files_that_repeat_it_agree() -> None:
    project: dict[str, Any] = tomllib.loads(read("pyproject.toml"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "src/mien/__init__.py"
    (cited,) = re.findall(r"^version: (\S+)$", read("CITATION.cff"), re.MULTILINE)
    newest = re.findall(r"^## \[(\d\S+)\] - (\d{4}-\d\d-\d\d)$", read("CHANGELOG.md"), re.MULTILINE)[0]
    assert cited == newest[0] == mien.__version__
    assert f'date-released: "{newest[1]}"' in read("CITATION.cff")


def test_the_workflow_runs_make_test_on_every_python_that_the_package_names() -> None:
    workflow = read(".github/workflows/test.yml")
    named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', read("pyproject.toml"))
    (tested,) = re.findall(r"^ +python: \[(.+)\]$", workflow, re.MULTILINE)
    assert re.findall(r"3\.\d+", tested) == named
    assert re.search(r'python: "3\.14"\n +unverified: true', workflow)
    assert "make test" in workflow
    assert "entry: make lint" in read(".pre-commit-config.yaml")


def test_a_checkout_names_its_commit_and_an_installed_copy_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "src" / "mien" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.touch()
    monkeypatch.setattr(mien, "__file__", str(package))
    git = ("git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run([*git[:3], "init", "-q"], check=True)
    assert main._commit() is None  # the repository of another project around a virtual environment
    (tmp_path / "pyproject.toml").touch()
    subprocess.run([*git[:3], "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    head = subprocess.run([*git[:3], "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert head.startswith(str(main._commit()))
    package.write_text("changed")
    assert str(main._commit()) == head[:9] + "+"


def test_the_version_needs_no_heavy_package() -> None:
    code = "import sys, mien; print(mien.__version__, 'torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == [mien.__version__, "False"]
