import numpy as np
import pytest

from mien.errors import MienError
from mien.motion.rank_pooling import VARIANTS, dynamic_image, rank_weights, segments


def test_rank_weights_are_the_published_ones() -> None:
    assert rank_weights(1) == pytest.approx([0])
    assert rank_weights(2) == pytest.approx([-0.5, 0.5])
    assert rank_weights(3) == pytest.approx([-4 / 3, 2 / 3, 2 / 3])
    assert rank_weights(5) == pytest.approx([-3.7, 0.3, 1.3, 1.3, 0.8])
    ten = [-12.219, -3.219, 0.281, 1.948, 2.698, 2.898, 2.731, 2.303, 1.678, 0.9]
    assert rank_weights(10) == pytest.approx(ten, abs=5e-4)
    assert rank_weights(4, "linear").tolist() == [-3, -1, 1, 3]


@pytest.mark.parametrize("length", [2, 7, 30, 200])
def test_rank_weights_equal_the_double_sum_and_sum_to_zero(length: int) -> None:
    slow = [sum((2 * i - length - 1) / i for i in range(t, length + 1)) for t in range(1, length + 1)]
    assert rank_weights(length) == pytest.approx(slow)
    for variant in VARIANTS:
        assert rank_weights(length, variant).sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [(6, 20, 17), (9, 12, 13, 3), (2, 300, 245, 3)])
def test_dynamic_image_is_the_weighted_sum_in_the_unit_of_the_frames(variant: str, shape: tuple[int, ...]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    plain = np.zeros(shape[1:])
    for weight, frame in zip(rank_weights(len(frames), variant), frames, strict=True):
        plain += weight * frame
    ours = dynamic_image(frames, variant)
    assert ours.dtype == np.float32
    assert ours.shape == shape[1:]
    assert np.abs(ours - plain).max() < 1e-3
    assert np.abs(dynamic_image(frames / 255, variant) * 255 - plain).max() < 1e-3


def test_dynamic_image_ranks_running_means() -> None:
    frames = np.random.default_rng(0).normal(size=(8, 5, 4))
    means = [frames[: t + 1].mean(0) for t in range(8)]
    later_minus_earlier = sum(means[q] - means[p] for q in range(8) for p in range(q))
    assert dynamic_image(frames) == pytest.approx(later_minus_earlier, abs=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_still_pixels_give_zero_and_reversed_time_changes_the_sign(variant: str) -> None:
    frames = np.repeat(np.random.default_rng(0).integers(0, 200, (1, 16, 16), np.uint8), 12, axis=0)
    assert (dynamic_image(frames, variant) == 0).all()
    frames[:, 4:8, 4:8] += np.arange(12, dtype=np.uint8)[:, None, None]
    image = dynamic_image(frames, variant)
    assert (image[4:8, 4:8] > 0).all()
    assert (image[10:] == 0).all()
    assert (dynamic_image(frames[::-1], variant)[4:8, 4:8] < 0).all()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("moving", [3, 60])
def test_exactly_what_never_changes_is_zero(kind: type[np.generic], moving: int) -> None:
    frames = np.repeat(np.random.default_rng(0).integers(1, 200, (1, 64, 64)), 30, axis=0).astype(kind)
    frames[:, :moving] += (np.arange(30) % 7).astype(kind)[:, None, None]
    plain = np.tensordot(rank_weights(30), frames.astype(np.float64), 1)
    image = dynamic_image(frames)
    assert ((image == 0) == (frames == frames[0]).all(0)).all()
    assert image[:moving] == pytest.approx(plain[:moving], abs=0.02)


def test_segments_are_consecutive_and_equal() -> None:
    assert segments(10, 3) == [slice(0, 3), slice(3, 6), slice(6, 10)]
    for length in range(1, 30):
        for parts in range(1, length + 1):
            slices = segments(length, parts)
            sizes = [s.stop - s.start for s in slices]
            assert sum(sizes) == length
            assert max(sizes) - min(sizes) <= 1
            assert np.concatenate([np.arange(length)[s] for s in slices]).tolist() == list(range(length))


def test_wrong_arguments_raise_mien_error() -> None:
    with pytest.raises(MienError, match="at least two"):
        dynamic_image(np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(MienError, match="`bilen`"):
        dynamic_image(np.zeros((3, 4, 4), np.uint8), "bilem")
    with pytest.raises(MienError, match="at least two"):
        rank_weights(0)
    for parts in (0, 5):
        with pytest.raises(MienError, match="1 to 4 parts"):
            segments(4, parts)
