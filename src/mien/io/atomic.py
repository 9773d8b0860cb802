"""Atomic writing of files, and a lock on the folder of a run."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mien.errors import MienError

UNFINISHED = ".part"
"""How the name of a file ends while it is being written."""

LOCK: Final = ".lock"
"""Lock file in the folder of a run: there while a process works on the run, or after it was killed."""

_YOUNG: Final = 10.0
"""Seconds for which an unfinished file without a lock is left alone: its writer may be about to lock it."""

_OPEN_FILES: Final = re.compile(r"/proc/(self|thread-self|\d+)(/task/\d+)?/fd|/dev/fd")
"""Folders of the files that a process has open; `/dev/stdout` is a link into one."""


def at_home(text: str | Path) -> Path:
    """A path as typed, `~` being the user's folder; what names no user stays as it is."""
    try:
        return Path(text).expanduser()
    except (RuntimeError, ValueError):
        return Path(text)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that no reader, and no crash, ever sees half of it.

    A symbolic link stays, and the file that it names is replaced. A pipe, a socket, `/dev/stdout` and whatever else is
    open in this process already are written to.

    Raises:
        OSError: No room, no right to write, or a device; what was there before stays.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replaced(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a file to write; when the block ends without an error, its content is at `path`, all of it at once.

    Folders above `path` are made. What `write_atomically` says of links, pipes and devices holds here too.

    Raises:
        OSError: As `write_atomically`.
    """
    target, stream = _target(Path(path))
    folder = Path(tempfile.gettempdir()) if stream else target.parent
    folder.mkdir(parents=True, exist_ok=True)
    begun, name = tempfile.mkstemp(dir=folder, prefix=_prefix(target), suffix=UNFINISHED)
    handle, temporary = _kept_open(begun), Path(name)
    try:
        yield temporary
        if stream:
            _send(temporary, target)
            temporary.unlink()
            return
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        # A temporary file is private; a result may be read by whoever the folder allows.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(target)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename in (name, temporary):
            with suppress(AttributeError):  # errors of PyAV cannot be changed
                error.filename = str(path)  # nobody knows the name in between
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    finally:
        if handle is not None:
            os.close(handle)


def _prefix(target: Path) -> str:
    # Names may be 255 bytes long: what is added must not make one too long.
    return f".{target.name[:50]}-"


def _kept_open(handle: int) -> int | None:
    """Lock an open file for as long as it is written, so that nobody takes it for a dead process's; None: closed."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        os.close(handle)
        return None
    return handle


def _sweep_dead(target: Path) -> None:
    """Delete what processes left that were killed while they wrote this file."""
    try:
        import fcntl
    except ImportError:
        return
    with suppress(OSError):
        for path in target.parent.iterdir():
            if not (path.name.startswith(_prefix(target)) and path.name.endswith(UNFINISHED)):
                continue
            with suppress(OSError), path.open("rb") as left:
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - path.stat().st_mtime > _YOUNG:
                    path.unlink()


def _target(path: Path) -> tuple[Path, bool]:
    """Return where a path leads, links followed, and whether that is written to rather than replaced.

    Raises:
        OSError: It is a folder or a device, or links lead in a circle.
    """
    for _ in range(40):
        folder = Path(os.path.realpath(path.parent))
        path = folder / path.name
        if _OPEN_FILES.fullmatch(str(folder)) and path.name.isdigit():
            path.stat()
            return path, True
        if not path.is_symlink():
            break
        path = folder / path.readlink()
    else:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return path, False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise OSError(errno.EINVAL, "it is a device", str(path))
    return path, not stat.S_ISREG(mode)


def is_stream(path: str | Path) -> bool:
    """Return whether a path leads to a pipe, a socket, or a file that is open already, such as `/dev/stdout`."""
    try:
        return _target(Path(path))[1]
    except (OSError, ValueError):
        return False


def _send(temporary: Path, target: Path) -> None:
    """Copy a file to a pipe, or to a file that is open already: behind what was written there before."""
    own = target.parent.name == "fd" and str(os.getpid()) in target.parts and target.name.isdigit()
    for printed in (sys.stdout, sys.stderr):
        if own and printed is not None:
            printed.flush()
    place = os.dup(int(target.name)) if own else os.open(target, os.O_WRONLY)
    with temporary.open("rb") as source, os.fdopen(place, "wb") as sink:
        shutil.copyfileobj(source, sink)


def require_writable_file(path: str | Path, fix: str) -> None:
    """Refuse a file that could not be written, before the work whose result it is to hold.

    Nothing is left behind: folders that are missing are made when the file is written.

    Args:
        path: The file.
        fix: What to type instead.

    Raises:
        MienError: A folder or a device stands there; the nearest folder above is none, may not be written to, or has no
            room.

    Example:
        >>> require_writable_file("/dev/null/answer.csv", "`--csv answer.csv`.")
        Traceback (most recent call last):
        mien.errors.MienError: '/dev/null' is not a folder. Expected: a folder to write into. Try: `--csv answer.csv`.
    """
    path = Path(path)
    try:
        target, stream = _target(path)
        if not stream:
            _try_folder(target.parent)
            _sweep_dead(target)
    except IsADirectoryError:
        raise MienError(f"{str(path)!r} is a folder.", "a file to write.", fix) from None
    except NotADirectoryError as error:
        raise MienError(f"{error.filename!r} is not a folder.", "a folder to write into.", fix) from None
    except (OSError, ValueError) as error:
        raise unwritable(path, error, fix) from None


def require_writable_folder(path: str | Path, fix: str) -> None:
    """Refuse a folder in which no file could be written, before the work whose results it is to hold.

    Args:
        path: The folder; it is not created.
        fix: What to type instead.

    Raises:
        MienError: It or the nearest folder above is none, may not be written to, or has no room.
    """
    try:
        _try_folder(Path(path))
    except NotADirectoryError as error:
        raise MienError(f"{error.filename!r} is not a folder.", "a folder to write into.", fix) from None
    except (OSError, ValueError) as error:
        raise unwritable(Path(path), error, fix) from None


def _try_folder(folder: Path) -> None:
    """Write a byte into a folder, or into the nearest one above that exists, and delete it."""
    nearest = folder.absolute()
    while True:
        try:
            nearest.lstat()
            break
        except (FileNotFoundError, NotADirectoryError):
            nearest = nearest.parent
    if not nearest.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(nearest))
    with tempfile.NamedTemporaryFile(dir=nearest, prefix=".mien-", suffix=UNFINISHED, buffering=0) as probe:
        probe.write(b"m")


def unwritable(path: Path, error: Exception, fix: str) -> MienError:
    """Return the error for a result that cannot be written.

    Args:
        path: The file or folder.
        error: What the machine said.
        fix: What to type.
    """
    said = getattr(error, "strerror", None) or error
    return MienError(f"{str(path)!r} cannot be written ({said}).", "a folder with room and the right to write.", fix)


@contextmanager
def writing(path: str | Path, fix: str) -> Iterator[None]:
    """Turn failures of the machine while results are written into a `MienError`.

    Args:
        path: The file or folder with the results.
        fix: What to type.

    Raises:
        MienError: Instead of OSError: no room, no right to write.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(Path(path), error, fix) from None


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


def is_locked(folder: Path) -> bool:
    """Return whether a process works on a run now."""
    try:
        import fcntl

        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except (ImportError, OSError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


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


@contextmanager
def private_folder(prefix: str, place: Path | None = None) -> Iterator[Path]:
    """Yield a new temporary folder that is deleted when the block ends; and delete those of killed processes.

    A folder belongs to the process that has locked it. Its number alone would not do: numbers are used again, in a
    container that starts anew even by the same program.

    Args:
        prefix: How the name begins; folders that begin so are swept.
        place: Where; None takes the place for temporary files.
    """
    place = Path(tempfile.gettempdir()) if place is None else place
    sweep_left_behind(prefix, place)
    # Under a name that is not swept until it is locked.
    folder = Path(tempfile.mkdtemp(prefix=f".{prefix}{os.getpid()}-", dir=place))
    handle = None
    try:
        handle = _locked(folder, "")
        folder = folder.rename(folder.with_name(folder.name[1:]))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def sweep_left_behind(prefix: str, place: Path) -> None:
    """Delete the folders of `private_folder` whose process was killed: this user's only, and none that is locked."""
    for folder in place.glob(f"{prefix}*-*"):
        number = folder.name.removeprefix(prefix).split("-")[0]
        with suppress(OSError):
            if number.isdigit() and not folder.is_symlink() and folder.stat().st_uid == os.getuid():
                _delete_if_left(folder, int(number))


def _delete_if_left(folder: Path, number: int) -> None:
    try:
        import fcntl

        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except ImportError:
        return
    except FileNotFoundError:  # of a version, or on a file system, without locks
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its process lives
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)
