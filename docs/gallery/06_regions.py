"""Landmarks and the 36 regions of MDMO.

The face mesh locates 68 landmarks, from which MDMO defines 36 regions of the face. Its feature is the mean flow along
the main direction in each region.
"""

import numpy as np
from matplotlib.figure import Figure

from mien.descriptors.mdmo import face_polygons
from mien.face.landmarks import track_face
from mien.face.portrait import portrait


def draw() -> Figure:
    """Points and regions on a portrait in the public domain."""
    face = portrait()
    points = track_face([face]).ibug68()[0].astype(np.float64)
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    low, high = points.min(0) - 40, points.max(0) + 40
    for axis in (left, right):
        axis.imshow(face)
        axis.set(xlim=(low[0], high[0]), ylim=(high[1], low[1] - 40))
        axis.axis("off")
    left.scatter(*points.T, s=6, color="#facc15")
    left.set_title("68 landmarks")
    for number, corners in enumerate(face_polygons(points), 1):
        right.fill(*corners.T, facecolor="none", edgecolor="#facc15", linewidth=1)
        right.text(*corners.mean(0), str(number), color="white", fontsize=7, ha="center", va="center")
    right.set_title("36 regions")
    return figure
