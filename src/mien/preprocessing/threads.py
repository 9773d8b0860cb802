"""One thread per process: for work that is already spread over processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def use_one_thread(opencv: bool = False) -> None:
    """Limit torch to one thread in this process, whether it is loaded already or later.

    Sums then have one order, so results do not depend on the number of processes.

    Args:
        opencv: Whether to limit OpenCV, too.
    """
    if opencv:
        import cv2

        cv2.setNumThreads(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    else:
        os.environ["OMP_NUM_THREADS"] = "1"


@contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """Limit torch and OpenCV to one thread within the block, if wanted."""
    if not wanted:
        yield
        return
    import cv2
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
