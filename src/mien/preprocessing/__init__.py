"""Recipes: ordered lists of steps that turn a clip into the array that a system takes as input."""

from mien.preprocessing.base import Context, Recipe, RecipeOutput, Step
from mien.preprocessing.named import (
    CENTRED_FLOW_PICTURE,
    FEATURES,
    FLOW_PICTURE,
    FLOW_PICTURES,
    RECIPES,
    NamedRecipe,
    flow_from_frames,
    named_recipe,
)

__all__ = [
    "CENTRED_FLOW_PICTURE",
    "FEATURES",
    "FLOW_PICTURE",
    "FLOW_PICTURES",
    "RECIPES",
    "Context",
    "NamedRecipe",
    "Recipe",
    "RecipeOutput",
    "Step",
    "flow_from_frames",
    "named_recipe",
]
