"""What the two face networks have in common: their block, and the reading of their weights."""

from __future__ import annotations

from importlib import resources
from typing import TypeVar

import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional as F

Network = TypeVar("Network", bound=nn.Module)


class Block(nn.Module):
    """A depthwise and a pointwise convolution beside a short cut; halves the picture with stride 2.

    The short cut is max-pooled when the picture shrinks, and gets channels of zeros when their number grows.

    Args:
        before: Channels in.
        after: Channels out, >= before.
        stride: 1 or 2.
        parametric: PReLU at the end instead of ReLU.

    Source: Bazarevsky et al., "BlazeFace", 2019, section 3.1; padding as in the released files.
    """

    def __init__(self, before: int, after: int, stride: int = 1, parametric: bool = True) -> None:
        super().__init__()
        self.stride, self.more = stride, after - before
        self.depthwise = nn.Conv2d(before, before, 3, stride, padding=2 - stride, groups=before)
        self.pointwise = nn.Conv2d(before, after, 1)
        self.activation = nn.PReLU(after) if parametric else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, H, W) to (B, after, H / stride, W / stride)."""
        if self.stride == 1:
            y, short = self.depthwise(x), x
        else:
            y, short = self.depthwise(F.pad(x, (0, 1, 0, 1))), F.max_pool2d(x, 2)
        y = self.pointwise(y)
        if self.more:
            y[:, : -self.more] += short
        else:
            y += short
        out: Tensor = self.activation(y)
        return out


def with_weights(network: Network, name: str, device: str) -> Network:
    """A network with its stored weights, ready to be asked.

    Args:
        network: A fresh network.
        name: File in `weights/`, without its ending.
        device: "cpu", "cuda", ...
    """
    state = load((resources.files("mien.face") / "weights" / f"{name}.safetensors").read_bytes())
    network.load_state_dict(state)  # numbers of 16 bits, copied into ones of 32
    for parameter in network.parameters():
        parameter.requires_grad_(False)
        if parameter.ndim == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    return network.eval().to(torch.device(device))
