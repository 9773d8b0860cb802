"""The attention face mesh: 478 points on one face in a square picture of it."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mien.face.detect import Face
from mien.face.layers import Block, with_weights

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

SIDE: Final = 192
"""Pixels of the square picture that the network looks at."""

POINTS: Final = 478
"""468 points of the mesh, then 5 of each iris, image-left first."""

_CHUNK: Final = 8
"""Pictures per pass of the network: more leave the processor's cache and are slower, besides the memory."""

_REGION_SIDE: Final = 16
"""Pixels of the features cut out for a region."""

_LOCAL_SIDE: Final = 64
"""The same side in the units of the region's own points."""

_REGION_MARGIN: Final = 1.5


class FaceMesh(nn.Module):
    """The face mesh with attention: a rough mesh, then a closer look at the lips and at each eye.

    Source: Grishchenko et al., "Attention Mesh: high-fidelity face mesh prediction in real-time", 2020; the structure
    is that of MediaPipe's released file.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.PReLU(16))
        self.fine = nn.Sequential(Block(16, 16), Block(16, 16), Block(16, 32, 2))
        self.trunk = nn.Sequential(
            *(Block(32, 32), Block(32, 32)),
            *(Block(32, 64, 2), Block(64, 64), Block(64, 64)),
            *(Block(64, 128, 2), Block(128, 128), Block(128, 128)),
            *(Block(128, 128, 2), Block(128, 128), Block(128, 128)),
            *(Block(128, 128, 2), Block(128, 128), Block(128, 128)),
            *(nn.Conv2d(128, 32, 1), nn.PReLU(32), Block(32, 32)),
        )
        self.mesh, self.presence = nn.Conv2d(32, 468 * 3, 3), nn.Conv2d(32, 1, 3)
        self.lips = Region(80, corners=(61, 291), iris=False)
        self.left_eye = Region(71, corners=(33, 133), iris=True)
        self.right_eye = Region(71, corners=(362, 263), iris=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Points and presence.

        Args:
            x: (B, 3, 192, 192) RGB, 0..1.

        Returns:
            (B, 478, 2) pixels of the picture, x then y; (B,) whether there is a face, before the logistic function.
        """
        features = self.fine(self.stem(F.pad(x, (0, 1, 0, 1))))
        deep = self.trunk(features)
        rough = self.mesh(deep).reshape(-1, 468, 3)[..., :2]
        points = rough.clone()
        irises = []
        for region in (self.lips, self.left_eye, self.right_eye):
            outline, iris = region(features, rough)
            points[:, region.indices] = outline
            irises += [] if iris is None else [iris]
        return torch.cat([points, *irises], 1), self.presence(deep).flatten()


class Region(nn.Module):
    """A closer look at one part of the face, cut from the features along its own axes.

    Args:
        n: Points of the outline.
        corners: Mesh points whose connection is level in the cut-out.
        iris: Whether five points of an iris come with it.
    """

    indices: Tensor

    def __init__(self, n: int, corners: tuple[int, int], iris: bool) -> None:
        super().__init__()
        self.corners = corners
        self.register_buffer("indices", torch.zeros(n, dtype=torch.int64))
        self.trunk = nn.Sequential(
            *(Block(32, 32), Block(32, 32)),
            *(Block(32, 64, 2), Block(64, 64), Block(64, 64)),
            Block(64, 128, 2),
        )
        self.outline = _head(n)
        self.iris = _head(5) if iris else None

    def forward(self, features: Tensor, rough: Tensor) -> tuple[Tensor, Tensor | None]:
        """The outline (B, n, 2) and the iris (B, 5, 2) in pixels of the picture, x then y.

        Args:
            features: (B, 32, 48, 48).
            rough: (B, 468, 2) points of the mesh, pixels of the picture.
        """
        centre, x_axis, y_axis = self._frame(rough)
        deep = self.trunk(_cut(features, centre, x_axis, y_axis))
        axes = torch.stack([x_axis, y_axis], 1)

        def placed(local: Tensor) -> Tensor:
            return centre[:, None] + (local.reshape(len(local), -1, 2) / _LOCAL_SIDE - 0.5) @ axes

        return placed(self.outline(deep)), None if self.iris is None else placed(self.iris(deep))

    def _frame(self, rough: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Centre, and the two sides as vectors, of the tilted rectangle round the points, half as large again."""
        level = F.normalize(rough[:, self.corners[1]] - rough[:, self.corners[0]], dim=-1)
        upright = torch.stack([-level[:, 1], level[:, 0]], -1)
        turned = rough[:, self.indices] @ torch.stack([level, upright], -1)
        low, high = turned.amin(1), turned.amax(1)
        middle, size = (low + high) / 2, (high - low) * _REGION_MARGIN
        return middle[:, :1] * level + middle[:, 1:] * upright, size[:, :1] * level, size[:, 1:] * upright


def _head(n: int) -> nn.Sequential:
    return nn.Sequential(
        *(Block(128, 128), Block(128, 128)),
        *(Block(128, 128, 2), Block(128, 128), Block(128, 128)),
        *(nn.Conv2d(128, 32, 1), nn.PReLU(32), Block(32, 32)),
        nn.Conv2d(32, 2 * n, 2),
    )


def _cut(features: Tensor, centre: Tensor, x_axis: Tensor, y_axis: Tensor) -> Tensor:
    """(B, 32, 16, 16): features inside the rectangle, bilinear, with pixel centres at halves."""
    steps = (torch.arange(_REGION_SIDE, device=features.device) + 0.5) / _REGION_SIDE - 0.5
    place = (
        centre[:, None, None] + steps[:, None, None] * y_axis[:, None, None] + steps[:, None] * x_axis[:, None, None]
    )
    return F.grid_sample(features, place * (2 / SIDE) - 1, padding_mode="zeros", align_corners=False)


@dataclass(frozen=True, slots=True)
class Square:
    """A tilted square part of a picture, in pixels: centre, side, and the angle of its top edge in radians.

    The network's pixel u lies (u - 96) side / 192 from the centre, along the turned axis.
    """

    x: float
    y: float
    side: float
    angle: float = 0.0

    def matrix(self) -> NDArray[np.float64]:
        """(2, 3), from pixels of the square to pixels of the picture."""
        scale = self.side / SIDE
        c, s = scale * math.cos(self.angle), scale * math.sin(self.angle)
        middle = SIDE / 2
        return np.array([[c, -s, self.x - middle * (c - s)], [s, c, self.y - middle * (s + c)]])

    def cut(self, picture: Picture) -> Picture:
        """(192, 192, 3) of an RGB or grey picture; its border goes on beyond it."""
        size, flags = (SIDE, SIDE), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(picture, self.matrix(), size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(seen if seen.ndim == 3 else np.repeat(seen[..., None], 3, 2), np.uint8)


def square_of_face(face: Face) -> Square:
    """Where to look for the mesh of a detected face: level with its eyes, half as large again as its box."""
    middle, across = (face.box[:2] + face.box[2:]) / 2, face.keypoints[1] - face.keypoints[0]
    return Square(float(middle[0]), float(middle[1]), 1.5 * face.size, math.atan2(across[1], across[0]))


def square_of_points(points: Floats) -> Square:
    """Where to look next, given the mesh (478, 2): level with its eyes' outer corners, half as large again."""
    low, high = points[:468].min(0), points[:468].max(0)
    middle, across = (low + high) / 2, points[263] - points[33]
    side = 1.5 * float((high - low).max())
    return Square(float(middle[0]), float(middle[1]), side, math.atan2(across[1], across[0]))


@functools.cache
def _network(device: str) -> FaceMesh:
    return with_weights(FaceMesh(), "face_mesh", device)


def find_mesh(frames: Sequence[Picture], squares: Sequence[Square], *, device: str = "cpu") -> tuple[Floats, Floats]:
    """The mesh in one square of each of several pictures.

    Args:
        frames: N pictures (H, W, 3) RGB or (H, W) grey, 0..255.
        squares: Where to look in each.
        device: Where the network runs: "cpu", "cuda", ...

    Returns:
        (N, 478, 2) points in pixels, x then y; (N,) presence of a face, 0..1. Points without presence mean nothing.
    """
    local, sure = [], []
    for start in range(0, len(frames), _CHUNK):
        part = slice(start, start + _CHUNK)
        cuts = np.stack([square.cut(frame) for frame, square in zip(frames[part], squares[part], strict=True)])
        with torch.inference_mode():
            batch = torch.from_numpy(cuts).to(device).permute(0, 3, 1, 2).float().div_(255)
            points, presence = _network(device)(batch)
            local.append(points.double().cpu().numpy())
            sure.append(torch.sigmoid(presence).cpu().numpy())
    matrices = np.stack([square.matrix() for square in squares])
    placed = np.concatenate(local) @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2]
    return placed.astype(np.float32), np.concatenate(sure).astype(np.float32)
