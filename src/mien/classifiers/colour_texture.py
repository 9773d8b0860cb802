"""LBP-TICS: a colour space learned from training clips, a texture descriptor in it, and a classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mien.classifiers.base import Classifier, Clips, Progress
from mien.descriptors.colour_space import lbp_tics, learn_colour_space
from mien.preprocessing.inputs import as_inputs


@dataclass
class ColourTexture(Classifier):
    """LBP-TICS as a classifier: the transform is learned in `fit`, from training clips only.

    Clips are read and described one by one: colour clips of a database need not fit in memory.

    Args:
        classifier: Makes the classifier of the vectors.
        settings: Parameters of `lbp_top`.
        pixels: Pixels that the transform is learned from, drawn evenly over the training clips.
    """

    classifier: Callable[[], Classifier]
    settings: Mapping[str, Any] = field(default_factory=dict)
    pixels: int = 30_000

    def fit_log(self) -> dict[str, Any]:
        """Return what the classifier of the vectors recorded."""
        return self.classifier_.fit_log()

    def fit(
        self,
        x: Clips,
        y: NDArray[np.int64],
        groups: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """Learn the transform from pixels of training clips, describe the clips, and fit the classifier.

        Args:
            x: (N, T, H, W, 3), 0..255.
            y, groups, seed, progress: See `Classifier.fit`.

        Raises:
            MienError: Grey clips.
        """
        clips = as_inputs(x)
        random = np.random.default_rng(seed)
        each = max(1, self.pixels // len(clips))
        drawn = []
        for clip in range(len(clips)):
            colours = clips.take([clip])[0].reshape(-1, 3)
            drawn.append(colours[random.integers(0, len(colours), each)])
        self.transform_ = learn_colour_space(np.concatenate(drawn), seed=seed)
        features = self.describe(x, None if progress is None else lambda share: progress(0.8 * share))
        self.classifier_ = self.classifier().fit(features, y, groups, seed=seed)
        if progress is not None:
            progress(1.0)
        return self

    def describe(self, x: Clips, progress: Progress | None = None) -> NDArray[np.float32]:
        """Compute LBP-TICS (N, D) of clips in the learned space."""
        clips, rows = as_inputs(x), []
        for clip in range(len(clips)):
            # Prepared clips are kept as bytes and read as floats: back to bytes, comparisons are cheaper.
            colour = np.clip(np.round(clips.take([clip])[0]), 0, 255).astype(np.uint8)
            rows.append(lbp_tics(colour, self.transform_, **self.settings).astype(np.float32))
            if progress is not None:
                progress((clip + 1) / len(clips))
        return np.stack(rows)

    def predict_proba(self, x: Clips) -> NDArray[np.float32]:
        """Return class probabilities (N, C)."""
        return self.classifier_.predict_proba(self.describe(x))
