"""Checkpoints: trained classifiers as safetensors files, with a card that describes them.

The card is JSON in the header of the file: it is read without loading any weight.
"""

from __future__ import annotations

import json
import math
import platform
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

import mien
from mien.classifiers.base import Classifier
from mien.classifiers.packed import pack, unpack
from mien.errors import MienError
from mien.io.atomic import unwritable, write_atomically

if TYPE_CHECKING:
    from torch import Tensor, nn


FORMAT = 1

_LARGEST = 1 << 28
"""Most numbers that one input may have."""

SHIPPED = Path(__file__).parent / "weights" / "recognise.safetensors"
"""Weights for emotion classes that are part of the package, trained on synthetic expressions only."""

SHIPPED_UNITS = Path(__file__).parent / "weights" / "units.safetensors"
"""Weights for action units that are part of the package, trained on synthetic expressions only."""

SHIPPED_CLASSES = Path(__file__).parent / "weights" / "classes.safetensors"
"""Weights for emotion classes by flow-kernels, trained on the same synthetic pictures as those for units."""

SHIPPED_ENSEMBLE = Path(__file__).parent / "weights" / "ensemble.safetensors"
"""Weights for emotion classes by flow-ensemble: how the three others answer together."""

_BY_NAME = {
    "shipped": SHIPPED,
    "shipped-units": SHIPPED_UNITS,
    "shipped-classes": SHIPPED_CLASSES,
    "shipped-ensemble": SHIPPED_ENSEMBLE,
}

CLASSES: Final = "classes"
UNITS: Final = "units"

_FIGURES: Final = {CLASSES: ("uf1", "uar", "accuracy", "majority_accuracy"), UNITS: ("mean_auc", "mean_f1")}
"""Figures that the score in a card must have."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Description of a trained classifier.

    Attributes:
        system: Name of the system.
        parameters: All its parameters.
        classes: Class names, in the order of the probabilities; of weights for units, the names of the units.
        labels: Label map.
        trained_on: One entry per database: `dataset`, `clips`, `subjects`, and whether it is `synthetic`.
        recipes: Fingerprint of the recipe for each medium of clips it was trained on.
        shape: Shape of one input.
        seed: Training seed.
        score: Score of the same settings under a protocol, with the name of the protocol; empty if not measured. Of
            units, with the figures of each one: `per_au`.
        licence: Terms of use of the file.
        versions: Versions of mien, torch and Python.
        format: Version of the file format.
        task: "classes", of which each clip has one, or "units", of which it may show several.
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
    task: str = CLASSES


def versions() -> dict[str, str]:
    """Return the versions of mien, torch and Python that are in use."""
    import torch

    return {"mien": mien.__version__, "torch": torch.__version__, "python": platform.python_version()}


def save_checkpoint(path: Path, classifier: Classifier, card: ModelCard) -> None:
    """Write a trained classifier and its card.

    Raises:
        MienError: The classifier is not trained or cannot be kept in a file, or the file cannot be written.
    """
    metadata = {"card": json.dumps(asdict(card))}
    content = _content(classifier, metadata) if isinstance(classifier, Classifier) else None
    if content is None:
        raise MienError(
            f"{card.system} holds no trained network, and nothing else that could be kept.",
            "a deep system or flow-kernels after `fit`.",
            "`mien systems` for deep systems.",
        )
    try:
        write_atomically(path, content)
    except OSError as error:
        raise unwritable(path, error, "`--out`.") from None


def _content(classifier: Classifier, metadata: dict[str, str]) -> bytes | None:
    """Return a trained classifier as the content of a file; None where there is nothing to keep."""
    if arrays := classifier.saved_arrays():
        from safetensors.numpy import save as save_arrays

        return save_arrays({name: np.ascontiguousarray(each) for name, each in pack(arrays).items()}, metadata)
    from safetensors.torch import save

    from mien.classifiers.net import NetClassifier

    if not isinstance(classifier, NetClassifier) or not classifier.models:
        return None
    tensors = {
        f"{n}.{k}": v.detach().cpu().contiguous()
        for n, m in enumerate(classifier.models)
        for k, v in m.state_dict().items()
    }
    return save(tensors, metadata=metadata)


def read_card(path: str | Path) -> ModelCard:
    """Return the card of a checkpoint, without reading its weights.

    Args:
        path: The file; "shipped", "shipped-units" and so on are the checkpoints that come with mien.

    Returns:
        The card: system, classes, what it was trained on, score and licence.

    Raises:
        MienError: The file is missing, damaged, not a checkpoint of mien, or of a later format.

    Example:
        >>> read_card("shipped").classes
        ('negative', 'positive', 'surprise')
    """
    from safetensors import SafetensorError, safe_open

    path = checkpoint_file(str(path))
    if not path.exists():
        near = get_close_matches(path.name, _BY_NAME, n=1)
        raise MienError(
            f"There is no file {str(path)!r}.",
            f"a .safetensors file that `mien train` wrote, or one of {', '.join(_BY_NAME)}.",
            f"`{near[0]}`." if near else f"`ls {shlex.quote(str(path.parent))}` to see what is there.",
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
        # Cards of earlier versions say "drawn".
        content["trained_on"] = tuple(_renamed(entry, "drawn", "synthetic") for entry in content["trained_on"])
        card = ModelCard(**content)
        _require_sound(card)
        return card
    except SafetensorError:
        raise MienError(
            f"{str(path)!r} is damaged or a file of another kind.",
            "a .safetensors file that `mien train` wrote.",
            "`mien train NAME=FOLDER --system strcn-g --out model.safetensors`.",
        ) from None
    except (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise MienError(
            f"{str(path)!r} is not a checkpoint ({type(error).__name__}: {error}).",
            "a .safetensors file that `mien train` wrote.",
            "`mien train NAME=FOLDER --system strcn-g --out model.safetensors`.",
        ) from None


def _renamed(entry: Mapping[str, Any], former: str, name: str) -> dict[str, Any]:
    return {name if key == former else key: value for key, value in dict(entry).items()}


def _require_sound(card: ModelCard) -> None:
    """Raise TypeError or ValueError where an entry of a card has the wrong type or value."""
    texts = (card.system, card.labels, card.licence, *card.classes)
    kinds = (card.parameters, card.recipes, card.score, card.versions, *card.trained_on)
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(each, dict) for each in kinds):
        raise TypeError("an entry of its card has the wrong type")
    for seen in card.trained_on:
        if not isinstance(seen["dataset"], str) or not isinstance(seen["synthetic"], bool):
            raise TypeError("what it was trained on")
        if type(seen["clips"]) is not int or type(seen["subjects"]) is not int:
            raise TypeError("what it was trained on")
    if card.task not in (CLASSES, UNITS):
        raise ValueError(f"its task is {card.task!r}")
    if card.score:
        if not all(math.isfinite(card.score[key]) for key in _FIGURES[card.task]):
            raise ValueError("its score")
        for figures in card.score["per_au"].values() if card.task == UNITS else ():
            if not all(figures[key] is None or math.isfinite(figures[key]) for key in ("auc", "f1", "support")):
                raise ValueError("the score of a unit")
        if not all(isinstance(card.score[key], str) for key in ("protocol", "averaging")):
            raise TypeError("its score")
    if not card.classes or len(set(card.classes)) < len(card.classes):
        raise ValueError("its classes")
    sides = card.shape
    if not sides or not all(type(side) is int and side > 0 for side in sides) or math.prod(sides) > _LARGEST:
        raise ValueError("the shape of its input")


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a checkpoint of a classifier that is no network.

    Raises:
        OSError, SafetensorError: The file cannot be read.
        ValueError: Its pictures are damaged.
    """
    from safetensors.numpy import load_file

    return unpack(load_file(path))


def read_states(path: Path) -> dict[int, dict[str, Tensor]]:
    """Return the weights of each network in a checkpoint, by the number of the network.

    Raises:
        OSError, SafetensorError, ValueError: The file cannot be read.
    """
    from safetensors.torch import load_file

    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in load_file(path).items():
        member, _, key = name.partition(".")
        states.setdefault(int(member), {})[key] = tensor
    return states


def start_from(path: str, system: str) -> Callable[[nn.Module], None] | None:
    """Return a function that loads the weights of a checkpoint into an untrained network, for fine-tuning.

    The last layer keeps its random weights where the number of classes differs. Of several networks in the file, the
    first that fits is taken.

    Args:
        path: The file; "shipped" for `SHIPPED`; "" for none.
        system: The system that the checkpoint must belong to.

    Returns:
        A function of the network; None for no file. It raises MienError where the weights belong to another network.

    Raises:
        MienError: As `read_card`; or the checkpoint belongs to another system.
    """
    if not path:
        return None
    file = checkpoint_file(path)
    card = read_card(file)
    if card.system != system:
        raise MienError(f"{path!r} is a checkpoint of {card.system}.", f"one of {system}.", "another file for `start`.")

    def put(model: nn.Module) -> None:
        states = read_states(file)
        own = model.state_dict()
        head = set(list(own)[-2:])

        def differs(given: Mapping[str, Any]) -> set[str]:
            shapes = {k for k in own.keys() & given.keys() - head if given[k].shape != own[k].shape}
            return shapes | (own.keys() ^ given.keys())

        fits = [given for _, given in sorted(states.items()) if not differs(given)]
        if not fits:
            raise MienError(
                f"The weights in {path!r} belong to another network ({min(differs(states[0]))} differs).",
                "the same variant, maps, layers and input.",
                f"`mien card {path}` for its parameters, and the same with --set.",
            )
        model.load_state_dict({k: v if fits[0][k].shape != v.shape else fits[0][k] for k, v in own.items()})

    return put


def checkpoint_file(path: str) -> Path:
    """Return the path of a checkpoint that a user names; "shipped" stands for `SHIPPED`, and so on."""
    return _BY_NAME.get(path) or Path(path)


def require_unseen(path: str, datasets: Sequence[str]) -> None:
    """Refuse weights that were trained on a database under test.

    Raises:
        MienError: The checkpoint was trained on one of `datasets`, and that is not a synthetic one.
    """
    seen = {entry["dataset"] for entry in read_card(checkpoint_file(path)).trained_on if not entry["synthetic"]}
    if seen & set(datasets):
        raise MienError(
            f"{path!r} was trained on {', '.join(sorted(seen & set(datasets)))}, subjects under test among them.",
            "weights that were trained on other databases only.",
            f"`mien card {path}` for what a checkpoint was trained on.",
        )
