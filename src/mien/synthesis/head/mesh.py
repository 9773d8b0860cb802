"""The vendored head mesh: vertices, triangles, shape targets, facial actions and eyeballs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load
from scipy import sparse

Floats = NDArray[np.float32]
Whole = NDArray[np.int64]

_UNIT: Final = 0.01  # millimetres per step of the stored displacements
_RINGS, _AROUND, _OPENING = 14, 28, 105.0  # rings, points per ring, and greatest angle from the axis of an eyeball


@dataclass(frozen=True, slots=True, eq=False)
class HeadMesh:
    """The base mesh and the displacements that can be added. Millimetres; x to the person's left, y up, z forward.

    Attributes:
        vertices: (V, 3) of the base mesh.
        triangles: (M, 3) corners, anticlockwise seen from outside; the two eyeballs come last.
        part: (V + E,) 0 for skin, 1 for teeth, 2 for eyeballs.
        masks: (V,) membership 0..1 of each vertex in "lips", "lids", "ears" and "mouth" (its inside).
        eyes: Vertices of the base mesh that mark the right and the left eyeball.
        bases: (B, V, 3) displacement of each base of sex, age, origin and weight.
        base_names: Names of the bases, such as "asian-female-old".
        shapes: (S, V * 3) sparse displacements of the shape targets.
        shape_names: Names of the shape targets, such as "nose-hump-incr".
        actions: (A, V * 3) sparse displacements of the facial actions at full intensity.
        action_names: Names of the actions, as in ARKit; left and right are the person's own.
        gaze: Yaw and pitch in degrees by which an eye turns with each action of looking.
        landmarks: (68,) vertices of the iBUG 300-W landmarks.
        ball: (E, 3) unit vectors from the centre of an eyeball, for both eyes; z forward.
    """

    vertices: Floats
    triangles: Whole
    part: NDArray[np.uint8]
    masks: dict[str, Floats]
    eyes: tuple[Whole, Whole]
    bases: Floats
    base_names: tuple[str, ...]
    shapes: Any
    shape_names: tuple[str, ...]
    actions: Any
    action_names: tuple[str, ...]
    gaze: dict[str, tuple[float, float]]
    landmarks: Whole
    ball: Floats


@cache
def head_mesh() -> HeadMesh:
    """Read the vendored head mesh, once. Source and licence: NOTICE in the same folder."""
    data = (resources.files("mien.synthesis.head") / "head.safetensors").read_bytes()
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    names, tensors = json.loads(metadata["names"]), load(data)
    vertices = tensors["vertices"]
    n = len(vertices)
    high, low = tensors["dense"].astype(np.uint16)  # bytes of numbers of 16 bits: apart, they compress better

    def rows(kind: str) -> Any:
        start, index = tensors[f"{kind}_start"], tensors[f"{kind}_index"].astype(np.int64)
        columns = (index[:, None] * 3 + np.arange(3)).ravel()
        values = tensors[f"{kind}_moved"].astype(np.float32).ravel() * np.float32(_UNIT)
        return sparse.csr_array((values, columns, start * 3), shape=(len(start) - 1, n * 3))

    ball, faces = _eyeball()
    eyeballs = [faces + n + i * len(ball) for i in (0, 1)]
    return HeadMesh(
        vertices=vertices,
        triangles=np.concatenate([tensors["triangles"].astype(np.int64), *eyeballs]),
        part=np.concatenate([tensors["part"], np.full(2 * len(ball), 2, np.uint8)]),
        masks={
            name: mask.astype(np.float32) / 255 for name, mask in zip(names["masks"], tensors["masks"], strict=True)
        },
        eyes=(tensors["right_eye"].astype(np.int64), tensors["left_eye"].astype(np.int64)),
        bases=(high << 8 | low).view(np.float16).astype(np.float32),
        base_names=tuple(names["dense"]),
        shapes=rows("shapes"),
        shape_names=tuple(names["shapes"]),
        actions=rows("actions"),
        action_names=tuple(names["actions"]),
        gaze={name: (yaw, pitch) for name, (yaw, pitch) in json.loads(metadata["gaze"]).items()},
        landmarks=tensors["landmarks"].astype(np.int64),
        ball=np.concatenate([ball, ball]),
    )


def _eyeball() -> tuple[Floats, Whole]:
    """Return unit vectors of the front of a sphere in rings around its axis, and its triangles."""
    angle = np.radians(_OPENING) * (np.arange(1, _RINGS + 1) / _RINGS)[:, None]
    turn = 2 * np.pi * np.arange(_AROUND) / _AROUND
    ring = np.stack([np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle) + 0 * turn], -1)
    points = np.concatenate([[[0, 0, 1]], ring.reshape(-1, 3)])
    here = np.arange(_AROUND)
    there = (here + 1) % _AROUND
    faces = [np.column_stack([0 * here, here + 1, there + 1])]
    for i in range(_RINGS - 1):
        a, b = 1 + i * _AROUND, 1 + (i + 1) * _AROUND
        faces += [np.column_stack([a + here, b + here, b + there]), np.column_stack([a + here, b + there, a + there])]
    return points.astype(np.float32), np.concatenate(faces)
