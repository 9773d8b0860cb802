import cv2
import numpy as np

from mien.motion.apex import find_apex


def texture(size: int = 96) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.asarray(cv2.normalize(soft, None, 0, 255, cv2.NORM_MINMAX), dtype=np.uint8)


def test_find_apex_in_a_soft_texture() -> None:
    frames = np.repeat(texture(32)[None], 9, axis=0).astype(np.float32)
    for t, height in enumerate([0, 1, 3, 6, 9, 7, 4, 2, 1]):
        frames[t, 8:16, 8:16] += height
    assert find_apex(np.clip(frames, 0, 255).astype(np.uint8)) == 4
    assert find_apex(frames[:1].astype(np.uint8)) == 0
