"""Detection of faces in pictures with BlazeFace."""

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
from mien.motion.levels import as_bytes

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

SIDE: Final = 128
"""Width and height in pixels of the network's input."""

_MAYBE: Final = 0.5
"""Minimum score of a box to be considered at all, as in MediaPipe."""

THRESHOLD: Final = 0.7
"""Default minimum score of a face. Faces score about 0.95; lettering and clothes reach 0.67."""

_IN_TILES: Final = 0.8
"""Minimum score in tiles of a picture: many tiles are many chances of a false detection."""

_CHUNK: Final = 64
"""Pictures per batch of the network, to limit memory."""


@dataclass(frozen=True, slots=True)
class Face:
    """A face in a picture. All lengths are in pixels, x then y.

    Attributes:
        box: (4,) x0, y0, x1, y1, from brow to chin and from cheek to cheek; may extend beyond the picture.
        score: Confidence, 0..1.
        keypoints: (6, 2) both eyes (the one on the left of the picture first), tip of the nose, mouth, both ears.
    """

    box: Floats
    score: float
    keypoints: Floats

    @property
    def size(self) -> float:
        """Return the longer side of the box in pixels."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))


class BlazeFace(nn.Module):
    """The short-range face detection network of MediaPipe.

    Source: Bazarevsky et al., "BlazeFace: sub-millisecond neural face detection on mobile GPUs", 2019. The structure is
    that of the released file, which has single blocks only.
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
        """Compute scores and boxes of the 896 anchors.

        Args:
            x: (B, 3, 128, 128) RGB, -1..1.

        Returns:
            (B, 896) scores before the logistic function, and (B, 896, 16) centre, size and six keypoints, each x then
            y, in pixels relative to the anchor.
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
    """Return the centres (896, 2) of the anchors in pixels: two per cell of 8 pixels, six per cell of 16."""
    rows = []
    for cells, per_cell in ((16, 2), (8, 6)):
        y, x = np.mgrid[0:cells, 0:cells]
        centres = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) * (SIDE / cells)
        rows.append(np.repeat(centres, per_cell, axis=0))
    return np.concatenate(rows).astype(np.float32)


@functools.cache
def _network(device: str) -> BlazeFace:
    return with_weights(BlazeFace(), "blazeface", device)


@dataclass(frozen=True, slots=True)
class _Window:
    """A square part of a picture: centre and side in pixels."""

    x: float
    y: float
    side: float

    def cut(self, picture: Picture) -> Picture:
        """Cut the window out as (128, 128, 3); black outside the picture.

        Pixel u of the result is at x + (u - 64) side / 128 in the picture.
        """
        scale = self.side / SIDE
        matrix = np.array([[scale, 0, self.x - self.side / 2], [0, scale, self.y - self.side / 2]])
        cut = cv2.warpAffine(
            picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT
        )
        return np.asarray(cut if cut.ndim == 3 else np.repeat(cut[..., None], 3, 2), np.uint8)


def _whole(height: int, width: int) -> _Window:
    return _Window(width / 2, height / 2, float(max(height, width)))


def _close_up(face: Face) -> _Window:
    x, y = (face.box[:2] + face.box[2:]) / 2
    return _Window(float(x), float(y), 2.5 * face.size)


def _tiles(height: int, width: int) -> list[_Window]:
    """Return overlapping windows for small faces: half the longer side, a quarter, ..., down to the network's size."""
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


def _run_network(cuts: Sequence[Picture], windows: Sequence[_Window], device: str) -> list[list[Face]]:
    """Detect faces in each window, without merging overlapping ones."""
    anchors, network = _anchors(), _network(device)
    detected: list[list[Face]] = []
    for start in range(0, len(cuts), _CHUNK):
        batch = torch.from_numpy(np.stack(cuts[start : start + _CHUNK])).to(device)
        with torch.inference_mode():
            logits, boxes = network(batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1))
            scores = torch.sigmoid(logits)
            hits = scores >= _MAYBE
            picture, anchor = (i.cpu().numpy() for i in torch.nonzero(hits, as_tuple=True))
            values, hit_scores = boxes[hits].cpu().numpy().reshape(-1, 8, 2), scores[hits].cpu().numpy()
        faces: list[list[Face]] = [[] for _ in range(len(batch))]
        for i, a, value, score in zip(picture, anchor, values, hit_scores, strict=True):
            window = windows[start + int(i)]
            place = np.array([window.x, window.y], np.float32)
            scale = np.float32(window.side / SIDE)
            centre = (value[0] + anchors[a] - SIDE / 2) * scale + place
            half = value[1] * scale / 2
            points = (value[2:] + anchors[a] - SIDE / 2) * scale + place
            faces[int(i)].append(Face(np.concatenate([centre - half, centre + half]), float(score), points))
        detected.extend(faces)
    return detected


def _overlap(box: Floats, boxes: Floats) -> Floats:
    """Return the intersection over union of one box (4,) with others (N, 4)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    both = np.prod(np.maximum(high - low, 0), axis=1)
    area = np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return np.asarray(both / np.maximum(area - both, 1e-9), np.float32)


def _merge(faces: Sequence[Face], threshold: float, overlap: float) -> list[Face]:
    """Merge overlapping faces to their mean, weighted by score (BlazeFace, section 3.4), with the best score."""
    rest, merged = sorted(faces, key=lambda face: -face.score), []
    while rest:
        same = _overlap(rest[0].box, np.stack([face.box for face in rest])) > overlap
        same[0] = True
        group = [face for face, is_same in zip(rest, same, strict=True) if is_same]
        weights = np.array([face.score for face in group], np.float32)
        weights /= weights.sum()
        box = np.tensordot(weights, np.stack([face.box for face in group]), 1)
        points = np.tensordot(weights, np.stack([face.keypoints for face in group]), 1)
        merged.append(Face(box.astype(np.float32), group[0].score, points.astype(np.float32)))
        rest = [face for face, is_same in zip(rest, same, strict=True) if not is_same]
    return sorted((face for face in merged if face.score >= threshold), key=lambda face: -face.size)


def detect_faces(
    frames: Picture | Sequence[Picture],
    *,
    threshold: float = THRESHOLD,
    overlap: float = 0.3,
    small: bool = True,
    device: str = "cpu",
) -> list[list[Face]]:
    """Detect the faces in each of several pictures.

    The network first sees each picture whole, as in MediaPipe, which finds faces of at least about a seventh of the
    longer side. A face with a score from 0.5 to `threshold` is then shown to the network again, enlarged, and kept if
    that score reaches `threshold`. Where no face is found, and with `small`, overlapping tiles of a half, a quarter,
    ... of the longer side are searched, down to the network's input of 128 pixels.

    Args:
        frames: (N, H, W, 3) RGB or (N, H, W) grey, or a list of such pictures of different sizes; uint8, uint16, or
            floating point in 0..1 or 0..255 (see `mien.motion.levels.as_levels`).
        threshold: Minimum score of a face, 0.5..1; at least 0.8 in tiles.
        overlap: Boxes with a larger intersection over union than this are merged, 0..1.
        small: Whether to search tiles; it costs one run of the network per tile (34 tiles at 640x360).
        device: Where the network runs: "cpu", "cuda", ...

    Returns:
        For each picture the list of its faces, the largest first; empty where there is none.

    Raises:
        MienError: Pictures on another scale.

    Example:
        >>> from mien.face.detect import detect_faces
        >>> from mien.face.portrait import portrait
        >>> faces = detect_faces([portrait()])[0]
        >>> len(faces), 80 < faces[0].size < 120
        (1, True)

    Source: Bazarevsky et al. 2019; see `BlazeFace`. Enlarging doubtful faces and searching tiles are ours.
    """
    pictures = as_bytes(*frames)
    windows = [_whole(*picture.shape[:2]) for picture in pictures]
    cuts = [window.cut(picture) for window, picture in zip(windows, pictures, strict=True)]
    detected = [_merge(faces, _MAYBE, overlap) for faces in _run_network(cuts, windows, device)]
    doubtful = [(i, face) for i, faces in enumerate(detected) for face in faces if face.score < threshold]
    close_ups = [_close_up(face) for _, face in doubtful]
    cuts = [window.cut(pictures[i]) for window, (i, _) in zip(close_ups, doubtful, strict=True)]
    for (i, face), faces in zip(doubtful, _run_network(cuts, close_ups, device), strict=True):
        same = [f for f in _merge(faces, threshold, overlap) if _overlap(face.box, f.box[None])[0] > overlap]
        detected[i] = sorted([f for f in detected[i] if f is not face] + same[:1], key=lambda face: -face.size)
    for i, picture in enumerate(pictures):
        if small and not detected[i]:
            tiles = _tiles(*picture.shape[:2])
            in_tiles = _run_network([tile.cut(picture) for tile in tiles], tiles, device)
            detected[i] = _merge([f for faces in in_tiles for f in faces], max(threshold, _IN_TILES), overlap)
    return detected
