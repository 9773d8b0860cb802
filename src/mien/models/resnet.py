"""Residual networks (He, Zhang, Ren, Sun; CVPR 2016), in the sizes that micro-expression systems use.

Tensors have the names of torchvision, so that weights of its ResNet-18, saved as safetensors, can be loaded. Two sizes:

- `resnet18`: 7x7 first convolution with stride 2, max pool, four stages of two blocks; 11,176,512 parameters with 64
  maps and three colours, without the classes.
- `small`: 3x3 first convolution with stride 2, three stages of one block; for small pictures and few clips.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn

from mien.errors import MienError, unknown_name
from mien.models.weights import load_backbone

Size = Literal["small", "resnet18"]
SIZES: Final[tuple[Size, ...]] = get_args(Size)
_BLOCKS: Final[dict[str, tuple[int, ...]]] = {"small": (1, 1, 1), "resnet18": (2, 2, 2, 2)}


class Skip(nn.Conv2d):
    """A 1x1 convolution with a stride, computed as one without stride on every `stride`-th pixel.

    torch 2.13's own implementation on a CPU writes outside its memory with few channels in channels-last memory (4
    channels, stride 2).
    """

    def __init__(self, maps_in: int, maps: int, stride: int) -> None:
        super().__init__(maps_in, maps, 1, bias=False)
        self.every = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, maps_in, H, W) to (B, maps, H / stride, W / stride), rounded up."""
        # Indexing the permuted tensor keeps the gradient in channels-last memory too.
        strided = x.permute(0, 2, 3, 1)[:, :: self.every, :: self.every].permute(0, 3, 1, 2)
        return super().forward(strided)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation and a residual connection, by a 1x1 convolution if shapes differ.

    Source: He et al., figure 2 and section 3.3, option B.
    """

    def __init__(self, maps_in: int, maps: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(maps_in, maps, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(maps)
        self.conv2 = nn.Conv2d(maps, maps, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(maps)
        self.downsample: nn.Module | None = None
        if stride != 1 or maps_in != maps:
            self.downsample = nn.Sequential(Skip(maps_in, maps, stride), nn.BatchNorm2d(maps))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, maps_in, H, W) to (B, maps, H / stride, W / stride)."""
        z: Tensor = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu_()))
        z = z.add_(x if self.downsample is None else self.downsample(x))
        return z.relu_()


class ResNet(nn.Module):
    """The convolutional part of a residual network, from pictures to feature maps.

    Args:
        size: "small" or "resnet18".
        channels: Number of channels of a picture.
        maps: Number of feature maps of the first stage; each further stage has twice as many.
    """

    def __init__(self, size: str = "small", channels: int = 3, maps: int = 16) -> None:
        super().__init__()
        if size not in SIZES:
            raise unknown_name("backbone", size, SIZES, "--set backbone=small")
        blocks = _BLOCKS[size]
        large = size == "resnet18"
        self.size = size
        self.conv1 = nn.Conv2d(channels, maps, 7 if large else 3, 2, 3 if large else 1, bias=False)
        self.bn1 = nn.BatchNorm2d(maps)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        self.stages = len(blocks)
        self.out_maps = maps << (len(blocks) - 1)
        before = maps
        for stage, n in enumerate(blocks):
            width = maps << stage
            layer = [BasicBlock(before if b == 0 else width, width, 2 if b == 0 and stage else 1) for b in range(n)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
            before = width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        # Channels-last memory is faster on a CPU, with the same result.
        for parameter in self.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, out_maps, H / 32, W / 32), rounded up; H / 8 and W / 8 for "small"."""
        x = self.maxpool(self.bn1(self.conv1(x)).relu_())
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x

    def load(self, path: Path) -> None:
        """Load weights from a local `.safetensors` file, without its last layer.

        Raises:
            MienError: No such file, or weights of another architecture.
        """
        maps = self.conv1.out_channels
        if self.size == "resnet18" and maps != 64:
            raise MienError(
                f"The network has {maps} maps.", "64, the width of weights for ResNet-18.", "`--set maps=64`."
            )
        load_backbone(self, path, f"ResNet ({self.size})", ignored=("fc.",))
