"""LBP-TOP histograms.

Local binary patterns describe the texture of the picture (XY) and of its changes along rows (XT) and columns (YT).
The bars show the difference between a moving face and the same face at rest: the planes through time change most.
"""

import numpy as np
from matplotlib.figure import Figure

from mien.descriptors import lbp_top
from mien.synthesis.face import draw_identity, to_grey
from mien.synthesis.puppet import film, puppet
from mien.synthesis.sensor import Sensor
from mien.synthesis.timeline import Timeline, movements_of


def histograms(intensity: float) -> np.ndarray:
    """Shares of the 59 patterns in the three planes, (3, 59)."""
    rng = np.random.default_rng(1)
    body = puppet(draw_identity(rng, "photo"), width=123, height=150)
    moves = movements_of("6+12", onset=2, apex=12, offset=22, intensity=intensity) if intensity else ()
    frames = np.stack([to_grey(frame) for frame in film(body, Timeline(24, 100, moves), Sensor(), rng)])
    return lbp_top(frames, blocks=(1, 1, 1)).reshape(3, 59)


def draw() -> Figure:
    """What a movement changes in each plane, in percent of the voxels."""
    change = 100 * (histograms(0.3) - histograms(0.0))
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    for axis, plane, bins in zip(axes, ("XY", "XT", "YT"), change, strict=True):
        axis.bar(np.arange(59), bins, color="#0f766e")
        axis.axhline(0, color="#6b7280", linewidth=0.8)
        axis.set_title(plane)
        axis.set_xlabel("pattern")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("moving minus still, %")
    return figure
