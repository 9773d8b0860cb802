"""One thread per test process: the suite runs on all cores already, and results must not depend on their number."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

# Prepared inputs of the tests never mix with the user's; worker processes inherit this.
_cache = tempfile.TemporaryDirectory(prefix="mien-test-cache-")
os.environ["MIEN_CACHE"] = _cache.name

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def composite() -> Path:
    """The MEGC 2019 composite as flow pictures, where it lies beside the project."""
    folder = SHARED / "megc2019_flow"
    if not folder.is_dir():
        pytest.skip("the real flow pictures are not beside the project")
    return folder
