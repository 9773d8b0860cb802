"""Answer one interval of one person: its action units, and its class or the reasons why no class should be named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from mien.classifiers.checkpoint import CLASSES, SHIPPED_ENSEMBLE, ModelCard, checkpoint_file
from mien.errors import MienError
from mien.face.crop import crop_box, crop_frame
from mien.face.landmarks import FaceTrack, track_face
from mien.io.atomic import private_folder
from mien.io.video import Video, write_video
from mien.motion.apex import find_apex
from mien.preprocessing.base import Recipe
from mien.preprocessing.inputs import ArrayInputs
from mien.preprocessing.steps import as_grey
from mien.recognition.cuts import Candidate, Cut, cut_out, row_of
from mien.recognition.people import single_torch_thread
from mien.recognition.reasons import LEAST_EYES_LONG, LEAST_SCORE, reasons_in_face, reasons_in_time, weak_score
from mien.recognition.records import Event, Moment, Reason, UnitAnswer
from mien.recognition.skin import FacePair, face_pair, run_on_pair
from mien.recognition.units import UnitReader
from mien.spotting.base import MICRO_LONGEST
from mien.systems import system as system_named
from mien.systems.trained import load_checkpoint
from mien.types import Clip, Interval

Picture = NDArray[np.uint8]
Eyes = tuple[float, float, float, float]

_LOOKS: Final = 9
"""Frames of an interval, evenly spaced, in which the landmarks are searched beside that of the apex."""


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

    @cached_property
    def reads_pair(self) -> bool:
        """Whether the input is made from onset and apex alone."""
        return self.recipe.steps[0].name == "onset_apex_pair"

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
        return self._shares(made.array), made.notes

    def probabilities_of_pair(self, face: FacePair) -> dict[str, float]:
        """Return the class probabilities of a face at onset and apex, where `reads_pair`."""
        return self._shares(run_on_pair(self.recipe, face, face.flow))

    def _shares(self, array: NDArray[Any]) -> dict[str, float]:
        one = array[0] if self.recipe.axes.startswith("K") else array
        shares = self.classifier.predict_proba(ArrayInputs(one[None].astype(np.float32)))[0]
        return dict(zip(self.card.classes, (float(s) for s in shares), strict=True))


def open_namer(weights: str | Path | None) -> Namer:
    """Load weights that predict classes.

    Args:
        weights: A `.safetensors` file that `mien train` wrote, or the name of one in the package, such as "shipped";
            None loads "shipped-ensemble".

    Returns:
        The classifier, its recipe and its card.

    Raises:
        MienError: There is no such file, it is not a checkpoint, or its input cannot be made from a video.

    Example:
        >>> open_namer(None).card.classes
        ('negative', 'positive', 'surprise')
    """
    path = SHIPPED_ENSEMBLE if weights is None else checkpoint_file(str(weights))
    if weights is None and not path.is_file():
        raise MienError(
            "No weights were given, and none come with this installation.",
            "a .safetensors file that `mien train` wrote.",
            "`mien train casme2=/data/CASMEII --system strcn-g --out w.safetensors`, then `--weights w.safetensors`.",
        )
    classifier, card = load_checkpoint(path)
    if card.task != CLASSES:
        raise MienError(
            f"The weights {path.name!r} predict action units ({', '.join(card.classes)}), not classes.",
            "weights for classes.",
            f"`--unit-weights {path}` to answer action units with them, and no `--weights`.",
        )
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


def name_interval(
    video: Video, candidate: Candidate, person: int, eyes: Eyes, namer: Namer, fps: float,
    *, anyway: bool = False, units: UnitReader | None = None,
) -> Event:  # fmt: skip
    """Predict the class and the action units of an interval, or give the reasons why no class is named.

    Args:
        video: The video.
        candidate: The interval.
        person: Number of the person.
        eyes: Where the eyes are at its onset, in pixels of the video.
        namer: The weights for classes.
        fps: Mean frames per second of the video.
        anyway: Name a class even if there are reasons not to; the reasons are kept.
        units: The weights for action units; None leaves them out.

    Raises:
        MienError: The interval has too many frames, or cannot be read.
    """
    cut = cut_out(video, candidate.onset, candidate.offset, eyes)
    return name_cut(cut, candidate, person, namer, fps, video.variable_rate, eyes, anyway=anyway, units=units)


def name_cut(
    cut: Cut, candidate: Candidate, person: int, namer: Namer, fps: float, variable_rate: bool | None,
    eyes: Eyes, *, anyway: bool = False, units: UnitReader | None = None,
) -> Event:  # fmt: skip
    """Answer an interval whose frames are already in memory; arguments as for `name_interval`."""
    length = cut.seconds[-1] - cut.seconds[0] + 1 / fps
    kind = "micro" if length <= MICRO_LONGEST + 1.5 / fps else "macro"
    notes: list[str] = []
    reasons = [*reasons_in_time(cut, candidate, kind, length, fps, variable_rate)]
    row = row_of(cut, candidate.apex)
    looked_at = _looked_at(len(cut.frames), row)
    try:
        with single_torch_thread():
            track: FaceTrack | None = track_face([cut.frames[each] for each in looked_at], count_faces=False)
    except MienError as error:
        track = None
        reasons.append(_lost(error))
    if track is not None:
        reasons += reasons_in_face(track, cut)
    if candidate.score is not None and candidate.score < LEAST_SCORE:
        reasons.append(Reason("spotting", weak_score(candidate.score)))
    if candidate.score is None and kind == "macro":
        notes.append(f"It lasts {length:.2f} s; a micro-expression lasts at most half a second.")
    if row is None:
        grey = [as_grey(frame) for frame in cut.frames]
        row = max(1, find_apex(grey if track is None else faces_of(grey, track)))
    probabilities: Mapping[str, float] = {}
    answered: tuple[UnitAnswer, ...] = ()
    # What stands against a class alone: too low a frame rate for micro-expressions, and too long an expression.
    against_units = [reason for reason in reasons if reason.about not in ("frame_rate", "macro")]
    try:
        face = None if track is None else _pair(cut, row, track, looked_at.index(row))
        if track is not None and face is not None and (anyway or not reasons):
            if namer.reads_pair:
                probabilities = namer.probabilities_of_pair(face)
            else:
                with clip_of(cut, row, track, namer, fps) as clip:
                    probabilities, recipe_notes = namer.probabilities(clip)
                notes += [note for note in recipe_notes if note not in notes]
        if units is not None and face is not None and (anyway or not against_units):
            answered = units.answer(face)
    except MienError as error:
        reasons.append(Reason("input", f"{error.found} Expected: {error.expected}"))
    place = eyes if track is None else _eyes_in_video(track, cut)

    def moment(at: int) -> Moment:
        return Moment(cut.index[at], cut.seconds[at])

    return Event(
        person, cast("Any", kind), moment(0), moment(row), moment(-1), candidate.score is None,
        candidate.apex is not None and candidate.score is None, candidate.score, probabilities, tuple(reasons),
        tuple(notes), place, answered,
    )  # fmt: skip


def read_units(
    video: Video, onset: int, apex: int, eyes: Eyes, units: UnitReader, *, anyway: bool = False
) -> tuple[tuple[UnitAnswer, ...], tuple[Reason, ...]]:
    """Return what the motion between two frames says about action units, for expressions that get no class.

    Only these two frames are looked at, at whatever rate the video was recorded.

    Args:
        video: The video.
        onset: The first frame.
        apex: The frame of the largest change.
        eyes: Where the eyes are at the onset, in pixels of the video.
        units: The weights.
        anyway: Answer even if there are reasons not to; the reasons are kept.

    Returns:
        The units, and the reasons why there are none.
    """
    try:
        cut = cut_out(video, onset, apex, eyes, ends_only=True)
        with single_torch_thread():
            track = track_face(cut.frames, count_faces=False)
        reasons = tuple(reasons_in_face(track, cut, LEAST_EYES_LONG))
        return (units.answer(_pair(cut, -1, track, -1)) if anyway or not reasons else ()), reasons
    except MienError as error:
        return (), (_lost(error),)


def _lost(error: MienError) -> Reason:
    return Reason("face_lost", f"No face can be followed in these frames. {error.found}")


def _looked_at(n: int, row: int | None) -> list[int]:
    """Return in which of n frames the landmarks are searched: all, or some of them and the apex where it is known."""
    if row is None:
        return list(range(n))
    return sorted({row, *np.linspace(0, n - 1, min(n, _LOOKS)).round().astype(int).tolist()})


def _pair(cut: Cut, row: int, track: FaceTrack, at: int) -> FacePair:
    """Return the face in the first frame and in that of the apex; where it was not found, its landmarks are others'.

    Args:
        cut: The frames.
        row: The one of the apex.
        track: Landmarks in some of them.
        at: Where that of the apex is in the track.
    """
    first = track.first()
    return face_pair((cut.frames[0], cut.frames[row]), track, (first, at if track.found[at] else first))


def faces_of(frames: Sequence[Picture], track: FaceTrack) -> list[Picture]:
    """Crop all frames to the face rectangle of the first frame with a face (STRCN, equation 1)."""
    box = crop_box(track.eyes()[track.first()].astype(np.float64))
    size = max(16, round(box.height)), max(16, round(box.width))
    return [np.asarray(crop_frame(frame, box, size), np.uint8) for frame in frames]


@contextmanager
def clip_of(cut: Cut, row: int, track: FaceTrack, namer: Namer, fps: float) -> Iterator[Clip]:
    """Offer a cut as a clip that the recipe of the weights can read: a lossless video file, deleted after the block."""
    frames = cut.frames if namer.finds_faces else faces_of(cut.frames, track)
    with private_folder("mien-clip-") as folder:
        path = write_video(folder / "clip.mkv", frames, fps)
        yield Clip("video", "-", "clip", Interval(0, row, len(frames) - 1), "", video=path, fps=fps)


def _eyes_in_video(track: FaceTrack, cut: Cut) -> tuple[float, float, float, float]:
    eyes = track.eyes()[track.first()].astype(np.float64) * cut.scale + np.array(cut.corner)
    x0, y0, x1, y1 = (round(float(v), 2) for v in eyes.ravel())
    return x0, y0, x1, y1
