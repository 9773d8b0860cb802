"""HTNet beside a plain statement, with the attention that its published form computes and that changes nothing."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as f

from mien.models.htnet import HEADS, BlockAttention, HTNet


def count(width: int, depths: tuple[int, int, int]) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in HTNet(width=width, depths=depths).parameters())


@pytest.mark.parametrize(
    ("width", "depths", "weights"),
    [
        (256, (2, 2, 10), 139_582_982),
        (256, (2, 2, 8), 114_429_446),
        (128, (2, 2, 10), 34_806_534),
        (64, (2, 2, 10), 8_722_310),
        (32, (2, 2, 10), 2_158_278),
    ],
)
def test_number_of_weights(width: int, depths: tuple[int, int, int], weights: int) -> None:
    assert count(width, depths) == weights


def attend(x: Tensor, layer: BlockAttention, heads: int) -> Tensor:
    """Attention over the tokens of a block (N, width), queries and keys included."""
    normal = f.layer_norm(x, x.shape[-1:], layer.norm.weight, layer.norm.bias)
    q, k = (normal @ layer.query_key.weight.t()).chunk(2, -1)
    v = normal @ layer.value.weight.t()
    size = q.shape[-1] // heads
    parts = []
    for h in range(heads):
        one = slice(h * size, (h + 1) * size)
        weights = torch.softmax(q[:, one] @ k[:, one].t() / size**0.5, -1)
        parts.append(weights @ v[:, one])
    return torch.cat(parts, -1) @ layer.out.weight.t() + layer.out.bias


def plain(net: Any, picture: Tensor) -> Any:
    """One picture (3, 28, 28): patches of (row, column, channel), then every token as a block of its own."""
    tower = net.tower
    patches = torch.zeros(4, 4, 147)
    for i in range(4):
        for j in range(4):
            patches[i, j] = picture[:, 7 * i : 7 * i + 7, 7 * j : 7 * j + 7].permute(1, 2, 0).reshape(-1)
    x = patches @ tower.patches.weight.t() + tower.patches.bias
    for n, level in enumerate(tower.levels):
        if n:
            step = tower.aggregates[n - 1]
            maps = f.conv2d(x.permute(2, 0, 1)[None], step.conv.weight, step.conv.bias, padding=1)
            mean = maps.mean(1, keepdim=True)
            spread = (maps.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
            maps = (maps - mean) / spread * step.norm.weight[:, None, None] + step.norm.bias[:, None, None]
            x = f.max_pool2d(maps, 3, 2, 1)[0].permute(1, 2, 0)
        x = x + level.position
        for layer in level.layers:
            rows = [x[i, j][None] for i in range(x.shape[0]) for j in range(x.shape[1])]
            x = x + torch.cat([attend(row, layer.attention, HEADS[n]) for row in rows]).view_as(x)
            x = x + layer.dense(x)
    return net.classify(net.norm(x).mean((0, 1)))


def test_answers_of_a_narrow_form() -> None:
    torch.manual_seed(0)
    net = HTNet(width=24, depths=(1, 2, 2)).eval()
    x = torch.rand(3, 3, 28, 28)
    with torch.inference_mode():
        assert torch.allclose(net(x), torch.stack([plain(net, one) for one in x]), atol=1e-4)


def test_queries_and_keys_have_no_part_in_it() -> None:
    torch.manual_seed(0)
    net = HTNet(width=24, depths=(1, 1, 1))
    x = torch.rand(1, 3, 28, 28)
    answers: Any = plain(net, x[0])  # the attention in full
    answers.sum().backward()
    layers = [m for m in net.modules() if isinstance(m, BlockAttention)]
    assert all(float(m.query_key.weight.grad.abs().max()) == 0 for m in layers if m.query_key.weight.grad is not None)
    assert all(float(m.value.weight.grad.abs().max()) > 0 for m in layers if m.value.weight.grad is not None)
    before = net.eval()(x)
    for m in layers:
        nn.init.normal_(m.query_key.weight)
    assert torch.equal(net(x), before)


@pytest.mark.slow
def test_answers_of_the_full_form() -> None:
    torch.manual_seed(0)
    net = HTNet().eval()
    x = torch.rand(1, 3, 28, 28)
    with torch.inference_mode():
        assert torch.allclose(net(x), plain(net, x[0])[None], atol=1e-3)
