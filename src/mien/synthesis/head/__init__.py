"""A three-dimensional head with exactly known motion: random people, light, camera and pose."""

from mien.synthesis.head.actions import head_actions, head_units
from mien.synthesis.head.identity import Identity, mean_identity, random_identity
from mien.synthesis.head.light import Light
from mien.synthesis.head.scene import Camera, Head, Pose, State

__all__ = [
    "Camera", "Head", "Identity", "Light", "Pose", "State", "head_actions", "head_units", "mean_identity",
    "random_identity",
]  # fmt: skip
