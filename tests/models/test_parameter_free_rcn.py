"""RCN-A and its kin beside plain statements of their wiring."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as f

from mien.models.parameter_free_rcn import VARIANTS, ParameterFreeRCN

COUNTS = {"a": 51_139, "s": 51_139, "w": 48_067, "p": 48_067, "c": 48_067, "f": 48_067}
NARROW = {"a": 15_331, "w": 13_795}
SEVEN = {"a": 55_747, "w": 52_675, "f": 52_675}


def count(**given: Any) -> int:
    return sum(p.numel() for p in ParameterFreeRCN(**given).parameters())


@pytest.mark.parametrize("variant", VARIANTS)
def test_number_of_weights(variant: Any) -> None:
    assert count(variant=variant) == COUNTS[variant]
    if variant in NARROW:
        assert count(variant=variant, maps=32) == NARROW[variant]
    if variant in SEVEN:
        assert count(variant=variant, side=7) == SEVEN[variant]


def test_the_released_f_lacks_a_branch() -> None:
    assert count(variant="f", third_branch=False) == 47_587


def norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return f.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"])


def look(linear: Tensor, x: Tensor, side: int, from_picture: bool) -> Tensor:
    """Attention class by class and clip by clip."""
    out = torch.zeros(len(x), 1, side, side)
    for clip, pooled in enumerate(f.adaptive_avg_pool2d(x, side)):
        for row in linear.view(len(linear), -1, side, side):
            seen = (row.mean(0) * pooled if from_picture else row * pooled).mean(0)
            seen = seen - seen.min()
            out[clip, 0] += seen / seen.max() / len(linear)
    return out


def plain(variant: str, state: dict[str, Tensor], x: Tensor, side: int) -> Tensor:
    def conv(v: Tensor, name: str, **how: Any) -> Tensor:
        return f.conv2d(v, state[f"{name}.weight"], state[f"{name}.bias"], **how)

    def branch(n: int, d: int) -> Tensor:
        name, stride = f"stem.branches.{n}", 1 if variant == "p" else 3
        out = norm(conv(x, f"{name}.0", stride=stride, padding=d, dilation=d).relu(), state, f"{name}.2")
        return f.max_pool2d(out, 3, 3, 1) if variant == "p" else out

    if variant in "as":
        stem = f.max_pool2d(norm(conv(x, "stem.layers.0"), state, "stem.layers.1").relu(), 2)
    elif variant == "p":
        stem = torch.cat([branch(0, 1), branch(1, 3)], 1)
    else:
        last = branch(2, 3) if "stem.branches.2.0.weight" in state else branch(1, 2)
        stem = torch.cat([branch(0, 1), branch(1, 2), last], 1)
    linear = state["classify.weight"]
    v = stem
    if variant == "c":
        v = v * f.interpolate(look(linear, x, side, True), size=stem.shape[2:])

    def r(u: Tensor) -> Tensor:
        return norm(conv(u, "block.again.0", padding=1), state, "block.again.1").relu()

    y = norm(conv(v, "block.first.0"), state, "block.first.1").relu()
    if variant == "f":
        y = y * f.interpolate(look(linear, v, side, False), size=stem.shape[2:])
    if variant in "aw":
        out = r(v + r(v + y))
    else:
        z = r(v + y)
        e = r(v + y + z)
        out = r(v + y + z + e)
    out = f.adaptive_avg_pool2d(f.max_pool2d(out, 2), side)
    if variant in "ap":
        out = out * look(linear, stem, side, False)
    return out.reshape(len(x), -1) @ linear.t() + state["classify.bias"]


@pytest.mark.parametrize(("variant", "third"), [*((v, True) for v in VARIANTS), ("f", False)])
def test_answers(variant: Any, third: bool) -> None:
    torch.manual_seed(0)
    net = ParameterFreeRCN(variant=variant, maps=16, third_branch=third)
    torch.nn.init.normal_(net.classify.weight, 0, 0.5)
    for size, side in ((28, 5), (60, 5)):
        x = torch.rand(4, 3, size, size)
        net.train()
        net(x)
        net.eval()
        with torch.inference_mode():
            assert torch.allclose(net(x), plain(variant, net.state_dict(), x, side), atol=1e-4)


def test_a_constant_map_gives_no_attention_and_gradients_reach_the_linear_layer_through_it() -> None:
    net = ParameterFreeRCN(maps=8)
    torch.nn.init.ones_(net.classify.weight)
    assert net.attention(torch.zeros(2, 8, 12, 12)).abs().max() == 0
    torch.manual_seed(0)
    torch.nn.init.normal_(net.classify.weight)
    net.attention(torch.rand(2, 8, 12, 12)).square().sum().backward()  # type: ignore[no-untyped-call]
    assert net.classify.weight.grad is not None
    assert net.classify.weight.grad.abs().max() > 0
