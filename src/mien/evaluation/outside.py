"""What a run requires of a system that is not this package's own, before anything is trained and while it is."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mien.classifiers.base import Classifier, Clips, Progress
from mien.errors import MienError
from mien.preprocessing import Recipe
from mien.preprocessing.base import Array, Context, Step
from mien.registry import Origin, failed_plug_in, origin_of
from mien.systems import SYSTEMS
from mien.systems.base import System
from mien.systems.of_estimator import EstimatorBuild, FixedRecipe
from mien.types import Clip, Medium

TRIED = 3
"""Clips of each medium whose input is made to see that it is as declared; more than one, since a clip can be bad."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The system of a run.

    Attributes:
        system: The system; failures of one from outside are reported as those of its package.
        origin: Where one from outside was defined; None for this package's own.
        record: What run.json says of that: package, version, and what was asked for. Empty for this package's own.
    """

    system: System
    origin: Origin | None
    record: Mapping[str, str]


def choose_system(given: object) -> Chosen:
    """Return the system of a name, an import path `package.module:attribute`, or the system itself.

    Raises:
        MienError: There is none, its plug-in fails, it is no system, or it has the name of another.
    """
    if isinstance(given, str):
        found = SYSTEMS.get(given)
        if given in SYSTEMS.builtins:
            return Chosen(found, None, {})
        origin = SYSTEMS.origin(given)
        record = {"package": origin.package, "version": origin.version, "given": given}
    elif isinstance(given, System):
        found = given
        if found.name in SYSTEMS.builtins and found is SYSTEMS[found.name]:
            return Chosen(found, None, {})
        origin = _origin_of_object(found)
        record = {"package": origin.package, "version": origin.version, "given": f"an object of {origin.path}"}
    else:
        estimator = callable(getattr(given, "fit", None))
        raise MienError(
            f"{type(given).__name__} from {origin_of(given)} is not a system.",
            "the name of a system, an import path package.module:attribute, or a `mien.systems.System`.",
            f'`mien.systems.estimator_system("mine", {"ESTIMATOR" if estimator else "..."}, recipe="flow-28")`.',
        )
    if found.name in SYSTEMS.builtins:
        raise MienError(
            f"The system from {origin} is called {found.name!r}, as one of this package.",
            "a name of its own, so that reports do not mix them.",
            f'`dataclasses.replace(SYSTEM, name="my-{found.name}")`.',
        )
    if isinstance(found.build, EstimatorBuild):
        record |= {"estimator": _settings_of(found.build.estimator)}
    return Chosen(replace(found, build=GuardedBuild(found.build, found.name, origin)), origin, record)


def check_outside(chosen: Chosen, parameters: Any, n_classes: int, clips: Sequence[Clip]) -> None:
    """Build a system from outside once and make the input of a few clips, so that mistakes show before training.

    Raises:
        MienError: It cannot be built, or its input is not of the shape that its recipe declares.
    """
    if chosen.origin is None:
        return
    chosen.system.build(n_classes, parameters)
    for medium in sorted({clip.medium for clip in clips}):
        origin = _recipe_origin(chosen.system, medium, chosen.origin)
        what = f"The recipe of the system {chosen.system.name!r}"
        try:
            recipe = chosen.system.recipe(medium, parameters)
        except MienError:
            raise
        except Exception as error:
            raise failed_plug_in(what, origin, error) from error
        if (
            not isinstance(recipe, Recipe)
            or len(recipe.axes) != len(recipe.shape)
            or (
                None in recipe.shape and medium != "features"  # their length is that of the file
            )
        ):
            raise MienError(
                f"{what} from {origin} "
                + (
                    f"declares the axes {recipe.axes!r} and the shape {recipe.shape}."
                    if isinstance(recipe, Recipe)
                    else f"is a {type(recipe).__name__}."
                ),
                "a `mien.preprocessing.Recipe` with one letter in `axes` for each number in `shape`.",
                '`Recipe(steps, "CHW", (3, 28, 28), (0.0, 255.0))`.',
            )
        for clip in [c for c in clips if c.medium == medium][:TRIED]:
            if _fits(recipe, clip, what, origin):
                break


def _fits(recipe: Recipe, clip: Clip, what: str, origin: Origin) -> bool:
    """Whether the input of a clip could be made at all; it has to be as the recipe declares."""
    shapes: list[tuple[int, ...]] = []

    def watch(step: Step, array: Array, context: Context) -> None:
        shapes.append(np.shape(array))

    try:
        recipe.apply(clip, watch)
    except Exception as error:
        done = len(shapes)
        if done == len(recipe.steps) and shapes[-1] != recipe.shape:
            raise MienError(
                f"{what} from {origin} declares the shape {recipe.shape} ({recipe.axes}) and makes {shapes[-1]} "
                f"of {clip.key}.",
                "the shape that it declares.",
                f"`shape={shapes[-1]}` in that recipe, or steps that end in {recipe.shape}.",
            ) from None
        step = recipe.steps[min(done, len(recipe.steps) - 1)]
        module = str(getattr(step.function, "__module__", ""))
        if isinstance(error, MienError) or module.partition(".")[0] == "mien":
            return False
        raise failed_plug_in(f"The step {step.name!r} of {what[0].lower()}{what[1:]}", origin, error) from error
    return True


@dataclass(frozen=True)
class GuardedBuild:
    """`System.build` of a system from outside: its failures name its package and file.

    Attributes:
        build: The system's own.
        name: The system's name.
        origin: Where it was defined.
    """

    build: Any
    name: str
    origin: Origin

    def __call__(self, n_classes: int, parameters: Any) -> Classifier:
        """Return an untrained classifier."""
        try:
            made = self.build(n_classes, parameters)
        except MienError:
            raise
        except Exception as error:
            raise failed_plug_in(f"build of the system {self.name!r}", self.origin, error) from error
        if not isinstance(made, Classifier):
            raise MienError(
                f"build of the system {self.name!r} from {self.origin} returned a {type(made).__name__}.",
                "a `mien.classifiers.base.Classifier`.",
                "`mien.classifiers.estimator.EstimatorClassifier(n_classes, ESTIMATOR)` around an estimator.",
            )
        # Folds of networks may be trained together, for which they have to be seen as such; that of an estimator checks
        # its own answers.
        module = sys.modules.get("mien.classifiers.net")
        if isinstance(self.build, EstimatorBuild) or (module is not None and isinstance(made, module.NetClassifier)):
            return made
        return GuardedClassifier(made, n_classes, self.name, self.origin)


class GuardedClassifier(Classifier):
    """A classifier from outside: its failures name its package and file, and what it returns has to be probabilities.

    Args:
        inner: The classifier.
        n_classes: Classes C.
        name: The system's name.
        origin: Where it was defined.
    """

    def __init__(self, inner: Classifier, n_classes: int, name: str, origin: Origin) -> None:
        self._inner, self._n_classes, self._name, self._origin = inner, n_classes, name, origin

    def fit(
        self,
        x: Clips,
        y: NDArray[np.int64],
        groups: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """See `Classifier.fit`."""
        self._inner.state_file = self.state_file
        try:
            self._inner.fit(x, y, groups, seed=seed, progress=progress)
        except MienError:
            raise
        except Exception as error:
            raise failed_plug_in(f"fit of the system {self._name!r}", self._origin, error) from error
        return self

    def predict_proba(self, x: Clips) -> NDArray[np.float32]:
        """See `Classifier.predict_proba`."""
        from mien.classifiers.estimator import require_probabilities

        where = f"predict_proba of the system {self._name!r}"
        try:
            found = self._inner.predict_proba(x)
        except MienError:
            raise
        except Exception as error:
            raise failed_plug_in(where, self._origin, error) from error
        checked = require_probabilities(found, (len(x), self._n_classes), f"{where} from {self._origin}")
        return checked.astype(np.float32)

    def fit_log(self) -> dict[str, Any]:
        """See `Classifier.fit_log`."""
        return self._inner.fit_log()


def _origin_of_object(system: System) -> Origin:
    build = system.build
    defined = build.estimator if isinstance(build, EstimatorBuild) else build
    origin = origin_of(defined)
    kind = defined if hasattr(defined, "__qualname__") else type(defined)
    return replace(origin, path=f"{kind.__module__}.{kind.__qualname__}")


def _recipe_origin(system: System, medium: Medium, origin: Origin) -> Origin:
    """Where a recipe was defined: its function; of a recipe without one, its last step that is not this package's."""
    make = system.recipes[medium]
    if not isinstance(make, FixedRecipe):
        found = origin_of(make)
        return found if Path(found.file).is_file() else origin
    own = [s.function for s in make.recipe.steps if str(s.function.__module__).partition(".")[0] != "mien"]
    return origin_of(own[-1]) if own else origin


def _settings_of(estimator: Any) -> str:
    """An estimator with its settings as text, the same in every process."""
    try:
        text = estimator.__repr__(N_CHAR_MAX=1 << 20)
    except TypeError:
        text = repr(estimator)
    return re.sub(r"\s+", " ", re.sub(r" at 0x[0-9a-fA-F]+", "", text))
