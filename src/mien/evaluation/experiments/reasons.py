"""Reasons why a cell of an experiment cannot be computed, found before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mien.errors import MienError
from mien.motion.flow import METHODS
from mien.parameters import Parameters
from mien.preprocessing.inputs import ArrayInputs
from mien.preprocessing.parameters import ColourFaces
from mien.systems import System
from mien.types import Clip

TRIED = 3
"""Clips, of different subjects, that must all fail before a database counts as unfit for a system."""


def idle_reason(parameters: Parameters, names: Sequence[str], medium: str) -> str:
    """Return why what a row sets would change nothing on clips of one kind; "" where all of it has an effect."""
    for name in names:
        if needed := parameters.idle(name, [medium]):
            return f"its {name} needs {needed}"
    return ""


def input_reason(system: System[Any], parameters: Parameters, clips: Sequence[Clip], title: str) -> str:
    """Return what a database lacks for a system, from a few of its clips; "" where it lacks nothing.

    The recipe is run on up to `TRIED` clips with one copy each and the fastest flow: colour, landmarks, readable
    frames and enough of them show at once.

    Args:
        system: The system.
        parameters: Its parameters.
        clips: The clips of the database.
        title: Name of the database, for the reason.
    """
    recipe = system.recipe(clips[0].medium, cheapened(parameters))
    one_each = list({clip.person: clip for clip in clips}.values())
    errors: list[MienError] = []
    for clip in one_each[:TRIED]:
        try:
            array = recipe.apply(clip).array
        except MienError as error:
            errors.append(error)
            continue
        except Exception as error:  # what is unexpected is reported by the run, with its clip
            errors.append(MienError(f"{clip.key}: {type(error).__name__}: {error}", "", ""))
            continue
        if not isinstance(parameters, ColourFaces) or not _is_grey(array):
            return ""
        errors.append(MienError(f"{title} is grey, and {system.title} needs colour", "", ""))
    return errors[0].found.rstrip(".") if errors else f"{title} has no clip"


def cheapened(parameters: Parameters) -> Parameters:
    """Return parameters with one copy of each clip and the fastest flow: they need the same clips, in less time."""
    changed: dict[str, Any] = {}
    for name in ("alphas", "shares"):
        if hasattr(parameters, name):
            changed[name] = getattr(parameters, name)[:1]
    if getattr(parameters, "flow", None) in METHODS:
        changed["flow"] = "dis"
    return parameters.model_copy(update=changed)


def _is_grey(array: np.ndarray) -> bool:
    return bool((array[..., 0] == array[..., 1]).all() and (array[..., 0] == array[..., 2]).all())


def require_weights(system: System[Any], parameters: Parameters, medium: Any, common: Mapping[str, Any]) -> None:
    """Refuse a file of weights that a system cannot load, before anything is run.

    Raises:
        MienError: There is no such file, or it is of another network.
    """
    from mien.classifiers.net import NetClassifier

    if not any(common.get(name) and hasattr(parameters, name) for name in ("weights", "start")):
        return
    classifier = system.build(3, parameters)
    recipe = system.recipe(medium, parameters)
    if isinstance(classifier, NetClassifier):
        shape = recipe.shape[1:] if recipe.axes.startswith("K") else recipe.shape
        network = classifier._build(ArrayInputs(np.zeros((2, *(n or 16 for n in shape)), np.float32)), 0)
        if classifier.start is not None:
            classifier.start(network)
