"""Flow against the truth.

Synthetic clips come with the exact displacement of every pixel, so flow methods can be compared with the truth. The
error is the length of the difference, in pixels. Methods that smooth more lose the borders of the movement.
"""

import numpy as np
from matplotlib.figure import Figure

import mien
from mien.synthesis.face import draw_identity
from mien.synthesis.puppet import film, puppet
from mien.synthesis.rig import motion
from mien.synthesis.sensor import Sensor
from mien.synthesis.timeline import Timeline, movements_of


def draw() -> Figure:
    """Length of the true flow, and the error of three methods, on a scale of their own."""
    rng = np.random.default_rng(6)
    body = puppet(draw_identity(rng, "photo"), width=245, height=300)
    timeline = Timeline(40, 200, movements_of("6+12", onset=3, apex=20, offset=38, intensity=0.3))
    frames = np.stack(list(film(body, timeline, Sensor(), rng)))
    truth = motion(body.rig, timeline).flow(20)
    grey = frames.mean(-1)
    maps = {"true length": np.hypot(*np.moveaxis(truth, -1, 0))}
    for method in ("farneback", "tvl1", "dis_fine"):
        error = np.hypot(*np.moveaxis(mien.optical_flow(grey[3], grey[20], method=method) - truth, -1, 0))
        maps[f"error of {method}\nmean {error.mean():.2f} pixels"] = error
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 4)
    for place, (axis, (title, values)) in enumerate(zip(axes, maps.items(), strict=True)):
        image = axis.imshow(values, cmap="magma", vmin=0, vmax=1 if place else values.max())
        axis.set_title(title, fontsize=9)
        axis.axis("off")
        if place in (0, 3):
            figure.colorbar(image, ax=axis, label="pixels", shrink=0.8)
    return figure
