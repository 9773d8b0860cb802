"""SOFTNet: three shallow streams over two pictures of flow and one of strain, which score a pair of frames.

Liong, See and Wong, "Shallow optical flow three-stream CNN for macro- and micro-expression spotting from long videos",
ICIP 2021, section 2.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SoftNet(nn.Module):
    """One 5x5 convolution per stream (3, 5 and 8 filters), pooling, concatenation, pooling, and two dense layers.

    Args:
        size: Height and width of the input.
        hidden: Number of units of the first dense layer.
    """

    def __init__(self, size: int = 42, hidden: int = 400) -> None:
        super().__init__()
        self.streams = nn.ModuleList(nn.Conv2d(1, filters, 5, padding=2) for filters in (3, 5, 8))
        side = ((size + 2) // 3 + 1) // 2
        self.dense = nn.Linear(16 * side * side, hidden)
        self.score = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Score how likely an expression is in progress.

        Args:
            x: (B, 3, size, size): u, v, strain.

        Returns:
            (B, 1), about 0 for no expression and 1 for one; not bounded.
        """
        parts = [
            nn.functional.max_pool2d(torch.relu(stream(x[:, i : i + 1])), 3, 3, ceil_mode=True)
            for i, stream in enumerate(self.streams)
        ]
        joined = nn.functional.max_pool2d(torch.cat(parts, 1), 2, 2, ceil_mode=True)
        hidden = torch.relu(self.dense(joined.flatten(1)))
        result: Tensor = self.score(hidden)
        return result
