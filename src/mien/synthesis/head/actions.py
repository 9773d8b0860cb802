"""Convert action units to displacements of the vertices."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError, unknown_name
from mien.synthesis.head.mesh import HeadMesh, head_mesh

Floats = NDArray[np.float32]
Halves = tuple[float, float]

GREATEST: Final = 1.5
"""Greatest amount of an action or unit; amounts above 1 are more than most people can do."""

_MIDDLE: Final = 12.0  # distance from the midline, in millimetres, beyond which only one half acts


@cache
def unit_table() -> dict[str, dict[str, Any]]:
    """Return, for each action unit ("AU1", ...), its FACS name and its facial actions with weights."""
    return tomllib.loads((resources.files("mien.synthesis.head") / "actions.toml").read_text(encoding="utf-8"))


def head_units() -> tuple[str, ...]:
    """Return the names of the action units that the head can show.

    Example:
        >>> "AU12" in head_units()
        True
    """
    return tuple(unit_table())


def head_actions() -> tuple[str, ...]:
    """Return the names of the facial actions, as in ARKit; left and right are the person's own.

    Example:
        >>> "jawOpen" in head_actions()
        True
    """
    return head_mesh().action_names


@cache
def movements() -> tuple[dict[str, int], Floats]:
    """Return the displacements of all units and actions, separately for the two halves of the face.

    Returns:
        The row of the right half of each name (the left half is the next row), and the displacements (rows, V * 3) in
        millimetres at full intensity. The sum of both halves is the whole movement.
    """
    mesh = head_mesh()
    share = np.clip(mesh.vertices[:, 0] / (2 * _MIDDLE) + 0.5, 0, 1)
    left = np.repeat(share * share * (3 - 2 * share), 3).astype(np.float32)
    halves: dict[str, list[Floats]] = {}
    for name in mesh.action_names:
        moved = _moved(mesh, name)
        nothing = np.zeros_like(moved)
        if name.endswith("Left"):
            halves[name] = [nothing, moved]
        elif name.endswith("Right"):
            halves[name] = [moved, nothing]
        else:
            halves[name] = [moved * (1 - left), moved * left]
    for unit, entry in unit_table().items():
        total = [np.zeros(len(left), np.float32), np.zeros(len(left), np.float32)]
        for name, weight in entry["actions"].items():
            if f"{name}Left" in mesh.action_names:
                pair = [_moved(mesh, f"{name}Right"), _moved(mesh, f"{name}Left")]
            else:
                moved = _moved(mesh, name)
                pair = [moved * (1 - left), moved * left]
            total = [so_far + np.float32(weight) * part for so_far, part in zip(total, pair, strict=True)]
        halves[unit] = total
    index = {name: 2 * i for i, name in enumerate(halves)}
    return index, np.concatenate([np.stack(pair) for pair in halves.values()])


def _moved(mesh: HeadMesh, name: str) -> Floats:
    if name in mesh.action_names:
        return np.asarray(mesh.actions[[mesh.action_names.index(name)]].toarray()[0], np.float32)
    return np.asarray(mesh.shapes[[mesh.shape_names.index(name)]].toarray()[0], np.float32)


def moved_vertices(amounts: Mapping[str, float | Halves]) -> Floats:
    """Compute the displacement of the vertices.

    Args:
        amounts: Amounts of action units ("AU12") or single actions ("jawOpen"): one number for both halves of the face,
            or a pair for the person's right and left half. 0 to `GREATEST`; 1 is full intensity.

    Returns:
        (V, 3) in millimetres.

    Raises:
        MienError: A unit or action is unknown, or an amount is out of range.

    Example:
        >>> float(moved_vertices({}).max())
        0.0
    """
    index, rows = movements()
    weights = np.zeros(len(rows), np.float32)
    for name, amount in amounts.items():
        if name not in index:
            raise unknown_name("action unit or facial action", name, index, "mien.synthesis.head.head_units()")
        right, left = amount if isinstance(amount, tuple) else (amount, amount)
        if not (0 <= right <= GREATEST and 0 <= left <= GREATEST):
            raise MienError(
                f"{name} has the amount {amount}.",
                f"0 (nothing) to 1 (the greatest movement), at most {GREATEST:g}; a micro-expression has 0.05 to 0.3.",
                f"`{{{name!r}: 0.2}}`.",
            )
        weights[index[name]], weights[index[name] + 1] = right, left
    used = np.flatnonzero(weights)
    return np.asarray((weights[used] @ rows[used]).reshape(-1, 3), np.float32)
