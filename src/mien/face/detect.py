"""Faces in pictures, with BlazeFace."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mien.face.layers import Block, with_weights

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

SIDE: Final = 128
"""Pixels of the square picture that the network looks at."""

_MAYBE: Final = 0.5
"""Least score of a box that is considered at all, as in MediaPipe."""

THRESHOLD: Final = 0.7
"""Least score of a face when it is well seen; lettering and clothes reach 0.67, faces about 0.95."""

_IN_TILES: Final = 0.8
"""The same among tiles, since many tiles are many chances to be wrong."""

_CHUNK: Final = 64
"""Pictures per pass of the network: bounds memory."""


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one picture, all lengths in pixels, x then y.

    Attributes:
        box: (4,) x0, y0, x1, y1: from brow to chin and from cheek to cheek; may reach beyond the picture.
        score: 0..1.
        keypoints: (6, 2) eye, eye (image-left first), tip of the nose, mouth, ear, ear.
    """

    box: Floats
    score: float
    keypoints: Floats

    @property
    def size(self) -> float:
        """The longer side of the box in pixels."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))


class BlazeFace(nn.Module):
    """The short-range face detector of MediaPipe, for 128x128 pictures.

    Source: Bazarevsky et al., "BlazeFace: sub-millisecond neural face detection on mobile GPUs", 2019; the structure
    is that of the released file, which has single blocks only.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 5, 2)
        fine = (24, 24, 28, 32, 36, 42, 48, 56, 64, 72, 80, 88)
        coarse = (88, 96, 96, 96, 96, 96)
        self.fine = nn.Sequential(*_blocks(fine, halving=(2, 5)))
        self.coarse = nn.Sequential(*_blocks(coarse, halving=(0,)))
        self.fine_scores, self.coarse_scores = nn.Conv2d(88, 2, 1), nn.Conv2d(96, 6, 1)
        self.fine_boxes, self.coarse_boxes = nn.Conv2d(88, 2 * 16, 1), nn.Conv2d(96, 6 * 16, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and boxes of the 896 anchors.

        Args:
            x: (B, 3, 128, 128) RGB, -1..1.

        Returns:
            (B, 896) scores before the logistic function; (B, 896, 16) centre, size and six points, each x then y, in
            pixels relative to the anchor.
        """
        fine = self.fine(F.relu_(self.stem(F.pad(x, (1, 2, 1, 2)))))
        coarse = self.coarse(fine)
        scores = [_rows(self.fine_scores(fine), 1), _rows(self.coarse_scores(coarse), 1)]
        boxes = [_rows(self.fine_boxes(fine), 16), _rows(self.coarse_boxes(coarse), 16)]
        return torch.cat(scores, 1)[..., 0], torch.cat(boxes, 1)


def _blocks(widths: Sequence[int], halving: Sequence[int]) -> list[Block]:
    return [Block(a, b, 2 if i in halving else 1, parametric=False) for i, (a, b) in enumerate(pairwise(widths))]


def _rows(x: Tensor, columns: int) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, columns)


def _anchors() -> Floats:
    """(896, 2) centres of the anchors in pixels: two on each cell of 8 pixels, six on each of 16."""
    rows = []
    for cells, each in ((16, 2), (8, 6)):
        y, x = np.mgrid[0:cells, 0:cells]
        centres = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) * (SIDE / cells)
        rows.append(np.repeat(centres, each, axis=0))
    return np.concatenate(rows).astype(np.float32)


@functools.cache
def _network(device: str) -> BlazeFace:
    return with_weights(BlazeFace(), "blazeface", device)


@dataclass(frozen=True, slots=True)
class _Window:
    """A square part of a picture, in pixels: centre and side."""

    x: float
    y: float
    side: float

    def look(self, picture: Picture) -> Picture:
        """(128, 128, 3), black beyond the picture; the network's pixel u lies at x + (u - 64) side / 128."""
        scale = self.side / SIDE
        matrix = np.array([[scale, 0, self.x - self.side / 2], [0, scale, self.y - self.side / 2]])
        seen = cv2.warpAffine(
            picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT
        )
        return np.asarray(seen if seen.ndim == 3 else np.repeat(seen[..., None], 3, 2), np.uint8)


def _whole(height: int, width: int) -> _Window:
    return _Window(width / 2, height / 2, float(max(height, width)))


def _near(face: Face) -> _Window:
    x, y = (face.box[:2] + face.box[2:]) / 2
    return _Window(float(x), float(y), 2.5 * face.size)


def _tiles(height: int, width: int) -> list[_Window]:
    """Overlapping windows for small faces: half of the longer side, a quarter and so on, down to the network's size."""
    tiles: list[_Window] = []
    side = max(height, width) / 2
    while side >= SIDE:
        rows, columns = (max(1, math.ceil((length - side) / (side / 2)) + 1) for length in (height, width))
        for y in _centres(height, side, rows):
            tiles.extend(_Window(x, y, side) for x in _centres(width, side, columns))
        side /= 2
    return tiles


def _centres(length: int, side: float, n: int) -> list[float]:
    if n == 1:
        return [length / 2]
    return [float(c) for c in np.linspace(side / 2, length - side / 2, n)]


def _ask(looks: Sequence[Picture], windows: Sequence[_Window], device: str) -> list[list[Face]]:
    """Faces in each window, before overlapping ones are merged."""
    anchors, network = _anchors(), _network(device)
    found: list[list[Face]] = []
    for start in range(0, len(looks), _CHUNK):
        batch = torch.from_numpy(np.stack(looks[start : start + _CHUNK])).to(device)
        with torch.inference_mode():
            logits, boxes = network(batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1))
            scores = torch.sigmoid(logits)
            hits = scores >= _MAYBE
            picture, anchor = (i.cpu().numpy() for i in torch.nonzero(hits, as_tuple=True))
            values, sure = boxes[hits].cpu().numpy().reshape(-1, 8, 2), scores[hits].cpu().numpy()
        faces: list[list[Face]] = [[] for _ in range(len(batch))]
        for i, a, value, score in zip(picture, anchor, values, sure, strict=True):
            window = windows[start + int(i)]
            place = np.array([window.x, window.y], np.float32)
            scale = np.float32(window.side / SIDE)
            centre = (value[0] + anchors[a] - SIDE / 2) * scale + place
            half = value[1] * scale / 2
            points = (value[2:] + anchors[a] - SIDE / 2) * scale + place
            faces[int(i)].append(Face(np.concatenate([centre - half, centre + half]), float(score), points))
        found.extend(faces)
    return found


def _overlap(box: Floats, boxes: Floats) -> Floats:
    """Intersection over union of one box (4,) with others (N, 4)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    both = np.prod(np.maximum(high - low, 0), axis=1)
    area = np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return np.asarray(both / np.maximum(area - both, 1e-9), np.float32)


def _merge(faces: Sequence[Face], threshold: float, overlap: float) -> list[Face]:
    """Overlapping faces as one each, their mean weighted by score (BlazeFace, section 3.4); the best score stays."""
    left, merged = sorted(faces, key=lambda face: -face.score), []
    while left:
        same = _overlap(left[0].box, np.stack([face.box for face in left])) > overlap
        same[0] = True
        group = [face for face, one in zip(left, same, strict=True) if one]
        weights = np.array([face.score for face in group], np.float32)
        weights /= weights.sum()
        box = np.tensordot(weights, np.stack([face.box for face in group]), 1)
        points = np.tensordot(weights, np.stack([face.keypoints for face in group]), 1)
        merged.append(Face(box.astype(np.float32), group[0].score, points.astype(np.float32)))
        left = [face for face, one in zip(left, same, strict=True) if not one]
    return sorted((face for face in merged if face.score >= threshold), key=lambda face: -face.size)


def detect_faces(
    frames: Picture | Sequence[Picture],
    *,
    threshold: float = THRESHOLD,
    overlap: float = 0.3,
    small: bool = True,
    device: str = "cpu",
) -> list[list[Face]]:
    """The faces in each of several pictures, the largest first.

    Each picture is first looked at whole, as MediaPipe does; this finds faces of about a seventh of the longer side
    and more. A doubtful one, with a score from 0.5 to `threshold`, is looked at again from near, and taken as seen from
    there if it is then beyond doubt. Where nothing is found, `small` has the picture looked at in overlapping tiles of
    a half, a quarter, ... of the longer side, down to the network's own 128 pixels.

    Args:
        frames: (N, H, W, 3) RGB or (N, H, W) grey, 0..255; a list may mix sizes.
        threshold: Least score of a face that is well seen, 0.5..1; 0.8 at least in tiles.
        overlap: Boxes whose intersection is a larger part of their union than this are one face, 0..1.
        small: Whether to take the second look; it costs one pass per tile (34 at 640x360).
        device: Where the network runs: "cpu", "cuda", ...

    Returns:
        One list for each picture, empty where there is no face.
    """
    windows = [_whole(*frame.shape[:2]) for frame in frames]
    looks = [window.look(frame) for window, frame in zip(windows, frames, strict=True)]
    found = [_merge(faces, _MAYBE, overlap) for faces in _ask(looks, windows, device)]
    doubtful = [(i, face) for i, faces in enumerate(found) for face in faces if face.score < threshold]
    near = [_near(face) for _, face in doubtful]
    closer = _ask([window.look(frames[i]) for window, (i, _) in zip(near, doubtful, strict=True)], near, device)
    for (i, face), again in zip(doubtful, closer, strict=True):
        same = [one for one in _merge(again, threshold, overlap) if _overlap(face.box, one.box[None])[0] > overlap]
        found[i] = sorted([f for f in found[i] if f is not face] + same[:1], key=lambda face: -face.size)
    for i, frame in enumerate(frames):
        if small and not found[i]:
            tiles = _tiles(*frame.shape[:2])
            inside = [face for faces in _ask([t.look(frame) for t in tiles], tiles, device) for face in faces]
            found[i] = _merge(inside, max(threshold, _IN_TILES), overlap)
    return found
