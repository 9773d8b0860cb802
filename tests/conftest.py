"""One thread per test process: the suite runs on all cores already, and results must not depend on their number."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import typer.main
import typer.testing

from mien.face.portrait import portrait
from mien.io.video import open_video

torch.set_num_threads(1)
# What runs on all cores where nothing else is said runs in this process: workers that start load the libraries anew.
os.cpu_count = lambda: 1

# Prepared inputs of the tests never mix with the user's; worker processes inherit this.
_cache = tempfile.TemporaryDirectory(prefix="mien-test-cache-")
os.environ["MIEN_CACHE"] = _cache.name

# Thirty commands are built from their signatures each time that one is called: 45 ms a call, which one process of a
# user pays once and a process of tests a thousand times.
typer.main.get_command = vars(typer.testing)["_get_command"] = cache(typer.main.get_command)

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def composite() -> Path:
    """The MEGC 2019 composite as flow pictures, where it lies beside the project."""
    folder = SHARED / "megc2019_flow"
    if not folder.is_dir():
        pytest.skip("the real flow pictures are not beside the project")
    return folder


@pytest.fixture(scope="session")
def woman() -> np.ndarray:
    """The portrait that comes with the package, (H, W, 3) RGB."""
    return portrait()


@pytest.fixture(scope="session")
def read_video() -> Callable[[str], list[np.ndarray]]:
    """Reads a real video by name, where it lies beside the project."""

    def read(name: str) -> list[np.ndarray]:
        path = SHARED / "video" / name
        if not path.is_file():
            pytest.skip("the real videos are not beside the project")
        return [frame.pixels for frame in open_video(path).frames()]

    return read
