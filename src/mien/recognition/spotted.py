"""Names for intervals that a spotter found in a database's long videos: the second half of spot-then-recognise."""

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
from mien.recognition.naming import Found, Namer, name_interval, open_namer
from mien.spotting.base import Spot
from mien.types import Clip


@dataclass(frozen=True, slots=True)
class NameSpot:
    """Names an interval of a video by some weights. The grand challenges want an answer for every interval: so here.

    Attributes:
        weights: The checkpoint.
    """

    weights: Path

    def __call__(self, clip: Clip, spot: Spot) -> str:
        """The most probable class; "" where the interval cannot be read or shows no face."""
        namer = _opened(self.weights)
        assert clip.fps is not None
        video = open_video(clip.video, clip.fps) if clip.video else frames_video(clip.frames, clip.fps, clip.name)
        try:
            first = [to_uint8(frame.pixels) for frame in video.frames(spot.onset, spot.onset + 1)]
            eyes = tuple(float(v) for v in track_face(first).eyes()[0].ravel())
            found = Found(spot.onset, spot.apex, spot.offset, spot.score)
            event = name_interval(video, found, 0, eyes, namer, clip.fps, anyway=True)  # type: ignore[arg-type]
        except MienError:
            return ""
        return max(event.probabilities, key=event.probabilities.__getitem__) if event.probabilities else ""


@lru_cache(maxsize=1)
def _opened(weights: Path) -> Namer:
    return open_namer(weights)


def spot_recogniser(weights: str, data: Sequence[str]) -> Recogniser:
    """What names the intervals found in some databases.

    Args:
        weights: A checkpoint, or "shipped".
        data: The databases, as `NAME=FOLDER`.

    Raises:
        MienError: No usable weights, or weights trained on one of the databases.
    """
    path = checkpoint_file(weights)
    require_unseen(weights, [spec.partition("=")[0] for spec in data])
    card = open_namer(path).card
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    settings = {"weights": weights, "sha256": digest, "system": card.system, "classes": list(card.classes)}
    return Recogniser(NameSpot(path), card.labels, {**settings, "labels": card.labels})
