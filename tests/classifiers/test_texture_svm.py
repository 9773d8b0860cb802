"""Classifiers of histograms: kernels against loops, settings from inner folds only, several kernels, a forest."""

import math

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from mien.classifiers.inner_choice import InnerChoice
from mien.classifiers.inner_folds import inner_folds
from mien.classifiers.texture_svm import KERNELS, Forest, KernelSvm, MultipleKernels, kernel_table
from mien.descriptors import lbp_sip
from mien.errors import MienError

Groups = list[tuple[str, str]]


def histograms(n: int = 48, parts: int = 6, bins: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Groups]:
    """Noisy histograms of three classes that differ in the first part alone; eight subjects."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = random.dirichlet(np.full(bins, 2.0), size=(n, parts))
    x[:, 0] = 0.4 * x[:, 0] + 0.6 * np.eye(bins)[y]
    return x.reshape(n, -1).astype(np.float32), y, [("d", str(i // 6)) for i in range(n)]


def accuracy(machine: object, split: int = 24) -> float:
    x, y, groups = histograms()
    machine.fit(x[:split], y[:split], groups[:split], seed=0)  # type: ignore[attr-defined]
    p = machine.predict_proba(x[split:])  # type: ignore[attr-defined]
    assert p.dtype == np.float32
    assert np.allclose(p.sum(1), 1, atol=1e-5)
    return float((p.argmax(1) == y[split:]).mean())


def slow_kernel(a: np.ndarray, b: np.ndarray, kernel: str) -> float:
    if kernel == "hellinger":
        return sum(math.sqrt(p * q) for p, q in zip(a, b, strict=True))
    if kernel == "chi2":
        return float(sum((p - q) ** 2 / (p + q) for p, q in zip(a, b, strict=True) if p + q))
    product = float(sum(p * q for p, q in zip(a, b, strict=True)))
    return product if kernel == "linear" else (0.22 * product + 0.5) ** 3


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_equal_the_loop(kernel: str) -> None:
    a, b = (np.random.default_rng(s).dirichlet(np.full(9, 0.3), size=4) * (s + 1) for s in (0, 1))
    a[0, 0] = b[0, 0] = 0
    slow = [[slow_kernel(p, q, kernel) for q in b] for p in a]
    assert np.allclose(kernel_table(a, b, kernel, 0.22, 0.5, 3), slow, rtol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_learns_what_is_there(kernel: str) -> None:
    assert accuracy(KernelSvm(3, kernel=kernel)) > 0.9  # type: ignore[arg-type]


def test_the_paper_s_kernel_is_scikit_learn_s_polynomial() -> None:
    """Dividing the kernel by its mean diagonal is no more than another unit of C."""
    x, y, groups = histograms()
    ours = KernelSvm(3, costs=(100.0,), balanced=False).fit(x, y, groups)
    scale = np.mean([(0.22 * float(row @ row)) ** 2 for row in x.astype(np.float64)])
    theirs = SVC(kernel="poly", gamma=0.22, coef0=0, degree=2, C=100 / scale, break_ties=True).fit(
        x.astype(np.float64), y
    )
    assert np.allclose(ours.decision_values(x), theirs.decision_function(x.astype(np.float64)), atol=1e-2)
    assert np.array_equal(ours.predict(x), theirs.predict(x))


def test_settings_come_from_inner_folds_by_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, groups = histograms()
    seen: list[int] = []
    plain = KernelSvm.solve

    machine = KernelSvm(3, costs=(1.0, 100.0), inner_folds=4)

    def watched(self: KernelSvm, pairs: np.ndarray, labels: np.ndarray, setting: tuple[float, float]) -> SVC:
        seen.append(len(labels))
        return plain(self, pairs, labels, setting)

    monkeypatch.setattr(KernelSvm, "solve", watched)
    machine.fit(x, y, groups)
    subjects = np.array([int(s) for _, s in groups])
    folds = inner_folds(y, subjects, 4, 0)
    assert len(folds) == 4
    for train, test in folds:
        assert not set(subjects[train]) & set(subjects[test])
    assert seen == [len(train) for _ in range(2) for train, _ in folds] + [len(y)]
    assert machine.chosen[0] in (1.0, 100.0)


def test_one_subject_alone_takes_the_middle_setting() -> None:
    x, y, _ = histograms(12)
    machine = KernelSvm(3, costs=(1.0, 10.0, 100.0)).fit(x, y, [("d", "s")] * 12)
    assert machine.chosen == (10.0, 1.0)


@pytest.mark.parametrize(
    "machine",
    [
        KernelSvm(4, costs=(10.0,)),
        MultipleKernels(4, parts=6, costs=(10.0,)),
        Forest(4, trees=30),
    ],
)
def test_a_class_that_was_not_there_gets_nothing(machine: InnerChoice) -> None:
    x, y, groups = histograms()
    for labels in (y, y % 2):
        p = machine.fit(x, labels + 1 * (labels > 0), groups).predict_proba(x)
        assert p.shape == (48, 4)
        assert (p[:, 1] == 0).all()


def test_weights_of_kernels_find_the_part_that_tells() -> None:
    x, y, groups = histograms()
    machine = MultipleKernels(3, parts=6, kernel="linear", norm=1.0, costs=(10.0,)).fit(x, y, groups)
    weights = machine.machine_.weights
    assert (weights >= 0).all()
    assert weights.argmax() == 0
    assert weights[0] > 2 * np.sort(weights)[-2]
    assert accuracy(MultipleKernels(3, parts=6, norm=1.5, costs=(10.0, 100.0))) > 0.9


@pytest.mark.parametrize("norm", [1.0, 1.5, 2.0])
def test_the_objective_of_several_kernels_falls_and_the_norm_holds(norm: float) -> None:
    x, y, groups = histograms(seed=3)
    machine = MultipleKernels(3, parts=6, norm=norm, costs=(10.0,), inner_folds=1).fit(x, y, groups)
    falls = np.diff(machine.objectives)
    assert len(falls) >= 2
    assert (falls <= 1e-2 * np.abs(machine.objectives[0])).all()
    assert machine.objectives[-1] < machine.objectives[0]
    assert np.sum(machine.machine_.weights**norm) == pytest.approx(1, abs=1e-6)


def test_one_kernel_is_the_machine_of_that_kernel() -> None:
    x, y, groups = histograms()
    y = y % 2
    one = MultipleKernels(2, parts=1, costs=(10.0,)).fit(x, y, groups)
    plain = KernelSvm(2, costs=(10.0,)).fit(x, y, groups)
    assert np.allclose(one.decision_values(x), plain.decision_values(x), atol=1e-2)


def test_works_in_a_pipeline_from_clips() -> None:
    random = np.random.default_rng(0)
    y = np.arange(24) % 2
    clips = np.cumsum(random.normal(size=(24, 9, 16, 16)), axis=1)
    clips[y == 1] = clips[y == 1, ::-1].cumsum(1)
    describe = FunctionTransformer(lambda x: np.stack([lbp_sip(clip, blocks=(2, 2, 1)) for clip in x]))
    made = make_pipeline(describe, KernelSvm(2, kernel="hellinger"))
    assert (made.fit(clips[:16], y[:16]).predict(clips[16:]) == y[16:]).mean() >= 0.75


def test_bad_input_is_told() -> None:
    x, y, groups = histograms()
    with pytest.raises(MienError, match="negative"):
        KernelSvm(3, kernel="chi2").fit(x - 1, y, groups)
    with pytest.raises(MienError, match="parts is 5"):
        MultipleKernels(3, parts=5).fit(x, y, groups)
    with pytest.raises(MienError, match="kernel is 'chi2'"):
        MultipleKernels(3, kernel="chi2").fit(x, y, groups)
    with pytest.raises(MienError, match="norm is"):
        MultipleKernels(3, norm=0.5).fit(x, y, groups)
