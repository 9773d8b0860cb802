"""Dual-Inception beside a plain statement of its branches."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as f

from mien.models.dual_inception import DualInception


def conv(x: Tensor, weights: Iterator[Tensor]) -> Tensor:
    kernel = next(weights)
    return f.conv2d(x, kernel, next(weights), padding=kernel.shape[-1] // 2).relu()


def block(x: Tensor, weights: Iterator[Tensor]) -> Tensor:
    one = conv(x, weights)
    three = conv(conv(x, weights), weights)
    five = conv(conv(x, weights), weights)
    pooled = conv(f.max_pool2d(x, 3, 1, 1), weights)
    return f.max_pool2d(torch.cat([one, three, five, pooled], 1), 2)


@pytest.mark.parametrize(("channels", "count"), [(1, 6_449_867), (3, 6_449_963)])
def test_weights_and_answers(channels: int, count: int) -> None:
    torch.manual_seed(0)
    net = DualInception(channels=channels).eval()
    assert sum(p.numel() for p in net.parameters()) == count
    x = torch.rand(3, 3, 28, 28)
    weights: Iterator[Tensor] = iter(net.parameters())
    with torch.inference_mode():
        streams = [block(block(torch.cat([x[:, k : k + 1]] * channels, 1), weights), weights) for k in (0, 1)]
        joined = torch.cat([s.reshape(3, -1) for s in streams], 1)
        hidden = (joined @ next(weights).t() + next(weights)).relu()
        expected = hidden @ next(weights).t() + next(weights)
        assert torch.allclose(net(x), expected, atol=1e-5)


def test_weights_start_as_keras_starts_them() -> None:
    net = DualInception()
    for layer in net.modules():
        if isinstance(layer, torch.nn.Linear):
            bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
            assert 0.95 * bound < float(layer.weight.detach().abs().max()) <= bound
            assert not layer.bias.detach().any()
