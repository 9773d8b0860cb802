"""Recipes: ordered lists of steps that turn one clip into the array a system reads."""

from mien.preprocessing.base import Context, Prepared, Recipe, Step
from mien.preprocessing.named import (
    CENTRED_FLOW_PICTURE,
    FLOW_PICTURE,
    RECIPES,
    NamedRecipe,
    flow_from_frames,
    named_recipe,
)

__all__ = [
    "CENTRED_FLOW_PICTURE",
    "FLOW_PICTURE",
    "RECIPES",
    "Context",
    "NamedRecipe",
    "Prepared",
    "Recipe",
    "Step",
    "flow_from_frames",
    "named_recipe",
]
