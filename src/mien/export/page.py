"""An answer as one HTML file that loads nothing: timeline, pictures of every interval, and what it cannot say."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

import mien
from mien.errors import MienError
from mien.export.event_pictures import EventPictures, event_pictures, still
from mien.export.tables import write
from mien.io.video import open_video
from mien.recognition import wording
from mien.recognition.naming import Namer, open_namer
from mien.recognition.records import Answer, Event, Track

MOST_PICTURED: Final = 24
"""Intervals with pictures, the surest first; each takes about half a megabyte of the page."""

_WIDTH, _HEIGHT = 1000, 150


Address = Callable[[str, bytes], str]
"""Where a picture is to be found: told a name for its file and the file itself."""

Drawn = tuple[dict[str, EventPictures], list[str]]
"""Pictures by the name of their interval, and what is to be said about those that are missing."""


def write_page(
    answer: Answer,
    out: Path,
    progress: Callable[[float], None] | None = None,
    namer: Namer | None = None,
    drawn: Drawn | None = None,
) -> Path:
    """Writes the page.

    Args:
        answer: The answer.
        out: The file, `.html`.
        progress: Told how much is done, 0..1.
        namer: The weights, for saliency; None opens those of the answer.
        drawn: Its pictures, where they were drawn already.

    Raises:
        MienError: `out` cannot be written. A video that is gone costs the pictures only.
    """
    pictures = draw_events(answer, progress, namer) if drawn is None else drawn
    page = _rendered("answer.html.j2", answer, pictures, lambda name, webp: uri(webp))
    return write(out, page)


def page_body(answer: Answer, drawn: Drawn, address: Address) -> str:
    """What the page shows of an answer, without head, style and what must be said: for a page that brings these.

    Args:
        answer: The answer.
        drawn: Its pictures.
        address: Keeps a picture and tells where.
    """
    return _rendered("answer_body.html.j2", answer, drawn, address)


def _rendered(template: str, answer: Answer, drawn: Drawn, address: Address) -> str:
    environment = Environment(
        loader=PackageLoader("mien.export", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["clock"] = clock
    pictures, notes = drawn
    return environment.get_template(template).render(
        a=answer,
        tracks=[
            {
                "t": track,
                "timeline": timeline(answer, track),
                "events": [_shown(event, pictures, address) for event in track.events],
            }
            for track in answer.tracks
        ],
        says=says(answer),
        isnot=wording.NOT,
        local=wording.LOCAL,
        notes=[*answer.notes, *answer.video.problems, *notes],
        version=mien.__version__,
    )


def says(answer: Answer) -> list[str]:
    """What must stand above every answer."""
    told = [wording.trained_on(answer.card), wording.error_rate(answer.card)]
    return told + ([wording.SPOTTING] if answer.spotter else [])


def clock(seconds: float) -> str:
    """Seconds as `2:07.35`, or `7.35 s` below a minute."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:05.2f}" if hours else f"{minutes}:{rest:05.2f}"


def event_id(event: Event) -> str:
    """The name of an interval within the page."""
    return f"p{event.person}-f{event.onset.index}"


def draw_events(answer: Answer, progress: Callable[[float], None] | None = None, namer: Namer | None = None) -> Drawn:
    """Pictures of the surest intervals; arguments as for `write_page`."""
    tell = progress or (lambda share: None)
    source = answer.video
    chosen = sorted(answer.events, key=lambda e: (not e.probabilities, e.kind == "macro", -(e.score or math.inf)))
    notes = []
    if len(chosen) > MOST_PICTURED:
        notes.append(f"Pictures are shown of the {MOST_PICTURED} surest of {len(chosen)} intervals.")
    pictures: dict[str, EventPictures] = {}
    try:
        film = open_video(source.source, fps=None if source.variable_rate else source.fps)
        if namer is None and any(event.label for event in chosen):
            namer = open_namer(answer.weights)
    except MienError as error:
        return {}, [*notes, f"No pictures: {error.found}"] if chosen else notes
    for n, event in enumerate(chosen[:MOST_PICTURED]):
        try:
            pictures[event_id(event)] = event_pictures(film, event, namer, source.fps)
            notes += [note for note in pictures[event_id(event)].notes if note not in notes]
        except MienError as error:
            notes.append(f"No pictures of the interval at {clock(event.onset.seconds)}: {error.found}")
        tell((n + 1) / min(len(chosen), MOST_PICTURED))
    return pictures, notes


def _shown(event: Event, pictures: Mapping[str, EventPictures], address: Address) -> dict[str, Any]:
    """What the template shows of one interval."""
    name = event_id(event)
    drawn = pictures.get(name)
    stills: list[dict[str, str]] = []
    if drawn is not None:
        rows = [
            ("onset", drawn.onset, f"frame {event.onset.index}, {clock(event.onset.seconds)}"),
            ("apex", drawn.apex, f"frame {event.apex.index}, {clock(event.apex.seconds)}"),
            ("offset", drawn.offset, f"frame {event.offset.index}, {clock(event.offset.seconds)}"),
            ("flow, onset to apex", drawn.flow, f"full colour: {drawn.largest:.2f} pixels; hue: direction"),
            ("strain", drawn.strain, f"brightest: {drawn.most_strain:.3f}; how much the skin is stretched"),
        ]
        if drawn.saliency is not None:
            rows.append(("saliency", drawn.saliency, f"what counted for “{event.label}” in this network"))
        stills = [
            {"title": title, "uri": address(f"{name}-{title.partition(',')[0]}.webp", still(picture)), "text": text}
            for title, picture, text in rows
        ]
    return {
        "e": event,
        "id": name,
        "stills": stills,
        "loop": None if drawn is None else address(f"{name}-loop.webp", drawn.loop),
        "slower": 0.0 if drawn is None else drawn.slower,
        "shares": sorted(event.probabilities.items(), key=lambda item: -item[1]),
    }


def uri(webp: bytes) -> str:
    """A WebP file as an address that holds it."""
    return "data:image/webp;base64," + base64.b64encode(webp).decode()


def timeline(answer: Answer, track: Track) -> dict[str, Any]:
    """Coordinates of one person's timeline in a box of 1000 x 150, from the beginning to the end of the video."""
    last = max(answer.video.seconds, 1e-9)
    begin = 0.0
    if answer.spotter is None and track.trace is not None:
        # Of a given interval only its surroundings were looked at.
        begin = track.trace.first / answer.video.fps
        last = begin + len(track.trace.values) * track.trace.width / answer.video.fps
    span = max(last - begin, 1e-9)

    def x(seconds: float) -> float:
        return round(_WIDTH * min(max((seconds - begin) / span, 0), 1), 2)

    lines: list[str] = []
    most = 0.0
    if track.trace is not None:
        values = track.trace.values
        known = sorted(v for v in values if not math.isnan(v))
        # One blink or a passing hand must not flatten all the rest.
        most = known[min(len(known) - 1, int(0.998 * len(known)))] if known else 0.0
        lines = _lines(track, answer.video.fps, most or 1.0, x)
    return {
        "lines": lines,
        "most": most,
        "unit": "" if track.trace is None else track.trace.unit,
        "bars": [
            {
                "id": event_id(e), "kind": e.kind, "x": x(e.onset.seconds),
                "width": max(3.0, x(e.offset.seconds) - x(e.onset.seconds)), "apex": x(e.apex.seconds),
                "label": e.label, "text": f"{e.kind}, {clock(e.onset.seconds)}" + (f", {e.label}" if e.label else ""),
            }
            for e in track.events
        ],
        "gaps": [{"x": x(a.seconds), "width": max(1.0, x(b.seconds) - x(a.seconds))} for a, b in track.gaps],
        "ticks": [{"x": x(t), "text": clock(t).replace(".00", "")} for t in _ticks(begin, last)],
    }  # fmt: skip


def _lines(track: Track, fps: float, most: float, x: Callable[[float], float]) -> list[str]:
    """Paths between the stretches without a face."""
    assert track.trace is not None
    lines: list[str] = []
    points: list[str] = []
    for place, value in enumerate((*track.trace.values, math.nan)):
        if math.isnan(value):
            if len(points) > 1:
                lines.append("M" + "L".join(points))
            points = []
            continue
        seconds = (track.trace.first + (place + 0.5) * track.trace.width) / fps
        points.append(f"{x(seconds):.1f},{_HEIGHT - 30 - (_HEIGHT - 46) * min(value / most, 1):.1f}")
    return lines


def _ticks(begin: float, end: float) -> Sequence[float]:
    """Round times, about eight of them."""
    span = end - begin
    steps = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
    step = next((s for s in steps if span / s <= 8), steps[-1])
    first = math.ceil(begin / step)
    return [round(step * n, 3) for n in range(first, int(end / step) + 1)]
