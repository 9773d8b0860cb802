"""Why an interval gets no class: limits of frame rate, duration, size of the face and motion of the head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.face.landmarks import FaceTrack
from mien.io.video import ENOUGH_FPS
from mien.recognition.cuts import Candidate, Cut
from mien.recognition.records import Reason
from mien.spotting.base import MACRO_LONGEST

LEAST_EYES: Final = 40.0
"""Least distance between the eyes in pixels.

A micro-expression moves the skin by about 0.5 to 1 % of that distance: 0.2 to 0.4 pixels at 40, close to the error that
sensor noise alone causes in optical flow. In the databases the distance is 80 pixels and more.
"""

LEAST_EYES_LONG: Final = 24.0
"""The same for the action units of longer expressions, which move the skin by 3 % of that distance and more."""

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

_NOSE_AHEAD = 0.55  # how far the tip of the nose lies in front of the eyes, in distances between the eyes


def reasons_in_time(
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


def few_frames(fps: float) -> Reason:
    """Return the reason why a whole video gets no micro-expressions: its frame rate is too low for them."""
    return Reason(
        "frame_rate",
        f"Micro-expressions need at least {ENOUGH_FPS:g} frames per second, and this video has {fps:.4g}: a "
        f"micro-expression lasts 1/25 to 1/2 s (Yan et al. 2013), {fps / 25:.1f} to {fps / 2:.0f} frames here, too few "
        f"to distinguish it from noise or a blink. Longer expressions are found, with their action units. To see "
        f"micro-expressions, record 100 to 200 frames per second.",
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
        f"It lasts {seconds:.2f} s: an ordinary expression, not a micro-expression. The weights for classes know "
        f"micro-expressions only."
    )


def reasons_in_face(track: FaceTrack, cut: Cut, least: float = LEAST_EYES) -> Iterator[Reason]:
    """Yield reasons not to answer that lie in the size of the face or in the motion of the head.

    Args:
        track: The face in the frames of the cut, or in some of them.
        cut: The frames.
        least: Least distance between the eyes, in pixels of the video.
    """
    there = np.flatnonzero(track.found)
    if len(there) < 0.8 * len(track.found):
        yield Reason("face_lost", f"The face is visible in only {len(there)} of {len(track.found)} frames looked at.")
    eyes = track.eyes()[there].astype(np.float64) * cut.scale
    across = eyes[:, 1] - eyes[:, 0]
    distance = np.hypot(across[:, 0], across[:, 1])
    if np.median(distance) < least:
        yield small_face(float(np.median(distance)))
    turn = np.degrees(head_turn(track.ibug68()[there].astype(np.float64)))
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


def head_turn(points: NDArray[np.float64]) -> NDArray[np.float64]:
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
