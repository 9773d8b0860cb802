"""Kernelised group sparse learning: the objective written out, that it falls, that the right groups are kept."""

import numpy as np
import pytest

from mien.classifiers.group_sparse import KernelGroupSparse, solve_groups


def problem(seed: int = 0, n: int = 30, groups: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random kernels, centred targets and weights."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(groups, n, 6))
    y = np.arange(n) % 3
    features[1, :, :3] += 2 * np.eye(3)[y]
    kernels = np.stack([f @ f.T for f in features])
    kernels /= np.trace(kernels, axis1=1, axis2=2)[:, None, None] / n
    return kernels, np.eye(3)[y] - 1 / 3, random.uniform(0.5, 2, n)


def slow_objective(
    kernels: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    beta: np.ndarray,
    projections: list[np.ndarray],
    ridge: float,
    penalty: float,
) -> float:
    """The formula of the module, clip by clip and group by group."""
    total = 0.0
    for n in range(len(targets)):
        answer = sum(b * k[n] @ p for b, k, p in zip(beta, kernels, projections, strict=True))
        total += weights[n] * float(((targets[n] - answer) ** 2).sum())
    total += ridge * sum(float(np.trace(p.T @ k @ p)) for k, p in zip(kernels, projections, strict=True))
    return total + penalty * float(beta.sum())


@pytest.mark.parametrize(("ridge", "sparsity"), [(0.1, 0.01), (1.0, 0.1), (10.0, 0.3), (1.0, 0.0)])
def test_the_objective_falls_and_is_the_formula(ridge: float, sparsity: float) -> None:
    kernels, targets, weights = problem()
    found = solve_groups(kernels, targets, weights, ridge=ridge, sparsity=sparsity)
    assert (found.beta >= 0).all()
    assert (np.diff(found.objectives) <= 1e-9 * found.objectives[0]).all()
    if sparsity:
        assert found.objectives[-1] < found.objectives[0]
        assert len(found.objectives) >= 3
    made = [b * found.projections for b in found.beta]
    written = slow_objective(kernels, targets, weights, found.beta, made, ridge, found.penalty)
    assert written == pytest.approx(found.objectives[-1], rel=1e-9)


def test_projections_are_the_least_for_their_weights() -> None:
    kernels, targets, weights = problem()
    found = solve_groups(kernels, targets, weights, ridge=1.0, sparsity=0.05)
    made = [b * found.projections for b in found.beta]
    random = np.random.default_rng(0)
    for _ in range(20):
        moved = [p + 1e-3 * random.normal(size=p.shape) for p in made]
        worse = slow_objective(kernels, targets, weights, found.beta, moved, 1.0, found.penalty)
        assert worse >= found.objectives[-1] - 1e-12


def test_the_group_that_tells_is_kept_and_more_sparsity_keeps_fewer() -> None:
    kernels, targets, weights = problem()
    kept = [solve_groups(kernels, targets, weights, ridge=1.0, sparsity=s).beta for s in (0.03, 0.1, 0.3)]
    assert all(beta.argmax() == 1 for beta in kept)
    counts = [int((beta > 1e-6).sum()) for beta in kept]
    assert counts[0] >= counts[1] >= counts[2] >= 1
    assert counts[2] < counts[0]
    assert not solve_groups(kernels, targets, weights, ridge=1.0, sparsity=1.01).beta.any()


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str]]]:
    random = np.random.default_rng(seed)
    y = np.arange(48) % 3
    x = random.dirichlet(np.full(8, 2.0), size=(48, 6))
    x[:, 2] = 0.4 * x[:, 2] + 0.6 * np.eye(8)[y]
    return x.reshape(48, -1).astype(np.float32), y, [("d", str(i // 6)) for i in range(48)]


@pytest.mark.parametrize("kernel", ["linear", "hellinger", "poly"])
def test_classifies_clips_it_has_not_seen(kernel: str) -> None:
    x, y, groups = data()
    machine = KernelGroupSparse(3, parts=6, kernel=kernel, sparsities=(0.1,))  # type: ignore[arg-type]
    machine.fit(x[:24], y[:24], groups[:24])
    assert (machine.predict(x[24:]) == y[24:]).mean() > 0.85
    assert machine.machine_.solution.beta.argmax() == 2
    assert np.allclose(machine.decision_values(x[24:])[3], machine.decision_values(x[[27]])[0], atol=1e-9)


def test_values_are_those_of_centred_features() -> None:
    """For a linear kernel, the dual form equals ridge regression on the features themselves."""
    x, y, groups = data()
    machine = KernelGroupSparse(3, parts=1, kernel="linear", ridges=(0.7,), sparsities=(0.0,), balanced=False)
    machine.fit(x[:36], y[:36], groups[:36])
    features = x.astype(np.float64) - x[:36].astype(np.float64).mean(0)
    features /= np.sqrt((features[:36] ** 2).sum() / 36)
    targets = np.eye(3)[y[:36]] - np.eye(3)[y[:36]].mean(0)
    gram = features[:36].T @ features[:36]
    slow = features[36:] @ np.linalg.solve(gram + 0.7 * np.eye(len(gram)), features[:36].T @ targets)
    assert np.allclose(machine.decision_values(x[36:]), slow, atol=1e-6)


def test_a_block_that_never_changes_is_left_out() -> None:
    x, y, groups = data()
    x[:, :8] = 0.125
    machine = KernelGroupSparse(3, parts=6, ridges=(1.0,), sparsities=(0.01,)).fit(x, y, groups)
    assert np.isfinite(machine.predict_proba(x)).all()
    assert machine.machine_.solution.beta[0] == 0
