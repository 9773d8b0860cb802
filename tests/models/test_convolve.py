"""The faster ways to convolve are torch's convolution, backward too."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mien.models import convolve
from mien.models.convolve import Conv1x1, Conv3x3, as_matrix, winograd


def test_winograd_equals_a_slow_convolution() -> None:
    x, weight = torch.randn(2, 3, 5, 4, dtype=torch.float64), torch.randn(4, 3, 3, 3, dtype=torch.float64)
    made = winograd(x, weight).numpy()
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    for b, m, r, c in np.ndindex(made.shape):
        there = sum(
            padded[b, k, r + i, c + j] * float(weight[m, k, i, j]) for k in range(3) for i in range(3) for j in range(3)
        )
        assert abs(made[b, m, r, c] - there) < 1e-12


@pytest.mark.parametrize("shape", [(1, 2, 1, 1), (2, 3, 2, 7), (3, 2, 9, 4), (1, 1, 40, 37)])
@pytest.mark.parametrize("band", [1, 5, 256])
def test_winograd_and_its_gradients_equal_torch(
    shape: tuple[int, ...], band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolve, "BAND", band)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, shape[1], 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(winograd(x, weight), F.conv2d(x, weight, padding=1), atol=1e-12)
    if x.numel() < 100:
        assert torch.autograd.gradcheck(winograd, (x, weight))
    else:
        weigh = torch.randn(shape[0], 4, *shape[2:], dtype=torch.float64)
        ours = torch.autograd.grad((winograd(x, weight) * weigh).sum(), (x, weight))
        torchs = torch.autograd.grad((F.conv2d(x, weight, padding=1) * weigh).sum(), (x, weight))
        for mine, theirs in zip(ours, torchs, strict=True):
            assert torch.allclose(mine, theirs, atol=1e-10)


@pytest.mark.parametrize("side", [(1, 1), (1, 3), (3, 2), (4, 5)])
def test_as_matrix_equals_the_convolution(side: tuple[int, int]) -> None:
    x = torch.randn(3, 2, *side, dtype=torch.float64)
    weight = torch.randn(5, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    flat = torch.mm(x.permute(0, 2, 3, 1).reshape(3, -1), as_matrix(weight, *side))
    made = flat.view(3, *side, 5).permute(0, 3, 1, 2)
    assert torch.allclose(made, F.conv2d(x, weight, padding=1), atol=1e-12)
    weigh = torch.randn_like(made)
    ours = torch.autograd.grad((made * weigh).sum(), weight)[0]
    assert torch.allclose(ours, torch.autograd.grad((F.conv2d(x, weight, padding=1) * weigh).sum(), weight)[0])


@pytest.mark.parametrize(
    ("maps", "shape", "way"),
    [
        (128, (3, 40, 30), "winograd"),
        (128, (1, 40, 30), "torch"),
        (64, (8, 45, 47), "winograd"),
        (64, (160, 5, 5), "torch"),
        (24, (20, 3, 3), "matrix"),
        (24, (20, 12, 12), "torch"),
    ],
)
def test_each_method_is_used_in_its_range_and_equals_torch(
    maps: int, shape: tuple[int, int, int], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    for name, called in (("winograd", winograd), ("as_matrix", as_matrix)):

        def told(*given: object, called: object = called, name: str = name) -> object:
            taken.append(name.removeprefix("as_"))
            return called(*given)  # type: ignore[operator]

        monkeypatch.setattr(convolve, name, told)
    torch.manual_seed(0)
    conv = Conv3x3(maps)
    x = torch.randn(shape[0], maps, *shape[1:])
    expected = F.conv2d(x, conv.weight, padding=1)
    assert torch.allclose(conv(x), expected, atol=2e-4)
    assert torch.allclose(conv(x.contiguous(memory_format=torch.channels_last)), expected, atol=2e-4)
    assert (taken or ["torch"])[0] == way


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("side", [3, 70])
def test_conv1x1_equals_torch(bias: bool, side: int) -> None:
    conv = Conv1x1(6, bias)
    x = torch.randn(2, 6, side, side)
    assert torch.allclose(conv(x), F.conv2d(x, conv.weight, conv.bias), atol=1e-5)


def test_a_prediction_before_training_does_not_affect_training() -> None:
    convolve._neighbours.cache_clear()
    conv, x = Conv3x3(4), torch.randn(2, 4, 3, 3)
    with torch.inference_mode():
        conv(x)
    conv(x).sum().backward()
    assert conv.weight.grad is not None
    assert conv.weight.grad.abs().sum() > 0
