import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mien.classifiers.net import NetClassifier
from mien.classifiers.schedule import Schedule
from mien.classifiers.training import fit
from mien.models.ststnet import CHUNK, STSTNet, _kept, _pictures, _Stem


class Plain(nn.Module):
    """The three streams as the paper draws them."""

    def __init__(self, n_classes: int = 3) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(3, k, 3, padding=2) for k in (3, 5, 8))
        self.norms = nn.ModuleList(nn.BatchNorm2d(k) for k in (3, 5, 8))
        self.classify = nn.Linear(400, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        streams = [
            nn.functional.max_pool2d(n(torch.relu(c(x))), 3, 3, 1)
            for c, n in zip(self.convolutions, self.norms, strict=True)
        ]
        out: Tensor = self.classify(nn.functional.avg_pool2d(torch.cat(streams, 1), 2).flatten(1))
        return out


def pictures(n: int = 40, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (n, 3, 28, 28), generator=random).float()
    x[: n // 4, :, 5:20] = 127.0  # Flat regions, as real pictures have: equal patches tie for the maximum.
    return x, torch.randint(0, 3, (n,), generator=random)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_number_of_parameters_is_the_published_one() -> None:
    assert count(STSTNet()) == count(Plain()) == 1683


def test_one_convolution_equals_the_three_streams() -> None:
    torch.manual_seed(0)
    plain, ours = Plain(), STSTNet(dropout=0)
    ours.streams.weight.data = torch.cat([c.weight for c in plain.convolutions])  # type: ignore[misc]
    assert ours.streams.bias is not None
    ours.streams.bias.data = torch.cat([c.bias for c in plain.convolutions])  # type: ignore[misc]
    ours.classify.load_state_dict(plain.classify.state_dict())
    x, _ = pictures()
    assert torch.allclose(plain(x), ours(x), atol=1e-4)


def test_rearranged_input_contains_the_pictures() -> None:
    x, _ = pictures()
    assert torch.equal(_pictures(STSTNet().rearrange(x), 28), x)


@pytest.mark.parametrize("size", [28, 20, 13])
@pytest.mark.parametrize("negative", [False, True])
def test_fused_path_equals_the_plain_one(size: int, negative: bool) -> None:
    torch.manual_seed(1)
    plain = STSTNet(dropout=0, size=size)
    with torch.no_grad():
        plain.norm.weight.uniform_(0.2, 2)
        plain.norm.bias.uniform_(-1, 1)
        if negative:
            plain.norm.weight[3] = -0.7
            plain.norm.weight[5] = 0.0
    fused = copy.deepcopy(plain)
    x, y = pictures()
    x = x[:, :, :size, :size].contiguous()
    first, second = plain(x), fused.forward_rearranged(fused.rearrange(x))
    assert torch.allclose(first, second, rtol=1e-4, atol=1e-4)
    for out in (first, second):
        nn.functional.cross_entropy(out, y).backward()  # type: ignore[no-untyped-call]
    for (name, a), b in zip(plain.named_parameters(), fused.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert (a.grad - b.grad).abs().max() <= 1e-4 * a.grad.abs().max() + 1e-7, name
    for (name, kept), other in zip(plain.named_buffers(), fused.buffers(), strict=True):
        assert torch.allclose(kept.double(), other.double(), rtol=1e-5), name


def test_twenty_training_steps_give_the_same_weights() -> None:
    torch.manual_seed(2)
    plain = STSTNet(dropout=0)
    fused = copy.deepcopy(plain)
    x, y = pictures(60)
    schedule = Schedule(epochs=10, batch_size=32, optimiser="adam", lr=5e-5, shuffle=False)
    prepared = fit(fused, x, y, schedule)
    direct = fit(plain, x, y, schedule, augment=lambda batch: batch)  # An augmentation turns the fused path off.
    assert prepared == pytest.approx(direct, rel=1e-4)
    for a, b in zip(plain.parameters(), fused.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("p", [0.5, 0.3])
def test_dropout_drops_its_share(p: float) -> None:
    torch.manual_seed(0)
    dropped = 1 - _kept(torch.ones(1000, 1001), p)
    assert float(dropped.mean()) == pytest.approx(p, abs=2e-3)
    # Neighbours are independent.
    assert float((dropped[:, 1:] * dropped[:, :-1]).mean()) == pytest.approx(p * p, abs=3e-3)


def test_dropout_keeps_the_expected_logits() -> None:
    torch.manual_seed(0)
    model = STSTNet(dropout=0.5)
    x, _ = pictures(8)
    rows = model.rearrange(x)
    with torch.no_grad():
        mean = torch.stack([model.forward_rearranged(rows) for _ in range(400)]).mean(0)
        model.drop.p = 0.0
        assert torch.allclose(mean, model.forward_rearranged(rows), atol=0.1)


@pytest.mark.parametrize("size", [28, 13])
def test_both_paths_drop_the_same_activations(size: int) -> None:
    torch.manual_seed(3)
    model = STSTNet(dropout=0.4, size=size)
    x = pictures()[0][:, :, :size, :size].contiguous()
    rows = model.rearrange(x)
    torch.manual_seed(4)
    plain = model(x)
    torch.manual_seed(4)
    fused = model.forward_rearranged(rows)
    other = model.forward_rearranged(rows)
    assert torch.allclose(plain, fused, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(fused, other, rtol=1e-2, atol=1e-2)


def test_gradients_against_finite_differences() -> None:
    random = torch.Generator().manual_seed(0)
    size, filters = 7, 4
    x = torch.randn(CHUNK + 2, 2, size, size, generator=random)
    rows = STSTNet(in_channels=2, size=size).rearrange(x).double()
    norm = nn.BatchNorm2d(filters).double()
    weight = torch.randn(filters, rows.shape[2], generator=random, dtype=torch.float64, requires_grad=True)
    scale = (torch.rand(filters, generator=random, dtype=torch.float64) + 0.5).requires_grad_()
    shift = torch.randn(filters, generator=random, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda w, g, b: _Stem.apply(rows, w, g, b, norm, size),  # type: ignore[no-untyped-call]
        (weight, scale, shift),
        atol=1e-6,
    )


def test_training_and_prediction() -> None:
    random = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = random.uniform(90, 160, size=(60, 3, 28, 28)).astype(np.float32)
    x[:, 0] += 30 * y[:, None, None]
    classifier = NetClassifier(
        lambda _: STSTNet(), Schedule(epochs=200, batch_size=32, optimiser="adam", lr=1e-3, shuffle=True)
    ).fit(x, y, [("d", "s")] * 60, seed=0)
    assert (classifier.predict_proba(x).argmax(1) == y).mean() > 0.9
