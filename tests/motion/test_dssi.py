"""Tests of dynamic segmented sparse images, against a slow implementation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import MienError
from mien.motion.dssi import SAMPLINGS, dssi, dssi_weights, image_count, least_frames, sampled_rows, spread
from mien.motion.rank_pooling import dynamic_image

RANDOM = np.random.default_rng(0)


def slow_weights(length: int) -> list[float]:
    """Return the rank pooling weights as a double sum."""
    return [sum((2 * i - length - 1) / i for i in range(t, length + 1)) for t in range(1, length + 1)]


def slow_dssi(frames: np.ndarray, chosen: list[np.ndarray]) -> np.ndarray:
    """Return dynamic images, computed image by image and frame by frame."""
    images = []
    for rows in chosen:
        weights = slow_weights(len(rows))
        scale = sum(w for w in weights if w > 0)
        image = np.zeros(frames.shape[1:])
        for row, weight in zip(rows, weights, strict=True):
            image += weight / scale * frames[row]
        images.append(image)
    return np.stack(images)


@pytest.mark.parametrize(
    ("length", "printed"),
    [
        (2, [-0.5, 0.5]),
        (3, [-4 / 3, 2 / 3, 2 / 3]),
        (5, [-3.7, 0.3, 1.3, 1.3, 0.8]),
        (10, [-12.219, -3.219, 0.281, 1.948, 2.698, 2.898, 2.731, 2.303, 1.678, 0.9]),
    ],
)
def test_weights_of_one_segment_are_the_published_coefficients(length: int, printed: list[float]) -> None:
    weights = dssi_weights(length, "local", 1, length, whole=False)[0]
    expected = np.array(printed)
    assert weights == pytest.approx(expected / expected[expected > 0].sum(), abs=1e-4)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("seed", [None, 3])
def test_dssi_equals_the_slow_implementation(sampling: str, whole: bool, seed: int | None) -> None:
    frames = RANDOM.integers(0, 256, (23, 9, 7, 3), np.uint8)

    def rng() -> np.random.Generator | None:
        return None if seed is None else np.random.default_rng(seed)

    chosen = sampled_rows(23, sampling, 4, 3, whole=whole, rng=rng())
    images = dssi(frames, dssi_weights(23, sampling, 4, 3, whole=whole, rng=rng()))
    assert images.shape == (image_count(sampling, 4, 3, whole), 9, 7, 3)
    assert np.abs(images - slow_dssi(frames, chosen)).max() < 1e-3
    assert np.abs(images).max() <= 255


def test_each_image_is_proportional_to_the_dynamic_image_of_its_frames() -> None:
    frames = RANDOM.normal(size=(12, 5, 5)).astype(np.float32)
    rows = sampled_rows(12, "local", 3, 4, whole=False)
    images = dssi(frames, dssi_weights(12, "local", 3, 4, whole=False))
    for image, taken in zip(images, rows, strict=True):
        plain = dynamic_image(frames[taken])
        assert np.corrcoef(image.ravel(), plain.ravel())[0, 1] == pytest.approx(1, abs=1e-6)


@given(
    length=st.integers(2, 120),
    sampling=st.sampled_from(SAMPLINGS),
    parts=st.integers(2, 7),
    n=st.integers(2, 9),
    seed=st.one_of(st.none(), st.integers(0, 99)),
)
def test_sampled_rows_are_ascending_and_within_their_segments(
    length: int, sampling: str, parts: int, n: int, seed: int | None
) -> None:
    rng = None if seed is None else np.random.default_rng(seed)
    if length < least_frames(sampling, parts):
        with pytest.raises(MienError, match="segments"):
            sampled_rows(length, sampling, parts, n, rng=rng)
        return
    *images, whole = sampled_rows(length, sampling, parts, n, rng=rng)
    assert len(images) + 1 == image_count(sampling, parts, n)
    for rows in (*images, whole):
        assert len(rows) >= 2
        assert (np.diff(rows) > 0).all()
        assert rows[0] >= 0
        assert rows[-1] < length
    assert whole[0] == 0
    edges = [k * length // parts for k in range(parts + 1)]
    for k, rows in enumerate(images):
        if sampling == "local":
            assert edges[k] <= rows[0]
            assert rows[-1] < edges[k + 1]
            assert len(rows) == min(n, edges[k + 1] - edges[k])
        elif sampling == "local-global":
            assert rows[0] == 0
            assert all(edges[k] <= row < max(edges[k + 1], 2) for row in rows[1:])
        else:
            assert len(rows) == parts
            assert all(edges[j] <= row < edges[j + 1] for j, row in enumerate(rows))
    weights = dssi_weights(length, sampling, parts, n)
    assert weights.sum(1) == pytest.approx(0, abs=1e-9)
    assert np.clip(weights, 0, None).sum(1) == pytest.approx(1)


def test_spread_takes_the_middle_of_each_bin_or_a_random_index() -> None:
    assert spread(0, 9, 3).tolist() == [1, 4, 7]
    assert spread(4, 6, 5).tolist() == [4, 5]
    draws = {tuple(spread(0, 90, 4, np.random.default_rng(seed))) for seed in range(20)}
    assert len(draws) == 20
    assert all(22 * k <= row < 23 * (k + 1) for rows in draws for k, row in enumerate(rows))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_still_pixels_give_zero_and_reversed_time_changes_the_sign(sampling: str) -> None:
    still = np.repeat(RANDOM.integers(0, 200, (1, 16, 16), np.uint8), 24, axis=0)
    weights = dssi_weights(24, sampling, 3, 4)
    assert (dssi(still, weights) == 0).all()
    still[:, 4:8, 4:8] += np.arange(24, dtype=np.uint8)[:, None, None]
    assert (dssi(still, weights)[:, 4:8, 4:8] > 0).all()
    assert (dssi(still, weights)[:, 8:] == 0).all()
    assert (dssi(still[::-1], weights)[:, 4:8, 4:8] < 0).all()


def test_wrong_arguments_raise_mien_error() -> None:
    with pytest.raises(MienError, match=r"A clip of 5 frame\(s\) for 3 segments \(local\)") as raised:
        sampled_rows(5, "local", 3, 4)
    assert "segments=2" in raised.value.fix
    with pytest.raises(MienError, match="`local-global`"):
        sampled_rows(20, "local-globall", 3, 4)
    with pytest.raises(MienError, match="2 or more with interleaved"):
        sampled_rows(20, "interleaved", 1, 4)
    with pytest.raises(MienError, match="segments is 0"):
        sampled_rows(20, "local", 0, 4)
    with pytest.raises(MienError, match="two or more"):
        sampled_rows(20, "local", 2, 1)
