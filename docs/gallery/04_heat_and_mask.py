"""Heat map and mask of STRCN-A.

STRCN-A keeps the 30 % of pixels that change most over the training clips (Fig. 5 of the paper). Here the mask comes
from the mean of six clips of other people, as in a leave-one-subject-out fold.
"""

import numpy as np
from matplotlib.figure import Figure

from mien.motion.heat_map import difference_heat, mean_heat, top_mask
from mien.motion.pictures import figure_mask
from mien.synthesis.face import draw_identity
from mien.synthesis.puppet import film, puppet
from mien.synthesis.sensor import Sensor
from mien.synthesis.timeline import Timeline, movements_of


def film_of(seed: int, units: str) -> np.ndarray:
    """Frames of a face that moves these units, (T, H, W, 3)."""
    rng = np.random.default_rng(seed)
    body = puppet(draw_identity(rng, "photo"), width=123, height=150)
    timeline = Timeline(24, 100, movements_of(units, onset=2, apex=12, offset=22, intensity=0.3))
    return np.stack(list(film(body, timeline, Sensor(), rng)))


def draw() -> Figure:
    """A face, the mean heat map of six clips, and the pixels that the mask keeps."""
    clips = [film_of(seed, units) for seed, units in enumerate(("6+12", "1+2", "4+7", "15", "9", "12"))]
    heat = mean_heat(difference_heat(clip) for clip in clips)
    return figure_mask(film_of(9, "6+12")[0], heat, top_mask(heat, share=0.3))
