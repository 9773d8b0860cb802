"""Packages that bring mien something, written and installed for one test, and gone after it."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mien.datasets import DATASETS
from mien.descriptors import DESCRIPTORS
from mien.evaluation.protocols import PROTOCOLS
from mien.motion.flow import FLOWS
from mien.registry import Registry
from mien.spotting import SPOTTERS
from mien.synthesis.flow_images import write_flow_images
from mien.systems import SYSTEMS

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "plugin"


def refresh() -> None:
    for registry in (SYSTEMS, DATASETS, DESCRIPTORS, PROTOCOLS, SPOTTERS, FLOWS):
        if isinstance(registry, Registry):
            registry.refresh()


@pytest.fixture
def installed() -> Iterator[Callable[[Path], None]]:
    """Makes the packages in a folder importable, as those of an environment are."""
    path, sites = list(sys.path), list[str]()

    def use(site: Path) -> None:
        sys.path.insert(0, str(site))
        sites.append(str(site))
        refresh()

    yield use
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(tuple(sites)) and sites:
            del sys.modules[name]
    importlib.invalidate_caches()
    refresh()


@pytest.fixture
def package(tmp_path: Path, installed: Callable[[Path], None]) -> Callable[..., Path]:
    """Installs a package of one module, by its files: `package("name", "code", group=line)`."""

    def write(name: str, code: str, **groups: str) -> Path:
        site = tmp_path / f"site-{name}"
        module = name.replace("-", "_")
        (site / module).mkdir(parents=True)
        (site / module / "__init__.py").write_text(code)
        about = site / f"{module}-1.2.3.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.3\n")
        (about / "RECORD").write_text(f"{module}/__init__.py,,\n{about.name}/METADATA,,\n")
        (about / "entry_points.txt").write_text("".join(f"[mien.{g}]\n{line}\n" for g, line in groups.items()))
        installed(site)
        return site / module / "__init__.py"

    return write


@pytest.fixture(scope="session")
def example_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of `examples/plugin`, built and installed by pip into a folder of its own."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    made = subprocess.run(
        [*pip, "--disable-pip-version-check", "--target", str(folder / "site"), str(folder / "source")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return folder / "site"


@pytest.fixture(scope="session")
def flow_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ready flow pictures of 5 subjects with 6 clips each, three classes."""
    root = tmp_path_factory.mktemp("flow")
    write_flow_images(root, subjects=5, clips_per_subject=6, seed=0, layout="folders")
    return root
