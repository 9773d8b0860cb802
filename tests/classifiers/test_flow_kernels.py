"""Kernel ridge regression on flow pictures, against slow and obvious versions of the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from mien.classifiers.face_bands import unit_shares, whole_face, windows
from mien.classifiers.flow_features import flow_features, flow_kernel
from mien.classifiers.flow_kernels import FlowKernels, best_f1_threshold
from mien.classifiers.kernel_ridge import left_out_answers
from mien.errors import MienError
from mien.evaluation.unit_metrics import auc

Floats = NDArray[Any]
WHOLE = windows(12)[:1]


def pictures(n: int, seed: int = 0, channels: int = 3) -> Floats:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, channels, 12, 10)) * 20 + 128


def test_left_out_answers_equal_training_again_without_the_group() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 4))
    kernel = x @ x.T
    penalty, targets = rng.uniform(0.5, 2, 9), rng.normal(size=(9, 2))
    groups = np.array([0, 0, 1, 1, 1, 2, 3, 3, 3])
    answers = left_out_answers(np.linalg.inv(kernel + np.diag(penalty)), targets, groups)
    for group in range(4):
        out, kept = np.flatnonzero(groups == group), np.flatnonzero(groups != group)
        solved = np.linalg.solve(kernel[np.ix_(kept, kept)] + np.diag(penalty[kept]), targets[kept])
        np.testing.assert_allclose(answers[out], kernel[np.ix_(out, kept)] @ solved, rtol=1e-8)


def test_several_pictures_of_a_clip_are_averaged_as_kernels() -> None:
    x = pictures(5, channels=6)
    machine = FlowKernels(2)
    machine.shares = whole_face(2)
    (together,) = machine.kernels(machine.features(x), machine.features(x))
    first, second = (flow_kernel(f, f, WHOLE)[0] for f in (flow_features(x[:, :3]), flow_features(x[:, 3:])))
    np.testing.assert_allclose(together, (first + second) / 2, rtol=1e-5)


def moving(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64], list[tuple[str, str]]]:
    """Return pictures of a spot that moves aside, down or up, which is their class; six subjects."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = rng.normal(size=(n, 3, 14, 14)).astype(np.float32)
    for i, direction in enumerate(y.tolist()):
        x[i, 0 if direction == 0 else 1, 3:9, 4:10] += 6.0 if direction < 2 else -6.0
    return x, y, [("d", f"s{i % 6}") for i in range(n)]


def test_directions_of_motion_are_learned_and_probabilities_sum_to_one() -> None:
    x, y, groups = moving(36, seed=0)
    new, wanted, _ = moving(30, seed=1)
    probabilities = FlowKernels(3).fit(x, y, groups).predict_proba(new)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert (probabilities.argmax(1) == wanted).mean() > 0.9


def test_shuffled_classes_are_not_learned_and_probabilities_say_so() -> None:
    x, y, groups = moving(36, seed=0)
    shuffled = np.random.default_rng(3).permutation(y)
    probabilities = FlowKernels(3).fit(x, shuffled, groups).predict_proba(moving(30, seed=1)[0])
    assert probabilities.max() < 0.75


def test_same_clips_give_the_same_bits_whatever_the_seed() -> None:
    x, y, groups = moving(18, seed=0)
    first = FlowKernels(3).fit(x, y, groups, seed=0).predict_proba(x)
    assert np.array_equal(first, FlowKernels(3).fit(x, y, groups, seed=9).predict_proba(x))


def test_input_that_is_no_flow_picture_is_refused() -> None:
    with pytest.raises(MienError, match="shape"):
        FlowKernels(2).fit(np.zeros((4, 2, 8, 8), np.float32), np.array([0, 1, 0, 1]), [("d", "s")] * 4)


def units(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64], list[tuple[str, str]]]:
    """Return pictures in which a left spot, a right spot, both or neither move down; unit 2 is never present."""
    rng = np.random.default_rng(seed)
    y = np.stack([rng.random(n) < 0.5, rng.random(n) < 0.3, np.zeros(n, bool)], axis=1)
    x = rng.normal(size=(n, 3, 14, 14)).astype(np.float32)
    x[y[:, 0], 1, 2:5, 5:9] += 6
    x[y[:, 1], 1, 9:12, 5:9] -= 6
    return x, y.astype(np.int64), [("d", f"s{i % 8}") for i in range(n)]


def test_units_that_move_together_are_each_found() -> None:
    x, y, groups = units(80, seed=0)
    new, wanted, _ = units(60, seed=1)
    machine = FlowKernels(3).fit(x, y, groups)
    probabilities = machine.predict_proba(new)
    decisions = machine.decide_units(probabilities)
    assert probabilities.shape == (60, 3)
    assert (decisions[:, :2] == wanted[:, :2]).mean() > 0.9
    assert not decisions[:, 2].any()
    assert probabilities[:, 2].max() < 1e-6


def test_unit_probabilities_do_not_follow_the_share_of_the_unit_in_training() -> None:
    x, y, groups = units(80, seed=0)
    fewer = y.copy()
    fewer[np.flatnonzero(y[:, 0])[::2], 0] = 0
    new = units(60, seed=1)[0]
    rare, often = (FlowKernels(3).fit(x, labels, groups).predict_proba(new)[:, 1] for labels in (fewer, y))
    np.testing.assert_allclose(rare, often)


def test_threshold_of_a_unit_has_nearly_the_best_f1_of_answers_to_come() -> None:
    rng = np.random.default_rng(0)
    true, later = rng.random(400) < 0.15, rng.random(20000) < 0.15
    answers, to_come = rng.normal(1.5 * true, 1), rng.normal(1.5 * later, 1)
    best = max(f1_score(later, to_come > t) for t in np.linspace(0, 3, 31))
    assert f1_score(later, to_come > best_f1_threshold(answers, true)) > best - 0.02


def test_unit_whose_answers_say_nothing_is_never_said_to_be_there() -> None:
    true = np.arange(20) < 5
    assert best_f1_threshold(-true.astype(float), true) == np.inf


def test_answers_of_a_unit_equal_ridge_regression_on_the_kernels_of_its_bands() -> None:
    x, y, groups = units(40, seed=0)
    machine = FlowKernels(3)
    machine.units = ("AU1", "AU6", "AU12")
    machine.fit(x, y, groups)
    new = units(7, seed=1)[0]
    train, test = flow_features(x), flow_features(new)
    rows, shares = windows(14), unit_shares(machine.units)
    for place in range(2):
        own, other = (np.tensordot(shares[place], flow_kernel(f, train, rows), 1) for f in (train, test))
        true = y[:, place] > 0
        penalty = np.where(true, true.sum(), (~true).sum()) * 2 / len(true)
        answer = other @ np.linalg.solve(own + np.diag(penalty), np.where(true, 1.0, -0.5))
        found = machine.predict_proba(new)[:, place]
        np.testing.assert_allclose(found, 1 / (1 + np.exp(-4 * (answer - 0.25) / 0.75)), rtol=1e-4)


def test_band_of_a_unit_finds_a_small_motion_beside_a_large_one_elsewhere() -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(120)[:, None] % 2 == 0).astype(np.int64)
    x = rng.normal(size=(120, 3, 14, 14)).astype(np.float32)
    x[:, :2, :5] *= rng.uniform(4, 8, (120, 1, 1, 1))
    x[y[:, 0] > 0, 1, 9:12, 4:10] -= 1.5
    groups = [("d", f"s{i % 6}") for i in range(120)]

    def score(names: tuple[str, ...]) -> float:
        machine = FlowKernels(1)
        machine.units = names
        return auc(y[80:, 0] > 0, machine.fit(x[:80], y[:80], groups[:80]).predict_proba(x[80:])[:, 0].astype(float))

    assert score(("AU12",)) > max(score(()), score(("AU1",))) + 0.05


@pytest.mark.parametrize("task", ["classes", "units"])
def test_a_few_support_clips_answer_almost_as_all_clips(task: str) -> None:
    x, y, groups = moving(240, seed=0) if task == "classes" else units(240, seed=0)
    new = (moving(90, seed=1) if task == "classes" else units(90, seed=1))[0]
    full, few = FlowKernels(3).fit(x, y, groups), FlowKernels(3, support=80).fit(x, y, groups)
    assert len(few.pictures) == 80
    a, b = full.predict_proba(new), few.predict_proba(new)
    assert np.corrcoef(a[:, 0], b[:, 0])[0, 1] > 0.97
    if task == "classes":
        assert (a.argmax(1) == b.argmax(1)).mean() > 0.95
    else:
        assert (full.decide_units(a) == few.decide_units(b)).mean() > 0.95


def test_more_support_clips_than_there_are_change_nothing() -> None:
    x, y, groups = moving(18, seed=0)
    full, same = (FlowKernels(3, support=n).fit(x, y, groups).predict_proba(x) for n in (0, 18))
    assert np.array_equal(full, same)


NAMED = ("AU1", "AU12", "AU17")


def begun(names: tuple[str, ...] = NAMED) -> FlowKernels:
    """Return a machine that was trained on other clips."""
    machine = FlowKernels(3)
    machine.units = names
    return machine.fit(*units(40, seed=7))


def started(names: tuple[str, ...] = NAMED, channels: int = 3) -> tuple[FlowKernels, NDArray[np.float32]]:
    """Return a machine that starts from another one, and clips that neither has seen."""
    x, y, groups = units(30, seed=0)
    machine = FlowKernels(3, start=begun)
    machine.units = names
    machine.fit(np.tile(x, (1, channels // 3, 1, 1)), y, groups)
    return machine, np.tile(units(7, seed=1)[0], (1, channels // 3, 1, 1))


def test_a_machine_that_starts_from_another_counts_it_as_a_few_clips_of_each_unit() -> None:
    machine, new = started()
    x, y, groups = units(30, seed=0)
    alone = FlowKernels(3)
    alone.units = NAMED
    alone.fit(x, y, groups)
    shown = y.sum(0)
    wanted = (shown * alone.answers(new) + 3 * begun().answers(new)) / (shown + 3)
    np.testing.assert_allclose(machine.answers(new)[:, :2], wanted[:, :2], atol=1e-6)
    # Nobody shows the third unit: the other machine could not change that.
    assert not machine.decide_units(machine.predict_proba(new))[:, 2].any()


def test_machine_to_start_from_reads_each_of_several_pictures() -> None:
    (one, x), (two, twice) = started(), started(channels=6)
    np.testing.assert_allclose(one.answers(x), two.answers(twice), atol=1e-6)


def test_trained_machine_keeps_the_one_it_started_from() -> None:
    machine, new = started()
    kept = {name: np.array(each) for name, each in machine.saved_arrays().items()}
    again = FlowKernels(3)
    again.units = NAMED
    again.load_arrays(kept)
    assert np.array_equal(again.predict_proba(new), machine.predict_proba(new))
    with pytest.raises(ValueError, match="slopes"):
        FlowKernels(3).load_arrays({name: each for name, each in kept.items() if name != "slopes"})


def test_machine_for_other_units_is_no_start() -> None:
    with pytest.raises(MienError, match="other questions"):
        started(("AU1", "AU12", "AU4"))
    x, y, groups = moving(18, seed=0)
    with pytest.raises(MienError, match="other questions"):
        FlowKernels(3, start=begun).fit(x, y, groups)
