"""flow-svm: standardised flow pictures and a support vector machine; the baseline any network has to beat.

Not from one paper: this is what the field's simplest reading of a flow picture gives. Every pixel of u, v and strain is
a feature, taken about zero motion and standardised on the training clips; each training clip comes with its mirror
image; an RBF kernel machine with balanced classes decides. C and gamma come from inner folds by subject, inside `fit`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.preprocessing import CENTRED_FLOW_PICTURE, flow_from_frames
from mien.systems.base import System
from mien.systems.schedule import Mirror
from mien.systems.support_vectors import Balanced, Costs, Positive, SupportVectors


class FlowSvmParameters(SupportVectors):
    """Parameters of flow-svm."""

    C: Costs = (1.0, 3.0)
    gamma: Annotated[
        tuple[Positive, ...],
        Field(
            min_length=1,
            max_length=1000,
            description="Widths of the RBF kernel to try; one is chosen on inner folds by subject.",
        ),
    ] = (0.3, 1.0)
    balanced: Balanced = True
    mirror: Mirror = True


def build(n_classes: int, p: FlowSvmParameters) -> Classifier:
    """Return an untrained machine."""
    from mien.classifiers.svm import RbfSvm, mirror_flow

    return RbfSvm(
        n_classes,
        costs=p.C,
        gammas=p.gamma,
        inner_folds=p.inner_folds,
        inner_repeats=p.inner_repeats,
        balanced=p.balanced,
        mirror=mirror_flow if p.mirror else None,
        simplest=True,
    )


FLOW_SVM = System(
    name="flow-svm",
    title="Flow picture + RBF SVM",
    paper="none: a baseline of this library, after the SVM rows of Varanka et al., arXiv 2211.11425",
    summary="standardised u, v and strain pixels, balanced RBF machine, C and gamma by inner subject folds",
    departures=(),
    recipes={"flow": lambda _: CENTRED_FLOW_PICTURE, "frames": lambda _: flow_from_frames("tvl1", centred=True)},
    parameters=FlowSvmParameters,
    build=build,
)
