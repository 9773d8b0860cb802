"""Parameters given as text, read as the type of their defaults. Shared by systems and recipes."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from mien.errors import MienError


def with_defaults(owner: str, defaults: Mapping[str, Any], given: Mapping[str, str | Any]) -> dict[str, Any]:
    """All parameters, those given replacing their defaults. Text is read as the default's own type.

    Args:
        owner: Whose parameters these are, for the error.
        defaults: Every parameter with its default.
        given: Those that differ.

    Raises:
        MienError: A name that is not there, or a value of the wrong kind.
    """
    merged = dict(defaults)
    for key, value in given.items():
        if key not in merged:
            near = difflib.get_close_matches(key, merged, n=1, cutoff=0.4)
            raise MienError(
                f"{owner} has no parameter {key!r}.",
                f"one of {', '.join(sorted(merged)) or 'none at all'}.",
                f"`--set {near[0] if near else next(iter(sorted(merged)), key)}={value}`.",
            )
        merged[key] = read_value(key, value, merged[key])
    return merged


def read_value(key: str, value: Any, like: Any) -> Any:
    """A command-line text as a value of the same type as `like`.

    Raises:
        MienError: It cannot be read so.
    """
    numbers = isinstance(like, int | float) and not isinstance(like, bool)
    if isinstance(value, bool) and numbers:
        value = json.dumps(value)  # to be refused below: true is no number
    if not isinstance(value, str) or isinstance(like, str):
        return value
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        parsed = value
    right = (
        isinstance(parsed, bool) if isinstance(like, bool)
        else isinstance(parsed, int | float) and not isinstance(parsed, bool) if numbers
        else True
    )  # fmt: skip
    if right and numbers:
        # Beyond 2^53 a number is not what was typed.
        right = abs(parsed) < 1 << 53 and (not isinstance(like, int) or float(parsed).is_integer())
    if not right:
        kind = "true or false" if isinstance(like, bool) else "a whole number" if isinstance(like, int) else "a number"
        raise MienError(f"{key}={value!r} cannot be read.", f"{kind}.", f"`--set {key}={json.dumps(like)}`.")
    return type(like)(parsed) if numbers or isinstance(like, bool) else parsed
