"""Training and prediction input of a network, read batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.classifiers.augment import Mirror
from mien.preprocessing.inputs import Inputs


class Batches(Protocol):
    """Input that is read batch by batch."""

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        """Return the input of some rows, on the device of the network."""
        ...


@dataclass(frozen=True)
class CopyBatches:
    """Training rows: row r is copy r % copies of clip r // copies; with `mirror`, the same rows mirrored follow.

    Attributes:
        inputs: The clips.
        finish: Scales what is read, and moves it to the device of the network.
        mirror: See `NetClassifier`.
        pairs: See `NetClassifier`.
    """

    inputs: Inputs
    finish: Callable[[NDArray[np.float32]], Tensor]
    mirror: Mirror | None = None
    pairs: bool = False

    def __len__(self) -> int:
        return len(self.inputs) * self.inputs.copies * (1 if self.mirror is None else 2)

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        index = np.arange(len(self))[rows] if isinstance(rows, slice) else rows.numpy()
        plain = len(self.inputs) * self.inputs.copies
        clips, copies = np.divmod(index % plain, self.inputs.copies)
        batch = self.finish(self.inputs.take(clips, copies))
        if self.pairs:
            partner = self.finish(self.inputs.take(clips, (copies + 1) % self.inputs.copies))
            batch = torch.stack([batch, partner], 1)
        if self.mirror is not None:
            turned = torch.from_numpy(index >= plain)
            if turned.any():
                batch[turned] = self.mirror(batch[turned])
        return batch

    def labels(self, y: Tensor) -> Tensor:
        """Return the class of each row, or its labels, given those of each clip."""
        full = y.repeat_interleave(self.inputs.copies, dim=0)
        return full if self.mirror is None else torch.cat([full, full])


@dataclass(frozen=True)
class FirstCopies:
    """Prediction rows: copy 0 of each clip, changed by the same steps."""

    inputs: Inputs
    finish: Callable[[NDArray[np.float32]], Tensor]
    steps: tuple[Mirror, ...]

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        index = np.arange(len(self.inputs))[rows] if isinstance(rows, slice) else rows.numpy()
        batch = self.finish(self.inputs.take(index))
        for step in self.steps:
            batch = step(batch)
        return batch
