"""LBP-TOP and LBP-SIP against loops, against scikit-image, and what they must be blind to."""

import itertools
from math import ceil, cos, floor, pi, sin

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.feature import local_binary_pattern

from mien.descriptors import lbp_sip, lbp_top
from mien.descriptors.lbp import n_bins, uniform_map
from mien.errors import MienError
from mien.synthesis.moving_face import render_clip


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """A drawn face that smiles, with patches of one level (ties) where it is overexposed."""
    grey = render_clip(1, "positive", interval_length=9, apex=4, size=32, seed=0, colour=False)
    return np.asarray(np.clip(grey.astype(int) + 60, 0, 230), np.uint8)


ONE = 100_000


def between(clip: np.ndarray, place: list[int]) -> int:
    """The level at a place told in 1 / ONE, times ONE cubed: whole numbers only."""
    total = 0
    for corner in itertools.product(*((0, 1) if p % ONE else (0,) for p in place)):
        weight = 1
        for p, c in zip(place, corner, strict=True):
            weight *= p % ONE if c else ONE - p % ONE
        total += weight * int(clip[tuple(p // ONE + c for p, c in zip(place, corner, strict=True))])
    return total


def slow_lbp_top(
    clip: np.ndarray, radii: tuple[float, float, float], neighbours: int, blocks: tuple[int, int, int], nearest: bool
) -> np.ndarray:
    """(times, rows, columns, planes, patterns) counts, voxel by voxel."""
    rx, ry, rt = radii
    border, ends = ceil(max(rx, ry)), ceil(rt)
    reach = {2: rx, 1: ry, 0: rt}
    inner = [clip.shape[0] - 2 * ends, clip.shape[1] - 2 * border, clip.shape[2] - 2 * border]
    rows, columns, times = blocks
    counts = np.zeros((times, rows, columns, 3, 2**neighbours), int)
    for t, y, x in np.ndindex(*inner):
        centre = [t + ends, y + border, x + border]
        block = []
        for at, length, n in zip((t, y, x), inner, (times, rows, columns), strict=True):
            block.append(next(i for i in range(n) if round(i * length / n) <= at < round((i + 1) * length / n)))
        for plane, (a, b) in enumerate(((2, 1), (2, 0), (1, 0))):
            code = 0
            for p in range(neighbours):
                da, db = reach[a] * cos(2 * pi * p / neighbours), -reach[b] * sin(2 * pi * p / neighbours)
                place = [c * ONE for c in centre]
                for axis, d in ((a, da), (b, db)):
                    whole = (1 if d > 0 else -1) * floor(abs(d) + 0.5 + 1e-9)
                    place[axis] += whole * ONE if nearest else round(d * ONE)
                code |= (between(clip, place) >= ONE**3 * int(clip[tuple(centre)])) << p
            counts[(*block, plane, code)] += 1
    return counts


def slow_uniform(neighbours: int) -> list[int]:
    """Bin of every pattern, by counting changes bit by bit."""
    bins, used, rest = [], 0, []
    for code in range(2**neighbours):
        bits = [(code >> p) & 1 for p in range(neighbours)]
        changes = sum(bits[p] != bits[p - 1] for p in range(neighbours))
        bins.append(used if changes <= 2 else -1)
        used += changes <= 2
        if changes > 2:
            rest.append(code)
    for code in rest:
        bins[code] = used
    return bins


@pytest.mark.parametrize("neighbours", [2, 4, 8, 10])
def test_uniform_map(neighbours: int) -> None:
    bins, n = uniform_map(neighbours)
    assert bins.tolist() == slow_uniform(neighbours)
    assert n == max(bins) + 1 == neighbours * (neighbours - 1) + 3 if neighbours > 2 else True
    assert n_bins(8) == 59


@pytest.mark.parametrize(
    ("radii", "neighbours", "blocks", "interpolation"),
    [
        ((3, 3, 3), 8, (2, 3, 1), "bilinear"),
        ((1, 1, 4), 4, (1, 2, 1), "bilinear"),
        ((2, 1.5, 1), 6, (1, 1, 2), "bilinear"),
        ((3, 2, 1), 8, (2, 1, 2), "nearest"),
    ],
)
@pytest.mark.parametrize("what", ["noise", "face"])
def test_lbp_top_equals_a_slow_implementation(
    radii: tuple[float, float, float],
    neighbours: int,
    blocks: tuple[int, int, int],
    interpolation: str,
    what: str,
    face: np.ndarray,
) -> None:
    clip = noise(9, 14, 15) if what == "noise" else face[:, 8:22, 8:23]
    slow = slow_lbp_top(clip, radii, neighbours, blocks, interpolation == "nearest")
    given = {"radius": radii, "neighbours": neighbours, "blocks": blocks, "interpolation": interpolation}
    counts = lbp_top(clip, mapping="full", normalise=False, **given)  # type: ignore[arg-type]
    assert np.array_equal(counts, slow.ravel())
    uniform = np.zeros((*slow.shape[:-1], n_bins(neighbours)), int)
    for code, place in enumerate(slow_uniform(neighbours)):
        uniform[..., place] += slow[..., code]
    shares = uniform / uniform.sum(-1, keepdims=True)
    assert np.allclose(lbp_top(clip, **given), shares.ravel(), atol=1e-12)  # type: ignore[arg-type]


def test_lbp_top_with_more_than_8_neighbours() -> None:
    clip = noise(5, 8, 9)
    slow = slow_lbp_top(clip, (1, 1, 1), 10, (1, 1, 1), False)
    uniform = np.zeros((3, n_bins(10)), int)
    for code, place in enumerate(slow_uniform(10)):
        uniform[:, place] += slow[0, 0, 0, :, code]
    found = lbp_top(clip, radius=1, neighbours=10, blocks=(1, 1, 1), normalise=False)
    assert np.array_equal(found, uniform.ravel())


def test_lbp_top_equals_scikit_image_in_each_plane() -> None:
    clip = noise(12, 20, 24)
    found = lbp_top(clip, blocks=(1, 1, 1), normalise=False).reshape(3, 59)
    slices = (
        [clip[t] for t in range(3, 9)],
        [clip[:, y] for y in range(3, 17)],
        [clip[:, :, x] for x in range(3, 21)],
    )
    inner = (slice(3, -3), slice(3, -3))
    for plane, pictures in enumerate(slices):
        theirs = np.zeros(59, int)
        order: dict[int, int] = {}  # scikit-image numbers the same 59 bins in another order
        for picture in pictures:
            bins, codes = (
                local_binary_pattern(picture, 8, 3, kind)[inner].astype(int)  # type: ignore[no-untyped-call]
                for kind in ("nri_uniform", "default")
            )
            theirs += np.bincount(bins.ravel(), minlength=59)
            order |= dict(zip(bins.ravel(), uniform_map(8)[0][codes.ravel()], strict=True))
        assert len(set(order.values())) == len(order)
        for bin_there, bin_here in order.items():
            assert theirs[bin_there] == found[plane, bin_here]
        assert theirs.sum() == found[plane].sum()


def slow_lbp_sip(clip: np.ndarray, radii: tuple[int, int, int], blocks: tuple[int, int]) -> np.ndarray:
    """(rows, columns, 20) counts, voxel by voxel: 16 patterns in space, then 4 in time."""
    rx, ry, rt = radii
    border = max(rx, ry)
    t1, h, w = clip.shape[0] - rt, clip.shape[1] - 2 * border, clip.shape[2] - 2 * border
    counts = np.zeros((*blocks, 20), int)
    for t in range(rt, t1):
        for y, x in np.ndindex(h, w):
            row = next(i for i in range(blocks[0]) if y < round((i + 1) * h / blocks[0]))
            column = next(i for i in range(blocks[1]) if x < round((i + 1) * w / blocks[1]))
            j, i = y + border, x + border
            c = clip[t, j, i]
            around = [clip[t, j, i + rx], clip[t, j - ry, i], clip[t, j, i - rx], clip[t, j + ry, i]]
            in_time = [clip[t + rt, j, i], clip[t - rt, j, i]]
            counts[row, column, sum(int(v >= c) << p for p, v in enumerate(around))] += 1
            counts[row, column, 16 + sum(int(v >= c) << p for p, v in enumerate(in_time))] += 1
    return counts


@pytest.mark.parametrize("radii", [(3, 3, 3), (1, 2, 3)])
@pytest.mark.parametrize("what", ["noise", "face"])
def test_lbp_sip_equals_a_slow_implementation(radii: tuple[int, int, int], what: str, face: np.ndarray) -> None:
    clip = noise(9, 18, 16) if what == "noise" else face
    slow = slow_lbp_sip(clip, radii, (3, 2))
    assert np.array_equal(lbp_sip(clip, radius=radii, blocks=(3, 2, 1), normalise=False), slow.ravel())
    joint = lbp_sip(clip, radius=radii, blocks=(3, 2, 1), normalise=False, joint=True).reshape(6, 4, 16)
    assert np.array_equal(np.concatenate([joint.sum(1), joint.sum(2)], 1).ravel(), slow.ravel())


def test_block_counts_of_overlapping_blocks() -> None:
    clip = noise(9, 30, 26)
    found = lbp_top(clip, blocks=(2, 3, 1), overlap=0.5, normalise=False).reshape(2, 3, 3 * 59)
    # 24 rows in two blocks that share half: 16 long, from 0 and 8; 20 columns in three: 10 long, from 0, 5 and 10.
    for row, top in enumerate((0, 8)):
        for column, left in enumerate((0, 5, 10)):
            alone = clip[:, top : top + 16 + 6, left : left + 10 + 6]
            assert np.array_equal(found[row, column], lbp_top(alone, blocks=(1, 1, 1), normalise=False))


def test_blocks_equal_crops_for_any_length_of_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = noise(20, 26, 26)
    whole = lbp_top(clip, blocks=(2, 2, 2), normalise=False)
    crop = lbp_top(clip[:13, :16, 10:], blocks=(1, 1, 1), normalise=False)
    assert np.array_equal(whole.reshape(2, 2, 2, -1)[0, 0, 1], crop)
    monkeypatch.setattr("mien.descriptors.lbp._AT_ONCE", 1)
    assert np.array_equal(lbp_top(clip, blocks=(2, 2, 2), normalise=False), whole)


increasing = st.lists(st.integers(1, 9), min_size=32, max_size=32)


@settings(max_examples=15, deadline=None)
@given(increasing, st.integers(0, 5))
def test_patterns_without_interpolation_ignore_increasing_functions_of_grey(steps: list[int], seed: int) -> None:
    clip = noise(8, 14, 14, seed=seed) // 8
    changed = np.cumsum(steps).astype(np.uint16)[clip]
    assert np.array_equal(lbp_sip(clip, blocks=(2, 2, 1)), lbp_sip(changed, blocks=(2, 2, 1)))
    for given_ in ({"interpolation": "nearest"}, {"neighbours": 4, "mapping": "full"}):
        before, after = (lbp_top(c, blocks=(2, 2, 1), **given_) for c in (clip, changed))
        assert np.array_equal(before, after)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 200), st.integers(-1000, 1000), st.integers(0, 5))
def test_bilinear_patterns_ignore_scale_and_shift_of_grey(scale: int, shift: int, seed: int) -> None:
    clip = noise(8, 14, 14, seed=seed)
    changed = clip.astype(np.int32) * scale + shift
    assert np.array_equal(lbp_top(clip, blocks=(2, 2, 1)), lbp_top(changed, blocks=(2, 2, 1)))


def test_bilinear_patterns_depend_on_nonlinear_changes_of_grey() -> None:
    """The limit of the claim: squaring moves interpolated levels past their centre."""
    clip = noise(8, 20, 20)
    assert not np.array_equal(lbp_top(clip, blocks=(1, 1, 1)), lbp_top(clip.astype(np.int32) ** 2, blocks=(1, 1, 1)))


def test_lbp_of_floats_equals_that_of_uint8(face: np.ndarray) -> None:
    for floats in (face.astype(np.float32), face / 256):
        assert np.array_equal(lbp_top(face), lbp_top(floats))
        assert np.array_equal(lbp_sip(face), lbp_sip(floats))


def test_patterns_of_uniform_areas_are_all_ones() -> None:
    clip = np.full((8, 40, 40), 77, np.uint8)
    clip[:, :, -1] = 3
    patterns = lbp_top(clip, blocks=(1, 2, 1), mapping="full").reshape(2, 3, 256)
    assert (patterns[0, :, 255] == 1).all()


@pytest.mark.parametrize("describe", [lbp_top, lbp_sip])
def test_lbp_depends_on_every_frame_and_block(describe: object, face: np.ndarray) -> None:
    before = describe(face, blocks=(2, 2, 1))  # type: ignore[operator]
    for frame in range(len(face)):
        changed = face.copy()
        changed[frame] = cv2.flip(face[frame], 1)
        assert not np.array_equal(describe(changed, blocks=(2, 2, 1)), before)  # type: ignore[operator]
    changed = face.copy()
    changed[:, :8, :8] = 255 - changed[:, :8, :8]
    parts = np.abs(describe(changed, blocks=(2, 2, 1)) - before).reshape(4, -1).sum(1)  # type: ignore[operator]
    assert parts[0] > 0
    assert parts[3] == 0


def test_patterns_over_time_of_a_still_clip() -> None:
    still = np.repeat(noise(1, 20, 20), 8, 0)
    in_time = lbp_sip(still, blocks=(1, 1, 1))[16:]
    assert in_time.tolist() == [0, 0, 0, 1]


def test_histograms_sum_to_one(face: np.ndarray) -> None:
    sums = lbp_top(face, blocks=(3, 2, 1)).reshape(-1, 59).sum(1)
    assert sums.shape == (18,)
    assert np.allclose(sums, 1, atol=1e-12)


@pytest.mark.parametrize("describe", [lbp_top, lbp_sip])
@pytest.mark.parametrize(
    ("clip", "given_", "says"),
    [
        (noise(6, 20, 20), {}, r"6 frames, too few for radius=3.*at least 7"),
        (noise(9, 6, 20), {}, r"6 rows, too few for radius=3"),
        (noise(9, 20, 6), {}, r"6 columns"),
        (noise(9, 20, 20), {"radius": (3, 3)}, r"radius is \(3, 3\)"),
        (noise(9, 20, 20), {"radius": 0}, r"radius is 0"),
        (noise(9, 20, 20), {"blocks": (5, 5)}, r"blocks is \(5, 5\)"),
        (noise(9, 20, 20), {"blocks": (30, 1, 1)}, r"14 rows into 30"),
        (noise(9, 20, 20), {"overlap": 1.0}, r"overlap is 1.0"),
        (noise(9, 20, 20, 3), {}, r"needs grey levels"),
        (noise(20, 20), {}, r"\(T, H, W\)"),
        (np.full((9, 20, 20), 7, np.uint8), {}, r"constant: every value is 7"),
        (np.where(noise(9, 20, 20) > 250, np.nan, 1.0), {}, r"NaN or infinity \(frame 0\)"),
        (noise(9, 20, 20) > 9, {}, r"bool"),
    ],
)
def test_bad_input_raises_mien_error(describe: object, clip: np.ndarray, given_: dict[str, object], says: str) -> None:
    with pytest.raises(MienError, match=says):
        describe(clip, **given_)  # type: ignore[operator]


@pytest.mark.parametrize("given_", [{"neighbours": 1}, {"mapping": "riu"}, {"interpolation": "cubic"}])
def test_bad_parameters_raise_mien_error(given_: dict[str, object]) -> None:
    with pytest.raises(MienError, match=next(iter(given_))):
        lbp_top(noise(9, 20, 20), **given_)  # type: ignore[arg-type]
    with pytest.raises(MienError, match="whole pixels"):
        lbp_sip(noise(9, 20, 20), radius=2.5)  # type: ignore[arg-type]
