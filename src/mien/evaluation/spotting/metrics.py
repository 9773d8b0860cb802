"""Scores of detected intervals, as the micro-expression grand challenges define them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from mien.errors import MienError
from mien.spotting.base import KINDS, Spot

IOU = 0.5
"""Least overlap of a hit."""


def iou(true: Sequence[Spot], found: Sequence[Spot]) -> NDArray[np.float64]:
    """Compute the intersection over union of each true interval with each detected one.

    Returns:
        (true, found), 0..1; frames are counted with both ends, so 1..10 and 6..15 share 5 of 15.
    """
    a = np.array([(s.onset, s.offset) for s in true], np.int64).reshape(-1, 1, 2)
    b = np.array([(s.onset, s.offset) for s in found], np.int64).reshape(1, -1, 2)
    both = np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0]) + 1
    both = np.maximum(both, 0)
    either = (a[..., 1] - a[..., 0] + 1) + (b[..., 1] - b[..., 0] + 1) - both
    return np.asarray(both / either)


def match(true: Sequence[Spot], found: Sequence[Spot], least: float = IOU) -> list[tuple[int, int]]:
    """Match detected with true intervals: as many pairs as possible, each interval in at most one.

    Two intervals that share half of their union or more can hardly do so with a third: where true intervals do not
    overlap, taking them in any order gives the same number of hits, and that is all the challenge counts.

    Args:
        true: True intervals of one video and kind.
        found: Found ones.
        least: Least intersection over union.

    Returns:
        (index in `true`, index in `found`), by the former.

    Raises:
        MienError: `least` is not above 0 and at most 1.

    Source: MEGC 2020 (He et al., FG 2020), section II: a spotted interval is a true positive when its intersection
    with a true one is at least half of their union.
    """
    if not 0 < least <= 1:
        raise MienError(f"An overlap of {least:g} was asked for.", "above 0, at most 1.", "0.5.")
    if not true or not found:
        return []
    pairs = maximum_bipartite_matching(csr_array(iou(true, found) >= least), perm_type="column")
    return [(t, int(f)) for t, f in enumerate(pairs) if f >= 0]


@dataclass(frozen=True, slots=True)
class Count:
    """Hits and misses over some videos.

    Attributes:
        tp: Found intervals that hit a true one.
        fp: Found ones that hit none.
        fn: True ones that none hit.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def precision(self) -> float:
        """Return the precision, 0..1; 0 where nothing was detected."""
        return self.tp / (self.tp + self.fp) if self.tp else 0.0

    @property
    def recall(self) -> float:
        """Return the recall, 0..1; 0 where there is nothing to detect."""
        return self.tp / (self.tp + self.fn) if self.tp else 0.0

    @property
    def f1(self) -> float:
        """Return F1, 0..1; 0 where nothing was hit, and where there is nothing to detect and nothing was detected."""
        return 2 * self.tp / (2 * self.tp + self.fp + self.fn) if self.tp else 0.0


Film = tuple[Sequence[Spot], Sequence[Spot]]
"""True and found expressions of one video, of all kinds."""


def count(films: Sequence[Film], least: float = IOU) -> dict[str, Count]:
    """Count hits and misses per kind over all videos, including those without any expression.

    Args:
        films: True and found expressions of every video.
        least: Least intersection over union.

    Returns:
        "micro", "macro", and "all", the sum of both: a macro-expression never counts as a hit for a micro one.
    """
    total: dict[str, Count] = {kind: Count() for kind in KINDS}
    for true, found in films:
        for kind in KINDS:
            t, f = [s for s in true if s.kind == kind], [s for s in found if s.kind == kind]
            hits = len(match(t, f, least))
            total[kind] += Count(hits, len(f) - hits, len(t) - hits)
    return {**total, "all": total["micro"] + total["macro"]}


def analysis_f1(pairs: Sequence[tuple[str, str]]) -> float:
    """Score the emotions that were predicted for hit expressions.

    Args:
        pairs: (true, recognised) emotion of each hit; "" as recognised is wrong, but no emotion of its own.

    Returns:
        0..1, the harmonic mean of macro-averaged precision and macro-averaged recall, over the emotions that occur
        as true or as recognised; 0 without a hit.

    Source: Spot-then-recognise task, MEGC 2022-2025; Liong et al., "Spot-then-recognize: a micro-expression analysis
    network" (MEAN), 2022, section 4.
    """
    names = sorted({name for pair in pairs for name in pair} - {""})
    if not names:
        return 0.0
    precision, recall = [], []
    for name in names:
        hits = sum(t == p == name for t, p in pairs)
        precision.append(hits / max(sum(p == name for _, p in pairs), 1))
        recall.append(hits / max(sum(t == name for t, _ in pairs), 1))
    p, r = float(np.mean(precision)), float(np.mean(recall))
    return 2 * p * r / (p + r) if p + r else 0.0


def strs(films: Sequence[Film], least: float = IOU, kind: str = "micro") -> dict[str, float | int]:
    """Compute the spot-then-recognise score.

    Args:
        films: True and found expressions of every video, with their emotions.
        least: Least intersection over union.
        kind: "micro" or "macro".

    Returns:
        "spot_f1", "analysis_f1" of the hits, and "strs", their product; all 0..1. A hit whose true emotion is not
        known ("") counts in spotting alone. "named" is the number of the others, "majority_f1" the analysis F1 of
        always giving the commonest emotion of theirs.
    """
    pairs = []
    for true, found in films:
        t, f = [s for s in true if s.kind == kind], [s for s in found if s.kind == kind]
        pairs += [(t[i].emotion, f[j].emotion) for i, j in match(t, f, least) if t[i].emotion]
    spot = count(films, least)[kind].f1
    analysis = analysis_f1(pairs)
    true_ones = [t for t, _ in pairs]
    commonest = max(sorted(set(true_ones)), key=true_ones.count) if true_ones else ""
    return {
        "spot_f1": spot,
        "analysis_f1": analysis,
        "strs": spot * analysis,
        "named": len(pairs),
        "majority_f1": analysis_f1([(t, commonest) for t in true_ones]),
    }


def as_scores(counts: Mapping[str, Count]) -> dict[str, dict[str, Any]]:
    """Return counts and the scores that follow from them, for JSON."""
    return {
        kind: {"tp": c.tp, "fp": c.fp, "fn": c.fn, "precision": c.precision, "recall": c.recall, "f1": c.f1}
        for kind, c in counts.items()
    }
