"""Answers in a process of its own: a file that brings a decoder down does not bring the page down.

Messages to the process are a `Task`, or None to end. Messages from it are tuples: ("ready", About), ("refused", error)
once; then for each task ("stage", name, share), ("answer", names of its pictures), ("file", kind), and in the end
("done",), ("failed", error) or ("broken", text).
"""

from __future__ import annotations

import math
import os
import signal
import sys
import traceback
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mien.errors import MienError
from mien.web.intake import Limits, open_upload, too_long

if TYPE_CHECKING:
    from mien.recognition.naming import Namer

BODY: Final = "answer.html"
"""What the page shows of the answer."""

VIDEO: Final = "video"
"""Name of an upload in its folder, whatever the client calls it."""


@dataclass(frozen=True, slots=True)
class Task:
    """One question.

    Attributes:
        folder: Holds the film, as `VIDEO`; everything made goes there.
        name: What the client calls it.
        address: Where the page finds the pictures, with a slash at its end.
        fps: True frame rate; None takes the film's.
        anyway: Name classes even where there is a reason not to.
    """

    folder: Path
    name: str
    address: str
    fps: float | None = None
    anyway: bool = False


@dataclass(frozen=True, slots=True)
class About:
    """What must be said of the weights before anybody asks them.

    Attributes:
        weights: Name of their file.
        says: What they were trained on, how often they err, how often spotters do.
        licence: Terms of use; may be empty.
        isnot: What no answer is.
    """

    weights: str
    says: tuple[str, ...]
    licence: str
    isnot: str


def about(namer: Namer) -> About:
    """What must be said of some weights."""
    from mien.recognition import wording

    card = namer.card
    told = (wording.trained_on(card), wording.error_rate(card), wording.SPOTTING)
    return About(namer.path.name, told, str(card.licence or ""), wording.NOT)


def main(pipe: Connection, weights: Path | None, limits: Limits, folder: Path) -> None:
    """The process: opens the weights once, then answers until it is told to end or nobody listens any more."""
    # Ctrl-C reaches the whole group; the server decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.chdir(folder)
    import torch

    from mien.recognition.naming import open_namer

    # The networks are small: on a busy machine several threads wait for each other many times as long as one works.
    torch.set_num_threads(1)
    try:
        try:
            namer = open_namer(weights)
        except MienError as error:
            pipe.send(("refused", error))
            return
        pipe.send(("ready", about(namer)))
        while (task := pipe.recv()) is not None:
            pipe.send(_answered(task, namer, limits, pipe))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _answered(task: Task, namer: Namer, limits: Limits, pipe: Connection) -> tuple[object, ...]:
    try:
        answer(task, namer, limits, pipe)
    except MienError as error:
        return "failed", for_the_page(error, task)
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return "broken", f"{type(error).__name__}"
    return ("done",)


def answer(task: Task, namer: Namer, limits: Limits, pipe: Connection) -> None:
    """Answers one question: first what the page shows, then the files, then the film is deleted.

    Raises:
        MienError: The film is not one, or too long.
    """
    from mien import export as exports
    from mien.export.elan import write_eaf
    from mien.export.page import draw_events, page_body
    from mien.recognition import recognise

    video = task.folder / VIDEO
    seconds = 0

    def tell(stage: str, share: float) -> None:
        nonlocal seconds
        seconds += stage == "looking"  # told once for each second of film
        if math.isnan(share) and seconds > limits.seconds + 1:
            raise too_long(seconds, limits)
        pipe.send(("stage", stage, None if math.isnan(share) else share))

    tell("opening", math.nan)
    film = open_upload(video, limits, task.fps)
    true = recognise(film, namer, fps=task.fps, anyway=task.anyway, progress=tell)
    # The film itself is read from where it lies; everything that leaves tells only what the client calls it.
    true = replace(true, video=replace(true.video, source=str(video), name=Path(task.name).stem))
    told = replace(true, video=replace(true.video, source=task.name), weights=namer.path.name)
    drawn = draw_events(true, lambda share: pipe.send(("stage", "drawing", share)), namer)
    pictures: list[str] = []

    def keep(name: str, webp: bytes) -> str:
        (task.folder / name).write_bytes(webp)
        pictures.append(name)
        return task.address + name

    body = page_body(told, drawn, keep)
    (task.folder / BODY).write_text(body, encoding="utf-8")
    pipe.send(("answer", tuple(pictures)))
    for kind in exports.WRITERS:
        out = task.folder / f"file.{kind}"
        if kind == "eaf":
            write_eaf(told, out, beside=task.name)
        elif kind == "html":
            exports.write_page(told, out, drawn=drawn)
        elif kind == "mp4":
            continue  # below: it takes longest, and it alone needs the film
        else:
            exports.WRITERS[kind](told, out, lambda share: None)
        pipe.send(("file", kind))
    exports.write_mp4(true, task.folder / "file.mp4", lambda share: pipe.send(("stage", "marking", share)))
    pipe.send(("file", "mp4"))


def for_the_page(error: MienError, task: Task) -> MienError:
    """An error without places on this machine or commands to type, for a reader of the page."""
    hidden = {str(task.folder / VIDEO): task.name, f"{VIDEO!r}": f"{task.name!r}", str(task.folder): ""}

    def plain(text: str) -> str:
        for place, shown in hidden.items():
            text = text.replace(place, shown)
        return text

    fix = plain(error.fix)
    if "`--fps" in fix:
        fix = "its true frame rate, under Options."
    elif "`" in fix and "`mien recognise`" not in fix:
        fix = "another video, or another copy of this one."
    return MienError(plain(error.found), plain(error.expected), fix)
