"""Short films of a drawn face with known expressions, and weights trained in seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.classifiers.checkpoint import ModelCard, save_checkpoint, versions
from mien.datasets import open_specs
from mien.evaluation.train import train
from mien.synthesis.drawn_face import draw_face, features_of
from mien.synthesis.moving_face import motion_of
from mien.synthesis.writer import write_corpus

Picture = NDArray[np.uint8]
Part = tuple[int, int, int, str]
"""Onset, apex, offset and emotion."""


def film(
    identity: int, n: int, parts: Sequence[Part], side: int = 220, size: tuple[int, int] = (240, 320), seed: int = 0
) -> Iterator[Picture]:
    """Yield (H, W) grey frames of a face that moves only during its expressions, with sensor noise."""
    rng = np.random.default_rng([identity, seed])
    still = draw_face(features_of(identity), side) @ np.array([0.299, 0.587, 0.114], np.float32)
    top, left = size[0] - side, (size[1] - side) // 2
    fields = []
    for *_, shown in parts:
        moved = motion_of(identity, shown, interval_length=3, apex=1, size=side, seed=1)[1]
        fields.append((moved - moved[0, 0]).astype(np.float32))
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).astype(np.float32)
    for t in range(n):
        source = grid
        for (onset, apex, offset, _), field in zip(parts, fields, strict=True):
            if onset < t < offset:
                share = (t - onset) / (apex - onset) if t <= apex else (offset - t) / (offset - apex)
                source = source - field * np.float32(0.5 - 0.5 * np.cos(np.pi * share))
        face = cv2.remap(still, source[..., 0], source[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        frame = np.full(size, 130, np.float32)
        frame[top:, left : left + side] = face
        frame += 1.2 * rng.standard_normal(size, np.float32)
        yield np.clip(frame + 0.5, 0, 255).astype(np.uint8)


def trained_weights(folder: Path) -> Path:
    """A small strcn-g trained on synthetic faces in CASME II's layout."""
    write_corpus("casme2", folder / "corpus", subjects=8, clips_per_subject=6, seed=3)
    out = folder / "weights.safetensors"
    train(
        open_specs([f"casme2={folder / 'corpus'}"]), "strcn-g", out, labels="megc2019",
        parameters={"preset": "pictures", "flow": "dis", "maps": "12", "epochs": "30"}, jobs=1,
    )  # fmt: skip
    return out


def chance_weights(path: Path, shape: tuple[int, ...] = (3, 28, 28)) -> Path:
    """Write a network trained on noise, for tests that do not depend on correct classes."""
    from mien.systems import system

    parameters = system("strcn-g").with_parameters({"maps": "4", "epochs": "1", "flow": "dis"})
    classifier = system("strcn-g").build(3, parameters)
    x = np.random.default_rng(0).standard_normal((6, *shape)).astype(np.float32)
    classifier.fit(x, np.arange(6) % 3, [("noise", str(n)) for n in range(6)])
    card = ModelCard(
        "strcn-g", parameters.model_dump(mode="json"), ("negative", "positive", "surprise"), "megc2019",
        ({"dataset": "noise", "clips": 6, "subjects": 6, "synthetic": True},), {"flow": "0"}, shape, 0,
        versions=versions(),
    )  # fmt: skip
    save_checkpoint(path, classifier, card)
    return path
