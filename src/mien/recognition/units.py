"""What the motion from onset to apex says about each action unit: its probability, its side and its strength.

The probability comes from weights that were trained for units, on the same kind of input: one flow picture from onset
to apex. Side and strength are measured in the flow itself, in the part of the skin that belongs to the unit:

* The part of a unit is where its synthetic motion (`mien.synthesis.fields.unit_fields`) is at least half of its
  maximum, on the landmarks of this face.
* The flow, relative to the head, is smoothed by a Gaussian of 0.05 distances between the eyes.
* The strength is the largest length of that flow in the part, in percent of the distance between the eyes. It does not
  ask for the direction, so a unit that did not move can have a strength if another one moves the same skin.
* The side is "left" or "right", the person's own, if the largest length there is at least twice that on the other side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.classifiers.checkpoint import SHIPPED_UNITS, UNITS, ModelCard, checkpoint_file
from mien.datasets.facs import unit_name
from mien.errors import MienError
from mien.preprocessing.base import Recipe
from mien.preprocessing.inputs import ArrayInputs
from mien.recognition.records import UnitAnswer, UnitSide
from mien.recognition.skin import FacePair, Floats, Picture, SkinMotion, run_on_pair, skin_motion
from mien.synthesis.fields import unit_fields
from mien.synthesis.timeline import action_units
from mien.systems import system as system_named
from mien.systems.trained import load_checkpoint, packaged

LEAST_AUC: Final = 0.7
"""Units with a lower measured AUC are off unless asked for."""

ONE_SIDED: Final = 2.0
"""How many times farther one half of the face moves than the other where a unit is called one-sided. A convention."""

_SMOOTHING: Final = 0.05  # distances between the eyes
_PART: Final = 0.5


@dataclass(frozen=True)
class UnitReader:
    """Trained weights for action units, with the recipe that makes their input from onset and apex.

    Attributes:
        path: The file of the weights.
        classifier: The trained classifier.
        card: The card of the weights.
        recipe: Makes the input of the classifier: shrinking, flow, picture.
        units: Numbers of all units, in the order of the classifier.
        shown: Numbers of the units that are answered, ascending.
    """

    path: Path
    classifier: Any
    card: ModelCard
    recipe: Recipe
    units: tuple[int, ...]
    shown: tuple[int, ...]

    @property
    def off(self) -> tuple[int, ...]:
        """Numbers of the units that are not answered, ascending."""
        return tuple(sorted(set(self.units) - set(self.shown)))

    def answer(self, face: FacePair) -> tuple[UnitAnswer, ...]:
        """Return what the motion of one face says about each unit that is answered, by number."""
        motions: list[SkinMotion] = []

        def flow(pair: Picture, method: str) -> Floats:
            motions.append(skin_motion(face, pair, method))
            return motions[0].flow

        array = run_on_pair(self.recipe, face, flow)
        probabilities = self.classifier.predict_proba(ArrayInputs(array[None].astype(np.float32)))
        present = self.classifier.decide_units(probabilities)[0]
        halves = dict(zip(self.shown, half_strengths(motions[0], self.shown), strict=True))
        return tuple(
            UnitAnswer(
                unit, unit_name(unit), float(probabilities[0, place]), side_of(*halves[unit]),
                round(100 * max(halves[unit]), 2), bool(present[place]), measured_auc(self.card, unit),
            )
            for unit in self.shown
            for place in [self.units.index(unit)]
        )  # fmt: skip


def open_units(weights: str | Path | None = None, all_units: bool = False) -> UnitReader:
    """Load weights that predict action units.

    Args:
        weights: A `.safetensors` file that `mien train --labels au12` wrote; None loads the weights of the package.
        all_units: Also answer the units whose measured AUC is below `LEAST_AUC`.

    Raises:
        MienError: There is no such file, it is not a checkpoint, its weights predict classes, or their input cannot be
            made from onset and apex.

    Example:
        >>> 4 in open_units().shown
        True
    """
    path = SHIPPED_UNITS if weights is None else checkpoint_file(str(weights))
    train = "`mien train NAME=FOLDER --system flow-kernels --labels au12 --out units.safetensors`."
    classifier, card = packaged("shipped-units") if weights is None else load_checkpoint(path)
    if card.task != UNITS:
        raise MienError(
            f"The weights {path.name!r} predict classes ({', '.join(card.classes)}), not action units.",
            "weights for action units.",
            f"`--weights {path}` to predict classes with them; or {train}",
        )
    try:
        units = tuple(int(name.removeprefix("AU")) for name in card.classes)
    except ValueError:
        raise MienError(
            f"The weights {path.name!r} call their units {', '.join(card.classes)}.", "AU1, AU2 and so on.", train
        ) from None
    recipe = _recipe(path, card)
    aucs = {unit: measured_auc(card, unit) for unit in units}
    shown = [unit for unit, auc in aucs.items() if all_units or auc is None or auc >= LEAST_AUC]
    return UnitReader(path, classifier, card, recipe, units, tuple(sorted(shown)))


def _recipe(path: Path, card: ModelCard) -> Recipe:
    system = system_named(card.system)
    recipe = system.recipe("frames", dict(card.parameters)) if "frames" in system.recipes else None
    names = [step.name for step in recipe.steps] if recipe else []
    if recipe is None or names[:1] != ["onset_apex_pair"] or "flow_of_pair" not in names or recipe.shape != card.shape:
        raise MienError(
            f"The weights {path.name!r} of {card.system} do not read one flow picture from onset to apex.",
            "weights for action units of a system that does.",
            "`--system flow-kernels`, or `--system strcn-g --set preset=pictures`, in `mien train`.",
        )
    return recipe


def measured_auc(card: ModelCard, unit: int) -> float | None:
    """Return the AUC of a unit on the clips that the card was scored on; None if it was not measured."""
    auc = card.score.get("per_au", {}).get(f"AU{unit}", {}).get("auc")
    return None if auc is None else float(auc)


def half_strengths(motion: SkinMotion, units: Sequence[int]) -> list[tuple[float, float]]:
    """Measure how far the skin of each unit moved, on the person's left and right half of the face.

    Args:
        motion: The motion of the skin.
        units: FACS numbers. The skin of a unit that no synthetic face can show is the whole half of the face.

    Returns:
        Left and right of each unit, in distances between the eyes, >= 0.
    """
    smooth = cv2.GaussianBlur(motion.flow, (0, 0), _SMOOTHING * motion.iod)
    length = np.hypot(smooth[..., 0], smooth[..., 1]) / motion.iod
    shape = length.shape[0], length.shape[1]
    return [
        tuple(float(length[part].max()) if part.any() else 0.0 for part in _parts(unit, motion, shape))  # type: ignore[misc]
        for unit in units
    ]


def _parts(unit: int, motion: SkinMotion, shape: tuple[int, int]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where the skin of a unit is, (H, W) for the person's left and right half."""
    if f"AU{unit}" not in action_units():
        middle = motion.points[27:31, 0].mean()
        left = np.broadcast_to(np.arange(shape[1]) > middle, shape)
        return left, ~left
    reach: Mapping[str, NDArray[Any]] = {"L": np.zeros(shape), "R": np.zeros(shape)}
    for (side, _), field in unit_fields(f"AU{unit}", motion.points, shape).items():
        reach[side][...] += np.hypot(field[..., 0], field[..., 1])
    left, right = (reach[side] >= _PART * max(float(reach[side].max()), 1e-9) for side in "LR")
    return left, right


def side_of(left: float, right: float) -> UnitSide:
    """Return which side moved, from the motion of the person's left and right half.

    Example:
        >>> side_of(0.02, 0.004), side_of(0.02, 0.015)
        ('left', 'both')
    """
    if left >= ONE_SIDED * right and left > 0:
        return "left"
    return "right" if right >= ONE_SIDED * left and right > 0 else "both"
