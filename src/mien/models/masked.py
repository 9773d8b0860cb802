"""The appearance network STRCN-A: the pixels of a clip that move, as rows, and its frames, as columns.

Which pixels move is learned from the training clips (equation 4 and section III-C.1 of Xia et al., IEEE TMM 2020). The
paper takes the entire data sets for it, test clips included; here the network is made inside `fit`, and sees only what
`fit` sees. The mask is part of the network's state, so a checkpoint carries it.
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
    """The pixels in which training clips differ most from their first frame.

    Args:
        inputs: Training clips, (T, h, w, C) each, 0..255; copy 0 of each is looked at.
        share: Part of the pixels to keep.
        per_clip_max: Divide each clip's heat by its largest value first (released code).
        opening: Radius in pixels of a morphological opening of the mask (released code: 1); 0 is none.

    Returns:
        (h, w), True where kept.

    Raises:
        MienError: No clip, or numbers out of range.
    """
    heats = (difference_heat(_shown(inputs.take([clip])[0])) for clip in range(len(inputs)))
    return top_mask(mean_heat(heats, per_clip_max), share, opening)


def _shown(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    return frames[..., 0] if frames.shape[-1] == 1 else frames


class MaskedRCN(nn.Module):
    """Masked pixels x frames x channels into a recurrent convolutional network.

    Args:
        mask: (h, w), True for the pixels to keep.
        frames: Frames T of the input.
        channels: 3 colours or 1 grey.
        n_classes: Classes C.
        settings: Further arguments of `RCN`: maps, layers, variant, tied, dropout.

    Source: STRCN, section III-C.1, Table I. Pixels run down the columns of the face, as in the released code.
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
        """(B, T, h, w, C), 0..255, to logits (B, n_classes)."""
        kept = x.flatten(2, 3).index_select(2, self.places)
        logits: Tensor = self.net(kept.permute(0, 3, 2, 1) / 127.5 - 1)
        return logits


def untrained(inputs: Inputs, n_classes: int, mask: NDArray[np.bool_], **settings: Any) -> MaskedRCN:
    """A network for clips of the shape of `inputs`."""
    frames, _, _, channels = inputs.shape
    return MaskedRCN(mask, frames, channels, n_classes, **settings)
