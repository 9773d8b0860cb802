"""What a system is: a recipe, a classifier and its settings, with the paper it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mien.classifiers.base import Classifier
from mien.errors import MienError, unknown_name
from mien.parameters import with_defaults
from mien.preprocessing import Recipe
from mien.types import Medium


@dataclass(frozen=True, slots=True)
class System:
    """One published method.

    Attributes:
        name: Name on the command line.
        title: Name in print.
        paper: Citation with section or table.
        summary: What it does, in one sentence.
        departures: Each difference from the paper, with its reason.
        recipes: How to make its input from frames, or from ready flow pictures, with some parameters.
        parameters: Every parameter with its default.
        presets: Sets of parameters by name, for `--set preset=NAME`; what is given beside it goes first.
        build: Makes an untrained classifier from (number of classes, parameters).
    """

    name: str
    title: str
    paper: str
    summary: str
    departures: tuple[str, ...]
    recipes: Mapping[Medium, Callable[[Mapping[str, Any]], Recipe]]
    parameters: Mapping[str, Any]
    build: Callable[[int, Mapping[str, Any]], Classifier]
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def recipe(self, medium: Medium, parameters: Mapping[str, Any] | None = None) -> Recipe:
        """How its input is made from clips of one kind; parameters left out keep their defaults."""
        return self.recipes[medium]({**self.parameters, **(parameters or {})})

    def with_parameters(self, given: Mapping[str, str | Any]) -> dict[str, Any]:
        """All parameters, those given replacing the preset's and these the defaults.

        Raises:
            MienError: An unknown parameter or preset, or a value of the wrong kind.
        """
        name = given.get("preset", self.parameters.get("preset"))
        if self.presets and name not in self.presets:
            raise unknown_name("preset", str(name), self.presets, f"mien systems {self.name}")
        defaults = {**self.parameters, **self.presets.get(str(name), {})}
        return with_defaults(self.name, defaults, given)


def check_choices(parameters: Mapping[str, Any], choices: Mapping[str, tuple[str, ...]]) -> None:
    """Parameters that are one of a few words.

    Raises:
        MienError: Another word.
    """
    for key, allowed in choices.items():
        if key in parameters and parameters[key] not in allowed:
            raise MienError(
                f"{key} is {parameters[key]!r}.", f"one of {', '.join(allowed)}.", f"`--set {key}={allowed[0]}`."
            )
