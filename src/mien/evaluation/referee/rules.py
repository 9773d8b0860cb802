"""Rules of counting, by name: what is a hit when detected intervals are compared with true ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from mien.errors import MienError, unknown_name
from mien.evaluation.spotting.metrics import IOU, Count

Ints = NDArray[np.int64]

NO_PUBLIC_SCORER: Final = {
    "megc2021": "The scorer of MEGC 2021 is not public; its result files are read.",
    "megc2022": "The scorer of MEGC 2022 ran on a closed site; its result files (vid, pred_onset, pred_offset, type) "
    "are read.",
    "megc2023": "The scorer of MEGC 2023 ran on a closed site.",
    "megc2024": "The scorer of MEGC 2024 ran on a closed site.",
    "megc2025": "The scorer of MEGC 2025 ran on a closed site; its question-and-answer lines are read.",
}
"""Challenges whose way of counting could not be read, so that no rule bears their name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to count.

    Attributes:
        name: Name on the command line.
        task: "recognition" or "spotting".
        summary: What it counts, in one sentence.
        source: Where that was read.
        labels: Label map, of a rule for recognition.
    """

    name: str
    task: Literal["recognition", "spotting"]
    summary: str
    source: str
    labels: str = ""


RULES: Final[Mapping[str, Rule]] = {
    rule.name: rule
    for rule in (
        Rule(
            "one_to_one",
            "spotting",
            "as many pairs of a true and a detected interval with IoU >= 0.5 as possible, each interval in one pair",
            "mien.evaluation.spotting.metrics",
        ),
        Rule(
            "megc2020",
            "spotting",
            "true positives are the true intervals that some detection hits with IoU >= 0.5: one detection may hit "
            "two that overlap; all other detections are false positives",
            "counts that MEGC 2020 published with its baseline",
        ),
        Rule(
            "strs",
            "spotting",
            "every pair of a true and a detected interval with IoU >= 0.5 is a true positive; false are the detections "
            "in no pair, missed the true intervals in no pair",
            "public scorer genbing99/STRS-Metric (Liong et al. 2023)",
        ),
        Rule(
            "megc2019",
            "recognition",
            "negative, positive and surprise; counts pooled over all folds before UF1 and UAR are taken",
            "MEGC 2019 (See et al., FG 2019)",
            "megc2019",
        ),
    )
}
"""Every rule, by name."""

DEFAULT: Final = "one_to_one"
"""Rule of spotting where none is asked for."""


def rule_named(name: str) -> Rule:
    """Return a rule.

    Raises:
        MienError: There is none of that name; the nearest one is named.

    Example:
        >>> rule_named("megc-2020").name
        'megc2020'
    """
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    for known, rule in RULES.items():
        if plain == known.replace("_", ""):
            return rule
    spotting = ", ".join(r.name for r in RULES.values() if r.task == "spotting")
    if plain in NO_PUBLIC_SCORER:
        raise MienError(
            f"There is no rule {name!r}: {NO_PUBLIC_SCORER[plain]}",
            f"a rule whose counting is known: {', '.join(RULES)}.",
            f"`--rule {DEFAULT}`, or another of {spotting}.",
        )
    raise unknown_name("rule", name, RULES, "mien score --help")


def overlapping(
    true: tuple[Ints, Ints], found: tuple[Ints, Ints], least: float = IOU
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pairs of intervals of one video that overlap enough, without a table of all pairs.

    Args:
        true: First and last frames of the true intervals, (N,) each; both ends are included.
        found: The same of the detected ones, (M,) each.
        least: Least intersection over union, above 0.

    Returns:
        (indices into `true`, indices into `found`) of each pair, by the former.
    """
    order = np.argsort(found[0], kind="stable")
    onsets, offsets = found[0][order], found[1][order]
    left: list[NDArray[np.intp]] = []
    right: list[NDArray[np.intp]] = []
    for t, (onset, offset) in enumerate(zip(*true, strict=True)):
        # A detection longer than 1 / least truths cannot reach the overlap, so none begins earlier than this.
        longest = (offset - onset + 1) / least
        low, high = np.searchsorted(onsets, [onset - longest, offset + 1])
        near_onsets, near_offsets = onsets[low:high], offsets[low:high]
        both = np.minimum(near_offsets, offset) - np.maximum(near_onsets, onset) + 1
        either = (near_offsets - near_onsets + 1) + (offset - onset + 1) - both
        hits = np.flatnonzero((both > 0) & (both >= least * either))
        left.append(np.full(len(hits), t, np.intp))
        right.append(order[low + hits])
    nothing = np.zeros(0, np.intp)
    return np.concatenate([nothing, *left]), np.concatenate([nothing, *right])


def count_by_rule(
    rule: str, n_true: int, n_found: int, pairs: tuple[NDArray[np.intp], NDArray[np.intp]]
) -> tuple[Count, list[tuple[int, int]]]:
    """Count the hits of one video and kind under a rule.

    Args:
        rule: Name of a rule of spotting.
        n_true: Number of true intervals.
        n_found: Number of detected ones.
        pairs: What `overlapping` returns.

    Returns:
        The counts, and the pairs that count as hits: (index of the truth, index of the detection).
    """
    t, f = pairs
    if rule == "megc2020":
        hit, first = np.unique(t, return_index=True)
        chosen = [(int(a), int(f[b])) for a, b in zip(hit, first, strict=True)]
        return Count(len(hit), n_found - len(hit), n_true - len(hit)), chosen
    if rule == "strs":
        chosen = [(int(a), int(b)) for a, b in zip(t, f, strict=True)]
        return Count(len(t), n_found - len(np.unique(f)), n_true - len(np.unique(t))), chosen
    if not len(t):
        return Count(0, n_found, n_true), []
    graph = csr_array((np.ones(len(t), np.int8), (t, f)), shape=(n_true, n_found))
    matched = maximum_bipartite_matching(graph, perm_type="column")
    chosen = [(a, int(b)) for a, b in enumerate(matched) if b >= 0]
    return Count(len(chosen), n_found - len(chosen), n_true - len(chosen)), chosen
