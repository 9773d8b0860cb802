"""Write an answer as one HTML file that loads nothing else: timeline, pictures of the intervals, and cautions."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

import mien
from mien.errors import MienError
from mien.evaluation.glossary import Words
from mien.export.event_pictures import EventPictures, event_pictures, still
from mien.export.face_drawing import face_drawing, in_words
from mien.export.tables import write
from mien.io.video import open_video
from mien.recognition import wording
from mien.recognition.naming import Namer, open_namer
from mien.recognition.records import Answer, Event, Track, VideoFacts

MOST_PICTURED: Final = 24
"""Number of intervals that get pictures, those with the highest scores first. Each adds about half a megabyte."""

_WIDTH, _HEIGHT = 1000, 150


Address = Callable[[str, bytes], str]
"""Stores a picture, given its file name and its content, and returns the address for the page."""

Drawn = tuple[dict[str, EventPictures], list[str]]
"""Pictures by the id of their interval, and notes on missing pictures."""


def write_page(
    answer: Answer,
    out: Path,
    progress: Callable[[float], None] | None = None,
    namer: Namer | None = None,
    drawn: Drawn | None = None,
) -> Path:
    """Write an answer as one HTML page.

    Args:
        answer: The answer.
        out: The file, `.html`.
        progress: Called with the progress, 0 to 1.
        namer: The weights, for saliency; None opens those of the answer.
        drawn: The pictures, if `draw_events` has drawn them already.

    Returns:
        `out`.

    Raises:
        MienError: `out` cannot be written. If the video was deleted, only the pictures are missing.

    Example:
        >>> path = write_page(answer, Path("face.html"))  # answer = mien.recognise("face.mkv")
        >>> path.read_text(encoding="utf-8")[:15]
        '<!doctype html>'
    """
    pictures = draw_events(answer, progress, namer) if drawn is None else drawn
    page = _rendered("answer.html.j2", answer, pictures, lambda name, webp: uri(webp))
    return write(out, page)


def page_body(answer: Answer, drawn: Drawn, address: Address) -> str:
    """Return the part of the page that shows the answer, without head, style and cautions, for another page.

    Args:
        answer: The answer.
        drawn: The pictures, from `draw_events`.
        address: Stores a picture and returns its address.
    """
    return _rendered("answer_body.html.j2", answer, drawn, address)


def _rendered(template: str, answer: Answer, drawn: Drawn, address: Address) -> str:
    environment = Environment(
        loader=PackageLoader("mien.export", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["clock"] = clock
    environment.globals["words"] = Words()
    pictures, notes = drawn
    return environment.get_template(template).render(
        a=answer,
        tracks=[
            {
                "t": track,
                "timeline": timeline(answer, track),
                "events": [_shown(event, answer, pictures, address) for event in track.events],
            }
            for track in answer.tracks
        ],
        says=says(answer),
        columns=wording.COLUMNS,
        heading=wording.heading,
        caution=wording.SHORT,
        isnot=wording.NOT,
        local=wording.LOCAL,
        notes=[*answer.notes, *answer.video.problems, *notes],
        version=mien.__version__,
    )


def says(answer: Answer) -> list[str]:
    """Return the cautions that are shown above every answer."""
    units = wording.unit_weights(answer.unit_card, answer.units_off)
    cautions = [units, wording.trained_on(answer.card), wording.error_rate(answer.card)]
    return [text for text in (*cautions, wording.SPOTTING if answer.spotter else "") if text]


def clock(seconds: float) -> str:
    """Format seconds as `2:07.35`, or as `7.35 s` below a minute.

    Example:
        >>> clock(127.35), clock(7.35)
        ('2:07.35', '7.35 s')
    """
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:05.2f}" if hours else f"{minutes}:{rest:05.2f}"


def event_id(event: Event) -> str:
    """Return the id of an interval within the page."""
    return f"p{event.person}-f{event.onset.index}"


def draw_events(answer: Answer, progress: Callable[[float], None] | None = None, namer: Namer | None = None) -> Drawn:
    """Draw the intervals with the highest scores.

    Args:
        answer: The answer.
        progress: Called with the progress, 0 to 1.
        namer: The weights, for saliency; None opens those of the answer.

    Returns:
        Pictures by the id of their interval, and notes on missing pictures.
    """
    report = progress or (lambda share: None)
    source = answer.video
    chosen = sorted(answer.events, key=lambda e: (not e.probabilities, e.kind == "macro", -(e.score or math.inf)))
    notes = []
    if len(chosen) > MOST_PICTURED:
        notes.append(f"Pictures are shown for {MOST_PICTURED} of {len(chosen)} intervals, those with the best scores.")
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
        report((n + 1) / min(len(chosen), MOST_PICTURED))
    return pictures, notes


def _shown(event: Event, answer: Answer, pictures: Mapping[str, EventPictures], address: Address) -> dict[str, Any]:
    """Return what the template shows of one interval."""
    name = event_id(event)
    drawn = pictures.get(name)
    stills: list[dict[str, str]] = []
    if drawn is not None:
        rows = [
            ("onset", drawn.onset, f"frame {event.onset.index}, {clock(event.onset.seconds)}"),
            ("apex", drawn.apex, f"frame {event.apex.index}, {clock(event.apex.seconds)}"),
            ("offset", drawn.offset, f"frame {event.offset.index}, {clock(event.offset.seconds)}"),
            (
                "flow, onset to apex",
                drawn.flow,
                f"motion of the skin: the hue is its direction, the full colour a motion of {drawn.largest:.1f} pixels",
            ),
            (
                "strain",
                drawn.strain,
                f"stretching of the skin: the brightest colour is {100 * drawn.most_strain:.1f} %",
            ),
        ]
        if drawn.saliency is not None:
            rows.append(("saliency", drawn.saliency, f"where the network found “{event.label}”"))
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
        "drawing": face_drawing(event.units) if event.units else None,
        "units": [
            {"u": unit, "words": in_words(unit), "right": wording.right_on_real(answer.unit_card, unit.unit)}
            for unit in sorted(event.units, key=lambda unit: (not unit.present, -unit.probability))
        ],
        "title": " + ".join(unit.code for unit in sorted(event.moved, key=lambda unit: unit.unit)) or event.said,
    }


def uri(webp: bytes) -> str:
    """Return a WebP file as a data URI.

    Example:
        >>> uri(b"abc")
        'data:image/webp;base64,YWJj'
    """
    return "data:image/webp;base64," + base64.b64encode(webp).decode()


def timeline(answer: Answer, track: Track) -> dict[str, Any]:
    """Return the coordinates of one person's timeline, in a box of 1000 x 150 units that spans the whole video."""
    start = answer.video.start
    begin, last = start, start + answer.video.seconds
    if answer.spotter is None and track.trace is not None:
        # If the interval was given, only its surroundings were read.
        begin = start + track.trace.first / answer.video.fps
        last = begin + len(track.trace.values) * track.trace.width / answer.video.fps
    span = max(last - begin, 1e-9)

    def x(seconds: float) -> float:
        return round(_WIDTH * min(max((seconds - begin) / span, 0), 1), 2)

    lines: list[str] = []
    most = 0.0
    if track.trace is not None:
        values = track.trace.values
        known = sorted(v for v in values if not math.isnan(v))
        # A single blink or a hand before the face must not flatten the rest of the line.
        most = known[min(len(known) - 1, int(0.998 * len(known)))] if known else 0.0
        lines = _lines(track, answer.video, most or 1.0, x)
    return {
        "lines": lines,
        "most": most,
        "unit": "" if track.trace is None else track.trace.unit,
        "bars": [
            {
                "id": event_id(e), "kind": e.kind, "x": x(e.onset.seconds),
                "width": max(3.0, x(e.offset.seconds) - x(e.onset.seconds)), "apex": x(e.apex.seconds),
                "label": e.label,
                "text": ", ".join(filter(None, (e.kind, clock(e.onset.seconds), *(u.code for u in e.moved), e.said))),
            }
            for e in track.events
        ],
        "gaps": [{"x": x(a.seconds), "width": max(1.0, x(b.seconds) - x(a.seconds))} for a, b in track.gaps],
        "ticks": [{"x": x(t), "text": clock(t).replace(".00", "")} for t in _ticks(begin, last)],
    }  # fmt: skip


def _lines(track: Track, video: VideoFacts, most: float, x: Callable[[float], float]) -> list[str]:
    """Return the paths of the trace, interrupted where the face is out of view."""
    assert track.trace is not None
    lines: list[str] = []
    points: list[str] = []
    for place, value in enumerate((*track.trace.values, math.nan)):
        if math.isnan(value):
            if len(points) > 1:
                lines.append("M" + "L".join(points))
            points = []
            continue
        seconds = video.start + (track.trace.first + (place + 0.5) * track.trace.width) / video.fps
        points.append(f"{x(seconds):.1f},{_HEIGHT - 30 - (_HEIGHT - 46) * min(value / most, 1):.1f}")
    return lines


def _ticks(begin: float, end: float) -> Sequence[float]:
    """Return about eight round times between two times."""
    span = end - begin
    steps = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
    step = next((s for s in steps if span / s <= 8), steps[-1])
    first = math.ceil(begin / step)
    return [round(step * n, 3) for n in range(first, int(end / step) + 1)]
