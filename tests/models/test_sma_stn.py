"""The SMA-STN-style network: its parts against the same written out, and what each loss does."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mien.classifiers.augment import mirror_frames, shift_frames
from mien.classifiers.batches import CopyBatches
from mien.classifiers.net import NetClassifier
from mien.classifiers.schedule import Schedule
from mien.errors import MienError
from mien.models.sma_stn import (
    DEVIATIONS,
    SMASTN,
    STMAS,
    NonLocal,
    SegmentWeights,
    centre_deviation,
    draw_deviation,
    neutral_deviation,
)
from mien.preprocessing.inputs import ArrayInputs
from mien.systems import SYSTEMS


def drawn(net: torch.nn.Module, seed: int = 0) -> None:
    torch.manual_seed(seed)
    for p in net.parameters():
        p.data = 0.3 * torch.randn_like(p)


def slow_non_local(net: NonLocal, x: Tensor) -> Tensor:
    """Place by place, from the formula."""
    theta, phi, g = net.embed(x).chunk(3, 1)
    out = x.clone()
    height, width = x.shape[2:]
    places = [(i, j) for i in range(height) for j in range(width)]
    for b in range(len(x)):
        for i, j in places:
            scores = torch.stack([theta[b, :, i, j] @ phi[b, :, k, m] for k, m in places])
            share = scores.exp() / scores.exp().sum()
            y = sum(s * g[b, :, k, m] for s, (k, m) in zip(share, places, strict=True))
            out[b, :, i, j] += net.out.weight[:, :, 0, 0] @ y + net.out.bias
    return out


def test_spatial_attention_starts_as_identity_and_follows_the_formula() -> None:
    net = NonLocal(6)
    x = torch.randn(2, 6, 4, 3)
    assert torch.equal(net(x), x)
    drawn(net)
    assert torch.allclose(net(x), slow_non_local(net, x), atol=1e-5)
    assert not torch.allclose(net(x), x, atol=1e-2)
    attention = net.look(x)[1]
    assert attention.shape == (2, 12, 12)
    assert torch.allclose(attention.sum(2), torch.ones(2, 12))


def test_segment_weights_sum_to_one_and_follow_the_formula() -> None:
    net = SegmentWeights(6)
    drawn(net)
    v = torch.randn(3, 5, 6)
    a = net(v)
    assert torch.allclose(a.sum(1), torch.ones(3))
    for clip in range(3):
        with torch.no_grad():
            e = [float(net.outer.weight[0] @ torch.tanh(net.inner.weight @ s + net.inner.bias)) for s in v[clip]]
        assert a[clip].tolist() == pytest.approx((np.exp(e) / np.exp(e).sum()).tolist(), abs=1e-5)


@pytest.mark.parametrize("stma", STMAS)
def test_network_equals_its_parts_applied_per_segment(stma: str) -> None:
    net = SMASTN(3, 1, maps=4, stma=stma).eval()
    drawn(net)
    x = 20 * torch.randn(2, 4, 32, 24, 1)
    expected = []
    for clip in x:
        features = []
        for image in clip:
            maps = net.backbone(image.permute(2, 0, 1)[None] / 16)
            if net.spatial is not None:
                maps = slow_non_local(net.spatial, maps)
            features.append(maps.mean((2, 3))[0])
        stacked = torch.stack(features)
        a = torch.full((4,), 0.25) if net.temporal is None else net.temporal(stacked[None])[0]
        expected.append(net.classify(sum(w * f for w, f in zip(a, stacked, strict=True))))
    assert torch.allclose(net(x), torch.stack(expected), atol=1e-4)
    seen = net.look(x)
    assert torch.allclose(seen.segments.sum(1), torch.ones(2))
    if stma in ("spatial", "both"):
        assert seen.attention is not None
        assert seen.attention.shape == (2, 4, 4, 3)
        assert torch.allclose(seen.attention.sum((2, 3)), torch.ones(2, 4))
    else:
        assert seen.attention is None


def test_spatial_attention_has_no_effect_before_training() -> None:
    torch.manual_seed(0)
    with_it = SMASTN(3, 1, maps=4, stma="spatial").eval()
    without = SMASTN(3, 1, maps=4, stma="none").eval()
    without.load_state_dict({k: v for k, v in with_it.state_dict().items() if "spatial" not in k})
    x = torch.randn(2, 3, 16, 16, 1)
    assert torch.equal(with_it(x), without(x))


def test_centre_deviation_equals_a_slow_implementation() -> None:
    f, y = torch.randn(9, 4), torch.tensor([0, 0, 2, 2, 2, 3, 3, 0, 2])
    g = f / 2
    centres = {c: g[y == c].mean(0) for c in (0, 2, 3)}
    pull = sum(0.5 * float((v - centres[int(c)]).square().sum()) for v, c in zip(g, y, strict=True)) / 9
    pairs = [(0, 2), (0, 3), (2, 3)]
    push = sum(max(0.0, 1.5 - float((centres[a] - centres[b]).norm())) ** 2 for a, b in pairs) / 3
    assert float(centre_deviation(f, y, 1.5)) == pytest.approx(pull + push, abs=1e-5)
    assert float(centre_deviation(f, torch.zeros(9, dtype=torch.long))) > 0


def test_neutral_and_draw_deviation_follow_their_formulas() -> None:
    f, other, zero = torch.randn(5, 4), torch.randn(5, 4), torch.randn(4)
    gaps = [max(0.0, 2 - float((v - zero).norm()) / 2) ** 2 for v in f]
    assert float(neutral_deviation(f, zero, 2.0)) == pytest.approx(np.mean(gaps), abs=1e-5)
    assert float(neutral_deviation(zero[None] + 100, zero)) == 0
    assert float(draw_deviation(f, other)) == pytest.approx(float((f - other).square().sum(1).mean() / 4), abs=1e-5)
    assert float(draw_deviation(f, f)) == 0


@pytest.mark.parametrize("kind", DEVIATIONS[1:])
def test_each_deviation_loss_decreases_in_training(kind: str) -> None:
    torch.manual_seed(0)
    net = SMASTN(3, 1, maps=4, deviation=kind, weight=1.0)
    if kind == "neutral":
        drawn(net)  # features that hardly leave neutral at first
    y = torch.arange(12) % 3
    shape = (12, 2, 3, 16, 16, 1) if kind == "draws" else (12, 3, 16, 16, 1)
    batch = 10 * torch.randn(shape)
    optimiser = torch.optim.SGD(net.parameters(), 0.1)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = net.objective(batch, y, lambda logits, _: 0 * logits.sum())
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 1e-3
    assert losses[-1] < 0.7 * losses[0]


def test_objective_without_deviation_is_the_loss() -> None:
    net = SMASTN(3, 1, maps=4).eval()
    x, y = torch.randn(4, 3, 16, 16, 1), torch.arange(4) % 3
    assert torch.equal(net.objective(x, y, F.cross_entropy), F.cross_entropy(net(x), y))
    paired = SMASTN(3, 1, maps=4, deviation="draws", weight=0.5).eval()
    same = torch.stack([x, x], 1)
    assert torch.allclose(paired.objective(same, y, F.cross_entropy), F.cross_entropy(paired(x), y))


def test_a_pair_is_a_copy_and_the_next_copy() -> None:
    array = np.arange(2 * 3 * 1 * 2 * 2 * 1, dtype=np.float32).reshape(2, 3, 1, 2, 2, 1)
    rows = CopyBatches(ArrayInputs(array, 3), torch.from_numpy, mirror_frames, pairs=True)
    made = rows[torch.tensor([2, 4, 8])]  # clip 0 copy 2; clip 1 copy 1; clip 0 copy 2 mirrored
    assert made.shape == (3, 2, 1, 2, 2, 1)
    for place, (clip, copy, turned) in enumerate([(0, 2, False), (1, 1, False), (0, 2, True)]):
        expected = array[clip, [copy, (copy + 1) % 3]]
        assert np.array_equal(made[place], expected[..., ::-1, :] if turned else expected)


def test_shifts_are_the_same_for_all_images_of_a_clip() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 2, 9, 8, 3)
    moved = shift_frames(2)(x)
    found = set()
    padded = F.pad(x.permute(0, 1, 4, 2, 3).flatten(0, 1), (2, 2, 2, 2), mode="replicate").view(6, 2, 3, 13, 12)
    for clip, big in zip(moved, padded.permute(0, 1, 3, 4, 2), strict=True):
        fits = [(r, c) for r in range(5) for c in range(5) if torch.equal(clip, big[:, r : r + 9, c : c + 8])]
        assert len(fits) == 1
        found.add(fits[0])
    assert len(found) > 2


def test_parameters_of_every_preset() -> None:
    counts = {}
    for preset in SYSTEMS["sma-stn"].presets:
        p = SYSTEMS["sma-stn"].with_parameters({"preset": preset})
        with torch.device("meta"):
            net = SMASTN(5, 3 if p.colour else 1, p.backbone, p.maps)
        counts[preset] = sum(v.numel() for v in net.parameters())

    def head(d: int) -> int:  # theta, phi, g and their way back; W1 and w2; classes
        h = d // 2
        return 3 * h * (d + 1) + d * (h + 1) + h * (d + 1) + h + 5 * (d + 1)

    def small(m: int) -> int:
        conv = 9 * m + 2 * 9 * m * m + (9 * 2 + 9 * 4 + 2) * m * m + (9 * 8 + 9 * 16 + 8) * m * m
        return conv + 2 * (m + 2 * m + 3 * 2 * m + 3 * 4 * m)

    assert counts == {"cpu": small(16) + head(64), "small": small(8) + head(32), "resnet18": 11_176_512 + head(512)}
    assert counts == {"cpu": 87_893, "small": 22_317, "resnet18": 11_836_229}


def test_wrong_arguments_raise_mien_error() -> None:
    with pytest.raises(MienError, match="STMA"):
        SMASTN(3, stma="spacial")
    with pytest.raises(MienError, match="DE-Loss"):
        SMASTN(3, deviation="center")
    with pytest.raises(MienError, match="at least two"):
        SMASTN(1)
    with pytest.raises(MienError, match="`--set draws=2`"):
        SYSTEMS["sma-stn"].build(3, SYSTEMS["sma-stn"].with_parameters({"de_loss": "draws", "draws": 1}))


def test_draws_are_trained_in_pairs() -> None:
    random = np.random.default_rng(0)
    x = ArrayInputs(random.normal(size=(12, 2, 3, 16, 16, 1)).astype(np.float32), 2)
    y = np.arange(12) % 3
    classifier = NetClassifier(
        lambda _: SMASTN(3, 1, maps=4, deviation="draws"), Schedule(2, 4, lr=0.01), mirror=mirror_frames, pairs=True
    )
    p = classifier.fit(x, y, [("d", "s")] * 12).predict_proba(x)
    assert p.shape == (12, 3)
    assert len(classifier.curves[0]) == 2
