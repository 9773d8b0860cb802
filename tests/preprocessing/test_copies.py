"""Training copies: how many, in which order, and that copy 0 is the clip as it is tested."""

import cv2
import numpy as np
import pytest

from mien.motion.apex import find_apex
from mien.motion.flow import optical_flow
from mien.motion.interpolate import resample
from mien.motion.magnify import magnify
from mien.preprocessing import Context
from mien.preprocessing.copies import appearance_copies, geometry_copies, jitter_copies, magnified_small
from mien.preprocessing.steps import as_grey
from mien.types import Clip

T, H, W = 12, 60, 50


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(H, W)).astype(np.float32)
    face = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 20, 230, cv2.NORM_MINMAX)
    weight = cv2.GaussianBlur(np.pad(np.ones((16, 16), np.float32), ((22, 22), (17, 17))), (0, 0), 6)
    ys, xs = np.mgrid[0:H, 0:W].astype(np.float32)
    curve = np.interp(np.arange(T), [0, 7, T - 1], [0, 0.6, 0.1])
    moved = [
        cv2.remap(face, (xs - c * weight).astype(np.float32), ys, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        for c in curve
    ]
    grey = np.clip(np.round(np.stack(moved)), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, -1)


def context(apex: int | None = None) -> Context:
    found = Context(Clip("casme2", "s", "c", None, ""))
    found.apex = apex
    return found


def test_geometry_copy_0_equals_the_plain_recipe(frames: np.ndarray) -> None:
    alphas, shares = (8.0, 5.0, 11.0), (1.0, 0.7)
    made = geometry_copies(frames, context(), alphas=alphas, shares=shares, method="dis", apex="found", size=(H, W))
    assert made.shape == (6, 2, H, W)
    magnified = magnify(frames, 8.0)
    apex = find_apex(magnified)
    plain = optical_flow(as_grey(magnified[0]), as_grey(magnified[apex]), "dis")
    assert np.allclose(made[0], plain.transpose(2, 0, 1), atol=1e-6)
    # More magnified means more motion.
    strength = np.abs(made[::2, 0]).mean((1, 2))
    assert strength[1] < strength[0] < strength[2]


def test_geometry_copies_use_the_annotated_apex_or_the_nearest_frame(frames: np.ndarray) -> None:
    told = context(apex=7)
    made = geometry_copies(frames, told, alphas=(8.0,), shares=(1.0,), method="dis", apex="given", size=(H, W))
    assert told.interval_source == "annotated"
    magnified = magnify(frames, 8.0)
    plain = optical_flow(as_grey(magnified[0]), as_grey(magnified[7]), "dis")
    assert np.allclose(made[0], plain.transpose(2, 0, 1), atol=1e-6)
    unknown = context(apex=7)
    geometry_copies(frames, unknown, alphas=(8.0,), shares=(1.0,), method="dis", apex="found", size=(H, W))
    assert unknown.interval_source == "detected"


def test_reduced_flow_stays_in_pixels_of_the_aligned_face(frames: np.ndarray) -> None:
    full, half = (
        geometry_copies(frames, context(7), alphas=(8.0,), shares=(1.0,), method="dis", apex="given", size=size)
        for size in ((H, W), (H // 2, W // 2))
    )
    assert half.shape == (1, 2, H // 2, W // 2)
    assert np.isclose(full.mean(), half.mean(), atol=1e-3)


def test_appearance_copy_0_equals_the_plain_recipe(frames: np.ndarray) -> None:
    small = magnified_small(frames, context(), alphas=(8.0, 5.0), size=(32, 24))
    assert small.shape == (2, T, 32, 24, 3)
    plain = np.stack([cv2.resize(f, (24, 32), interpolation=cv2.INTER_AREA) for f in magnify(frames, 8.0)])
    assert np.array_equal(small[0], plain)
    made = appearance_copies(small, context(), shares=(1.0, 0.6), n=10, method="linear")
    assert made.shape == (4, 10, 32, 24, 3)
    assert made.dtype == np.uint8
    assert np.array_equal(made[0], np.clip(np.round(resample(plain.astype(np.float32), 10)), 0, 255))
    assert not np.array_equal(made[0], made[1])
    assert np.array_equal(made[1][0], made[0][0])  # the first frame is never taken out


def test_jitter_copies_differ_and_are_reproducible(frames: np.ndarray) -> None:
    first, second = (jitter_copies(frames, context(), size=(32, 24), copies=5, n=8) for _ in range(2))
    assert first.shape == (5, 8, 32, 24, 1)
    assert np.array_equal(first, second)
    assert all(not np.array_equal(first[0], other) for other in first[1:])


def test_copies_of_a_still_clip_are_still(frames: np.ndarray) -> None:
    still = np.repeat(frames[:1], 6, 0)
    flows = geometry_copies(
        still, context(), alphas=(8.0, 14.0), shares=(1.0, 0.6), method="dis", apex="found", size=(H, W)
    )
    assert np.abs(flows).max() < 1e-3
    small = magnified_small(still, context(), alphas=(14.0,), size=(32, 24))
    made = appearance_copies(small, context(), shares=(1.0, 0.6), n=9, method="tim")
    assert (made == made[:, :1]).all()
