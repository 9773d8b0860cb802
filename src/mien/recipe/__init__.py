"""Recipes: ordered lists of steps that turn one clip into the array a system reads."""

from mien.recipe.base import Context, Found, Prepared, Recipe, Step
from mien.recipe.named import CENTRED_FLOW_PICTURE, FLOW_PICTURE, RECIPES, NamedRecipe, flow_from_frames, named_recipe

__all__ = [
    "CENTRED_FLOW_PICTURE",
    "FLOW_PICTURE",
    "RECIPES",
    "Context",
    "Found",
    "NamedRecipe",
    "Prepared",
    "Recipe",
    "Step",
    "flow_from_frames",
    "named_recipe",
]
