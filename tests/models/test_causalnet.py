"""CausalNet beside a plain statement of what stands behind its towers."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as f

from mien.models.causalnet import Attention, CausalNet


@pytest.mark.parametrize(("width", "weights"), [(256, 276_590_089), (64, 18_477_961)])
def test_number_of_weights(width: int, weights: int) -> None:
    with torch.device("meta"):
        net = CausalNet(width=width)
    assert sum(p.numel() for p in net.parameters()) == weights


def attend(q: Tensor, k: Tensor, v: Tensor, layer: Attention, scale: float, gamma: float | None) -> Tensor:
    """Attention of one clip, pair by pair; q (N, width), k and v (M, width)."""
    q, k, v = (part(x) for part, x in ((layer.q, q), (layer.k, k), (layer.v, v)))
    out = torch.zeros(len(q), v.shape[1])
    size = v.shape[1] // 8
    for h in range(8):
        one = slice(h * size, (h + 1) * size)
        for i in range(len(q)):
            scores, kept = [], []
            for j in range(len(k)):
                score = (q[i, one] * k[j, one]).sum() * scale
                distance = abs(i // 2 - j // 2) + abs(i % 2 - j % 2)
                far = gamma is not None and distance > 1
                scores.append(score * 0 - (gamma or 0) * (j + 1) if far else score)
                kept.append(0.0 if far else 1.0)
            weights = torch.softmax(torch.stack(scores), 0) * torch.tensor(kept)
            out[i, one] = weights @ v[:, one]
    return out


def plain(net: Any, x: Tensor, gamma: float) -> Any:
    """One clip (12, 28, 28)."""
    width = net.width

    def tokens(tower: Any, picture: Tensor) -> Tensor:
        full = tower(picture[None]).reshape(-1)
        return torch.stack([full[n::4] for n in range(4)])

    flows = [tokens(net.flow, x[:3]), tokens(net.flow, x[3:6])]
    a, b = tokens(net.direction, x[6:9]), tokens(net.direction, x[9:])
    for layer in net.cross:
        at = layer.attention
        a = a + at.out(attend(layer.norm(a), b, b, at, width**-0.5, gamma))
        b = b + at.out(attend(layer.norm(b), a, a, at, width**-0.5, gamma))
        a, b = a + layer.dense(a), b + layer.dense(b)
    first, second = flows[0] + a, flows[1] + b
    block = net.causal
    scale = (width // 8) ** -0.5

    def way(u: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        u, w = block.norm(u), block.norm(w)
        u = u + block.spatial.out(attend(u, u, u, block.spatial, scale, gamma))
        w = w + block.spatial.out(attend(w, w, w, block.spatial, scale, gamma))
        seen = []
        for n in range(4):
            pair = torch.stack([u[n], w[n]])
            seen.append(block.temporal.out(attend(w[n][None], pair, pair, block.temporal, scale, None))[0])
        w = w + torch.stack(seen)
        return u + block.dense(u), w + block.dense(w)

    forward_a, forward_b = way(first, second)
    back_a, back_b = way(second, first)
    mined = attend(forward_b, back_b, forward_b + back_b, block.relation, scale, None)
    relation = block.relation.out(mined + forward_b + back_b)
    return net.classify(torch.cat([relation, forward_a, back_a]).reshape(-1))


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_answers_of_a_narrow_form(gamma: float) -> None:
    torch.manual_seed(0)
    net = CausalNet(width=16, depths=(1, 1, 2), gamma=gamma).eval()
    x = torch.rand(2, 12, 28, 28)
    with torch.inference_mode():
        assert torch.allclose(net(x), torch.stack([plain(net, one, gamma) for one in x]), atol=1e-4)


def test_masked_rows_sum_to_less_than_one_and_gamma_moves_them() -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 4, 16)
    torch.nn.init.zeros_((one := Attention(16, per_head=True, gamma=0.5)).v.weight)
    torch.nn.init.ones_(one.v.bias)
    sums = one.mixed(x, x, x)
    assert (sums < 1).all()
    free = Attention(16, per_head=True)
    free.load_state_dict(one.state_dict())
    assert torch.allclose(free.mixed(x, x, x), torch.ones(1, 4, 16), atol=1e-6)
    assert f.mse_loss(Attention(16, True, 2.0).mixed(x, x, x), sums) > 0


@pytest.mark.slow
def test_answers_of_the_full_form() -> None:
    torch.manual_seed(0)
    net = CausalNet().eval()
    x = torch.rand(1, 12, 28, 28)
    with torch.inference_mode():
        assert torch.allclose(net(x), plain(net, x[0], 0.5)[None], atol=1e-3)
