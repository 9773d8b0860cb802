"""Predict the class of one interval of one person, or give the reasons why no class should be named."""

from __future__ import annotations

import math
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.classifiers.checkpoint import SHIPPED, ModelCard
from mien.errors import MienError
from mien.face.crop import crop_box, crop_frame
from mien.face.landmarks import FaceTrack, track_face
from mien.io.video import ENOUGH_FPS, Video, to_uint8, write_video
from mien.motion.apex import find_apex
from mien.preprocessing.base import Recipe
from mien.preprocessing.inputs import ArrayInputs
from mien.preprocessing.steps import MOST_FRAMES, as_grey
from mien.recognition.people import single_torch_thread
from mien.recognition.records import Event, Moment, Place, Reason
from mien.spotting.base import MACRO_LONGEST, MICRO_LONGEST
from mien.systems import system as system_named
from mien.systems.trained import load_checkpoint
from mien.types import Clip, Interval

Picture = NDArray[np.uint8]

LEAST_EYES: Final = 40.0
"""Least distance between the eyes in pixels.

A micro-expression moves the skin by about 0.5 to 1 % of that distance: 0.2 to 0.4 pixels at 40, close to the error that
sensor noise alone causes in optical flow. In the databases the distance is 80 pixels and more.
"""

LEAST_SCORE: Final = 1.2
"""Least score, in multiples of the spotter's threshold. Closer to the threshold, the interval itself is in doubt. A
convention, not a measured limit."""

MOST_TURN: Final = 10.0
"""Degrees that the head may turn sideways within an interval. Beyond, the skin moves in the picture with the head."""

MOST_TILT: Final = 6.0
"""Degrees that the head may tilt within an interval."""

MOST_SHIFT: Final = 0.25
"""Distance that the head may move within an interval, in multiples of the distance between the eyes."""

MOST_GROWTH: Final = 1.10
"""Factor by which the face may become larger or smaller within an interval."""

_WIDE: Final = (1.2, 1.6, 4.4, 3.4)  # margins of the crop in which the face is found again; see `crop_box`
_LARGEST_EYES = 160.0  # pixels between the eyes; larger faces are scaled down before anything is computed
_NOSE_AHEAD = 0.55  # how far the tip of the nose lies in front of the eyes, in distances between the eyes


@dataclass(frozen=True)
class Namer:
    """Trained weights, together with the recipe that makes their input from frames of a face.

    Attributes:
        path: The file of the weights.
        classifier: The trained classifier.
        card: The card of the weights.
        recipe: Makes the input of the classifier.
    """

    path: Path
    classifier: Any
    card: ModelCard
    recipe: Recipe

    @cached_property
    def finds_faces(self) -> bool:
        """Whether the recipe finds and aligns the face itself; otherwise it needs a cropped face."""
        first = self.recipe.steps[0]
        return first.name == "aligned_face" and first.parameters.get("transform") != "none"

    @property
    def notes(self) -> tuple[str, ...]:
        """How the input differs from the input used in training; empty if it does not."""
        trained = dict(self.card.recipes)
        if "frames" not in trained:
            return (
                "The weights were trained on flow pictures that others had computed; here the flow is computed from "
                "the video, which gives slightly different input.",
            )
        one_copy = _recipe(self.card, all_copies=True)
        if trained["frames"] != one_copy.fingerprint:
            return ("The weights were trained on input made by another version of this library.",)
        return ()

    def probabilities(self, clip: Clip) -> tuple[dict[str, float], tuple[str, ...]]:
        """Return the class probabilities of one clip, and the notes of its recipe.

        Raises:
            MienError: The recipe cannot make the input.
        """
        made = self.recipe.apply(clip)
        array = made.array[0] if self.recipe.axes.startswith("K") else made.array
        shares = self.classifier.predict_proba(ArrayInputs(array[None].astype(np.float32)))[0]
        return dict(zip(self.card.classes, (float(s) for s in shares), strict=True)), made.notes


def open_namer(weights: str | Path | None) -> Namer:
    """Load weights that predict classes.

    Args:
        weights: A `.safetensors` file that `mien train` wrote; None loads the weights of the package.

    Raises:
        MienError: There is no such file, it is not a checkpoint, or its input cannot be made from a video.

    Example:
        >>> open_namer(None).card.classes
        ('negative', 'positive', 'surprise')
    """
    path = SHIPPED if weights is None else Path(weights)
    if weights is None and not path.is_file():
        raise MienError(
            "No weights were given, and none come with this installation.",
            "a .safetensors file that `mien train` wrote.",
            "`mien train casme2=/data/CASMEII --system strcn-g --out w.safetensors`, then `--weights w.safetensors`.",
        )
    if not path.is_file():
        raise MienError(
            f"There are no weights at {str(path)!r}.",
            "a .safetensors file that `mien train` wrote.",
            f"`ls {path.parent}` to see which files are there.",
        )
    classifier, card = load_checkpoint(path)
    recipe = _recipe(card, all_copies=False)
    several = recipe.axes.startswith("K")
    shape = recipe.shape[1:] if several else recipe.shape
    if len(shape) != len(card.shape) or any(a not in (None, b) for a, b in zip(shape, card.shape, strict=True)):
        raise MienError(
            f"The weights {path.name!r} need an input of {'x'.join(map(str, card.shape))}; from frames, {card.system} "
            f"makes one of {'x'.join('T' if n is None else str(n) for n in shape)}.",
            "weights whose input can be made from a video.",
            f"`mien train NAME=FOLDER --system {card.system}` on a database of frames.",
        )
    return Namer(path, classifier, card, recipe)


def _recipe(card: ModelCard, all_copies: bool) -> Recipe:
    """Return the recipe that makes the input from frames.

    Args:
        card: The card of the weights.
        all_copies: Keep all augmented copies, as in training; otherwise only the first.
    """
    chosen = system_named(card.system)
    if "frames" not in chosen.recipes:
        raise MienError(
            f"{card.system} reads flow pictures only, not video.",
            "a system that makes its input from frames.",
            "`mien systems --json`: one whose `reads` contains frames.",
        )
    given = dict(card.parameters)
    if not all_copies:
        given |= {key: given[key][:1] for key in ("alphas", "shares") if isinstance(given.get(key), list)}
    return chosen.recipe("frames", given)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An interval whose class is to be predicted, in frames of the video.

    Attributes:
        onset: First frame.
        apex: Frame of the largest change; None has it searched.
        offset: Last frame (included).
        score: Score of the spotter; None if the user gave the interval.
    """

    onset: int
    apex: int | None
    offset: int
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """Frames of one interval, cropped to one face.

    Attributes:
        index: Numbers of the frames, ascending.
        seconds: Times of the frames.
        frames: (T, H, W[, 3]), 8 bits.
        corner: Column and row of the video at the upper left corner of the crop.
        scale: Pixels of the video per pixel of the crop.
    """

    index: tuple[int, ...]
    seconds: tuple[float, ...]
    frames: Sequence[Picture]
    corner: tuple[int, int]
    scale: float


def cut_out(video: Video, first: int, last: int, eyes: tuple[float, ...]) -> Cut:
    """Read the frames from `first` to `last`, cropped to one face.

    Args:
        video: The video.
        first: Index of the first frame.
        last: Index of the last frame (included).
        eyes: x and y of both eyes in some frame close by, in pixels of the video.

    Raises:
        MienError: More frames than `MOST_FRAMES`, or fewer than two that can be read.
    """
    if last - first + 1 > MOST_FRAMES:
        raise MienError(
            f"The interval {first}:{last} has {last - first + 1} frames.",
            f"at most {MOST_FRAMES}; a micro-expression lasts less than half a second.",
            "a shorter `--interval`, or no `--interval` to have the expressions found.",
        )
    points = np.array(eyes, np.float64).reshape(2, 2)
    box = crop_box(points, _WIDE)
    x0, y0 = max(0, math.floor(box.x)), max(0, math.floor(box.y))
    x1, y1 = min(video.width, math.ceil(box.x + box.width)), min(video.height, math.ceil(box.y + box.height))
    factor = max(1.0, math.dist(points[0], points[1]) / _LARGEST_EYES)
    size = max(2, round((x1 - x0) / factor)), max(2, round((y1 - y0) / factor))
    index, seconds, frames = [], [], []
    for frame in video.frames(first, last + 1):
        part = to_uint8(frame.pixels[y0:y1, x0:x1])
        shrunk = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA)) if factor > 1 else part.copy()
        index.append(frame.index)
        seconds.append(frame.time)
        frames.append(shrunk)
    if len(frames) < 2:
        raise MienError(
            f"Only {len(frames)} of the frames {first} to {last} can be read.", "at least two.", "another interval."
        )
    return Cut(tuple(index), tuple(seconds), frames, (x0, y0), factor)


def eyes_at(places: Sequence[Place], index: int) -> tuple[float, float, float, float] | None:
    """Return where the eyes were in a frame, or None if the face was out of view.

    Args:
        places: Where the face was, in the order of the frames.
        index: Number of the frame.

    Returns:
        x and y of the image-left eye, then of the other, in pixels.

    Example:
        >>> from mien.recognition.records import Place
        >>> eyes_at([Place(4, (10.0, 20.0, 30.0, 20.0)), Place(9, None)], 7)
        (10.0, 20.0, 30.0, 20.0)
    """
    at = bisect_right([place.index for place in places], index) - 1
    return places[at].eyes if at >= 0 else None


def name_interval(
    video: Video, candidate: Candidate, person: int, eyes: tuple[float, float, float, float], namer: Namer, fps: float,
    *, anyway: bool = False,
) -> Event:  # fmt: skip
    """Predict the class of an interval, or give the reasons why no class is named.

    Args:
        video: The video.
        candidate: The interval.
        person: Number of the person.
        eyes: Where the eyes are at its onset, in pixels of the video.
        namer: The weights.
        fps: Mean frames per second of the video.
        anyway: Name a class even if there are reasons not to; the reasons are kept.

    Raises:
        MienError: The interval has too many frames, or cannot be read.
    """
    cut = cut_out(video, candidate.onset, candidate.offset, eyes)
    return name_cut(cut, candidate, person, namer, fps, video.variable_rate, eyes, anyway=anyway)


def name_cut(
    cut: Cut, candidate: Candidate, person: int, namer: Namer, fps: float, variable_rate: bool | None,
    eyes: tuple[float, float, float, float], *, anyway: bool = False,
) -> Event:  # fmt: skip
    """Predict the class of an interval whose frames are already in memory; arguments as for `name_interval`."""
    length = cut.seconds[-1] - cut.seconds[0] + 1 / fps
    kind = "micro" if length <= MICRO_LONGEST + 1.5 / fps else "macro"
    notes: list[str] = []
    reasons = [*_of_time(cut, candidate, kind, length, fps, variable_rate)]
    try:
        with single_torch_thread():
            track: FaceTrack | None = track_face(cut.frames)
    except MienError as error:
        track = None
        reasons.append(Reason("face_lost", f"No face can be followed in these frames. {error.found}"))
    if track is not None:
        reasons += _of_face(track, cut)
    if candidate.score is not None and candidate.score < LEAST_SCORE:
        reasons.append(
            Reason(
                "spotting",
                weak_score(candidate.score),
            )
        )
    if candidate.score is None and kind == "macro":
        notes.append(f"It lasts {length:.2f} s; a micro-expression lasts at most half a second.")
    row = row_of(cut, candidate.apex)
    if row is None:
        grey = [as_grey(frame) for frame in cut.frames]
        row = max(1, find_apex(grey if track is None else faces_of(grey, track)))
    probabilities: Mapping[str, float] = {}
    if track is not None and (anyway or not reasons):
        try:
            with clip_of(cut, row, track, namer, fps) as clip:
                probabilities, recipe_notes = namer.probabilities(clip)
            notes += [note for note in recipe_notes if note not in notes]
        except MienError as error:
            reasons.append(Reason("input", f"{error.found} Expected: {error.expected}"))
    place = eyes if track is None else _eyes_in_video(track, cut)

    def moment(at: int) -> Moment:
        return Moment(cut.index[at], cut.seconds[at])

    return Event(
        person, cast("Any", kind), moment(0), moment(row), moment(-1), candidate.score is None,
        candidate.apex is not None and candidate.score is None, candidate.score, probabilities, tuple(reasons),
        tuple(notes), place,
    )  # fmt: skip


def _of_time(
    cut: Cut, candidate: Candidate, kind: str, length: float, fps: float, variable_rate: bool | None
) -> Iterator[Reason]:
    """Yield reasons not to name a class that lie in the frame rate, in missing frames or in the duration."""
    rate = (len(cut.index) - 1) / max(cut.seconds[-1] - cut.seconds[0], 1e-9)
    missing = candidate.offset - candidate.onset + 1 - len(cut.index)
    if variable_rate and max(np.diff(cut.seconds)) > 2 / ENOUGH_FPS:
        yield Reason(
            "variable_rate",
            f"The frame rate varies, and two frames of this interval are {1000 * max(np.diff(cut.seconds)):.0f} ms "
            f"apart: a whole movement may be missing between them.",
        )
    elif min(rate, fps) < ENOUGH_FPS - 0.5 and kind == "micro":
        yield low_rate(min(rate, fps))
    if missing > 0.2 * (candidate.offset - candidate.onset + 1):
        yield Reason("input", f"{missing} of the {candidate.offset - candidate.onset + 1} frames cannot be read.")
    if kind == "macro" and candidate.score is not None:
        yield Reason(
            "macro",
            too_long_for_micro(length),
        )
    elif length > MACRO_LONGEST + 1 / fps:
        yield Reason("macro", f"It lasts {length:.2f} s, longer than any expression the weights were trained on.")


def low_rate(fps: float) -> Reason:
    """Return the reason why a frame rate is too low for micro-expressions."""
    return Reason(
        "frame_rate",
        f"{fps:.4g} frames per second are too few. A micro-expression lasts 1/25 to 1/2 s (Yan et al. 2013), which is "
        f"{fps / 25:.1f} to {fps / 2:.0f} frames here: too few to distinguish it from noise or a blink. "
        f"Use at least {ENOUGH_FPS:g} frames per second; 100 to 200 are usual.",
    )


def weak_score(score: float) -> str:
    """Return why an interval close to the spotter's threshold gets no class, in words."""
    return (
        f"Its score is only {score:.2f} times the spotter's threshold; below {LEAST_SCORE:g} times, an interval may be "
        f"noise."
    )


def too_long_for_micro(seconds: float) -> str:
    """Return why an interval longer than a micro-expression gets no class, in words."""
    return (
        f"It lasts {seconds:.2f} s: an ordinary expression, not a micro-expression. The weights know micro-expressions "
        f"only."
    )


def _of_face(track: FaceTrack, cut: Cut) -> Iterator[Reason]:
    """Yield reasons not to name a class that lie in the size of the face or in the motion of the head."""
    there = np.flatnonzero(track.found)
    if len(there) < 0.8 * len(track.found):
        yield Reason("face_lost", f"The face is visible in only {len(there)} of the {len(track.found)} frames.")
    eyes = track.eyes()[there].astype(np.float64) * cut.scale
    across = eyes[:, 1] - eyes[:, 0]
    distance = np.hypot(across[:, 0], across[:, 1])
    if np.median(distance) < LEAST_EYES:
        yield small_face(float(np.median(distance)))
    turn = np.degrees(_turn(track.ibug68()[there].astype(np.float64)))
    tilt = np.degrees(np.unwrap(np.arctan2(across[:, 1], across[:, 0])))
    middle = eyes.mean(1)
    shift = float(np.hypot(*np.ptp(middle, axis=0)) / np.median(distance))
    motions = []
    if np.ptp(turn) > MOST_TURN:
        motions.append(f"turns by {np.ptp(turn):.0f} degrees (limit: {MOST_TURN:g})")
    if np.ptp(tilt) > MOST_TILT:
        motions.append(f"tilts by {np.ptp(tilt):.0f} degrees (limit: {MOST_TILT:g})")
    if shift > MOST_SHIFT:
        motions.append(f"moves by {shift:.2f} times the distance between the eyes (limit: {MOST_SHIFT:g})")
    if distance.max() / distance.min() > MOST_GROWTH:
        motions.append(
            f"changes its size by {100 * (distance.max() / distance.min() - 1):.0f} % (limit: "
            f"{100 * (MOST_GROWTH - 1):.0f} %)"
        )
    if motions:
        yield Reason(
            "head_motion",
            f"The head {' and '.join(motions)} within the interval: this hides the motion of the skin.",
        )


def small_face(distance: float) -> Reason:
    """Return the reason why a face is too small for an answer."""
    return Reason(
        "face_size",
        f"The eyes are {distance:.0f} pixels apart; at least {LEAST_EYES:g} are needed. A micro-expression moves the "
        f"skin by 0.5 to 1 % of that distance, and optical flow cannot measure motion below about 0.2 pixels. In the "
        f"databases the eyes are 80 pixels apart and more.",
    )


def _turn(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by how many radians a head is turned sideways, from how far the nose tip lies off the middle of the eyes.

    Args:
        points: (T, 68, 2) landmarks (iBUG 300-W).

    Returns:
        (T,)
    """
    left, right = points[:, 36:42].mean(1), points[:, 42:48].mean(1)
    across = right - left
    d = np.maximum(np.hypot(across[:, 0], across[:, 1]), 1e-9)
    off = ((points[:, 30] - (left + right) / 2) * across).sum(1) / d**2
    return np.asarray(np.arcsin(np.clip(off / _NOSE_AHEAD, -1, 1)))


def row_of(cut: Cut, apex: int | None) -> int | None:
    """Return the row of a cut that is nearest to the apex, never the first row; None if the apex is not known."""
    if apex is None:
        return None
    return max(1, int(np.argmin(np.abs(np.asarray(cut.index) - apex))))


def faces_of(frames: Sequence[Picture], track: FaceTrack) -> list[Picture]:
    """Crop all frames to the face rectangle of the first frame with a face (STRCN, equation 1)."""
    box = crop_box(track.eyes()[track.first()].astype(np.float64))
    size = max(16, round(box.height)), max(16, round(box.width))
    return [np.asarray(crop_frame(frame, box, size), np.uint8) for frame in frames]


@contextmanager
def clip_of(cut: Cut, row: int, track: FaceTrack, namer: Namer, fps: float) -> Iterator[Clip]:
    """Offer a cut as a clip that the recipe of the weights can read: a lossless video file, deleted after the block."""
    frames = cut.frames if namer.finds_faces else faces_of(cut.frames, track)
    with tempfile.TemporaryDirectory(prefix="mien-") as folder:
        path = write_video(Path(folder) / "clip.mkv", frames, fps)
        yield Clip("video", "-", "clip", Interval(0, row, len(frames) - 1), "", video=path, fps=fps)


def _eyes_in_video(track: FaceTrack, cut: Cut) -> tuple[float, float, float, float]:
    eyes = track.eyes()[track.first()].astype(np.float64) * cut.scale + np.array(cut.corner)
    x0, y0, x1, y1 = (round(float(v), 2) for v in eyes.ravel())
    return x0, y0, x1, y1
