"""The image-based CNN: each frame is classified separately, and the frames of a clip vote.

Takalkar and Xu (DICTA 2017), as the authors of STRCN ran it (Xia et al., IEEE TMM 2020, section IV): VGG-Face is
fine-tuned on frames that have the class of their clip; a clip is assigned a class if at least half of its frames are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from mien.errors import MienError, unknown_name
from mien.models.resnet import ResNet
from mien.models.weights import load_backbone

BACKBONES: Final = ("small", "vgg-face")
_VGG: Final = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Numbers of maps and of convolutions of each stage of VGG-16 (configuration D)."""

VGG_FACE_MEAN: Final = (129.1863, 104.7624, 93.5940)
"""Mean red, green and blue of the pictures that VGG-Face was trained on, as its authors publish it."""


class VGG16(nn.Module):
    """VGG-16, the architecture of VGG-Face; 134,260,544 parameters without the classes.

    Args:
        n_classes: Classes.
        dropout: After each of the two dense layers.

    Source: Parkhi, Vedaldi, Zisserman, "Deep face recognition", BMVC 2015, table 3; names as in torchvision.
    """

    def __init__(self, n_classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for maps, n in _VGG:
            for _ in range(n):
                layers += [nn.Conv2d(before, maps, 3, padding=1), nn.ReLU(inplace=True)]
                before = maps
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(7)  # nothing at 224 pixels, the size of the weights
        self.classifier = nn.Sequential(
            nn.Linear(512 * 49, 4096), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Linear(4096, n_classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W), RGB, 0..255, to logits (B, n_classes)."""
        maps = self.pool(self.features(x - x.new_tensor(VGG_FACE_MEAN)[:, None, None]))
        logits: Tensor = self.classifier(maps.flatten(1))
        return logits

    def load(self, path: Path) -> None:
        """Weights from a local `.safetensors` file, its classes left out.

        Names are those of torchvision's VGG-16 (`features.0.weight`) or of the layers (`conv1_1.weight`, `fc6.weight`).

        Raises:
            MienError: No such file, or weights of another architecture.
        """
        load_backbone(self, path, "VGG-16", ignored=("classifier.6.",), rename=_torchvision_name)


def _torchvision_name(name: str) -> str:
    """`conv3_2.weight` or `conv_3_2.weight` as `features.12.weight`; other names as they are."""
    found = re.fullmatch(r"conv_?(\d)_(\d)\.(weight|bias)", name)
    if found:
        stage, place = int(found[1]), int(found[2])
        before = sum(2 * n + 1 for _, n in _VGG[: stage - 1])
        return f"features.{before + 2 * (place - 1)}.{found[3]}"
    found = re.fullmatch(r"fc([678])\.(weight|bias)", name)
    return f"classifier.{3 * (int(found[1]) - 6)}.{found[2]}" if found else name


class SmallCNN(nn.Module):
    """A small residual network for frames, to be trained without pre-trained weights.

    Args:
        n_classes: Number of classes.
        channels: 1 (grey) or 3 (colour).
        maps: Number of feature maps of the first stage (`mien.models.resnet`).
        dropout: Dropout probability before the last layer.
    """

    def __init__(self, n_classes: int, channels: int = 3, maps: int = 16, dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone = ResNet("small", channels, maps)
        self.drop = nn.Dropout(dropout)
        self.classify = nn.Linear(self.backbone.out_maps, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W), 0..255, to logits (B, n_classes)."""
        logits: Tensor = self.classify(self.drop(self.backbone(x / 127.5 - 1).mean((2, 3))))
        return logits


def vote(p: Tensor) -> Tensor:
    """Combine the class probabilities of the frames of a clip by voting.

    Args:
        p: (B, T, C) class probabilities of each frame, with rows summing to 1.

    Returns:
        (B, C), approximately the shares of votes, with rows summing to 1. The class of at least half of the frames has
        the largest value; if there is none, the class of most frames; of equal ones, that with the largest mean
        probability.

    Example:
        >>> import torch
        >>> from mien.models.image_cnn import vote
        >>> vote(torch.tensor([[[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]]])).argmax(1).tolist()
        [1]
    """
    frames = p.shape[1]
    votes = nn.functional.one_hot(p.argmax(2), p.shape[2]).sum(1)
    # Half a vote, divided by mean probability, decides between equal votes and never outweighs a vote.
    return (votes + 0.5 * p.mean(1)) / (frames + 0.5)


class ImageCNN(nn.Module):
    """A network that classifies single frames and lets them vote for the clip.

    Args:
        n_classes: Number of classes.
        channels: 1 (grey) or 3 (colour).
        backbone: "small" or "vgg-face".
        maps: Number of feature maps of the first stage of the small backbone.
        dropout: Dropout probability; see the backbones.

    Raises:
        MienError: An unknown backbone, or grey frames for VGG-Face.
    """

    def __init__(
        self, n_classes: int, channels: int = 3, backbone: str = "small", maps: int = 16, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise unknown_name("backbone", backbone, BACKBONES, "--set backbone=small")
        if n_classes < 2:
            raise MienError(f"A network for {n_classes} class(es).", "at least two.", "another `--labels`.")
        if backbone == "vgg-face" and channels != 3:
            raise MienError("VGG-Face was given grey frames.", "three colours.", "`--set colour=true`.")
        self.net: VGG16 | SmallCNN
        if backbone == "vgg-face":
            self.net = VGG16(n_classes, dropout)
        else:
            self.net = SmallCNN(n_classes, channels, maps, dropout)

    def load(self, path: Path) -> None:
        """Load weights from a local file; see the backbones."""
        (self.net if isinstance(self.net, VGG16) else self.net.backbone).load(path)

    def frames(self, x: Tensor) -> Tensor:
        """Map clips (B, T, H, W, C), 0..255, to the logits of each frame, (B, T, n_classes)."""
        logits: Tensor = self.net(x.flatten(0, 1).permute(0, 3, 1, 2))
        return logits.view(*x.shape[:2], -1)

    def forward(self, x: Tensor) -> Tensor:
        """Map clips (B, T, H, W, C), 0..255, to the logarithm of `vote`, (B, n_classes)."""
        return vote(torch.softmax(self.frames(x), 2)).log()

    def soft_scores(self, x: Tensor) -> Tensor:
        """Map clips to the mean logits of their frames, (B, n_classes), which have a gradient, unlike votes."""
        return self.frames(x).mean(1)

    def objective(self, batch: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Compute the training loss: each frame has the class of its clip."""
        return loss(self.frames(batch).flatten(0, 1), y.repeat_interleave(batch.shape[1]))
