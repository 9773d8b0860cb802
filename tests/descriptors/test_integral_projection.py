"""STLBP-IP against loops over blocks, frames and places; its hierarchical form; what it must see and not see."""

import numpy as np
import pytest

from mien.descriptors import hierarchical_stlbp_ip, stlbp_ip
from mien.descriptors.lbp import lbp_top
from mien.errors import MienError
from mien.synthesis.moving_face import render_clip


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return render_clip(1, "surprise", interval_length=9, apex=4, size=48, seed=0, colour=False)


def slow_line(sums: np.ndarray, mask: int) -> np.ndarray:
    """Counts of 1-D patterns of sums (frames, places)."""
    half, counts = mask // 2, np.zeros(2 ** (mask - 1), int)
    for row in sums:
        for place in range(half, len(row) - half):
            around = [*row[place - half : place], *row[place + 1 : place + half + 1]]
            counts[sum(int(v >= row[place]) << bit for bit, v in enumerate(around))] += 1
    return counts


def slow_picture(sums: np.ndarray, radius: int) -> np.ndarray:
    """Counts of 59 patterns of the picture (frames, places), by LBP-TOP, which has its own test."""
    picture = np.repeat(sums[None], 2 * radius + 1, 0)
    return lbp_top(picture, radius=radius, blocks=(1, 1, 1), normalise=False)[:59].astype(int)


def slow_stlbp_ip(clip: np.ndarray, mask: int, radius: int, blocks: tuple[int, int], absolute: bool) -> np.ndarray:
    change = clip[1:].astype(int) - clip[0].astype(int)
    change = abs(change) if absolute else change
    _, h, w = clip.shape
    parts = []
    for i in range(blocks[0]):
        for j in range(blocks[1]):
            ys = slice(round(i * h / blocks[0]), round((i + 1) * h / blocks[0]))
            xs = slice(round(j * w / blocks[1]), round((j + 1) * w / blocks[1]))
            rows, columns = change[:, ys, xs].sum(2), change[:, ys, xs].sum(1)
            parts += [slow_line(rows, mask), slow_line(columns, mask)]
            parts += [slow_picture(columns, radius), slow_picture(rows, radius)]
    return np.concatenate(parts)


@pytest.mark.parametrize(
    ("mask", "radius", "blocks", "absolute"), [(9, 1, (2, 3), False), (5, 2, (3, 2), True), (9, 3, (1, 1), False)]
)
@pytest.mark.parametrize("what", ["noise", "face"])
def test_stlbp_ip_equals_a_slow_implementation(
    mask: int, radius: int, blocks: tuple[int, int], absolute: bool, what: str, face: np.ndarray
) -> None:
    clip = noise(9, 29, 37) if what == "noise" else face
    slow = slow_stlbp_ip(clip, mask, radius, blocks, absolute)
    settings = {"mask": mask, "radius": radius, "blocks": blocks, "absolute": absolute}
    found = stlbp_ip(clip, normalise=False, **settings)  # type: ignore[arg-type]
    assert np.array_equal(found, slow)
    block = 2 * 2 ** (mask - 1) + 2 * 59
    assert found.size == block * blocks[0] * blocks[1]
    edges = np.cumsum([2 ** (mask - 1), 2 ** (mask - 1), 59])
    shares = [part / part.sum() for one in slow.reshape(-1, block) for part in np.split(one, edges)]
    assert np.allclose(stlbp_ip(clip, **settings), np.concatenate(shares), atol=1e-12)  # type: ignore[arg-type]


def test_hierarchical_stlbp_ip_concatenates_its_grids(face: np.ndarray) -> None:
    grids = ((1, 1), (2, 3), (4, 4))
    whole = hierarchical_stlbp_ip(face, grids=grids)
    assert np.array_equal(whole, np.concatenate([stlbp_ip(face, blocks=grid) for grid in grids]))
    large = np.kron(face, np.ones((1, 2, 2), np.uint8))
    assert hierarchical_stlbp_ip(large).shape == (85 * 630,)


def test_stlbp_ip_depends_on_changes_only(face: np.ndarray) -> None:
    texture = noise(1, 48, 48)[0] // 4
    dark = face // 2
    assert np.array_equal(stlbp_ip(dark), stlbp_ip(dark + texture))


def test_stlbp_ip_of_floats_equals_that_of_uint8(face: np.ndarray) -> None:
    assert np.array_equal(stlbp_ip(face), stlbp_ip(face / 256))


def test_stlbp_ip_depends_on_every_frame(face: np.ndarray) -> None:
    before = stlbp_ip(face, blocks=(2, 2))
    for frame in range(len(face)):
        changed = face.copy()
        changed[frame] = face[frame, :, ::-1]
        assert not np.array_equal(stlbp_ip(changed, blocks=(2, 2)), before)


def test_stlbp_ip_of_a_still_clip() -> None:
    found = stlbp_ip(np.repeat(noise(1, 20, 20), 6, 0), blocks=(1, 1))
    assert np.flatnonzero(found).tolist() == [255, 511, 512 + 57, 512 + 59 + 57]
    assert found.sum() == 4


@pytest.mark.parametrize("describe", [stlbp_ip, hierarchical_stlbp_ip])
@pytest.mark.parametrize(
    ("clip", "given", "says"),
    [
        (noise(3, 90, 90), {}, "3 frames, too few for mask=9, radius=1 and .*at least 4"),
        (noise(9, 8, 90), {}, "8 rows, too few for mask=9"),
        (noise(9, 90, 90), {"mask": 8}, "mask is 8"),
        (noise(9, 90, 90), {"radius": 0}, "radius is 0"),
        (noise(9, 90, 90), {"mapping": "riu2"}, "mapping is 'riu2'"),
        (noise(9, 90, 90, 3), {}, "colour"),
        (np.full((9, 90, 90), 4.0), {}, "constant"),
        (np.full((9, 90, 90), np.nan), {}, "NaN"),
    ],
)
def test_bad_input_raises_mien_error(describe: object, clip: np.ndarray, given: dict[str, object], says: str) -> None:
    with pytest.raises(MienError, match=says):
        describe(clip, **given)  # type: ignore[operator]


def test_bad_grids_raise_mien_error() -> None:
    with pytest.raises(MienError, match="blocks is"):
        stlbp_ip(noise(9, 40, 40), blocks=(5, 5, 1))  # type: ignore[arg-type]
    with pytest.raises(MienError, match="grids is empty"):
        hierarchical_stlbp_ip(noise(9, 40, 40), grids=())
