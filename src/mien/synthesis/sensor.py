"""Camera effects: blur, flickering light, noise and compression."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError

_MARGIN = 97  # largest shift of the noise in pixels
_STEP = 13  # least shift from one frame to the next: further than anything moves


@dataclass(frozen=True, slots=True)
class Sensor:
    """A camera.

    Attributes:
        noise: Standard deviation of the noise in grey levels, 0 to 50.
        flicker: Standard deviation of the brightness over time, as a fraction, 0 to 0.2.
        mains_hz: Frequency of the flicker of lamps.
        blur: Standard deviation of the blur in pixels, 0 to 10.
        quality: JPEG quality with which each frame is compressed, 1 to 100; None does not compress.
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
                f"A value is out of range: {self}.",
                "noise 0 to 50 grey levels, flicker 0 to 0.2, blur 0 to 10 pixels, quality 1 to 100.",
                "`Sensor()`.",
            )

    def gains(self, n_frames: int, fps: float, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return the (n_frames,) brightness of each frame: the beat between lamps and camera, and a slow drift."""
        seconds = np.arange(n_frames) / fps
        beat = np.sin(2 * np.pi * self.mains_hz * seconds + rng.uniform(0, 2 * np.pi))
        slow = np.sin(2 * np.pi * rng.uniform(0.1, 0.5) * seconds + rng.uniform(0, 2 * np.pi))
        return np.asarray(1 + self.flicker * (beat + slow), np.float32)


class Exposure:
    """A camera that takes frames of one size in sequence; the same random generator gives the same noise.

    Args:
        sensor: The camera.
        shape: Shape of the frames, (H, W) or (H, W, 3).
        rng: Random generator for the noise.
    """

    def __init__(self, sensor: Sensor, shape: tuple[int, ...], rng: np.random.Generator) -> None:
        self._sensor, self._shape, self._rng = sensor, shape, rng
        large = (shape[0] + _MARGIN, shape[1] + _MARGIN, *shape[2:])
        # One field of noise is shifted and inverted for each frame: within a frame it is as white as fresh noise.
        self._noise = rng.standard_normal(large, np.float32) * np.float32(sensor.noise)
        self._at = np.array([0, 0])

    def take(self, frame: NDArray[np.float32], gain: float) -> NDArray[np.uint8]:
        """Return one frame as the camera stores it.

        Args:
            frame: The frame without camera effects, 0..255.
            gain: Brightness, from `Sensor.gains`.
        """
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
    """Make a random laboratory camera.

    Example:
        >>> draw_sensor(np.random.default_rng(0)).mains_hz in (100.0, 120.0)
        True
    """
    return Sensor(
        noise=float(rng.uniform(0.6, 2.5)),
        flicker=float(rng.uniform(0.0005, 0.006)),
        mains_hz=float(rng.choice([100.0, 120.0])),
        blur=float(rng.uniform(0, 0.7)),
    )
