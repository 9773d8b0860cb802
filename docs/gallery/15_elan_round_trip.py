"""From mien to ELAN and back.

Answers are written as tiers for ELAN, where a human coder can correct them. Here an answer with two expressions is
written as `.eaf` and read back with pympi; the picture shows its tiers over time.
"""

import tempfile
from pathlib import Path
from textwrap import fill

from matplotlib.figure import Figure
from pympi import Eaf

import mien
from mien.export.elan import write_eaf
from mien.recognition.records import Answer, Event, Moment, Place, Reason, Track, VideoFacts

EYES = (124.0, 110.0, 198.0, 110.0)


def event(onset: int, apex: int, offset: int, shares: dict[str, float]) -> Event:
    """An expression of person 1, in frames at 100 per second; a macro-expression has no class."""
    moments = [Moment(frame, frame / 100) for frame in (onset, apex, offset)]
    why = () if shares else (Reason("macro", "It lasts longer than half a second."),)
    return Event(1, "micro" if shares else "macro", *moments, False, False, 1.5, shares, why, (), EYES)


def draw() -> Figure:
    """The tiers of the file over time."""
    events = (event(40, 50, 62, {"negative": 0.2, "positive": 0.7, "surprise": 0.1}), event(80, 110, 150, {}))
    track = Track(1, Moment(0, 0.0), Moment(179, 1.79), 180, 74.0, (), (Place(0, EYES),), events, None)
    video = VideoFacts("interview.mp4", "interview", 240, 320, 180, 1.79, 100.0, False)
    answer = Answer(video, (track,), "flow-peaks", "shipped", mien.read_card("shipped"))
    with tempfile.TemporaryDirectory() as folder:
        tiers = Eaf(str(write_eaf(answer, Path(folder) / "answer.eaf")))
        spans = {name: tiers.get_annotation_data_for_tier(name) for name in tiers.get_tier_names()}
    spans = {name: found for name, found in spans.items() if found}
    figure = Figure(figsize=(8, 0.45 * len(spans) + 0.8), layout="constrained")
    axis = figure.subplots()
    for row, found in enumerate(reversed(spans.values())):
        for first, last, text, *_ in found:
            axis.barh(row, (last - first) / 1000, left=first / 1000, color="#99d5cd", edgecolor="#0f766e", height=0.7)
            axis.text(first / 1000 + 0.01, row, fill(text, 30), va="center", fontsize=7, clip_on=True)
    axis.set_yticks(range(len(spans)), list(reversed(spans)), fontsize=8)
    axis.set(xlabel="seconds", xlim=(0.3, 1.8))
    axis.spines[["top", "right"]].set_visible(False)
    return figure
