"""Bi-WOOF against loops, its two weights, and its place in a scikit-learn pipeline."""

import math

import numpy as np
import pytest
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC

from mien.descriptors import bi_woof
from mien.descriptors.bi_woof import mirror_bi_woof
from mien.errors import MienError
from mien.motion.flow import optical_flow
from mien.motion.strain import optical_strain
from mien.synthesis.moving_face import motion_of, render_clip


def slow(flow: np.ndarray, strain: np.ndarray, rows: int, columns: int, local: bool, whole: bool) -> np.ndarray:
    height, width, _ = flow.shape
    vector = []
    for r in range(rows):
        for c in range(columns):
            top, bottom = round(r * height / rows), round((r + 1) * height / rows)
            left, right = round(c * width / columns), round((c + 1) * width / columns)
            histogram, total, n = [0.0] * 8, 0.0, 0
            for i in range(top, bottom):
                for j in range(left, right):
                    u, v = map(float, flow[i, j])
                    length = math.hypot(u, v)
                    part = int((math.atan2(v, u) + math.pi) // (math.pi / 4)) % 8
                    histogram[part] += length if local else float(length > 0)
                    total += float(strain[i, j])
                    n += 1
            whole_weight = total / n if whole else 1.0
            vector += [h / (sum(histogram) or 1) * whole_weight for h in histogram]
    norm = math.sqrt(sum(v * v for v in vector))
    return np.array(vector) / (norm or 1)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("blocks", [(8, 8), (5, 5), (3, 7)])
def test_bi_woof_equals_a_slow_implementation(blocks: tuple[int, int], local: bool, whole: bool) -> None:
    flow = np.random.default_rng(0).normal(size=(37, 29, 2)).astype(np.float32)
    flow[:9, :12] = 0
    strain = np.random.default_rng(1).uniform(size=(37, 29)).astype(np.float32)
    made = bi_woof(flow, strain, blocks=blocks, local=local, whole=whole)
    assert np.allclose(made, slow(flow, strain, *blocks, local, whole), atol=1e-6)


def test_bi_woof_of_a_face_equals_a_slow_implementation() -> None:
    frames = render_clip(1, "surprise", interval_length=9, apex=5, size=96, seed=0, colour=False)
    flow = optical_flow(frames[0], frames[5], "dis")
    strain = optical_strain(flow, "small")
    assert np.allclose(bi_woof(flow), slow(flow, strain, 8, 8, True, True), atol=1e-6)


def test_bi_woof_of_no_motion_is_zero() -> None:
    frame = render_clip(0, "none", interval_length=2, apex=1, size=96, seed=0, colour=False)[0]
    assert not bi_woof(np.zeros((96, 96, 2), np.float32)).any()
    # What a flow method makes of two equal frames has no strain worth the name either.
    assert np.abs(optical_flow(frame, frame, "dis")).max() < 1e-3


def test_bi_woof_of_a_translation_is_zero() -> None:
    assert not bi_woof(np.broadcast_to([1.5, -0.5], (32, 32, 2))).any()
    assert bi_woof(np.broadcast_to([1.5, -0.5], (32, 32, 2)), whole=False).any()


def test_bi_woof_depends_on_direction_but_not_on_strength() -> None:
    flow = motion_of(2, "positive", interval_length=8, apex=4, size=96, seed=1)[4]
    assert np.allclose(bi_woof(flow), bi_woof(3 * flow), atol=1e-6)
    turned = np.stack([-flow[..., 1], flow[..., 0]], -1)
    strain = optical_strain(flow, "small")
    first, second = (bi_woof(f, strain).reshape(64, 8) for f in (flow, turned))
    assert np.allclose(second, np.roll(first, 2, axis=1), atol=1e-12)


@pytest.mark.parametrize("blocks", [(8, 8), (5, 4)])
def test_mirror_bi_woof_is_the_descriptor_of_the_mirrored_flow(blocks: tuple[int, int]) -> None:
    flow = np.random.default_rng(3).normal(size=(40, 32, 2))
    mirrored = flow[:, ::-1] * [-1, 1]
    swapped = mirror_bi_woof(bi_woof(flow, blocks=blocks), blocks=blocks)
    assert np.allclose(swapped, bi_woof(mirrored, blocks=blocks), atol=1e-9)
    assert np.array_equal(mirror_bi_woof(swapped, blocks=blocks), bi_woof(flow, blocks=blocks))


def test_bi_woof_in_a_scikit_learn_pipeline() -> None:
    emotions = ["positive", "negative", "surprise"]
    flows, y, subjects = [], [], []
    for subject in range(6):
        for label, emotion in enumerate(emotions):
            motion = motion_of(subject, emotion, interval_length=8, apex=4, size=64, seed=subject)
            flows.append(motion[4])
            y.append(label)
            subjects.append(subject)
    x = np.stack(flows)
    pipeline = make_pipeline(FunctionTransformer(bi_woof, kw_args={"blocks": (5, 5)}), LinearSVC(C=10))
    assert cross_val_score(pipeline, x, y, groups=subjects, cv=LeaveOneGroupOut()).mean() > 0.8
    shuffled = np.random.default_rng(0).permutation(y)
    assert cross_val_score(pipeline, x, shuffled, groups=subjects, cv=LeaveOneGroupOut()).mean() < 0.65


@pytest.mark.parametrize(
    "strain", [np.zeros((8, 9)), np.full((16, 16), -1.0), np.full((16, 16), np.nan)], ids=["shape", "negative", "nan"]
)
def test_bad_strain_raises_mien_error(strain: np.ndarray) -> None:
    with pytest.raises(MienError, match="strain has"):
        bi_woof(np.ones((16, 16, 2)), strain)
