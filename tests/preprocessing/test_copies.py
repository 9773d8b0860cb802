"""Training copies: how many, in which order, and that copy 0 is the clip as it is tested."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.errors import MienError
from mien.motion.apex import find_apex
from mien.motion.flow import optical_flow
from mien.motion.interpolate import resample
from mien.motion.magnify import coefficients, level_gains, magnify
from mien.preprocessing import Context, steps
from mien.preprocessing.copies import appearance_copies, geometry_copies, jitter_copies, magnified_small
from mien.preprocessing.steps import as_grey
from mien.systems import SYSTEMS
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


def context(apex: int | None = None, fps: float | None = None) -> Context:
    found = Context(Clip("casme2", "s", "c", None, "", fps=fps))
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


def test_frames_are_removed_by_a_draw_for_each_clip(frames: np.ndarray) -> None:
    small = np.repeat(np.arange(T, dtype=np.uint8)[None, :, None, None, None], 1, 0)  # each pixel is its frame's number

    def copies(of: Context) -> np.ndarray:
        return appearance_copies(small, of, shares=(1.0, 0.6, 0.6), n=30, method="linear").ravel()

    one, other = context(fps=100.0), context(fps=200.0)
    assert np.array_equal(copies(one), copies(one))
    assert np.array_equal(copies(one)[:30], copies(other)[:30])
    assert not np.array_equal(copies(one)[30:], copies(other)[30:])
    assert not np.array_equal(copies(one)[30:60], copies(one)[60:])
    one.clip, other.clip = (replace(one.clip, name=name) for name in ("c", "renamed"))
    assert np.array_equal(copies(one), copies(other))  # what a file is called does not matter
    jittered = [jitter_copies(frames, context(fps=fps), size=(8, 6), copies=4, n=8) for fps in (100.0, 200.0)]
    assert np.array_equal(jittered[0][0], jittered[1][0])
    assert not np.array_equal(jittered[0], jittered[1])


def test_the_limit_on_fine_detail_and_the_band_are_those_asked_for(frames: np.ndarray) -> None:
    usual, paper = (
        geometry_copies(
            frames, context(7), alphas=(8.0,), shares=(1.0,), method="dis", apex="given", size=(H, W), exaggeration=e
        )
        for e in (2.0, 1.0)
    )
    pair = magnify(frames, 8.0, exaggeration=1.0)[[0, 7]]
    plain = optical_flow(as_grey(pair[0]), as_grey(pair[1]), "dis")
    assert np.allclose(paper[0], plain.transpose(2, 0, 1), atol=1e-6)
    assert not np.allclose(usual, paper)
    r1, r2 = coefficients(0.05, 0.4, 200.0)
    slow = magnified_small(frames, context(fps=200.0), alphas=(8.0,), size=(H, W), hertz=True)
    assert np.array_equal(slow[0], magnify(frames, 8.0, r1=r1, r2=r2))
    step = steps.magnify(
        frames, context(fps=200.0), alpha=8.0, r1=0.4, r2=0.05, wavelength=16.0, exaggeration=2.0, hertz=True
    )
    assert np.array_equal(step, slow[0])


def test_a_band_in_hertz_needs_a_frame_rate(frames: np.ndarray, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), frames[0])
    still = Context(Clip("casme2", "s", "c", None, "", frames=(tmp_path / "1.png",)))
    with pytest.raises(MienError, match="no frame rate"):
        magnified_small(frames, still, alphas=(8.0,), size=(H, W), hertz=True)


def test_the_limits_are_the_papers_at_its_size() -> None:
    gains = level_gains(300, 245, 8.0, 16.0, exaggeration=1.0)
    assert np.allclose(gains[1:4], [1.27, 3.54, 8.0], atol=0.005)
    paper = SYSTEMS["strcn-g"].with_parameters({"preset": "paper"})
    assert paper.exaggeration == SYSTEMS["strcn-a"].with_parameters({"preset": "paper"}).exaggeration == 1.0
    step = SYSTEMS["strcn-g"].recipe("frames", paper).steps[1]
    assert step.parameters["exaggeration"] == 1.0
