"""The process that analyses videos. It is separate so that a file which crashes the decoder does not crash the page.

Messages to the process are a `Task`, or None to end it. Messages from the process are tuples. First ("ready", About) or
("refused", error). Then for each task ("stage", name, share), ("answer", names of its pictures), ("file", kind), and at
last ("done",), ("failed", error) or ("broken", text).
"""

from __future__ import annotations

import math
import os
import shutil
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
    from mien.recognition.units import UnitReader

DOWNLOADS: Final = ("csv", "json", "eaf", "html")
"""Kinds of files that are offered besides the marked video, which is written last: it takes the longest."""

BODY: Final = "answer.html"
"""File of the HTML that the page shows."""

VIDEO: Final = "video"
"""File of the upload in the folder of its job; the name given by the client is not used."""


@dataclass(frozen=True, slots=True)
class Task:
    """One video to analyse.

    Attributes:
        folder: Folder of the job: contains the video as `VIDEO` and receives all results.
        name: File name given by the client.
        address: Address of the pictures for the page, with a slash at the end.
        fps: True frame rate; None uses that of the file.
        anyway: Name a class even if there are reasons not to.
    """

    folder: Path
    name: str
    address: str
    fps: float | None = None
    anyway: bool = False


@dataclass(frozen=True, slots=True)
class About:
    """The texts about the weights that the page shows.

    Attributes:
        weights: File name of the weights.
        says: What they were trained on, how often they are wrong, how well spotters do; shown with an answer.
        licence: Licence of the weights; may be "".
        caution: The caution in one line; always shown.
        isnot: The whole caution.
    """

    weights: str
    says: tuple[str, ...]
    licence: str
    caution: str
    isnot: str


def about(namer: Namer, units: UnitReader) -> About:
    """Return the texts about some weights, and about those for action units."""
    from mien.recognition import wording

    card = namer.card
    says = (
        wording.unit_weights(units.card, units.off),
        wording.trained_on(card),
        wording.error_rate(card),
        wording.SPOTTING,
    )
    return About(namer.path.name, says, str(card.licence or ""), wording.SHORT, wording.NOT)


def main(pipe: Connection, weights: Path | None, limits: Limits, folder: Path) -> None:
    """Run the process: load the weights once, then analyse videos until asked to end or until the server is gone."""
    # Ctrl-C reaches all processes of the group; the server decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.chdir(folder)
    import torch

    from mien.recognition.naming import open_namer
    from mien.recognition.units import open_units

    # The networks are small: on a busy machine, several threads are many times slower than one.
    torch.set_num_threads(1)
    try:
        try:
            namer, units = open_namer(weights), open_units()
        except MienError as error:
            pipe.send(("refused", error))
            return
        pipe.send(("ready", about(namer, units)))
        while (task := pipe.recv()) is not None:
            pipe.send(_answered(task, namer, units, limits, pipe))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # The server was killed; of the videos that it was sent, nothing stays.
        os.chdir(folder.parent.parent)
        shutil.rmtree(folder.parent, ignore_errors=True)


def _answered(task: Task, namer: Namer, units: UnitReader, limits: Limits, pipe: Connection) -> tuple[object, ...]:
    try:
        answer(task, namer, units, limits, pipe)
    except MienError as error:
        return "failed", for_the_page(error, task)
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return "broken", f"{type(error).__name__}"
    return ("done",)


def answer(task: Task, namer: Namer, units: UnitReader, limits: Limits, pipe: Connection) -> None:
    """Analyse one video: first write what the page shows, then the files to download.

    Raises:
        MienError: The file is not a video, or is too long.
    """
    from mien import export as exports
    from mien.export.elan import write_eaf
    from mien.export.page import draw_events, page_body
    from mien.recognition import recognise

    video = task.folder / VIDEO
    seconds = 0

    def report(stage: str, share: float) -> None:
        nonlocal seconds
        seconds += stage == "looking"  # called once for each second of video
        if math.isnan(share) and seconds > limits.seconds + 1:
            raise too_long(seconds, limits)
        pipe.send(("stage", stage, None if math.isnan(share) else share))

    report("opening", math.nan)
    film = open_upload(video, limits, task.fps)
    inside = recognise(film, namer, fps=task.fps, anyway=task.anyway, progress=report, unit_weights=units)
    # `inside` has the path of the video on this machine; everything the client gets has the client's file name only.
    inside = replace(inside, video=replace(inside.video, source=str(video), name=Path(task.name).stem))
    outside = replace(
        inside, video=replace(inside.video, source=task.name), weights=namer.path.name, unit_weights=units.path.name
    )
    drawn = draw_events(inside, lambda share: pipe.send(("stage", "drawing", share)), namer)
    pictures: list[str] = []

    def keep(name: str, webp: bytes) -> str:
        (task.folder / name).write_bytes(webp)
        pictures.append(name)
        return task.address + name

    body = page_body(outside, drawn, keep)
    (task.folder / BODY).write_text(body, encoding="utf-8")
    pipe.send(("answer", tuple(pictures)))
    for kind in DOWNLOADS:
        out = task.folder / f"file.{kind}"
        if kind == "eaf":
            write_eaf(outside, out, beside=task.name)
        elif kind == "html":
            exports.write_page(outside, out, drawn=drawn)
        else:
            exports.WRITERS[kind](outside, out, lambda share: None)
        pipe.send(("file", kind))
    exports.write_mp4(inside, task.folder / "file.mp4", lambda share: pipe.send(("stage", "marking", share)))
    pipe.send(("file", "mp4"))


def for_the_page(error: MienError, task: Task) -> MienError:
    """Return an error for the reader of the page: without paths of this machine, and without commands to type."""
    hidden = {str(task.folder / VIDEO): task.name, f"{VIDEO!r}": f"{task.name!r}", str(task.folder): ""}

    def plain(text: str) -> str:
        for place, shown in hidden.items():
            text = text.replace(place, shown)
        return text

    fix = plain(error.fix)
    if "`--fps" in fix:
        fix = "the true frame rate, under Options."
    elif "`" in fix and "`mien recognise`" not in fix:
        fix = "another video, or another copy of this video."
    return MienError(plain(error.found), plain(error.expected), fix)
