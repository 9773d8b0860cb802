"""What a system is: a recipe, a classifier and its settings, with the paper it comes from."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.recipe import Recipe
from mien.types import Medium


class Classifier(Protocol):
    """The contract between systems and the benchmark. `fit` has no door for test clips, on purpose."""

    def fit(
        self,
        x: NDArray[np.float32],
        y: NDArray[np.int64],
        groups: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        progress: Callable[[float], None] | None = None,
    ) -> Self:
        """Learn from training clips `x` (N, ...), classes `y` (N,), and their (dataset, subject)."""
        ...

    def predict_proba(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities (N, C) of clips."""
        ...


@dataclass(frozen=True, slots=True)
class System:
    """One published method.

    Attributes:
        name: Name on the command line.
        title: Name in print.
        paper: Citation with section or table.
        summary: What it does, in one sentence.
        departures: Each difference from the paper, with its reason.
        recipes: How to make its input from frames, and from ready flow pictures.
        parameters: Every parameter with its default.
        build: Makes an untrained classifier from (number of classes, parameters).
    """

    name: str
    title: str
    paper: str
    summary: str
    departures: tuple[str, ...]
    recipes: Mapping[Medium, Recipe]
    parameters: Mapping[str, Any]
    build: Callable[[int, Mapping[str, Any]], Classifier]

    def with_parameters(self, given: Mapping[str, str | Any]) -> dict[str, Any]:
        """All parameters, those given replacing their defaults. Text is read as the default's own type.

        Raises:
            MienError: A name that this system does not have, or a value of the wrong kind.
        """
        merged = dict(self.parameters)
        for key, value in given.items():
            if key not in merged:
                near = difflib.get_close_matches(key, merged, n=1, cutoff=0.4)
                raise MienError(
                    f"{self.name} has no parameter {key!r}.",
                    f"one of {', '.join(sorted(merged))}.",
                    f"`--set {near[0] if near else next(iter(sorted(merged)))}={value}`.",
                )
            merged[key] = read_value(key, value, merged[key])
        return merged


def read_value(key: str, value: Any, like: Any) -> Any:
    """A command-line text as a value of the same type as `like`.

    Raises:
        MienError: It cannot be read so.
    """
    if not isinstance(value, str) or isinstance(like, str):
        return value
    try:
        parsed = json.loads(value)
    except json.JSONDecodeError:
        parsed = value
    numbers = isinstance(like, int | float) and not isinstance(like, bool)
    right = (
        isinstance(parsed, bool) if isinstance(like, bool)
        else isinstance(parsed, int | float) and not isinstance(parsed, bool) if numbers
        else True
    )  # fmt: skip
    if right and isinstance(like, int) and not isinstance(like, bool):
        right = float(parsed).is_integer()
    if not right:
        kind = "true or false" if isinstance(like, bool) else "a whole number" if isinstance(like, int) else "a number"
        raise MienError(f"{key}={value!r} cannot be read.", f"{kind}.", f"`--set {key}={json.dumps(like)}`.")
    return type(like)(parsed) if numbers or isinstance(like, bool) else parsed
