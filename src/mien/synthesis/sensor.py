"""What a camera does to a face: blur, light flicker, noise and compression."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError

_MARGIN = 97  # pixels by which the noise may be shifted
_STEP = 13  # least shift from one frame to the next: further than anything moves


@dataclass(frozen=True, slots=True)
class Sensor:
    """A camera.

    Attributes:
        noise: Standard deviation of the noise in grey levels at medium brightness; it grows with the light.
        flicker: Standard deviation of the brightness over time, as a part.
        mains_hz: Frequency at which lamps flicker.
        blur: Standard deviation of the blur in pixels.
        quality: JPEG quality with which each frame was stored before, 1..100; None for none.
    """

    noise: float = 1.5
    flicker: float = 0.003
    mains_hz: float = 100.0
    blur: float = 0.0
    quality: int | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.noise <= 50 and 0 <= self.flicker <= 0.2 and 0 <= self.blur <= 10 and self.mains_hz > 0) or (
            self.quality is not None and not 1 <= self.quality <= 100
        ):
            raise MienError(
                f"A sensor out of range: {self}.",
                "noise 0 to 50 grey levels, flicker 0 to 0.2, blur 0 to 10 pixels, quality 1 to 100.",
                "`Sensor()`.",
            )

    def gains(self, n_frames: int, fps: float, rng: np.random.Generator) -> NDArray[np.float32]:
        """(n_frames,) brightness of each frame: the lamps' beat with the camera, and a slow drift."""
        seconds = np.arange(n_frames) / fps
        beat = np.sin(2 * np.pi * self.mains_hz * seconds + rng.uniform(0, 2 * np.pi))
        slow = np.sin(2 * np.pi * rng.uniform(0.1, 0.5) * seconds + rng.uniform(0, 2 * np.pi))
        return np.asarray(1 + self.flicker * (beat + slow), np.float32)


class Exposure:
    """One camera taking frames of one size, one after the other; the same generator gives the same noise.

    Args:
        sensor: The camera.
        shape: (H, W) or (H, W, 3).
        rng: Where the noise comes from.
    """

    def __init__(self, sensor: Sensor, shape: tuple[int, ...], rng: np.random.Generator) -> None:
        self._sensor, self._shape, self._rng = sensor, shape, rng
        large = (shape[0] + _MARGIN, shape[1] + _MARGIN, *shape[2:])
        # One field of noise, shifted and turned over for each frame: as white as fresh noise within a frame.
        self._noise = rng.standard_normal(large, np.float32) * np.float32(sensor.noise)
        self._at = np.array([0, 0])

    def take(self, frame: NDArray[np.float32], gain: float) -> NDArray[np.uint8]:
        """One frame, 0..255, as the camera stores it."""
        sensor = self._sensor
        if sensor.blur > 0:
            frame = np.asarray(cv2.GaussianBlur(frame, (0, 0), sensor.blur), np.float32)
        if sensor.noise > 0:
            self._at = (self._at + self._rng.integers(_STEP, _MARGIN - _STEP, 2)) % _MARGIN
            y, x = self._at
            noise = self._noise[y : y + self._shape[0], x : x + self._shape[1]]
            sign = 1.0 if self._rng.random() < 0.5 else -1.0
            frame = cv2.scaleAdd(
                noise, sign, cv2.multiply(frame, np.full(4, gain)) if frame.ndim == 3 else frame * np.float32(gain)
            )
        else:
            frame = frame * np.float32(gain)
        stored = np.asarray(cv2.convertScaleAbs(np.maximum(frame, 0)), np.uint8)
        if sensor.quality is not None:
            _, code = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, sensor.quality])
            stored = np.asarray(cv2.imdecode(code, cv2.IMREAD_UNCHANGED), np.uint8)
        return stored


def draw_sensor(rng: np.random.Generator) -> Sensor:
    """A laboratory camera at random."""
    return Sensor(
        noise=float(rng.uniform(0.6, 2.5)),
        flicker=float(rng.uniform(0.0005, 0.006)),
        mains_hz=float(rng.choice([100.0, 120.0])),
        blur=float(rng.uniform(0, 0.7)),
    )
