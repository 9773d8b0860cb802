"""The stage that joins, drops and grows intervals does the same as a count of frames one by one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from mien.spotting.base import Kind, Spot

sys.path.append(str(Path(__file__).resolve().parents[2] / "studies"))
from spotting_decisions import AS_IT_IS, Stage, staged

FPS, LENGTH = 30.0, 600


def films(seed: int, kind: Kind) -> list[Spot]:
    """Intervals that do not touch each other, at random places, and one of the other kind."""
    random = np.random.default_rng(seed)
    ends = np.sort(random.choice(LENGTH // 2, 24, replace=False)) * 2
    other: Kind = "macro" if kind == "micro" else "micro"
    made = [Spot(int(a), int(a), int(b) - 2 + int(b - a == 2), kind, 1.0) for a, b in ends.reshape(-1, 2)]
    return [*made, Spot(0, 3, 9, other)]


def frame_by_frame(spots: list[Spot], gap: int, shortest: int, longest: int, pad: int) -> list[tuple[int, int]]:
    """Paint frames, fill short holes, read the runs."""
    painted = ["1" if any(s.onset <= n <= s.offset for s in spots) else "0" for n in range(LENGTH)]
    text = "".join(painted)
    for hole in range(1, gap + 1):
        text = text.replace(f"1{'0' * hole}1", f"1{'1' * hole}1").replace(f"1{'0' * hole}1", f"1{'1' * hole}1")
    found, start = [], None
    for n, seen in enumerate([*text, "0"]):
        if seen == "1" and start is None:
            start = n
        if seen == "0" and start is not None:
            found.append((start, n - 1))
            start = None
    return [(max(0, a - pad), min(LENGTH - 1, b + pad)) for a, b in found if shortest <= b - a + 1 <= longest]


@pytest.mark.parametrize("stage", [(0.0, 0.1, 0.0), (0.2, 0.2, 0.1), (0.4, 0.0, 0.4), (0.1, 0.3, 0.0)])
@pytest.mark.parametrize(("kind", "longest"), [("micro", 24), ("macro", 135)])
def test_stage_equals_painted_frames(kind: Kind, longest: int, stage: Stage) -> None:
    for seed in range(20):
        spots = films(seed, kind)
        of_kind = [s for s in spots if s.kind == kind]
        gap, shortest, pad = (round(v * FPS) for v in stage)
        found = [(s.onset, s.offset) for s in staged(spots, kind, FPS, LENGTH, stage)]
        assert found == frame_by_frame(of_kind, gap, shortest, longest, pad)


def test_stage_that_changes_nothing_keeps_every_interval_of_the_kind() -> None:
    spots = films(0, "micro")
    assert staged(spots, "micro", FPS, LENGTH, AS_IT_IS) == spots[:-1]
