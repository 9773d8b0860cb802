"""Progress of work that is spread over processes: bars on the terminal, a shared meter below them."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Slot:
    """One fold's place in a meter. Picklable: a worker process opens the file by name when it first reports."""

    def __init__(self, path: Path, place: int, length: int) -> None:
        self._path, self._place, self._length = path, place, length
        self._shares: np.memmap | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"_path": self._path, "_place": self._place, "_length": self._length, "_shares": None}

    def __call__(self, share: float) -> None:
        """Say how much of the fold is done, 0..1."""
        if self._shares is None:
            try:
                self._shares = np.memmap(self._path, np.float32, "r+", shape=(self._length,))
            except OSError:
                return  # The run that asked is gone; the fold is worth finishing all the same.
        self._shares[self._place] = share


class Meter:
    """How much of each of `length` folds is done, kept in a temporary file that processes share."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="mien-progress-")
        self._path = Path(self._folder.name) / "shares"
        np.zeros(self._length, np.float32).tofile(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def slot(self, place: int) -> Slot:
        """The place of one fold."""
        return Slot(self._path, place, self._length)

    @property
    def done(self) -> float:
        """Folds done so far, counting parts."""
        try:
            return float(np.fromfile(self._path, np.float32).sum())
        except OSError:
            return 0.0

    def __len__(self) -> int:
        return self._length


class Bars:
    """Progress bars on the standard error stream; nothing at all when `show` is False.

    Args:
        show: False for scripts and JSON.
    """

    def __init__(self, show: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description:>15}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TextColumn("[dim]{task.percentage:>5.1f} %"),
            TimeElapsedColumn(),
            TextColumn("[dim]left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=Console(stderr=True),
            disable=not show,
        )
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=1)
        self._progress.__exit__(kind, error, trace)

    def start(self, title: str, total: int) -> Callable[[int], None]:
        """A bar of `total` steps; call the result with the number of steps done."""
        task = self._progress.add_task(title, total=total)
        return lambda n: self._progress.advance(task, n)

    def follow(self, title: str, meter: Meter) -> Callable[[int], None]:
        """A bar of whole folds and, below it, one that also counts the parts of folds: it knows the time left."""
        folds = self._progress.add_task(title, total=len(meter))
        parts = self._progress.add_task("training, %", total=100)

        def watch() -> None:
            while not self._stop.wait(0.3):
                self._progress.update(parts, completed=int(100 * meter.done / len(meter)))

        if not self._progress.disable:
            self._threads.append(threading.Thread(target=watch, daemon=True))
            self._threads[-1].start()
        return lambda n: self._progress.advance(folds, n)
