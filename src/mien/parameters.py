"""Parameters with a type, a range and a meaning each: a pydantic model per system, spotter, descriptor and recipe.

A value comes from Python or as text from the command line (`--set lr=0.03`, lists as JSON). What does not fit is
refused as a `MienError` that gives the range and the default.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from mien.errors import MienError, unknown_name

LARGEST = 1 << 53
"""Whole numbers from here on are not exact in JSON and floating point, so no parameter takes them."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of values.

    Attributes:
        summary: What it is for, in one sentence.
        values: Parameters that differ from the defaults.
    """

    summary: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Not:
    """A condition: any value but these."""

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        object.__setattr__(self, "values", values)


class OnlyIf:
    """Says when a parameter has an effect; stands in the `Annotated` type of its field.

    Args:
        medium: The kind of clips it needs: "frames" or "flow"; None takes both.
        conditions: Other parameters with the value, a tuple of values or `Not(value)` they must have.

    Example:
        >>> OnlyIf(medium="frames", input="face").unmet({"input": "picture"}, "frames")
        'input=face'
    """

    def __init__(self, medium: str | None = None, **conditions: Any) -> None:
        self.medium = medium
        self.conditions = conditions

    def unmet(self, values: Mapping[str, Any], medium: str | None) -> str | None:
        """Return what would have to hold, as it is typed, or None where the parameter has an effect.

        Args:
            values: All parameters.
            medium: Kind of clips; None does not ask for one.
        """
        if self.medium is not None and medium is not None and medium != self.medium:
            return "frames" if self.medium == "frames" else "ready flow pictures"
        for name, wanted in self.conditions.items():
            if name not in values:
                continue  # a parameter that this system does not have
            if isinstance(wanted, Not):
                met = values[name] not in wanted.values
            else:
                met = values[name] in (wanted if isinstance(wanted, tuple) else (wanted,))
            if not met:
                return _condition(name, wanted)
        return None

    def words(self) -> str:
        """Return all conditions as one phrase."""
        needed = ["frames" if self.medium == "frames" else "ready flow pictures"] if self.medium else []
        return " and ".join([*needed, *(_condition(name, wanted) for name, wanted in self.conditions.items())])

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """Add the conditions to the JSON schema, as `only_if`."""
        made: dict[str, Any] = handler(core)
        made["only_if"] = self.words()
        return made


def _condition(name: str, wanted: Any) -> str:
    if isinstance(wanted, Not):
        return f"{name} other than {' or '.join(as_typed(v) or 'empty' for v in wanted.values)}"
    allowed = wanted if isinstance(wanted, tuple) else (wanted,)
    return " or ".join(f"{name}={as_typed(value)}" for value in allowed)


def unit(name: str) -> dict[str, Any]:
    """Return what a field's `json_schema_extra` holds to name the unit of its values."""
    return {"unit": name}


class Parameters(BaseModel):
    """The parameters of one system, spotter, descriptor or recipe. Immutable.

    Each field has a type, a range or choices, and a one-sentence description:

    Example:
        >>> from pydantic import Field
        >>> class Mine(Parameters):
        ...     epochs: int = Field(20, ge=1, le=1000, description="Epochs of training.")
        >>> Mine.read({"epochs": "30"}, "mine").epochs
        30
        >>> Mine.read({"epochs": -3}, "mine")
        Traceback (most recent call last):
        mien.errors.MienError: epochs is -3. Expected: a whole number from 1 to 1000. Try: `--set epochs=20`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _read_text(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        kind = cls._schema(info.field_name).get("type")
        if isinstance(value, str) and kind != "string":
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                return value  # refused as it stands
        if kind in ("array", None):
            value = _as_tuple(value)
        if kind == "integer" and isinstance(value, float) and value.is_integer():
            value = int(value)
        _require_exact(value)
        return value

    @classmethod
    def read(cls, given: Mapping[str, Any], owner: str, base: Mapping[str, Any] | None = None) -> Self:
        """Read values given as text or as Python values; those left out keep their defaults.

        Args:
            given: The values that were given.
            owner: Whose parameters these are, for errors.
            base: Values of a preset, which go before the defaults.

        Raises:
            MienError: An unknown name, a value of the wrong kind, or one out of range.
        """
        for name in given:
            if name not in cls.model_fields:
                raise cls._unknown(name, given[name], owner)
        merged = {**(base or {}), **given}
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise cls._refused(error.errors()[0], merged, base or {}) from None

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Return every parameter with its default, as JSON values."""
        return cls.model_validate({}).model_dump(mode="json")

    @classmethod
    def schema_of(cls, name: str) -> dict[str, Any]:
        """Return the JSON schema of one parameter: type, range or choices, unit, description, default."""
        return dict(cls._schema(name))

    @classmethod
    def range_of(cls, name: str) -> str:
        """Return the range or the choices of one parameter, in words."""
        return in_words(cls._schema(name))

    def idle(self, name: str, media: Iterable[str] = ()) -> str | None:
        """Return what a parameter would need to have any effect, or None where it has one.

        Args:
            name: The parameter.
            media: The kinds of clips at hand, "frames" or "flow"; none does not ask.
        """
        values = dict(self)
        marks = [mark for mark in type(self).model_fields[name].metadata if isinstance(mark, OnlyIf)]
        needs = [next((n for mark in marks if (n := mark.unmet(values, m))), None) for m in tuple(media) or (None,)]
        return needs[0] if all(needs) else None

    def require_effect(self, given: Iterable[str], owner: str, media: Iterable[str] = ()) -> None:
        """Refuse parameters that were given and change nothing.

        Args:
            given: Names of the parameters that were given.
            owner: Whose parameters these are, for the error.
            media: The kinds of clips at hand; none does not ask.

        Raises:
            MienError: One of them has no effect on these clips, or beside the other parameters.
        """
        kinds = tuple(media)
        for name in given:
            if needed := self.idle(name, kinds):
                also = f", or with `--set {needed}` beside it" if "=" in needed and " " not in needed else ""
                raise MienError(
                    f"{name}={as_typed(getattr(self, name))} has no effect in {owner} here.",
                    f"{needed}, without which {name} is not used.",
                    f"the same command without `--set {name}=...`{also}.",
                )

    @classmethod
    def _schema(cls, name: str) -> dict[str, Any]:
        return _properties(cls)[name]

    @classmethod
    def _unknown(cls, name: str, value: Any, owner: str) -> MienError:
        known = sorted(cls.model_fields)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        fix = f"`--set {near[0]}={as_typed(value)}`." if near else f"the same without `{name}`."
        return MienError(f"{owner} has no parameter {name!r}.", f"one of {', '.join(known) or 'none at all'}.", fix)

    @classmethod
    def _refused(cls, error: ErrorDetails, given: Mapping[str, Any], base: Mapping[str, Any]) -> MienError:
        name = str(error["loc"][0]) if error["loc"] else ""
        if name not in cls.model_fields:  # a rule over several parameters
            return MienError(str(error["msg"]), "parameters that fit each other.", "the defaults.")
        default = base.get(name, cls.model_fields[name].default)
        if given.get(name) == default:
            default = cls.model_fields[name].default
        value = given.get(name)
        shown = value if isinstance(value, str) and error["type"] != "literal_error" else as_typed(value)
        if error["type"] == "literal_error":
            shown = repr(value)
        return MienError(
            f"{name} is {shown}.", f"{in_words(cls._schema(name))}.", f"`--set {name}={as_typed(default)}`."
        )


Model = TypeVar("Model", bound=Parameters)


@cache
def _properties(model: type[Parameters]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = model.model_json_schema().get("properties", {})
    return found


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list | tuple) else value


def with_preset(
    model: type[Model], presets: Mapping[str, Preset], given: Mapping[str, Any], owner: str, show: str
) -> Model:
    """Read parameters where `preset` names a set of values; what is given beside it replaces the preset's.

    Args:
        model: The parameters.
        presets: The presets by name.
        given: The values that were given, "preset" among them or not.
        owner: Whose parameters these are, for errors.
        show: The command that lists the presets.

    Raises:
        MienError: There is no such preset; otherwise as `Parameters.read`.
    """
    if not presets:
        return model.read(given, owner)
    name = given.get("preset", model.model_fields["preset"].default)
    if name not in presets:
        raise unknown_name("preset", str(name), presets, show)
    return model.read(given, owner, presets[name].values)


def in_words(schema: Mapping[str, Any]) -> str:
    """Return the type and the range of a JSON schema in words.

    Example:
        >>> in_words({"type": "integer", "minimum": 1, "maximum": 9})
        'a whole number from 1 to 9'
        >>> in_words({"enum": ["lwm", "crop"]})
        'one of lwm, crop'
    """
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if "anyOf" in schema:
        kinds = [each for each in schema["anyOf"] if not _is_covered(each, schema["anyOf"])]
        return ", or ".join(map(in_words, kinds))
    if "const" in schema:
        return str(schema["const"])
    kind = schema.get("type")
    if kind == "boolean":
        return "true or false"
    if kind == "array":
        return _list_in_words(schema)
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _bounds(schema)
    if "expects" in schema:
        return str(schema["expects"])
    return f"text of at most {schema['maxLength']} characters" if "maxLength" in schema else "text"


def _is_covered(one: Mapping[str, Any], kinds: Sequence[Mapping[str, Any]]) -> bool:
    return one.get("type") == "integer" and any(each.get("type") == "number" for each in kinds)


def _list_in_words(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    item = schema["prefixItems"][0] if "prefixItems" in schema else schema.get("items", {})
    count = str(least) if least == most else f"{least} to {most}" if most else f"{least} or more" if least else "any"
    if "anyOf" in item:
        item = item["anyOf"][-1]
    if item.get("type") == "array":
        return f"{count} lists of {_list_in_words(item)}"
    return f"{count} {'whole ' if item.get('type') == 'integer' else ''}numbers{_bounds(item)}"


def _bounds(schema: Mapping[str, Any]) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    text = f" from {low:g}" if low is not None else f" above {above:g}" if above is not None else ""
    if high is not None:
        text += f" to {_number(high)}"
    elif below is not None:
        text += f" to below {below:g}" if text else f" below {below:g}"
    return text


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:g}"


def as_typed(value: Any) -> str:
    """Return a value as it is typed behind `--set KEY=`."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, separators=(",", ":"))
    except (TypeError, ValueError):
        return repr(value)


def _require_exact(value: Any) -> None:
    if isinstance(value, Sequence) and not isinstance(value, str):
        for each in value:
            _require_exact(each)
    elif isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) < LARGEST:
        raise ValueError("too large to be exact")
