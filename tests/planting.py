"""Readers that fail, in a file that a new process loads at once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import fuzz
import numpy as np

from mien.errors import MienError


def planted(letter: str) -> tuple[int, list[str]]:
    """Inputs and failures of a reader that fails in one way."""

    def read(path: Path) -> None:
        kind = path.read_bytes()[:1]
        if kind == b"e":
            raise IndexError("planted")
        if kind == b"d":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == b"m":
            np.ones(20 << 20).sum()
        if kind == b"t":
            raise MienError("found", "", "fix")
        raise MienError("found", "expected", "fix")

    vars(fuzz)["MIB"] = 100.0
    fuzz.one_thread()
    vars(fuzz)["READERS"]["planted"] = fuzz.Reader(lambda _: [("f", letter.encode() * 9000)], read)
    told = fuzz.run("planted", range(4))
    return told.inputs, told.failures
