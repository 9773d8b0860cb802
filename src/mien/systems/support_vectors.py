"""What the systems with a support vector machine share: its parameters."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mien.parameters import Parameters
from mien.systems.schedule import Mirror

Positive = Annotated[float, Field(gt=0, le=1e12)]
Costs = Annotated[
    tuple[Positive, ...],
    Field(
        min_length=1,
        max_length=1000,
        description="Values of the cost C to try; one is chosen on inner folds by subject.",
    ),
]
InnerFolds = Annotated[int, Field(ge=2, le=1000, description="Inner folds by subject on which settings are chosen.")]
InnerRepeats = Annotated[
    int, Field(ge=1, le=1000, description="Number of random partitions of the subjects into inner folds.")
]
Gamma = Annotated[float, Field(gt=0, le=1e9, description="Factor on a.b in the polynomial kernel.")]
KernelShift = Annotated[float, Field(ge=0, le=1e9, description="Constant in the polynomial kernel.")]
Degree = Annotated[int, Field(ge=1, le=20, description="Exponent of the polynomial kernel.")]
Balanced = Annotated[bool, Field(description="Weight classes by their inverse frequency.")]


class SupportVectors(Parameters):
    """A support vector machine whose cost is chosen on inner folds."""

    C: Costs = (0.1, 1.0, 10.0, 100.0, 1000.0)
    inner_folds: InnerFolds = 5
    inner_repeats: InnerRepeats = 3
    balanced: Balanced = False
    mirror: Mirror = False
