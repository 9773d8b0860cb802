"""A small corpus of ready flow pictures with known classes, in the layouts that `datasets.flow_images` reads."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.datasets.base import table
from mien.datasets.flow_images import Layout
from mien.errors import MienError
from mien.motion.strain import optical_strain
from mien.synthesis.moving_face import mark_as_drawn, motion_of
from mien.types import Clip


def _scaled(channels: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Scale each channel of (H, W, C) to 0..255 by its own minimum and maximum, as in the published pictures."""
    low, high = channels.min((0, 1)), channels.max((0, 1))
    span = np.where(high > low, high - low, 1)
    return np.asarray(np.rint((channels - low) / span * 255), np.uint8)


def write_flow_images(
    root: Path, *, subjects: int, clips_per_subject: int, seed: int = 0, size: int = 28, layout: Layout = "folders"
) -> list[Clip]:
    """Write a small corpus of flow pictures with known classes: the true motion of drawn faces, slightly distorted.

    Subjects take turns over the three databases, and clips over the three emotions, so that every class occurs in every
    database.

    Args:
        root: Folder to write to; it is created if it does not exist.
        subjects: Number of subjects.
        clips_per_subject: Number of clips per subject.
        seed: The same seed writes the same bytes.
        size: Height and width of a picture in pixels, at least 16.
        layout: "folders" or "csv"; both have a `clips.csv`.

    Returns:
        The clips as `FlowImages(root).clips()` reads them.

    Raises:
        MienError: The layout is unknown or a number is out of range.
    """
    names = table("flow_images")
    kinds, layouts, columns = names["subjects"], names["layout"], names["columns"]
    labels: Mapping[str, str] = names["labels"]
    if layout not in ("folders", "csv"):
        raise MienError(f"There is no layout {layout!r} of flow pictures.", "folders or csv.", "layout='folders'.")
    if subjects < 1 or not 1 <= clips_per_subject <= 99 or subjects > 99 * len(kinds):
        raise MienError(
            f"{subjects} subject(s) with {clips_per_subject} clip(s) each were asked for.",
            f"1 to {99 * len(kinds)} subjects with 1 to 99 clips.",
            "subjects=6, clips_per_subject=6.",
        )
    root.mkdir(parents=True, exist_ok=True)
    rows, clips = [], []
    for i in range(subjects):
        kind, number = kinds[i % len(kinds)], i // len(kinds) + 1
        shown = str(kind["shown"])
        letters = shown.rstrip("0123456789")
        subject = f"{letters}{number:0{len(shown) - len(letters)}d}"
        for j in range(clips_per_subject):
            label = list(labels)[(i + j) % len(labels)]
            own = f"EP01_{j + 1:02d}" if kind["dataset"] == "casme2" else f"{subject}_{label}_{j + 1:02d}"
            name = f"{subject}_{own}"
            folder = root / subject / layouts["test"] / label if layout == "folders" else root
            folder.mkdir(parents=True, exist_ok=True)
            # The published folders have a space before the suffix.
            path = folder / (f"{name} .png" if layout == "folders" else f"{name}.png")
            motion = motion_of(i, labels[label], interval_length=9, apex=8, size=size, seed=seed * 99 + j)[-1]
            rng = np.random.default_rng(np.random.SeedSequence([seed, i, j]))
            motion += rng.normal(0, 0.02, motion.shape).astype(np.float32)
            channels = np.concatenate([motion, optical_strain(motion, "small")[..., None]], -1)
            Image.fromarray(_scaled(channels)).save(path)
            rows.append([kind["csv"], subject, own, label, "", path.name, ""])
            clips.append(Clip(kind["dataset"], subject, name, None, labels[label], medium="flow", frames=(path,)))
    with (root / layouts["csv"]).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns[key] for key in ("dataset", "subject", "clip", "label", "apex", "picture", "other"))
        writer.writerows(rows)
    mark_as_drawn(root)
    if layout == "folders":
        order = {emotion: number for number, emotion in enumerate(labels.values())}
        clips.sort(key=lambda clip: (clip.subject, order[clip.emotion], clip.name))
    return clips
