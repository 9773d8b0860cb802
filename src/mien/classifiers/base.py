"""Classifier: the interface between systems and the evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from mien.preprocessing.inputs import Inputs

Clips = Inputs | NDArray[np.float32]
"""The input of N clips: an array (N, ...), or `Inputs` that are read when needed."""

Progress = Callable[[float], None]
"""Receives the share of the work that is done, 0..1."""


class Classifier(ABC):
    """Learns classes from the input of clips and predicts their probabilities.

    `fit` receives training clips only: it has no argument through which test clips could arrive. Whatever is chosen
    while fitting has to be chosen on a split of the training clips.

    Attributes:
        state_file: Where `fit` may store the state of an unfinished training, to resume from it when it is called again
            with the same clips; None stores nothing. Classifiers that train quickly ignore it. Whoever sets it deletes
            the states once the result is safe, by `mien.classifiers.state.delete_states`.
        units: Names of the action units to learn ("AU12"), in the order of the targets, where they are known: set
            before `fit`, by `mien.evaluation.planning.Plan.build`.
        class_names: Names of the classes, in the order of their indices, where they are known; set in the same place.
        learns_units: Whether `fit` also takes action units, of which a clip may show several.
        can_be_saved: Whether a trained one can be written to a checkpoint.
    """

    state_file: Path | None = None
    units: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    learns_units: ClassVar[bool] = False
    can_be_saved: ClassVar[bool] = False

    @abstractmethod
    def fit(
        self,
        x: Clips,
        y: NDArray[np.int64],
        groups: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """Learn from training clips.

        Args:
            x: Input of the clips, (N, ...), as the system's recipe makes it.
            y: (N,) class indices; for action units, which may be present together, (N, U) of 0 and 1.
            groups: (dataset, subject) of each clip, for inner splits by subject.
            seed: Seed of all random choices.
            progress: Called with the share that is done.
        """

    @abstractmethod
    def predict_proba(self, x: Clips) -> NDArray[np.float32]:
        """Return the class probabilities (N, C) of clips; rows sum to 1. Of action units, each by itself, (N, U)."""

    def decide_units(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which action units are present, (N, U), from `predict_proba`: those that are more likely than not.

        A classifier with thresholds of its own learns them in `fit`.
        """
        decisions: NDArray[np.bool_] = probabilities > 0.5
        return decisions

    def require_units(self) -> None:
        """Refuse settings under which no action units can be learned, before any work begins.

        Raises:
            MienError: There is such a setting.
        """
        return

    def saved_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what a trained classifier has to keep, for a checkpoint; {} before `fit`, and where it cannot be kept.

        Networks (`mien.classifiers.net.NetClassifier`) keep their weights as tensors instead.
        """
        return {}

    def load_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Become the trained classifier whose `saved_arrays` these are.

        Raises:
            LookupError, TypeError, ValueError: They are not those of such a classifier.
        """
        raise TypeError("this classifier cannot be kept in a file")

    def fit_log(self) -> dict[str, Any]:
        """Return what the last `fit` recorded, ready for JSON: it goes into the log of the fold.

        Keys used by reports: `loss` (mean training loss of each epoch), `steps` (steps of gradient descent, by member),
        `chosen` (settings that were chosen), `smaller_batch` (batch size, where the one asked for did not fit in
        memory).
        """
        return {}
