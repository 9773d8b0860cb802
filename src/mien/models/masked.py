"""The appearance network of STRCN-A. Its input has the moving pixels of a clip as rows and the frames as columns.

Which pixels move is learned from the training clips (equation 4 and section III-C.1 of Xia et al., IEEE TMM 2020). The
paper uses all clips of a data set for this, including test clips. Here the network is created inside `fit` and only
uses clips that `fit` receives. The mask is part of the network's state, so checkpoints include it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.models.rcn import RCN
from mien.motion.heat_map import difference_heat, mean_heat, top_mask
from mien.preprocessing.inputs import Inputs


def learn_mask(inputs: Inputs, share: float = 0.30, per_clip_max: bool = False, opening: int = 0) -> NDArray[np.bool_]:
    """Select the pixels in which training clips differ most from their first frame.

    Args:
        inputs: Training clips, (T, h, w, C) each, 0..255; only copy 0 is used.
        share: Fraction of the pixels to select.
        per_clip_max: Whether to divide each clip's heat by its maximum first, as the released code does.
        opening: Radius in pixels of a morphological opening of the mask; 0 is none, the released code uses 1.

    Returns:
        (h, w), True for selected pixels.

    Raises:
        MienError: No clip, or a number out of range.
    """
    heats = (difference_heat(_grey_or_rgb(inputs.take([clip])[0])) for clip in range(len(inputs)))
    return top_mask(mean_heat(heats, per_clip_max), share, opening)


def _grey_or_rgb(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    return frames[..., 0] if frames.shape[-1] == 1 else frames


class MaskedRCN(nn.Module):
    """A recurrent convolutional network on masked pixels x frames x channels.

    Args:
        mask: (h, w), True for the pixels to use.
        frames: Number of frames of the input, T.
        channels: 3 for colour, 1 for grey.
        n_classes: Number of classes, C.
        settings: Further arguments of `mien.models.rcn.RCN`: maps, layers, variant, tied, dropout.

    Source: STRCN, section III-C.1, Table I. Pixels are ordered along the columns of the face, as in the released code.
    """

    def __init__(self, mask: NDArray[np.bool_], frames: int, channels: int, n_classes: int, **settings: Any) -> None:
        super().__init__()
        columns, rows = np.nonzero(mask.T)
        self.mask: Tensor
        self.places: Tensor
        self.register_buffer("mask", torch.from_numpy(mask.copy()))
        self.register_buffer("places", torch.from_numpy(rows * mask.shape[1] + columns), persistent=False)
        self.net = RCN(n_classes, channels, (len(rows), frames), kind="appearance", **settings)

    def forward(self, x: Tensor) -> Tensor:
        """Map clips (B, T, h, w, C), 0..255, to logits (B, n_classes)."""
        kept = x.flatten(2, 3).index_select(2, self.places)
        logits: Tensor = self.net(kept.permute(0, 3, 2, 1) / 127.5 - 1)
        return logits


def untrained(inputs: Inputs, n_classes: int, mask: NDArray[np.bool_], **settings: Any) -> MaskedRCN:
    """Create a network for clips of the shape of `inputs`."""
    frames, _, _, channels = inputs.shape
    return MaskedRCN(mask, frames, channels, n_classes, **settings)
