"""Flow and strain of a clip.

Optical flow is the displacement of every pixel between onset and apex; strain is how much the skin stretches. The
corners of this mouth rise by about a pixel, which is hardly visible in the two frames but clear in the flow.
"""

import numpy as np
from matplotlib.figure import Figure

import mien
from mien.motion.pictures import figure_flow
from mien.synthesis.face import draw_identity
from mien.synthesis.puppet import film, puppet
from mien.synthesis.sensor import Sensor
from mien.synthesis.timeline import Timeline, movements_of


def draw() -> Figure:
    """A smile of a twelfth of the greatest strength, filmed at 200 frames per second."""
    rng = np.random.default_rng(4)
    body = puppet(draw_identity(rng, "photo"), width=245, height=300)
    timeline = Timeline(50, 200, movements_of("6+12", onset=5, apex=25, offset=45, intensity=0.08))
    frames = np.stack(list(film(body, timeline, Sensor(), rng)))
    grey = frames.mean(-1)
    flow = mien.optical_flow(grey[5], grey[25], method="tvl1")
    return figure_flow(frames[5], frames[25], flow)
