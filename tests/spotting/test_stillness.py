"""Motion of a face by its small picture, against pictures moved by known amounts."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien.face.crop import Box, crop_frame
from mien.face.portrait import portrait
from mien.spotting.stillness import Anchor, Pose

EYES = 56.0
HERE = Pose(0.0, 0.0, 0.0, 0.0)


def face() -> NDArray[Any]:
    grey = cv2.cvtColor(portrait(), cv2.COLOR_RGB2GRAY)
    return np.asarray(crop_frame(grey, Box(110, 40, 100, 125), (140, 112)), np.uint8)


def moved(picture: NDArray[Any], x: float, y: float, degrees: float, size: float) -> NDArray[Any]:
    matrix = cv2.getRotationMatrix2D((55.5, 69.5), -degrees, size)
    matrix[:, 2] += (x, y)
    return np.asarray(cv2.warpAffine(picture, matrix, (112, 140), borderMode=cv2.BORDER_REPLICATE), np.uint8)


@pytest.mark.parametrize(
    ("x", "y", "degrees", "size"), [(1.5, 0, 0, 1), (0, -1.0, 0, 1), (0, 0, 2, 1), (1, 1, -1, 1.02)]
)
def test_shift_turn_and_growth_are_measured_in_spite_of_light_and_noise(
    x: float, y: float, degrees: float, size: float
) -> None:
    picture = face()
    later = 0.9 * moved(picture, x, y, degrees, size) + 15 + np.random.default_rng(0).normal(0, 4, picture.shape)
    pose = Anchor(picture, EYES, HERE).pose_of(np.clip(later, 0, 255).astype(np.uint8))
    assert pose is not None
    assert math.hypot(pose.x - x / EYES, pose.y - y / EYES) < 0.01
    assert abs(math.degrees(pose.turn) - degrees) < 0.6
    assert abs(pose.growth - math.log(size)) < 0.01


def test_a_covered_or_distant_face_is_not_still() -> None:
    picture = face()
    covered = picture.copy()
    covered[60:120] = 40
    anchor = Anchor(picture, EYES, HERE)
    assert anchor.still(picture, (0.03, 0.03, 0.03))
    assert not anchor.still(covered, (0.03, 0.03, 0.03))
    assert not anchor.still(np.full_like(picture, 130), (0.03, 0.03, 0.03))
    assert not anchor.still(moved(picture, 12, 0, 0, 1), (0.03, 0.03, 0.03))


def test_motion_adds_up_to_where_the_face_was() -> None:
    picture = face()
    anchor = Anchor(picture, EYES, Pose(0.02, 0.0, 0.0, 0.0))
    assert not anchor.still(moved(picture, 1.5, 0, 0, 1), (0.035, 0.1, 0.1))
    assert anchor.still(moved(picture, -1.5, 0, 0, 1), (0.035, 0.1, 0.1))
