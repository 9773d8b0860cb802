"""Off-TANet beside a plain statement of its blocks."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as f

from mien.models.off_tanet import OffTANet, positions


@pytest.mark.parametrize(("attention", "count"), [("triplet", 59_403), ("gates", 56_967), ("none", 50_353)])
def test_number_of_weights(attention: Any, count: int) -> None:
    assert sum(p.numel() for p in OffTANet(attention=attention).parameters()) == count


def test_positions_entry_by_entry() -> None:
    table = positions()
    for i in range(14):
        for j in range(14):
            numbers = [(math.cos if n % 2 else math.sin)(10000 ** (-(n // 2) / 14)) for n in (i, j)]
            assert float(table[i, j]) == pytest.approx(sum(numbers), abs=1e-6)


def plain(state: dict[str, Tensor], x: Tensor) -> Tensor:
    def conv(v: Tensor, name: str, **how: Any) -> Tensor:
        return f.conv2d(v, state[f"{name}.weight"], state.get(f"{name}.bias"), **how)

    def norm(v: Tensor, name: str) -> Tensor:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return f.batch_norm(v, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"])

    def usual(v: Tensor, name: str, first: int) -> Tensor:
        return norm(conv(v, f"{name}.{first}", padding=1), f"{name}.{first + 1}").relu()

    x = norm(conv(x, "stem.0", stride=2, padding=3).relu(), "stem.2")
    for name in ("residual.0", "residual.1"):
        inner = usual(usual(x, f"{name}.inner", 0), f"{name}.inner", 3)
        x = f.max_pool2d(inner + conv(x, f"{name}.skip"), 2)
    v = usual(x, "last.inner", 0)

    def bottleneck(u: Tensor) -> Tensor:
        return conv(conv(u, "last.inner.3.shared.0").relu(), "last.inner.3.shared.2")

    v = v * torch.sigmoid(bottleneck(f.adaptive_avg_pool2d(v, 1)) + bottleneck(f.adaptive_max_pool2d(v, 1)))
    both = torch.stack([v.mean(1), v.max(1).values], 1)
    v = v * torch.sigmoid(conv(both, "last.inner.4.conv", padding=1))
    heads = []
    for head in range(4):
        q, k, w = (conv(v, f"last.inner.5.{part}.{head}") for part in "qkv")
        out = torch.zeros_like(w)
        for clip in range(len(v)):
            for m in range(7):
                scores = q[clip, m] @ k[clip, m].t() + q[clip, m] @ positions().t()
                out[clip, m] = torch.softmax(scores.reshape(-1), 0).reshape(14, 14) * w[clip, m]
        heads.append(out)
    v = usual(torch.cat(heads, 1), "last.inner", 6)
    x = f.max_pool2d(v + conv(x, "last.skip"), 2).reshape(len(x), -1)
    for layer in ("dense.0", "dense.3"):
        x = (x @ state[f"{layer}.weight"].t() + state[f"{layer}.bias"]).relu()
    return x @ state["dense.6.weight"].t() + state["dense.6.bias"]


def test_answers() -> None:
    torch.manual_seed(0)
    net = OffTANet()
    x = torch.randn(3, 3, 112, 112)
    net(x)
    net.eval()
    with torch.inference_mode():
        assert torch.allclose(net(x), plain(net.state_dict(), x), atol=1e-5)
