"""Intervals met, counted and scored."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import MienError
from mien.evaluation.spotting.metrics import Count, analysis_f1, count, iou, match, strs
from mien.spotting.base import Kind, Spot


def spots(*ends: tuple[int, int], kind: Kind = "micro", emotion: str = "") -> list[Spot]:
    return [Spot(a, None, b, kind, emotion=emotion) for a, b in ends]


def plain_iou(a: Spot, b: Spot) -> float:
    first, second = set(range(a.onset, a.offset + 1)), set(range(b.onset, b.offset + 1))
    return len(first & second) / len(first | second)


def most_hits(true: list[Spot], found: list[Spot]) -> int:
    """Every way to pair them, tried one by one."""
    good = [(t, f) for t in range(len(true)) for f in range(len(found)) if plain_iou(true[t], found[f]) >= 0.5]
    for n in range(min(len(true), len(found)), 0, -1):
        for pairs in itertools.combinations(good, n):
            if len({t for t, _ in pairs}) == len({f for _, f in pairs}) == n:
                return n
    return 0


def greedy_hits(true: list[Spot], found: list[Spot]) -> int:
    left, hits = list(true), 0
    for f in found:
        for t in left:
            if plain_iou(t, f) >= 0.5:
                left.remove(t)
                hits += 1
                break
    return hits


interval = st.builds(lambda a, n: (a, a + n), st.integers(0, 30), st.integers(0, 12))
intervals = st.lists(interval, max_size=4)


@settings(max_examples=120, deadline=None)
@given(intervals, intervals)
def test_matching_is_the_best_there_is(true: list[tuple[int, int]], found: list[tuple[int, int]]) -> None:
    a, b = spots(*true), spots(*found)
    pairs = match(a, b)
    assert len(pairs) == most_hits(a, b)
    assert all(plain_iou(a[t], b[f]) >= 0.5 for t, f in pairs)
    assert len({t for t, _ in pairs}) == len({f for _, f in pairs}) == len(pairs)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=5), intervals)
def test_any_order_gives_the_same_hits_where_true_intervals_do_not_overlap(
    steps: list[tuple[int, int]], found: list[tuple[int, int]]
) -> None:
    edge, true = 0, []
    for gap, length in steps:
        true.append((edge + gap, edge + gap + length - 1))
        edge += gap + length
    a, b = spots(*true), spots(*found)
    assert len(match(a, b)) == greedy_hits(a, b)


def test_overlap_counts_both_ends() -> None:
    table = iou(spots((1, 10), (100, 100)), spots((6, 15), (1, 10), (200, 210)))
    np.testing.assert_allclose(table, np.array([[5 / 15, 1, 0], [0, 0, 0]], float))
    assert match(spots((1, 10)), spots((1, 5))) == [(0, 0)]  # exactly a half is a hit
    assert match(spots((1, 11)), spots((1, 5))) == []


def test_one_true_interval_is_hit_once() -> None:
    counts = count([(spots((10, 20)), spots((10, 20), (11, 20), (10, 19)))])
    assert counts["micro"] == Count(1, 2, 0)


def test_all_videos_count_and_kinds_do_not_mix() -> None:
    films = [
        (spots((0, 9)) + spots((50, 99), kind="macro"), spots((0, 9)) + spots((50, 99))),
        ([], spots((5, 9)) + spots((10, 80), kind="macro")),  # a video without any expression: false ones count
        (spots((3, 9)), []),
    ]
    counts = count(films)
    assert counts["micro"] == Count(1, 2, 1)
    assert counts["macro"] == Count(0, 1, 1)
    assert counts["all"] == Count(1, 3, 2)
    assert counts["micro"].f1 == pytest.approx(2 * 1 / (2 + 2 + 1))
    assert count([])["all"].f1 == 0


def test_published_count_gives_the_published_f1() -> None:
    # MDMD on CAS(ME)^2, MEGC 2020: .0376 from 130 hits, 6428 false, 227 missed.
    assert Count(130, 6428, 227).f1 == pytest.approx(0.0376, abs=5e-5)


def test_strs_known_answers() -> None:
    true = [Spot(0, 5, 9, "micro", emotion="happy"), Spot(20, 25, 29, "micro", emotion="sad")]
    right = [Spot(0, 5, 9, "micro", emotion="happy"), Spot(20, 25, 29, "micro", emotion="sad")]
    assert strs([(true, right)]) == {
        "spot_f1": 1.0, "analysis_f1": 1.0, "strs": 1.0, "named": 2, "majority_f1": pytest.approx(1 / 3),
    }  # fmt: skip
    assert strs([(true, [])])["strs"] == 0
    # One of two found, and named right: F1 2/3, analysis 1.
    assert strs([(true, right[:1])])["strs"] == pytest.approx(2 / 3)
    # Both found, one named right. Precision: happy 1/2, sad 0; recall: happy 1, sad 0; 2 * .25 * .5 / .75 = 1/3.
    wrong = [right[0], Spot(20, 25, 29, "micro", emotion="happy")]
    assert strs([(true, wrong)])["strs"] == pytest.approx(1 / 3)
    assert analysis_f1([]) == 0


def test_bad_overlap() -> None:
    with pytest.raises(MienError, match="above 0"):
        match(spots((0, 1)), spots((0, 1)), 0)
