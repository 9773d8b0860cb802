"""SSSNet beside a plain statement of its layers."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as f

from mien.classifiers.net import NetClassifier
from mien.models.sssnet import SSSNet
from mien.systems import system


def plain(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """Convolution, ReLU, pool, norm, twice; then two dense layers; weights in the order in which they appear."""
    named = [value for name, value in weights.items() if "tracked" not in name]
    for (kernel, bias, scale, shift, mean, variance), pool in ((named[:6], 3), (named[6:12], 2)):
        x = f.max_pool2d(f.conv2d(x, kernel, bias).clamp(min=0), pool)
        shape = (1, -1, 1, 1)
        x = (x - mean.view(shape)) / (variance.view(shape) + 1e-5).sqrt() * scale.view(shape) + shift.view(shape)
    hidden, hidden_bias, out, out_bias = named[12:]
    return (x.reshape(len(x), -1) @ hidden.t() + hidden_bias).clamp(min=0) @ out.t() + out_bias


@pytest.mark.parametrize(("size", "count"), [(64, 1_349_251), (28, 169_603)])
def test_weights_and_answers(size: int, count: int) -> None:
    torch.manual_seed(0)
    net = SSSNet(size=size)
    assert sum(p.numel() for p in net.parameters()) == count
    x = torch.rand(5, 3, size, size)
    net(x)  # so that the running statistics are not those of the beginning
    net.eval()
    with torch.inference_mode():
        assert torch.allclose(net(x), plain(net.state_dict(), x), atol=1e-5)


def test_softmax_twice_trains_on_probabilities_whose_loss_has_a_floor_and_answers_once() -> None:
    torch.manual_seed(0)
    net = SSSNet(size=28, softmax=True)
    x, y = torch.rand(6, 3, 28, 28), torch.arange(6) % 3
    trained = net(x)
    assert torch.allclose(trained.sum(1), torch.ones(6))
    certain = f.cross_entropy(torch.eye(3)[y], y)
    assert float(certain) == pytest.approx(0.5514, abs=1e-4)
    assert float(f.cross_entropy(trained, y).detach()) >= float(certain)
    net.eval()
    once = torch.softmax(net(x), 1)
    net.softmax = False
    assert torch.equal(once, torch.softmax(net(x), 1))


def test_whole_maps_are_dropped() -> None:
    torch.manual_seed(0)
    dropped = SSSNet(size=28).features[4](torch.ones(4, 32, 8, 8))
    assert set(dropped.flatten(2).std(2).flatten().tolist()) == {0.0}
    assert 0 < (dropped == 0).float().mean() < 1


def test_it_learns_real_sized_pictures() -> None:
    random = np.random.default_rng(0)
    y = np.arange(24) % 3
    x = random.uniform(0, 255, (24, 3, 28, 28)).astype(np.float32)
    x[y == 1, 0, 8:16] = 255
    x[y == 2, 1, 8:16] = 0
    s = system("sssnet")
    made = s.build(3, s.with_parameters({"preset": "pictures", "epochs": 40, "lr": 1e-3, "dropout": 0.0}))
    assert isinstance(made, NetClassifier)
    made.fit(x, y, [("d", str(n)) for n in range(24)], seed=0)
    assert (made.predict_proba(x).argmax(1) == y).mean() > 0.9
