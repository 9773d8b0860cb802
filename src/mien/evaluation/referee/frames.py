"""From scores of frames to intervals, by a rule that is printed with the result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mien.errors import MienError
from mien.parameters import Parameters

Ints = NDArray[np.int64]


class FrameRule(Parameters):
    """How scores become intervals: a threshold for frames; runs of frames; then what proposals with scores need."""

    p: Annotated[
        float, Field(ge=0, le=1, description="Threshold of a video between the mean (0) and maximum (1) of its scores.")
    ] = 0.55
    at: Annotated[
        float | None, Field(description="One threshold for all frames, or for the scores of intervals, instead.")
    ] = None
    gap: Annotated[int, Field(ge=0, le=1_000_000, description="Frames below the threshold that a run may bridge.")] = 0
    shortest: Annotated[int, Field(ge=1, le=1_000_000, description="Shortest run that counts, in frames.")] = 1
    nms: Annotated[
        float | None,
        Field(gt=0, le=1, description="Drop an interval whose IoU with one of a higher score is above this."),
    ] = None
    p_row: Annotated[
        int, Field(ge=1, le=99, description="Which of the 99 thresholds of the MEGC 2020 baseline's files.")
    ] = 1

    def words(self) -> str:
        """Return the rule for frames in words."""
        threshold = (
            f"frames at {self.at:g} or more"
            if self.at is not None
            else f"frames at mean + {self.p:g} (maximum - mean) of their video or more"
        )
        return f"{threshold}, gaps of up to {self.gap} frames bridged, runs of {self.shortest} frames or more"


def runs(decisions: NDArray[Any]) -> tuple[Ints, Ints]:
    """Return the first and last index of each run of true values.

    Example:
        >>> first, last = runs(np.array([0, 1, 1, 0, 1]))
        >>> first.tolist(), last.tolist()
        ([1, 4], [2, 4])
    """
    steps = np.diff(np.concatenate([[0], np.asarray(decisions, bool).astype(np.int8), [0]]))
    return np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) - 1


def frame_runs(frames: NDArray[np.float64], scores: NDArray[np.float64], rule: FrameRule) -> tuple[Ints, Ints]:
    """Return the first and last frame of each interval of one video.

    Args:
        frames: (T,) frame numbers, ascending; frames that are left out count as below the threshold.
        scores: (T,) their scores.
        rule: The rule. Where all scores are 0 or 1, they are taken as decisions.

    Example:
        >>> first, last = frame_runs(np.arange(6.0), np.array([0, 0, 5, 6, 0, 0.0]), FrameRule(p=0.5))
        >>> first.tolist(), last.tolist()
        ([2], [3])
    """
    threshold = rule.at
    if threshold is None:
        flat = scores.max() == scores.min()
        decided = np.isin(scores, (0.0, 1.0)).all()
        threshold = 0.5 if decided else scores.mean() + rule.p * (scores.max() - scores.mean())
        if flat and not decided:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
    inside = np.flatnonzero(scores >= threshold)
    if not len(inside):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    numbers = frames[inside].astype(np.int64)
    breaks = np.flatnonzero(np.diff(numbers) > rule.gap + 1)
    first = numbers[np.concatenate([[0], breaks + 1])]
    last = numbers[np.concatenate([breaks, [len(numbers) - 1]])]
    keep = last - first + 1 >= rule.shortest
    return first[keep], last[keep]


def read_decisions(path: Path, row: int) -> NDArray[np.bool_]:
    """Return the frame decisions at one threshold from a file of the MEGC 2020 baseline.

    Raises:
        MienError: It is no such file.
    """
    from scipy.io import loadmat

    try:
        table = loadmat(path)["predicts"]
        rows = {int(np.asarray(entry[0]).squeeze()): entry[2] for entry in table}
        return np.asarray(rows[row]).ravel().astype(bool)
    except Exception as error:
        raise MienError(
            f"{str(path)!r} cannot be read as frame decisions ({type(error).__name__}).",
            "a MATLAB file with `predicts`: number, threshold and decisions, a row for each of 99 thresholds.",
            "the file as the MEGC 2020 baseline has it.",
        ) from None


def suppress(onsets: Ints, offsets: Ints, scores: NDArray[np.float64], most: float) -> NDArray[np.intp]:
    """Return which intervals of one video remain after non-maximum suppression, the highest scores first.

    Args:
        onsets: (N,) first frames.
        offsets: (N,) last frames, included.
        scores: (N,) scores.
        most: Largest IoU with an interval of a higher score.

    Example:
        >>> suppress(np.array([1, 2, 50]), np.array([10, 11, 60]), np.array([0.5, 0.9, 0.1]), 0.2).tolist()
        [1, 2]
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        both = np.minimum(offsets[rest], offsets[best]) - np.maximum(onsets[rest], onsets[best]) + 1
        both = np.maximum(both, 0)
        either = (offsets[rest] - onsets[rest] + 1) + (offsets[best] - onsets[best] + 1) - both
        order = rest[both <= most * either]
    return np.array(kept, np.intp)
