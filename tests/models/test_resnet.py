"""Residual networks: sizes, the same function written out, and weights from a file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from mien.errors import MienError
from mien.models.resnet import ResNet, Skip


def parameters(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def scrambled(net: torch.nn.Module) -> torch.nn.Module:
    """Every number of a network drawn anew, statistics included."""
    torch.manual_seed(1)
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            spread = torch.rand_like(value) + 0.5 if name.endswith(("running_var", "bn1.weight")) else None
            value.copy_(0.1 * torch.randn_like(value) if spread is None else spread)
    return net.eval()


def plain(state: dict[str, Tensor], x: Tensor, blocks: tuple[int, ...], large: bool) -> Tensor:
    """ResNet from its tensors' names alone."""

    def norm(z: Tensor, name: str) -> Tensor:
        kinds = ("running_mean", "running_var", "weight", "bias")
        mean, var, w, b = (state[f"{name}.{kind}"][:, None, None] for kind in kinds)
        return (z - mean) / (var + 1e-5).sqrt() * w + b

    x = F.conv2d(x, state["conv1.weight"], stride=2, padding=3 if large else 1)
    x = norm(x, "bn1").clamp_min(0)
    if large:
        x = F.max_pool2d(x, 3, 2, 1)
    for stage, n in enumerate(blocks):
        for block in range(n):
            name, stride = f"layer{stage + 1}.{block}", 2 if stage and not block else 1
            z = norm(F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1").clamp_min(0)
            z = norm(F.conv2d(z, state[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
            if f"{name}.downsample.0.weight" in state:
                x = norm(F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride), f"{name}.downsample.1")
            x = (z + x).clamp_min(0)
    return x


def test_resnet18_has_the_parameters_and_names_of_torchvision() -> None:
    with torch.device("meta"):
        net = ResNet("resnet18", 3, 64)
    assert parameters(net) == 11_689_512 - 513_000  # torchvision's, less its 1000 classes
    names = set(net.state_dict())
    assert len(names) == 120
    assert {"conv1.weight", "bn1.running_var", "layer2.0.downsample.1.running_mean", "layer4.1.bn2.bias"} <= names
    assert net(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 512, 7, 7)


@pytest.mark.parametrize(("size", "channels", "shape"), [("small", 1, (33, 40)), ("resnet18", 3, (70, 64))])
def test_resnet_equals_a_plain_network(size: str, channels: int, shape: tuple[int, int]) -> None:
    net = scrambled(ResNet(size, channels, 8))
    x = torch.randn(2, channels, *shape)
    blocks = (1, 1, 1) if size == "small" else (2, 2, 2, 2)
    expected = plain(net.state_dict(), x, blocks, size == "resnet18")
    assert torch.allclose(net(x), expected, atol=1e-4, rtol=1e-4)
    assert expected.abs().max() > 1e-3


def test_gradients_are_channels_last() -> None:
    """Else ReLU's backward pass walks two layouts at once: fifteen times slower."""
    x = torch.randn(2, 4, 9, 9).contiguous(memory_format=torch.channels_last).requires_grad_()
    layouts: list[bool] = []
    seen = x * 1
    seen.register_hook(lambda g: layouts.append(g.is_contiguous(memory_format=torch.channels_last)))  # type: ignore[no-untyped-call]
    Skip(4, 6, 2)(seen).square().sum().backward()
    assert layouts == [True]


def test_weights_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "resnet18.safetensors"
    source = scrambled(ResNet("resnet18", 3, 64))
    state = {k: v.contiguous() for k, v in source.state_dict().items() if "num_batches" not in k}  # as in older files
    save_file({**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, file)
    net = ResNet("resnet18", 3, 64)
    net.load(file)
    x = torch.randn(1, 3, 40, 40)
    assert torch.equal(net.eval()(x), source(x))
    grey = ResNet("resnet18", 1, 64)
    grey.load(file)
    assert torch.allclose(grey.eval()(x[:, :1]), source(x[:, :1].expand(-1, 3, -1, -1)), atol=1e-4)


def test_missing_files_and_other_weights_raise_mien_error(tmp_path: Path) -> None:
    net = ResNet("small", 1, 4)
    with pytest.raises(MienError, match="no weights file"):
        net.load(tmp_path / "none.safetensors")
    (tmp_path / "old.pth").write_bytes(b"PK\x03\x04 a pickle, and more of it")
    with pytest.raises(MienError, match="not read"):
        net.load(tmp_path / "old.pth")
    state = {k: v.contiguous() for k, v in net.state_dict().items()}
    cases = {
        "is missing, and 1 more": {k: v for k, v in state.items() if not k.startswith("layer3.0.conv")},
        "head.weight is unknown": {**state, "head.weight": torch.zeros(2)},
        r"conv1.weight is \(5, 1, 3, 3\), not \(4, 1, 3, 3\)": {**state, "conv1.weight": torch.zeros(5, 1, 3, 3)},
    }
    for told, tensors in cases.items():
        save_file(tensors, tmp_path / "other.safetensors")
        before = net.conv1.weight.clone()
        with pytest.raises(MienError, match=told):
            net.load(tmp_path / "other.safetensors")
        assert torch.equal(net.conv1.weight, before)
    with pytest.raises(MienError, match="`--set maps=64`"):
        ResNet("resnet18", 3, 8).load(tmp_path / "other.safetensors")
    with pytest.raises(MienError, match="backbone"):
        ResNet("resnet19")
