"""Trained networks as files: safetensors with a card that says what they are, never pickle.

The card is JSON in the file's own header, readable without loading a single weight.
"""

from __future__ import annotations

import json
import math
import platform
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mien
from mien.classifiers.base import Classifier
from mien.errors import MienError
from mien.io.atomic import unwritable, write_atomically
from mien.preprocessing.inputs import ArrayInputs

if TYPE_CHECKING:
    from torch import nn

    from mien.classifiers.training import NetClassifier

FORMAT = 1

_LARGEST = 1 << 28
"""Numbers that one input may have."""

# What building a network raises for parameters that no network has.
_UNBUILDABLE = (TypeError, ValueError, ArithmeticError, AttributeError, AssertionError, MemoryError)

SHIPPED = Path(__file__).parent / "weights" / "recognise.safetensors"
"""Weights that come with the package, trained on made-up expressions only (`studies/shipped_weights.py`)."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a trained network is.

    Attributes:
        system: Name of the system.
        parameters: All its parameters.
        classes: Class names, in the order of the probabilities.
        labels: Label map.
        trained_on: One entry per database: id, clips, subjects, drawn.
        recipes: Fingerprint of the recipe of each kind of clip it was trained on.
        shape: Shape of one input.
        seed: Training seed.
        score: What a protocol measured for the same settings, with its name; empty when not measured.
        licence: Terms under which the file may be used.
        versions: Of mien, torch and Python.
        format: Version of this layout.
    """

    system: str
    parameters: Mapping[str, Any]
    classes: tuple[str, ...]
    labels: str
    trained_on: tuple[Mapping[str, Any], ...]
    recipes: Mapping[str, str]
    shape: tuple[int, ...]
    seed: int
    score: Mapping[str, Any] = field(default_factory=dict)
    licence: str = "Not stated. The databases' licences may forbid passing this file on."
    versions: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT


def versions() -> dict[str, str]:
    """Versions of what a network was trained with."""
    import torch

    return {"mien": mien.__version__, "torch": torch.__version__, "python": platform.python_version()}


def save_checkpoint(path: Path, classifier: Classifier, card: ModelCard) -> None:
    """Writes a trained classifier and its card.

    Raises:
        MienError: It is not a network, was not trained, or the file cannot be written.
    """
    from safetensors.torch import save

    from mien.classifiers.training import NetClassifier

    if not isinstance(classifier, NetClassifier) or not classifier.models:
        raise MienError(
            f"{card.system} holds no trained network.", "a deep system after `fit`.", "`mien systems` for deep systems."
        )
    tensors = {
        f"{n}.{k}": v.detach().cpu().contiguous()
        for n, m in enumerate(classifier.models)
        for k, v in m.state_dict().items()
    }
    try:
        write_atomically(path, save(tensors, metadata={"card": json.dumps(asdict(card))}))
    except OSError as error:
        raise unwritable(path, error, "`--out`.") from None


def read_card(path: Path) -> ModelCard:
    """The card of a checkpoint; no weight is read.

    Raises:
        MienError: It is not there, not a checkpoint of this library, damaged, or of a later layout.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise MienError(
            f"There is no file {str(path)!r}.",
            "a .safetensors file that `mien train` wrote.",
            f"`ls {shlex.quote(str(path.parent))}` to see what is there.",
        )
    try:
        with safe_open(path, framework="np") as file:
            content = json.loads((file.metadata() or {})["card"])
        if not isinstance(content, dict):
            raise TypeError("its card")
        if content["format"] != FORMAT:
            raise MienError(
                f"{str(path)!r} has layout {content['format']}.",
                f"layout {FORMAT}.",
                "a version of mien that reads it.",
            )
        for key in ("classes", "trained_on", "shape"):
            content[key] = tuple(content[key])
        card = ModelCard(**content)
        _require_sound(card)
        return card
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise MienError(
            f"{str(path)!r} is not a checkpoint ({type(error).__name__}: {error}).",
            "a .safetensors file that `mien train` wrote.",
            "`mien train NAME=FOLDER --system strcn-g --out model.safetensors`.",
        ) from None


def _require_sound(card: ModelCard) -> None:
    """Raises TypeError or ValueError where something on a card is not of its kind."""
    texts = (card.system, card.labels, card.licence, *card.classes)
    kinds = (card.parameters, card.recipes, card.score, card.versions, *card.trained_on)
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(each, dict) for each in kinds):
        raise TypeError("something on its card is of another kind")
    for seen in card.trained_on:
        if not isinstance(seen["dataset"], str) or not isinstance(seen["drawn"], bool):
            raise TypeError("what it was trained on")
        if type(seen["clips"]) is not int or type(seen["subjects"]) is not int:
            raise TypeError("what it was trained on")
    if card.score:
        figures = ("uf1", "uar", "accuracy", "majority_accuracy")
        if not all(math.isfinite(card.score[key]) for key in figures):
            raise ValueError("its score")
        if not all(isinstance(card.score[key], str) for key in ("protocol", "averaging")):
            raise TypeError("its score")
    if not card.classes or len(set(card.classes)) < len(card.classes):
        raise ValueError("its classes")
    sides = card.shape
    if not sides or not all(type(side) is int and side > 0 for side in sides) or math.prod(sides) > _LARGEST:
        raise ValueError("the shape of its input")


def load_checkpoint(
    path: Path, system: str | None = None, classes: Sequence[str] | None = None
) -> tuple[NetClassifier, ModelCard]:
    """A trained classifier, ready to predict, and its card.

    Args:
        path: The file.
        system: The system it must be of; None takes any.
        classes: The classes it must know, in this order; None takes any.

    Raises:
        MienError: As `read_card`; another system or other classes; weights that do not fit the network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from mien.classifiers.training import NetClassifier
    from mien.systems import system as system_named

    card = read_card(path)
    if system is not None and card.system != system:
        raise MienError(f"{str(path)!r} is a checkpoint of {card.system}.", f"one of {system}.", "another file.")
    if classes is not None and tuple(classes) != card.classes:
        raise MienError(
            f"{str(path)!r} knows the classes {', '.join(card.classes)}.",
            f"{', '.join(classes)}.",
            "`--labels` to match.",
        )
    states: dict[int, dict[str, Any]] = {}
    nothing = ArrayInputs(np.empty((0, *card.shape), np.float32))
    try:
        for name, tensor in load_file(path).items():
            member, _, key = name.partition(".")
            states.setdefault(int(member), {})[key] = tensor
        parameters = system_named(card.system).with_parameters(card.parameters)
        classifier = system_named(card.system).build(len(card.classes), parameters)
        if not states or not isinstance(classifier, NetClassifier):
            raise ValueError("it holds no network")
        classifier.models = [classifier.restore(nothing, states[n], n) for n in sorted(states)]
    except (OSError, SafetensorError, RuntimeError, LookupError, *_UNBUILDABLE) as error:
        raise MienError(
            f"The weights in {str(path)!r} do not fit {card.system}: {(str(error) or 'damaged').splitlines()[0]}",
            "weights of this network.",
            "training it again with this version.",
        ) from None
    return classifier, card


def start_from(path: str, system: str) -> Callable[[nn.Module], None] | None:
    """What puts a checkpoint's weights into an untrained network of one system, for further training.

    The last layer keeps its chance weights where the number of classes differs. Of a committee it takes the first
    member that fits.

    Args:
        path: The file, "shipped" for `SHIPPED`, or "" for none.
        system: The system that the checkpoint must be of.

    Returns:
        A function of the network, or None for no file.

    Raises:
        MienError: As `read_card`; another system. The function: the weights are of another network.
    """
    if not path:
        return None
    file = checkpoint_file(path)
    card = read_card(file)
    if card.system != system:
        raise MienError(f"{path!r} is a checkpoint of {card.system}.", f"one of {system}.", "another file for `start`.")

    def put(model: nn.Module) -> None:
        from safetensors.torch import load_file

        states: dict[str, dict[str, Any]] = {}
        for name, tensor in load_file(file).items():
            member, _, key = name.partition(".")
            states.setdefault(member, {})[key] = tensor
        own = model.state_dict()
        head = set(list(own)[-2:])

        def differs(given: Mapping[str, Any]) -> set[str]:
            shapes = {k for k in own.keys() & given.keys() - head if given[k].shape != own[k].shape}
            return shapes | (own.keys() ^ given.keys())

        fits = [given for _, given in sorted(states.items()) if not differs(given)]
        if not fits:
            raise MienError(
                f"The weights in {path!r} are of another network ({min(differs(states['0']))} differs).",
                "the same variant, maps, layers and input.",
                f"`mien card {path}` for its parameters, and the same ones with --set.",
            )
        model.load_state_dict({k: v if fits[0][k].shape != v.shape else fits[0][k] for k, v in own.items()})

    return put


def checkpoint_file(path: str) -> Path:
    """The file of a checkpoint that a user names: "shipped" is `SHIPPED`."""
    return SHIPPED if path == "shipped" else Path(path)


def require_unseen(path: str, datasets: Sequence[str]) -> None:
    """Refuses to begin from weights that have seen a database under test.

    Raises:
        MienError: One of `datasets` is among those the checkpoint was trained on and not a drawn one.
    """
    seen = {entry["dataset"] for entry in read_card(checkpoint_file(path)).trained_on if not entry["drawn"]}
    if seen & set(datasets):
        raise MienError(
            f"{path!r} was trained on {', '.join(sorted(seen & set(datasets)))}, subjects under test among them.",
            "weights that have seen other databases only.",
            "`mien card` tells what a checkpoint was trained on.",
        )
