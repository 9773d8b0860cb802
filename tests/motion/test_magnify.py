import tracemalloc
from typing import Any

import numpy as np
import pytest

from mien.errors import MienError
from mien.motion.magnify import Magnifier, coefficients, level_gains, magnify

TAPS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def mirrored(i: int, n: int) -> int:
    """Return index i of a signal of n samples that is mirrored at its first and last sample."""
    i = abs(i)
    return 2 * (n - 1) - i if i >= n else i


def blurred(picture: np.ndarray) -> np.ndarray:
    """Blur with the 5x5 binomial kernel, tap by tap."""
    height, width = picture.shape
    result = np.zeros_like(picture)
    for dy, weight_y in enumerate(TAPS, -2):
        rows = [mirrored(y + dy, height) for y in range(height)]
        for dx, weight_x in enumerate(TAPS, -2):
            columns = [mirrored(x + dx, width) for x in range(width)]
            result += weight_y * weight_x * picture[np.ix_(rows, columns)]
    return result


def enlarged(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    sparse = np.zeros(shape)
    sparse[::2, ::2] = picture
    return 4 * blurred(sparse)


def laplacian(picture: np.ndarray, levels: int) -> list[np.ndarray]:
    bands = []
    for _ in range(levels - 1):
        small = blurred(picture)[::2, ::2]
        bands.append(picture - enlarged(small, picture.shape))
        picture = small
    return [*bands, picture]


def rebuilt(bands: list[np.ndarray]) -> np.ndarray:
    picture = bands[-1]
    for band in bands[-2::-1]:
        picture = band + enlarged(picture, band.shape)
    return picture


def slow_magnify(
    frames: np.ndarray,
    alpha: float,
    r1: float = 0.4,
    r2: float = 0.05,
    wavelength: float = 16,
    chroma: float = 0.1,
    exaggeration: float = 2,
) -> np.ndarray:
    """Magnify (T, H, W, C) in 0..1 by the definition: bands of a Laplacian pyramid in YIQ, frame by frame."""
    to_rgb = np.array([[1, 0.956, 0.621], [1, -0.272, -0.647], [1, -1.106, 1.703]])
    colour = frames.shape[-1] == 3
    height, width = frames.shape[1:3]
    levels = 1
    side = min(height, width)
    while side >= 5:
        side //= 2
        levels += 1
    fast: list[list[np.ndarray]] = []
    slow: list[list[np.ndarray]] = []
    result = []
    for t, frame in enumerate(frames.astype(np.float64)):
        planes = frame @ np.linalg.inv(to_rgb).T if colour else frame
        change = np.zeros_like(planes)
        for c in range(planes.shape[-1]):
            bands = laplacian(planes[..., c], levels)
            if t == 0:
                fast.append(list(bands))
                slow.append(list(bands))
            delta = wavelength / 8 / (1 + alpha)
            size = np.sqrt(height**2 + width**2) / 3
            passed: list[np.ndarray] = [np.zeros(0)] * levels
            for level in range(levels - 1, -1, -1):
                fast[c][level] = (1 - r1) * fast[c][level] + r1 * bands[level]
                slow[c][level] = (1 - r2) * slow[c][level] + r2 * bands[level]
                gain = min(alpha, max(0.0, exaggeration * (size / 8 / delta - 1)))
                if level in (0, levels - 1):
                    gain = 0
                passed[level] = gain * (fast[c][level] - slow[c][level])
                size /= 2
            change[..., c] = rebuilt(passed) * (chroma if c else 1)
        result.append(np.clip(frame + (change @ to_rgb.T if colour else change), 0, 1))
    return np.stack(result)


def moving_clip(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return drifting noise in 0..1 that changes in every band of every channel; some pixels are black or white."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.03, shape).cumsum(0) + rng.normal(0, 0.08, shape)
    swell = 0.3 * np.sin(np.arange(shape[0]))[:, None] * np.linspace(0, 1, shape[1])
    steps += swell.reshape(*shape[:2], *[1] * (len(shape) - 2))
    return np.clip(0.5 + steps, 0, 1)


@pytest.mark.parametrize("shape", [(5, 23, 31, 3), (4, 40, 26, 3), (5, 33, 20, 1)])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"alpha": 3.0, "r1": 0.7, "r2": 0.1, "wavelength": 4.0, "chroma": 0.5, "exaggeration": 1.0},
        {"alpha": 20.0, "chroma": 1.0, "wavelength": 30.0},
    ],
)
def test_magnify_equals_the_slow_implementation(shape: tuple[int, ...], given: dict[str, float]) -> None:
    frames = moving_clip(shape)
    expected = slow_magnify(frames, **{"alpha": 8.0, **given})
    if shape[-1] == 1:
        frames, expected = frames[..., 0], expected[..., 0]
    ours = magnify(frames, **given)
    assert ours.shape == frames.shape
    assert ours.dtype == np.float32
    assert np.abs(ours - expected).max() < 1e-4
    assert np.abs(ours - frames).max() > 0.05


def test_magnify_of_uint8_is_the_rounded_float_result() -> None:
    frames = np.round(moving_clip((6, 37, 29, 3)) * 255).astype(np.uint8)
    ours = magnify(frames)
    assert ours.dtype == np.uint8
    expected = slow_magnify(frames / 255, 8) * 255
    assert {0, 255} <= set(np.unique(ours).tolist())
    assert np.abs(ours - expected).max() < 0.51


def test_several_factors_equal_each_factor_alone() -> None:
    frames = moving_clip((6, 45, 52, 3)).astype(np.float32)
    alphas = [5, 0, 8.5, 0.5, 14, 30]
    together = magnify(frames, alphas)
    assert together.shape == (6, *frames.shape)
    for alpha, ours in zip(alphas, together, strict=True):
        assert np.abs(ours - magnify(frames, alpha)).max() < 1e-5
    assert np.abs(together[1] - frames).max() < 1e-5


def test_first_frame_and_still_clips_are_unchanged() -> None:
    frames = (moving_clip((3, 40, 41, 3)) * 255).astype(np.uint8)
    assert np.array_equal(magnify(frames, [8, 20])[:, 0], np.stack([frames[0]] * 2))
    still = np.repeat(frames[:1], 30, axis=0)
    assert np.array_equal(magnify(still, 14), still)
    assert np.array_equal(magnify(still[..., 0] / np.float32(255)), still[..., 0] / np.float32(255))


def test_all_frames_are_returned_and_magnifier_equals_magnify() -> None:
    frames = (moving_clip((12, 32, 27)) * 255).astype(np.uint8)
    whole = magnify(frames, [5, 8])
    assert whole.shape == (2, 12, 32, 27)
    assert np.abs(whole[:, -1].astype(int) - frames[-1]).max() > 10
    stream = Magnifier(32, 27, False, [5, 8])
    assert np.array_equal(np.stack([stream.push(frame) for frame in frames], axis=1), whole)


def test_magnify_accepts_any_memory_layout() -> None:
    frames = (moving_clip((4, 30, 26, 3)) * 255).astype(np.uint8)
    expected = magnify(frames)
    before = frames.copy()
    assert np.array_equal(magnify(np.asfortranarray(frames)), expected)
    spread = np.zeros((1, 30, 26, 6), np.uint8)[..., ::2]
    stream = Magnifier(30, 26, True)
    for frame in frames:
        stream.push(frame, out=spread)
    assert np.array_equal(spread[0], expected[-1])
    assert np.array_equal(frames, before)


def kept_by_blur(frequency: float, level: int) -> float:
    """Share of a grating of some radians per pixel that is left after `level` halvings and as many doublings."""
    share = 1.0
    for k in range(level):
        share *= ((1 + np.cos(2**k * frequency)) / 2) ** 4
    return share


@pytest.mark.parametrize("period", [10.0, 20.0, 50.0])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_known_movement_is_magnified_by_the_expected_factor(period: float, axis: int) -> None:
    pixels, length, alpha, amplitude, r1, r2 = 192, 40.0, 8.0, 0.05, 0.4, 0.05
    frames_n = round(8 * period)
    wave = 2 * np.pi / length
    moment = 2 * np.pi / period
    shift = amplitude * np.sin(moment * np.arange(frames_n))
    along = 0.5 + 0.3 * np.sin(wave * (np.arange(pixels) - shift[:, None]))
    clip = np.repeat(along[:, None, :], 64, axis=1)
    clip = np.ascontiguousarray(clip.swapaxes(1, 2)) if axis == 0 else clip
    ours = magnify(clip, alpha)
    line = ours[:, :, 32] if axis == 0 else ours[:, 32]
    # The phase of the grating over two whole periods in the middle of the picture, away from the mirrored borders.
    middle = slice(56, 136)
    phase = np.angle(line[:, middle] @ np.exp(-1j * wave * np.arange(pixels)[middle]))
    moved = -(phase - phase.mean()) / wave
    settled = slice(frames_n - 2 * round(period), None)
    swing = 2 * np.abs(np.mean(moved[settled] * np.exp(-1j * moment * np.arange(frames_n)[settled])))
    delay = np.exp(-1j * moment)
    response = r1 / (1 - (1 - r1) * delay) - r2 / (1 - (1 - r2) * delay)
    height, width = clip.shape[1:]
    rates = np.diff(level_gains(height, width, alpha))
    share = sum(rate * kept_by_blur(wave, level) for level, rate in enumerate(rates, 1))
    expected = abs(1 + share * response)
    assert 2.5 < expected < 1 + alpha
    assert swing / amplitude == pytest.approx(expected, rel=0.1)


def test_level_gains_follow_the_formula() -> None:
    # sqrt(300^2 + 245^2) / 3 = 129.1 pixels at the seventh level; the finest magnified band stands for 129.1 / 32.
    assert level_gains(300, 245, 8) == pytest.approx([0, 2.539, 7.078, 8, 8, 8, 0], abs=1e-3)
    assert level_gains(300, 245, 0).tolist() == [0] * 7
    assert len(level_gains(10, 10, 8)) == 3
    assert level_gains(300, 245, 1)[1] == 0


@pytest.mark.parametrize("fps", [30.0, 100.0, 200.0])
def test_coefficients_have_the_requested_cut_off_frequencies(fps: float) -> None:
    low, high = fps / 100, fps / 8
    fast, slow = coefficients(low, high, fps)
    for hz, r in ((high, fast), (low, slow)):
        delay = np.exp(-2j * np.pi * hz / fps)
        assert abs(r / (1 - (1 - r) * delay)) ** 2 == pytest.approx(0.5)
    # The usual 0.4 and 0.05, by the same formula the other way round.
    usual = [fps * np.arccos(1 - r * r / (2 * (1 - r))) / (2 * np.pi) for r in (0.05, 0.4)]
    assert coefficients(usual[0], usual[1], fps) == pytest.approx((0.4, 0.05))


def test_memory_does_not_grow_with_the_number_of_frames() -> None:
    frame = (moving_clip((1, 64, 60, 3))[0] * 255).astype(np.uint8)

    def peak(n: int) -> int:
        stream = Magnifier(64, 60, True, [5, 8])
        out = np.empty((2, 64, 60, 3), np.uint8)
        stream.push(frame, out)
        tracemalloc.start()
        for t in range(n):
            stream.push(np.roll(frame, t, axis=1), out)
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    assert peak(200) < 1.1 * peak(20)


def test_frames_of_another_type_raise_mien_error() -> None:
    stream = Magnifier(20, 20, False)
    stream.push(np.zeros((20, 20), np.uint8))
    with pytest.raises(MienError, match="float64 after others"):
        stream.push(np.zeros((20, 20)))
    with pytest.raises(MienError, match=r"`out` for \(1, 20, 20\) float32"):
        stream.push(np.zeros((20, 20), np.uint8), out=np.empty((1, 20, 20), np.float32))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: magnify(np.zeros((3, 8, 40), np.uint8)), "too small"),
        (lambda: magnify(np.zeros((40, 40), np.uint8)), r"\(40, 40\)"),
        (lambda: magnify(np.zeros((3, 40, 40, 4), np.uint8)), "RGB"),
        (lambda: magnify(np.zeros((0, 40, 40), np.uint8)), "at least one frame"),
        (lambda: magnify(np.zeros((3, 40, 40), np.int32)), "int32"),
        (lambda: magnify(np.full((3, 40, 40), 255.0)), "frames / 255"),
        (lambda: magnify(np.full((3, 40, 40), np.nan)), "0 .black. to 1"),
        (lambda: magnify(np.zeros((3, 40, 40), np.uint8), -1), "alpha >= 0"),
        (lambda: magnify(np.zeros((3, 40, 40), np.uint8), []), "No magnification factor"),
        (lambda: magnify(np.zeros((3, 40, 40), np.uint8), wavelength=0), "wavelength"),
        (lambda: magnify(np.zeros((3, 40, 40), np.uint8), r1=0.05, r2=0.4), "r2 < r1"),
        (lambda: magnify(np.zeros((3, 40, 40), np.uint8), chroma=-1), "chroma"),
        (lambda: Magnifier(40, 40, True).push(np.zeros((40, 40), np.uint8)), "RGB"),
        (lambda: coefficients(1, 15, 30), "half the frame rate"),
        (lambda: coefficients(2, 1, 30), "0 < low < high"),
        (lambda: coefficients(0, 1, 30), "0 < low < high"),
        (lambda: coefficients(1, 2, float("nan")), "half the frame rate"),
    ],
)
def test_wrong_arguments_raise_mien_error(call: Any, words: str) -> None:
    with pytest.raises(MienError, match=words):
        call()
