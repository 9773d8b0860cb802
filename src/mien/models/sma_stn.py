"""The network of an SMA-STN-style system: a shared CNN on dynamic images, with attention over positions and segments.

A reconstruction from the abstract of SMA-STN (Liu, Zheng, Zong; arXiv 2010.09342), whose equations were not available.
It says that STMA captures long-range spatial relations and weighs temporal segments, and that DE-Loss makes the
features robust to subtle changes of movement. They are implemented as follows:

- spatial: a non-local block (Wang, Girshick, Gupta, He; CVPR 2018), z = x + W softmax(theta(x)^T phi(x)) g(x), with W
  initialised to zero, so that training starts from the network without attention.
- temporal: a_k = softmax_k(w2^T tanh(W1 GAP(z_k))), f = sum_k a_k GAP(z_k).
- deviation enhancement: one of `DEVIATIONS`, added to cross-entropy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from mien.errors import MienError, unknown_name
from mien.models.resnet import ResNet

STMA = Literal["none", "spatial", "temporal", "both"]
STMAS: Final[tuple[STMA, ...]] = get_args(STMA)
Deviation = Literal["none", "centres", "neutral", "draws"]
DEVIATIONS: Final[tuple[Deviation, ...]] = get_args(Deviation)


class NonLocal(nn.Module):
    """Attention between all positions of a feature map: z = x + W y, y_i = sum_j softmax_j(theta_i . phi_j) g_j.

    Args:
        maps: Number of feature maps, C; theta, phi and g have half as many.

    Source: Wang et al., CVPR 2018, equation 2 with the embedded Gaussian, section 3.3 (zero initialisation).
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        half = max(1, maps // 2)
        self.embed = nn.Conv2d(maps, 3 * half, 1)  # theta, phi and g as one product
        self.out = nn.Conv2d(half, maps, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z, of the shape (B, C, h, w) of x, and the attention (B, h w, h w), with rows summing to 1."""
        # Positions are rows and maps are columns, as in channels-last memory, so that all steps are matrix products.
        positions = x.permute(0, 2, 3, 1).flatten(1, 2)
        theta, phi, g = linear(positions, self.embed.weight.flatten(1), self.embed.bias).chunk(3, 2)
        attention = torch.softmax(theta @ phi.transpose(1, 2), 2)
        z = positions + linear(attention @ g, self.out.weight.flatten(1), self.out.bias)
        return z.view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2), attention

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to the same shape."""
        z: Tensor = self.look(x)[0]
        return z


class SegmentWeights(nn.Module):
    """Weights of the segments of a clip: softmax over segments of w2^T tanh(W1 v).

    Args:
        width: Size of a segment's feature, D; W1 has half as many rows.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, max(1, width // 2))
        self.outer = nn.Linear(max(1, width // 2), 1, bias=False)

    def forward(self, v: Tensor) -> Tensor:
        """Map features (B, S, D) to weights (B, S), with rows summing to 1."""
        score: Tensor = self.outer(torch.tanh(self.inner(v)))[..., 0]
        return torch.softmax(score, 1)


@dataclass(frozen=True)
class Seen:
    """Features of a batch of clips, and the attention that led to them.

    Attributes:
        feature: (B, D) feature of each clip.
        segments: (B, S) weights of the segments, with rows summing to 1.
        attention: (B, S, h, w) attention that each position receives, averaged over all positions; each map sums to 1.
            None without spatial attention.
    """

    feature: Tensor
    segments: Tensor
    attention: Tensor | None


def centre_deviation(f: Tensor, y: Tensor, margin: float = 1.0) -> Tensor:
    """Compute DE-Loss E1: clips are pulled to the centre of their class, centres of different classes pushed apart.

    Args:
        f: (B, D) features.
        y: (B,) classes.
        margin: Distance from which on two centres are not pushed apart.

    Returns:
        Scalar: half the mean squared distance to the centre, plus the mean over pairs of classes of
        max(0, margin - distance)^2. Centres are those of the batch. Features are divided by the square root of D, so
        that the margin does not depend on D.
    """
    f = f / f.shape[1] ** 0.5
    classes, place = torch.unique(y, return_inverse=True)
    member = nn.functional.one_hot(place, len(classes)).to(f.dtype)
    centres = (member.T @ f) / member.sum(0)[:, None]
    pull = 0.5 * (f - centres[place]).square().sum(1).mean()
    if len(classes) < 2:
        return pull
    a, b = torch.triu_indices(len(classes), len(classes), 1, device=f.device)
    # The square root has no gradient at 0, so it is clamped.
    distance = (centres[a] - centres[b]).square().sum(1).clamp_min(1e-12).sqrt()
    return pull + (margin - distance).clamp_min(0).square().mean()


def neutral_deviation(f: Tensor, neutral: Tensor, margin: float = 1.0) -> Tensor:
    """Compute DE-Loss E2: features keep a distance of at least `margin` from the feature of a clip without movement.

    Args:
        f: (B, D) features.
        neutral: (D,) or (1, D) feature of dynamic images that are zero.
        margin: As in `centre_deviation`.

    Returns:
        Scalar: mean of max(0, margin - distance)^2.
    """
    distance = ((f - neutral) / f.shape[1] ** 0.5).square().sum(1).clamp_min(1e-12).sqrt()
    short: Tensor = (margin - distance).clamp_min(0)
    return short.square().mean()


def draw_deviation(f: Tensor, other: Tensor) -> Tensor:
    """Compute DE-Loss E3: two draws of frames of a clip have the same feature; mean over clips of ||f - f'||^2 / D."""
    return (f - other).square().mean()


class SMASTN(nn.Module):
    """The network from the dynamic images of a clip to class scores.

    Args:
        n_classes: Number of classes, >= 2.
        channels: 1 (grey) or 3 (colour).
        backbone: Size of the residual network (`mien.models.resnet.SIZES`).
        maps: Number of feature maps of its first stage.
        stma: Attention: "none", "spatial", "temporal" or "both". Without temporal attention all segments count the
            same.
        deviation: DE-Loss: "none", "centres" (E1), "neutral" (E2) or "draws" (E3).
        weight: Weight of DE-Loss relative to cross-entropy.
        margin: Margin of E1 and E2.
        dropout: Dropout probability of the clip's feature.
        scale: Factor by which images are multiplied first.

    Raises:
        MienError: An unknown name, or fewer than two classes.
    """

    def __init__(
        self,
        n_classes: int,
        channels: int = 1,
        backbone: str = "small",
        maps: int = 16,
        stma: str = "both",
        deviation: str = "none",
        weight: float = 0.1,
        margin: float = 1.0,
        dropout: float = 0.0,
        scale: float = 1 / 16,
    ) -> None:
        super().__init__()
        if stma not in STMAS:
            raise unknown_name("STMA", stma, STMAS, "--set stma=both")
        if deviation not in DEVIATIONS:
            raise unknown_name("DE-Loss", deviation, DEVIATIONS, "--set de_loss=centres")
        if n_classes < 2:
            raise MienError(f"A network for {n_classes} class(es).", "at least two.", "another `--labels`.")
        self.deviation, self.weight, self.margin, self.scale = deviation, weight, margin, scale
        self.backbone = ResNet(backbone, channels, maps)
        width = self.backbone.out_maps
        self.spatial = NonLocal(width) if stma in ("spatial", "both") else None
        self.temporal = SegmentWeights(width) if stma in ("temporal", "both") else None
        self.drop = nn.Dropout(dropout)
        self.classify = nn.Linear(width, n_classes)

    def look(self, x: Tensor) -> Seen:
        """Map dynamic images (B, S, H, W, C), in grey levels, to the clips' features and their attention."""
        clips, images = x.shape[:2]
        # The channels are last already, so that this makes no copy.
        maps = self.backbone(x.flatten(0, 1).permute(0, 3, 1, 2) * self.scale)
        attention = None
        if self.spatial is not None:
            maps, between = self.spatial.look(maps)
            attention = between.mean(1).view(clips, images, *maps.shape[2:])
        # Written as a mean over rows, so that its gradient is in channels-last memory too.
        pooled = maps.permute(0, 2, 3, 1).flatten(1, 2).mean(1).view(clips, images, -1)
        even = pooled.new_full((clips, images), 1 / images)
        segments = even if self.temporal is None else self.temporal(pooled)
        return Seen((segments[:, None] @ pooled)[:, 0], segments, attention)

    def forward(self, x: Tensor) -> Tensor:
        """Map dynamic images (B, S, H, W, C) to logits (B, n_classes)."""
        logits: Tensor = self.classify(self.drop(self.look(x).feature))
        return logits

    def objective(self, batch: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Compute the training loss: `loss` of the logits plus DE-Loss.

        Args:
            batch: (B, S, H, W, C), or (B, 2, S, H, W, C) with two draws of each clip for "draws".
            y: (B,) classes.
            loss: Function of logits and classes.
        """
        n, both = len(batch), batch.dim() == 6
        if both:
            batch, y = batch.flatten(0, 1), y.repeat_interleave(2)
        elif self.deviation == "neutral":
            # Part of the batch, so that it is normalised with the same statistics.
            batch = torch.cat([batch, torch.zeros_like(batch[:1])])
        f = self.look(batch).feature
        f, rest = (f, f[:0]) if both else (f[:n], f[n:])
        total = loss(self.classify(self.drop(f)), y)
        if self.deviation == "centres":
            total = total + self.weight * centre_deviation(f, y, self.margin)
        elif self.deviation == "neutral":
            total = total + self.weight * neutral_deviation(f, rest, self.margin)
        elif self.deviation == "draws" and both:
            total = total + self.weight * draw_deviation(f[::2], f[1::2])
        return total
