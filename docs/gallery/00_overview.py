"""What mien does, in one picture.

Between onset and apex of this video, the corners of the mouth rise by about a pixel. Magnification makes the movement
visible, optical flow measures it, and the weights in the package name the action units that moved.
"""

import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import mien
from mien.io.video import write_video
from mien.motion.pictures import flow_colours
from mien.synthesis.face import draw_identity
from mien.synthesis.puppet import film, puppet
from mien.synthesis.sensor import Sensor
from mien.synthesis.timeline import Timeline, movements_of
from mien.types import Interval


def draw() -> Figure:
    """Onset, apex, apex magnified, flow, and the answer about action units."""
    rng = np.random.default_rng(4)
    body = puppet(draw_identity(rng, "photo"), width=360, height=441)
    timeline = Timeline(60, 200, movements_of("6+12", onset=10, apex=30, offset=50, intensity=0.1))
    frames = np.stack(list(film(body, timeline, Sensor(), rng)))
    with tempfile.TemporaryDirectory() as folder:
        video = write_video(Path(folder) / "smile.mkv", iter(frames), 200)
        answer = mien.recognise(video, interval=Interval(10, 30, 50), anyway=True)
    grey = frames.mean(-1)
    pictures = {
        "onset": frames[10],
        "apex, 0.1 s later": frames[30],
        "apex, magnified": mien.magnify(frames, alpha=14)[30],
        "optical flow": flow_colours(mien.optical_flow(grey[10], grey[30], method="tvl1")),
    }
    figure = Figure(figsize=(12, 3.3), layout="constrained")
    axes = figure.subplots(1, 5, width_ratios=(1, 1, 1, 1, 1.1))
    for axis, (title, picture) in zip(axes, pictures.items(), strict=False):
        axis.imshow(picture)
        axis.set_title(title)
        axis.axis("off")
    units = sorted(answer.events[0].units, key=lambda unit: unit.probability)[-6:]
    axes[4].barh(
        [f"AU{unit.unit}" for unit in units],
        [unit.probability for unit in units],
        color=["#5eb8ac" if unit.present else "#cbd5d1" for unit in units],
    )
    for place, unit in enumerate(units):
        axes[4].text(0.03, place, unit.name, va="center", fontsize=9)
    axes[4].set(xlim=(0, 1), title="probability that it moved")
    axes[4].spines[["top", "right"]].set_visible(False)
    return figure
