"""Kernel ridge regression on flow pictures: deterministic, seconds for a whole leave-one-subject-out run.

    picture (u, v, strain) -> smoothed motion and strain -> kernel A \\
                           -> derivatives of the motion  -> kernel B  >  mean -> ridge regression -> probabilities

Ours, not from one paper. Each kernel compares a clip with another clip and with that clip's mirror image, so a movement
of the left and of the right half of the face count as the same. Answers for training clips whose subject is left out
follow from one matrix inverse; they calibrate the probabilities, so nothing outside the training clips is looked at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from mien.classifiers.base import Classifier, Clips, Progress
from mien.classifiers.face_bands import REGIONS, class_shares, unit_shares, whole_face, windows
from mien.classifiers.flow_features import FlowFeatures, flow_features, flow_kernel
from mien.classifiers.kernel_ridge import FullRegression, Regression, SupportRegression
from mien.errors import MienError
from mien.preprocessing.inputs import as_array

Floats = NDArray[np.float64]

_STEEP = 4.0
"""Logit at the target of a unit that is present."""
_SURE = 20.0
"""Middle of the answers of a unit that no training clip shows; its negative is that of one that all show."""
_LOOSE = 1e3
"""Inverse of the penalty on the slope of the logistic curve."""
_START = "start."
"""What the arrays of the machine to start from are called in a file, before their own name."""
_AT_ONCE = 256
"""Clips that are compared with the support clips at once."""


@dataclass
class FlowKernels(Classifier):
    """Kernel ridge regression of classes or action units on flow pictures, weighted so that each counts alike.

    Args:
        n_classes: Classes C.
        ridge: Penalty, > 0, divided by the weight N / (C n_c) of each clip's class.
        other_target: Target of the classes a clip does not belong to; 1 is that of its own.
        smoothing: See `mien.classifiers.flow_features.flow_features`.
        derivative_smoothing: See `mien.classifiers.flow_features.flow_features`.
        strain_share: See `mien.classifiers.flow_features.flow_kernel`.
        regions: Whether parts of the face count beside the whole: its halves for classes, for a unit of `units` the
            bands in which its muscle moves the skin.
        support: Most training clips that are kept to compare others with, evenly spaced over those given; 0 keeps all.
            Training and predicting take less time and memory then, and the file of weights is smaller.
        start: Returns a trained machine for the same units. The answer for a unit is then the mean of its own, which
            counts as the training clips that show the unit, and of what that machine answers, which counts as
            `start_clips`.
        start_clips: See `start`; > 0.

    Attributes:
        pictures: (S, 3 k, H, W) the support clips.
        begun: What `start` returned.
        slopes: (U,) share of the answer of `begun` for each unit.
        shares: (C, 8) how much each region of `mien.classifiers.face_bands` counts for each class or unit.
    """

    learns_units: ClassVar[bool] = True
    can_be_saved: ClassVar[bool] = True

    n_classes: int
    ridge: float = 1.0
    other_target: float = -0.5
    smoothing: float = 1.0
    derivative_smoothing: float = 1.5
    strain_share: float = 0.33
    support: int = 0
    regions: bool = True
    start: Callable[[], FlowKernels] | None = None
    start_clips: float = 3.0
    sharpness: float = field(default=1.0, init=False)
    middles: Floats | None = field(default=None, init=False)
    begun: FlowKernels | None = field(default=None, init=False)
    slopes: Floats | None = field(default=None, init=False)
    known: dict[bytes, Floats] = field(default_factory=dict, init=False, repr=False)

    def features(self, x: Clips) -> list[FlowFeatures]:
        """Compute the features of each flow picture of the clips: (N, 3 k, H, W) holds k pictures a clip.

        Raises:
            MienError: The number of channels is not a multiple of three.
        """
        pictures = as_array(x)
        if pictures.ndim != 4 or pictures.shape[1] % 3:
            raise MienError(
                f"The input has the shape {tuple(pictures.shape)}.",
                "flow pictures (clips, 3, height, width) of u, v and strain, or several of them on the second axis.",
                "`--system flow-kernels` on flow pictures or frames, with its own recipe.",
            )
        return [
            flow_features(pictures[:, first : first + 3], self.smoothing, self.derivative_smoothing)
            for first in range(0, pictures.shape[1], 3)
        ]

    def kernels(self, a: Sequence[FlowFeatures], b: Sequence[FlowFeatures]) -> Floats:
        """Compute the kernels (R, N, M) of the regions that count for some output, means over a clip's pictures."""
        used = windows(a[0].motion.shape[2])[self.shares.any(0)]
        found = [flow_kernel(*each, used, self.strain_share) for each in zip(a, b, strict=True)]
        return sum(found[1:], found[0]) / len(found)

    def fit(
        self,
        x: Clips,
        y: NDArray[np.int64],
        groups: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """Solve the regression and calibrate its probabilities on answers for subjects left out.

        Args:
            x: (N, 3 k, H, W) flow pictures.
            y: (N,) class indices; or (N, U) of 0 and 1 for units, of which several may be present.
            groups: (dataset, subject) of each clip.
            seed: Without effect: nothing is random.
            progress: Called with the share that is done, 0..1.

        Raises:
            MienError: The machine that `start` returns is not one for these units.
        """
        y, pictures = np.asarray(y), as_array(x)
        started = self._begin(y, pictures)
        n = len(pictures)
        kept = (
            np.arange(n) if not 0 < self.support < n else np.linspace(0, n - 1, self.support).round().astype(np.int64)
        )
        self._keep(pictures[kept])
        self._count_regions(y)
        columns = (
            self.kernels(self.trained_on, self.trained_on) if len(kept) == n else self._columns(pictures)
        )  # (R, N, S)
        if progress is not None:
            progress(0.5)

        def regression(shares: Floats) -> Regression:
            kernel = np.tensordot(shares[self.shares.any(0)], columns, 1)
            return FullRegression(kernel) if len(kept) == n else SupportRegression(kernel, kept)

        people = np.unique([f"{dataset}/{subject}" for dataset, subject in groups], return_inverse=True)[1]
        if y.ndim == 2:
            self._fit_units(regression, y.astype(bool), people, started)
        else:
            self._fit_classes(regression(self.shares[0]), y, people)
        if progress is not None:
            progress(1.0)
        return self

    def require_units(self) -> None:
        """Load the machine to start from, where there is one; see `Classifier.require_units`."""
        if self.start is not None:
            self.start()

    def _begin(self, y: NDArray[np.int64], pictures: NDArray[Any]) -> Floats | None:
        """Load the machine to start from, and return what it answers for the clips, (N, U)."""
        self.begun, self.slopes = (None if self.start is None else self.start()), None
        if self.begun is None:
            return None
        if y.ndim < 2 or self.units not in ((), self.begun.units) or y.shape[1] != self.begun.n_classes:
            raise MienError(
                "The weights to start from answer other questions than these clips ask.",
                f"the action units {', '.join(self.begun.units)}, in this order.",
                "`--labels au12` with `--set start=shipped-units`; or no `start`.",
            )
        return self._started(pictures)

    def _started(self, pictures: NDArray[Any]) -> Floats:
        """Return what the machine to start from answers, (N, U), the mean over a clip's pictures."""
        assert self.begun is not None
        parts = [self.begun.remembered(pictures[:, first : first + 3]) for first in range(0, pictures.shape[1], 3)]
        return np.asarray(np.mean(parts, axis=0))

    def remembered(self, pictures: NDArray[Any]) -> Floats:
        """Return `answers`, computed once for each picture: folds ask for the same ones again and again."""
        pictures = np.ascontiguousarray(pictures)
        keys = [hashlib.blake2b(each.tobytes(), digest_size=16).digest() for each in pictures]
        new = {key: place for place, key in enumerate(keys) if key not in self.known}
        if new:
            self.known.update(zip(new, self.answers(pictures[list(new.values())]), strict=True))
        return np.array([self.known[key] for key in keys]).reshape(len(keys), -1)

    def _keep(self, pictures: NDArray[Any]) -> None:
        self.pictures, self.trained_on = pictures, self.features(pictures)

    def _count_regions(self, y: NDArray[np.int64]) -> None:
        """Set how much each region counts for each output."""
        n = y.shape[1] if y.ndim == 2 else self.n_classes
        known = len(self.units) == n if y.ndim == 2 else True
        if not self.regions or not known:
            self.shares = whole_face(n)
        else:
            self.shares = unit_shares(self.units) if y.ndim == 2 else class_shares(n)

    def _columns(self, pictures: NDArray[Any]) -> Floats:
        """Compute the kernels (R, N, S) of clips with the support clips; see `kernels`."""
        starts = range(0, len(pictures), _AT_ONCE)
        parts = [self.kernels(self.features(pictures[i : i + _AT_ONCE]), self.trained_on) for i in starts]
        if not parts:
            return np.empty((int(self.shares.any(0).sum()), 0, len(self.pictures)))
        return np.concatenate(parts, axis=1)

    def _fit_classes(self, regression: Regression, y: NDArray[np.int64], people: NDArray[np.int64]) -> None:
        self.middles = None
        counts = np.maximum(np.bincount(y, minlength=self.n_classes), 1)
        weights = len(y) / (self.n_classes * counts)
        targets = np.where(np.eye(self.n_classes)[y] > 0, 1.0, self.other_target)
        self.coefficients, answers = regression.solve(self.ridge / weights[y], targets, people)
        if len(np.unique(people)) > 1:
            self.sharpness = _sharpness(answers, y)

    def _fit_units(
        self,
        regression: Callable[[Floats], Regression],
        present: NDArray[np.bool_],
        people: NDArray[np.int64],
        started: Floats | None,
    ) -> None:
        """Solve one regression for each unit; where nobody shows a unit, it is never said to be present."""
        n_units = present.shape[1]
        self.middles = np.full(n_units, (1 + self.other_target) / 2)
        self.coefficients = np.zeros((len(self.pictures), n_units))
        self.thresholds = np.ones(n_units)
        slopes = np.zeros(n_units)
        self.slopes = None if started is None else slopes
        # Units of one region share its regression; one at a time, as each may be large.
        order = np.lexsort(self.shares.T)
        last: Floats = np.empty(0)
        machine: Regression | None = None
        for unit in order.tolist():
            true = present[:, unit]
            if not true.any() or true.all():
                self.middles[unit] = -_SURE if true.any() else _SURE
                self.thresholds[unit] = 0.5
                continue
            weights = np.where(true, len(true) / (2 * true.sum()), len(true) / (2 * (~true).sum()))
            targets = np.where(true, 1.0, self.other_target)[:, None]
            if machine is None or not np.array_equal(last, self.shares[unit]):
                last, machine = self.shares[unit], regression(self.shares[unit])
            coefficients, answers = machine.solve(self.ridge / weights, targets, people)
            if started is not None:
                own = true.sum() / (true.sum() + self.start_clips)
                coefficients, answers = own * coefficients, own * answers + (1 - own) * started[:, [unit]]
                slopes[unit] = 1 - own
            self.coefficients[:, unit] = coefficients[:, 0]
            best = best_f1_threshold(answers[:, 0], true)
            self.thresholds[unit] = _squashed(best, self.middles[unit], self.other_target)

    def answers(self, x: Clips) -> Floats:
        """Compute what the regression answers, (N, C): 1 or so where it is there, else `other_target`."""
        pictures = as_array(x)
        shares = self.shares[:, self.shares.any(0)]
        found = np.einsum("cr,rns,sc->nc", shares, self._columns(pictures), self.coefficients, optimize=True)
        return np.asarray(found if self.slopes is None else found + self.slopes * self._started(pictures))

    def predict_proba(self, x: Clips) -> NDArray[np.float32]:
        """Compute class probabilities (N, C), a softmax calibrated in `fit`; or of units, (N, U), see Notes.

        Notes:
            A unit's probability is that under equal shares of clips with and without it: the regression weighs both
            alike, and its answer is squashed in the same way in every fold. Shares differ from fold to fold, as the
            subject left out takes his clips along; probabilities that followed them would rank the clips of different
            folds by the share in training, which is larger where the test subject does not show the unit.
        """
        answers = self.answers(x)
        if self.middles is None:
            found = np.exp(log_softmax(self.sharpness * answers))
        else:
            found = _squashed(answers, self.middles, self.other_target)
        probabilities: NDArray[np.float32] = found.astype(np.float32)
        return probabilities

    def decide_units(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which units are present, (N, U): those above a threshold set on left-out subjects."""
        decisions: NDArray[np.bool_] = probabilities > self.thresholds
        return decisions

    def saved_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the support clips, as bytes where they are stored pictures, with coefficients and calibration."""
        if not hasattr(self, "coefficients"):
            return {}
        as_bytes = self.pictures.clip(0, 255).astype(np.uint8)
        exact = np.array_equal(as_bytes, self.pictures)
        found = {
            "pictures": as_bytes if exact else self.pictures.astype(np.float32),
            "coefficients": self.coefficients,
            "sharpness": np.array([self.sharpness]),
            "shares": self.shares,
        }
        if self.middles is not None:
            found |= {"middles": self.middles, "thresholds": self.thresholds}
        if self.begun is not None and self.slopes is not None:
            found["slopes"] = self.slopes
            found |= {_START + name: each for name, each in self.begun.saved_arrays().items()}
        return found

    def load_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """See `Classifier.load_arrays`."""
        begun = {name.removeprefix(_START): each for name, each in arrays.items() if name.startswith(_START)}
        arrays = {name: each for name, each in arrays.items() if not name.startswith(_START)}
        pictures, coefficients = arrays["pictures"], arrays["coefficients"].astype(np.float64)
        numbers = [each for name, each in arrays.items() if name != "pictures"] + [pictures[:1]]
        if not len(pictures) or coefficients.shape != (len(pictures), self.n_classes):
            raise ValueError(f"{len(pictures)} support clips, coefficients of shape {coefficients.shape}")
        if not all(np.isfinite(each).all() for each in numbers):
            raise ValueError("a number is not finite")
        self.coefficients, self.sharpness, self.middles = coefficients, arrays["sharpness"].item(), None
        # Files of earlier versions compare whole faces.
        self.shares = np.asarray(arrays.get("shares", whole_face(self.n_classes)), np.float64)
        if self.shares.shape != (self.n_classes, len(REGIONS)) or not self.shares.any():
            raise ValueError("shares of regions of another shape")
        if "middles" in arrays:
            self.middles, self.thresholds = arrays["middles"], arrays["thresholds"]
            if not self.middles.shape == self.thresholds.shape == (self.n_classes,):
                raise ValueError("middles or thresholds of another shape")
        self.begun, self.slopes = None, arrays.get("slopes")
        if (self.slopes is None) == bool(begun) or (self.slopes is not None and self.slopes.shape != (self.n_classes,)):
            raise ValueError("slopes of another shape")
        if begun:
            self.begun = replace(self, start=None)
            self.begun.units = self.units
            self.begun.load_arrays(begun)
        try:
            self._keep(pictures.astype(np.float32))
        except MienError as error:
            raise ValueError(error.found) from None


def log_softmax(answers: Floats) -> Floats:
    """Return the logarithms of the softmax of each row, (N, C); scipy's takes half a second to load."""
    return np.asarray(answers - np.logaddexp.reduce(answers, axis=1, keepdims=True))


def _logistic(x: Any) -> Any:
    return np.exp(-np.logaddexp(0.0, -x))


def _sharpness(answers: Floats, y: NDArray[np.int64]) -> float:
    """Return the factor on answers under which softmax gives the classes the greatest likelihood."""
    from scipy.optimize import minimize_scalar  # slow to load, and needed for training only

    def loss(log_factor: float) -> float:
        return -float(log_softmax(np.exp(log_factor) * answers)[np.arange(len(y)), y].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-2.0, 4.0), method="bounded").x))


def _squashed(answers: Any, middles: Any, other_target: float) -> Any:
    """Return answers as 0..1: a half in the middle of the two targets, .98 and .02 at the targets themselves."""
    return _logistic(_STEEP * (answers - middles) / ((1 - other_target) / 2))


def best_f1_threshold(answers: Floats, true: NDArray[np.bool_]) -> float:
    """Return the threshold on answers that gives the best F1 to be expected.

    A logistic curve turns answers into chances that the unit is there. The best decision for F1 then takes every clip
    whose chance is above half of the best F1 that is to be expected. Unlike the best threshold on these very answers,
    it depends on all clips, not on the few beside it.

    Args:
        answers: (N,) of training clips whose subject was left out.
        true: (N,) whether the unit is there; for some and not for all.

    Source: Lipton, Elkan and Naryanaswamy, Optimal thresholding of classifiers to maximize F1 measure, ECML 2014.
    """
    from sklearn.linear_model import LogisticRegression  # slow to load, and needed for training only

    curve = LogisticRegression(C=_LOOSE).fit(answers[:, None], true)
    slope, offset = float(curve.coef_[0, 0]), float(curve.intercept_[0])
    if slope <= 0:  # larger answers do not mean the unit: it is never said to be there
        return np.inf
    chances = np.sort(_logistic(slope * answers + offset))[::-1]
    expected = 2 * np.cumsum(chances) / (np.arange(1, len(chances) + 1) + chances.sum())
    even = expected.max() / 2
    return float((np.log(even / (1 - even)) - offset) / slope)
