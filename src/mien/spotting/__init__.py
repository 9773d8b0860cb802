"""Where in a film expressions are: spotters, how they run along a film, and how well their intervals meet true ones."""

from __future__ import annotations

from typing import Any, TypeVar

from mien.errors import MienError
from mien.registry import Registry
from mien.spotting.base import Spot, Spotter

__all__ = ["DEFAULT", "SPOTTERS", "Spot", "Spotter", "register_spotter", "spotter"]

_Given = TypeVar("_Given")


def _as_spotter(given: Any) -> Spotter:
    """A spotter as it is, or what a function without arguments returns."""
    made = given if isinstance(given, Spotter) or not callable(given) or isinstance(given, type) else given()
    if not isinstance(made, Spotter):
        raise MienError(
            f"{made!r} is not a spotter but a {type(made).__name__}.",
            "a `mien.spotting.Spotter`, or a function without arguments that returns one.",
            "`mien.spotting.Spotter(name=..., watch=..., decide=..., ...)`.",
        )
    return made


SPOTTERS: Registry[Spotter] = Registry(
    "spotter",
    "mien.spotters",
    "mien spotters",
    builtins={
        "flow-peaks": "mien.spotting.flow_peaks:FLOW_PEAKS",
        "lbp-chi2": "mien.spotting.lbp_chi2:LBP_CHI2",
        "mdmd": "mien.spotting.mdmd:MDMD",
        "softnet": "mien.spotting.softnet:SOFTNET",
    },
    accept=_as_spotter,
    aliases={"flow": "flow-peaks", "peaks": "flow-peaks", "lbp": "lbp-chi2", "chi2": "lbp-chi2", "soft": "softnet"},
)
"""Every spotter, by name; each is imported when it is asked for."""

DEFAULT = "flow-peaks"
"""The one that is used when none is named."""


def spotter(name: str) -> Spotter:
    """Return the spotter of a name, or of an import path `package.module:attribute`.

    Args:
        name: Name, or import path.

    Returns:
        The spotter.

    Raises:
        MienError: There is none (the nearest name is suggested), or its plug-in fails.

    Example:
        >>> spotter("flow-peaks").train is None
        True
    """
    return SPOTTERS.get(name)


def register_spotter(given: _Given) -> _Given:
    """Register a spotter: called with it, or as the decorator of a function without arguments that returns it.

    Args:
        given: A `Spotter`, or a function without arguments that returns one.

    Returns:
        What was given, unchanged.

    Raises:
        MienError: It is no spotter, or its name is taken.

    Example:
        >>> from dataclasses import replace
        >>> mine = register_spotter(replace(spotter("flow-peaks"), name="my-peaks"))
        >>> "my-peaks" in SPOTTERS
        True
        >>> SPOTTERS.unregister("my-peaks")
    """
    return SPOTTERS.register(given)
