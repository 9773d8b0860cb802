"""Descriptors by themselves: Bi-WOOF in a scikit-learn pipeline, and a picture of MDMO's 36 regions.

python examples/descriptors.py [--out docs/pictures/mdmo-regions.png]

The clips are drawn faces of six people, so nothing here says anything about people; with your own, `x` would be the
flow from onset to apex of each clip (`mien.motion.flow.optical_flow`), and `subjects` keeps each person on one side.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC

from mien.descriptors import bi_woof
from mien.descriptors.mdmo import face_polygons
from mien.face.landmarks import track_face
from mien.face.portrait import portrait
from mien.motion.flow import optical_flows
from mien.synthesis.moving_face import render_clip

EMOTIONS = ("positive", "negative", "surprise")


def leave_one_subject_out() -> float:
    """Mean accuracy over six subjects, three clips each."""
    clips = [
        render_clip(subject, emotion, interval_length=8, apex=5, size=96, seed=subject, colour=False)
        for subject in range(6)
        for emotion in EMOTIONS
    ]
    y = np.tile(np.arange(3), 6)
    subjects = np.repeat(np.arange(6), 3)
    x = optical_flows(np.stack([c[0] for c in clips]), np.stack([c[5] for c in clips]), "dis")
    pipeline = make_pipeline(FunctionTransformer(bi_woof, kw_args={"blocks": (5, 5)}), LinearSVC(C=10))
    return float(cross_val_score(pipeline, x, y, groups=subjects, cv=LeaveOneGroupOut()).mean())


def regions_picture(size: int = 640) -> NDArray[np.uint8]:
    """MDMO's regions, numbered from 1, on the portrait."""
    face = portrait()
    points = track_face([face]).ibug68()[0].astype(np.float64)
    low, high = points.min(0), points.max(0)
    centre, half = (low + high) / 2 - [0, 0.1 * (high - low)[1]], 0.62 * float((high - low).max())
    scale = size / (2 * half)
    matrix = np.array([[scale, 0, -scale * (centre[0] - half)], [0, scale, -scale * (centre[1] - half)]])
    picture = cv2.warpAffine(face, matrix, (size, size), flags=cv2.INTER_CUBIC)
    polygons = [np.round(c @ matrix[:, :2].T + matrix[:, 2]).astype(np.int32) for c in face_polygons(points)]
    tint = picture.copy()
    for number, corners in enumerate(polygons):
        hue = np.array([[[number % 18 * 70 % 180, 150, 230]]], np.uint8)
        cv2.fillPoly(tint, [corners], cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].tolist())
    picture = cv2.addWeighted(picture, 0.65, tint, 0.35, 0)
    for number, corners in enumerate(polygons):
        cv2.polylines(picture, [corners], True, (255, 255, 255), 1, cv2.LINE_AA)
        text = str(number + 1)
        (wide, high_), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
        moments = cv2.moments(corners)
        x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
        place = (round(x - wide / 2), round(y + high_ / 2))
        for colour, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thick, cv2.LINE_AA)
    return np.asarray(picture, np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/mdmo-regions.png"))
    given = parser.parse_args()
    print(f"Bi-WOOF and a linear machine, leave one subject out: accuracy {leave_one_subject_out():.2f}, chance 0.33")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(given.out), regions_picture()[..., ::-1])
    print(given.out)


if __name__ == "__main__":
    main()
