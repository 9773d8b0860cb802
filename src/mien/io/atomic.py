"""Atomic writing of files, and a lock on the folder of a run."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mien.errors import MienError

UNFINISHED = ".part"
"""How the name of a file ends while it is being written."""

LOCK: Final = ".lock"
"""Lock file in the folder of a run: there while a process works on the run, or after it was killed."""


def at_home(text: str | Path) -> Path:
    """A path as typed, `~` being the user's folder; what names no user stays as it is."""
    try:
        return Path(text).expanduser()
    except (RuntimeError, ValueError):
        return Path(text)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that no reader, and no crash, ever sees half of it.

    Raises:
        OSError: No room, or no right to write; what was there before stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode("utf-8") if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        # A temporary file is private; a result may be read by whoever the folder allows.
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink(missing_ok=True)
        raise


def unwritable(path: Path, error: Exception, fix: str) -> MienError:
    """Return the error for a result that cannot be written.

    Args:
        path: The file or folder.
        error: What the machine said.
        fix: What to type.
    """
    said = getattr(error, "strerror", None) or error
    return MienError(f"{str(path)!r} cannot be written ({said}).", "a folder with room and the right to write.", fix)


def sweep(folder: Path) -> None:
    """Delete the unfinished files that a killed process left in a folder that is locked by this one."""
    for path in folder.rglob(f".*{UNFINISHED}"):
        with suppress(OSError):
            path.unlink()


@contextmanager
def lock_run(folder: Path, meanwhile: str = "") -> Iterator[bool]:
    """Lock the folder of a run until the block ends or the process dies; the folder is created if it is missing.

    The lock is the operating system's: it ends with the process, however that dies. Where such locks do not exist
    (Windows, some network file systems), or the folder is read-only, the block runs without a lock. Files are written
    atomically, so two processes at once do no harm beyond doing the same work twice.

    Args:
        folder: The folder.
        meanwhile: What to do while another process works on it, for the error; "" is about a run of `mien benchmark`.

    Yields:
        Whether the folder is locked.

    Raises:
        MienError: Another process has locked it.
    """
    handle = _locked(Path(folder), meanwhile or f"`mien report {folder}` shows its progress")
    try:
        yield handle is not None
    finally:
        if handle is not None:
            with suppress(OSError):  # before the lock goes: whoever waits for this file must look for a new one
                (folder / LOCK).unlink()
            os.close(handle)


def _locked(folder: Path, meanwhile: str) -> int | None:
    """Return the open file that holds the lock; None where locking is impossible."""
    try:
        import fcntl
    except ImportError:
        return None
    path = folder / LOCK
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(handle).st_ino:
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
                return handle
        except BlockingIOError:
            who = os.pread(handle, 200, 0).decode("utf-8", "replace")
            os.close(handle)
            raise MienError(
                f"Another process is at work on {str(folder)!r}" + (f": {who}." if who else "."),
                "one at a time.",
                f"waiting until it ends, or another --out; {meanwhile}.",
            ) from None
        except FileNotFoundError:
            pass  # whoever had it has just ended
        except OSError:
            os.close(handle)
            return None
        os.close(handle)


def sweep_left_behind(prefix: str, place: Path) -> None:
    """Deletes folders of programs that were killed before they could: those named by `prefix`, their number, a dash.

    Only this user's, and only where no process has the number any more.
    """
    if os.name != "posix":  # elsewhere asking whether a process lives may end it
        return
    for folder in place.glob(f"{prefix}*-*"):
        number = folder.name.removeprefix(prefix).split("-")[0]
        try:
            if not number.isdigit() or folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            os.kill(int(number), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
