"""load_checkpoint(): a trained system from a file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from mien.classifiers.base import Classifier
from mien.classifiers.checkpoint import UNITS, ModelCard, checkpoint_file, read_arrays, read_card, read_states
from mien.errors import MienError
from mien.preprocessing.inputs import ArrayInputs
from mien.systems import system as system_named


@lru_cache(maxsize=8)
def packaged(name: str) -> tuple[Classifier, ModelCard]:
    """Return a checkpoint of the package by its name ("shipped-units"), loaded once in a process: do not change it.

    Example:
        >>> packaged("shipped") is packaged("shipped")
        True
    """
    return load_checkpoint(name)


_UNBUILDABLE = (TypeError, ValueError, ArithmeticError, AttributeError, AssertionError, MemoryError)
"""What building a network raises for parameters that no network can have."""


def load_checkpoint(
    path: str | Path, system: str | None = None, classes: Sequence[str] | None = None
) -> tuple[Classifier, ModelCard]:
    """Return a trained classifier, ready to predict, and its card.

    Args:
        path: The file; "shipped", "shipped-units" and so on are the checkpoints that come with mien.
        system: The system that the checkpoint must belong to; None takes any.
        classes: The classes that it must predict, in this order; None takes any.

    Returns:
        The classifier and its card.

    Raises:
        MienError: As `mien.classifiers.checkpoint.read_card`; another system or other classes; or weights that do not
            fit the network of the system.

    Example:
        >>> classifier, card = load_checkpoint("shipped")
        >>> card.system
        'strcn-g'
    """
    from safetensors import SafetensorError

    from mien.classifiers.net import NetClassifier

    path = checkpoint_file(str(path))
    card = read_card(path)
    if system is not None and card.system != system:
        raise MienError(f"{str(path)!r} is a checkpoint of {card.system}.", f"one of {system}.", "another file.")
    if classes is not None and tuple(classes) != card.classes:
        raise MienError(
            f"{str(path)!r} has the classes {', '.join(card.classes)}.",
            f"{', '.join(classes)}.",
            "`--labels` to match.",
        )
    nothing = ArrayInputs(np.empty((0, *card.shape), np.float32))
    try:
        made_by = system_named(card.system)
        classifier: Classifier = made_by.build(len(card.classes), made_by.with_parameters(card.parameters))
        if card.task == UNITS:
            classifier.units = card.classes
        if isinstance(classifier, NetClassifier):
            states = read_states(path)
            if not states:
                raise ValueError("it holds no network")
            classifier.models = [classifier.restore(nothing, states[n], n) for n in sorted(states)]
        else:
            classifier.load_arrays(read_arrays(path))
    except (OSError, SafetensorError, RuntimeError, LookupError, *_UNBUILDABLE) as error:
        raise MienError(
            f"The weights in {str(path)!r} do not fit {card.system}: {(str(error) or 'damaged').splitlines()[0]}",
            "weights of this network.",
            "training it again with this version.",
        ) from None
    return classifier, card
