"""Progress of long work: bars on a terminal, a line now and then elsewhere; also of folds in several processes."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    import numpy as np

FIRST_LINE: Final = 3.0
"""Seconds before the first line without a terminal: short work prints none."""

BETWEEN_LINES: Final = 30.0
"""Least seconds between two lines without a terminal."""


class Slot:
    """One fold's entry in a meter. Picklable: a worker process opens the file by name when it first reports."""

    def __init__(self, path: Path, place: int, length: int) -> None:
        self._path, self._place, self._length = path, place, length
        self._shares: np.memmap | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"_path": self._path, "_place": self._place, "_length": self._length, "_shares": None}

    def __call__(self, share: float) -> None:
        """Report how much of the fold is done, 0..1."""
        import numpy as np

        if self._shares is None:
            try:
                self._shares = np.memmap(self._path, np.float32, "r+", shape=(self._length,))
            except OSError:
                return  # The run that asked has ended; the fold is worth finishing all the same.
        self._shares[self._place] = share


class Meter:
    """How much of each of `length` folds is done, in a temporary file that processes share.

    Args:
        length: Number of folds.
        folder: Where the file is made. It is named as unfinished files are, which the next run in a folder deletes if
            this process is killed.
    """

    def __init__(self, length: int, folder: Path | None = None) -> None:
        self._length = length
        self._folder = folder

    def __enter__(self) -> Self:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".progress-", suffix=".part", dir=self._folder)
        with os.fdopen(handle, "wb") as file:
            file.write(bytes(4 * self._length))
        self._path = Path(name)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._path.unlink()

    def slot(self, place: int) -> Slot:
        """Return the entry of one fold."""
        return Slot(self._path, place, self._length)

    @property
    def done(self) -> float:
        """Number of folds done so far, counting parts of folds."""
        import numpy as np

        try:
            return float(np.fromfile(self._path, np.float32).sum())
        except OSError:
            return 0.0

    def __len__(self) -> int:
        return self._length


class Bars:
    """Progress on standard error: bars on a terminal; elsewhere a line at most every 30 seconds.

    Args:
        show: False prints nothing.

    Example:
        >>> with Bars(show=False) as bars:
        ...     advance = bars.start("clips", 2)
        ...     advance(1)
    """

    def __init__(self, show: bool = True) -> None:
        self._show: _Terminal | _Lines | None = None
        if show:
            self._show = _Terminal() if sys.stderr.isatty() else _Lines()

    def __enter__(self) -> Self:
        if self._show is not None:
            self._show.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._show is not None:
            self._show.end(failed=error is not None)

    def start(self, title: str, total: int) -> Callable[[int], None]:
        """Begin work of `total` steps; call the result with the number of steps done since the last call.

        Args:
            title: What is counted: "clips", "frames".
            total: Number of steps; 0 where it is not known.
        """
        return (lambda n: None) if self._show is None else self._show.start(title, total)

    def follow(self, title: str, meter: Meter, parts: str | None = "training, %") -> Callable[[int], None]:
        """Begin work on the folds of a meter, whose parts count for the time left.

        Args:
            title: What is counted: "folds".
            meter: Reports the parts of folds that are done.
            parts: Title of a second bar for the parts; None has one bar, which moves with the parts.
        """
        return (lambda n: None) if self._show is None else self._show.follow(title, meter, parts)


class _Terminal:
    """Bars of the package rich."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as TimeLeftColumn

        self._progress = Progress(
            TextColumn("{task.description:>15}", markup=False),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TextColumn("[dim]{task.percentage:>5.1f} %"),
            TimeElapsedColumn(),
            TextColumn("[dim]left"),
            TimeLeftColumn(elapsed_when_finished=False),
            console=Console(stderr=True),
        )
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self) -> None:
        self._progress.__enter__()

    def end(self, failed: bool) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=1)
        self._progress.__exit__(None, None, None)

    def start(self, title: str, total: int) -> Callable[[int], None]:
        task = self._progress.add_task(title, total=total)
        return lambda n: self._progress.advance(task, n)

    def follow(self, title: str, meter: Meter, parts: str | None) -> Callable[[int], None]:
        folds = self._progress.add_task(title, total=len(meter))
        second = folds if parts is None else self._progress.add_task(parts, total=100)

        def show() -> None:
            done = meter.done
            self._progress.update(second, completed=done if parts is None else int(100 * done / len(meter)))

        def watch() -> None:
            while not self._stop.wait(0.3):
                show()

        self._threads.append(threading.Thread(target=watch, daemon=True))
        self._threads[-1].start()
        return (lambda n: show()) if parts is None else (lambda n: self._progress.advance(folds, n))


class _Work:
    """One count among the lines.

    Attributes:
        title: What is counted.
        total: Number of steps; 0 where it is not known.
        n: Steps done.
        meter: Knows the parts of steps; None without one.
        began: Time of the first step.
        printed: The last line about it.
    """

    def __init__(self, title: str, total: int, meter: Meter | None) -> None:
        self.title, self.total, self.meter = title, total, meter
        self.n = 0
        self.began = time.monotonic()
        self.printed = ""

    def line(self) -> str:
        title, percent, _ = self.title.partition(", %")
        if percent:
            text = f"{title}: {self.n} % done"
        elif self.total:
            text = f"{title}: {self.n} of {self.total} done"
        else:
            text = f"{title}: {self.n} done"
        done = max(float(self.n), self.meter.done if self.meter else 0.0)
        if 0 < done < self.total:
            left = (time.monotonic() - self.began) * (self.total - done) / done
            text += f", about {_duration(left)} left"
        return text


class _Lines:
    """Plain lines, for logs and pipes: the first after a few seconds, then one now and then, and the end."""

    def __init__(self) -> None:
        self._all: list[_Work] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._print_now_and_then, daemon=True)
        self._lock = threading.Lock()

    def begin(self) -> None:
        self._thread.start()

    def end(self, failed: bool) -> None:
        self._stop.set()
        self._thread.join(timeout=1)
        if not failed:
            for work in self._all:
                if work.printed:
                    self._print(work)

    def start(self, title: str, total: int, meter: Meter | None = None) -> Callable[[int], None]:
        work = _Work(title, total, meter)
        self._all.append(work)

        def advance(n: int) -> None:
            with self._lock:
                work.n += n

        return advance

    def follow(self, title: str, meter: Meter, parts: str | None) -> Callable[[int], None]:
        return self.start(title, len(meter), meter)

    def _print_now_and_then(self) -> None:
        wait = FIRST_LINE
        while not self._stop.wait(wait):
            for work in self._all:
                if not work.total or work.n < work.total or work.printed:
                    self._print(work)
            wait = BETWEEN_LINES

    def _print(self, work: _Work) -> None:
        line = work.line()
        if line != work.printed:
            work.printed = line
            try:
                sys.stderr.write(line + "\n")
                sys.stderr.flush()
            except (OSError, ValueError):  # whoever read it has gone
                self._stop.set()


def _duration(seconds: float) -> str:
    """Return a duration as people say it: "40 s", "3 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
