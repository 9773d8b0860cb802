"""A system made of a scikit-learn estimator and a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mien.classifiers.base import Classifier
from mien.errors import MienError
from mien.preprocessing import FEATURES, FLOW_PICTURE, Recipe, named_recipe
from mien.systems.base import System
from mien.types import Medium


@dataclass(frozen=True)
class EstimatorBuild:
    """Makes the classifier of an estimator; `System.build`."""

    estimator: Any
    flatten: bool = True

    def __call__(self, n_classes: int, parameters: Any) -> Classifier:
        """Return an unfitted classifier."""
        from mien.classifiers.estimator import EstimatorClassifier

        return EstimatorClassifier(n_classes, self.estimator, flatten=self.flatten)


@dataclass(frozen=True)
class FixedRecipe:
    """A recipe without parameters; one of `System.recipes`."""

    recipe: Recipe

    def __call__(self, parameters: Any) -> Recipe:
        """Return the recipe."""
        return self.recipe


def estimator_system(
    name: str,
    estimator: Any,
    *,
    recipe: str | Recipe | System | Mapping[Medium, str | Recipe],
    title: str = "",
    paper: str = "",
    summary: str = "",
    departures: tuple[str, ...] = (),
    flatten: bool = True,
) -> System:
    """Make a system of an estimator or a pipeline as it is, and of a recipe.

    Args:
        name: Its name in reports.
        estimator: Has `fit(X, y)` and `predict_proba(X)`, as scikit-learn's classifiers and pipelines. Each fold fits a
            copy of it.
        recipe: How a clip becomes the input: a name from `mien recipes`, a recipe, a system whose input is used with
            its default parameters, or a recipe for each of "frames" and "flow" (ready flow pictures). "features" takes
            the ready features of a `features` dataset.
        title: Name in print; the estimator's class where it is left out.
        paper: Citation.
        summary: What it does, in one sentence.
        departures: Each difference from the paper.
        flatten: Hand clips to the estimator as (N, D); False leaves the shape of the recipe, (N, ...).

    Returns:
        The system, ready for `benchmark`, or for `register_system`.

    Raises:
        MienError: The estimator has no `fit` or `predict_proba`; the recipe is unknown or leaves its shape to the clip.

    Example:
        >>> from sklearn.linear_model import LogisticRegression
        >>> mine = estimator_system("mine", LogisticRegression(), recipe="flow-28")
        >>> mine.recipe("frames").shape
        (3, 28, 28)
    """
    from mien.classifiers.estimator import require_estimator

    require_estimator(estimator)
    kind = type(estimator).__name__
    recipes = _recipes(recipe)
    for each in recipes.values():
        if None in each.shape and each.steps != FEATURES.steps:
            raise MienError(
                f"The recipe of {name!r} makes inputs of shape {each.shape}: None depends on the clip.",
                "one shape for all clips.",
                '`recipe="flow-28"`, or a recipe with a length.',
            )
    return System(
        name=name,
        title=title or f"{kind} ({name})",
        paper=paper or "none",
        summary=summary or f"{kind} on the input of a recipe",
        departures=departures,
        recipes={medium: FixedRecipe(each) for medium, each in recipes.items()},
        build=EstimatorBuild(estimator, flatten),
    )


def _recipes(given: str | Recipe | System | Mapping[Medium, str | Recipe]) -> dict[Medium, Recipe]:
    if isinstance(given, System):
        return {medium: given.recipe(medium) for medium in given.recipes}
    if isinstance(given, Mapping):
        return {medium: _recipe(each) for medium, each in given.items()}
    made = _recipe(given)
    if made.steps == FEATURES.steps:
        return {"features": made}
    # What begins with reading a ready picture serves those.
    ready = bool(made.steps) and made.steps[0].name == FLOW_PICTURE.steps[0].name
    return {"flow" if ready else "frames": made}


def _recipe(given: str | Recipe) -> Recipe:
    if given == "features":
        return FEATURES
    if isinstance(given, str):
        return named_recipe(given)
    if not isinstance(given, Recipe):
        raise MienError(
            f"{given!r} is not a recipe but a {type(given).__name__}.",
            "a `mien.preprocessing.Recipe`, or the name of one.",
            '`recipe="flow-28"`; `mien recipes` lists them.',
        )
    return given
