"""Decisions: rows to intervals, in parts as in one go. These tests use no pictures."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from mien.evaluation.spotting.benchmark import fit_parameters
from mien.evaluation.spotting.metrics import count
from mien.spotting import SPOTTERS
from mien.spotting.base import Along, Spot, decide_all
from mien.spotting.flow_peaks import FLOW_PEAKS, REGIONS, decide
from mien.spotting.peaks import around_peaks, contrast, threshold
from mien.spotting.softnet import pseudo_labels

MOUTH = list(REGIONS).index("mouth corner, image-left")
LIP = list(REGIONS).index("upper lip")
BROW = list(REGIONS).index("brow, inner, image-left")


def quiet(seconds: float, fps: float, seed: int = 0, noise: float = 0.0005) -> NDArray[np.float32]:
    """Return rows of a face at rest: noise and slow drift."""
    rng = np.random.default_rng(seed)
    n = round(seconds * fps)
    t = np.arange(n)[:, None] / fps
    drift = 0.004 * np.sin(2 * np.pi * 0.05 * t + rng.uniform(0, 6, (1, 2 * len(REGIONS))))
    rows = np.zeros((n, 2 * len(REGIONS) + 1), np.float32)
    rows[:, :-1] = noise * rng.standard_normal((n, 2 * len(REGIONS))) + drift
    return rows


def move(rows: NDArray[np.float32], fps: float, start: float, length: float, height: float, region: int) -> Spot:
    """Add a bump to a region and its neighbour."""
    onset, offset = round(start * fps), round((start + length) * fps)
    t = np.arange(onset, offset + 1)
    bump = 0.5 - 0.5 * np.cos(2 * np.pi * (t - onset) / (offset - onset))
    for r in (region, region + 1):
        rows[onset : offset + 1, 2 * r + 1] += height * bump
    kind = "micro" if length <= 0.5 else "macro"
    return Spot(onset, (onset + offset) // 2, offset, "micro" if kind == "micro" else "macro")


@pytest.mark.parametrize("fps", [30.0, 60.0, 100.0, 200.0])
def test_bumps_of_both_kinds_are_found_at_any_frame_rate(fps: float) -> None:
    rows = quiet(40, fps)
    true = [
        move(rows, fps, 5, 0.3, 0.03, MOUTH),
        move(rows, fps, 12, 0.45, 0.03, BROW),
        move(rows, fps, 20, 1.5, 0.08, MOUTH),
        move(rows, fps, 30, 3.0, 0.08, BROW),
    ]
    found = decide(rows, fps, dict(FLOW_PEAKS.parameters))
    counts = count([(true, found)])["all"]
    assert (counts.tp, counts.fp, counts.fn) == (4, 0, 0)
    for t, f in zip(true, found, strict=True):
        assert t.apex is not None
        assert f.apex is not None
        assert abs(t.apex - f.apex) <= max(2, 0.06 * t.n_frames)


def test_steps_ramps_and_noise_are_not_found() -> None:
    fps = 100.0
    rows = quiet(30, fps)
    assert decide(rows, fps, dict(FLOW_PEAKS.parameters)) == []
    rows[1000:, 2 * MOUTH] += 0.05  # a step: away and never back
    rows[:, 2 * BROW] += np.linspace(0, 0.4, len(rows), dtype=np.float32)  # drift
    assert decide(rows, fps, dict(FLOW_PEAKS.parameters)) == []
    move(rows, fps, 20, 6.0, 0.1, MOUTH)  # longer than a macro-expression
    assert not [s for s in decide(rows, fps, dict(FLOW_PEAKS.parameters)) if s.n_frames > 4 * fps]


def test_bump_during_a_blink_is_dropped_at_the_brows_but_not_at_the_mouth() -> None:
    fps = 100.0
    for region, expected in ((BROW, 0), (MOUTH, 1)):
        rows = quiet(20, fps)
        move(rows, fps, 10, 0.3, 0.02, region)
        assert len(decide(rows, fps, dict(FLOW_PEAKS.parameters))) == 1
        rows[1000:1030, -1] = 0.8
        assert len(decide(rows, fps, dict(FLOW_PEAKS.parameters))) == expected


def test_frames_without_a_face_are_bridged_and_never_part_of_an_interval() -> None:
    fps = 100.0
    rows = quiet(20, fps)
    true = move(rows, fps, 15, 0.3, 0.03, MOUTH)
    rows[800:900] = np.nan
    rows[900:, :-1] += 5.0  # another origin after the gap
    found = decide(rows, fps, dict(FLOW_PEAKS.parameters))
    assert [(s.kind, s.apex is not None and abs(s.apex - (true.apex or 0)) < 4) for s in found] == [("micro", True)]
    assert decide(np.full_like(rows, np.nan), fps, dict(FLOW_PEAKS.parameters)) == []


@pytest.mark.parametrize("name", ["flow-peaks", "lbp-chi2", "mdmd"])
def test_searching_in_parts_equals_searching_the_whole_video(name: str) -> None:
    spotter = SPOTTERS[name]
    fps = 30.0
    rng = np.random.default_rng(4)
    if name == "flow-peaks":
        rows = quiet(70, fps)
        for k in range(14):
            move(rows, fps, 2 + 4.7 * k, 0.3 if k % 2 else 1.2, 0.05, MOUTH if k % 3 else BROW)
    else:
        rows = gaussian_filter1d(rng.standard_normal((round(400 * fps), 2)), 8, axis=0).astype(np.float32)
    along = Along(spotter, fps, spotter.parameters)
    found: list[Spot] = []
    most = 0
    for row in rows:
        found += along.add([row])
        most = max(most, len(along._rows))
    found += along.finish()
    assert found == decide_all(spotter, rows, fps, spotter.parameters)
    assert most <= (spotter.part + 2 * spotter.margin) * fps + 2  # memory does not grow with the video
    assert len(found) == len(set(found)) > 3
    if name == "flow-peaks":
        # Its margins are longer than all its windows, so the parts do not change the result.
        assert sorted(found, key=lambda s: s.onset) == decide(rows, fps, spotter.parameters)


def test_contrast_and_threshold_equal_a_loop() -> None:
    curve, k = np.random.default_rng(0).random(50), 4
    slow = [
        max(0.0, curve[i] - (curve[i - k] + curve[i + k]) / 2) if k <= i < len(curve) - k else 0.0
        for i in range(len(curve))
    ]
    np.testing.assert_allclose(contrast(curve, k), slow)
    assert threshold(np.array([0.0, 0, 4]), 0.25) == pytest.approx(4 / 3 + 0.25 * (4 - 4 / 3))
    assert around_peaks(np.zeros(30), 0.1, 4, "micro") == []
    level = np.zeros(30)
    level[12] = 1
    assert [(s.onset, s.apex, s.offset) for s in around_peaks(level, 0.1, 4, "micro")] == [(8, 12, 16)]


def test_pseudo_labels_equal_a_loop() -> None:
    true = [Spot(10, 12, 14, "micro"), Spot(30, 33, 39, "macro")]
    k, n = 4, 60
    slow = [float(any(i <= f <= i + k for f in range(10, 15))) for i in range(n)]
    np.testing.assert_array_equal(pseudo_labels(n, true, k, "micro"), slow)


def test_thresholds_are_chosen_on_the_training_videos() -> None:
    fps = 100.0
    rows, true = [], []
    for seed in range(2):
        one = quiet(40, fps, seed)
        true.append([move(one, fps, 6 * k + 3, 0.3, 0.025, MOUTH) for k in range(5)])
        for k in range(5):  # small, unlabelled bumps
            move(one, fps, 6 * k + 6, 0.3, 0.010, LIP)
        rows.append(one)
    chosen = fit_parameters(FLOW_PEAKS, rows, true, [fps] * 2, FLOW_PEAKS.parameters)
    assert chosen["micro_height"] > 0.010 > FLOW_PEAKS.parameters["micro_height"]
    found = decide(rows[0], fps, chosen)
    assert count([(true[0], found)])["micro"].f1 == 1
    kept = fit_parameters(FLOW_PEAKS, rows, true, [fps] * 2, FLOW_PEAKS.parameters, fixed={"micro_height"})
    assert kept["micro_height"] == FLOW_PEAKS.parameters["micro_height"]
