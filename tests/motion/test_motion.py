import cv2
import numpy as np
import pytest

from mien.errors import MienError
from mien.motion.apex import find_apex
from mien.motion.flow import METHODS, optical_flow
from mien.motion.strain import optical_strain

Y, X = np.mgrid[0:64, 0:64].astype(np.float64)


def texture(size: int = 96) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.asarray(cv2.normalize(soft, None, 0, 255, cv2.NORM_MINMAX), dtype=np.uint8)


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("shift", [(1.0, 0.0), (0.0, -1.5)])
def test_flow_finds_a_known_shift(method: str, shift: tuple[float, float]) -> None:
    first = texture()
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], dtype=np.float32)
    second = cv2.warpAffine(first, matrix, (96, 96), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    flow = optical_flow(first, second, method)
    assert flow.shape == (96, 96, 2)
    assert np.median(flow[16:-16, 16:-16], axis=(0, 1)) == pytest.approx(shift, abs=0.15)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_still_pair_does_not_move(method: str) -> None:
    # Farneback's does, along its border, in OpenCV 5; nothing moves inside.
    flow = optical_flow(texture(160), texture(160), method)
    assert np.abs(flow[40:-40, 40:-40]).max() < 1e-3


def test_unknown_method_suggests_the_nearest() -> None:
    with pytest.raises(MienError, match="tvl1"):
        optical_flow(texture(), texture(), "tvl2")


def field(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.stack([u, v], axis=-1)


def test_strain_is_zero_under_translation_and_small_rotation() -> None:
    assert optical_strain(field(np.full_like(X, 2.0), np.full_like(X, -1.0))).max() < 1e-6
    assert optical_strain(field(-0.1 * (Y - 32), 0.1 * (X - 32))).max() < 1e-6


def test_strain_of_a_stretch_and_of_a_shear() -> None:
    assert optical_strain(field(0.1 * X, 0 * X)) == pytest.approx(0.1, abs=1e-6)
    assert optical_strain(field(0 * X, 0.1 * Y)) == pytest.approx(0.1, abs=1e-6)
    assert optical_strain(field(0.1 * Y, 0 * X)) == pytest.approx(0.1 / np.sqrt(2), abs=1e-6)


def test_apex_is_where_the_change_is_largest() -> None:
    frames = np.repeat(texture(32)[None], 9, axis=0).astype(np.float32)
    for t, height in enumerate([0, 1, 3, 6, 9, 7, 4, 2, 1]):
        frames[t, 8:16, 8:16] += height
    assert find_apex(np.clip(frames, 0, 255).astype(np.uint8)) == 4
    assert find_apex(frames[:1].astype(np.uint8)) == 0
