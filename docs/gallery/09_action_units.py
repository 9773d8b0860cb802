"""Action units on a face.

Ten action units of a synthetic face, each alone, as the optical flow of the skin. `mien.synthesis` moves each unit
with a known strength and side.
"""

import numpy as np
from matplotlib.figure import Figure

from mien.motion.pictures import flow_colours
from mien.synthesis.face import draw_identity
from mien.synthesis.puppet import film, puppet
from mien.synthesis.rig import motion
from mien.synthesis.sensor import Sensor
from mien.synthesis.timeline import Timeline, movements_of

UNITS = ("1", "2", "4", "6", "9", "12", "L12", "15", "17", "20")


def draw() -> Figure:
    """The true flow of one unit each, over the face it moves."""
    rng = np.random.default_rng(7)
    body = puppet(draw_identity(rng, "photo"), width=147, height=180)
    face = next(iter(film(body, Timeline(12, 100), Sensor(), rng)))
    figure = Figure(figsize=(9, 4.7), layout="constrained")
    for axis, unit in zip(figure.subplots(2, 5).flat, UNITS, strict=True):
        timeline = Timeline(12, 100, movements_of(unit, onset=1, apex=6, offset=11, intensity=0.3))
        flow = motion(body.rig, timeline).flow(6)
        length = np.hypot(flow[..., 0], flow[..., 1])[..., None]
        strength = np.clip(length / length.max(), 0, 1) ** 0.6
        axis.imshow(((1 - strength) * face + strength * flow_colours(flow)).astype(np.uint8))
        axis.set_title(f"AU {unit}", fontsize=10)
        axis.axis("off")
    return figure
