"""The queue of videos to analyse: which wait, which are in progress, which answers are kept, and when all is deleted.

A job is reserved before its video is sent, so that a refusal costs nothing. Each job has its own folder inside one
temporary folder. The video is deleted as soon as the answer and its files are ready. The rest is deleted when the
client asks for it, when its page has not contacted the server for a while, or when the server ends.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any, Final, Literal

from mien.errors import MienError
from mien.io import atomic as files
from mien.web import worker
from mien.web.intake import Limits, shown_name

State = Literal["sending", "waiting", "answering", "answered", "done", "failed", "gone"]
"""sending: the video is being uploaded; answered: the answer can be read, but some files are not ready yet."""

PREFIX: Final = "mien-serve-"
_SPARE: Final = 256 << 20
"""Bytes of disk space that are always left free."""
_TICK: Final = 0.25  # seconds


class Refused(Exception):
    """A job that is refused.

    Args:
        status: HTTP status.
        error: The reason.
    """

    def __init__(self, status: int, error: MienError) -> None:
        super().__init__(str(error))
        self.status = status
        self.error = error


@dataclass(frozen=True, slots=True)
class Rules:
    """How many jobs are accepted, and how long they are kept.

    Attributes:
        workers: Number of videos analysed at the same time.
        waiting: Number of videos that may be uploading or waiting.
        kept: Number of answers kept; the oldest is deleted first.
        idle: Seconds without data after which an upload is cancelled.
        slowest: Bytes a second that an upload has to reach on average, once it has lasted `idle` seconds.
        forgotten: Seconds without a request from its page after which an answer is deleted.
        stuck: Seconds without progress after which an analysis is cancelled.
    """

    workers: int = 1
    waiting: int = 8
    kept: int = 50
    idle: float = 60.0
    slowest: float = 4096.0
    forgotten: float = 900.0
    stuck: float = 900.0


@dataclass(slots=True, eq=False)
class Job:
    """One video and its answer.

    Attributes:
        token: Secret that gives access to the job.
        name: File name given by the client, safe to display.
        size: Announced size in bytes.
        folder: Folder of the job.
        fps: True frame rate, if the client gave one.
        anyway: Name a class even if there are reasons not to.
        state: State of the job.
        stage: Current stage of the analysis.
        share: Progress of the stage, 0 to 1; None if not known.
        error: Why there is no answer.
        pictures: File names of the pictures of the answer.
        files: Kinds of files that are ready.
        touched: Time of the last request from its page, in seconds of the monotonic clock.
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
        """Whether the job was deleted; work on it should stop."""
        return self.state == "gone"

    @property
    def video(self) -> Path:
        """Path of the uploaded video."""
        return self.folder / worker.VIDEO

    def file(self, kind: str) -> Path:
        """Return the path of one of its files."""
        return self.folder / f"file.{kind}"


class Jobs:
    """The queue, and the processes that analyse the videos.

    Args:
        weights: A `.safetensors` file; None uses the weights of the package.
        limits: Limits of an upload.
        rules: Limits of the queue.
    """

    def __init__(self, weights: Path | None, limits: Limits | None = None, rules: Rules | None = None) -> None:
        self.limits = limits or Limits()
        self.rules = rules or Rules()
        self.root = Path()
        self._open = ExitStack()
        self.about: worker.About | None = None
        self._weights = None if weights is None else weights.absolute()
        self._jobs: dict[bytes, Job] = {}
        self._queue: deque[Job] = deque()
        self._lock = threading.Condition()
        self._closing = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Create the folder and the first process, and wait until it has loaded the weights.

        Raises:
            MienError: The weights cannot be used.
        """
        try:
            self.root = self._open.enter_context(files.private_folder(PREFIX)) / "jobs"
            self.root.mkdir(mode=0o700)
        except OSError as error:
            place = Path(tempfile.gettempdir())
            raise files.unwritable(place, error, "`TMPDIR=FOLDER mien serve`.") from None
        try:
            first = _Process(self)
            self.about = first.ready()
        except BaseException:
            self._open.close()
            raise
        processes: list[_Process | None] = [first, *[None] * (self.rules.workers - 1)]
        self._threads = [threading.Thread(target=self._work, args=(one,), daemon=True) for one in processes]
        self._threads.append(threading.Thread(target=self._tidy, daemon=True))
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End the processes and delete everything."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        for thread in self._threads:
            thread.join(timeout=10)
        self._open.close()
        self._jobs.clear()

    # Called by the server

    def reserve(self, name: str, size: int, fps: float | None = None, anyway: bool = False) -> Job:
        """Reserve a place in the queue for a video that is about to be sent.

        Args:
            name: File name given by the client.
            size: Size of the file in bytes.
            fps: True frame rate, if the client gave one.
            anyway: Name a class even if there are reasons not to.

        Raises:
            Refused: The file is too large (413), the queue is full (429), or the disk is full (507).
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
                        "again in a few minutes; your video was not sent.",
                    ),
                )
            promised = sum(job.size for job in self._jobs.values() if job.state == "sending")
            if shutil.disk_usage(self.root).free < promised + size + _SPARE:
                raise Refused(
                    507,
                    MienError("The disk of this machine is full.", "free space for the video.", "a shorter video."),
                )
            job = Job(secrets.token_urlsafe(24), shown_name(name), size, self.root / secrets.token_hex(12), fps, anyway)
            job.folder.mkdir(mode=0o700)
            self._jobs[_key(job.token)] = job
            self._drop_oldest()
            return job

    def get(self, token: str) -> Job | None:
        """Return the job of a token; None if there is none."""
        with self._lock:
            job = self._jobs.get(_key(token))
            if job is not None:
                job.touched = time.monotonic()
            return job

    def begin(self, job: Job) -> bool:
        """Start the upload of a job; return False if there was one already."""
        with self._lock:
            if job.state != "sending" or job.stage:
                return False
            job.stage = "sending"
            return True

    def submit(self, job: Job) -> None:
        """Put a job whose video is uploaded into the queue."""
        with self._lock:
            if job.state == "sending":
                job.state, job.stage, job.share = "waiting", "", None
                self._queue.append(job)
                self._lock.notify_all()

    def remove(self, job: Job) -> None:
        """Delete a job and its folder, and stop the work on it."""
        with self._lock:
            self._forget(job)
            self._lock.notify_all()

    def before(self, job: Job) -> int:
        """Return how many jobs wait before this one."""
        with self._lock:
            return self._queue.index(job) if job in self._queue else 0

    # Internal

    def _forget(self, job: Job) -> None:
        working = job.state in ("answering", "answered")
        job.state = "gone"
        self._jobs.pop(_key(job.token), None)
        with suppress(ValueError):
            self._queue.remove(job)
        if not working:  # otherwise its thread deletes the folder once nothing writes there any more
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
        """Run one process: give it jobs, receive its messages, replace it when it ends. One thread per process."""
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
        """Have one job analysed; return the process, or None if it had to be ended."""
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
        """Process one message; return True if it was the last of the job."""
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
                    # The video is deleted before anybody reads that all is ready.
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
            if job.state == "answered":  # the answer can be read; only some files are missing
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
            # The name tells these processes from others that the same program has started.
            target=worker.main, name=f"answers-{jobs.root.parent.name}",
            args=(theirs, jobs._weights, jobs.limits, jobs.root), daemon=True,
        )  # fmt: skip
        self._process.start()
        theirs.close()

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process.is_alive()

    def ready(self) -> worker.About:
        """Wait until the process has loaded the weights.

        Raises:
            MienError: The weights cannot be used, or the process ended.
        """
        connection.wait([self.pipe, self._process.sentinel])
        try:
            kind, content = self.pipe.recv()
        except (EOFError, OSError):
            raise MienError(
                "The process that analyses videos ended while it loaded the weights.",
                "weights that can be loaded.",
                "`mien card FILE`, to see whether the weights are readable.",
            ) from None
        if kind == "refused":
            self._process.join()
            raise content
        assert isinstance(content, worker.About)
        return content

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


def too_large(limits: Limits, size: int) -> MienError:
    """Return the error for a file that is too large."""
    # A number of hundreds of digits is no float.
    found = f"The file has {size / 2**20:,.0f} MiB." if size < 2**60 else "The file is said to have over 2^60 bytes."
    return MienError(found, f"at most {limits.mib:,.0f} MiB.", "a shorter part of the video.")


def _broken() -> MienError:
    return MienError(
        "The program that analysed this video ended unexpectedly.",
        "a video that can be decoded.",
        "another copy of the video, or the same video again.",
    )


def _key(token: str) -> bytes:
    """Return the key of a job. It is a hash, so that the time of a lookup reveals nothing about the token."""
    return hashlib.sha256(token.encode()).digest()
