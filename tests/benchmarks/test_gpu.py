"""The script for a GPU works without one, and without the packages that such a machine lacks."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mien.classifiers.net import NetClassifier
from mien.systems import SYSTEMS

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("torch", "numpy", "scipy", "scikit-learn", "pillow", "opencv-contrib-python-headless")
VALUES = """
import json, sys
sys.path.insert(0, "benchmarks")
import bare
from mien.systems import SYSTEMS
named = {n: [{"preset": p} for p in SYSTEMS[n].presets] or [{}] for n in SYSTEMS}
values = {n: [dict(SYSTEMS[n].with_parameters(g)) for g in given] for n, given in named.items()}
print(json.dumps([bare.STOOD_IN, values]))
"""


@pytest.fixture(scope="module")
def few_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to import from that holds six packages and what they need, as links."""
    site = tmp_path_factory.mktemp("site")
    names, seen = list(NEEDED), set[str]()
    for name in names:
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        for top in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"} - seen:
            (site / top).symlink_to(Path(str(package.locate_file(top))))
            seen.add(top)
        plain = [line for line in package.requires or () if "extra ==" not in line]
        names += [n for line in plain if (n := re.split(r"[^\w.-]", line)[0].lower()) not in names]
    return site


def alone(site: Path, *words: str) -> str:
    paths = os.pathsep.join(map(str, (site, ROOT / "src")))
    done = subprocess.run(
        [sys.executable, "-S", *words], cwd=ROOT, env={"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PATH": os.defpath},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_systems_have_the_same_values_without_the_package_that_checks_them(few_packages: Path) -> None:
    gone, values = json.loads(alone(few_packages, "-c", VALUES))
    assert {"pydantic", "av"} <= set(gone)
    for name in SYSTEMS:
        system = SYSTEMS[name]
        named = [{"preset": preset} for preset in system.presets] or [{}]
        assert values[name] == [json.loads(json.dumps(dict(system.with_parameters(given)))) for given in named], name


def test_every_part_writes_its_lines_within_a_tiny_budget(few_packages: Path, tmp_path: Path) -> None:
    page = tmp_path / "gpu.md"
    parts = ("equality", "flow", "ststnet", "networks")
    alone(few_packages, "benchmarks/gpu.py", "--device", "cpu", "--budget", "1", "--out", str(page), "--only", *parts)
    text = page.read_text()
    assert "Failed" not in text
    assert "No GPU" in text
    deep = [
        name for name in SYSTEMS if isinstance(SYSTEMS[name].build(3, SYSTEMS[name].with_parameters()), NetClassifier)
    ]
    assert all(f"| {name} |" in text for name in deep)
    assert re.search(r"\| strcn-g \| small \| 0\.0e\+00 \| 0\.0e\+00 \|", text), "the processor against itself"
    assert re.search(r"\| classic_nl \| 1 \| [\d.]+", text)
    assert "Left out: the folder of flow pictures was not given." in text
    assert re.search(r"\| strcn-g \| 4 \| [\d.e+]+ \|", text)
