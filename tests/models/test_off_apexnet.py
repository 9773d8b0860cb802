"""OFF-ApexNet and its rebuilds beside plain statements of their layers."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional as f

from mien.models.off_apexnet import OffApexNet, OneStream


def stream(x: Tensor, weights: Sequence[Tensor], activation: bool) -> Tensor:
    for kernel, bias in (weights[:2], weights[2:]):
        x = f.conv2d(x, kernel, bias, padding=kernel.shape[-1] // 2)
        x = f.max_pool2d(x.clamp(min=0) if activation else x, 2)
    return x.reshape(len(x), -1)


def dense(x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    while len(weights) > 2:
        x, weights = (x @ weights[0].t() + weights[1]).clamp(min=0), weights[2:]
    return x @ weights[0].t() + weights[1]


@pytest.mark.parametrize("activation", [True, False])
def test_two_streams(activation: bool) -> None:
    torch.manual_seed(0)
    net = OffApexNet(activation=activation).eval()
    named = list(net.parameters())
    assert sum(p.numel() for p in named) == 2_664_475
    x = torch.rand(4, 3, 28, 28)
    with torch.inference_mode():
        both = [stream(x[:, :1], named[:4], activation), stream(x[:, 1:2], named[4:8], activation)]
        assert torch.allclose(net(x), dense(torch.cat(both, 1), named[8:]), atol=1e-5)
        x[:, 2] = 0  # strain is not used
        assert torch.allclose(net(x), dense(torch.cat(both, 1), named[8:]), atol=1e-5)


def test_one_stream() -> None:
    torch.manual_seed(0)
    net = OneStream().eval()
    named = list(net.parameters())
    assert sum(p.numel() for p in named) == 807_909
    x = torch.rand(4, 3, 28, 28)
    with torch.inference_mode():
        assert torch.allclose(net(x), dense(stream(x[:, :2], named[:4], True), named[4:]), atol=1e-5)
