"""Cameras as films without a known end."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.io.opencv import cv2
from mien.io.video.base import Pixels, Video


@dataclass(frozen=True)
class _CameraVideo(Video):
    """What a camera sees, from the moment `frames` is called."""

    number: int
    rate: float | None

    @property
    def fps(self) -> float | None:
        return self.rate

    @property
    def n_frames(self) -> None:
        return None

    @property
    def variable_rate(self) -> bool:
        return True

    def time_of(self, index: int) -> float:
        return math.nan

    def _raw(self, start: int, stop: int | None, step: int) -> Generator[tuple[int, float, NDArray[np.uint8]]]:
        camera = _camera(self.number)
        try:
            index, began = 0, None
            while stop is None or index < stop:
                whole, picture = camera.read()
                now = time.monotonic()
                if not whole:
                    self._note(f"The camera stopped after {index} frames.")
                    return
                began = now if began is None else began
                if index >= start:
                    yield index, now - began, picture
                index += 1
        finally:
            camera.release()

    def _pixels(self, raw: NDArray[np.uint8], grey: bool) -> Pixels:
        return np.asarray(cv2.cvtColor(raw, cv2.COLOR_BGR2GRAY if grey else cv2.COLOR_BGR2RGB))


def _camera(number: int) -> Any:
    level = cv2.utils.logging.setLogLevel(0)  # OpenCV would tell about every driver it tried.
    camera = cv2.VideoCapture(number)
    cv2.utils.logging.setLogLevel(level)
    if not camera.isOpened():
        raise MienError(
            f"There is no camera {number}, or another program uses it.",
            "the number of a camera that is plugged in; the first is 0.",
            "`camera:0`, or a video file.",
        )
    return camera


def open_camera(number: int, fps: float | None) -> Video:
    """Opens a camera and takes one picture, to know its size.

    Raises:
        MienError: There is no such camera, or it gives no picture.
    """
    camera = _camera(number)
    try:
        whole, picture = camera.read()
        rate = fps or camera.get(cv2.CAP_PROP_FPS) or None
    finally:
        camera.release()
    if not whole:
        raise MienError(
            f"Camera {number} gives no picture.", "a camera that works.", "unplugging it, or another number."
        )
    return _CameraVideo(f"camera {number}", picture.shape[0], picture.shape[1], True, 8, number, rate)
