"""Worker processes: one thread each, and none that outlives the process that started it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal


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
    """Limit torch and OpenCV to one thread within the block, if wanted; torch also where it is loaded there first."""
    if not wanted:
        yield
        return
    import cv2

    torch, given = sys.modules.get("torch"), os.environ.get("OMP_NUM_THREADS")
    usual = int(given) if given and given.isdigit() else os.cpu_count() or 1
    before = torch.get_num_threads() if torch else usual, cv2.getNumThreads()
    use_one_thread(opencv=True)
    try:
        yield
    finally:
        if given is None:
            os.environ.pop("OMP_NUM_THREADS", None)
        else:
            os.environ["OMP_NUM_THREADS"] = given
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def in_processes(
    work: Iterable[Any],
    jobs: int,
    *,
    order: Literal["generator", "generator_unordered"] = "generator",
    ahead: int | str = "2 * n_jobs",
) -> Iterator[Any]:
    """Run joblib tasks in worker processes and yield their results as they come.

    The workers end within a second of the process that started them, also when it is killed.

    Args:
        work: Tasks, each `joblib.delayed(function)(arguments)`.
        jobs: Tasks at once; 1 runs them in this process.
        order: "generator" yields in the order of the tasks, "generator_unordered" as they finish.
        ahead: Tasks taken from `work` before they can start, as joblib's `pre_dispatch`.

    Example:
        >>> from joblib import delayed
        >>> list(in_processes([delayed(abs)(-1), delayed(abs)(2)], 1))
        [1, 2]
    """
    from joblib import Parallel, parallel_config

    # With another current folder than last time, other workers are started: relative paths mean the same there.
    with parallel_config(backend="loky", initializer=_begin, initargs=(os.getpid(), _current_folder())):
        made = Parallel(n_jobs=jobs, return_as=order, pre_dispatch=ahead, batch_size=1)
    yield from made(work)


def _current_folder() -> str | None:
    """Return the current folder; None where it has been deleted."""
    try:
        return str(Path.cwd())
    except OSError:
        return None


def _begin(parent: int, folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)
    end_with(parent)


def end_with(parent: int) -> None:
    """End this process within a second of its parent's end.

    A worker of a killed process would otherwise wait for minutes, with its memory and its parent's open pipes.

    Args:
        parent: Number of the parent process. Where the system does not name another parent once this one has ended
            (Windows), nothing is done.
    """
    if os.name != "posix":
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
