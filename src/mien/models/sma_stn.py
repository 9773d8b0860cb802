"""The network of an SMA-STN-style system: a shared CNN over dynamic images, attention in space and over segments.

A reconstruction from the abstract of SMA-STN (Liu, Zheng, Zong; arXiv 2010.09342), whose equations were not available:
it says that STMA captures long-distance spatial relations and weighs temporal segments, and that DE-Loss makes the
features robust to subtle movement changes. What fills those words here:

- spatial: a non-local block (Wang, Girshick, Gupta, He; CVPR 2018), z = x + W softmax(theta(x)^T phi(x)) g(x), with W
  zero at first, so that training begins at the plain network.
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
    """Every place of a map looks at every other: z = x + W y, y_i = sum_j softmax_j(theta_i . phi_j) g_j.

    Args:
        maps: Feature maps C; theta, phi and g have half as many.

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
        """(B, C, h, w) to z of the same shape and who looks at whom, (B, h w, h w), rows summing to 1."""
        # Places as rows, maps as columns: that is how memory holds them, and all are matrix products.
        places = x.permute(0, 2, 3, 1).flatten(1, 2)
        theta, phi, g = linear(places, self.embed.weight.flatten(1), self.embed.bias).chunk(3, 2)
        attention = torch.softmax(theta @ phi.transpose(1, 2), 2)
        z = places + linear(attention @ g, self.out.weight.flatten(1), self.out.bias)
        return z.view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2), attention

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same shape."""
        z: Tensor = self.look(x)[0]
        return z


class SegmentWeights(nn.Module):
    """How much each segment counts: softmax over segments of w2^T tanh(W1 v).

    Args:
        width: Numbers D of a segment's feature; W1 has half as many rows.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, max(1, width // 2))
        self.outer = nn.Linear(max(1, width // 2), 1, bias=False)

    def forward(self, v: Tensor) -> Tensor:
        """(B, S, D) to (B, S), rows summing to 1."""
        score: Tensor = self.outer(torch.tanh(self.inner(v)))[..., 0]
        return torch.softmax(score, 1)


@dataclass(frozen=True)
class Seen:
    """What the network makes of a batch before its classes.

    Attributes:
        feature: (B, D), the clip's feature.
        segments: (B, S), weights of the segments, rows summing to 1.
        attention: (B, S, h, w), how much each place is looked at, on average over all places; each map sums to 1.
            None without spatial attention.
    """

    feature: Tensor
    segments: Tensor
    attention: Tensor | None


def centre_deviation(f: Tensor, y: Tensor, margin: float = 1.0) -> Tensor:
    """E1: clips are pulled to the centre of their class, centres of different classes pushed apart.

    Args:
        f: (B, D) features.
        y: (B,) classes.
        margin: Distance beyond which two centres are left alone.

    Returns:
        Scalar: half the mean squared distance to the centre, plus the mean over pairs of classes of
        max(0, margin - distance)^2. Centres are those of the batch; nothing is kept between batches. Features are
        taken per root of their number, so that the margin means the same for any D.
    """
    f = f / f.shape[1] ** 0.5
    classes, place = torch.unique(y, return_inverse=True)
    member = nn.functional.one_hot(place, len(classes)).to(f.dtype)
    centres = (member.T @ f) / member.sum(0)[:, None]
    pull = 0.5 * (f - centres[place]).square().sum(1).mean()
    if len(classes) < 2:
        return pull
    a, b = torch.triu_indices(len(classes), len(classes), 1, device=f.device)
    # The root of zero has no slope; equal centres are moved apart by the others.
    distance = (centres[a] - centres[b]).square().sum(1).clamp_min(1e-12).sqrt()
    return pull + (margin - distance).clamp_min(0).square().mean()


def neutral_deviation(f: Tensor, neutral: Tensor, margin: float = 1.0) -> Tensor:
    """E2: features keep at least `margin` away from that of a clip that does not move.

    Args:
        f: (B, D) features.
        neutral: (D,) or (1, D), feature of images that are zero.
        margin: As in `centre_deviation`.

    Returns:
        Scalar: mean of max(0, margin - distance)^2.
    """
    distance = ((f - neutral) / f.shape[1] ** 0.5).square().sum(1).clamp_min(1e-12).sqrt()
    short: Tensor = (margin - distance).clamp_min(0)
    return short.square().mean()


def draw_deviation(f: Tensor, other: Tensor) -> Tensor:
    """E3: two draws of the frames of one clip give the same feature: mean over clips of ||f - f'||^2 / D."""
    return (f - other).square().mean()


class SMASTN(nn.Module):
    """Dynamic images of a clip to class scores.

    Args:
        n_classes: Classes.
        channels: 1 (grey) or 3 (colour).
        backbone: Size of the residual network (`mien.models.resnet.SIZES`).
        maps: Its width.
        stma: Which attention: "none", "spatial", "temporal" or "both". Without the temporal one segments count alike.
        deviation: DE-Loss: "none", "centres" (E1), "neutral" (E2), "draws" (E3).
        weight: Weight of DE-Loss beside cross-entropy.
        margin: Of E1 and E2.
        dropout: Share of the clip's feature dropped in training.
        scale: The network sees images times this.

    Raises:
        MienError: An unknown name or fewer than two classes.
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
        """(B, S, H, W, C) dynamic images, in grey levels, to the clip's feature and where it came from."""
        clips, images = x.shape[:2]
        # Channels are beside each other already: this is only another name for the same memory.
        maps = self.backbone(x.flatten(0, 1).permute(0, 3, 1, 2) * self.scale)
        attention = None
        if self.spatial is not None:
            maps, who = self.spatial.look(maps)
            attention = who.mean(1).view(clips, images, *maps.shape[2:])
        # A mean over rows: its gradient, too, has channels beside each other.
        pooled = maps.permute(0, 2, 3, 1).flatten(1, 2).mean(1).view(clips, images, -1)
        even = pooled.new_full((clips, images), 1 / images)
        segments = even if self.temporal is None else self.temporal(pooled)
        return Seen((segments[:, None] @ pooled)[:, 0], segments, attention)

    def forward(self, x: Tensor) -> Tensor:
        """(B, S, H, W, C) to logits (B, n_classes)."""
        logits: Tensor = self.classify(self.drop(self.look(x).feature))
        return logits

    def objective(self, batch: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The training loss: `loss` of the logits plus DE-Loss.

        Args:
            batch: (B, S, H, W, C); with "draws" (B, 2, S, H, W, C), two draws of each clip.
            y: (B,) classes.
            loss: Of logits and classes.
        """
        n, both = len(batch), batch.dim() == 6
        if both:
            batch, y = batch.flatten(0, 1), y.repeat_interleave(2)
        elif self.deviation == "neutral":
            # In the batch, so that it is normalised by the same statistics.
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
