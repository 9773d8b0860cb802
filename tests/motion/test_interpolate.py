from typing import Any

import numpy as np
import pytest

from mien.errors import MienError
from mien.motion.interpolate import (
    METHODS,
    kept_indices,
    remove_frames,
    resample,
    resample_weights,
    temporal_jitter,
    tim,
    tim_weights,
    uniform_indices,
    weigh_changes,
)


def walk(length: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(length, *shape)).cumsum(0)


def published_tim(frames: np.ndarray, n: int) -> np.ndarray:
    """The temporal interpolation model as published: a singular value decomposition of the pixels, and its inverse."""
    length = len(frames)
    x = frames.reshape(length, -1).T
    mean = x.mean(1, keepdims=True)
    u, s, vt = np.linalg.svd(x - mean, full_matrices=False)
    u, q = u[:, : length - 1], (s[:, None] * vt)[: length - 1]
    path = np.diag(np.ones(length - 1), 1) + np.diag(np.ones(length - 1), -1)
    _, vectors = np.linalg.eigh(np.diag(path.sum(0)) - path)
    vectors = vectors[:, 1:]
    w = np.linalg.solve(q @ q.T, q @ vectors)
    k = np.arange(1, length)

    def curve(t: float) -> np.ndarray:
        return np.sin(np.pi * k * t + np.pi * (length - k) / (2 * length))

    m = (q[:, 0] @ w) / curve(1 / length)
    new = [u @ np.linalg.solve(w.T, m * curve(t)) + mean[:, 0] for t in np.linspace(1 / length, 1, n)]
    return np.stack(new).reshape(n, *frames.shape[1:])


@pytest.mark.parametrize(("length", "n"), [(2, 5), (7, 13), (13, 7), (20, 20), (33, 10), (9, 1)])
def test_tim_equals_the_published_algorithm(length: int, n: int) -> None:
    frames = walk(length, 9, 8, 3)
    ours = tim(frames, n)
    assert ours.shape == (n, 9, 8, 3)
    assert ours.dtype == np.float64
    assert np.abs(ours - published_tim(frames, n)).max() < 1e-8


@pytest.mark.parametrize("length", [2, 3, 10, 101])
def test_tim_to_the_same_length_returns_the_clip(length: int) -> None:
    frames = walk(length, 6, 5)
    assert np.abs(tim(frames, length) - frames).max() < 1e-8


def test_tim_with_repeated_frames_is_the_limit_for_nearly_equal_ones() -> None:
    frames = walk(8, 10, 10)
    frames[4] = frames[3]
    nearly = frames.copy()
    nearly[4] += 1e-4 * walk(1, 10, 10, seed=1)[0]
    assert np.abs(tim(frames, 8) - frames).max() < 1e-8
    assert np.abs(tim(frames, 15) - published_tim(nearly, 15)).max() < 1e-3


def test_tim_differs_from_linear_interpolation() -> None:
    frames = walk(7, 40, 40)
    linear = resample(frames, 13)
    apart = np.linalg.norm(tim(frames, 13) - linear) / np.linalg.norm(linear - linear.mean(0))
    assert 0.03 < apart < 0.4


def test_tim_reproduces_a_cosine() -> None:
    # Half a period of a cosine about the frame centres is one of the curves that the model is made of.
    def wave(t: np.ndarray) -> np.ndarray:
        return np.cos(np.pi * (t + 0.5) / 12)

    old, new = np.arange(12), np.linspace(0, 11, 31)
    assert np.abs(tim(wave(old)[:, None], 31)[:, 0] - wave(new)).max() < 1e-12


@pytest.mark.parametrize("length", [2, 3, 4, 9])
@pytest.mark.parametrize("n", [1, 2, 5, 9, 20])
def test_weights_sum_to_one_and_keep_the_first_and_last_frame(length: int, n: int) -> None:
    for weights in (tim_weights(length, n), *(resample_weights(length, n, m) for m in METHODS)):
        assert weights.shape == (n, length)
        assert weights.sum(1) == pytest.approx(np.ones(n))
        assert weights[0] == pytest.approx(np.eye(length)[0], abs=1e-12)
        if n > 1:
            assert weights[-1] == pytest.approx(np.eye(length)[-1], abs=1e-12)


@pytest.mark.parametrize("method", ["tim", *METHODS])
def test_all_methods_are_linear_and_keep_still_clips_unchanged(method: str) -> None:
    def to(frames: np.ndarray, n: int) -> np.ndarray:
        return tim(frames, n) if method == "tim" else resample(frames, n, method)

    a, b = walk(9, 4, 4), walk(9, 4, 4, seed=1)
    assert np.abs(to(2 * a - b, 14) - (2 * to(a, 14) - to(b, 14))).max() < 1e-12
    still = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 9, 8, 3), np.uint8), 11, axis=0)
    assert to(still, 30).dtype == np.float32
    assert np.array_equal(to(still, 30), np.repeat(still[:1], 30, axis=0).astype(np.float32))


@pytest.mark.parametrize("method", METHODS)
def test_resample_to_the_same_length_returns_the_clip(method: str) -> None:
    frames = walk(10, 3, 2)
    assert np.abs(resample(frames, 10, method) - frames).max() < 1e-12
    assert np.array_equal(resample(frames[:1], 4, method), np.repeat(frames[:1], 4, axis=0))


@pytest.mark.parametrize("method", ["linear", "cubic"])
@pytest.mark.parametrize(("length", "n"), [(2, 7), (5, 12), (12, 5)])
def test_uniform_motion_stays_uniform(method: str, length: int, n: int) -> None:
    ramp = np.linspace(3, 40, length)[:, None]
    assert np.abs(resample(ramp, n, method)[:, 0] - np.linspace(3, 40, n)).max() < 1e-12


def test_cubic_is_more_accurate_on_a_sine_than_linear() -> None:
    def wave(t: np.ndarray) -> np.ndarray:
        return np.asarray(np.sin(t / 2))

    new = np.linspace(0, 19, 77)
    off = {m: np.abs(resample(wave(np.arange(20))[:, None], 77, m)[:, 0] - wave(new)).max() for m in METHODS}
    assert off["cubic"] < 0.4 * off["linear"] < 0.4 * off["nearest"]
    # Keys's kernel in the middle of four frames.
    assert resample_weights(4, 7, "cubic")[3] == pytest.approx([-1 / 16, 9 / 16, 9 / 16, -1 / 16])


def test_uniform_indices_round_halves_up() -> None:
    assert uniform_indices(10, 4).tolist() == [0, 3, 6, 9]
    assert uniform_indices(4, 3).tolist() == [0, 2, 3]
    assert uniform_indices(2, 3).tolist() == [0, 1, 1]
    assert uniform_indices(9, 1).tolist() == [0]
    for length in range(1, 30):
        for n in range(2, 40):
            exact = [int(k * (length - 1) / (n - 1) + 0.5 + 1e-9) for k in range(n)]
            assert uniform_indices(length, n).tolist() == exact
    frames = walk(7, 3)
    assert np.abs(resample(frames, 12, "nearest") - frames[uniform_indices(7, 12)]).max() < 1e-12


@pytest.mark.parametrize("share", [0, 0.1, 0.2, 0.3, 0.4, 0.55, 0.99])
@pytest.mark.parametrize("length", [2, 3, 10, 25])
def test_kept_indices_removes_the_requested_share(length: int, share: float) -> None:
    for seed in range(10):
        kept = kept_indices(length, share, np.random.default_rng(seed))
        assert len(kept) == max(2, length - int(share * length + 0.5))
        assert kept[0] == 0
        assert (np.diff(kept) > 0).all()
        assert kept[-1] < length
    frames = walk(length, 4)
    assert np.array_equal(remove_frames(frames, share, np.random.default_rng(9)), frames[kept])


def test_kept_indices_removes_all_frames_but_the_first_equally_often() -> None:
    rng = np.random.default_rng(0)
    counts = np.zeros(8)
    for _ in range(2000):
        counts[kept_indices(8, 0.5, rng)] += 1
    assert counts[0] == 2000
    assert counts[1:] / 2000 == pytest.approx(np.full(7, 3 / 7), abs=0.05)


def test_temporal_jitter_returns_ascending_frames_and_is_reproducible() -> None:
    time = np.arange(40.0)[:, None]
    firsts, lasts = set(), set()
    for seed in range(60):
        copy = temporal_jitter(time, np.random.default_rng(seed), 30, methods=("linear",))[:, 0]
        assert copy.shape == (30,)
        assert (np.diff(copy) > 0).all()
        firsts.add(copy[0])
        lasts.add(copy[-1])
        assert np.array_equal(copy, temporal_jitter(time, np.random.default_rng(seed), 30, methods=("linear",))[:, 0])
    assert firsts == {0, 1, 2, 3, 4}
    assert len(lasts) > 2
    assert temporal_jitter(time[:2], np.random.default_rng(0), 5, latest_start=0.9, strides=(7,)).shape == (5, 1)


def test_weigh_changes_is_correct_on_frames_larger_than_a_block() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 300, 245, 3), np.uint8)
    weights = np.random.default_rng(1).normal(size=(2, 5))
    plain = np.einsum("kt,thwc->khwc", weights, frames - frames[0].astype(np.float64))
    assert np.abs(weigh_changes(weights, frames) - plain).max() < 1e-3


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tim(walk(1, 3), 5), "at least 2"),
        (lambda: tim(walk(4, 3), 0), "1 wanted"),
        (lambda: resample(walk(4, 3), 0), "1 wanted"),
        (lambda: resample(walk(0, 3), 2), "at least 1"),
        (lambda: resample(walk(4, 3), 2, "linaer"), "`linear`"),
        (lambda: uniform_indices(0, 3), "at least 1"),
        (lambda: kept_indices(1, 0.1, np.random.default_rng(0)), "at least 2"),
        (lambda: kept_indices(9, 1.0, np.random.default_rng(0)), "share < 1"),
        (lambda: kept_indices(9, -0.1, np.random.default_rng(0)), "share < 1"),
        (lambda: temporal_jitter(walk(9, 3), np.random.default_rng(0), strides=(0,)), "strides of at least 1"),
        (lambda: temporal_jitter(walk(9, 3), np.random.default_rng(0), methods=()), "choose from"),
        (lambda: temporal_jitter(walk(1, 3), np.random.default_rng(0)), "at least 2"),
    ],
)
def test_wrong_arguments_raise_mien_error(call: Any, words: str) -> None:
    with pytest.raises(MienError, match=words):
        call()
