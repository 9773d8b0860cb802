"""The queue: who waits, who is being answered, whose answer is still there, and what is deleted when.

A job is reserved before its film is sent, so that a refusal is cheap. Each has a folder of its own below one temporary
folder; the film goes as soon as its answer and files are made, the rest when the client says so, when its page has not
been heard of for a while, or when the server ends.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any, Final, Literal

from mien.errors import MienError
from mien.io import atomic as files
from mien.web import worker
from mien.web.intake import Limits, shown_name

State = Literal["sending", "waiting", "answering", "answered", "done", "failed", "gone"]
"""sending: its film is on the way; answered: to be read, some files still being made."""

PREFIX: Final = "mien-serve-"
_SPARE: Final = 256 << 20
"""Bytes of disk that no upload may take."""
_TICK: Final = 0.25  # seconds


class Refused(Exception):
    """A job that is not taken.

    Args:
        status: HTTP status.
        error: Why.
    """

    def __init__(self, status: int, error: MienError) -> None:
        super().__init__(str(error))
        self.status = status
        self.error = error


@dataclass(frozen=True, slots=True)
class Rules:
    """How many at once, and how long things stay.

    Attributes:
        workers: Films answered at the same time.
        waiting: Films that are being sent or wait, beside those.
        kept: Answers kept at once; the oldest goes first.
        idle: Seconds without a byte after which an upload is given up.
        forgotten: Seconds after which an answer goes whose page is not heard of any more.
        stuck: Seconds without any progress after which an answer is given up.
    """

    workers: int = 1
    waiting: int = 8
    kept: int = 50
    idle: float = 60.0
    forgotten: float = 900.0
    stuck: float = 900.0


@dataclass(slots=True, eq=False)
class Job:
    """One film and its answer.

    Attributes:
        token: Whoever knows it may read the answer; nobody else.
        name: What the client calls the film, fit to be shown.
        size: Bytes as announced.
        folder: Where everything of it lies.
        fps: True frame rate, where the client gave one.
        anyway: Name classes even where there is a reason not to.
        state: Where it is.
        stage: What is being done with it.
        share: How much of that, 0..1; None where that is not known.
        error: Why there is no answer.
        pictures: Names of the pictures of its answer.
        files: Kinds of files that are ready.
        touched: When it was last heard of, seconds of the monotonic clock.
    """

    token: str
    name: str
    size: int
    folder: Path
    fps: float | None
    anyway: bool
    state: State = "sending"
    stage: str = ""
    share: float | None = None
    error: MienError | None = None
    pictures: frozenset[str] = frozenset()
    files: tuple[str, ...] = ()
    touched: float = field(default_factory=time.monotonic)

    @property
    def gone(self) -> bool:
        """Whether it was taken back; what still works on it should stop."""
        return self.state == "gone"

    @property
    def video(self) -> Path:
        """The film."""
        return self.folder / worker.VIDEO

    def file(self, kind: str) -> Path:
        """One of its files."""
        return self.folder / f"file.{kind}"


class Jobs:
    """The queue and the processes that work it off.

    Args:
        weights: A `.safetensors` file; None takes those of the package.
        limits: What an upload may be.
        rules: How many, how long.

    Raises:
        MienError: On `start`: unusable weights.
    """

    def __init__(self, weights: Path | None, limits: Limits | None = None, rules: Rules | None = None) -> None:
        self.limits = limits or Limits()
        self.rules = rules or Rules()
        self.root = Path()
        self.about: worker.About | None = None
        self._weights = None if weights is None else weights.absolute()
        self._jobs: dict[bytes, Job] = {}
        self._queue: deque[Job] = deque()
        self._lock = threading.Condition()
        self._closing = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Makes the folder and the first process, and waits until its weights are open.

        Raises:
            MienError: Unusable weights.
        """
        sweep_left_behind()
        self.root = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        try:
            first = _Process(self)
            self.about = first.ready()
        except BaseException:
            shutil.rmtree(self.root, ignore_errors=True)
            raise
        hands: list[_Process | None] = [first, *[None] * (self.rules.workers - 1)]
        self._threads = [threading.Thread(target=self._work, args=(hand,), daemon=True) for hand in hands]
        self._threads.append(threading.Thread(target=self._tidy, daemon=True))
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Ends the processes and deletes everything."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        for thread in self._threads:
            thread.join(timeout=10)
        shutil.rmtree(self.root, ignore_errors=True)
        self._jobs.clear()

    # What the server asks for

    def reserve(self, name: str, size: int, fps: float | None = None, anyway: bool = False) -> Job:
        """A place in the queue for a film that is about to be sent.

        Raises:
            Refused: Too large (413), too many before it (429), no room on the disk (507).
        """
        if size > self.limits.size:
            raise Refused(413, too_large(self.limits, size))
        with self._lock:
            ahead = sum(job.state in ("sending", "waiting") for job in self._jobs.values())
            if self._closing or ahead >= self.rules.waiting:
                raise Refused(
                    429,
                    MienError(
                        f"{ahead} videos are waiting already.",
                        f"at most {self.rules.waiting} at a time.",
                        "again in a few minutes; your video has not been sent.",
                    ),
                )
            promised = sum(job.size for job in self._jobs.values() if job.state == "sending")
            if shutil.disk_usage(self.root).free < promised + size + _SPARE:
                raise Refused(
                    507, MienError("There is no room on this machine's disk.", "room for the video.", "a shorter one.")
                )
            job = Job(secrets.token_urlsafe(24), shown_name(name), size, self.root / secrets.token_hex(12), fps, anyway)
            job.folder.mkdir(mode=0o700)
            self._jobs[_key(job.token)] = job
            self._drop_oldest()
            return job

    def get(self, token: str) -> Job | None:
        """The job that belongs to a token."""
        with self._lock:
            job = self._jobs.get(_key(token))
            if job is not None:
                job.touched = time.monotonic()
            return job

    def begin(self, job: Job) -> bool:
        """Takes the one upload that a job may have; False where it had its chance already."""
        with self._lock:
            if job.state != "sending" or job.stage:
                return False
            job.stage = "sending"
            return True

    def submit(self, job: Job) -> None:
        """Its film is there."""
        with self._lock:
            if job.state == "sending":
                job.state, job.stage, job.share = "waiting", "", None
                self._queue.append(job)
                self._lock.notify_all()

    def remove(self, job: Job) -> None:
        """Forgets a job: what lies in its folder goes now, work on it stops."""
        with self._lock:
            self._forget(job)
            self._lock.notify_all()

    def before(self, job: Job) -> int:
        """How many wait in front of it."""
        with self._lock:
            return self._queue.index(job) if job in self._queue else 0

    # Inside

    def _forget(self, job: Job) -> None:
        working = job.state in ("answering", "answered")
        job.state = "gone"
        self._jobs.pop(_key(job.token), None)
        with suppress(ValueError):
            self._queue.remove(job)
        if not working:  # else its thread deletes it once nothing writes there any more
            shutil.rmtree(job.folder, ignore_errors=True)

    def _drop_oldest(self) -> None:
        over = [job for job in self._jobs.values() if job.state in ("done", "failed")]
        over.sort(key=lambda job: job.touched)
        for job in over[: max(0, len(over) - self.rules.kept)]:
            self._forget(job)

    def _tidy(self) -> None:
        with self._lock:
            while not self._closing:
                now = time.monotonic()
                for job in list(self._jobs.values()):
                    patience = self.rules.idle if job.state == "sending" else self.rules.forgotten
                    if now - job.touched > patience:
                        self._forget(job)
                self._lock.wait(timeout=min(2.0, self.rules.idle / 4, self.rules.forgotten / 4))

    def _work(self, process: _Process | None) -> None:
        """One thread for each process: hands it jobs, listens to it, replaces it when it ends."""
        while True:
            with self._lock:
                while not self._queue and not self._closing:
                    self._lock.wait()
                if self._closing:
                    break
                job = self._queue.popleft()
                job.state, job.stage = "answering", "opening"
            try:
                if process is None or not process.alive:
                    process = _Process(self)
                    process.ready()
                process = self._follow(job, process)
            except Exception as error:
                sys.stderr.write(f"mien serve: {type(error).__name__}: {error}\n")
                self._fail(job, _broken())
                if process is not None:
                    process.kill()
                process = None
            if job.gone:
                shutil.rmtree(job.folder, ignore_errors=True)
            else:
                job.video.unlink(missing_ok=True)
        if process is not None:
            process.kill()

    def _follow(self, job: Job, process: _Process) -> _Process | None:
        """Has one job answered; returns the process, or None where it had to be ended."""
        address = f"/api/jobs/{job.token}/pictures/"
        process.pipe.send(worker.Task(job.folder, job.name, address, job.fps, job.anyway))
        heard = time.monotonic()
        while True:
            if job.gone or self._closing:
                process.kill()
                return None
            if time.monotonic() - heard > self.rules.stuck:
                process.kill()
                self._fail(job, _broken())
                return None
            if not process.pipe.poll(_TICK):
                if process.alive:
                    continue
                if not process.pipe.poll():
                    self._fail(job, _broken())
                    return None
            heard = time.monotonic()
            try:
                message = process.pipe.recv()
            except (EOFError, OSError):
                process.kill()
                self._fail(job, _broken())
                return None
            if self._take(job, message):
                return process

    def _take(self, job: Job, message: tuple[Any, ...]) -> bool:
        """One message from a process; True where it was the last."""
        with self._lock:
            if job.gone:
                return message[0] in ("done", "failed", "broken")
            match message:
                case ("stage", name, share):
                    job.stage, job.share = name, share
                case ("answer", pictures):
                    job.pictures, job.state = frozenset(pictures), "answered"
                case ("file", kind):
                    job.files = (*job.files, kind)
                case ("done",):
                    # The film goes before anybody is told that all is ready.
                    job.video.unlink(missing_ok=True)
                    job.state, job.stage, job.share = "done", "", None
                    return True
                case ("failed", error):
                    self._fail(job, error)
                    return True
                case _:
                    self._fail(job, _broken())
                    return True
        return False

    def _fail(self, job: Job, error: MienError) -> None:
        with self._lock:
            if job.gone:
                return
            job.error = error
            if job.state == "answered":  # it can be read; only a file is missing
                job.state = "done"
            else:
                job.state = "failed"
                shutil.rmtree(job.folder, ignore_errors=True)
            job.stage, job.share = "", None


class _Process:
    """A worker process and the pipe to it."""

    def __init__(self, jobs: Jobs) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=worker.main, args=(theirs, jobs._weights, jobs.limits, jobs.root), daemon=True
        )
        self._process.start()
        theirs.close()

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.is_alive()

    def ready(self) -> worker.About:
        """Waits until its weights are open.

        Raises:
            MienError: They cannot be used, or the process ended.
        """
        connection.wait([self.pipe, self._process.sentinel])
        try:
            kind, content = self.pipe.recv()
        except (EOFError, OSError):
            raise MienError(
                "The process that answers ended before it began.", "one that opens the weights.", "`mien card FILE`."
            ) from None
        if kind == "refused":
            self._process.join()
            raise content
        assert isinstance(content, worker.About)
        return content

    def kill(self) -> None:
        """Ends it now."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


def too_large(limits: Limits, size: int | None = None) -> MienError:
    """The refusal of a large file."""
    found = "The file is too large." if size is None else f"The file has {size / 2**20:,.0f} MiB."
    return MienError(found, f"at most {limits.mib:,.0f} MiB.", "a shorter part of it.")


def _broken() -> MienError:
    return MienError(
        "The program that looked at this video ended unexpectedly.",
        "a video that can be decoded.",
        "another copy of it, or the same again.",
    )


def _key(token: str) -> bytes:
    """What jobs are kept under: looking a digest up tells nothing about how much of a guess was right."""
    return hashlib.sha256(token.encode()).digest()


def sweep_left_behind() -> None:
    """Deletes the folders of servers that were killed before they could."""
    files.sweep_left_behind(PREFIX, Path(tempfile.gettempdir()))
