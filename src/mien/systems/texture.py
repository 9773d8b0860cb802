"""What LBP-TOP and its relatives share: the parameters of their classifiers, and how these are built."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from mien.classifiers.base import Classifier
from mien.parameters import Not, OnlyIf, Parameters
from mien.systems.support_vectors import (
    Balanced,
    Costs,
    Degree,
    Gamma,
    InnerFolds,
    InnerRepeats,
    KernelShift,
    Positive,
)

Machine = Literal["svm", "mkl", "forest"]
MACHINES = ("svm", "mkl")

ClassifierName = Annotated[
    Machine,
    Field(description="Support vector machine (svm), the same with a learned weight for each block (mkl), or forest."),
]
KernelName = Annotated[
    Literal["poly", "linear", "hellinger", "chi2"],
    Field(description="Kernel of the machine: (gamma a.b + shift)^degree, a.b, Hellinger, or chi-squared (svm alone)."),
    OnlyIf(classifier=Not("forest")),
]
POLYNOMIAL = OnlyIf(classifier=Not("forest"), kernel="poly")

SHARED_DEPARTURES = (
    "The paper states neither C nor class weights. Here C is chosen on inner folds by subject, and classes are "
    "weighted by their inverse frequency.",
    "The paper does not state which frames are used. Here these are all frames from onset to offset, without "
    "interpolation; `--set frames=10` interpolates clips to ten frames, as many papers do.",
    "Faces are aligned but not magnified; `--set alpha=8` magnifies as STRCN does.",
)


class TextureMachines(Parameters):
    """How vectors of histograms are classified, but for the name of the classifier."""

    kernel: KernelName = "poly"
    gamma: Annotated[Gamma, POLYNOMIAL] = 0.22
    shift: Annotated[KernelShift, POLYNOMIAL] = 0.0
    degree: Annotated[Degree, POLYNOMIAL] = 2
    C: Annotated[Costs, OnlyIf(classifier=MACHINES)] = (1.0, 10.0, 100.0, 1000.0, 10000.0)
    width: Annotated[
        tuple[Positive, ...],
        Field(
            min_length=1,
            max_length=1000,
            description="Widths of the chi-squared kernel to try; one is chosen on inner folds by subject.",
        ),
        OnlyIf(classifier="svm", kernel="chi2"),
    ] = (0.3, 1.0, 3.0)
    norm: Annotated[
        float,
        Field(ge=1, le=1000, description="Norm of the weights of blocks; nearer 1, fewer blocks keep a weight."),
        OnlyIf(classifier="mkl"),
    ] = 1.5
    trees: Annotated[
        int, Field(ge=1, le=1_000_000, description="Trees of the forest."), OnlyIf(classifier="forest")
    ] = 500
    balanced: Balanced = True
    inner_folds: Annotated[InnerFolds, OnlyIf(classifier=Not("forest"))] = 5
    inner_repeats: Annotated[InnerRepeats, OnlyIf(classifier=Not("forest"))] = 1


class TextureClassifier(TextureMachines):
    """How vectors of histograms are classified."""

    classifier: ClassifierName = "svm"


def kernel_settings(p: TextureMachines) -> dict[str, Any]:
    """Return the arguments that the machines share."""
    return {
        "kernel": p.kernel,
        "gamma": p.gamma,
        "shift": p.shift,
        "degree": p.degree,
        "balanced": p.balanced,
        "inner_folds": p.inner_folds,
        "inner_repeats": p.inner_repeats,
    }


def texture_classifier(n_classes: int, p: TextureMachines, parts: int, name: Machine) -> Classifier:
    """Return an untrained classifier of histograms.

    Args:
        n_classes: Classes C.
        p: Its parameters.
        parts: Equal parts of the vector that get a kernel each under "mkl".
        name: Which one.
    """
    from mien.classifiers.texture_svm import Forest, KernelSvm, MultipleKernels

    if name == "forest":
        return Forest(n_classes, trees=p.trees, balanced=p.balanced)
    if name == "mkl":
        return MultipleKernels(n_classes, **kernel_settings(p), costs=p.C, parts=parts, norm=p.norm)
    return KernelSvm(n_classes, **kernel_settings(p), costs=p.C, widths=p.width)
