"""The attention face mesh: a network that locates 478 points on one face in a square picture."""

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
from mien.motion.levels import as_bytes

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

SIDE: Final = 192
"""Width and height in pixels of the network's input."""

POINTS: Final = 478
"""Number of points: 468 of the mesh, then 5 of each iris, the one on the left of the picture first."""

_CHUNK: Final = 8
"""Pictures per batch of the network. Larger batches need more memory and, being too large for the cache, are slower."""

_REGION_SIDE: Final = 16
"""Width and height, in pixels of the feature map, of the features cut out for a region."""

_LOCAL_SIDE: Final = 64
"""Width and height of a region, in the unit of its points."""

_REGION_MARGIN: Final = 1.5
"""Size of a region relative to the rectangle around its points."""


class FaceMesh(nn.Module):
    """The face mesh network with attention: a coarse mesh, then a refinement of the lips and of each eye.

    Source: Grishchenko et al., "Attention Mesh: high-fidelity face mesh prediction in real-time", 2020. The structure
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
        """Compute the points and whether there is a face.

        Args:
            x: (B, 3, 192, 192) RGB, 0..1.

        Returns:
            (B, 478, 2) points in pixels, x then y, and (B,) presence of a face before the logistic function.
        """
        features = self.fine(self.stem(F.pad(x, (0, 1, 0, 1))))
        deep = self.trunk(features)
        coarse = self.mesh(deep).reshape(-1, 468, 3)[..., :2]
        points = coarse.clone()
        irises = []
        for region in (self.lips, self.left_eye, self.right_eye):
            outline, iris = region(features, coarse)
            points[:, region.indices] = outline
            irises += [] if iris is None else [iris]
        return torch.cat([points, *irises], 1), self.presence(deep).flatten()


class Region(nn.Module):
    """The refinement of one part of the face, on features cut out along its own axes.

    Args:
        n: Number of points of the outline.
        corners: Indices of the two mesh points that are level in the cut-out.
        iris: Whether to predict five points of an iris too.
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

    def forward(self, features: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute the outline (B, n, 2) and the iris (B, 5, 2) in pixels of the picture, x then y.

        Args:
            features: (B, 32, 48, 48) features of the picture.
            coarse: (B, 468, 2) points of the coarse mesh in pixels of the picture.
        """
        centre, x_axis, y_axis = self._rectangle(coarse)
        deep = self.trunk(_cut(features, centre, x_axis, y_axis))
        axes = torch.stack([x_axis, y_axis], 1)

        def in_picture(local: Tensor) -> Tensor:
            return centre[:, None] + (local.reshape(len(local), -1, 2) / _LOCAL_SIDE - 0.5) @ axes

        return in_picture(self.outline(deep)), None if self.iris is None else in_picture(self.iris(deep))

    def _rectangle(self, coarse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the centre and the two sides, as vectors, of the rotated rectangle around the points, times 1.5."""
        level = F.normalize(coarse[:, self.corners[1]] - coarse[:, self.corners[0]], dim=-1)
        upright = torch.stack([-level[:, 1], level[:, 0]], -1)
        rotated = coarse[:, self.indices] @ torch.stack([level, upright], -1)
        low, high = rotated.amin(1), rotated.amax(1)
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
    """Sample the features (B, 32, 16, 16) inside the rectangle bilinearly; pixel centres are at halves."""
    steps = (torch.arange(_REGION_SIDE, device=features.device) + 0.5) / _REGION_SIDE - 0.5
    place = (
        centre[:, None, None] + steps[:, None, None] * y_axis[:, None, None] + steps[:, None] * x_axis[:, None, None]
    )
    return F.grid_sample(features, place * (2 / SIDE) - 1, padding_mode="zeros", align_corners=False)


@dataclass(frozen=True, slots=True)
class Square:
    """A rotated square part of a picture: centre, side in pixels, and angle of its top edge in radians.

    Pixel u of the network's input is (u - 96) side / 192 from the centre, along the rotated axis.
    """

    x: float
    y: float
    side: float
    angle: float = 0.0

    def matrix(self) -> NDArray[np.float64]:
        """Return the affine matrix (2, 3) from pixels of the square to pixels of the picture."""
        scale = self.side / SIDE
        c, s = scale * math.cos(self.angle), scale * math.sin(self.angle)
        middle = SIDE / 2
        return np.array([[c, -s, self.x - middle * (c - s)], [s, c, self.y - middle * (s + c)]])

    def cut(self, picture: Picture) -> Picture:
        """Cut the square out of an RGB or grey picture as (192, 192, 3). Outside the picture its border is repeated."""
        size, flags = (SIDE, SIDE), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cut = cv2.warpAffine(picture, self.matrix(), size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(cut if cut.ndim == 3 else np.repeat(cut[..., None], 3, 2), np.uint8)


def square_of_face(face: Face) -> Square:
    """Return the square for the mesh of a detected face: level with its eyes, 1.5 times the size of its box."""
    centre, eye_to_eye = (face.box[:2] + face.box[2:]) / 2, face.keypoints[1] - face.keypoints[0]
    return Square(float(centre[0]), float(centre[1]), 1.5 * face.size, math.atan2(eye_to_eye[1], eye_to_eye[0]))


def square_of_points(points: Floats) -> Square:
    """Return the square around a mesh (478, 2): level with the outer corners of its eyes, 1.5 times its size."""
    low, high = points[:468].min(0), points[:468].max(0)
    centre, eye_to_eye = (low + high) / 2, points[263] - points[33]
    side = 1.5 * float((high - low).max())
    return Square(float(centre[0]), float(centre[1]), side, math.atan2(eye_to_eye[1], eye_to_eye[0]))


@functools.cache
def _network(device: str) -> FaceMesh:
    return with_weights(FaceMesh(), "face_mesh", device)


def find_mesh(frames: Sequence[Picture], squares: Sequence[Square], *, device: str = "cpu") -> tuple[Floats, Floats]:
    """Locate the mesh in one square of each of several pictures.

    Args:
        frames: N pictures (H, W, 3) RGB or (H, W) grey; uint8, uint16, or floating point in 0..1 or 0..255 (see
            `mien.motion.levels.as_levels`).
        squares: The square to search in each picture.
        device: Where the network runs: "cpu", "cuda", ...

    Returns:
        (N, 478, 2) points in pixels, x then y, and (N,) presence of a face, 0..1. Where presence is low, the points are
        meaningless.

    Raises:
        MienError: Pictures on another scale.

    Example:
        >>> from mien.face.mesh import Square, find_mesh
        >>> from mien.face.portrait import portrait
        >>> points, presence = find_mesh([portrait()], [Square(x=160, y=110, side=150)])
        >>> points.shape, presence.shape
        ((1, 478, 2), (1,))

    Source: see `FaceMesh`.
    """
    pictures = as_bytes(*frames)
    local, presences = [], []
    for start in range(0, len(pictures), _CHUNK):
        part = slice(start, start + _CHUNK)
        cuts = np.stack([square.cut(picture) for picture, square in zip(pictures[part], squares[part], strict=True)])
        with torch.inference_mode():
            batch = torch.from_numpy(cuts).to(device).permute(0, 3, 1, 2).float().div_(255)
            points, presence = _network(device)(batch)
            local.append(points.double().cpu().numpy())
            presences.append(torch.sigmoid(presence).cpu().numpy())
    matrices = np.stack([square.matrix() for square in squares])
    in_picture = np.concatenate(local) @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2]
    return in_picture.astype(np.float32), np.concatenate(presences).astype(np.float32)
