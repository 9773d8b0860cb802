"""A magnified strip.

Motion magnification enlarges changes that are too small to see. Below each frame is the same frame magnified. On the
right, one row of pixels is shown over time, where the movement appears as a bend.
"""

import numpy as np
from matplotlib.figure import Figure

import mien
from mien.motion.pictures import figure_magnified
from mien.synthesis.face import draw_identity
from mien.synthesis.puppet import film, puppet
from mien.synthesis.sensor import Sensor
from mien.synthesis.timeline import Timeline, movements_of


def draw() -> Figure:
    """Raised brows, magnified eight times."""
    rng = np.random.default_rng(4)
    body = puppet(draw_identity(rng, "photo"), width=245, height=300)
    timeline = Timeline(60, 200, movements_of("1+2", onset=8, apex=28, offset=52, intensity=0.06))
    frames = np.stack(list(film(body, timeline, Sensor(), rng)))
    return figure_magnified(frames, mien.magnify(frames, alpha=8), alpha=8, rows=[4, 16, 28, 40, 56])
