"""Strain ignores rotation of the head.

In every real clip, the head rotates a little. The full strain of mien is zero for any rotation; the usual small-angle
formula is not, and shows strain although nothing stretches.
"""

import numpy as np
from matplotlib.figure import Figure

import mien


def draw() -> Figure:
    """Strain of a pure rotation by four degrees, and of a stretched patch, by both formulas."""
    y, x = np.mgrid[-60:60, -60:60].astype(float)
    angle = np.deg2rad(4)
    turned = np.stack([x * np.cos(angle) - y * np.sin(angle) - x, x * np.sin(angle) + y * np.cos(angle) - y], -1)
    stretched = np.stack([3 * x / 200 * np.exp(-(x**2 + y**2) / 800), 0 * x], -1)
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    axes = figure.subplots(1, 4)
    shown = [
        (kind, name, flow)
        for name, flow in (("rotation", turned), ("stretch", stretched))
        for kind in ("full", "small")
    ]
    for axis, (kind, name, flow) in zip(axes, shown, strict=True):
        strain = mien.optical_strain(flow.astype(np.float32), variant=kind)
        image = axis.imshow(100 * strain, cmap="magma", vmin=0, vmax=2)
        axis.set_title(f"{name}, variant {kind}\nat most {100 * strain.max():.2f} %", fontsize=9)
        axis.axis("off")
    figure.colorbar(image, ax=axes, label="strain, %", shrink=0.9)
    return figure
