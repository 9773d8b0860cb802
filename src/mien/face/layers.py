"""Parts shared by the two face networks: their building block, and loading of weights."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import TypeVar

import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional as F

Network = TypeVar("Network", bound=nn.Module)


class Block(nn.Module):
    """A depthwise and a pointwise convolution with a residual connection.

    With stride 2 the picture is halved, and the residual is max-pooled. Additional channels of the residual are 0.

    Args:
        before: Number of input channels.
        after: Number of output channels, >= before.
        stride: 1 or 2.
        parametric: Whether the activation is PReLU instead of ReLU.

    Source: Bazarevsky et al., "BlazeFace", 2019, section 3.1; padding as in the released files.
    """

    def __init__(self, before: int, after: int, stride: int = 1, parametric: bool = True) -> None:
        super().__init__()
        self.stride, self.new_channels = stride, after - before
        self.depthwise = nn.Conv2d(before, before, 3, stride, padding=2 - stride, groups=before)
        self.pointwise = nn.Conv2d(before, after, 1)
        self.activation = nn.PReLU(after) if parametric else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, before, H, W) to (B, after, H / stride, W / stride)."""
        if self.stride == 1:
            y, residual = self.depthwise(x), x
        else:
            y, residual = self.depthwise(F.pad(x, (0, 1, 0, 1))), F.max_pool2d(x, 2)
        y = self.pointwise(y)
        if self.new_channels:
            y[:, : -self.new_channels] += residual
        else:
            y += residual
        out: Tensor = self.activation(y)
        return out


def split_bytes(numbers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return numbers of 16 bits as bytes: the high ones under `high.NAME`, the low ones under `low.NAME`.

    A file has the names in order, so all high bytes, which are much alike, come together and compress better.

    Args:
        numbers: Tensors by name; only those of floating point are split.

    Example:
        >>> joined_bytes(split_bytes({"bias": torch.tensor([1.0, -0.25], dtype=torch.float16)}))
        {'bias': tensor([ 1.0000, -0.2500], dtype=torch.float16)}
    """
    found: dict[str, Tensor] = {}
    for name, tensor in numbers.items():
        if tensor.is_floating_point():
            integers = tensor.contiguous().view(torch.int16)
            found |= {f"high.{name}": (integers >> 8 & 255).to(torch.uint8)}
            found |= {f"low.{name}": (integers & 255).to(torch.uint8)}
        else:
            found[name] = tensor
    return found


def joined_bytes(split: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the numbers that `split_bytes` took apart."""
    found = {name: tensor for name, tensor in split.items() if not name.startswith(("high.", "low."))}
    for name in (name.removeprefix("high.") for name in split if name.startswith("high.")):
        high, low = split[f"high.{name}"].to(torch.int16), split[f"low.{name}"].to(torch.int16)
        found[name] = (high << 8 | low).view(torch.float16)
    return found


def with_weights(network: Network, name: str, device: str) -> Network:
    """Load the stored weights into a network and set it to evaluation mode.

    Args:
        network: A new network.
        name: Name of the file in `weights/`, without its ending.
        device: "cpu", "cuda", ...

    Returns:
        The network, on the device.
    """
    state = load((resources.files("mien.face") / "weights" / f"{name}.safetensors").read_bytes())
    network.load_state_dict(joined_bytes(state))  # stored as float16, copied into float32
    for parameter in network.parameters():
        parameter.requires_grad_(False)
        if parameter.ndim == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    return network.eval().to(torch.device(device))
