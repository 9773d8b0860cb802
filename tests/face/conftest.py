"""Pictures with known faces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from mien.face.portrait import portrait

VIDEOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "video"


@pytest.fixture(scope="session")
def woman() -> np.ndarray:
    return portrait()


@pytest.fixture(scope="session")
def read_video() -> Callable[[str], list[np.ndarray]]:
    def read(name: str) -> list[np.ndarray]:
        path = VIDEOS / name
        if not path.is_file():
            pytest.skip("the real videos are not beside the project")
        with av.open(str(path)) as video:
            return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]

    return read
