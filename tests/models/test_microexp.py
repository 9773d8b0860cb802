"""MicroExp's networks against convolutions written out by hand, with Keras's order of axes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mien.classifiers.schedule import Schedule
from mien.classifiers.training import fit
from mien.errors import MienError
from mien.models.microexp import Dense, MicroExpFuseNet, MicroExpSTCNN, conv_pool, learn_levels, plain
from mien.preprocessing.inputs import ArrayInputs

Array = NDArray[np.float64]


@pytest.fixture(autouse=True, params=["products", "frames", "clip by clip"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small clips are convolved frame by frame; here every way is taken."""
    monkeypatch.setattr("mien.models.microexp.FEW", 0 if request.param == "products" else 10**9)
    monkeypatch.setattr("mien.models.microexp.AT_ONCE", 10**9 if request.param == "frames" else 1)


# What Keras computes for the released code, channels first, time last: (N, 1, H, W, T)


def keras_conv3d(x: Array, kernel: Array, bias: Array) -> Array:
    """Conv3D(M, (h, w, t), padding="valid", activation="relu"), channels first; kernel (h, w, t, 1, M)."""
    h, w, t = kernel.shape[:3]
    n, _, height, width, time = x.shape
    out = np.zeros((n, kernel.shape[4], height - h + 1, width - w + 1, time - t + 1))
    for y in range(h):
        for c in range(w):
            for k in range(t):
                seen = x[:, 0, y : y + out.shape[2], c : c + out.shape[3], k : k + out.shape[4]]
                out += seen[:, None] * kernel[y, c, k, 0][:, None, None, None]
    return np.asarray(np.maximum(out + bias[:, None, None, None], 0))


def keras_pool(x: Array) -> Array:
    """MaxPooling3D((3, 3, 3), padding="valid"): what is left over at the end is dropped."""
    n, maps = x.shape[:2]
    a, b, c = (size // 3 for size in x.shape[2:])
    cut = x[:, :, : 3 * a, : 3 * b, : 3 * c].reshape(n, maps, a, 3, b, 3, c, 3)
    return np.asarray(cut.max((3, 5, 7)))


def keras_columns(pooled: tuple[int, ...], maps: int) -> NDArray[np.int64]:
    """For each value of Keras's flattened (map, row, column, time), where ours, (time, map, row, column), has it."""
    time, rows, columns = pooled
    ours = np.arange(time * maps * rows * columns).reshape(time, maps, rows, columns)
    return ours.transpose(1, 2, 3, 0).reshape(-1)


def given_to_keras(model: MicroExpSTCNN | MicroExpFuseNet, n: int) -> tuple[Array, Array]:
    """A stream's kernel as Keras stores it, and its bias."""
    convolution = model.convolutions[n]
    weight, bias = convolution.weight.detach().numpy(), convolution.bias.detach().numpy()  # type: ignore[operator]
    return weight.transpose(3, 4, 2, 1, 0).astype(np.float64), bias.astype(np.float64)


def dense(x: Array, layer: nn.Module, columns: NDArray[np.int64] | None = None) -> Array:
    weight = layer.weight.detach().numpy().astype(np.float64)  # type: ignore[operator]
    bias = layer.bias.detach().numpy().astype(np.float64)  # type: ignore[operator]
    return np.asarray(x @ (weight if columns is None else weight[:, columns]).T + bias)


def shaken(model: nn.Module) -> None:
    """Biases are 0 at first, and would not be seen."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))


def keras_stream(model: MicroExpSTCNN | MicroExpFuseNet, clips: Array, n: int) -> Array:
    x = clips.transpose(0, 2, 3, 1)[:, None]
    return keras_pool(keras_conv3d(x, *given_to_keras(model, n))).reshape(len(clips), -1)


@pytest.mark.parametrize(
    ("shape", "kernel"), [((19, 14, 11), (3, 3, 15)), ((9, 13, 16), (5, 7, 3)), ((18, 12, 12), (3, 3, 15))]
)
def test_stcnn_equals_the_keras_network(shape: tuple[int, int, int], kernel: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    model = MicroExpSTCNN(3, shape, kernel=kernel, maps=5, dense=7)
    shaken(model)
    clips = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    pooled = keras_stream(model, clips.astype(np.float64), 0)
    hidden = np.maximum(dense(pooled, model.hidden, keras_columns(model.pooled, 5)), 0)
    theirs = dense(hidden, model.classify)
    with torch.no_grad():
        ours = model.eval()(torch.from_numpy(clips)).numpy()
    assert np.abs(ours - theirs).max() < 1e-5 * np.ptp(theirs, axis=0).max()


@pytest.mark.parametrize("fusion", ["intermediate", "late"])
def test_fusenet_equals_the_keras_network(fusion: str) -> None:
    torch.manual_seed(0)
    model = MicroExpFuseNet(4, (2, 18, 11, 12), fusion=fusion, maps=5, dense=(13, 7))  # type: ignore[arg-type]
    shaken(model)
    clips = np.random.default_rng(0).normal(size=(3, 2, 18, 11, 12)).astype(np.float32)
    streams = [keras_stream(model, clips[:, n].astype(np.float64), n) for n in range(2)]
    columns = keras_columns(model.pooled, 5)
    if fusion == "intermediate":
        streams, columns = [np.concatenate(streams, 1)], np.concatenate([columns, columns + len(columns)])
    towers = zip(streams, model.wide, model.narrow, strict=True)
    joined = np.concatenate([dense(dense(s, wide, columns), narrow) for s, wide, narrow in towers], 1)
    theirs = dense(joined, model.classify)
    with torch.no_grad():
        ours = model.eval()(torch.from_numpy(clips)).numpy()
    assert np.abs(ours - theirs).max() < 1e-5 * np.ptp(theirs, axis=0).max()


# The papers' tables


@pytest.mark.parametrize(("frames", "pooled", "total"), [(96, (27, 20, 20), 44_241_667), (18, (1, 20, 20), 1_643_267)])
def test_size_of_stcnn(frames: int, pooled: tuple[int, int, int], total: int) -> None:
    with torch.device("meta"):
        model = MicroExpSTCNN(3, (frames, 64, 64))
    assert model.pooled == pooled
    assert model.n_features == 32 * pooled[0] * 400
    assert sum(p.numel() for p in model.parameters()) == total


@pytest.mark.parametrize(
    ("fusion", "frames", "total"),
    [
        ("intermediate", 96, 177_088_515),
        ("intermediate", 18, 6_694_915),
        ("late", 96, 177_221_123),
        ("late", 18, 6_827_523),
    ],
)
def test_size_of_fusenet(fusion: str, frames: int, total: int) -> None:
    with torch.device("meta"):
        model = MicroExpFuseNet(3, (2, frames, 32, 32), fusion=fusion)  # type: ignore[arg-type]
    assert model.n_features == (86_400 if frames == 96 else 3_200)
    assert sum(p.numel() for p in model.parameters()) == total


def test_weights_are_initialised_as_in_keras() -> None:
    torch.manual_seed(0)
    model = MicroExpSTCNN(3, (18, 64, 64))
    kernel = model.get_parameter("convolutions.0.weight").detach()
    bound = (6 / (135 + 32 * 135)) ** 0.5
    assert 0.99 * bound < float(kernel.abs().max()) <= bound
    assert float(model.hidden.weight.detach().std()) == pytest.approx(0.05, rel=0.01)
    assert all(float(p.detach().abs().sum()) == 0 for name, p in model.named_parameters() if name.endswith("bias"))
    wide = MicroExpFuseNet(3, (2, 18, 32, 32)).wide[0]
    assert isinstance(wide, Dense)
    assert float(wide.weight.detach().abs().max()) == pytest.approx((6 / (6400 + 1024)) ** 0.5, rel=0.01)


# The fast ways


@pytest.mark.parametrize(
    ("shape", "kernel"),
    [
        ((2, 20, 13, 17), (15, 3, 3)),
        ((1, 9, 16, 14), (3, 5, 7)),
        ((3, 18, 21, 21), (15, 7, 5)),
        ((2, 3, 3, 3), (1, 1, 1)),
    ],
)
def test_conv_pool_and_its_gradient_equal_torch(shape: tuple[int, ...], kernel: tuple[int, ...]) -> None:
    random = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=random, dtype=torch.float64)
    x[0, :, :6] = 0.5  # equal patches tie for the maximum
    weight, bias = (
        torch.randn(s, generator=random, dtype=torch.float64).requires_grad_() for s in ((4, 1, *kernel), (4,))
    )
    ours, theirs = conv_pool(x, weight, bias), plain(x, weight, bias)
    assert torch.allclose(ours, theirs, atol=1e-12)
    above = torch.randn(ours.shape, generator=random, dtype=torch.float64)
    for mine, reference in zip(*(torch.autograd.grad(y, (weight, bias), above) for y in (ours, theirs)), strict=True):
        assert torch.allclose(mine, reference, atol=1e-10)
    with torch.inference_mode():
        assert torch.equal(conv_pool(x, weight, bias), ours)


def test_conv_pool_of_a_view() -> None:
    x = torch.randn(2, 2, 9, 8, 8)
    weight, bias = torch.randn(3, 1, 3, 3, 3), torch.randn(3)
    part = x[:, 1, :, 1:, :7]
    assert torch.allclose(conv_pool(part, weight, bias), plain(part, weight, bias), atol=1e-5)


def test_steps_in_the_backward_pass_equal_gradient_descent(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randint(0, 256, (10, 2, 8, 9, 9), generator=torch.Generator().manual_seed(0)).float() / 255
    y = torch.arange(10) % 3
    torch.manual_seed(3)
    first = MicroExpFuseNet(3, (2, 8, 9, 9), fusion="late", kernel=(3, 3, 3), maps=3, dense=(6, 5))
    second = copy.deepcopy(first)
    schedule = Schedule(epochs=3, batch_size=4, lr=0.05, momentum=0.0, decay=0.5)
    losses = []
    for model in (first, second):
        if model is second:
            monkeypatch.setattr(model, "step_at", lambda rate: None)
        torch.manual_seed(4)
        losses.append(fit(model, x, y, schedule))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert first.wide[0].weight.grad is None
    assert second.wide[0].weight.grad is not None


def test_momentum_leaves_the_steps_to_the_optimiser() -> None:
    model = MicroExpSTCNN(2, (8, 9, 9), kernel=(3, 3, 3), maps=2, dense=4)
    fit(model, torch.rand(6, 8, 9, 9), torch.arange(6) % 2, Schedule(epochs=1, batch_size=3, momentum=0.9))
    assert model.hidden.rate is None
    assert model.hidden.weight.grad is not None


# Levels


def test_learn_levels_over_a_whole_set() -> None:
    clips = np.random.default_rng(0).integers(0, 200, (5, 2, 4, 6, 7)).astype(np.float32)
    clips[:, 1] += 50
    offset, factor = learn_levels(ArrayInputs(clips), "set")
    for n in range(2):
        centred = clips[:, n].astype(np.float64) - clips[:, n].mean(dtype=np.float64)
        assert float(offset[n]) == pytest.approx(clips[:, n].mean(dtype=np.float64), rel=1e-6)
        assert float(factor[n]) == pytest.approx(1 / centred.max(), rel=1e-5)
    _, factor = learn_levels(ArrayInputs(clips), "onset")
    change = clips.astype(np.float64) - clips[:, :, :1]
    assert factor.numpy() == pytest.approx(1 / change.std(axis=(0, 2, 3, 4)), rel=1e-5)


@pytest.mark.parametrize("centre", ["set", "onset"])
def test_learn_levels_of_black_clips_is_finite(centre: str) -> None:
    offset, factor = learn_levels(ArrayInputs(np.zeros((2, 4, 5, 5), np.float32)), centre)  # type: ignore[arg-type]
    assert (float(offset[0]), float(factor[0])) == (0.0, 1.0)


def test_centre_onset_gives_zero_for_a_still_clip() -> None:
    model = MicroExpSTCNN(2, (8, 9, 9), kernel=(3, 3, 3), maps=2, dense=4, centre="onset").eval()
    still = torch.rand(2, 1, 9, 9).expand(2, 8, 9, 9)
    a, b = model(still).detach()
    assert torch.equal(a, b)


# Mistakes


def test_wrong_arguments_raise_mien_error() -> None:
    with pytest.raises(MienError, match="leaves nothing"):
        MicroExpSTCNN(3, (16, 64, 64))
    with pytest.raises(MienError, match="3 whole numbers"):
        MicroExpSTCNN(3, (18, 64, 64), kernel=(3, 15))
    with pytest.raises(MienError, match="class"):
        MicroExpSTCNN(1, (18, 64, 64))
    with pytest.raises(MienError, match="dropout"):
        MicroExpSTCNN(3, (18, 64, 64), dropout=1.0)
    with pytest.raises(MienError, match="2 whole numbers"):
        MicroExpFuseNet(3, (2, 18, 32, 32), dense=128)  # type: ignore[arg-type]
