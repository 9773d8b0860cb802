"""The apex of a clip.

Without an annotated apex, the frame that differs most from the onset is used (equation 5 of STRCN). The curve rises
with the movement and falls when the face returns.
"""

import numpy as np
from matplotlib.figure import Figure

from mien.motion.apex import apex_curve
from mien.motion.pictures import figure_apex
from mien.synthesis.face import draw_identity
from mien.synthesis.puppet import film, puppet
from mien.synthesis.sensor import Sensor
from mien.synthesis.timeline import Timeline, movements_of


def draw() -> Figure:
    """Lowered brows and tightened lids, whose true apex is frame 25."""
    rng = np.random.default_rng(5)
    body = puppet(draw_identity(rng, "photo"), width=245, height=300)
    timeline = Timeline(60, 200, movements_of("4+7", onset=5, apex=25, offset=50, intensity=0.3))
    frames = np.stack(list(film(body, timeline, Sensor(), rng)))
    curve = apex_curve(frames)
    return figure_apex(curve, int(np.argmax(curve)), fps=200)
