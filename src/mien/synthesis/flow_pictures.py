"""Labelled synthetic flow pictures, to train systems whose input is flow pictures."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from joblib import delayed
from numpy.typing import NDArray

from mien.datasets.labels import label_map
from mien.errors import MienError
from mien.motion.flow import METHODS, optical_flow
from mien.preprocessing import steps
from mien.preprocessing.base import NOWHERE
from mien.preprocessing.threads import in_processes
from mien.synthesis.acting import Manner, draw_micro
from mien.synthesis.fields import Floats
from mien.synthesis.picture_variation import draw_picture_crop, varied
from mien.synthesis.rig import motion, rig
from mien.synthesis.shape import draw_points

MEGC2019: Final = label_map("megc2019").classes
"""The three classes of the MEGC 2019 composite, in the order of its labels."""

_BASE_RATES: Final = {"negative": 250, "positive": 109, "surprise": 83}
_EXACT_WIDTH = 64
_CHUNK = 32

TRUE_MOTION: Final = ("exact", "head", "mixed")
"""Methods that distort the true motion, as flow methods do, instead of measuring it in rendered frames."""


@dataclass(frozen=True, slots=True)
class FlowCorpus:
    """Synthetic flow pictures with known classes.

    Attributes:
        channels: (n, 3, size, size): u and v in pixels of the picture in which the flow was computed, and strain.
        labels: (n,) index into `classes`.
        subjects: (n,) number of the face; clips of one face have the same proportions and appearance.
        units: Action units shown, as label sheets print them.
        classes: Names of the classes.
    """

    channels: Floats
    labels: NDArray[np.int64]
    subjects: NDArray[np.int64]
    units: tuple[str, ...]
    classes: tuple[str, ...]

    def pictures(self, *, centred: bool = False) -> Floats:
        """Return the pictures with each channel scaled to 0..255 by itself, as the published pictures are.

        Args:
            centred: Also centre them at zero motion, as `mien.preprocessing.named.CENTRED_FLOW_PICTURE` does.

        Returns:
            (n, 3, size, size)
        """
        made = []
        for channels in self.channels:
            # The published pictures are stored with 8 bits.
            picture = np.rint(steps.scale_each_channel(channels, NOWHERE))
            made.append(steps.centre_and_scale(picture, NOWHERE) if centred else picture)
        return np.stack(made).astype(np.float32) if made else np.empty_like(self.channels)


def flow_corpus(
    n: int,
    seed: int = 0,
    *,
    method: str = "exact",
    size: int = 28,
    classes: Sequence[str] = MEGC2019,
    balanced: bool = True,
    clips_per_subject: int = 6,
    manner: Manner | None = None,
    vary: bool = False,
    jobs: int = 1,
) -> FlowCorpus:
    """Make synthetic flow pictures, from onset to apex of random timelines on random faces.

    Picture i depends only on `seed` and i: a longer corpus begins with the shorter one, for any number of jobs.

    Args:
        n: Number of pictures.
        seed: Seed of the corpus.
        method: "exact" distorts the true flow of warped photographs as flow methods do (hundreds of pictures per
            second); "head" that of the three-dimensional head, another person and view for each face; "mixed" takes the
            one and the other for every second face: two descriptions of how skin moves, neither of them complete. A
            name in `mien.motion.flow.METHODS` ("tvl1") renders onset and apex and measures the flow (a few per second),
            which is closer to real pictures.
        size: Side of a picture in pixels, at least 8.
        classes: Emotions (`mien.synthesis.acting.emotions()`), each a class.
        balanced: All classes equally often; otherwise the three of the composite as often as there, others equally.
        clips_per_subject: Number of successive pictures of the same face.
        manner: How difficult the corpus is.
        vary: Change each picture at random as `mien.synthesis.picture_variation.varied` does, for training; u and v
            then have no unit.
        jobs: Number of parallel processes.

    Raises:
        MienError: A class or the method is unknown, or a number is out of range.

    Example:
        >>> corpus = flow_corpus(3, seed=0)
        >>> corpus.channels.shape, corpus.classes
        ((3, 3, 28, 28), ('negative', 'positive', 'surprise'))
    """
    if n < 0 or seed < 0 or size < 8 or clips_per_subject < 1 or not classes:
        raise MienError(
            f"{n} pictures of {size} pixels, {clips_per_subject} of a face, {len(classes)} class(es), seed {seed}.",
            "0 or more pictures of at least 8 pixels, 1 or more of a face, at least one class, a seed from 0.",
            "`flow_corpus(1000, 0)`.",
        )
    if method not in (*TRUE_MOTION, *METHODS):
        raise MienError(
            f"There is no flow method {method!r}.",
            f"{', '.join((*TRUE_MOTION, *METHODS))}.",
            '`method="exact"` or `method="tvl1"`.',
        )
    manner = manner or Manner()
    chunks = [range(i, min(i + _CHUNK, n)) for i in range(0, n, _CHUNK)]
    call = delayed(_chunk)
    work = (call(c, seed, method, size, tuple(classes), balanced, clips_per_subject, manner, vary) for c in chunks)
    parts = in_processes(work, jobs)
    rows = [row for part in parts for row in part]
    channels = np.stack([r[0] for r in rows]) if rows else np.empty((0, 3, size, size), np.float32)
    return FlowCorpus(
        channels=channels,
        labels=np.array([r[1] for r in rows], np.int64),
        subjects=np.arange(n, dtype=np.int64) // clips_per_subject,
        units=tuple(r[2] for r in rows),
        classes=tuple(classes),
    )


def _chunk(
    indices: range,
    seed: int,
    method: str,
    size: int,
    classes: tuple[str, ...],
    balanced: bool,
    per_subject: int,
    manner: Manner,
    vary: bool,
) -> list[tuple[Floats, int, str]]:
    if multiprocessing.parent_process() is not None:
        cv2.setNumThreads(1)  # the parallel processes use all cores already
    weights = np.array([1 if balanced else _BASE_RATES.get(c, 1) for c in classes], float)
    made = []
    for i in indices:
        rng = np.random.default_rng(np.random.SeedSequence([seed, i, 1]))
        label = int(rng.choice(len(classes), p=weights / weights.sum()))
        subject = i // per_subject
        take = {"exact": _exact, "head": _of_head, "mixed": (_exact, _of_head)[subject % 2]}.get(method, _measured)
        flow, units = take(classes[label], seed, subject, rng, manner, method)
        channels = _channels(flow, size)
        made.append((varied(channels[:2].transpose(1, 2, 0), rng) if vary else channels, label, units))
    return made


def _channels(flow: Floats, size: int) -> Floats:
    return np.ascontiguousarray(steps.flow_and_strain(flow, NOWHERE, size=size), np.float32)


def _exact(
    emotion: str, seed: int, subject: int, rng: np.random.Generator, manner: Manner, method: str
) -> tuple[Floats, str]:
    face = np.random.default_rng(np.random.SeedSequence([seed, subject, 2]))
    points, crop = draw_points(face), draw_picture_crop(rng)
    shape = crop.shape(_EXACT_WIDTH)
    timeline, units = draw_micro(emotion, 200, rng, manner=manner)
    geometry = rig(crop.place(points, shape), shape)
    apex = timeline.movements[0].apex if timeline.movements else timeline.n_frames // 2
    return disturbed(motion(geometry, timeline).flow(apex), geometry.iod, rng), units


def _of_head(
    emotion: str, seed: int, subject: int, rng: np.random.Generator, manner: Manner, method: str
) -> tuple[Floats, str]:
    from mien.synthesis.head.bare import random_bare_head
    from mien.synthesis.head.clip import HeadMotion

    face = np.random.default_rng(np.random.SeedSequence([seed, subject, 4]))
    crop = draw_picture_crop(rng)
    timeline, units = draw_micro(emotion, 200, rng, manner=manner)
    apex = timeline.movements[0].apex if timeline.movements else timeline.n_frames // 2
    head, pose = random_bare_head(face, crop, _EXACT_WIDTH)
    before, after = HeadMotion(head, timeline, pose).states(np.array([0, apex]))
    return disturbed(head.exact_flow(before, after), _EXACT_WIDTH / crop.width, rng), units


def _measured(
    emotion: str, seed: int, subject: int, rng: np.random.Generator, manner: Manner, method: str
) -> tuple[Floats, str]:
    from mien.synthesis.puppet import MARGIN, onset_and_apex

    pair, units = onset_and_apex(emotion, seed, subject, rng, manner)
    flow = optical_flow(pair[0], pair[1], method)
    # Flow methods are wrong at the border, where points enter and leave; real faces are cropped from larger pictures.
    rows, columns = (round(MARGIN / (1 + 2 * MARGIN) * n) for n in flow.shape[:2])
    return np.ascontiguousarray(flow[rows:-rows, columns:-columns]), units


def disturbed(flow: NDArray[np.floating[Any]], iod: float, rng: np.random.Generator) -> Floats:
    """Distort a true flow field with random errors like those that flow methods make on real pictures.

    The errors are smooth false motion where the skin has no texture, motion that spreads over its border, and a few
    blobs of wrong motion, as changes of light or edges cause them.

    Args:
        flow: (H, W, 2) flow in pixels.
        iod: Distance between the eye centres in pixels.
        rng: Random generator.

    Example:
        >>> disturbed(np.zeros((20, 20, 2)), 10.0, np.random.default_rng(0)).shape
        (20, 20, 2)
    """
    height, width = flow.shape[:2]
    level = 0.0016 * iod * float(np.exp(0.6 * rng.normal()))
    result = np.asarray(flow, np.float32)
    blur = float(rng.uniform(0, 0.05)) * iod
    if blur > 0.4:
        result = np.asarray(cv2.GaussianBlur(result, (0, 0), blur), np.float32)
    for grain in (0.8, 0.4, 0.2):
        cells = (max(2, round(height / (grain * iod))), max(2, round(width / (grain * iod))))
        noise = rng.normal(0, level * grain / 0.4, (*cells, 2)).astype(np.float32)
        result = result + cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    x, y = np.arange(width), np.arange(height)
    for _ in range(rng.poisson(2)):
        centre, spread = rng.uniform((0, 0), (width, height)), iod * rng.uniform(0.08, 0.2, 2)
        hill = np.outer(
            np.exp(-0.5 * ((y - centre[1]) / spread[1]) ** 2), np.exp(-0.5 * ((x - centre[0]) / spread[0]) ** 2)
        )
        result = result + (hill[..., None] * rng.normal(0, 5 * level, 2)).astype(np.float32)
    return np.asarray(result, np.float32)
