"""Three machines that were trained on synthetic flow pictures answer together, as micro-expressions are distributed.

    flow picture -> network            -> probabilities of the classes \\
                 -> kernels of classes -> probabilities of the classes  > geometric mean x root of the shares
                 -> kernels of units   -> logistic regression          /

The machines come trained; `fit` learns the logistic regression alone. They were trained as if all classes were equally
frequent, while databases hold many more negative clips than others: the root of the expected shares makes up for half
of that on the logarithmic scale, between what is best for the macro F1 of equal and of true shares.

Of other classes than those that the machines know, the logistic regression answers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from mien.classifiers.base import Classifier, Clips, Progress
from mien.classifiers.flow_kernels import FlowKernels, log_softmax
from mien.errors import MienError
from mien.preprocessing import steps
from mien.preprocessing.base import NOWHERE
from mien.preprocessing.inputs import as_array

Floats = NDArray[np.float64]

CLASSES: Final = ("negative", "positive", "surprise")
"""What the machines know, in their order."""

_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Members:
    """The machines of the ensemble, trained.

    Attributes:
        network: Reads centred flow pictures (N, 3, H, W) and answers with probabilities of `CLASSES`.
        kernels: Reads flow pictures as they are and answers with probabilities of `CLASSES`.
        units: Reads the same and answers for action units.
    """

    network: Classifier
    kernels: Classifier
    units: FlowKernels


@dataclass
class FlowEnsemble(Classifier):
    """Geometric mean of a network, kernels of classes and kernels of action units, times the root of the shares.

    Args:
        n_classes: Classes.
        members: Returns the machines.
        shares: Relative frequency of each class where the answers are used, > 0; they need not sum to 1.

    Attributes:
        known: Whether the classes are those that the machines know.
        slopes: (C, U) of the logistic regression from the answers for units to classes.
        offsets: (C,) of the same.
    """

    can_be_saved: ClassVar[bool] = True

    n_classes: int
    members: Callable[[], Members]
    shares: tuple[float, ...]
    known: bool = field(default=True, init=False)
    slopes: Floats | None = field(default=None, init=False)
    offsets: Floats | None = field(default=None, init=False)

    def fit(
        self,
        x: Clips,
        y: NDArray[np.int64],
        groups: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """Learn how the classes follow from the answers for units, as if all classes were equally frequent.

        Args:
            x: (N, 3, H, W) flow pictures of u, v and strain, 0..255.
            y: (N,) class indices.
            groups: Without effect: the penalty of the regression is fixed.
            seed: Without effect: nothing is random.
            progress: Called with the share that is done, 0..1.

        Raises:
            MienError: The input is no flow picture.
        """
        from sklearn.linear_model import LogisticRegression  # slow to load, and needed for training only

        self.known = self.n_classes == len(CLASSES) and self.class_names in ((), CLASSES)
        y, answers = np.asarray(y), self.members().units.remembered(_pictures(x))
        # A class without any clip: no slope, and an offset far below.
        self.slopes = np.zeros((self.n_classes, answers.shape[1]))
        self.offsets = np.full(self.n_classes, np.log(_TINY))
        seen = np.unique(y)
        if len(seen) == 1:
            self.offsets[seen] = 0
        else:
            found = LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000).fit(answers, y)
            # Of two classes, scikit-learn gives the difference: half of it each way.
            signs = np.array([-0.5, 0.5]) if len(seen) == 2 else np.ones(len(seen))
            self.slopes[seen], self.offsets[seen] = signs[:, None] * found.coef_, signs * found.intercept_
        if progress is not None:
            progress(1.0)
        return self

    @property
    def network(self) -> Classifier:
        """The network among the machines, whose answers can be explained by saliency."""
        return self.members().network

    def predict_proba(self, x: Clips) -> NDArray[np.float32]:
        """Compute class probabilities (N, C) of flow pictures (N, 3, H, W)."""
        assert self.slopes is not None, "fit first"
        assert self.offsets is not None
        pictures, members = _pictures(x), self.members()
        if not len(pictures):
            return np.empty((0, self.n_classes), np.float32)
        by_units = log_softmax(members.units.answers(pictures) @ self.slopes.T + self.offsets)
        if not self.known:
            return np.asarray(np.exp(by_units), np.float32)
        of_classes = members.network.predict_proba(centred(pictures)), members.kernels.predict_proba(pictures)
        logs = [by_units, *(np.log(np.maximum(each, _TINY)) for each in of_classes)]
        shares = np.asarray(self.shares) / np.sum(self.shares)
        return np.asarray(np.exp(log_softmax(sum(logs[1:], logs[0]) / len(logs) + np.log(shares) / 2)), np.float32)

    def saved_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the logistic regression; the machines are files of their own."""
        if self.slopes is None or self.offsets is None:
            return {}
        return {"slopes": self.slopes, "offsets": self.offsets, "known": np.array([self.known])}

    def load_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """See `Classifier.load_arrays`."""
        slopes, offsets = (np.asarray(arrays[name], np.float64) for name in ("slopes", "offsets"))
        expected = self.n_classes, self.members().units.n_classes
        if slopes.shape != expected or offsets.shape != expected[:1] or not np.isfinite([*slopes.T, offsets]).all():
            raise ValueError(f"slopes of shape {slopes.shape}, offsets of shape {offsets.shape}")
        self.slopes, self.offsets, self.known = slopes, offsets, bool(arrays["known"].item())


def centred(pictures: NDArray[Any]) -> NDArray[np.float32]:
    """Return flow pictures (N, 3, H, W) about zero motion; see `mien.preprocessing.steps.centre_and_scale`."""
    return np.stack([steps.centre_and_scale(each, NOWHERE) for each in pictures])


def _pictures(x: Clips) -> NDArray[np.float32]:
    pictures = np.asarray(as_array(x), np.float32)
    if pictures.ndim != 4 or pictures.shape[1] != 3:
        raise MienError(
            f"The input has the shape {pictures.shape}.",
            "flow pictures (clips, 3, height, width) of u, v and strain.",
            "`--system flow-ensemble` on flow pictures or frames, with its own recipe.",
        )
    return pictures
