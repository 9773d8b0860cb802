"""`mien watch`: expressions of a camera as they happen, in the terminal."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mien.cli.inputs import Fps
from mien.cli.recognise import SpotterName, Weights
from mien.cli.shell import Json, Terminated, out, print_json, say
from mien.errors import MienError

if TYPE_CHECKING:
    from mien.recognition.live import Status
    from mien.recognition.records import Event

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_WIDTH: Final = 72
_LAST: Final = 8


def watch(
    camera: Annotated[int | None, typer.Option(help="Number of the camera; the first is 0.")] = None,
    file: Annotated[str | None, typer.Option(help="A video to play as if it were a camera.")] = None,
    weights: Weights = None,
    spotter: SpotterName = None,
    fps: Fps = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after this many seconds.")] = None,
    every_frame: Annotated[
        bool, typer.Option("--every-frame", help="Analyse every frame of a file, even if slower than real time.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Watch a camera and show expressions as they happen."""
    from rich.live import Live

    from mien.io.video import open_video
    from mien.recognition.live import watch as run
    from mien.recognition.naming import open_namer
    from mien.recognition.units import open_units

    if camera is not None and file is not None:
        raise MienError("A camera and a file were given.", "one of them.", "`mien watch --camera 0`.")
    namer = open_namer(weights)
    film = open_video(file if file is not None else camera or 0, fps=fps)
    states = run(film, namer, spotter=spotter, real_time=not every_frame, seconds=seconds, units=open_units())
    trace: deque[float] = deque(maxlen=_WIDTH)
    events: deque[Event] = deque(maxlen=_LAST)
    last: Status | None = None
    total = 0
    if as_json:
        for last in states:
            for event in last.events:
                total += 1
                print_json({**asdict(event), "label": event.label}, indent=None)
        print_json(_end(last, total, film.name), indent=None)
        return
    with Live(console=out, refresh_per_second=10, transient=False) as live:
        try:
            for last in states:
                trace.append(last.movement)
                events.extend(last.events)
                total += len(last.events)
                live.update(_screen(film.name, last, trace, events, namer.card))
        except Terminated:
            raise
        except KeyboardInterrupt:
            pass
    if last is not None:
        end = _end(last, total, film.name)
        say(f"{end['n_frames']} frames in {last.seconds:.1f} s, {end['dropped']} dropped, {total} short expression(s).")


def _end(last: Status | None, total: int, name: str) -> dict[str, Any]:
    if last is None:
        return {"end": name, "n_frames": 0, "dropped": 0, "events": 0}
    return {
        "end": name, "n_frames": last.n_frames, "dropped": last.dropped, "seconds": last.seconds, "fps": last.fps,
        "events": total, "reasons": [asdict(reason) for reason in last.reasons],
    }  # fmt: skip


def _screen(name: str, now: Status, trace: deque[float], events: deque[Event], card: Any) -> RenderableType:
    from mien.recognition import wording

    head = Text.assemble(
        (name, "bold"), f"  {now.seconds:6.1f} s  {now.fps:.0f} frames per second  ",
        (f"{now.dropped} dropped", "yellow" if now.dropped else "dim"), f"  {1000 * now.behind:.0f} ms behind",
    )  # fmt: skip
    if now.people:
        who = Text(f"{now.people} in view, eyes {now.eye_distance:.0f} pixels apart", "dim")
    else:
        who = Text("no face in view", "yellow")
    parts: list[RenderableType] = [head, who, Text(spark(list(trace)), "cyan")]
    parts += [Text(f"{wording.heading(reason.about)} {reason.text}", "yellow") for reason in now.reasons]
    table = Table(box=None, padding=(0, 2), show_header=False)
    for event in reversed(events):
        named = Text("not named")
        if event.tied:
            named = Text.assemble((event.said, "bold"), f" {event.probabilities[event.tied[0]]:.2f}")
        moved = "+".join(unit.code for unit in event.moved)
        why = event.abstained[0].text if event.abstained else ""
        table.add_row(
            f"{event.onset.seconds:.2f} s", f"{1000 * event.seconds:.0f} ms", f"person {event.person}", moved, named,
            Text(why, "dim"),
        )  # fmt: skip
    parts += [table if events else Text("nothing yet", "dim")]
    parts.append(Text(f"{wording.trained_on(card)} {wording.error_rate(card)} {wording.NOT}", "dim"))
    return Group(*parts)


def spark(values: list[float]) -> str:
    """Return numbers as a line of block characters, with a dot where there is no face."""
    known = [v for v in values if not math.isnan(v)]
    most = max(known, default=0.0)
    steps = len(_BLOCKS) - 1
    return "".join("·" if math.isnan(v) else _BLOCKS[round(steps * v / most) if most > 0 else 0] for v in values)
