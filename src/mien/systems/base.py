"""What a system is: a recipe, a classifier and its parameters, with the paper it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, cast

from typing_extensions import TypeVar

from mien.classifiers.base import Classifier
from mien.parameters import Parameters, Preset, with_preset
from mien.preprocessing import Recipe
from mien.types import Medium

P = TypeVar("P", bound=Parameters, default=Any)


@dataclass(frozen=True, slots=True)
class System(Generic[P]):
    """One published method.

    Attributes:
        name: Name on the command line.
        title: Name in print.
        paper: Citation with section or table.
        summary: What it does, in one sentence.
        departures: Each difference from the paper, with its reason.
        recipes: How to make its input from frames, or from ready flow pictures, with some parameters.
        build: Makes an untrained classifier from (number of classes, parameters).
        parameters: The model of its parameters; a system without any leaves this out.
        presets: Sets of values by name, for `--set preset=NAME`; values given beside it replace those of the preset.

    Example:
        >>> from mien.preprocessing import FLOW_PICTURE
        >>> from mien.systems import SYSTEMS
        >>> mine = System(
        ...     name="mine", title="Mine", paper="none", summary="two lines", departures=(),
        ...     recipes={"flow": lambda _: FLOW_PICTURE}, build=lambda n, _: SYSTEMS["flow-svm"].build(n, {}),
        ... )
        >>> mine.recipe("flow").shape
        (3, 28, 28)
    """

    name: str
    title: str
    paper: str
    summary: str
    departures: tuple[str, ...]
    recipes: Mapping[Medium, Callable[[P], Recipe]]
    build: Callable[[int, P], Classifier]
    parameters: type[P] = Parameters  # type: ignore[assignment]
    presets: Mapping[str, Preset] = field(default_factory=dict)

    @property
    def defaults(self) -> dict[str, Any]:
        """Every parameter with its default, as JSON values."""
        return self.parameters.defaults()

    def with_parameters(self, given: Mapping[str, Any] | None = None) -> P:
        """Return all parameters: those given, then the preset's, then the defaults.

        Args:
            given: Values as text or as Python values; may name a preset.

        Raises:
            MienError: An unknown parameter or preset, a value of the wrong kind, or one out of range.
        """
        return with_preset(self.parameters, self.presets, given or {}, self.name, f"mien systems {self.name}")

    def recipe(self, medium: Medium, parameters: P | Mapping[str, Any] | None = None) -> Recipe:
        """Return how its input is made from clips of one kind; parameters left out keep their defaults.

        Raises:
            MienError: As `with_parameters`; parameters that do not fit each other.
        """
        known = isinstance(parameters, Parameters)
        return self.recipes[medium](cast("P", parameters) if known else self.with_parameters(cast("Any", parameters)))
