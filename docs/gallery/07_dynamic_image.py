"""Dynamic images.

Rank pooling summarises a clip in one picture: pixels that become brighter over time are light, those that become
darker are dark. A still clip gives uniform grey.
"""

import numpy as np
from matplotlib.figure import Figure

from mien.motion.rank_pooling import dynamic_image
from mien.synthesis.face import draw_identity, to_grey
from mien.synthesis.puppet import film, puppet
from mien.synthesis.sensor import Sensor
from mien.synthesis.timeline import Timeline, movements_of


def draw() -> Figure:
    """The dynamic image of each of four expressions, from onset to apex."""
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    for axis, units in zip(figure.subplots(1, 4), ("6+12", "1+2+5", "4+7", "15+17"), strict=True):
        rng = np.random.default_rng(2)
        body = puppet(draw_identity(rng, "photo"), width=184, height=225)
        timeline = Timeline(30, 200, movements_of(units, onset=2, apex=25, offset=29, intensity=0.3))
        frames = np.stack([to_grey(frame) for frame in film(body, timeline, Sensor(), rng)])
        pooled = dynamic_image(frames[2:26])
        span = np.percentile(np.abs(pooled), 99.5)
        axis.imshow(pooled, cmap="gray", vmin=-span, vmax=span)
        axis.set_title(units)
        axis.axis("off")
    return figure
