"""Predict classes for intervals found in the long videos of a database: the second step of spot-then-recognise."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mien.classifiers.checkpoint import checkpoint_file, require_unseen
from mien.errors import MienError
from mien.evaluation.spotting.benchmark import Recogniser
from mien.face.landmarks import track_face
from mien.io.video import frames_video, open_video, to_uint8
from mien.recognition.cuts import Candidate
from mien.recognition.naming import Namer, name_interval, open_namer
from mien.spotting.base import Spot
from mien.types import Clip


@dataclass(frozen=True, slots=True)
class NameSpot:
    """Predict the class of an interval of a video, always: the grand challenges (MEGC) count every interval.

    Attributes:
        weights: File of the weights.
    """

    weights: Path

    def __call__(self, clip: Clip, spot: Spot) -> str:
        """Return the most probable class; "" if the interval cannot be read or shows no face."""
        namer = _opened(self.weights)
        assert clip.fps is not None
        video = open_video(clip.video, clip.fps) if clip.video else frames_video(clip.frames, clip.fps, clip.name)
        try:
            first = [to_uint8(frame.pixels) for frame in video.frames(spot.onset, spot.onset + 1)]
            eyes = tuple(float(v) for v in track_face(first).eyes()[0].ravel())
            candidate = Candidate(spot.onset, spot.apex, spot.offset, spot.score)
            event = name_interval(video, candidate, 0, eyes, namer, clip.fps, anyway=True)  # type: ignore[arg-type]
        except MienError:
            return ""
        return max(event.probabilities, key=event.probabilities.__getitem__) if event.probabilities else ""


@lru_cache(maxsize=1)
def _opened(weights: Path) -> Namer:
    return open_namer(weights)


def spot_recogniser(weights: str, data: Sequence[str]) -> Recogniser:
    """Return what predicts the classes of intervals found in some databases.

    Args:
        weights: A file that `mien train` wrote, or "shipped" for the weights of the package.
        data: The databases, as `NAME=FOLDER`.

    Raises:
        MienError: The weights cannot be used, or were trained on one of the databases.

    Example:
        >>> spot_recogniser("shipped", ["casme_sq=/data/CASME_SQ"]).settings["system"]
        'strcn-g'
    """
    path = checkpoint_file(weights)
    require_unseen(weights, [spec.partition("=")[0] for spec in data])
    card = open_namer(path).card
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    settings = {"weights": weights, "sha256": digest, "system": card.system, "classes": list(card.classes)}
    return Recogniser(NameSpot(path), card.labels, {**settings, "labels": card.labels})
