"""Where in a video something moves.

A spotter follows regions of the skin through a whole video. The curve is the motion of the face within a tenth of a
second. The upper bars are the detected expressions, the lower bars the true ones of the synthetic face. Blinks are
recognised and left out.
"""

import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import mien
from mien.io.video import write_video
from mien.synthesis.face import draw_identity
from mien.synthesis.puppet import film, puppet
from mien.synthesis.sensor import Sensor
from mien.synthesis.shape import Crop
from mien.synthesis.timeline import Blink, Head, Timeline, movements_of

FPS, SECONDS = 100, 4.5
MICRO, MACRO = "#0f766e", "#b45309"
SHOWN = (
    ("1+2", 70, 90, 110, "micro", 0.25),
    ("6+12", 220, 280, 370, "macro", 0.7),
)


def draw() -> Figure:
    """Raised brows for less than half a second, a smile, and two blinks."""
    movements = [
        movement
        for units, onset, apex, offset, kind, intensity in SHOWN
        for movement in movements_of(units, onset=onset, apex=apex, offset=offset, intensity=intensity, kind=kind)
    ]
    blinks = (Blink(160, 165, 178), Blink(410, 415, 428))
    timeline = Timeline(int(FPS * SECONDS), FPS, tuple(movements), blinks, head=Head(drift=0.002))
    crop = Crop(4.0, 3.0, 0.4)
    body = puppet(draw_identity(np.random.default_rng(0), "photo"), crop=crop, width=320, height=240, colour=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mkv"
        write_video(path, film(body, timeline, Sensor(), np.random.default_rng(1)), FPS)
        (track,) = mien.recognise(path).tracks
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    curve, bars = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    trace = track.trace
    if trace is not None:
        seconds = (trace.first + trace.width * (np.arange(len(trace.values)) + 0.5)) / FPS
        curve.plot(seconds, 100 * np.array(trace.values), color="#334155", linewidth=1)
    curve.set(ylabel="motion, % of the\ndistance between the eyes", ylim=(0, None))
    found = [(e.kind, e.onset.index, e.offset.index) for e in track.events]
    shown = [(kind, onset, offset) for _, onset, _, offset, kind, _ in SHOWN]
    for row, spans in ((1, found), (0, shown)):
        for kind, onset, offset in spans:
            colour = MICRO if kind == "micro" else MACRO
            bars.barh(row, (offset - onset) / FPS, left=onset / FPS, height=0.7, color=colour)
            bars.text((onset + offset) / 2 / FPS, row, kind, ha="center", va="center", fontsize=7, color="white")
    for blink in blinks:
        curve.text(blink.apex / FPS, 1.4, "blink", fontsize=7, ha="center", color="#64748b")
    bars.set_yticks([0, 1], ["shown", "found"])
    bars.set(xlabel="seconds", xlim=(0, SECONDS), ylim=(-0.6, 1.6))
    for axis in (curve, bars):
        axis.spines[["top", "right"]].set_visible(False)
    return figure
