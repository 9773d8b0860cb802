"""What a system is: a recipe, a classifier and its parameters, with the paper it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
        default_presets: The preset of clips of one kind where none is asked for, if it is not that of the model.

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
    default_presets: Mapping[Medium, str] = field(default_factory=dict)

    @property
    def defaults(self) -> dict[str, Any]:
        """Every parameter with its default, as JSON values."""
        return self.parameters.defaults()

    def with_parameters(self, given: Mapping[str, Any] | None = None, media: Iterable[Medium] = ()) -> P:
        """Return all parameters: those given, then the preset's, then the defaults.

        Args:
            given: Values as text or as Python values; may name a preset.
            media: The kinds of clips at hand, on which the default preset may depend (`default_preset`).

        Raises:
            MienError: An unknown parameter or preset, a value of the wrong kind, or one out of range.
        """
        given = dict(given or {})
        if self.presets:
            given.setdefault("preset", self.default_preset(media))
        return with_preset(self.parameters, self.presets, given, self.name, f"mien systems {self.name}")

    def default_preset(self, media: Iterable[Medium] = ()) -> str:
        """Return the preset that is used where none is asked for; "" for a system without presets.

        Args:
            media: The kinds of clips at hand; none, or several at once, take the default of the model.
        """
        if not self.presets:
            return ""
        usual: str = self.parameters.model_fields["preset"].default
        kinds = set(media)
        return self.default_presets.get(kinds.pop(), usual) if len(kinds) == 1 else usual

    def recipe(self, medium: Medium, parameters: P | Mapping[str, Any] | None = None) -> Recipe:
        """Return how its input is made from clips of one kind; parameters left out keep their defaults for that kind.

        Raises:
            MienError: As `with_parameters`; parameters that do not fit each other.
        """
        known = isinstance(parameters, Parameters)
        given = cast("P", parameters) if known else self.with_parameters(cast("Any", parameters), (medium,))
        return self.recipes[medium](given)
