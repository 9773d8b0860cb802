"""One interval of one person: what the weights call it, or why nothing should be called anything."""

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

from mien.classifiers.checkpoint import SHIPPED, ModelCard, load_checkpoint
from mien.errors import MienError
from mien.face.crop import crop_box, crop_frame
from mien.face.landmarks import FaceTrack, track_face
from mien.io.video import ENOUGH_FPS, Video, to_uint8, write_video
from mien.motion.apex import find_apex
from mien.preprocessing.base import Recipe
from mien.preprocessing.inputs import ArrayInputs
from mien.preprocessing.steps import MOST_FRAMES, as_grey
from mien.recognition.people import one_thread
from mien.recognition.records import Event, Moment, Place, Reason
from mien.spotting.base import MACRO_LONGEST, MICRO_LONGEST
from mien.systems import system as system_named
from mien.types import Clip, Interval

Picture = NDArray[np.uint8]

LEAST_EYES: Final = 40.0
"""Pixels between the eyes. A micro-expression moves the skin by about 0.5 to 1 % of that distance: at 40 pixels by 0.2
to 0.4, close to what sensor noise alone makes of flow. The databases have 80 and more."""

LEAST_SCORE: Final = 1.2
"""Times the spotter's threshold; what lies closer could as well have stayed below it. A convention, not a finding."""

MOST_TURN: Final = 10.0
"""Degrees that the head may turn within an interval; beyond, skin moves on the picture because the head does."""

MOST_TILT: Final = 6.0
"""Degrees that it may tilt."""

MOST_SHIFT: Final = 0.25
"""Distances of the eyes that it may move."""

MOST_GROWTH: Final = 1.10
"""Times that it may grow or shrink."""

_WIDE: Final = (1.2, 1.6, 4.4, 3.4)  # to find the face again in; see `crop_box`
_LARGEST_EYES = 160.0  # pixels; closer faces are made smaller before anything is computed
_NOSE_AHEAD = 0.55  # distances of the eyes by which the tip of the nose stands before them


@dataclass(frozen=True)
class Namer:
    """Weights, and how their input is made from frames of a face.

    Attributes:
        path: The file.
        classifier: Ready to predict.
        card: What it is.
        recipe: Makes its input.
    """

    path: Path
    classifier: Any
    card: ModelCard
    recipe: Recipe

    @cached_property
    def finds_faces(self) -> bool:
        """Whether the recipe finds and aligns the face itself; else it wants a face that is cropped already."""
        first = self.recipe.steps[0]
        return first.name == "aligned_face" and first.parameters.get("transform") != "none"

    @property
    def notes(self) -> tuple[str, ...]:
        """In what the input differs from that of the training."""
        trained = dict(self.card.recipes)
        if "frames" not in trained:
            return (
                "The weights were trained on ready flow pictures; here the flow is computed from the video, which is "
                "not quite the same.",
            )
        one_copy = _recipe(self.card, all_copies=True)
        if trained["frames"] != one_copy.fingerprint:
            return ("The weights were trained on input that another version of this library had made.",)
        return ()

    def probabilities(self, clip: Clip) -> tuple[dict[str, float], tuple[str, ...]]:
        """Class probabilities of one clip, and what its recipe wants known.

        Raises:
            MienError: The recipe cannot make the input.
        """
        made = self.recipe.prepare(clip)
        array = made.array[0] if self.recipe.axes.startswith("K") else made.array
        shares = self.classifier.predict_proba(ArrayInputs(array[None].astype(np.float32)))[0]
        return dict(zip(self.card.classes, (float(s) for s in shares), strict=True)), made.notes


def open_namer(weights: str | Path | None) -> Namer:
    """Weights by file; None takes those that come with the package.

    Raises:
        MienError: No file, no checkpoint, or weights whose input cannot be made from a video.
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
            f"There are no weights {str(path)!r}.",
            "a .safetensors file that `mien train` wrote.",
            f"`ls {path.parent}` to see what is there.",
        )
    classifier, card = load_checkpoint(path)
    recipe = _recipe(card, all_copies=False)
    several = recipe.axes.startswith("K")
    shape = recipe.shape[1:] if several else recipe.shape
    if len(shape) != len(card.shape) or any(a not in (None, b) for a, b in zip(shape, card.shape, strict=True)):
        raise MienError(
            f"The weights {path.name!r} want an input of {'x'.join(map(str, card.shape))}, from frames {card.system} "
            f"makes {'x'.join('T' if n is None else str(n) for n in shape)}.",
            "weights whose input can be made from a video.",
            f"`mien train NAME=FOLDER --system {card.system}` on a database of frames.",
        )
    return Namer(path, classifier, card, recipe)


def _recipe(card: ModelCard, all_copies: bool) -> Recipe:
    """How the input is made from frames; copies serve the training only, all but the first."""
    chosen = system_named(card.system)
    if "frames" not in chosen.recipes:
        raise MienError(
            f"{card.system} reads ready flow pictures only.",
            "a system that makes its input from frames.",
            "`mien systems --json`: those whose `reads` has frames.",
        )
    given = dict(card.parameters)
    if not all_copies:
        given |= {key: given[key][:1] for key in ("alphas", "shares") if isinstance(given.get(key), list)}
    return chosen.recipe("frames", given)


@dataclass(frozen=True, slots=True)
class Found:
    """An interval to be named, in frames of the video.

    Attributes:
        onset: First frame.
        apex: Frame of the largest change; None finds it.
        offset: Last frame.
        score: Of the spotter; None where the user gave the interval.
    """

    onset: int
    apex: int | None
    offset: int
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """The part of a video around one face, from onset to offset; small enough to hold.

    Attributes:
        index: Numbers of the frames, ascending.
        seconds: Their times.
        frames: (T, H, W[, 3]), 8 bits.
        corner: Column and row of the video at which the frames begin.
        scale: Pixels of the video per pixel here.
    """

    index: tuple[int, ...]
    seconds: tuple[float, ...]
    frames: Sequence[Picture]
    corner: tuple[int, int]
    scale: float


def cut_out(video: Video, first: int, last: int, eyes: tuple[float, ...]) -> Cut:
    """The frames from `first` to `last` around a face.

    Args:
        video: The video.
        first: Index of the first frame.
        last: Index of the last frame (included).
        eyes: x and y of both eyes in some frame near these.

    Raises:
        MienError: More frames than `MOST_FRAMES`, or fewer than two that can be read.
    """
    if last - first + 1 > MOST_FRAMES:
        raise MienError(
            f"The interval {first}:{last} has {last - first + 1} frames.",
            f"at most {MOST_FRAMES}; a micro-expression lasts less than half a second.",
            "a shorter `--interval`, or none to have them found.",
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
            f"Only {len(frames)} frame(s) of {first} to {last} can be read.", "at least two.", "another interval."
        )
    return Cut(tuple(index), tuple(seconds), frames, (x0, y0), factor)


def eyes_at(places: Sequence[Place], index: int) -> tuple[float, float, float, float] | None:
    """Where the eyes were in a frame; None where the face was lost, or not there yet."""
    at = bisect_right([place.index for place in places], index) - 1
    return places[at].eyes if at >= 0 else None


def name_interval(
    video: Video, found: Found, person: int, eyes: tuple[float, float, float, float], namer: Namer, fps: float,
    *, anyway: bool = False,
) -> Event:  # fmt: skip
    """What the weights call an interval, or why they are not asked.

    Args:
        video: The video.
        found: The interval.
        person: Number of the track.
        eyes: Where the eyes are at its onset.
        namer: The weights.
        fps: Mean frames per second of the video.
        anyway: Name a class even where there is a reason not to; the reasons stay.

    Raises:
        MienError: The interval is too long to hold, or cannot be read.
    """
    cut = cut_out(video, found.onset, found.offset, eyes)
    return name_cut(cut, found, person, namer, fps, video.variable_rate, eyes, anyway=anyway)


def name_cut(
    cut: Cut, found: Found, person: int, namer: Namer, fps: float, variable_rate: bool | None,
    eyes: tuple[float, float, float, float], *, anyway: bool = False,
) -> Event:  # fmt: skip
    """As `name_interval`, for frames that are at hand."""
    length = cut.seconds[-1] - cut.seconds[0] + 1 / fps
    kind = "micro" if length <= MICRO_LONGEST + 1.5 / fps else "macro"
    notes: list[str] = []
    reasons = [*_of_time(cut, found, kind, length, fps, variable_rate)]
    try:
        with one_thread():
            track: FaceTrack | None = track_face(cut.frames)
    except MienError as error:
        track = None
        reasons.append(Reason("face_lost", f"No face can be followed in these frames. {error.found}"))
    if track is not None:
        reasons += _of_face(track, cut)
    if found.score is not None and found.score < LEAST_SCORE:
        reasons.append(
            Reason(
                "spotting",
                f"It reaches only {found.score:.2f} times the spotter's threshold; below {LEAST_SCORE:g} times it may "
                f"as well be noise.",
            )
        )
    if found.score is None and kind == "macro":
        notes.append(f"It lasts {length:.2f} s: longer than the half second of a micro-expression.")
    row = row_of(cut, found.apex)
    if row is None:
        grey = [as_grey(frame) for frame in cut.frames]
        row = max(1, find_apex(grey if track is None else faces_of(grey, track)))
    probabilities: Mapping[str, float] = {}
    if track is not None and (anyway or not reasons):
        try:
            with clip_of(cut, row, track, namer, fps) as clip:
                probabilities, told = namer.probabilities(clip)
            notes += [note for note in told if note not in notes]
        except MienError as error:
            reasons.append(Reason("input", f"{error.found} Expected: {error.expected}"))
    place = eyes if track is None else _eyes_in_video(track, cut)

    def moment(at: int) -> Moment:
        return Moment(cut.index[at], cut.seconds[at])

    return Event(
        person, cast("Any", kind), moment(0), moment(row), moment(-1), found.score is None,
        found.apex is not None and found.score is None, found.score, probabilities, tuple(reasons), tuple(notes), place,
    )  # fmt: skip


def _of_time(
    cut: Cut, found: Found, kind: str, length: float, fps: float, variable_rate: bool | None
) -> Iterator[Reason]:
    """What the frame rate forbids."""
    rate = (len(cut.index) - 1) / max(cut.seconds[-1] - cut.seconds[0], 1e-9)
    missing = found.offset - found.onset + 1 - len(cut.index)
    if variable_rate and max(np.diff(cut.seconds)) > 2 / ENOUGH_FPS:
        yield Reason(
            "variable_rate",
            f"The frame rate varies, and two of its frames are {1000 * max(np.diff(cut.seconds)):.0f} ms apart: a "
            f"movement may have come and gone between them.",
        )
    elif min(rate, fps) < ENOUGH_FPS - 0.5 and kind == "micro":
        yield low_rate(min(rate, fps))
    if missing > 0.2 * (found.offset - found.onset + 1):
        yield Reason("input", f"{missing} of its {found.offset - found.onset + 1} frames cannot be read.")
    if kind == "macro" and found.score is not None:
        yield Reason(
            "macro",
            f"It lasts {length:.2f} s: an ordinary expression, not a micro-expression. The weights know only those.",
        )
    elif length > MACRO_LONGEST + 1 / fps:
        yield Reason("macro", f"It lasts {length:.2f} s, longer than any expression the weights could know.")


def low_rate(fps: float) -> Reason:
    """Why too low a frame rate forbids an answer about micro-expressions."""
    return Reason(
        "frame_rate",
        f"{fps:.4g} frames per second are too few: a micro-expression lasts 1/25 to 1/2 s (Yan et al. 2013), here "
        f"{fps / 25:.1f} to {fps / 2:.0f} frames, too few to tell its rise and fall from noise or a blink. "
        f"At least {ENOUGH_FPS:g} are needed, 100 to 200 are usual.",
    )


def _of_face(track: FaceTrack, cut: Cut) -> Iterator[Reason]:
    """What the size and the motion of the head forbid."""
    there = np.flatnonzero(track.found)
    if len(there) < 0.8 * len(track.found):
        yield Reason("face_lost", f"The face is seen in {len(there)} of its {len(track.found)} frames only.")
    eyes = track.eyes()[there].astype(np.float64) * cut.scale
    across = eyes[:, 1] - eyes[:, 0]
    distance = np.hypot(across[:, 0], across[:, 1])
    if np.median(distance) < LEAST_EYES:
        yield small_face(float(np.median(distance)))
    turn = np.degrees(_turn(track.ibug68()[there].astype(np.float64)))
    tilt = np.degrees(np.unwrap(np.arctan2(across[:, 1], across[:, 0])))
    middle = eyes.mean(1)
    shift = float(np.hypot(*np.ptp(middle, axis=0)) / np.median(distance))
    told = []
    if np.ptp(turn) > MOST_TURN:
        told.append(f"turns by {np.ptp(turn):.0f} degrees (at most {MOST_TURN:g})")
    if np.ptp(tilt) > MOST_TILT:
        told.append(f"tilts by {np.ptp(tilt):.0f} degrees (at most {MOST_TILT:g})")
    if shift > MOST_SHIFT:
        told.append(f"moves by {shift:.2f} distances of the eyes (at most {MOST_SHIFT:g})")
    if distance.max() / distance.min() > MOST_GROWTH:
        told.append(f"changes its size by {100 * (distance.max() / distance.min() - 1):.0f} %")
    if told:
        yield Reason(
            "head_motion",
            f"The head {' and '.join(told)} within the interval: its own motion hides that of the skin.",
        )


def small_face(distance: float) -> Reason:
    """Why too small a face forbids an answer."""
    return Reason(
        "face_size",
        f"The eyes are {distance:.0f} pixels apart; at least {LEAST_EYES:g} are needed, for a micro-expression moves "
        f"the skin by 0.5 to 1 % of that distance and flow cannot tell less than 0.2 pixels from noise. "
        f"The databases have 80 and more.",
    )


def _turn(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T,) radians that a head is turned to the side, from how far the tip of the nose stands off the middle."""
    left, right = points[:, 36:42].mean(1), points[:, 42:48].mean(1)
    across = right - left
    d = np.maximum(np.hypot(across[:, 0], across[:, 1]), 1e-9)
    off = ((points[:, 30] - (left + right) / 2) * across).sum(1) / d**2
    return np.asarray(np.arcsin(np.clip(off / _NOSE_AHEAD, -1, 1)))


def row_of(cut: Cut, apex: int | None) -> int | None:
    """Row of a cut that shows the apex or lies nearest to it; never the first."""
    if apex is None:
        return None
    return max(1, int(np.argmin(np.abs(np.asarray(cut.index) - apex))))


def faces_of(frames: Sequence[Picture], track: FaceTrack) -> list[Picture]:
    """The rectangle of equation 1 of STRCN, the first frame's for all, in pixels of the frames."""
    box = crop_box(track.eyes()[track.first()].astype(np.float64))
    size = max(16, round(box.height)), max(16, round(box.width))
    return [np.asarray(crop_frame(frame, box, size), np.uint8) for frame in frames]


@contextmanager
def clip_of(cut: Cut, row: int, track: FaceTrack, namer: Namer, fps: float) -> Iterator[Clip]:
    """A cut as the clip that the weights' recipe reads: a file without loss, there as long as the block lasts."""
    frames = cut.frames if namer.finds_faces else faces_of(cut.frames, track)
    with tempfile.TemporaryDirectory(prefix="mien-") as folder:
        path = write_video(Path(folder) / "clip.mkv", frames, fps)
        yield Clip("video", "-", "clip", Interval(0, row, len(frames) - 1), "", video=path, fps=fps)


def _eyes_in_video(track: FaceTrack, cut: Cut) -> tuple[float, float, float, float]:
    eyes = track.eyes()[track.first()].astype(np.float64) * cut.scale + np.array(cut.corner)
    x0, y0, x1, y1 = (round(float(v), 2) for v in eyes.ravel())
    return x0, y0, x1, y1
