"""The appearance network: which pixels it keeps, in which order, and what it has to do with other clips."""

import numpy as np
import pytest
import torch

from mien.models.masked import MaskedRCN, learn_mask, untrained
from mien.models.rcn import RCN
from mien.preprocessing.inputs import ArrayInputs
from mien.systems import SYSTEMS

RANDOM = np.random.default_rng(0)


def moving_where(place: tuple[slice, slice], n: int = 6) -> ArrayInputs:
    """Clips that change in one part of the picture only; the second copies change elsewhere."""
    clips = np.full((n, 2, 8, 16, 12, 3), 100, np.uint8)
    change = RANDOM.integers(0, 80, size=(n, 8, 16, 12, 3), dtype=np.uint8)
    clips[:, 0, 1:, *place] += change[:, 1:, *place]
    clips[:, 1, 1:, 12:, :] += change[:, 1:, 12:, :]
    return ArrayInputs(clips, copies=2)


def test_learn_mask_selects_the_pixels_in_which_copy_0_moves() -> None:
    place = (slice(2, 6), slice(3, 9))
    mask = learn_mask(moving_where(place), share=24 / 192)
    assert mask.sum() == 24
    assert mask[place].all()


def test_each_training_set_has_its_own_mask() -> None:
    one, other = moving_where((slice(0, 4), slice(0, 6))), moving_where((slice(4, 8), slice(0, 6)))
    assert not np.array_equal(learn_mask(one, 0.1), learn_mask(other, 0.1))
    both = ArrayInputs(np.concatenate([one.array, other.array]), copies=2)
    assert np.array_equal(learn_mask(both[range(6)], 0.1), learn_mask(one, 0.1))


def test_per_clip_max_gives_all_clips_the_same_weight() -> None:
    quiet, loud = moving_where((slice(0, 4), slice(0, 6)), 3), moving_where((slice(4, 8), slice(0, 6)), 1)
    quiet.array[:] = 100 + (quiet.array.astype(int) - 100) // 20
    both = ArrayInputs(np.concatenate([quiet.array, loud.array]), copies=2)
    assert learn_mask(both, 0.125)[4:8, :6].all()
    assert learn_mask(both, 0.125, per_clip_max=True)[0:4, :6].mean() > 0.9


@pytest.mark.parametrize("channels", [1, 3])
def test_forward_uses_the_masked_pixels_in_column_order(channels: int) -> None:
    torch.manual_seed(0)
    mask = RANDOM.random((7, 5)) < 0.6
    net = MaskedRCN(mask, 9, channels, 4, maps=3).eval()
    x = torch.from_numpy(RANDOM.integers(0, 255, (2, 9, 7, 5, channels)).astype(np.float32))
    columns = []
    for column in range(5):  # down the columns of the face
        columns += [x[:, :, row, column] for row in range(7) if mask[row, column]]
    picture = torch.stack(columns, 1)  # B, pixels, T, C
    expected = net.net(picture.permute(0, 3, 1, 2) / 127.5 - 1)
    assert torch.allclose(net(x), expected, atol=1e-6)


def test_the_mask_is_part_of_the_state() -> None:
    mask = RANDOM.random((7, 5)) < 0.6
    net = MaskedRCN(mask, 9, 3, 4, maps=3)
    state = net.state_dict()
    assert torch.equal(state["mask"], torch.from_numpy(mask))
    assert "places" not in state


def test_parameters_of_every_preset() -> None:
    counts = {}
    for name, shape in (("strcn-a", (30, 64, 48, 3)), ("strcn-2018", (30, 64, 48, 1))):
        for preset in SYSTEMS[name].presets:
            p = SYSTEMS[name].with_parameters({"preset": preset})
            size = (p.frames, *p.size, shape[-1])
            mask = np.zeros(p.size, bool)
            mask.flat[: round(p.mask * mask.size)] = True
            settings = {"maps": p.maps, "variant": p.variant}
            net = untrained(ArrayInputs(np.empty((0, *size), np.uint8)), 4, mask, **settings)
            counts[name, preset] = sum(v.numel() for v in net.parameters())
            assert counts[name, preset] == sum(v.numel() for v in RCN(4, size[-1], (300, 245), **settings).parameters())
    m = 128
    # Conv1 and its norm; four layers of a 1x1, one shared 3x3 and four norms; classes.
    expected = 3 * m * 25 + m + 2 * m + 4 * (m * m + m + 9 * m * m + 8 * m) + 4 * m + 4
    assert counts["strcn-a", "paper"] == expected == 670_468
