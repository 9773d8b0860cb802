"""UnitNetClassifier: networks that learn action units as well as classes, one sigmoid each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from mien.classifiers.base import Clips, Progress
from mien.classifiers.losses import UNIT_LOSSES
from mien.classifiers.net import NetClassifier
from mien.errors import MienError


@dataclass
class UnitNetClassifier(NetClassifier):
    """Networks whose outputs are classes, or action units, of which a clip may show several.

    Of units, each output has a sigmoid of its own, and the loss is that of `schedule` for several labels
    (`mien.classifiers.losses.UNIT_LOSSES`).
    """

    learns_units: ClassVar[bool] = True

    def fit(
        self,
        x: Clips,
        y: NDArray[np.int64],
        groups: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """Train on clips, all copies of them; see `Classifier.fit`.

        Args:
            x: (N, ...) input.
            y: (N,) class indices; or (N, U) of 0 and 1 for units.
            groups: Not used.
            seed: The same seed on the same machine gives the same weights.
            progress: Called with the share that is done.

        Raises:
            MienError: The loss is no longer finite, has no form for several labels, or the memory of a GPU is too
                small for batches of two clips.
        """
        y = np.asarray(y)
        asked = self.schedule
        if y.ndim == 2:
            self.require_units()
            self.schedule = replace(asked, loss=UNIT_LOSSES[asked.loss])
            self.units = self.units or tuple(f"unit {n + 1}" for n in range(y.shape[1]))
        try:
            super().fit(x, y, groups, seed=seed, progress=progress)
        finally:
            self.schedule = asked
        return self

    def require_units(self) -> None:
        """Refuse a loss that has no form for several labels.

        Raises:
            MienError: The loss is one of classes alone.
        """
        if self.schedule.loss not in UNIT_LOSSES:
            raise MienError(
                f"The loss {self.schedule.loss!r} is one of classes, and action units are learned.",
                f"one of {', '.join(UNIT_LOSSES)}.",
                "`--set loss=balanced`.",
            )

    @property
    def several_labels(self) -> bool:
        """Whether a clip may have several labels, so that each output has a sigmoid."""
        return bool(self.units)
