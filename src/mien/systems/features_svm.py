"""features-svm: ready features, standardised, and a support vector machine; for features that others computed.

Not from one paper: what most tables of hand-made features are made with. Features are standardised on the training
clips; an RBF kernel machine with balanced classes decides. C and gamma come from inner folds by subject, inside `fit`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.parameters import Parameters
from mien.preprocessing import FEATURES
from mien.systems.base import System
from mien.systems.support_vectors import Balanced, Costs, InnerFolds, InnerRepeats, Positive


class FeaturesSvmParameters(Parameters):
    """Parameters of features-svm."""

    C: Costs = (1.0, 3.0, 10.0, 30.0)
    gamma: Annotated[
        tuple[Positive, ...],
        Field(
            min_length=1,
            max_length=1000,
            description="Widths of the RBF kernel to try; one is chosen on inner folds by subject.",
        ),
    ] = (0.3, 1.0, 3.0)
    inner_folds: InnerFolds = 5
    inner_repeats: InnerRepeats = 3
    balanced: Balanced = True


def build(n_classes: int, p: FeaturesSvmParameters) -> Classifier:
    """Return an untrained machine."""
    from mien.classifiers.svm import RbfSvm

    return RbfSvm(
        n_classes,
        costs=p.C,
        gammas=p.gamma,
        inner_folds=p.inner_folds,
        inner_repeats=p.inner_repeats,
        balanced=p.balanced,
    )


FEATURES_SVM = System(
    name="features-svm",
    title="Ready features + RBF SVM",
    paper="none: a baseline of this library for features that others computed",
    summary="ready features of clips, standardised, balanced RBF machine, C and gamma by inner subject folds",
    departures=(),
    recipes={"features": lambda _: FEATURES},
    parameters=FeaturesSvmParameters,
    build=build,
)
